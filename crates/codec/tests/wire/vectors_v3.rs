//! The vectors of the MQTT 3.1 and 3.1.1 wire document, section 21.

use mqttstack_codec::{DecodeError, Packet, PacketType};

use super::hex::{check_canonical, check_exact, check_refused, hex, v31, v311};

/// Packets in their canonical form.
pub(crate) const GOOD: &[(&str, &str)] = &[
    ("CONNECT", "10 0D 00 04 4D 51 54 54 04 02 00 3C 00 01 61"),
    (
        "CONNECT, empty client id",
        "10 0C 00 04 4D 51 54 54 04 02 00 3C 00 00",
    ),
    (
        "the same, to be refused by the session",
        "10 0C 00 04 4D 51 54 54 04 00 00 3C 00 00",
    ),
    (
        "CONNECT with all fields",
        "10 1E 00 04 4D 51 54 54 04 EE 00 0A 00 02 69 64 00 03 77 2F 74 00 02 01 02 00 01 75 \
             00 02 70 FF",
    ),
    (
        "CONNECT 3.1",
        "10 0F 00 06 4D 51 49 73 64 70 03 02 00 3C 00 01 61",
    ),
    (
        "bridge 3.1.1",
        "10 0D 00 04 4D 51 54 54 84 02 00 3C 00 01 61",
    ),
    (
        "bridge 3.1",
        "10 0F 00 06 4D 51 49 73 64 70 83 02 00 3C 00 01 61",
    ),
    ("CONNACK", "20 02 00 00"),
    ("CONNACK, session present", "20 02 01 00"),
    ("CONNACK 1", "20 02 00 01"),
    ("CONNACK 2", "20 02 00 02"),
    ("CONNACK 3", "20 02 00 03"),
    ("CONNACK 4", "20 02 00 04"),
    ("CONNACK 5", "20 02 00 05"),
    ("PUBLISH QoS 0", "30 07 00 03 61 2F 62 68 69"),
    (
        "PUBLISH QoS 1, DUP, RETAIN",
        "3B 09 00 03 61 2F 62 00 0A 68 69",
    ),
    ("PUBLISH QoS 2", "34 09 00 03 61 2F 62 00 0A 68 69"),
    ("PUBLISH, empty, RETAIN", "31 05 00 03 61 2F 62"),
    ("PUBACK", "40 02 00 0A"),
    ("PUBREC", "50 02 00 0A"),
    ("PUBREL", "62 02 00 0A"),
    ("PUBCOMP", "70 02 00 0A"),
    (
        "SUBSCRIBE",
        "82 0E 00 0A 00 03 61 2F 62 01 00 03 63 2F 64 02",
    ),
    ("SUBACK", "90 04 00 0A 01 80"),
    ("UNSUBSCRIBE", "A2 0C 00 0A 00 03 61 2F 62 00 03 63 2F 64"),
    ("UNSUBACK", "B0 02 00 0A"),
    ("PINGREQ", "C0 00"),
    ("PINGRESP", "D0 00"),
    ("DISCONNECT", "E0 00"),
];

#[test]
pub(crate) fn good_packets_are_encoded_as_they_came() {
    for (name, text) in GOOD {
        println!("{name}");
        check_exact(v311(), text);
    }
}

#[test]
pub(crate) fn v31_connect_may_lack_flagged_fields() {
    // V31-userflag
    let packet = check_canonical(
        v31(),
        "10 0F 00 06 4D 51 49 73 64 70 03 C2 00 3C 00 01 61",
        "10 0F 00 06 4D 51 49 73 64 70 03 02 00 3C 00 01 61",
    );
    let Packet::Connect(connect) = packet else {
        panic!("not a CONNECT")
    };
    assert_eq!((connect.username, connect.password), (None, None));
}

#[test]
fn remaining_lengths_are_read() {
    // X311-2.2.3-a; the trap that a literal reading of the standard refuses all of four bytes.
    let cases = [
        ("00", 0),
        ("7F", 127),
        ("80 01", 128),
        ("C1 02", 321),
        ("FF 7F", 16_383),
        ("80 80 01", 16_384),
        ("FF FF FF 7F", 268_435_455),
    ];
    for (text, length) in cases {
        let mut bytes = hex("30");
        bytes.extend(hex(text));
        let header = v311().frame(&bytes).expect("legal").expect("complete");
        assert_eq!(header.remaining_length(), length);
    }
}

#[test]
pub(crate) fn string_of_four_byte_characters_is_kept() {
    let packet = check_exact(v311(), "30 | 00 05 41 F0 AA 9B 94");
    assert!(matches!(packet, Packet::Publish(publish) if publish.topic == "A\u{2A6D4}"));
}

#[test]
pub(crate) fn bad_packets_are_refused() {
    use DecodeError as E;
    let truncated = |needed, available| E::FieldTruncated { needed, available };
    let cases = [
        ("30 80 80 80 80 01", E::RemainingLengthTooLong),
        ("30 03 00 01 00", E::NulInString),
        ("30 05 00 03 ED A0 80", E::InvalidUtf8 { valid_up_to: 0 }),
        ("30 04 00 02 C0 80", E::InvalidUtf8 { valid_up_to: 0 }),
        ("30 07 FF FF 41 42 43 44 45", truncated(65_535, 5)),
        ("82 05 00 01 00 01 61", truncated(1, 0)),
        (
            "82 02 00 01",
            E::EmptyList {
                packet_type: PacketType::Subscribe,
            },
        ),
        (
            "82 06 00 01 00 01 61 03",
            E::InvalidSubscriptionOptions { options: 3 },
        ),
        (
            "82 06 00 01 00 01 61 80",
            E::ReservedSubscriptionOptions { options: 0x80 },
        ),
        ("32 05 00 01 61 00 00", E::PacketIdZero),
        // Trap: a padded length is refused, but never framed wrongly.
        ("30 80 80 80 00", E::RemainingLengthNotMinimal),
    ];
    for (text, error) in cases {
        check_refused(v311(), text, error);
    }
}
