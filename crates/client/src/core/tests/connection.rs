//! Keep alive, time-outs, what CONNACK says, and bytes that are no packets.

use mqttstack_codec::{Delivery, PacketType, Publish, Utf8Bytes};
use mqttstack_session::ProtocolError;
use proptest::prelude::*;

use super::*;

fn connack(build: impl FnOnce(ConnAck<Shared>) -> ConnAck<Shared>) -> ConnAck<Shared> {
    build(ConnAck::new(false, ReasonCode::Success))
}

#[test]
fn a_ping_is_sent_when_nothing_else_was_for_the_keep_alive() {
    // v5 MQTT-3.1.2-20
    for version in [
        ProtocolVersion::V31,
        ProtocolVersion::V311,
        ProtocolVersion::V5,
    ] {
        let mut rig = Rig::of_version(version);
        assert_eq!(rig.open().keep_alive, 60);
        rig.accept();
        rig.pass(59);
        assert_eq!(rig.sent(), []);
        rig.pass(1);
        assert_eq!(rig.sent(), [Packet::PingReq]);
        rig.receive(Packet::PingResp);
        // What is sent moves the next ping.
        rig.pass(30);
        rig.publish(message(QoS::AtMostOnce));
        assert_eq!(rig.sent().len(), 1);
        rig.pass(59);
        assert_eq!(rig.sent(), []);
        rig.pass(1);
        assert_eq!(rig.sent(), [Packet::PingReq]);
    }
}

#[test]
fn the_keep_alive_of_the_server_replaces_that_of_the_client() {
    // v5 MQTT-3.1.2-21, v5 MQTT-3.2.2-21
    for (asked, told, expected) in [(60, 10, Some(10)), (10, 100, Some(100)), (60, 0, None)] {
        let mut own = settings();
        own.keep_alive = asked;
        let mut rig = Rig::new(own);
        rig.open();
        rig.accept_with(connack(|connack| ConnAck {
            properties: Properties::builder()
                .server_keep_alive(told)
                .build()
                .unwrap(),
            ..connack
        }));
        let expected = expected.map(|seconds| rig.now + Duration::from_secs(seconds));
        assert_eq!(rig.client.poll_timeout(), expected);
    }
}

#[test]
fn a_server_that_does_not_answer_connect_is_given_up() {
    // v5 U-05, X311-3.2-a
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        let mut rig = Rig::of_version(version);
        rig.open();
        rig.pass(9);
        assert!(rig.events().is_empty());
        rig.pass(1);
        let error = ProtocolError::ConnectTimeout {
            awaited: PacketType::ConnAck,
        };
        let (cause, sent) = rig.ended();
        assert_eq!(cause, EndCause::Protocol(error));
        // The server has had a CONNECT, so that it may be told why (5.0).
        assert!(
            sent.iter()
                .all(|packet| packet.packet_type() == PacketType::Disconnect)
        );
    }
}

#[test]
fn a_server_that_does_not_answer_a_ping_is_given_up() {
    // v5 U-07, X311-3.1.2.10-a
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        let mut rig = Rig::of_version(version);
        rig.open();
        rig.accept();
        rig.pass(60);
        assert_eq!(rig.sent(), [Packet::PingReq]);
        rig.pass(10);
        let (cause, _) = rig.ended();
        let error = ProtocolError::KeepAliveTimeout { keep_alive: 60 };
        assert_eq!(cause, EndCause::Protocol(error));
    }
}

#[test]
fn a_server_whose_bytes_move_is_not_silent() {
    // v5 U-07
    let mut stream = Vec::new();
    let publish = Publish::<Shared>::new("t", vec![b'x'; 20_000]);
    let publish = Packet::Publish(publish);
    publish.encode(ProtocolVersion::V5, &mut stream).unwrap();
    let move_bytes: [fn(&mut Rig, &[u8]); 3] = [
        |rig, bytes| assert_eq!(rig.client.handle_input(bytes, rig.now), bytes.len()),
        |rig, bytes| match rig.client.large_input() {
            Some(room) => {
                room[..bytes.len()].copy_from_slice(bytes);
                rig.client.handle_large_input(bytes.len(), rig.now);
            }
            None => assert_eq!(rig.client.handle_input(bytes, rig.now), bytes.len()),
        },
        |rig, _| rig.client.handle_written(rig.now),
    ];
    for move_bytes in move_bytes {
        let mut rig = Rig::connected(settings());
        rig.pass(60);
        assert_eq!(rig.sent(), [Packet::PingReq]);
        for piece in stream[..19_000].chunks(1_000) {
            rig.pass(9);
            move_bytes(&mut rig, piece);
            assert!(rig.client.is_connected());
        }
        // Once they stand still, the server has the time for an answer and no more.
        rig.pass(9);
        assert!(rig.client.is_connected());
        rig.pass(1);
        let (cause, _) = rig.ended();
        let error = ProtocolError::KeepAliveTimeout { keep_alive: 60 };
        assert_eq!(cause, EndCause::Protocol(error));
    }
}

#[test]
fn pings_do_not_pile_up_behind_an_output_that_does_not_move() {
    let mut settings = settings();
    settings.keep_alive = 2;
    let mut rig = Rig::connected(settings);
    for _ in 0..20 {
        rig.pass(2);
        rig.client.handle_written(rig.now);
    }
    assert_eq!(rig.sent(), [Packet::PingReq]);
    rig.receive(Packet::PingResp);
    rig.pass(2);
    assert_eq!(rig.sent(), [Packet::PingReq]);
}

#[test]
fn nothing_but_auth_is_sent_between_an_authenticated_connect_and_connack() {
    // v5 MQTT-3.1.2-30
    let mut own = settings();
    own.properties = Properties::builder()
        .authentication_method("M")
        .build()
        .unwrap();
    let mut rig = Rig::new(own);
    rig.publish(message(QoS::AtLeastOnce));
    rig.subscribe("a");
    rig.open();
    let method = || {
        Properties::builder()
            .authentication_method("M")
            .build()
            .unwrap()
    };
    let reason_code = ReasonCode::ContinueAuthentication;
    rig.receive(Packet::Auth(Auth {
        reason_code,
        properties: method(),
    }));
    assert!(matches!(rig.events().as_slice(), [Event::AuthReceived(_)]));
    rig.client
        .authenticate(Auth {
            reason_code,
            properties: method(),
        })
        .unwrap();
    assert_eq!(
        rig.sent(),
        [Packet::Auth(Auth {
            reason_code,
            properties: method()
        })]
    );
    rig.accept_with(connack(|connack| ConnAck {
        properties: method(),
        ..connack
    }));
    let types: Vec<_> = rig.sent().iter().map(Packet::packet_type).collect();
    assert_eq!(types, [PacketType::Subscribe, PacketType::Publish]);
}

#[test]
fn a_session_that_the_client_does_not_have_ends_the_connection() {
    // v5 MQTT-3.2.2-4
    let mut rig = Rig::new(settings());
    rig.open();
    rig.accept_with(ConnAck::new(true, ReasonCode::Success));
    let (cause, _) = rig.ended();
    assert_eq!(
        cause,
        EndCause::Protocol(ProtocolError::SessionPresentWithoutState)
    );
}

#[test]
fn state_that_the_server_has_lost_is_discarded() {
    // v5 MQTT-3.2.2-5
    let mut own = settings();
    own.clean_start = CleanStart::FirstOnly;
    let mut rig = Rig::connected(own);
    // A QoS 2 message is received, and its release is still to come.
    let publish = |dup| {
        let mut publish = Publish::<Shared>::new("t", "x");
        publish.delivery = Delivery::ExactlyOnce {
            packet_id: id(9),
            dup,
        };
        Packet::Publish(publish)
    };
    rig.receive(publish(false));
    let [
        Event::MessageReceived {
            receipt: Some(receipt),
            ..
        },
    ] = rig.events()[..]
    else {
        panic!()
    };
    rig.client.acknowledge(receipt, ReasonCode::Success);
    assert_eq!(rig.sent().len(), 1);
    // And one of the client's own is in flight.
    rig.publish(message(QoS::AtLeastOnce));
    assert_eq!(rig.sent().len(), 1);
    rig.cut();
    assert!(!rig.reopen().clean_start);
    rig.events();
    rig.accept();
    // It goes out as a new message, and the other one is new as well when it comes.
    let sent = rig.sent();
    assert!(
        matches!(&sent[..], [Packet::Publish(publish)] if !publish.dup()),
        "{sent:?}"
    );
    rig.receive(publish(true));
    assert!(matches!(rig.events()[..], [Event::MessageReceived { .. }]));
}

#[test]
fn no_message_exceeds_what_the_server_takes() {
    // v5 MQTT-3.2.2-11, v5 MQTT-3.2.2-14, v5 MQTT-3.2.2-15
    let retained = Message::builder("a/b", "x").retain(true).build().unwrap();
    let large = Message::builder("a/b", vec![0; 200])
        .qos(QoS::AtLeastOnce)
        .build()
        .unwrap();
    let mut rig = Rig::new(settings());
    rig.open();
    rig.accept_with(connack(|connack| ConnAck {
        properties: Properties::builder()
            .maximum_qos(QoS::AtLeastOnce)
            .retain_available(false)
            .maximum_packet_size(100)
            .build()
            .unwrap(),
        ..connack
    }));
    let refusals = [
        (
            message(QoS::ExactlyOnce),
            PublishError::QosNotSupported {
                maximum: QoS::AtLeastOnce,
            },
        ),
        (retained, PublishError::RetainNotSupported),
        (
            large,
            PublishError::PacketTooLarge {
                size: 211,
                maximum: 100,
            },
        ),
    ];
    for (message, error) in refusals {
        assert_eq!(rig.client.publish(message, rig.now), Err(error));
    }
    rig.publish(message(QoS::AtLeastOnce));
    assert_eq!(rig.sent().len(), 1);
}

#[test]
fn a_message_that_waited_is_not_sent_to_a_server_that_does_not_take_it() {
    // v5 MQTT-3.2.2-11, v5 MQTT-3.2.2-14, v5 MQTT-3.2.2-15
    let retained = Message::builder("a/b", "x")
        .qos(QoS::AtLeastOnce)
        .retain(true);
    let large = Message::builder("a/b", vec![0; 200]).qos(QoS::AtLeastOnce);
    let cases = [
        (
            message(QoS::ExactlyOnce),
            Properties::builder().maximum_qos(QoS::AtLeastOnce),
        ),
        (
            retained.build().unwrap(),
            Properties::builder().retain_available(false),
        ),
        (
            large.build().unwrap(),
            Properties::builder().maximum_packet_size(100),
        ),
    ];
    for (message, properties) in cases {
        let mut rig = Rig::new(settings());
        let operation = rig.publish(message);
        rig.open();
        let properties = properties.build().unwrap();
        rig.accept_with(connack(|connack| ConnAck {
            properties,
            ..connack
        }));
        assert_eq!(rig.sent(), []);
        let outcome = rig.events().into_iter().find_map(|event| match event {
            Event::Completed {
                operation: of,
                outcome,
            } if of == operation => Some(outcome),
            _ => None,
        });
        assert!(
            matches!(outcome, Some(Outcome::Undelivered(_))),
            "{outcome:?}"
        );
    }
}

#[test]
fn bytes_that_are_no_packet_end_the_connection_with_the_reason() {
    for (bytes, reason_code) in [
        (&[0x00, 0x00][..], ReasonCode::MalformedPacket),
        (&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], ReasonCode::MalformedPacket),
        (&[0x10, 0x00], ReasonCode::ProtocolError),
        (&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], ReasonCode::PacketTooLarge),
    ] {
        let mut own = settings();
        let limits = alloc::sync::Arc::make_mut(&mut own.limits);
        limits.packet_size_max = 1_000;
        let mut rig = Rig::connected(own);
        rig.client.handle_input(bytes, rig.now);
        let (cause, sent) = rig.ended();
        assert!(matches!(cause, EndCause::Protocol(_)), "{cause:?}");
        let [Packet::Disconnect(disconnect)] = &sent[..] else {
            panic!("{sent:?}")
        };
        assert_eq!(disconnect.reason_code, reason_code, "{bytes:02x?}");
    }
}

#[test]
fn cuts_in_the_stream_are_invisible() {
    let mut stream = Vec::new();
    for size in [0, 10, 9_000, 3] {
        let mut publish = Publish::<Shared>::new("t", vec![b'x'; size]);
        publish.delivery = Delivery::AtMostOnce;
        Packet::Publish(publish)
            .encode(ProtocolVersion::V5, &mut stream)
            .unwrap();
    }
    for step in [1, 2, 3, 7, 100, 8_191, 8_192, stream.len()] {
        let mut rig = Rig::connected(settings());
        for piece in stream.chunks(step) {
            rig.client.handle_input(piece, rig.now);
        }
        let sizes: Vec<_> = rig.events().iter().map(payload_len).collect();
        assert_eq!(sizes, [0, 10, 9_000, 3], "{step}");
    }
}

#[test]
fn a_large_message_is_read_to_where_it_belongs() {
    let mut stream = Vec::new();
    let publish = Publish::<Shared>::new("t", vec![b'x'; 100_000]);
    Packet::Publish(publish)
        .encode(ProtocolVersion::V5, &mut stream)
        .unwrap();
    let mut rig = Rig::connected(settings());
    assert!(rig.client.large_input().is_none());
    rig.client.handle_input(&stream[..1_000], rig.now);
    let mut at = 1_000;
    while let Some(room) = rig.client.large_input() {
        let count = room.len().min(30_000);
        room[..count].copy_from_slice(&stream[at..at + count]);
        at += count;
        rig.client.handle_large_input(count, rig.now);
    }
    assert_eq!(at, stream.len());
    assert_eq!(
        rig.events().iter().map(payload_len).collect::<Vec<_>>(),
        [100_000]
    );
}

fn payload_len(event: &Event) -> usize {
    match event {
        Event::MessageReceived { message, .. } => message.payload().len(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn pings_go_on_while_nobody_reads_and_their_answers_are_not_missed() {
    let mut rig = Rig::connected(settings());
    rig.client.set_reading(false, rig.now);
    for _ in 0..3 {
        rig.pass(60);
        assert_eq!(rig.sent(), [Packet::PingReq]);
    }
    rig.client.set_reading(true, rig.now);
    rig.pass(9);
    assert_eq!(rig.sent(), []);
    for _ in 0..3 {
        rig.receive(Packet::PingResp);
    }
    rig.pass(1);
    assert_eq!(rig.sent(), [Packet::PingReq]);
    rig.receive(Packet::PingResp);
    rig.pass(59);
    assert!(rig.client.is_connected());
    // From here on, a silent server is noticed again.
    rig.pass(1);
    assert_eq!(rig.sent(), [Packet::PingReq]);
    rig.pass(10);
    assert!(!rig.client.is_connected());
}

#[test]
fn a_disconnect_is_the_last_packet_and_never_the_first() {
    // v3.1.1 MQTT-3.14.4-1, v3.1.1 MQTT-3.14.4-2, v5 MQTT-3.1.0-1
    for version in [
        ProtocolVersion::V31,
        ProtocolVersion::V311,
        ProtocolVersion::V5,
    ] {
        let mut rig = Rig::of_version(version);
        rig.open();
        rig.accept();
        rig.client
            .disconnect(ReasonCode::DisconnectWithWillMessage, rig.now);
        let expected = match version {
            ProtocolVersion::V5 => ReasonCode::DisconnectWithWillMessage,
            _ => ReasonCode::Success,
        };
        let (cause, sent) = rig.ended();
        assert_eq!(cause, EndCause::ClientDisconnected);
        assert_eq!(sent, [Packet::Disconnect(Disconnect::new(expected))]);
        rig.cut();
        assert!(rig.client.is_stopped());

        let mut rig = Rig::of_version(version);
        assert_eq!(rig.client.poll_transport(), Some(TransportRequest::Open));
        rig.client.handle_connected(rig.now);
        rig.client.disconnect(ReasonCode::Success, rig.now);
        assert_eq!(rig.sent(), []);
    }
}

#[test]
fn an_empty_client_id_is_sent_as_such() {
    let mut rig = Rig::new(Settings::new(""));
    assert_eq!(rig.open().client_id, Utf8Bytes::from(""));
}

proptest! {
    #[test]
    fn no_bytes_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        step in 1..50_usize,
        is_accepted in any::<bool>(),
    ) {
        let mut rig = Rig::new(settings());
        rig.open();
        if is_accepted {
            rig.accept();
        }
        for piece in bytes.chunks(step) {
            rig.client.handle_input(piece, rig.now);
            rig.events();
            rig.sent();
        }
    }
}
