//! From the first byte to CONNACK, and what every packet has to keep to.

use mqttstack_codec::{DecodeError, QoS};

use super::*;

#[test]
fn the_first_packet_has_to_be_connect() {
    // v5 MQTT-3.1.0-1, v3.1.1 MQTT-3.1.0-1, v5 MQTT-3.14.0-1
    for first in [
        "CONNACK",
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
        let script = format!("> {first}\n* ended UnexpectedPacket\n> CONNECT\n> {first}");
        check(quiet(), &script);
        let mut session = Session::new(Arc::default(), at(0.0));
        let packet_type = testing::packet(first).packet_type();
        assert!(session.handle_packet_type(packet_type).is_err());
        assert!(session.is_ended());
    }
}

#[test]
fn a_client_that_does_not_connect_in_time_is_closed() {
    // v5 U-04
    check(quiet(), "@ 9.9\n@ 10\n* ended ConnectTimeout\n> CONNECT");
    // An owner that does not decide in time makes the server look busy, not the client wrong.
    check(
        quiet(),
        "> CONNECT id=c
         * connect
         @ 10
         < CONNACK 89
         * ended ConnectTimeout",
    );
    check(
        quiet(),
        "> CONNECT v311 clean id=c
         * connect
         @ 10
         < CONNACK 89
         * ended ConnectTimeout",
    );
}

#[test]
fn a_second_connect_ends_the_connection() {
    // v5 MQTT-3.1.0-2, v3.1.1 MQTT-3.1.0-2, v5 MQTT-4.13.1-1, v3.1.1 MQTT-4.8.0-1
    check_connected(
        quiet(),
        "clean id=c will=w",
        "> CONNECT clean id=c
         < DISCONNECT 82
         * ended UnexpectedPacket will",
    );
    check_connected(
        quiet(),
        "v311 clean id=c will=w",
        "> CONNECT v311 clean id=c
         * ended UnexpectedPacket will",
    );
}

#[test]
fn packets_of_the_other_direction_end_the_connection() {
    // X311-2.2.1-b
    for packet in ["CONNACK", "SUBACK #1 00", "UNSUBACK #1 00", "PINGRESP"] {
        let script = format!("> {packet}\n< DISCONNECT 82\n* ended UnexpectedPacket");
        check_connected(quiet(), "clean id=c", &script);
        let script = format!("> {packet}\n* ended UnexpectedPacket");
        check_connected(quiet(), "v311 clean id=c", &script);
    }
}

#[test]
fn a_new_session_is_announced_as_new() {
    // v5 MQTT-3.1.2-6, v5 MQTT-3.1.4-4, v5 MQTT-3.1.4-5, v5 MQTT-3.2.2-3
    // v3.1.1 MQTT-3.1.4-3, v3.1.1 MQTT-3.1.4-4, v3.1.1 MQTT-3.2.2-3
    for connect in ["id=c", "v311 id=c", "v31 id=c", "v311 clean"] {
        let script = format!("> CONNECT {connect}\n* connect\n! accept\n< CONNACK");
        check(quiet(), &script);
    }
}

#[test]
fn a_clean_start_never_finds_a_session() {
    // v5 MQTT-3.1.2-4, v5 MQTT-3.2.2-2, v3.1.1 MQTT-3.1.2-6, v3.1.1 MQTT-3.2.2-1; V31-clean
    for (version, expiry) in [("session=9", " session=9"), ("v311", ""), ("v31", "")] {
        check_connected(
            quiet(),
            &format!("{version} id=c"),
            &format!(
                "! publish q1 a=x
                 < PUBLISH q1 #1 a=x
                 ! reopen
                 > CONNECT {version} clean id=c
                 * connect
                 ! resume
                 < CONNACK
                 ! publish q1 b=y
                 < PUBLISH q1 #1 b=y
                 ! close
                 * ended TransportClosed{expiry}"
            ),
        );
    }
}

#[test]
fn a_stored_session_goes_on() {
    // v5 MQTT-3.1.2-5, v5 MQTT-3.1.2-23, v5 MQTT-3.2.2-3, v5 MQTT-4.1.0-1
    // v3.1.1 MQTT-3.1.2-4, v3.1.1 MQTT-3.2.2-2, v3.1.1 MQTT-4.1.0-1, v3.1.1 MQTT-4.1.0-2
    for (version, present) in [("session=9", " present"), ("v311", " present"), ("v31", "")] {
        // V31-connack: a 3.1 client is not told. V31-reconnect
        check_connected(
            quiet(),
            &format!("{version} id=c"),
            &format!(
                "! publish q1 a=x
                 < PUBLISH q1 #1 a=x
                 ! reopen
                 > CONNECT {version} id=c
                 * connect
                 ! resume
                 < CONNACK{present}
                 < PUBLISH q1 #1 dup a=x"
            ),
        );
    }
}

#[test]
fn connack_comes_before_all_else_and_once() {
    // v5 MQTT-3.2.0-1, v5 MQTT-3.2.0-2, v3.1.1 MQTT-3.2.0-1
    check_connected(
        quiet(),
        "id=c session=9",
        "! publish q2 a=x
         < PUBLISH q2 #1 a=x
         > PUBREC #1
         < PUBREL #1
         ! publish q1 b=y
         < PUBLISH q1 #2 b=y
         ! reopen
         > CONNECT id=c session=9
         * connect
         ! resume
         < CONNACK present
         < PUBREL #1
         < PUBLISH q1 #2 dup b=y
         ! accept
         ! refuse 87",
    );
}

#[test]
fn connack_announces_what_differs_from_the_defaults() {
    // v5 MQTT-3.2.2-9, v5 MQTT-3.2.2-21, v5 MQTT-3.2.2-22
    let limits = Limits {
        receive_maximum: 5,
        maximum_qos: QoS::AtLeastOnce,
        retain_available: false,
        packet_size_max: 1_000,
        topic_alias_maximum: 3,
        wildcard_subscriptions: false,
        subscription_identifiers: false,
        shared_subscriptions: false,
        session_expiry_max: 100,
        keep_alive_max: 30,
        ..Limits::default()
    };
    check(
        limits.clone(),
        "> CONNECT clean ka=60 session=200
         * connect
         ! accept as:auto reason
         < CONNACK session=100 rmax=5 maxqos=q1 noretain psize=1000 assigned=auto amax=3 \
           nowildcards noids noshared serverka=30 reason",
    );
    check(
        quiet(),
        "> CONNECT clean id=c ka=60 session=200
         * connect
         ! accept as:ignored
         < CONNACK",
    );
    // 3.x cannot be told.
    check(
        limits,
        "> CONNECT v311 clean ka=60
         * connect
         ! accept as:auto reason
         < CONNACK
         @ 44
         @ 45
         * ended KeepAliveTimeout",
    );
}

#[test]
fn limits_at_their_extremes_still_make_a_connack() {
    let limits = Limits {
        receive_maximum: 0,
        inflight_max: 0,
        packet_size_max: 0,
        keep_alive_min: u16::MAX,
        session_expiry_max: 0,
        ..quiet()
    };
    check(
        limits,
        "> CONNECT clean id=c ka=1 session=1
         * connect
         ! accept
         < CONNACK session=0 rmax=1 psize=1 serverka=65535
         ! publish q1 a=x
         < PUBLISH q1 #1 a=x
         ! close
         * ended TransportClosed",
    );
}

#[test]
fn response_information_is_sent_on_request_only() {
    // v5 MQTT-3.1.2-28
    check(
        quiet(),
        "> CONNECT id=c
         * connect
         ! accept information=r user
         < CONNACK user",
    );
    check(
        quiet(),
        "> CONNECT id=c inform
         * connect
         ! accept information=r user
         < CONNACK information=r user",
    );
}

#[test]
fn what_the_owner_adds_to_connack_never_displaces_the_limits() {
    check(
        quiet(),
        "> CONNECT id=c session=7
         * connect
         ! accept rmax=1 session=3 method=M data=d reference=r user
         < CONNACK reference=r user",
    );
}

#[test]
fn explanations_yield_to_the_maximum_packet_size_of_the_client() {
    // v5 MQTT-3.2.2-19, v5 MQTT-3.2.2-20
    check(
        quiet(),
        "> CONNECT id=c psize=10
         * connect
         ! accept reason user
         < CONNACK",
    );
    // v5 MQTT-3.1.2-24: not even the bare one fits.
    check(
        quiet(),
        "> CONNECT id=c psize=4
         * ended ResponseTooLarge",
    );
}

#[test]
fn a_session_whose_connack_does_not_fit_stays_with_its_owner() {
    // v5 MQTT-3.1.2-24
    let mut session = Session::new(Arc::new(quiet()), at(0.0));
    let connect = Packet::Connect(testing::connect("psize=10"));
    session.handle_packet(connect, at(0.0)).expect("a CONNECT");
    let mut state = SessionState::new();
    let options = DeliveryOptions {
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_ids: SubscriptionIds::default(),
        group: None,
    };
    state
        .enqueue(message("a=x q1"), options, &quiet(), at(0.0))
        .expect("there is room");
    let acceptance = Acceptance {
        state: state.clone(),
        session_present: true,
        assigned_client_id: Some("longer-than-that".into()),
        ..Acceptance::default()
    };
    let not_accepted = Err(super::super::NotAccepted::from(state));
    assert_eq!(session.accept(acceptance.clone(), at(0.0)), not_accepted);
    assert!(session.is_ended());
    // Nor is it lost where no CONNECT waits.
    assert_eq!(session.accept(acceptance, at(0.0)), not_accepted);
    assert_eq!(session.detach(), None);
}

#[test]
fn a_refused_connect_gets_one_connack_and_the_end() {
    // v5 MQTT-3.2.2-7, v5 MQTT-4.13.2-1, v5 MQTT-3.1.4-6
    check(
        quiet(),
        "> CONNECT id=c will=w session=9
         * connect
         ! refuse 9C reference=other reason
         < CONNACK 9C reference=other reason
         * ended Refused(UseAnotherServer)
         > PUBLISH a=x
         > SUBSCRIBE #1 f:a",
    );
}

#[test]
fn a_refused_3x_connect_gets_a_code_that_fits_or_none() {
    // v3.1.1 MQTT-3.2.2-5, v3.1.1 MQTT-3.2.2-6, v3.1.1 MQTT-3.1.4-5, v3.1.1 MQTT-3.1.3-9
    // X311-3.2.2.3-a, X311-3.1.4-b
    for (code, connack, cause) in [
        ("85", "< CONNACK 85", "ClientIdentifierNotValid"),
        ("86", "< CONNACK 86", "BadUserNameOrPassword"),
        ("87", "< CONNACK 87", "NotAuthorized"),
        ("89", "< CONNACK 89", "ServerBusy"),
        ("8B", "< CONNACK 88", "ServerShuttingDown"),
        ("99", "", "PayloadFormatInvalid"),
        ("9B", "", "QoSNotSupported"),
    ] {
        for version in ["v311", "v31"] {
            check(
                quiet(),
                &format!(
                    "> CONNECT {version} clean id=c
                     * connect
                     ! refuse {code} reason
                     {connack}
                     * ended Refused({cause})
                     > SUBSCRIBE #1 f:a"
                ),
            );
        }
    }
}

#[test]
fn a_client_has_to_name_itself_where_its_version_says_so() {
    // v3.1.1 MQTT-3.1.3-6, v3.1.1 MQTT-3.1.3-8; V31-clientid-empty
    let refused = "< CONNACK 85\n* ended Refused(ClientIdentifierNotValid)";
    check(quiet(), &format!("> CONNECT v311\n{refused}"));
    check(quiet(), &format!("> CONNECT v31\n{refused}"));
    check(quiet(), &format!("> CONNECT v31 clean\n{refused}"));
    check(quiet(), "> CONNECT v311 clean\n* connect");
    check(quiet(), "> CONNECT\n* connect");
}

#[test]
fn client_identifiers_up_to_23_bytes_are_always_taken() {
    // v5 MQTT-3.1.3-5, v3.1.1 MQTT-3.1.3-5; V31-clientid, X311-3.1.3.1-a
    let limits = Limits {
        client_id_bytes_max: 0,
        ..quiet()
    };
    for version in ["v311", "v31", "v5"] {
        let taken = "a".repeat(23);
        check(
            limits.clone(),
            &format!("> CONNECT {version} id={taken}\n* connect"),
        );
        let refused = "a".repeat(24);
        check(
            limits.clone(),
            &format!(
                "> CONNECT {version} id={refused}
                 < CONNACK 85
                 * ended Refused(ClientIdentifierNotValid)"
            ),
        );
    }
}

#[test]
fn a_will_beyond_the_limits_is_refused() {
    // v5 MQTT-3.2.2-12, v5 MQTT-3.2.2-13
    let limits = Limits {
        maximum_qos: QoS::AtMostOnce,
        retain_available: false,
        ..quiet()
    };
    check(
        limits.clone(),
        "> CONNECT id=c will=w q1\n< CONNACK 9B\n* ended Refused(QoSNotSupported)",
    );
    check(
        limits,
        "> CONNECT id=c will=w retain\n< CONNACK 9A\n* ended Refused(RetainNotSupported)",
    );
}

#[test]
fn what_is_pipelined_behind_connect_waits_for_the_answer() {
    // X311-3.1.4-d, v3.1.1 MQTT-3.1.4-5
    let mut session = Session::new(Arc::new(quiet()), at(0.0));
    let connect = Packet::Connect(testing::connect("v311 clean id=c"));
    session.handle_packet(connect, at(0.0)).expect("accepted");
    assert!(session.is_deciding());
    session
        .accept(Acceptance::default(), at(0.0))
        .expect("fits");
    assert!(!session.is_deciding());
    let packet = testing::packet("PUBLISH a=x");
    session.handle_packet(packet, at(0.0)).expect("accepted");
}

#[test]
fn bytes_that_are_no_packet_get_the_answer_that_their_version_has() {
    // v5 MQTT-3.1.4-1, v3.1.1 MQTT-3.1.4-1, v3.1.1 MQTT-3.1.2-2; V31-badconnect, BRG-5
    use ProtocolVersion::{V5, V31, V311};
    let level = |level| DecodeError::UnsupportedProtocolVersion { level };
    for (error, version, answer) in [
        (
            DecodeError::InvalidWillQoS,
            Some(V5),
            Some((V5, "CONNACK 81")),
        ),
        (DecodeError::InvalidWillQoS, Some(V311), None),
        (DecodeError::InvalidWillQoS, Some(V31), None),
        (DecodeError::InvalidWillQoS, None, None),
        (DecodeError::UnknownProtocolName, None, None),
        (level(2), None, Some((V311, "CONNACK 84"))),
        (level(0x83), None, Some((V311, "CONNACK 84"))),
        (level(0x85), None, Some((V5, "CONNACK 84"))),
        (level(6), None, Some((V5, "CONNACK 84"))),
    ] {
        let mut session = Session::new(Arc::new(quiet()), at(0.0));
        session.handle_decode_error(error, version);
        let sent = session.poll_packet(at(0.0));
        let sent = sent.map(|packet| packet.into_packet(V5).expect("a packet"));
        assert_eq!(
            sent,
            answer.map(|(_, words)| testing::packet(words)),
            "{error:?}"
        );
        if let Some((version, _)) = answer {
            assert_eq!(session.version(), Some(version));
        }
        assert!(matches!(session.poll_event(), Some(Event::Ended(_))));
        assert!(session.is_ended());
        assert_eq!(session.detach(), None);
    }
}

#[test]
fn the_bridge_bit_is_for_the_owner_to_judge() {
    // BRG-accept, BRG-bit
    check(
        quiet(),
        "> CONNECT v311 bridge id=c
         * connect bridge
         ! refuse 84
         < CONNACK 84
         * ended Refused(UnsupportedProtocolVersion)",
    );
    check(
        quiet(),
        "> CONNECT v31 bridge id=c
         * connect bridge
         ! accept
         < CONNACK",
    );
}

#[test]
fn user_properties_are_bounded_in_every_packet() {
    let limits = Limits {
        user_properties_max: 1,
        ..quiet()
    };
    check(
        limits.clone(),
        "> CONNECT id=c user user
         < CONNACK 97
         * ended TooManyUserProperties",
    );
    for packet in [
        "PUBLISH a=x user user",
        "PUBACK #1 user user",
        "PUBREC #1 user user",
        "PUBREL #1 user user",
        "PUBCOMP #1 user user",
        "SUBSCRIBE #1 f:a user user",
        "UNSUBSCRIBE #1 f:a user user",
        "DISCONNECT user user",
    ] {
        let script = format!("> {packet}\n< DISCONNECT 97\n* ended TooManyUserProperties");
        check_connected(limits.clone(), "id=c", &script);
    }
}

#[test]
fn a_packet_has_so_many_filters() {
    let limits = Limits {
        filters_per_packet_max: 2,
        ..quiet()
    };
    for packet in ["SUBSCRIBE #1 f:a f:b f:c", "UNSUBSCRIBE #1 f:a f:b f:c"] {
        let script = format!("> {packet}\n< DISCONNECT 97\n* ended TooManyFilters");
        check_connected(limits.clone(), "id=c", &script);
    }
}
