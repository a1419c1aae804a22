//! Any packets in any order, at either role, with an owner that does anything at any time: no
//! panic, no packet that cannot be encoded, nothing that grows without bound, no timer in the past,
//! and the end comes once and last.

use std::{sync::Arc, time::Duration};

use mqttstack_session::{
    DeliveryOptions, Message, SubscriptionIds, client,
    codec::{
        Ack, Auth, ConnAck, Connect, Delivery, Disconnect, Packet, PacketId, PacketType,
        Properties, ProtocolVersion, Publish, QoS, ReasonCode, ReasonCodes, SubAck, Subscribe,
        SubscribeFilters, Subscription, UnsubAck, Unsubscribe, UnsubscribeFilters, Will,
    },
    limits::{Instant, Limits},
    server,
};
use proptest::{prelude::*, test_runner::RngSeed};

/// What happens to a session.
#[derive(Clone, Debug)]
enum Step {
    Packet(Box<Packet>),
    Acknowledge(PacketId, ReasonCode),
    Publish(QoS),
    Answer(PacketId, ReasonCode),
    Authenticate(ReasonCode),
    Wait(u64),
    Accept(bool),
    /// Reads packets, as many as that.
    Read(usize),
    Disconnect(ReasonCode),
    Reconnect,
}

fn version() -> impl Strategy<Value = ProtocolVersion> {
    prop_oneof![
        1 => Just(ProtocolVersion::V31),
        1 => Just(ProtocolVersion::V311),
        3 => Just(ProtocolVersion::V5),
    ]
}

fn id() -> impl Strategy<Value = PacketId> {
    (1_u16..6).prop_map(|value| PacketId::new(value).expect("not 0"))
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![
        Just(QoS::AtMostOnce),
        Just(QoS::AtLeastOnce),
        Just(QoS::ExactlyOnce),
    ]
}

fn code() -> impl Strategy<Value = ReasonCode> {
    prop_oneof![
        4 => Just(ReasonCode::Success),
        1 => any::<u8>().prop_map(|value| ReasonCode::from_u8(value).unwrap_or_default()),
    ]
}

fn properties() -> impl Strategy<Value = Properties> {
    prop_oneof![
        3 => Just(Properties::empty()),
        1 => (0_u32..9, 1_u16..9, 1_u32..40, any::<bool>()).prop_map(|(expiry, max, size, method)| {
            let builder = Properties::builder()
                .session_expiry_interval(expiry)
                .receive_maximum(max)
                .maximum_packet_size(size)
                .topic_alias_maximum(max)
                .request_problem_information(method)
                .user_property("key", "value");
            let builder = if method { builder.authentication_method("M") } else { builder };
            builder.build().expect("valid")
        }),
        1 => (0_u16..9).prop_map(|alias| {
            let builder = Properties::builder().reason_string("because");
            let builder = if alias > 0 { builder.topic_alias(alias) } else { builder };
            builder.authentication_method("M").build().expect("valid")
        }),
    ]
}

fn packet() -> impl Strategy<Value = Packet> {
    let ack = || {
        (id(), code(), properties()).prop_map(|(packet_id, reason_code, properties)| Ack {
            packet_id,
            reason_code,
            properties,
        })
    };
    let publish = (
        qos(),
        id(),
        any::<bool>(),
        any::<bool>(),
        properties(),
        0_usize..20,
    );
    prop_oneof![
        2 => connect().prop_map(Packet::Connect),
        2 => (any::<bool>(), code(), properties()).prop_map(|(session_present, reason_code, properties)| {
            Packet::ConnAck(ConnAck { session_present, reason_code, properties })
        }),
        6 => publish.prop_map(|(qos, id, dup, has_topic, properties, size)| {
            let id = (qos != QoS::AtMostOnce).then_some(id);
            Packet::Publish(Publish {
                delivery: Delivery::new(qos, id).expect("fits").with_dup(dup),
                retain: dup,
                topic: if has_topic { "topic" } else { "" }.into(),
                properties,
                payload: vec![7; size].into(),
            })
        }),
        3 => ack().prop_map(Packet::PubAck),
        3 => ack().prop_map(Packet::PubRec),
        3 => ack().prop_map(Packet::PubRel),
        3 => ack().prop_map(Packet::PubComp),
        1 => (id(), properties()).prop_map(|(packet_id, properties)| {
            let filters = SubscribeFilters::new([Subscription::new("a", QoS::AtMostOnce)]);
            Packet::Subscribe(Subscribe { packet_id, properties, filters: filters.expect("valid") })
        }),
        1 => (id(), properties()).prop_map(|(packet_id, properties)| {
            let filters = UnsubscribeFilters::new(["a"]).expect("valid");
            Packet::Unsubscribe(Unsubscribe { packet_id, properties, filters })
        }),
        1 => (id(), code(), properties()).prop_map(|(packet_id, code, properties)| {
            Packet::SubAck(SubAck { packet_id, properties, reason_codes: ReasonCodes::new([code]) })
        }),
        1 => (id(), code(), properties()).prop_map(|(packet_id, code, properties)| {
            Packet::UnsubAck(UnsubAck { packet_id, properties, reason_codes: ReasonCodes::new([code]) })
        }),
        1 => Just(Packet::PingReq),
        1 => Just(Packet::PingResp),
        1 => (code(), properties()).prop_map(|(reason_code, properties)| {
            Packet::Disconnect(Disconnect { reason_code, properties })
        }),
        2 => (code(), properties()).prop_map(|(reason_code, properties)| {
            Packet::Auth(Auth { reason_code, properties })
        }),
    ]
}

fn connect() -> impl Strategy<Value = Connect> {
    (
        version(),
        any::<bool>(),
        any::<bool>(),
        properties(),
        qos(),
        0_u16..20,
    )
        .prop_map(
            |(version, clean_start, has_will, properties, qos, keep_alive)| Connect {
                clean_start,
                keep_alive,
                properties,
                will: has_will.then(|| Will {
                    qos,
                    retain: clean_start,
                    properties: Properties::empty(),
                    topic: "will".into(),
                    payload: "gone".into(),
                }),
                ..Connect::new(version, if clean_start { "" } else { "client" })
            },
        )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => packet().prop_map(|packet| Step::Packet(Box::new(packet))),
        4 => (id(), code()).prop_map(|(id, code)| Step::Acknowledge(id, code)),
        4 => qos().prop_map(Step::Publish),
        1 => (id(), code()).prop_map(|(id, code)| Step::Answer(id, code)),
        1 => code().prop_map(Step::Authenticate),
        1 => (0_u64..20_000).prop_map(Step::Wait),
        3 => any::<bool>().prop_map(Step::Accept),
        4 => (0_usize..5).prop_map(Step::Read),
        1 => code().prop_map(Step::Disconnect),
        2 => Just(Step::Reconnect),
    ]
}

/// Limits small enough to be reached, or with nothing allowed at all.
fn limits() -> impl Strategy<Value = Arc<Limits>> {
    prop_oneof![4 => Just(small()), 1 => Just(nothing())].prop_map(Arc::new)
}

fn nothing() -> Limits {
    Limits {
        connect_timeout: Duration::ZERO,
        packet_size_max: 0,
        payload_size_max: 0,
        user_properties_max: 0,
        client_id_bytes_max: 0,
        keep_alive_max: 1,
        session_expiry_max: 0,
        receive_maximum: 0,
        inflight_max: 0,
        inflight_bytes_max: 0,
        topic_alias_maximum: 0,
        topic_aliases_used_max: 0,
        queue_messages_max: 0,
        queue_bytes_max: 0,
        response_bytes_max: 0,
        ..Limits::default()
    }
}

fn small() -> Limits {
    Limits {
        receive_maximum: 3,
        inflight_max: 3,
        inflight_bytes_max: 30,
        payload_size_max: 15,
        queue_messages_max: 8,
        response_bytes_max: 2_000,
        topic_alias_maximum: 3,
        ..Limits::default()
    }
}

fn message(qos: QoS) -> Message {
    let builder = Message::builder("topic", "payload").qos(qos);
    builder.build().expect("valid")
}

fn check_encodes(packet: mqttstack_session::Outgoing, version: ProtocolVersion) {
    // What is wrong in CONNECT, the owner of the client has put there.
    if packet.packet_type() == PacketType::Connect {
        return;
    }
    let mut out = Vec::new();
    let encoded = packet.encode(version, &mut Vec::new(), &mut out);
    assert!(encoded.is_ok(), "{packet:?}: {encoded:?}");
}

fn check_bounds(status: mqttstack_session::QueueStatus, requests: usize, owed: usize) {
    // The window, a message that is queued again, and what the application asked for.
    assert!(status.inflight <= 3 + requests, "{status:?}");
    assert!(status.inflight_bytes <= 30, "{status:?}");
    assert!(status.queued_messages <= 8 + 3, "{status:?}");
    assert!(owed <= 100, "{owed} acknowledgements wait");
}

fn run_server(limits: &Arc<Limits>, first: Connect, steps: Vec<Step>) {
    let mut now = Instant::EPOCH;
    let mut session = server::Session::new(Arc::clone(limits), now);
    let mut ended = 0;
    let _ = session.handle_packet(Packet::Connect(first), now);
    let _ = session.accept(server::Acceptance::default(), now);
    for step in steps {
        match step {
            Step::Packet(packet) => drop(session.handle_packet(*packet, now)),
            Step::Acknowledge(id, code) => session.acknowledge(id, code),
            Step::Publish(qos) => {
                let options = DeliveryOptions {
                    qos,
                    retain: false,
                    subscription_ids: SubscriptionIds::from_iter([1, 2]),
                    group: None,
                };
                let _ = session.publish(message(qos), options, now);
            }
            Step::Answer(id, code) => {
                session.suback(id, [code]);
                session.unsuback(id, [code, code]);
            }
            Step::Authenticate(reason_code) => session.authenticate(Auth {
                reason_code,
                properties: Properties::empty(),
            }),
            Step::Wait(millis) => {
                now = now + Duration::from_millis(millis);
                let _ = session.handle_timeout(now);
            }
            Step::Accept(session_present) => {
                let acceptance = server::Acceptance {
                    session_present,
                    assigned_client_id: Some("assigned".into()),
                    ..server::Acceptance::default()
                };
                let _ = session.accept(acceptance, now);
            }
            Step::Read(packets) => {
                for _ in 0..packets {
                    if let Some(packet) = session.poll_packet(now) {
                        check_encodes(packet, session.version().expect("known"));
                    }
                }
            }
            Step::Disconnect(code) => session.disconnect(code),
            Step::Reconnect => {
                session.handle_closed();
                while let Some(event) = session.poll_event() {
                    ended += usize::from(matches!(event, server::Event::Ended(_)));
                }
                assert_eq!(ended, 1);
                ended = 0;
                let state = session.detach().unwrap_or_default();
                session = server::Session::new(Arc::clone(limits), now);
                let connect: Connect = Connect {
                    clean_start: false,
                    ..Connect::new(ProtocolVersion::V5, "client")
                };
                let _ = session.handle_packet(Packet::Connect(connect), now);
                let acceptance = server::Acceptance {
                    state,
                    session_present: true,
                    ..server::Acceptance::default()
                };
                let _ = session.accept(acceptance, now);
            }
        }
        while let Some(event) = session.poll_event() {
            assert_eq!(ended, 0, "{event:?} after the end");
            ended += usize::from(matches!(event, server::Event::Ended(_)));
        }
        assert_eq!(ended == 1, session.is_ended());
        check_bounds(session.queue_status(), 0, session.owed_acknowledgements());
        if let Some(timeout) = session.poll_timeout() {
            assert!(session.handle_timeout(now).is_err() || timeout > now);
        }
        while let Some(event) = session.poll_event() {
            ended += usize::from(matches!(event, server::Event::Ended(_)));
        }
    }
}

fn run_client(limits: Arc<Limits>, first: Connect, steps: Vec<Step>) {
    let settings = client::Settings {
        limits,
        ..client::Settings::default()
    };
    let mut now = Instant::EPOCH;
    let mut version = first.version;
    let mut session = client::Session::new(settings);
    session.connect(first.clone(), now);
    let mut requests = 0;
    for step in steps {
        match step {
            Step::Packet(packet) => drop(session.handle_packet(*packet, now)),
            Step::Acknowledge(id, code) => session.acknowledge(id, code),
            Step::Publish(qos) => drop(session.publish(message(qos), now).ok()),
            Step::Answer(..) => {
                let filters = SubscribeFilters::new([Subscription::new("a", QoS::AtMostOnce)]);
                let filters = filters.expect("valid");
                requests += usize::from(session.subscribe(filters, Properties::empty()).is_ok());
            }
            Step::Authenticate(reason_code) => session.authenticate(Auth {
                reason_code,
                properties: Properties::empty(),
            }),
            Step::Wait(millis) => {
                now = now + Duration::from_millis(millis);
                let _ = session.handle_timeout(now);
            }
            Step::Accept(session_present) => {
                let connack: ConnAck = ConnAck::new(session_present, ReasonCode::Success);
                let _ = session.handle_packet(Packet::ConnAck(connack), now);
            }
            Step::Read(packets) => {
                for _ in 0..packets {
                    if let Some(packet) = session.poll_packet(now) {
                        check_encodes(packet, version);
                    }
                }
            }
            Step::Disconnect(code) => session.disconnect(Disconnect::new(code)),
            Step::Reconnect => {
                session.handle_closed();
                assert!(session.is_ended());
                version = first.version;
                session.connect(first.clone(), now);
            }
        }
        while session.poll_event().is_some() {}
        check_bounds(
            session.queue_status(),
            requests,
            session.owed_acknowledgements(),
        );
        if let Some(timeout) = session.poll_timeout() {
            let failed = session.handle_timeout(now).is_err();
            let next = session.poll_timeout();
            assert!(failed || timeout > now || next.is_some_and(|next| next > now));
        }
    }
}

#[test]
fn timers_saturate_at_the_end_of_time() {
    let limits = Arc::new(Limits {
        connect_timeout: Duration::MAX,
        keep_alive_min: u16::MAX,
        ..Limits::default()
    });
    let settings = client::Settings {
        limits: Arc::clone(&limits),
        ping_timeout: Duration::MAX,
        ..client::Settings::default()
    };
    let late = Instant::from_micros(u64::MAX - 1);
    let mut client = client::Session::new(settings);
    let mut server = server::Session::new(limits, late);
    client.connect(Connect::new(ProtocolVersion::V5, "c"), late);
    assert_eq!(client.poll_timeout(), Some(Instant::NEVER));
    assert_eq!(server.poll_timeout(), Some(Instant::NEVER));
    let connect = client.poll_packet(late).expect("CONNECT");
    let connect = connect.into_packet(ProtocolVersion::V5).expect("valid");
    assert_eq!(server.handle_packet(connect, late), Ok(()));
    let accepted = server.accept(server::Acceptance::default(), late);
    assert_eq!(accepted, Ok(()));
    assert_eq!(server.poll_timeout(), Some(Instant::NEVER));
    let connack = server.poll_packet(late).expect("CONNACK");
    let connack = connack.into_packet(ProtocolVersion::V5).expect("valid");
    assert_eq!(client.handle_packet(connack, late), Ok(()));
    assert_eq!(client.handle_timeout(late), Ok(()));
    assert!(client.is_connected() && server.is_connected());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150,
        rng_seed: RngSeed::Fixed(5),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_server_session_survives_anything(
        limits in limits(),
        first in connect(),
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        run_server(&limits, first, steps);
    }

    #[test]
    fn a_client_session_survives_anything(
        limits in limits(),
        first in connect(),
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        run_client(limits, first, steps);
    }
}
