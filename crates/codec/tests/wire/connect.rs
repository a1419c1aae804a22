//! CONNECT and CONNACK.

use mqttstack_codec::{DecodeError, Packet, PropertyId, ProtocolVersion, QoS, ReasonCode, Sender};

use super::hex::{check_canonical, check_exact, check_refused, decode, hex, v5, v31, v311};

#[test]
pub(crate) fn protocol_name_and_level_choose_the_version() {
    // v5 MQTT-3.1.2-1, v5 MQTT-3.1.2-2; v3.1.1 MQTT-3.1.2-1, v3.1.1 MQTT-3.1.2-2; V31-name,
    // BRG-bit, BRG-accept
    let cases = [
        (
            "10 | 0004 4D515454 05 02 003C 00 0001 61",
            ProtocolVersion::V5,
            false,
        ),
        (
            "10 | 0004 4D515454 04 02 003C 0001 61",
            ProtocolVersion::V311,
            false,
        ),
        (
            "10 | 0006 4D5149736470 03 02 003C 0001 61",
            ProtocolVersion::V31,
            false,
        ),
        (
            "10 | 0004 4D515454 84 02 003C 0001 61",
            ProtocolVersion::V311,
            true,
        ),
        (
            "10 | 0006 4D5149736470 83 02 003C 0001 61",
            ProtocolVersion::V31,
            true,
        ),
    ];
    for (text, version, bridge) in cases {
        // The version of the decoder plays no part.
        for decoder in [v5(), v311(), v31()] {
            let Packet::Connect(connect) = check_exact(decoder, text) else {
                panic!("{text}")
            };
            assert_eq!(
                (connect.version, connect.bridge),
                (version, bridge),
                "{text}"
            );
            assert_eq!((&*connect.client_id, connect.keep_alive), ("a", 60));
        }
    }
}

#[test]
pub(crate) fn unsupported_level_is_told_before_anything_else() {
    // v5 MQTT-3.1.2-2; v3.1.1 MQTT-3.1.2-2; V31-mismatch, BRG-5
    let cases = [
        ("10 | 0004 4D515454 03 FF", 3),
        ("10 | 0004 4D515454 06", 6),
        ("10 | 0004 4D515454 00 00", 0),
        ("10 | 0004 4D515454 83 02", 0x83),
        ("10 | 0004 4D515454 85 02 003C 00 0001 61", 0x85),
        ("10 | 0006 4D5149736470 04 02 003C 0001 61", 4),
        ("10 | 0006 4D5149736470 84", 0x84),
        ("10 | 0006 4D5149736470 05", 5),
    ];
    for (text, level) in cases {
        let error = DecodeError::UnsupportedProtocolVersion { level };
        check_refused(v5(), text, error);
        assert_eq!(error.reason_code().as_u8(), 0x84);
    }
}

#[test]
pub(crate) fn unknown_protocol_name_is_refused() {
    // v5 MQTT-3.1.2-1; v3.1.1 MQTT-3.1.2-1
    for name in [
        "0000",
        "0004 6D717474",
        "0003 4D5154",
        "0005 4D51545431",
        "0006 4D5149736444",
    ] {
        let text = format!("10 | {name} 04 02 003C 0001 61");
        check_refused(v311(), &text, DecodeError::UnknownProtocolName);
    }
    assert_eq!(DecodeError::UnknownProtocolName.reason_code().as_u8(), 0x84);
}

/// Returns a CONNECT with the flags and every field that they announce.
fn connect(version: ProtocolVersion, flags: u8) -> String {
    let properties = if version == ProtocolVersion::V5 {
        "00"
    } else {
        ""
    };
    let head = match version {
        ProtocolVersion::V31 => "0006 4D5149736470 03",
        ProtocolVersion::V311 => "0004 4D515454 04",
        ProtocolVersion::V5 => "0004 4D515454 05",
    };
    let will = if flags & 0x04 != 0 {
        format!("{properties} 0001 74 0001 FF")
    } else {
        String::new()
    };
    let user = if flags & 0x80 != 0 { "0001 75" } else { "" };
    let password = if flags & 0x40 != 0 { "0001 FE" } else { "" };
    format!("10 | {head} {flags:02X} 003C {properties} 0001 61 {will} {user} {password}")
}

/// Says which flags can be, as the standards put it.
fn expected(version: ProtocolVersion, flags: u8) -> Option<DecodeError> {
    let is_v31 = version == ProtocolVersion::V31;
    if flags & 0x01 != 0 && !is_v31 {
        return Some(DecodeError::ReservedConnectFlag);
    }
    if flags & 0x04 != 0 && flags & 0x18 == 0x18 {
        return Some(DecodeError::InvalidWillQoS);
    }
    if flags & 0x04 == 0 && flags & 0x38 != 0 && !is_v31 {
        return Some(DecodeError::WillFlagsWithoutWill { flags });
    }
    if flags & 0xC0 == 0x40 && version != ProtocolVersion::V5 {
        return Some(DecodeError::PasswordWithoutUserName);
    }
    None
}

#[test]
pub(crate) fn all_connect_flags_are_judged() {
    // v5 MQTT-3.1.2-3, v5 MQTT-3.1.2-9, v5 MQTT-3.1.2-11, v5 MQTT-3.1.2-12, v5 MQTT-3.1.2-13,
    // v5 MQTT-3.1.2-17, v5 MQTT-3.1.2-19, v5 MQTT-3.1.3-1;
    // v3.1.1 MQTT-3.1.2-3, v3.1.1 MQTT-3.1.2-9, v3.1.1 MQTT-3.1.2-11, v3.1.1 MQTT-3.1.2-13,
    // v3.1.1 MQTT-3.1.2-14, v3.1.1 MQTT-3.1.2-15, v3.1.1 MQTT-3.1.2-19, v3.1.1 MQTT-3.1.2-21,
    // v3.1.1 MQTT-3.1.2-22, v3.1.1 MQTT-3.1.3-1; V31-password, V31-reserved, V31-will;
    // X311-3.1.3.3-a
    for version in [
        ProtocolVersion::V31,
        ProtocolVersion::V311,
        ProtocolVersion::V5,
    ] {
        for flags in 0..=u8::MAX {
            let text = connect(version, flags);
            if let Some(error) = expected(version, flags) {
                check_refused(v5(), &text, error);
                continue;
            }
            let unused = if flags & 0x04 == 0 { 0x39 } else { 0x01 };
            let canonical = connect(version, flags & !unused);
            let Packet::Connect(connect) = check_canonical(v5(), &text, &canonical) else {
                panic!("{text}")
            };
            assert_eq!(connect.clean_start, flags & 0x02 != 0);
            assert_eq!(
                connect.username.as_deref(),
                (flags & 0x80 != 0).then_some("u")
            );
            assert_eq!(
                connect.password.as_deref(),
                (flags & 0x40 != 0).then_some(&[0xFE][..])
            );
            let will = connect
                .will
                .map(|will| (will.qos, will.retain, will.payload.to_vec()));
            let qos = QoS::from_u8(flags >> 3 & 3).unwrap_or_default();
            let has_will = flags & 0x04 != 0;
            assert_eq!(
                will,
                has_will.then_some((qos, flags & 0x20 != 0, vec![0xFF]))
            );
        }
    }
}

#[test]
pub(crate) fn connect_needs_every_field_that_its_flags_announce() {
    // v5 MQTT-3.1.2-9, v5 MQTT-3.1.2-16 to v5 MQTT-3.1.2-19, v5 MQTT-3.1.3-3;
    // v5 MQTT-3.1.2-17, v5 MQTT-3.1.2-18; v3.1.1 MQTT-3.1.2-18, v3.1.1 MQTT-3.1.2-19,
    // v3.1.1 MQTT-3.1.2-20, v3.1.1 MQTT-3.1.2-21, v3.1.1 MQTT-3.1.3-3
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        let full = connect(version, 0xEE);
        let body = hex(full.split_once('|').expect("a body").1);
        for cut in 0..body.len() {
            let mut bytes = vec![0x10, cut as u8];
            bytes.extend(&body[..cut]);
            let error = decode(v5(), &bytes).expect_err("a field is missing");
            assert!(
                matches!(error, DecodeError::FieldTruncated { .. }),
                "{cut}: {error}"
            );
        }
        // A field without its flag is left over.
        for (flags, left_over) in [(0x02, "0001 75"), (0x82, "0001 70"), (0x02, "0001 74 0000")] {
            let text = format!("{} {left_over}", connect(version, flags));
            let count = hex(left_over).len() as u32;
            check_refused(v5(), &text, DecodeError::TrailingBytes { count });
        }
    }
}

#[test]
pub(crate) fn v31_connect_may_end_before_user_name_and_password() {
    // V31-userflag
    let cases = [
        ("C2", "", None, None),
        ("82", "", None, None),
        ("C2", "0001 75", Some("u"), None),
        ("C2", "0001 75 0001 70", Some("u"), Some(&b"p"[..])),
    ];
    for (flags, fields, username, password) in cases {
        let text = format!("10 | 0006 4D5149736470 03 {flags} 003C 0001 61 {fields}");
        let Ok(Packet::Connect(connect)) = decode(v31(), &hex(&text)) else {
            panic!("{text}")
        };
        assert_eq!(connect.username.as_deref(), username);
        assert_eq!(connect.password.as_deref(), password);
        // In 3.1.1 the same is malformed unless all is there.
        let text = format!("10 | 0004 4D515454 04 {flags} 003C 0001 61 {fields}");
        assert_eq!(decode(v311(), &hex(&text)).is_ok(), password.is_some());
    }
    // A will that is announced has to be there, and so has the client id.
    check_refused(
        v31(),
        "10 | 0006 4D5149736470 03 06 003C 0001 61",
        DecodeError::FieldTruncated {
            needed: 2,
            available: 0,
        },
    );
    check_refused(
        v31(),
        "10 | 0006 4D5149736470 03 02 003C",
        DecodeError::FieldTruncated {
            needed: 2,
            available: 0,
        },
    );
}

#[test]
pub(crate) fn empty_client_id_is_for_the_session_to_judge() {
    // v5 MQTT-3.1.3-3; v3.1.1 MQTT-3.1.3-3
    check_exact(v311(), "10 | 0004 4D515454 04 00 003C 0000");
    check_exact(v5(), "10 | 0004 4D515454 05 00 003C 00 0000");
    check_exact(v31(), "10 | 0006 4D5149736470 03 02 003C 0000");
}

#[test]
pub(crate) fn will_topic_is_a_topic_name() {
    // v5 MQTT-3.1.3-11, v5 MQTT-4.7.3-1; v3.1.1 MQTT-3.1.3-10
    let cases = [
        "10 | 0004 4D515454 04 06 003C 0000 0000 0000",
        "10 | 0004 4D515454 05 06 003C 00 0000 00 0000 0000",
    ];
    for text in cases {
        check_refused(v5(), text, DecodeError::EmptyTopicName);
    }
    assert_eq!(DecodeError::EmptyTopicName.reason_code().as_u8(), 0x90);
    // The will message may be empty, and may be anything.
    check_exact(v311(), "10 | 0004 4D515454 04 06 003C 0000 0001 74 0000");
    check_exact(
        v311(),
        "10 | 0004 4D515454 04 06 003C 0000 0001 74 0003 00FF80",
    );
}

#[test]
pub(crate) fn password_is_binary_and_needs_no_user_name_in_v5() {
    // v5 MQTT-3.1.2-19; v3.1.1 MQTT-3.1.2-21
    check_exact(v5(), "10 | 0004 4D515454 05 42 003C 00 0001 61 0003 00FFC0");
    check_exact(
        v311(),
        "10 | 0004 4D515454 04 C2 003C 0001 61 0000 0003 00FFC0",
    );
}

#[test]
pub(crate) fn authentication_data_needs_a_method() {
    // v5 U-10
    let error = DecodeError::AuthenticationDataWithoutMethod;
    check_refused(
        v5(),
        "10 | 0004 4D515454 05 02 003C 04 16 0001 01 0001 61",
        error,
    );
    assert_eq!(error.reason_code().as_u8(), 0x82);
    check_exact(
        v5(),
        "10 | 0004 4D515454 05 02 003C 08 16 0001 01 15 0001 58 0001 61",
    );
    check_exact(v5(), "10 | 0004 4D515454 05 02 003C 04 15 0001 58 0001 61");
}

#[test]
pub(crate) fn connack_flags_are_judged() {
    // v5 MQTT-3.2.2-1, v5 MQTT-3.2.2-6; v3.1.1 MQTT-3.2.2-4; X311-3.2.2.1-a
    for flags in 2..=u8::MAX {
        let error = DecodeError::ReservedConnAckFlags { flags };
        check_refused(v5(), &format!("20 | {flags:02X} 00 00"), error);
        check_refused(v311(), &format!("20 | {flags:02X} 00"), error);
        assert_eq!(error.reason_code().as_u8(), 0x81);
    }
    check_refused(v5(), "20 | 01 80 00", DecodeError::SessionPresentWithError);
    check_refused(v311(), "20 | 01 02", DecodeError::SessionPresentWithError);
}

#[test]
pub(crate) fn v31_connack_flags_are_not_looked_at() {
    // V31-connack
    for flags in ["00", "01", "FF"] {
        let text = format!("20 | {flags} 00");
        let Packet::ConnAck(connack) = check_canonical(v31(), &text, "20 02 00 00") else {
            panic!("{text}")
        };
        assert!(!connack.session_present);
    }
    check_canonical(v31(), "20 | 01 05", "20 02 00 05");
}

#[test]
pub(crate) fn return_codes_of_v3_are_zero_to_five() {
    // v3.1.1 MQTT-3.2.2-6
    for code in 0..=u8::MAX {
        for decoder in [v311(), v31()] {
            let bytes = [0x20, 2, 0, code];
            let result = decode(decoder, &bytes);
            assert_eq!(result.is_ok(), code <= 5, "{code}");
        }
    }
    let Ok(Packet::ConnAck(connack)) = decode(v311(), &[0x20, 2, 0, 5]) else {
        panic!("5")
    };
    assert_eq!(connack.reason_code, ReasonCode::NotAuthorized);
}

#[test]
pub(crate) fn connack_has_all_its_properties() {
    let properties = "11 00000001 12 0001 63 13 0001 15 0001 58 16 0001 01 1A 0001 72 1C 0001 73 \
                      1F 0001 74 21 0001 22 0002 24 01 25 00 26 0001 6B 0001 76 27 00000100 28 00 \
                      29 00 2A 00";
    let length = hex(properties).len();
    let text = format!("20 | 00 00 {length:02X} {properties}");
    let Packet::ConnAck(connack) = check_exact(v5().with_sender(Sender::Server), &text) else {
        panic!("not a CONNACK")
    };
    let properties = &connack.properties;
    assert_eq!(properties.iter().count(), 17);
    assert_eq!(properties.session_expiry_interval(), Some(1));
    assert_eq!(properties.assigned_client_identifier(), Some("c"));
    assert_eq!(properties.server_keep_alive(), Some(1));
    assert_eq!(properties.authentication_method(), Some("X"));
    assert_eq!(properties.authentication_data(), Some(&[1][..]));
    assert_eq!(properties.response_information(), Some("r"));
    assert_eq!(properties.server_reference(), Some("s"));
    assert_eq!(properties.reason_string(), Some("t"));
    assert_eq!(properties.receive_maximum().map(u16::from), Some(1));
    assert_eq!(properties.topic_alias_maximum(), Some(2));
    assert_eq!(properties.maximum_qos(), Some(QoS::AtLeastOnce));
    assert_eq!(properties.retain_available(), Some(false));
    assert_eq!(
        properties.user_properties().collect::<Vec<_>>(),
        [("k", "v")]
    );
    assert_eq!(properties.maximum_packet_size().map(u32::from), Some(256));
    assert_eq!(properties.wildcard_subscription_available(), Some(false));
    assert_eq!(properties.subscription_identifier_available(), Some(false));
    assert_eq!(properties.shared_subscription_available(), Some(false));
    assert_eq!(properties.topic_alias(), None);
    assert!(!properties.contains(PropertyId::ContentType));
}
