//! From CONNECT to the end of the connection, at a client.

use mqttstack_codec::{DecodeError, QoS};

use super::*;

#[test]
fn connect_is_the_first_packet_and_the_only_one_before_connack() {
    // v5 MQTT-3.1.0-1, v3.1.1 MQTT-3.1.0-1; V31-wait
    for version in ["", "v311", "v31"] {
        check(
            quiet(),
            &format!(
                "! publish q1 a=x
                 ! connect {version} clean id=c ka=0
                 < CONNECT {version} clean id=c ka=0
                 ! connect {version} clean id=other
                 ! publish q1 a=y
                 > CONNACK
                 * connected
                 < PUBLISH q1 #1 a=x
                 < PUBLISH q1 #2 a=y"
            ),
        );
    }
}

#[test]
fn connect_announces_the_limits() {
    let limits = Limits {
        receive_maximum: 0,
        packet_size_max: 0,
        topic_alias_maximum: 7,
        ..Limits::default()
    };
    let settings = Settings {
        limits: Arc::new(limits),
        ..quiet()
    };
    check(
        settings.clone(),
        "! connect id=c rmax=9 psize=9 amax=9 session=5 inform user
         < CONNECT id=c rmax=1 psize=1 amax=7 session=5 inform user",
    );
    check(
        settings,
        "! connect v311 id=c session=5
         < CONNECT v311 id=c",
    );
}

#[test]
fn an_empty_client_identifier_implies_a_clean_session_in_3_1_1() {
    // v3.1.1 MQTT-3.1.3-7
    check(quiet(), "! connect v311\n< CONNECT v311 clean");
    check(quiet(), "! connect\n< CONNECT");
}

#[test]
fn the_bridge_bit_goes_out_as_it_is_set() {
    // BRG-bit
    check(
        quiet(),
        "! connect v311 bridge id=c\n< CONNECT v311 bridge id=c",
    );
}

#[test]
fn a_server_that_begins_with_anything_but_connack_is_left() {
    // v3.1.1 MQTT-3.2.0-1, v5 MQTT-3.2.0-1; X311-2.2.1-b
    for first in [
        "CONNECT",
        "PUBLISH a=x",
        "PUBACK #1",
        "PUBREC #1",
        "PUBREL #1",
        "PUBCOMP #1",
        "SUBSCRIBE #1 f:a",
        "SUBACK #1 00",
        "UNSUBSCRIBE #1 f:a",
        "UNSUBACK #1 00",
        "PINGREQ",
        "PINGRESP",
        "DISCONNECT",
        "AUTH 18 method=M",
    ] {
        for (version, last) in [("", "< DISCONNECT 82"), ("v311", ""), ("v31", "")] {
            check(
                quiet(),
                &format!(
                    "! connect {version} clean id=c
                     < CONNECT {version} clean id=c
                     > {first}
                     {last}
                     * ended UnexpectedPacket
                     > {first}"
                ),
            );
        }
    }
}

#[test]
fn packets_of_the_other_direction_end_the_connection() {
    // X311-2.2.1-b, v5 MQTT-3.2.0-2
    for packet in [
        "CONNECT",
        "CONNACK",
        "SUBSCRIBE #1 f:a",
        "UNSUBSCRIBE #1 f:a",
        "PINGREQ",
    ] {
        let script = format!("> {packet}\n< DISCONNECT 82\n* ended UnexpectedPacket");
        check_connected(quiet(), "id=c", "CONNACK", &script);
        let script = format!("> {packet}\n* ended UnexpectedPacket");
        check_connected(quiet(), "v311 id=c", "CONNACK", &script);
    }
    // A 3.x server has no DISCONNECT.
    check_connected(
        quiet(),
        "v311 id=c",
        "CONNACK",
        "> DISCONNECT\n* ended UnexpectedPacket",
    );
}

#[test]
fn a_server_that_does_not_answer_in_time_is_left() {
    // v5 U-05
    check(
        quiet(),
        "! connect v311 clean id=c
         < CONNECT v311 clean id=c
         @ 9
         @ 10
         * ended ConnectTimeout",
    );
}

#[test]
fn a_refusal_is_reported_with_all_it_says() {
    // v5 MQTT-4.13.2-1, v5 U-31
    check(
        quiet(),
        "! connect clean id=c
         < CONNECT clean id=c
         > CONNACK 9C reference=other
         * ended Refused 9C other
         ! connect v311 clean id=c
         < CONNECT v311 clean id=c
         > CONNACK 85
         * ended Refused 85",
    );
}

#[test]
fn a_session_that_this_client_does_not_have_is_not_taken_up() {
    // v5 MQTT-3.2.2-4
    check(
        quiet(),
        "! connect id=c
         < CONNECT id=c
         > CONNACK present
         < DISCONNECT 82
         * ended SessionPresentWithoutState",
    );
    // A clean start asks for none. v5 MQTT-3.2.2-2
    check_connected(
        quiet(),
        "id=c",
        "CONNACK",
        "! close
         * ended TransportClosed
         ! connect clean id=c
         < CONNECT clean id=c
         > CONNACK present
         < DISCONNECT 82
         * ended SessionPresentWithoutState",
    );
    // X311-3.2.2.2-a: 3.1.1 may go on.
    check(
        quiet(),
        "! connect v311 id=c\n< CONNECT v311 id=c\n> CONNACK present\n* connected present",
    );
    // Neither may a session that is resumed from a store be unknown.
    check_session(
        Session::resume(quiet(), SessionState::new()),
        "! connect id=c\n< CONNECT id=c\n> CONNACK present\n* connected present",
    );
}

#[test]
fn what_the_server_announced_is_known() {
    // v5 MQTT-3.2.2-9
    let mut session = Session::new(quiet());
    session.connect(testing::connect("id=c"), at(0.0));
    assert_eq!(session.server(), None);
    let connack = "CONNACK rmax=3 maxqos=q1 noretain psize=99 amax=4 nowildcards noids noshared";
    session
        .handle_packet(testing::packet(connack), at(0.0))
        .expect("accepted");
    let server = session.server().expect("connected");
    assert_eq!(server.receive_maximum, 3);
    assert_eq!(server.maximum_qos, QoS::AtLeastOnce);
    assert_eq!(server.packet_size_max, 99);
    assert_eq!(server.topic_alias_maximum, 4);
    assert!(!server.retain_available);
    assert!(!server.wildcard_subscriptions);
    assert!(!server.subscription_identifiers);
    assert!(!server.shared_subscriptions);
}

#[test]
fn the_assigned_client_identifier_is_reported() {
    // v5 MQTT-3.2.2-16
    let mut session = Session::new(quiet());
    session.connect(testing::connect("clean"), at(0.0));
    let connack = testing::packet("CONNACK assigned=auto");
    session.handle_packet(connack, at(0.0)).expect("accepted");
    let Some(Event::Connected(connack)) = session.poll_event() else {
        panic!("not connected");
    };
    assert_eq!(
        connack.properties.assigned_client_identifier(),
        Some("auto")
    );
}

#[test]
fn a_client_pings_when_it_has_sent_nothing_for_the_keep_alive() {
    // v5 MQTT-3.1.2-20, v3.1.1 MQTT-3.1.2-23
    for version in ["", "v311", "v31"] {
        check_connected(
            quiet(),
            &format!("{version} id=c ka=10"),
            "CONNACK",
            "@ 9
             > PUBLISH a=received
             * message a=received
             @ 10
             < PINGREQ
             > PINGRESP
             @ 15
             ! publish a=sent
             < PUBLISH a=sent
             * done 1 Sent
             @ 24
             @ 25
             < PINGREQ",
        );
    }
    check_connected(quiet(), "id=c ka=0", "CONNACK", "@ 1000000");
    // CONNECT counts from when it was sent, not from its answer.
    check(
        quiet(),
        "! connect clean id=c ka=10
         < CONNECT clean id=c ka=10
         @ 8
         > CONNACK
         * connected
         @ 10
         < PINGREQ",
    );
}

#[test]
fn the_keep_alive_of_the_server_replaces_that_of_the_client() {
    // v5 MQTT-3.2.2-21, v5 MQTT-3.1.2-21
    check_connected(
        quiet(),
        "id=c ka=10",
        "CONNACK serverka=3",
        "@ 2\n@ 3\n< PINGREQ",
    );
    check_connected(quiet(), "id=c ka=10", "CONNACK serverka=0", "@ 100");
}

#[test]
fn a_server_that_does_not_answer_pings_is_left() {
    // v5 U-07
    check_connected(
        quiet(),
        "id=c ka=10",
        "CONNACK",
        "@ 10
         < PINGREQ
         @ 14.9
         @ 15
         < DISCONNECT 80
         * ended KeepAliveTimeout",
    );
    // The time counts from when bytes last moved; what moved before the ping is no matter.
    check_connected(
        quiet(),
        "id=c ka=10",
        "CONNACK",
        "! progress
         @ 10
         < PINGREQ
         @ 14.9
         ! progress
         @ 19.8
         ! progress
         @ 20
         < PINGREQ
         @ 24.7
         @ 24.8
         < DISCONNECT 80
         * ended KeepAliveTimeout",
    );
    // The keep alive is kept even while an answer is awaited.
    check_connected(
        quiet(),
        "v311 id=c ka=2",
        "CONNACK",
        "@ 2
         < PINGREQ
         @ 4
         < PINGREQ
         @ 6
         < PINGREQ
         @ 7
         * ended KeepAliveTimeout",
    );
}

#[test]
fn disconnect_is_the_last_packet() {
    // v5 MQTT-3.14.4-1, v3.1.1 MQTT-3.14.4-2
    check_connected(
        quiet(),
        "id=c session=9",
        "CONNACK",
        "! disconnect 04 session=3 reason
         < DISCONNECT 04 session=3 reason
         * ended ClientDisconnected
         ! publish q1 a=x
         ! acknowledge #1
         > PUBLISH q1 #1 a=x
         @ 1000",
    );
    check_connected(
        quiet(),
        "v311 id=c",
        "CONNACK",
        "! disconnect 04 session=3 reason
         < DISCONNECT
         * ended ClientDisconnected",
    );
}

#[test]
fn disconnect_says_nothing_that_the_server_would_refuse() {
    // v5 U-06
    check_connected(
        quiet(),
        "id=c",
        "CONNACK",
        "! disconnect session=3 user
         < DISCONNECT user
         * ended ClientDisconnected",
    );
    check_connected(
        quiet(),
        "id=c",
        "CONNACK",
        "! disconnect session=0
         < DISCONNECT session=0
         * ended ClientDisconnected",
    );
    // v5 MQTT-3.14.2-3, v5 MQTT-3.14.2-4, v5 MQTT-3.2.2-15
    check_connected(
        quiet(),
        "id=c",
        "CONNACK psize=5",
        "! disconnect 04 reason user
         < DISCONNECT 04
         * ended ClientDisconnected",
    );
    // A code that only servers may send.
    check_connected(
        quiet(),
        "id=c",
        "CONNACK",
        "! disconnect 8B
         < DISCONNECT 80
         * ended ClientDisconnected",
    );
}

#[test]
fn a_client_that_gives_up_before_connack_sends_disconnect_only_behind_connect() {
    // v5 MQTT-3.1.0-1, v3.1.1 MQTT-3.1.0-1; V31-wait
    for (version, last) in [("", "< DISCONNECT"), ("v311", "< DISCONNECT"), ("v31", "")] {
        check(
            quiet(),
            &format!(
                "! connect {version} clean id=c
                 < CONNECT {version} clean id=c
                 ! disconnect
                 {last}
                 * ended ClientDisconnected"
            ),
        );
    }
    let mut session = Session::new(quiet());
    session.connect(testing::connect("clean id=c"), at(0.0));
    session.disconnect(Disconnect::new(ReasonCode::Success));
    assert!(session.poll_packet(at(0.0)).is_none());
    assert!(session.is_ended());
}

#[test]
fn a_server_may_end_the_connection() {
    // v5 MQTT-4.13.2-1, v5 U-29, v5 U-31
    check_connected(
        quiet(),
        "id=c",
        "CONNACK",
        "> DISCONNECT 9D reference=other
         * ended ServerDisconnected 9D other
         > PUBLISH a=x",
    );
    // v5 MQTT-3.14.2-2
    check_connected(
        quiet(),
        "id=c",
        "CONNACK",
        "> DISCONNECT session=1
         < DISCONNECT 82
         * ended UnexpectedPacket",
    );
}

#[test]
fn bytes_that_are_no_packet_end_the_connection() {
    // v5 MQTT-4.13.1-1, v3.1.1 MQTT-4.8.0-1; v5 U-13
    for (version, told) in [("v5", true), ("v311", false), ("v31", false)] {
        let mut session = Session::new(quiet());
        session.connect(testing::connect(&format!("{version} id=c")), at(0.0));
        assert!(session.poll_packet(at(0.0)).is_some(), "CONNECT");
        session
            .handle_packet(testing::packet("CONNACK"), at(0.0))
            .expect("accepted");
        session.handle_decode_error(DecodeError::PacketTooLarge { size: 9, limit: 8 });
        let last = session.poll_packet(at(0.0));
        let last = last.map(|last| last.into_packet(ProtocolVersion::V5).expect("a packet"));
        assert_eq!(last, told.then(|| testing::packet("DISCONNECT 95")));
    }
}

#[test]
fn authentication_goes_step_by_step() {
    // v5 MQTT-4.12.0-2, v5 MQTT-4.12.0-3, v5 MQTT-4.12.0-5, v5 MQTT-4.12.1-1
    check(
        quiet(),
        "! connect clean id=c method=M data=1
         < CONNECT clean id=c method=M data=1
         ! authenticate data=unasked
         > AUTH 18 method=M data=2
         * auth 18
         ! authenticate 19 data=3
         < AUTH 18 method=M data=3
         > CONNACK method=M
         * connected
         ! authenticate data=4
         < AUTH 19 method=M data=4
         ! authenticate data=unasked
         > AUTH 18 method=M data=5
         * auth 18
         ! authenticate data=6
         < AUTH 18 method=M data=6
         > AUTH 00
         * auth 00
         ! authenticate data=7
         < AUTH 19 method=M data=7
         > AUTH 00 method=M
         * auth 00",
    );
    // v5 MQTT-4.12.0-7: without a method there is nothing to send.
    check_connected(quiet(), "id=c", "CONNACK", "! authenticate method=M");
}

#[test]
fn authentication_out_of_order_ends_the_connection() {
    // v5 U-27, v5 MQTT-4.12.0-5, v5 MQTT-4.12.0-6
    for (connect, packet, error) in [
        ("", "AUTH 18 method=M", "UnexpectedPacket"),
        ("", "CONNACK method=M", "AuthenticationMethodChanged"),
        ("method=M", "CONNACK", "AuthenticationMethodChanged"),
        (
            "method=M",
            "CONNACK method=N",
            "AuthenticationMethodChanged",
        ),
        (
            "method=M",
            "AUTH 18 method=N",
            "AuthenticationMethodChanged",
        ),
        ("method=M", "AUTH 18", "AuthenticationMethodChanged"),
        ("method=M", "AUTH 00 method=M", "AuthenticationOutOfOrder"),
        ("method=M", "AUTH 19 method=M", "AuthenticationOutOfOrder"),
    ] {
        check(
            quiet(),
            &format!(
                "! connect clean id=c {connect}
                 < CONNECT clean id=c {connect}
                 > {packet}
                 < DISCONNECT 82
                 * ended {error}"
            ),
        );
    }
    for (connect, packet, error) in [
        ("id=c", "AUTH 18 method=M", "UnexpectedPacket"),
        (
            "id=c method=M",
            "AUTH 18 method=M",
            "AuthenticationOutOfOrder",
        ),
        (
            "id=c method=M",
            "AUTH 00 method=M",
            "AuthenticationOutOfOrder",
        ),
    ] {
        let method = if connect.contains("method") {
            " method=M"
        } else {
            ""
        };
        check_connected(
            quiet(),
            connect,
            &format!("CONNACK{method}"),
            &format!("> {packet}\n< DISCONNECT 82\n* ended {error}"),
        );
    }
}

#[test]
fn a_server_that_explains_itself_unasked_is_left() {
    // v5 MQTT-3.1.2-29, v5 U-28
    for packet in [
        "PUBACK #1 reason",
        "PUBREC #1 user",
        "PUBREL #1 reason",
        "PUBCOMP #1 user",
        "SUBACK #1 00 reason",
        "UNSUBACK #1 00 user",
        "AUTH 18 method=M reason",
    ] {
        check_connected(
            quiet(),
            "id=c noproblem method=M",
            "CONNACK method=M reason user",
            &format!("> {packet}\n< DISCONNECT 82\n* ended ProblemInformationNotRequested"),
        );
    }
    check_connected(
        quiet(),
        "id=c noproblem",
        "CONNACK",
        "> PUBLISH a=x user
         * message a=x
         > DISCONNECT 8B reason user
         * ended ServerDisconnected 8B",
    );
}
