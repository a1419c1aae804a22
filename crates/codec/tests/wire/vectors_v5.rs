//! The vectors of the MQTT 5.0 wire document, section 16.

use mqttstack_codec::{DecodeError, Decoder, PropertyId};

use super::hex::{check_exact, check_refused};

#[test]
fn good_packets_are_encoded_as_they_came() {
    let cases = [
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
    for (name, text) in cases {
        println!("{name}");
        check_exact(Decoder::new(), text);
    }
}

#[test]
fn bad_packets_are_refused() {
    let duplicate = DecodeError::DuplicateProperty {
        property: PropertyId::SessionExpiryInterval,
    };
    let cases = [
        (
            "PUBLISH with QoS 3",
            "36 05 00 01 61 00 0A",
            DecodeError::InvalidPublishQoS,
        ),
        (
            "two session expiry intervals (v5 U-03)",
            "10 18 00 04 4D 51 54 54 05 02 00 3C 0A 11 00 00 00 01 11 00 00 00 01 00 01 61",
            duplicate,
        ),
    ];
    for (name, text, error) in cases {
        println!("{name}");
        check_refused(Decoder::new(), text, error);
    }
}
