//! Messages and requests of a client.

use mqttstack_codec::QoS;

use super::{
    super::{RequestError, ServerCapabilities},
    *,
};
use crate::PublishError;

#[test]
fn each_exchange_has_an_identifier_of_its_own_until_its_last_answer() {
    // v5 MQTT-2.2.1-3, v3.1.1 MQTT-2.3.1-2, v3.1.1 MQTT-2.3.1-3
    // v5 MQTT-4.3.1-1, v5 MQTT-4.3.2-1, v5 MQTT-4.3.2-2, v5 MQTT-4.3.3-1, v5 MQTT-4.3.3-2
    // v3.1.1 MQTT-4.3.1-1, v3.1.1 MQTT-4.3.2-1, v3.1.1 MQTT-4.3.3-1
    for (version, unsuback, outcome) in [("v5", " 11", " 11"), ("v311", "", ""), ("v31", "", "")] {
        check_connected(
            quiet(),
            &format!("{version} id=c"),
            "CONNACK",
            &format!(
                "! publish q1 a=1
                 < PUBLISH q1 #1 a=1
                 ! subscribe f:a f:b
                 < SUBSCRIBE #2 q1 f:a f:b
                 ! publish q2 a=2
                 < PUBLISH q2 #3 a=2
                 ! unsubscribe f:a
                 < UNSUBSCRIBE #4 f:a
                 > PUBREC #3
                 < PUBREL #3
                 > SUBACK #2 00 80
                 * done 2 Subscribed 00 80
                 > UNSUBACK #4{unsuback}
                 * done 4 Unsubscribed{outcome}
                 > PUBACK #1
                 * done 1 Acknowledged 00
                 > PUBCOMP #3
                 * done 3 Acknowledged 00"
            ),
        );
    }
}

#[test]
fn a_suback_that_does_not_fit_its_subscribe_ends_the_connection() {
    for (answer, error) in [
        ("SUBACK #1 00", "ReasonCodeCount"),
        ("SUBACK #2 00 00", "AckMismatch"),
        ("UNSUBACK #1 00 00", "AckMismatch"),
        ("PUBACK #1", "AckMismatch"),
        ("PUBREC #1", "AckMismatch"),
        ("PUBCOMP #1", "AckMismatch"),
    ] {
        check_connected(
            quiet(),
            "id=c",
            "CONNACK",
            &format!(
                "! subscribe f:a f:b
                 < SUBSCRIBE #1 q1 f:a f:b
                 > {answer}
                 < DISCONNECT 82
                 * done 1 Unanswered
                 * ended {error}"
            ),
        );
    }
    check_connected(
        quiet(),
        "id=c",
        "CONNACK",
        "! unsubscribe f:a f:b
         < UNSUBSCRIBE #1 f:a f:b
         > UNSUBACK #1 00
         < DISCONNECT 82
         * done 1 Unanswered
         * ended ReasonCodeCount",
    );
}

#[test]
fn requests_end_with_their_connection() {
    check_connected(
        quiet(),
        "id=c session=9",
        "CONNACK",
        "! publish q1 a=x
         < PUBLISH q1 #1 a=x
         ! subscribe f:a
         < SUBSCRIBE #2 q1 f:a
         ! unsubscribe f:a
         < UNSUBSCRIBE #3 f:a
         ! close
         * done 2 Unanswered
         * done 3 Unanswered
         * ended TransportClosed
         ! subscribe f:a
         ! connect id=c session=9
         < CONNECT id=c session=9
         > CONNACK present
         * connected present
         < PUBLISH q1 #1 dup a=x
         > PUBACK #1
         * done 1 Acknowledged 00",
    );
}

#[test]
fn what_the_server_cannot_do_is_refused_before_it_is_asked() {
    // v5 MQTT-3.2.2-11, v5 MQTT-3.2.2-14, v5 MQTT-3.2.2-15
    let mut session = Session::new(quiet());
    session.connect(testing::connect("id=c"), at(0.0));
    let connack = "CONNACK maxqos=q1 noretain psize=20 nowildcards noids noshared";
    session
        .handle_packet(testing::packet(connack), at(0.0))
        .expect("accepted");
    let mut publish = |words| session.publish(message(words), at(0.0)).map(|_| ());
    let maximum = QoS::AtLeastOnce;
    assert_eq!(
        publish("q2 a=x"),
        Err(PublishError::QosNotSupported { maximum })
    );
    assert_eq!(publish("retain a=x"), Err(PublishError::RetainNotSupported));
    let too_large = PublishError::PacketTooLarge {
        size: 21,
        maximum: 20,
    };
    assert_eq!(publish("q1 a=1234567890123"), Err(too_large));
    assert_eq!(publish("q1 a=123456789012"), Ok(()));

    let mut subscribe = |filter, words| {
        let filters = [Subscription::new(filter, QoS::AtMostOnce)];
        let filters = SubscribeFilters::new(filters).expect("valid");
        session.subscribe(filters, properties(words)).map(|_| ())
    };
    assert_eq!(
        subscribe("a/+", ""),
        Err(RequestError::WildcardsNotSupported)
    );
    assert_eq!(subscribe("#", ""), Err(RequestError::WildcardsNotSupported));
    let shared = "$share/g/a";
    assert_eq!(
        subscribe(shared, ""),
        Err(RequestError::SharedSubscriptionsNotSupported)
    );
    let identified = subscribe("a", "sid=1");
    assert_eq!(
        identified,
        Err(RequestError::SubscriptionIdentifiersNotSupported)
    );
    let too_large = RequestError::PacketTooLarge {
        size: 21,
        maximum: 20,
    };
    assert_eq!(subscribe("1234567890123", ""), Err(too_large));
    assert_eq!(subscribe("12345678901", ""), Ok(()));
    assert_eq!(
        session.queue_status().inflight,
        1,
        "refused requests leave nothing behind"
    );
}

#[test]
fn capabilities_default_to_everything() {
    let connack = mqttstack_codec::ConnAck::new(false, ReasonCode::Success);
    let server = ServerCapabilities::from_connack(&connack);
    assert_eq!(server.maximum_qos, QoS::ExactlyOnce);
    assert_eq!(server.receive_maximum, u16::MAX);
    assert!(server.retain_available && server.shared_subscriptions);
    assert_eq!(server.topic_alias_maximum, 0);
}

#[test]
fn what_was_queued_offline_is_checked_against_the_server_that_answers() {
    // v5 MQTT-3.2.2-11, v5 MQTT-3.2.2-14, v5 MQTT-3.2.2-15
    check(
        quiet(),
        "! publish q2 a=1
         ! publish q1 retain a=2
         ! publish q1 a=123456789
         ! publish q1 a=4
         ! connect id=c
         < CONNECT id=c
         > CONNACK maxqos=q1 noretain psize=16
         * connected
         * done 1 QosNotSupported
         * done 2 RetainNotSupported
         * done 3 TooLarge
         < PUBLISH q1 #4 a=4",
    );
}

#[test]
fn a_qos_2_message_that_may_not_be_sent_again_is_reported_once_and_released() {
    // v5 MQTT-3.2.2-15, v5 MQTT-4.3.3-6
    let begin = "! publish q2 a=123456789
         < PUBLISH q2 #1 a=123456789
         ! close
         * ended TransportClosed
         ! connect id=c session=9
         < CONNECT id=c session=9
         > CONNACK present psize=9
         * connected present
         < PUBREL #1
         * done 1 TooLarge
         ! publish q1 a=2
         < PUBLISH q1 #2 a=2";
    for end in [
        "> PUBCOMP #1\n> PUBACK #2\n* done 2 Acknowledged 00",
        // The server has lost the session: what was given up is not reported again.
        "! close
         * ended TransportClosed
         ! connect id=c session=9
         < CONNECT id=c session=9
         > CONNACK
         * connected
         < PUBLISH q1 #3 a=2",
    ] {
        let script = format!("{begin}\n{end}");
        check_connected(quiet(), "id=c session=9", "CONNACK", &script);
    }
}

#[test]
fn the_window_of_the_server_holds_back_messages_and_nothing_else() {
    // v5 MQTT-3.3.4-7, v5 MQTT-3.3.4-8, v5 MQTT-4.9.0-1, v5 MQTT-4.9.0-2, v5 MQTT-4.9.0-3
    check_connected(
        quiet(),
        "id=c ka=5",
        "CONNACK rmax=1",
        "! publish q2 a=1
         < PUBLISH q2 #1 a=1
         ! publish q1 a=2
         ! publish a=0
         < PUBLISH a=0
         * done 3 Sent
         ! subscribe f:a
         < SUBSCRIBE #2 q1 f:a
         > PUBLISH q1 #7 b=y
         * message b=y #7
         ! acknowledge #7
         < PUBACK #7
         @ 5
         < PINGREQ
         > PINGRESP
         > PUBREC #1
         < PUBREL #1
         > PUBCOMP #1
         * done 1 Acknowledged 00
         < PUBLISH q1 #3 a=2
         > PUBACK #3 97
         * done 2 Acknowledged 97
         ! disconnect
         < DISCONNECT
         * done 4 Unanswered
         * ended ClientDisconnected",
    );
}

#[test]
fn a_server_that_exceeds_the_receive_maximum_is_left() {
    // v5 U-24, v5 MQTT-3.3.4-9
    let limits = Limits {
        receive_maximum: 1,
        topic_alias_maximum: 0,
        ..Limits::default()
    };
    let settings = Settings {
        limits: Arc::new(limits),
        ..quiet()
    };
    check_connected(
        settings,
        "id=c",
        "CONNACK",
        "> PUBLISH q1 #1 a=x
         * message a=x #1
         > PUBLISH q1 #2 a=x
         < DISCONNECT 93
         * ended ReceiveMaximumExceeded",
    );
}

#[test]
fn aliases_work_both_ways() {
    // v5 MQTT-3.2.2-17, v5 MQTT-3.2.2-18, v5 MQTT-3.3.2-9, v5 MQTT-3.3.2-7, v5 MQTT-3.3.2-8
    let limits = Limits {
        receive_maximum: u16::MAX,
        topic_alias_maximum: 2,
        ..Limits::default()
    };
    let settings = Settings {
        limits: Arc::new(limits),
        ..quiet()
    };
    check_connected(
        settings,
        "id=c session=9",
        "CONNACK amax=1",
        "! publish topic=1
         < PUBLISH topic=1
         * done 1 Sent
         ! publish topic=2
         < PUBLISH topic=2 alias=1
         * done 2 Sent
         ! publish q1 topic=3
         < PUBLISH q1 #1 =3 alias=1
         > PUBLISH b=1 alias=2
         * message b=1
         > PUBLISH =2 alias=2
         * message b=2
         ! close
         * ended TransportClosed
         ! connect id=c session=9
         < CONNECT id=c amax=2 session=9
         > CONNACK present
         * connected present
         < PUBLISH q1 #1 dup topic=3
         > PUBLISH =3 alias=2
         < DISCONNECT 82
         * ended TopicAliasUnknown",
    );
}

#[test]
fn subscription_identifiers_are_handed_on() {
    check_connected(
        quiet(),
        "id=c",
        "CONNACK",
        "> PUBLISH a=x sid=7 sid=1 sid=7\n* message a=x sid=7 sid=1 sid=7",
    );
}

#[test]
fn a_client_acknowledges_in_order() {
    // v5 MQTT-4.6.0-2, v5 MQTT-4.6.0-3, v3.1.1 MQTT-4.6.0-2, v3.1.1 MQTT-4.6.0-3
    // v5 MQTT-4.3.2-4, v5 MQTT-4.3.3-8, v5 MQTT-4.3.3-10
    check_connected(
        quiet(),
        "id=c",
        "CONNACK",
        "> PUBLISH q1 #1 a=1
         * message a=1 #1
         > PUBLISH q2 #2 a=2
         * message a=2 #2
         ! acknowledge #2
         > PUBLISH q2 #2 dup a=2
         ! acknowledge #1 10
         < PUBACK #1
         < PUBREC #2
         > PUBREL #2
         < PUBCOMP #2",
    );
}

#[test]
fn pubrels_leave_in_the_order_of_the_pubrecs() {
    // v5 MQTT-4.6.0-4, v3.1.1 MQTT-4.6.0-4
    check_connected(
        quiet(),
        "id=c",
        "CONNACK",
        "! publish q2 a=1
         < PUBLISH q2 #1 a=1
         ! publish q2 a=2
         < PUBLISH q2 #2 a=2
         > PUBREC #2
         < PUBREL #2
         > PUBREC #1
         < PUBREL #1",
    );
}

#[test]
fn what_is_unacknowledged_is_sent_again_in_order() {
    // v5 MQTT-4.4.0-1, v5 MQTT-4.6.0-1, v3.1.1 MQTT-4.4.0-1, v3.1.1 MQTT-4.6.0-1, v3.1.1 MQTT-2.3.1-3
    // V31-reconnect: a 3.1 server never says that it resumes.
    for (version, connack, connected) in [
        ("session=9", "CONNACK present", "connected present"),
        ("v311", "CONNACK present", "connected present"),
        ("v31", "CONNACK", "connected"),
    ] {
        check_connected(
            quiet(),
            &format!("{version} id=c"),
            "CONNACK",
            &format!(
                "! publish q2 a=1
                 < PUBLISH q2 #1 a=1
                 ! publish q1 a=2
                 < PUBLISH q1 #2 a=2
                 ! publish q2 a=3
                 < PUBLISH q2 #3 a=3
                 > PUBREC #1
                 < PUBREL #1
                 ! close
                 * ended TransportClosed
                 ! publish q1 a=4
                 ! connect {version} id=c
                 < CONNECT {version} id=c
                 > {connack}
                 * {connected}
                 < PUBREL #1
                 < PUBLISH q1 #2 dup a=2
                 < PUBLISH q2 #3 dup a=3
                 < PUBLISH q1 #4 a=4
                 > PUBCOMP #1 92
                 * done 1 Acknowledged 00"
            ),
        );
    }
}

#[test]
fn nothing_of_a_clean_session_of_3_1_is_resumed() {
    // V31-connack, V31-reconnect: the server knows nothing of identifier 9 any more.
    check_connected(
        quiet(),
        "v31 id=c clean",
        "CONNACK",
        "> PUBLISH q2 #9 a=1
         * message a=1 #9
         ! acknowledge #9
         < PUBREC #9
         ! close
         * ended TransportClosed
         ! connect v31 id=c
         < CONNECT v31 id=c
         > CONNACK
         * connected
         > PUBLISH q2 #9 a=2
         * message a=2 #9
         ! acknowledge #9
         < PUBREC #9",
    );
}

#[test]
fn a_lost_session_is_sent_anew_or_given_up() {
    // v5 MQTT-3.2.2-5, v5 MQTT-3.1.2-4, v3.1.1 MQTT-3.1.2-6; X311-3.2.2.2-a, X311-3.1.2.4-b
    let script = |version: &str, then: &str| {
        format!(
            "! publish q2 a=1
             < PUBLISH q2 #1 a=1
             ! publish q1 a=2
             < PUBLISH q1 #2 a=2
             ! publish q2 a=3
             < PUBLISH q2 #3 a=3
             > PUBREC #1
             < PUBREL #1
             > PUBLISH q2 #1 b=in
             * message b=in #1
             ! acknowledge #1
             < PUBREC #1
             ! close
             * ended TransportClosed
             ! publish q1 a=4
             ! connect {version} clean id=c
             < CONNECT {version} clean id=c
             > CONNACK
             * done 1 Acknowledged 00
             {then}
             > PUBLISH q2 #1 b=new
             * message b=new #1"
        )
    };
    for version in ["session=9", "v311", "v31"] {
        let resent = "* connected
            < PUBLISH q1 #4 a=2
            < PUBLISH q2 #5 a=3
            < PUBLISH q1 #6 a=4";
        let connect = format!("{version} id=c");
        check_connected(quiet(), &connect, "CONNACK", &script(version, resent));
        let given_up = "* done 2 SessionLost
            * done 3 SessionLost
            * connected
            < PUBLISH q1 #4 a=4";
        let settings = Settings {
            lost_session: LostSession::GiveUp,
            ..quiet()
        };
        check_connected(settings, &connect, "CONNACK", &script(version, given_up));
    }
}

#[test]
fn every_message_has_one_outcome() {
    check_connected(
        quiet(),
        "id=c",
        "CONNACK rmax=1",
        "! publish q2 a=1
         < PUBLISH q2 #1 a=1
         ! publish q1 a=2 expiry=5
         @ 6
         * done 2 Expired
         > PUBREC #1 97
         * done 1 Acknowledged 97
         > PUBREC #1 97",
    );
    let limits = Limits {
        queue_messages_max: 1,
        ..Limits::default()
    };
    let settings = Settings {
        limits: Arc::new(limits),
        ..quiet()
    };
    check(
        settings,
        "! publish q1 a=1
         ! publish q1 a=2
         * done 1 Dropped
         ! publish a=3",
    );
}

#[test]
fn a_detached_session_goes_on_elsewhere() {
    let mut session = Session::new(quiet());
    session.publish(message("q1 a=x"), at(0.0)).expect("taken");
    let state = session.detach();
    assert_eq!(state.queue_status().queued_messages, 1);
    check_session(
        Session::resume(quiet(), state),
        "! connect id=c
         < CONNECT id=c
         > CONNACK present
         * connected present
         < PUBLISH q1 #1 a=x
         > PUBACK #1
         * done 1 Acknowledged 00",
    );
}

#[test]
fn an_acknowledgement_in_error_explains_itself() {
    // v5 MQTT-3.4.2-2, v5 MQTT-3.4.2-3, v5 MQTT-3.2.2-15
    for (connack, explanation) in [("CONNACK", " reason user"), ("CONNACK psize=10", "")] {
        check_connected(
            quiet(),
            "id=c",
            connack,
            &format!(
                "> PUBLISH q1 #1 a=x
                 * message a=x #1
                 ! acknowledge #1 83 reason user
                 < PUBACK #1 83{explanation}"
            ),
        );
    }
}
