//! The vectors of the MQTT 3.1 and 3.1.1 wire document, section 21.

use mqttstack_codec::{Decoder, ProtocolVersion};

use super::hex::check_exact;

#[test]
fn good_packets_are_encoded_as_they_came() {
    let cases = [
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
    for (name, text) in cases {
        println!("{name}");
        check_exact(Decoder::new().with_version(ProtocolVersion::V311), text);
    }
}
