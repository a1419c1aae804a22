//! Messages both ways at a server: acknowledgements, windows, sizes, aliases, resending.

use mqttstack_codec::QoS;
use mqttstack_limits::Overflow;

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

fn options(qos: QoS) -> DeliveryOptions {
    DeliveryOptions {
        qos,
        retain: false,
        subscription_ids: SubscriptionIds::None,
        group: None,
    }
}

#[test]
fn a_full_queue_sheds_by_its_policy() {
    let (qos0, qos1) = (options(QoS::AtMostOnce), options(QoS::AtLeastOnce));
    let new = || message("a=x");
    for (overflow, taken) in [
        (Overflow::DropOldest, Ok(())),
        (
            Overflow::DropNewest,
            Err(PublishError::QueueFull { messages: 2 }),
        ),
        (Overflow::EndSession, Err(PublishError::SessionMustEnd)),
    ] {
        let limits = Limits {
            queue_messages_max: 2,
            overflow,
            ..quiet()
        };
        let mut session = connected(&limits);
        for options in [&qos1, &qos0] {
            assert!(session.publish(new(), options.clone(), at(0.0)).is_ok());
        }
        // QoS 0 goes first, whatever the policy.
        assert!(session.publish(new(), qos1.clone(), at(0.0)).is_ok());
        assert_eq!(session.queue_status().dropped, 1);
        let result = session.publish(new(), qos1.clone(), at(0.0));
        assert_eq!(result.map(|_| ()), taken, "{overflow:?}");
        let full = Err(PublishError::QueueFull { messages: 2 });
        assert_eq!(
            session.publish(new(), qos0.clone(), at(0.0)).map(|_| ()),
            full
        );
        assert_eq!(session.queue_status().queued_messages, 2);
    }
    // v3.1.1 MQTT-3.1.2-5
    let mut state = SessionState::new();
    let away = state.enqueue(new(), qos0, &quiet(), at(0.0));
    assert_eq!(away, Err(PublishError::NotConnected));
}

#[test]
fn the_bytes_in_flight_hold_back_what_needs_an_acknowledgement() {
    let limits = Limits {
        inflight_bytes_max: 8,
        ..quiet()
    };
    check_connected(
        limits.clone(),
        "id=c session=9",
        "! publish q1 a=1234
         < PUBLISH q1 #1 a=1234
         ! publish q2 a=12
         < PUBLISH q2 #2 a=12
         ! publish q1 a=3
         ! publish a=0
         < PUBLISH a=0
         > PUBREC #2
         < PUBREL #2
         < PUBLISH q1 #3 a=3
         ! publish q1 a=12345678
         > PUBACK #3
         ! reopen
         > CONNECT id=c session=9
         * connect
         ! resume
         < CONNACK present
         < PUBREL #2
         < PUBLISH q1 #1 dup a=1234
         > PUBACK #1
         < PUBLISH q1 #4 a=12345678
         ! publish q1 a=5
         > PUBACK #4
         < PUBLISH q1 #5 a=5
         > PUBCOMP #2
         > PUBACK #5",
    );
    // A refusal, and a message that is skipped, give their bytes back as well.
    check_connected(
        limits,
        "id=c psize=12",
        "! publish q2 a=1234
         < PUBLISH q2 #1 a=1234
         ! publish q2 a=2
         < PUBLISH q2 #2 a=2
         ! publish q1 a=123456
         ! publish q1 a=4
         > PUBREC #1 87
         > PUBREC #2 87
         < PUBLISH q1 #4 a=4
         ! publish q1 a=1234
         < PUBLISH q1 #5 a=1234",
    );
}

#[test]
fn what_has_expired_makes_room_first() {
    // v5 MQTT-3.3.2-5
    for overflow in [
        Overflow::DropOldest,
        Overflow::DropNewest,
        Overflow::EndSession,
    ] {
        let limits = Limits {
            queue_messages_max: 4,
            overflow,
            ..quiet()
        };
        let mut state = SessionState::new();
        let mut enqueue = |words: &str, now| {
            let result = state.enqueue(message(words), options(QoS::AtLeastOnce), &limits, now);
            let status = state.queue_status();
            (result.is_ok(), status.queued_messages, status.expired)
        };
        // The message that stays stands before those that expire.
        assert_eq!(enqueue("q1 a=1", at(0.0)), (true, 1, 0));
        for queued in 2..5 {
            let taken = enqueue("q1 a=x expiry=10", at(0.0));
            assert_eq!(taken, (true, queued, 0));
        }
        assert_eq!(enqueue("q1 a=2", at(10.0)), (true, 2, 3), "{overflow:?}");
        assert_eq!(state.queue_status().dropped, 0, "{overflow:?}");
    }
}

#[test]
fn a_full_queue_is_not_searched_for_every_message() {
    let limits = Limits {
        queue_messages_max: 320,
        overflow: Overflow::DropNewest,
        ..quiet()
    };
    let mut state = SessionState::new();
    let mut enqueue = |words: &str, now| {
        let result = state.enqueue(message(words), options(QoS::AtLeastOnce), &limits, now);
        (result.is_ok(), state.queue_status().expired)
    };
    assert_eq!(enqueue("q1 a=1", at(0.0)), (true, 0));
    // The last to come is the first to expire, after 100 seconds.
    for n in 1..320 {
        let words = format!("q1 a=x expiry={}", 419 - n);
        assert_eq!(enqueue(&words, at(0.0)), (true, 0));
    }
    assert_eq!(enqueue("q1 a=2", at(100.0)), (true, 1));
    // From now on one expires each second, and one comes: 320 / 16 of them pay for a search.
    for n in 1..20 {
        assert_eq!(enqueue("q1 a=3", at(100.0 + f64::from(n))), (false, 1));
    }
    assert_eq!(enqueue("q1 a=3", at(120.0)), (true, 21));
}

#[test]
fn a_message_larger_than_the_queue_displaces_nothing() {
    let full = Err(PublishError::QueueFull { messages: 2 });
    for (overflow, qos1) in [
        (Overflow::DropOldest, full),
        (Overflow::DropNewest, full),
        (Overflow::EndSession, Err(PublishError::SessionMustEnd)),
    ] {
        let limits = Limits {
            queue_bytes_max: 8,
            overflow,
            ..quiet()
        };
        let mut session = connected(&limits);
        let mut publish = |words: &str| {
            let message = message(words);
            let options = options(message.qos());
            let result = session.publish(message, options, at(0.0)).map(|_| ());
            (result, session.queue_status().queued_messages)
        };
        assert_eq!(publish("q1 a=1"), (Ok(()), 1), "{overflow:?}");
        assert_eq!(publish("a=2"), (Ok(()), 2), "{overflow:?}");
        // Not even QoS 0 gives way.
        assert_eq!(publish("q1 a=12345678"), (qos1, 2), "{overflow:?}");
        assert_eq!(publish("a=12345678"), (full, 2), "{overflow:?}");
        assert_eq!(publish("q2 a=3456"), (Ok(()), 2), "QoS 0 gave way");
        while session.poll_packet(at(0.0)).is_some() {}
        let large = message("q1 a=12345678");
        let taken = session.publish(large, options(QoS::AtLeastOnce), at(0.0));
        assert!(taken.is_ok(), "an empty queue takes any size");
    }
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

fn connected(limits: &Limits) -> Session {
    let mut session = Session::new(Arc::new(limits.clone()), at(0.0));
    let connect = Packet::Connect(testing::connect("id=c"));
    session.handle_packet(connect, at(0.0)).expect("accepted");
    session
        .accept(Acceptance::default(), at(0.0))
        .expect("fits");
    while session.poll_packet(at(0.0)).is_some() {}
    session
}
