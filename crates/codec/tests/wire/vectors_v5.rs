//! The vectors of the MQTT 5.0 wire document, section 16.

use mqttstack_codec::{
    DecodeError, Decoder, Delivery, Packet, PacketType, Properties, PropertyId, PropertyScope,
    ProtocolVersion, PublishParts,
};

use super::hex::{check_canonical, check_exact, check_refused, hex, v5};

/// Packets in their canonical form.
pub(crate) const GOOD: &[(&str, &str)] = &[
    (
        "CONNECT, client id a",
        "10 0E 00 04 4D 51 54 54 05 02 00 3C 00 00 01 61",
    ),
    (
        "CONNECT, session expiry, receive maximum",
        "10 15 00 04 4D 51 54 54 05 00 00 00 08 11 FF FF FF FF 21 00 0A 00 00",
    ),
    (
        "CONNECT with all fields",
        "10 26 00 04 4D 51 54 54 05 EE 00 1E 00 00 02 63 31 05 18 00 00 00 05 00 03 77 2F 74 \
             00 03 62 79 65 00 01 75 00 02 01 02",
    ),
    ("CONNACK", "20 03 00 00 00"),
    (
        "CONNACK, session present, topic alias maximum",
        "20 06 01 00 03 22 00 10",
    ),
    ("CONNACK 0x84", "20 03 00 84 00"),
    ("PUBLISH QoS 0", "30 08 00 03 61 2F 62 00 68 69"),
    ("PUBLISH QoS 1", "32 08 00 03 61 2F 62 00 0A 00"),
    ("PUBLISH QoS 2, DUP, RETAIN", "3D 07 00 01 74 00 01 00 00"),
    (
        "PUBLISH sets an alias",
        "30 0A 00 03 61 2F 62 03 23 00 01 78",
    ),
    ("PUBLISH by alias", "30 07 00 00 03 23 00 01 78"),
    (
        "PUBLISH with two subscription identifiers",
        "30 0B 00 01 61 07 0B 01 0B FF FF FF 7F",
    ),
    ("PUBACK", "40 02 00 0A"),
    ("PUBACK 0x10", "40 03 00 0A 10"),
    (
        "PUBACK 0x87 with reason",
        "40 09 00 0A 87 05 1F 00 02 6E 6F",
    ),
    ("PUBREC", "50 02 00 0A"),
    ("PUBREL", "62 02 00 0A"),
    ("PUBREL 0x92", "62 03 00 0A 92"),
    ("PUBCOMP", "70 02 00 0A"),
    (
        "SUBSCRIBE",
        "82 0F 00 0A 00 00 03 61 2F 62 01 00 03 63 2F 64 02",
    ),
    (
        "SUBSCRIBE with identifier, shared",
        "82 13 00 01 03 0B 80 01 00 0A 24 73 68 61 72 65 2F 67 2F 61 29",
    ),
    ("SUBACK", "90 05 00 0A 00 01 87"),
    (
        "UNSUBSCRIBE",
        "A2 0D 00 0A 00 00 03 61 2F 62 00 03 63 2F 64",
    ),
    ("UNSUBACK", "B0 05 00 0A 00 00 11"),
    ("PINGREQ", "C0 00"),
    ("PINGRESP", "D0 00"),
    ("DISCONNECT", "E0 00"),
    ("DISCONNECT 0x04", "E0 01 04"),
    ("DISCONNECT, session expiry 0", "E0 07 00 05 11 00 00 00 00"),
    ("AUTH, short", "F0 00"),
    ("AUTH 0x18", "F0 0B 18 09 15 00 01 58 16 00 02 01 02"),
];

#[test]
pub(crate) fn good_packets_are_encoded_as_they_came() {
    for (name, text) in GOOD {
        println!("{name}");
        check_exact(Decoder::new(), text);
    }
}

#[test]
pub(crate) fn disconnect_with_an_empty_property_block_loses_it() {
    // Property Length 0 may be left out of a DISCONNECT, and is.
    check_canonical(v5(), "E0 02 8E 00", "E0 01 8E");
}

#[test]
fn variable_byte_integers_are_exact() {
    // v5 MQTT-1.5.5-1
    let cases: [(usize, &str); 8] = [
        (0, "00"),
        (127, "7F"),
        (128, "80 01"),
        (16_383, "FF 7F"),
        (16_384, "80 80 01"),
        (2_097_151, "FF FF 7F"),
        (2_097_152, "80 80 80 01"),
        (268_435_455, "FF FF FF 7F"),
    ];
    for (length, text) in cases {
        let mut bytes = hex("30");
        bytes.extend(hex(text));
        let header = v5().frame(&bytes).expect("legal").expect("complete");
        assert_eq!(header.remaining_length(), length);
        assert_eq!(header.header_len(), bytes.len());
        let parts = PublishParts {
            delivery: Delivery::AtMostOnce,
            retain: false,
            topic: "t".into(),
            properties: [Properties::empty(); 2],
            payload_len: length.saturating_sub(4),
        };
        let mut head = Vec::new();
        parts
            .encode_head(ProtocolVersion::V5, &mut head)
            .expect("a legal packet");
        if length >= 4 {
            assert!(head.starts_with(&bytes), "{length}");
        }
    }
}

#[test]
pub(crate) fn string_of_four_byte_characters_is_kept() {
    let packet = check_exact(v5(), "30 | 00 05 41 F0 AA 9B 94 00");
    assert!(matches!(packet, Packet::Publish(publish) if publish.topic == "A\u{2A6D4}"));
}

#[test]
pub(crate) fn bad_packets_are_refused() {
    use DecodeError as E;
    let connect = |flags: &str| format!("10 | 0004 4D515454 05 {flags} 003C 00 0001 61");
    let subscribe = |options: &str| format!("82 | 0001 00 0001 61 {options}");
    let reserved = |options| E::ReservedSubscriptionOptions { options };
    let options = |options| E::InvalidSubscriptionOptions { options };
    let without_will = |flags| E::WillFlagsWithoutWill { flags };
    let flags = |packet_type, flags| E::InvalidFlags { packet_type, flags };
    let cases = [
        ("10 FF FF FF FF 01".to_owned(), E::RemainingLengthTooLong),
        ("80 00".to_owned(), flags(PacketType::Subscribe, 0)),
        ("60 00".to_owned(), flags(PacketType::PubRel, 0)),
        ("A0 00".to_owned(), flags(PacketType::Unsubscribe, 0)),
        ("F1 00".to_owned(), flags(PacketType::Auth, 1)),
        ("E1 00".to_owned(), flags(PacketType::Disconnect, 1)),
        ("36 00".to_owned(), E::InvalidPublishQoS),
        ("3E 00".to_owned(), E::InvalidPublishQoS),
        ("00 00".to_owned(), E::ReservedPacketType { first_byte: 0 }),
        (subscribe("03"), options(0x03)),
        (subscribe("30"), options(0x30)),
        (subscribe("40"), reserved(0x40)),
        (subscribe("80"), reserved(0x80)),
        (connect("03"), E::ReservedConnectFlag),
        (connect("08"), without_will(0x08)),
        (connect("20"), without_will(0x20)),
        (connect("1C"), E::InvalidWillQoS),
        (
            "30 | 0001 61 02 24 01".to_owned(),
            E::PropertyNotAllowed {
                property: PropertyId::MaximumQoS,
                scope: PropertyScope::Publish,
            },
        ),
        (
            "10 | 0004 4D515454 05 02 003C 0A 11 00000001 11 00000001 0001 61".to_owned(),
            E::DuplicateProperty {
                property: PropertyId::SessionExpiryInterval,
            },
        ),
        (
            "10 | 0004 4D515454 05 02 003C 03 21 0000 0001 61".to_owned(),
            E::InvalidPropertyValue {
                property: PropertyId::ReceiveMaximum,
                value: 0,
            },
        ),
        (
            "10 | 0004 4D515454 05 02 003C 05 27 00000000 0001 61".to_owned(),
            E::InvalidPropertyValue {
                property: PropertyId::MaximumPacketSize,
                value: 0,
            },
        ),
        (
            "30 | 0002 C080 00".to_owned(),
            E::InvalidUtf8 { valid_up_to: 0 },
        ),
        (
            "30 | 0003 EDA080 00".to_owned(),
            E::InvalidUtf8 { valid_up_to: 0 },
        ),
        ("30 | 0001 00 00".to_owned(), E::NulInString),
        (
            "30 | 0001 FF 00".to_owned(),
            E::InvalidUtf8 { valid_up_to: 0 },
        ),
    ];
    for (text, error) in cases {
        check_refused(v5(), &text, error);
    }
}
