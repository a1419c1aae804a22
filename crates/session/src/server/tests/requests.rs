//! SUBSCRIBE and UNSUBSCRIBE at a server.

use super::*;

#[test]
fn every_subscribe_is_answered_in_the_words_of_its_version() {
    // v5 MQTT-3.8.4-1, v5 MQTT-3.8.4-2, v5 MQTT-3.8.4-6, v5 MQTT-3.9.3-1, v5 MQTT-2.2.1-6
    // v3.1.1 MQTT-3.8.4-1, v3.1.1 MQTT-3.8.4-2, v3.1.1 MQTT-3.8.4-4, v3.1.1 MQTT-2.3.1-7; V31-suback
    for (version, suback) in [
        ("v5", "01 87 97 80 00"),
        ("v311", "01 80 80 80 00"),
        ("v31", "01 00 00 00 00"),
    ] {
        check_connected(
            quiet(),
            &format!("{version} id=c"),
            &format!(
                "> SUBSCRIBE #10 f:a f:b f:c f:d f:e
                 * subscribe #10
                 ! suback #10 01 87 97 8E 10
                 < SUBACK #10 {suback}"
            ),
        );
    }
}

#[test]
fn every_unsubscribe_is_answered_in_the_words_of_its_version() {
    // v5 MQTT-3.10.4-4, v5 MQTT-3.10.4-5, v5 MQTT-3.11.3-1, v5 MQTT-2.2.1-6
    // v3.1.1 MQTT-3.10.4-4, v3.1.1 MQTT-3.10.4-5, v3.1.1 MQTT-3.10.4-6, v3.1.1 MQTT-2.3.1-7
    for (version, unsuback) in [("v5", " 00 11"), ("v311", ""), ("v31", "")] {
        check_connected(
            quiet(),
            &format!("{version} id=c"),
            &format!(
                "> UNSUBSCRIBE #10 f:a f:b
                 * unsubscribe #10
                 ! unsuback #10 00 11
                 < UNSUBACK #10{unsuback}"
            ),
        );
    }
}

#[test]
fn explanations_of_suback_and_unsuback_yield() {
    // v5 MQTT-3.9.2-1, v5 MQTT-3.9.2-2, v5 MQTT-3.11.2-1, v5 MQTT-3.11.2-2, v5 MQTT-3.1.2-29
    for (connect, explanation) in [("", " reason user"), ("noproblem", ""), ("psize=15", "")] {
        check_connected(
            quiet(),
            &format!("id=c {connect}"),
            &format!(
                "! suback #1 00 reason user
                 < SUBACK #1 00{explanation}
                 ! unsuback #1 00 reason user
                 < UNSUBACK #1 00{explanation}"
            ),
        );
    }
}

#[test]
fn a_client_that_cannot_take_its_suback_is_disconnected() {
    // v5 MQTT-3.1.2-24
    check_connected(
        quiet(),
        "id=c psize=7",
        "! suback #1 00 00
         < SUBACK #1 00 00
         ! suback #1 00 00 00
         < DISCONNECT 95
         * ended ResponseTooLarge",
    );
}

#[test]
fn subscription_identifiers_are_refused_where_they_are_not_available() {
    // v5 U-17
    let limits = Limits {
        subscription_identifiers: false,
        ..quiet()
    };
    check_connected(
        limits,
        "id=c",
        "> SUBSCRIBE #1 f:a
         * subscribe #1
         > SUBSCRIBE #2 f:a sid=1
         < DISCONNECT A1
         * ended SubscriptionIdentifiersNotSupported",
    );
}

#[test]
fn what_was_started_is_finished_after_unsubscribe() {
    // v5 MQTT-3.10.4-3, v3.1.1 MQTT-3.10.4-3
    check_connected(
        quiet(),
        "id=c session=9",
        "! publish q2 a=x
         < PUBLISH q2 #1 a=x
         > UNSUBSCRIBE #1 f:a
         * unsubscribe #1
         ! unsuback #1 00
         < UNSUBACK #1 00
         > PUBREC #1
         < PUBREL #1
         > PUBCOMP #1",
    );
}
