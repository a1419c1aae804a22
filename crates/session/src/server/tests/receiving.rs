//! Messages from a client: acknowledgements, windows, limits, aliases.

use mqttstack_codec::QoS;

use super::*;

#[test]
fn a_publish_is_answered_by_its_qos() {
    // v5 MQTT-3.3.4-1, v5 MQTT-2.2.1-5, v5 MQTT-4.3.2-4, v5 MQTT-4.3.3-8, v5 MQTT-4.3.3-11
    // v3.1.1 MQTT-3.3.4-1, v3.1.1 MQTT-2.3.1-6, v3.1.1 MQTT-4.3.2-2, v3.1.1 MQTT-4.3.3-2
    for version in ["v5", "v311", "v31"] {
        check_connected(
            quiet(),
            &format!("{version} id=c"),
            "> PUBLISH a=0
             * message a=0
             > PUBLISH q1 #10 a=1
             * message a=1 #10
             ! acknowledge #10
             < PUBACK #10
             > PUBLISH q2 #11 a=2
             * message a=2 #11
             ! acknowledge #11
             < PUBREC #11
             > PUBREL #11
             < PUBCOMP #11",
        );
    }
}

#[test]
fn a_refusal_is_told_where_the_version_can() {
    // V31-puback-deny, v3.1.1 MQTT-3.3.5-2
    for (version, code, then) in [
        // v5 MQTT-4.3.3-9: the identifier means a new message at once.
        ("v5", " 87", "> PUBLISH q2 #2 a=z\n* message a=z #2"),
        ("v311", "", "> PUBLISH q2 #2 dup a=y\n< PUBREC #2"),
        ("v31", "", "> PUBLISH q2 #2 dup a=y\n< PUBREC #2"),
    ] {
        check_connected(
            quiet(),
            &format!("{version} id=c"),
            &format!(
                "> PUBLISH q1 #1 a=x
                 * message a=x #1
                 ! acknowledge #1 87
                 < PUBACK #1{code}
                 > PUBLISH q2 #2 a=y
                 * message a=y #2
                 ! acknowledge #2 87
                 < PUBREC #2{code}
                 {then}"
            ),
        );
    }
}

#[test]
fn acknowledgements_explain_themselves_where_they_may() {
    // v5 MQTT-3.4.2-2, v5 MQTT-3.4.2-3, v5 MQTT-3.5.2-2, v5 MQTT-3.5.2-3, v5 MQTT-3.1.2-29
    for (connect, explanation) in [
        ("v5", " reason user"),
        ("noproblem", ""),
        ("psize=20", " user"),
        ("psize=10", ""),
    ] {
        check_connected(
            quiet(),
            &format!("{connect} id=c"),
            &format!(
                "> PUBLISH q1 #1 a=x
                 * message a=x #1
                 ! acknowledge #1 87 reason user
                 < PUBACK #1 87{explanation}
                 > PUBLISH q2 #1 a=x
                 * message a=x #1
                 ! acknowledge #1 87 reason user
                 < PUBREC #1 87{explanation}"
            ),
        );
    }
}

#[test]
fn acknowledgements_leave_in_the_order_of_the_messages() {
    // v5 MQTT-4.6.0-2, v5 MQTT-4.6.0-3, v3.1.1 MQTT-4.6.0-2, v3.1.1 MQTT-4.6.0-3
    check_connected(
        quiet(),
        "v311 id=c",
        "> PUBLISH q1 #1 a=1
         * message a=1 #1
         > PUBLISH q2 #2 a=2
         * message a=2 #2
         > PUBLISH q1 #3 a=3
         * message a=3 #3
         ! acknowledge #3
         ! acknowledge #2
         ! acknowledge #9
         ! acknowledge #1
         < PUBACK #1
         < PUBREC #2
         < PUBACK #3",
    );
}

#[test]
fn a_qos_1_identifier_means_a_new_message_after_its_puback() {
    // v5 MQTT-4.3.2-5, v3.1.1 MQTT-4.3.2-2
    check_connected(
        quiet(),
        "id=c",
        "> PUBLISH q1 #1 a=x
         * message a=x #1
         ! acknowledge #1
         < PUBACK #1
         > PUBLISH q1 #1 dup a=x
         * message a=x #1",
    );
}

#[test]
fn a_qos_2_message_arrives_once_however_often_it_is_sent() {
    // v5 MQTT-4.3.3-10, v5 MQTT-4.3.3-12, v3.1.1 MQTT-4.3.3-2; V31-retry
    for version in ["session=9", "v311", "v31"] {
        let present = if version == "v31" { "" } else { " present" };
        check_connected(
            quiet(),
            &format!("{version} id=c"),
            &format!(
                "> PUBLISH q2 #1 a=x
                 * message a=x #1
                 > PUBLISH q2 #1 dup a=x
                 ! acknowledge #1
                 < PUBREC #1
                 > PUBLISH q2 #1 dup a=x
                 < PUBREC #1
                 > PUBLISH q2 #1 a=x
                 < PUBREC #1
                 ! reopen
                 > CONNECT {version} id=c
                 * connect
                 ! resume
                 < CONNACK{present}
                 > PUBLISH q2 #1 dup a=x
                 < PUBREC #1
                 > PUBREL #1
                 < PUBCOMP #1
                 > PUBLISH q2 #1 dup a=y
                 * message a=y #1"
            ),
        );
    }
}

#[test]
fn what_was_not_accepted_arrives_anew_on_the_next_connection() {
    check_connected(
        quiet(),
        "session=9 id=c",
        "> PUBLISH q2 #1 a=x
         * message a=x #1
         > PUBLISH q2 #2 a=y
         * message a=y #2
         > PUBLISH q2 #3 a=z
         * message a=z #3
         ! acknowledge #2 87
         ! acknowledge #3
         ! reopen
         > CONNECT session=9 id=c
         * connect
         ! resume
         < CONNACK present
         > PUBLISH q2 #1 dup a=x
         * message a=x #1
         > PUBLISH q2 #2 dup a=y
         * message a=y #2
         > PUBLISH q2 #3 dup a=z
         ! acknowledge #1
         < PUBREC #1
         ! acknowledge #2
         < PUBREC #2
         < PUBREC #3",
    );
}

#[test]
fn an_owner_can_accept_a_message_whose_connection_is_gone() {
    // v5 MQTT-4.3.3-10, v3.1.1 MQTT-4.3.3-2: what the owner has acted upon does not come again.
    check_connected(
        quiet(),
        "session=9 id=c",
        "> PUBLISH q2 #1 a=x
         * message a=x #1
         > PUBLISH q2 #2 a=y
         * message a=y #2
         ! reopen
         ! settle #1
         ! settle #2 97
         ! settle #3
         > CONNECT session=9 id=c
         * connect
         ! resume
         < CONNACK present
         > PUBLISH q2 #1 dup a=x
         < PUBREC #1
         > PUBLISH q2 #2 dup a=y
         * message a=y #2",
    );
}

#[test]
fn pubrel_is_answered_even_for_an_unknown_identifier() {
    // v5 MQTT-4.3.3-11, v3.1.1 MQTT-4.3.3-2
    check_connected(quiet(), "id=c", "> PUBREL #7\n< PUBCOMP #7 92");
    check_connected(quiet(), "v311 id=c", "> PUBREL #7\n< PUBCOMP #7");
    check_connected(quiet(), "v31 id=c", "> PUBREL #7\n< PUBCOMP #7");
}

#[test]
fn pubrel_for_what_was_not_accepted_ends_the_connection() {
    check_connected(
        quiet(),
        "id=c",
        "> PUBLISH q2 #1 a=x
         * message a=x #1
         > PUBREL #1
         < DISCONNECT 82
         * ended AckMismatch",
    );
}

#[test]
fn a_pubrel_takes_the_place_of_a_pubrec_that_still_waits() {
    // V31-retry: the sender had a PUBREC before it repeated itself.
    check_connected(
        quiet(),
        "v31 id=c",
        "> PUBLISH q2 #1 a=x
         * message a=x #1
         ! acknowledge #1
         < PUBREC #1
         > PUBLISH q1 #2 a=y
         * message a=y #2
         > PUBLISH q2 #1 dup a=x
         > PUBREL #1
         < PUBCOMP #1
         ! acknowledge #2
         < PUBACK #2",
    );
}

#[test]
fn more_than_the_receive_maximum_ends_the_connection() {
    // v5 U-24, v5 MQTT-3.3.4-7
    let limits = || Limits {
        receive_maximum: 2,
        topic_alias_maximum: 0,
        ..Limits::default()
    };
    check_connected(
        limits(),
        "id=c",
        "> PUBLISH q1 #1 a=x
         * message a=x #1
         > PUBLISH q2 #2 a=x
         * message a=x #2
         > PUBLISH a=x
         * message a=x
         > PUBLISH q2 #2 dup a=x
         > PUBLISH q1 #3 a=x
         < DISCONNECT 93
         * ended ReceiveMaximumExceeded",
    );
    // A slot is free after PUBACK, PUBCOMP and PUBREC with an error, not after PUBREC.
    check_connected(
        limits(),
        "id=c",
        "> PUBLISH q2 #1 a=x
         * message a=x #1
         ! acknowledge #1 97
         < PUBREC #1 97
         > PUBLISH q2 #1 a=x
         * message a=x #1
         ! acknowledge #1
         < PUBREC #1
         > PUBLISH q1 #2 a=x
         * message a=x #2
         ! acknowledge #2
         < PUBACK #2
         > PUBLISH q1 #2 a=x
         * message a=x #2
         > PUBLISH q1 #3 a=x
         < DISCONNECT 93
         * ended ReceiveMaximumExceeded",
    );
    // 3.x clients cannot be told, so all their identifiers are theirs.
    check_connected(
        limits(),
        "v311 id=c",
        "> PUBLISH q1 #1 a=x
         * message a=x #1
         > PUBLISH q1 #2 a=x
         * message a=x #2
         > PUBLISH q1 #3 a=x
         * message a=x #3",
    );
}

#[test]
fn a_message_of_an_earlier_connection_takes_a_slot_once_it_is_repeated() {
    let limits = Limits {
        receive_maximum: 1,
        topic_alias_maximum: 0,
        ..Limits::default()
    };
    check_connected(
        limits,
        "id=c session=9",
        "> PUBLISH q2 #1 a=x
         * message a=x #1
         ! acknowledge #1
         < PUBREC #1
         ! reopen
         > CONNECT id=c session=9
         * connect
         ! resume
         < CONNACK present rmax=1
         > PUBLISH q2 #2 a=y
         * message a=y #2
         > PUBLISH q2 #1 dup a=x
         < DISCONNECT 93
         * ended ReceiveMaximumExceeded session=9",
    );
}

#[test]
fn what_the_server_announced_not_to_take_ends_the_connection() {
    // v5 U-14, v5 U-15, v5 MQTT-3.3.4-6
    let limits = Limits {
        maximum_qos: QoS::AtLeastOnce,
        retain_available: false,
        ..quiet()
    };
    for (packet, code, error) in [
        ("PUBLISH q2 #1 a=x", "9B", "QosNotSupported"),
        ("PUBLISH retain a=x", "9A", "RetainNotSupported"),
        ("PUBLISH a=x sid=1", "82", "UnexpectedPacket"),
    ] {
        let script = format!("> {packet}\n< DISCONNECT {code}\n* ended {error}");
        check_connected(limits.clone(), "id=c", &script);
    }
}

#[test]
fn a_payload_beyond_the_limit_is_refused_in_its_acknowledgement() {
    let limits = || Limits {
        payload_size_max: 2,
        ..quiet()
    };
    check_connected(
        limits(),
        "id=c",
        "> PUBLISH a=123
         > PUBLISH q1 #1 a=123
         < PUBACK #1 97
         > PUBLISH q2 #2 a=123
         < PUBREC #2 97
         > PUBLISH q1 #1 a=12
         * message a=12 #1",
    );
    check_connected(limits(), "v311 id=c", "> PUBLISH q1 #1 a=123\n< PUBACK #1");
}

#[test]
fn inbound_aliases_live_as_long_as_the_connection() {
    // v5 MQTT-3.3.2-7, v5 MQTT-3.3.2-8, v5 MQTT-3.3.2-12, v5 U-20, v5 U-21
    let limits = || Limits {
        topic_alias_maximum: 2,
        ..quiet()
    };
    check_connected(
        limits(),
        "id=c session=9",
        "> PUBLISH a=1 alias=2
         * message a=1
         > PUBLISH =2 alias=2
         * message a=2
         ! reopen
         > CONNECT id=c session=9
         * connect
         ! resume
         < CONNACK present amax=2
         > PUBLISH =3 alias=2
         < DISCONNECT 82
         * ended TopicAliasUnknown session=9",
    );
    check_connected(
        limits(),
        "id=c",
        "> PUBLISH a=1 alias=3
         < DISCONNECT 94
         * ended TopicAliasInvalid",
    );
    // A refused message sets its alias all the same.
    check_connected(
        Limits {
            payload_size_max: 1,
            ..limits()
        },
        "id=c",
        "> PUBLISH a=11 alias=1
         > PUBLISH =2 alias=1
         * message a=2",
    );
}

#[test]
fn a_client_that_does_not_read_its_answers_is_disconnected() {
    // v3.1.1 MQTT-4.8.0-2: this connection alone.
    let limits = Limits {
        response_bytes_max: 4_096,
        ..quiet()
    };
    for flood in [
        testing::packet("PINGREQ"),
        testing::packet("PUBREL #7"),
        testing::packet("PUBREC #7"),
    ] {
        let mut session = connected(&limits);
        let mut packets = 0;
        let error = loop {
            match session.handle_packet(flood.clone(), at(0.0)) {
                Ok(()) => packets += 1,
                Err(error) => break error,
            }
            assert!(packets < 10_000, "{flood:?} is not bounded");
        };
        assert_eq!(error, ProtocolError::ResponsesNotRead);
        assert!(packets > 100);
    }
}

#[test]
fn a_qos_2_message_repeated_behind_an_open_decision_costs_nothing() {
    let mut session = connected(&quiet());
    let mut receive = |words| session.handle_packet(testing::packet(words), at(0.0));
    receive("PUBLISH q1 #1 a=x").expect("taken");
    receive("PUBLISH q2 #2 a=y").expect("taken");
    for _ in 0..100_000 {
        receive("PUBLISH q2 #2 dup a=y").expect("taken");
    }
    assert_eq!(session.owed_acknowledgements(), 2);
}
