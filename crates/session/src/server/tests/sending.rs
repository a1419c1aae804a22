//! Messages to a client: identifiers, windows, sizes, aliases, resending, expiry.

use std::vec;

use mqttstack_codec::QoS;

use super::*;
use crate::Message;

#[test]
fn a_message_is_encoded_at_once_where_it_would_leave_just_so() {
    let qos0 = |qos| DeliveryOptions {
        qos,
        retain: false,
        subscription_ids: SubscriptionIds::One(7),
        group: None,
    };
    let limits = Arc::new(Limits {
        topic_aliases_used_max: 5,
        ..quiet()
    });
    let plain = || Message::builder("a", "x");
    let is_early = |session: &Session, message: &Message, qos| {
        let (mut scratch, mut out) = (Vec::new(), Vec::new());
        let is_early = session.encode_at_once(message, &qos0(qos), &mut scratch, &mut out);
        assert_eq!(out.is_empty(), !is_early);
        is_early
    };
    for (connect, is_plain_peer) in [
        ("v311 id=c", true),
        ("v5 id=c", true),
        ("v5 id=c psize=1000", false),
        ("v5 id=c amax=5", false),
    ] {
        let mut session = accepted(&limits, connect);
        let message = plain().build().expect("valid");
        let early = |session: &Session, qos| is_early(session, &message, qos);
        assert!(!early(&session, QoS::AtMostOnce), "CONNACK waits");
        while session.poll_packet(at(0.0)).is_some() {}
        assert_eq!(early(&session, QoS::AtMostOnce), is_plain_peer, "{connect}");
        assert!(!early(&session, QoS::AtLeastOnce));
        for large_or_fleeting in [
            plain().expiry_interval(9),
            Message::builder("a", vec![b'x'; 70_000]),
            Message::builder("a".repeat(60_000), vec![b'x'; 8_000]),
        ] {
            let other = large_or_fleeting.build().expect("valid");
            assert!(!is_early(&session, &other, QoS::AtMostOnce));
        }
        session
            .publish(message.clone(), qos0(QoS::AtMostOnce), at(0.0))
            .expect("taken");
        assert!(!early(&session, QoS::AtMostOnce), "one waits ahead");
        while session.poll_packet(at(0.0)).is_some() {}
        assert_eq!(early(&session, QoS::AtMostOnce), is_plain_peer);
        session.disconnect(ReasonCode::Success);
        assert!(!early(&session, QoS::AtMostOnce), "it is over");
    }
}

#[test]
fn outbound_aliases_stay_within_the_maximum_of_the_client() {
    // v5 MQTT-3.1.2-26, v5 MQTT-3.1.2-27, v5 MQTT-3.3.2-11, v5 MQTT-3.3.2-7
    check_connected(
        quiet(),
        "id=c amax=1 session=9",
        "! publish topic=1
         < PUBLISH topic=1
         ! publish topic=2
         < PUBLISH topic=2 alias=1
         ! publish topic=3
         < PUBLISH =3 alias=1
         ! publish other=4
         < PUBLISH other=4
         ! publish other=5
         < PUBLISH other=5 alias=1
         ! publish q1 other=6
         < PUBLISH q1 #1 =6 alias=1
         ! reopen
         > CONNECT id=c session=9 amax=1
         * connect
         ! resume
         < CONNACK present
         < PUBLISH q1 #1 dup other=6",
    );
    check_connected(
        quiet(),
        "id=c",
        "! publish topic=1
         < PUBLISH topic=1
         ! publish topic=2
         < PUBLISH topic=2",
    );
}

#[test]
fn each_delivery_has_an_identifier_of_its_own_until_its_last_acknowledgement() {
    // v5 MQTT-2.2.1-4, v3.1.1 MQTT-2.3.1-4, v5 MQTT-4.3.2-1, v5 MQTT-4.3.3-1
    // v5 MQTT-4.3.1-1, v3.1.1 MQTT-4.3.1-1, v5 MQTT-4.3.2-2, v5 MQTT-4.3.3-2
    // v3.1.1 MQTT-4.3.2-1, v3.1.1 MQTT-4.3.3-1
    for version in ["v5", "v311", "v31"] {
        check_connected(
            quiet(),
            &format!("{version} id=c"),
            "! publish a=0
             < PUBLISH a=0
             ! publish q1 a=1
             < PUBLISH q1 #1 a=1
             ! publish q2 a=2
             < PUBLISH q2 #2 a=2
             > PUBREC #2
             < PUBREL #2
             > PUBREC #2
             < PUBREL #2
             > PUBACK #1
             > PUBACK #1
             ! publish q1 a=3
             < PUBLISH q1 #3 a=3
             > PUBCOMP #2
             > PUBCOMP #2",
        );
    }
}

#[test]
fn both_directions_may_use_the_same_identifier() {
    // v5 MQTT-2.2.1-4, v3.1.1 MQTT-2.3.1-4
    check_connected(
        quiet(),
        "id=c",
        "> PUBLISH q2 #1 a=in
         * message a=in #1
         ! publish q2 a=out
         < PUBLISH q2 #1 a=out
         ! acknowledge #1
         < PUBREC #1
         > PUBREC #1
         < PUBREL #1
         > PUBREL #1
         < PUBCOMP #1
         > PUBCOMP #1",
    );
}

#[test]
fn an_error_in_pubrec_ends_the_exchange() {
    // v5 MQTT-4.3.3-4, v5 MQTT-4.4.0-2, v5 MQTT-4.9.0-2
    check_connected(
        quiet(),
        "id=c rmax=1 session=9",
        "! publish q2 a=1
         < PUBLISH q2 #1 a=1
         ! publish q2 a=2
         > PUBREC #1 97
         < PUBLISH q2 #2 a=2
         > PUBREC #1 97
         > PUBREC #2
         < PUBREL #2
         > PUBREC #2 80
         > PUBACK #3 97
         ! reopen
         > CONNECT id=c session=9
         * connect
         ! resume
         < CONNACK present
         < PUBREL #2
         > PUBCOMP #2 92",
    );
}

#[test]
fn pubrec_for_an_unknown_identifier_lets_the_peer_finish() {
    check_connected(
        quiet(),
        "id=c",
        "> PUBREC #7\n< PUBREL #7 92\n> PUBREC #7 97",
    );
    check_connected(quiet(), "v311 id=c", "> PUBREC #7\n< PUBREL #7");
}

#[test]
fn an_acknowledgement_of_the_wrong_kind_ends_the_connection() {
    for (publish, sent, wrong) in [
        ("q1 a=x", "q1 #1 a=x", "PUBREC #1"),
        ("q1 a=x", "q1 #1 a=x", "PUBCOMP #1"),
        ("q2 a=x", "q2 #1 a=x", "PUBACK #1"),
        ("q2 a=x", "q2 #1 a=x", "PUBCOMP #1"),
    ] {
        check_connected(
            quiet(),
            "id=c",
            &format!(
                "! publish {publish}
                 < PUBLISH {sent}
                 > {wrong}
                 < DISCONNECT 82
                 * ended AckMismatch"
            ),
        );
    }
}

#[test]
fn the_window_of_the_client_holds_back_qos_1_and_2_and_nothing_else() {
    // v5 MQTT-3.3.4-9, v5 MQTT-3.3.4-10, v5 MQTT-4.9.0-1, v5 MQTT-4.9.0-2, v5 MQTT-4.9.0-3; X311-4.3-a
    check_connected(
        quiet(),
        "id=c rmax=2",
        "! publish q1 a=1
         < PUBLISH q1 #1 a=1
         ! publish q2 a=2
         < PUBLISH q2 #2 a=2
         ! publish q1 a=3
         ! publish a=0
         < PUBLISH a=0
         > PINGREQ
         < PINGRESP
         > PUBLISH q1 #9 b=y
         * message b=y #9
         ! acknowledge #9
         < PUBACK #9
         > PUBREC #2
         < PUBREL #2
         > PUBCOMP #2
         < PUBLISH q1 #3 a=3
         ! publish q1 a=4
         > PUBACK #1 97
         < PUBLISH q1 #4 a=4",
    );
    let limits = Limits {
        inflight_max: 1,
        ..quiet()
    };
    check_connected(
        limits,
        "v311 id=c",
        "! publish q1 a=1
         < PUBLISH q1 #1 a=1
         ! publish q1 a=2
         > PUBACK #1
         < PUBLISH q1 #2 a=2",
    );
}

#[test]
fn what_is_unacknowledged_is_sent_again_in_order_and_only_after_a_reconnect() {
    // v5 MQTT-3.3.1-1, v5 MQTT-3.3.1-3, v5 MQTT-4.4.0-1, v5 MQTT-4.4.0-2, v5 MQTT-4.3.3-3,
    // v5 MQTT-4.3.3-5, v5 MQTT-4.3.3-6, v5 MQTT-4.3.2-3
    // v3.1.1 MQTT-3.3.1-1, v3.1.1 MQTT-4.4.0-1, v3.1.1 MQTT-4.6.0-1; V31-reconnect
    for version in ["session=9", "v311", "v31"] {
        let present = if version == "v31" { "" } else { " present" };
        check_connected(
            quiet(),
            &format!("{version} id=c ka=0"),
            &format!(
                "! publish q1 a=1
                 < PUBLISH q1 #1 a=1
                 ! publish q2 a=2
                 < PUBLISH q2 #2 a=2
                 ! publish q2 a=3
                 < PUBLISH q2 #3 a=3
                 ! publish q1 a=4
                 < PUBLISH q1 #4 a=4
                 > PUBREC #2
                 < PUBREL #2
                 > PUBACK #4
                 @ 100000
                 ! reopen
                 > CONNECT {version} id=c
                 * connect
                 ! resume
                 < CONNACK{present}
                 < PUBREL #2
                 < PUBLISH q1 #1 dup a=1
                 < PUBLISH q2 #3 dup a=3
                 ! publish q1 a=5
                 < PUBLISH q1 #5 a=5"
            ),
        );
    }
}

#[test]
fn a_smaller_receive_maximum_holds_after_a_resume() {
    // v5 MQTT-4.9.0-1, v5 MQTT-4.9.0-2, v5 MQTT-3.3.4-9
    check_connected(
        quiet(),
        "id=c session=9",
        "! publish q2 a=1
         < PUBLISH q2 #1 a=1
         > PUBREC #1
         < PUBREL #1
         ! publish q1 a=2
         < PUBLISH q1 #2 a=2
         ! publish q1 a=3
         < PUBLISH q1 #3 a=3
         ! publish q1 a=4
         < PUBLISH q1 #4 a=4
         ! reopen
         > CONNECT id=c session=9 rmax=1
         * connect
         ! resume
         < CONNACK present
         < PUBREL #1
         < PUBLISH q1 #2 dup a=2
         > PUBCOMP #1
         > PUBACK #4
         ! publish q1 a=5
         > PUBACK #2
         < PUBLISH q1 #3 dup a=3
         > PUBACK #3
         < PUBLISH q1 #5 a=5",
    );
}

#[test]
fn a_client_that_never_finishes_gets_no_more_than_the_window_over_all_connections() {
    let limits = Limits {
        inflight_max: 2,
        ..quiet()
    };
    check_connected(
        limits,
        "id=c session=9",
        "! publish q2 a=1
         < PUBLISH q2 #1 a=1
         ! publish q2 a=2
         < PUBLISH q2 #2 a=2
         > PUBREC #1
         < PUBREL #1
         > PUBREC #2
         < PUBREL #2
         ! publish q2 a=3
         ! reopen
         > CONNECT id=c session=9
         * connect
         ! resume
         < CONNACK present
         < PUBREL #1
         < PUBREL #2
         > PUBCOMP #1
         < PUBLISH q2 #3 a=3",
    );
}

#[test]
fn a_message_too_large_for_the_client_counts_as_delivered() {
    // v5 MQTT-3.1.2-24, v5 MQTT-3.1.2-25
    check_connected(
        quiet(),
        "id=c psize=12 rmax=1 session=9",
        "! publish a=123456
         < PUBLISH a=123456
         ! publish q1 a=1234
         < PUBLISH q1 #1 a=1234
         ! publish a=1234567
         ! publish q1 a=12345
         ! publish q2 a=1
         > PUBACK #1
         < PUBLISH q2 #3 a=1
         ! reopen
         > CONNECT id=c session=9 psize=8
         * connect
         ! resume
         < CONNACK present
         < PUBREL #3
         ! publish q1 a=1",
    );
}

#[test]
fn a_qos_2_message_that_may_not_be_sent_again_is_released() {
    // v5 MQTT-3.1.2-25, v5 MQTT-4.3.3-6: the client may hold #1, so nothing new is sent under it.
    check_connected(
        quiet(),
        "id=c rmax=2 session=9",
        "! publish q2 a=123456
         < PUBLISH q2 #1 a=123456
         ! publish q1 a=123456
         < PUBLISH q1 #2 a=123456
         ! reopen
         > CONNECT id=c rmax=1 session=9 psize=9
         * connect
         ! resume
         < CONNACK present
         < PUBREL #1
         ! publish q1 a=3
         < PUBLISH q1 #3 a=3
         ! publish q1 a=4
         > PUBCOMP #1
         > PUBACK #3
         < PUBLISH q1 #4 a=4
         ! reopen
         > CONNECT id=c session=9
         * connect
         ! resume
         < CONNACK present
         < PUBLISH q1 #4 dup a=4",
    );
    // It goes on being released until PUBCOMP.
    check_connected(
        quiet(),
        "id=c session=9",
        "! publish q2 a=123456
         < PUBLISH q2 #1 a=123456
         ! reopen
         > CONNECT id=c session=9 psize=9
         * connect
         ! resume
         < CONNACK present
         < PUBREL #1
         ! reopen
         > CONNECT id=c session=9
         * connect
         ! resume
         < CONNACK present
         < PUBREL #1
         > PUBCOMP #1 92",
    );
}

#[test]
fn a_message_that_expires_in_the_queue_is_not_sent() {
    // v5 MQTT-3.3.2-5, v5 MQTT-3.3.2-6
    check_connected(
        quiet(),
        "id=c rmax=1 session=9",
        "! publish q1 a=1 expiry=10
         < PUBLISH q1 #1 a=1 expiry=10
         ! publish q1 a=2 expiry=10
         ! publish q1 a=3 expiry=20
         ! publish q1 a=4
         @ 10.5
         > PUBACK #1
         < PUBLISH q1 #2 a=3 expiry=10
         @ 30
         > PUBACK #2
         < PUBLISH q1 #3 a=4",
    );
}

#[test]
fn a_message_that_was_sent_does_not_expire() {
    // v5 MQTT-4.3.3-7, v5 MQTT-4.3.3-13
    check_connected(
        quiet(),
        "id=c session=9",
        "! publish q2 a=1 expiry=10
         < PUBLISH q2 #1 a=1 expiry=10
         @ 100
         ! reopen
         > CONNECT id=c session=9
         * connect
         ! resume
         < CONNACK present
         < PUBLISH q2 #1 dup a=1 expiry=0
         > PUBREC #1
         < PUBREL #1
         > PUBLISH q2 #5 a=in expiry=1
         * message a=in #5
         @ 200
         ! acknowledge #5
         < PUBREC #5
         > PUBREL #5
         < PUBCOMP #5",
    );
}

#[test]
fn qos_0_does_not_wait_for_another_connection() {
    let limits = Limits {
        inflight_max: 1,
        ..quiet()
    };
    check_connected(
        limits,
        "v311 id=c",
        "! publish q1 a=1
         < PUBLISH q1 #1 a=1
         ! publish q1 a=2
         ! publish a=0
         < PUBLISH a=0
         ! reopen
         > CONNECT v311 id=c
         * connect
         ! resume
         < CONNACK present
         < PUBLISH q1 #1 dup a=1
         > PUBACK #1
         < PUBLISH q1 #2 a=2",
    );
}

#[test]
fn subscription_identifiers_go_along_in_5_0_only() {
    check_connected(
        quiet(),
        "id=c",
        "! publish retain a=x sid=1 sid=300 sid=1
         < PUBLISH retain a=x sid=1 sid=300 sid=1",
    );
    check_connected(quiet(), "v311 id=c", "! publish a=x sid=1\n< PUBLISH a=x");
}
