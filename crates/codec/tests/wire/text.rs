//! UTF-8, U+0000 and topics, in every field that holds text.

use mqttstack_codec::{DecodeError, Packet};

use super::hex::{check_exact, check_refused, decode, hex, v5, v31, v311};

/// Ill-formed strings with how much of each is well-formed.
const ILL_FORMED: [(&str, u16); 12] = [
    ("80", 0),                         // a continuation byte alone
    ("61 C3", 1),                      // cut short
    ("C0 80", 0),                      // overlong U+0000
    ("C1 BF", 0),                      // overlong U+007F
    ("E0 80 AF", 0),                   // overlong slash
    ("F0 80 80 AF", 0),                // overlong slash
    ("ED A0 80", 0),                   // U+D800
    ("ED BF BF", 0),                   // U+DFFF
    ("F4 90 80 80", 0),                // U+110000
    ("F8 88 80 80 80", 0),             // five bytes
    ("61 62 63 64 65 66 67 68 FF", 8), // past the first eight
    ("61 62 FE 63", 2),
];

/// Puts a string into each field that holds text.
fn packets_with(string: &str) -> Vec<(bool, &'static str, String)> {
    let string = format!("{:04X} {string}", hex(string).len());
    let property = |id: &str, packet: &dyn Fn(String) -> String| {
        let bytes = format!("{id} {string}");
        packet(format!("{:02X} {bytes}", hex(&bytes).len()))
    };
    let connect = |properties: String| format!("10 | 0004 4D515454 05 02 003C {properties} 0000");
    let connack = |properties: String| format!("20 | 00 00 {properties}");
    let publish = |properties: String| format!("30 | 0001 61 {properties}");
    let puback = |properties: String| format!("40 | 0001 00 {properties}");
    let will = |properties: String| {
        format!("10 | 0004 4D515454 05 06 003C 00 0000 {properties} 0001 74 0000")
    };
    vec![
        (
            true,
            "client id",
            format!("10 | 0004 4D515454 05 02 003C 00 {string}"),
        ),
        (
            true,
            "will topic",
            format!("10 | 0004 4D515454 05 06 003C 00 0000 00 {string} 0000"),
        ),
        (
            true,
            "user name",
            format!("10 | 0004 4D515454 05 82 003C 00 0000 {string}"),
        ),
        (true, "topic name", format!("30 | {string} 00")),
        (
            true,
            "filter to subscribe",
            format!("82 | 0001 00 {string} 00"),
        ),
        (
            true,
            "filter to unsubscribe",
            format!("A2 | 0001 00 {string}"),
        ),
        (true, "content type", property("03", &publish)),
        (true, "response topic", property("08", &publish)),
        (true, "content type of the will", property("03", &will)),
        (true, "assigned client id", property("12", &connack)),
        (true, "authentication method", property("15", &connect)),
        (true, "response information", property("1A", &connack)),
        (true, "server reference", property("1C", &connack)),
        (true, "reason string", property("1F", &puback)),
        (
            true,
            "user property name",
            property("26", &|block| {
                let bytes = format!("{} 0000", &block[2..]);
                publish(format!("{:02X} {bytes}", hex(&bytes).len()))
            }),
        ),
        (
            true,
            "user property value",
            property("26 0001 6E", &publish),
        ),
        (
            false,
            "client id",
            format!("10 | 0004 4D515454 04 02 003C {string}"),
        ),
        (
            false,
            "will topic",
            format!("10 | 0004 4D515454 04 06 003C 0000 {string} 0000"),
        ),
        (
            false,
            "user name",
            format!("10 | 0004 4D515454 04 82 003C 0000 {string}"),
        ),
        (false, "topic name", format!("30 | {string}")),
        (
            false,
            "filter to subscribe",
            format!("82 | 0001 {string} 00"),
        ),
        (
            false,
            "filter to unsubscribe",
            format!("A2 | 0001 {string}"),
        ),
    ]
}

#[test]
pub(crate) fn ill_formed_utf8_is_refused_in_every_field() {
    // v5 MQTT-1.5.4-1, v5 MQTT-1.5.7-1, v5 MQTT-3.1.3-4, v5 MQTT-3.1.3-11, v5 MQTT-3.1.3-12,
    // v5 MQTT-3.3.2-1, v5 MQTT-3.3.2-13, v5 MQTT-3.3.2-19, v5 MQTT-3.8.3-1, v5 MQTT-3.10.3-1;
    // v3.1.1 MQTT-1.5.3-1, v3.1.1 MQTT-3.1.3-4, v3.1.1 MQTT-3.1.3-10, v3.1.1 MQTT-3.1.3-11,
    // v3.1.1 MQTT-3.3.2-1, v3.1.1 MQTT-3.8.3-1, v3.1.1 MQTT-3.10.3-1; V31-utf8
    for (string, valid_up_to) in ILL_FORMED {
        let error = DecodeError::InvalidUtf8 { valid_up_to };
        assert_eq!(error.reason_code().as_u8(), 0x81);
        for (is_v5, field, text) in packets_with(string) {
            println!("{field}: {string}");
            check_refused(if is_v5 { v5() } else { v311() }, &text, error);
            if !is_v5 && !field.contains("client id") {
                check_refused(v31(), &text, error);
            }
        }
    }
}

#[test]
pub(crate) fn nul_is_refused_in_every_field() {
    // v5 MQTT-1.5.4-2, v5 MQTT-4.7.3-2; v3.1.1 MQTT-1.5.3-2; V31-utf8
    for string in [
        "00",
        "61 00",
        "61 62 63 64 65 66 67 00",
        "61 62 63 64 65 66 67 68 00 61",
    ] {
        for (is_v5, field, text) in packets_with(string) {
            println!("{field}: {string}");
            check_refused(
                if is_v5 { v5() } else { v311() },
                &text,
                DecodeError::NulInString,
            );
        }
    }
    assert_eq!(DecodeError::NulInString.reason_code().as_u8(), 0x81);
}

#[test]
pub(crate) fn byte_order_mark_is_kept() {
    // v5 MQTT-1.5.4-3; v3.1.1 MQTT-1.5.3-3
    for (is_v5, field, text) in packets_with("EF BB BF 61") {
        println!("{field}");
        check_exact(if is_v5 { v5() } else { v311() }, &text);
    }
    let packet = check_exact(v311(), "30 | 0004 EFBBBF61");
    assert!(matches!(packet, Packet::Publish(publish) if publish.topic == "\u{FEFF}a"));
}

#[test]
pub(crate) fn legal_text_of_all_lengths_is_accepted() {
    for length in 0..29 {
        for character in ["61", "7F", "C2 80", "EF BF BD", "F4 8F BF BF"] {
            let string = character.repeat(length);
            for (is_v5, field, text) in packets_with(&string) {
                if length > 0 || !field.contains("topic") && !field.contains("filter") {
                    check_exact(if is_v5 { v5() } else { v311() }, &text);
                }
            }
        }
    }
}

#[test]
pub(crate) fn discouraged_code_points_are_a_policy_for_topics() {
    // v5 U-01; X311-1.5.3-a
    let cases = [
        ("01", 0x01),
        ("1F", 0x1F),
        ("7F", 0x7F),
        ("C2 80", 0x80),
        ("C2 9F", 0x9F),
        ("EF B7 90", 0xFDD0),
        ("EF B7 AF", 0xFDEF),
        ("EF BF BE", 0xFFFE),
        ("EF BF BF", 0xFFFF),
        ("F0 9F BF BE", 0x1FFFE),
        ("F4 8F BF BF", 0x10_FFFF),
    ];
    for (string, code_point) in cases {
        for (is_v5, field, text) in packets_with(string) {
            let decoder = if is_v5 { v5() } else { v311() };
            check_exact(decoder, &text);
            let strict = decoder.with_refuse_discouraged(true);
            let is_topic = matches!(
                field,
                "will topic" | "topic name" | "filter to subscribe" | "filter to unsubscribe"
            );
            if is_topic {
                check_refused(
                    strict,
                    &text,
                    DecodeError::DiscouragedCodePoint { code_point },
                );
            } else {
                check_exact(strict, &text);
            }
        }
    }
    for (is_v5, _, text) in packets_with("61 2F C3 A9 EF BF BD") {
        let decoder = if is_v5 { v5() } else { v311() };
        check_exact(decoder.with_refuse_discouraged(true), &text);
    }
}

fn ascii(text: &str) -> String {
    let digits = text
        .bytes()
        .map(|byte| format!("{byte:02X}"))
        .collect::<String>();
    format!("{:04X} {digits}", text.len())
}

#[test]
pub(crate) fn topic_names_hold_no_wildcards() {
    // v5 MQTT-3.3.2-2, v5 MQTT-3.3.2-14, v5 MQTT-4.7.0-1; v3.1.1 MQTT-3.3.2-2, v3.1.1 MQTT-4.7.1-1
    for name in [
        "+",
        "#",
        "a/+",
        "a/#",
        "a+",
        "#a",
        "a/b/c/d/e/f/+",
        "sport/tennis/player1/#",
    ] {
        let topic = ascii(name);
        let error = DecodeError::WildcardInTopicName;
        check_refused(v5(), &format!("30 | {topic} 00"), error);
        check_refused(v311(), &format!("30 | {topic}"), error);
        let will = format!("10 | 0004 4D515454 04 06 003C 0000 {topic} 0000");
        check_refused(v311(), &will, error);
        let will = format!("10 | 0004 4D515454 05 06 003C 00 0000 00 {topic} 0000");
        check_refused(v5(), &will, error);
        let property = format!("08 {topic}");
        let length = hex(&property).len();
        check_refused(
            v5(),
            &format!("30 | 0001 61 {length:02X} {property}"),
            error,
        );
        assert_eq!(error.reason_code().as_u8(), 0x90);
    }
    for name in ["/", "//", "a/b", "/a", "a/", "$SYS/x", "a b", "$share/g/t"] {
        check_exact(v5(), &format!("30 | {} 00", ascii(name)));
        check_exact(v311(), &format!("30 | {}", ascii(name)));
    }
}

#[test]
pub(crate) fn filters_place_wildcards_by_levels() {
    // v5 MQTT-4.7.1-1, v5 MQTT-4.7.1-2, v5 MQTT-4.7.3-1; v3.1.1 MQTT-4.7.1-2,
    // v3.1.1 MQTT-4.7.1-3, v3.1.1 MQTT-4.7.3-1
    let legal = [
        "a",
        "/",
        "//",
        "+",
        "#",
        "+/",
        "/+",
        "/#",
        "+/+",
        "a/+/#",
        "+/tennis/#",
        "sport/+/p1",
        "$SYS/#",
        "$share",
        "$shared/a",
        "a/b/c/d/e/f/g/h/+/i/j",
    ];
    let ill_formed = [
        "a#",
        "a/#/b",
        "##",
        "#/",
        "#/a",
        "a+",
        "+a",
        "a/b+",
        "a/+b/c",
        "++",
        "+#",
        "sport/#/x",
        "aaaaaaaaaaaaaaaa+",
        "a/#/",
    ];
    for filter in legal {
        check_exact(v5(), &format!("82 | 0001 00 {} 00", ascii(filter)));
        check_exact(v5(), &format!("A2 | 0001 00 {}", ascii(filter)));
        check_exact(v311(), &format!("82 | 0001 {} 00", ascii(filter)));
        check_exact(v311(), &format!("A2 | 0001 {}", ascii(filter)));
    }
    for filter in ill_formed {
        let error = DecodeError::MisplacedWildcard;
        check_refused(v5(), &format!("82 | 0001 00 {} 00", ascii(filter)), error);
        check_refused(v5(), &format!("A2 | 0001 00 {}", ascii(filter)), error);
        check_refused(v311(), &format!("82 | 0001 {} 00", ascii(filter)), error);
        check_refused(v311(), &format!("A2 | 0001 {}", ascii(filter)), error);
        assert_eq!(error.reason_code().as_u8(), 0x8F);
    }
    check_refused(v5(), "82 | 0001 00 0000 00", DecodeError::EmptyTopicFilter);
    check_refused(v311(), "A2 | 0001 0000", DecodeError::EmptyTopicFilter);
    assert_eq!(DecodeError::EmptyTopicFilter.reason_code().as_u8(), 0x8F);
}

#[test]
pub(crate) fn shared_filters_have_a_name_and_a_filter() {
    // v5 MQTT-4.8.2-1, v5 MQTT-4.8.2-2
    for filter in [
        "$share/g/a",
        "$share/g//finance",
        "$share/g/#",
        "$share/g/+/a",
        "$share/a b//",
    ] {
        check_exact(v5(), &format!("82 | 0001 00 {} 00", ascii(filter)));
    }
    for filter in [
        "$share/g",
        "$share//x",
        "$share/g/",
        "$share/",
        "$share/+/x",
        "$share/#",
    ] {
        let error = DecodeError::InvalidSharedFilter;
        check_refused(v5(), &format!("82 | 0001 00 {} 00", ascii(filter)), error);
        check_refused(v5(), &format!("A2 | 0001 00 {}", ascii(filter)), error);
        assert_eq!(error.reason_code().as_u8(), 0x8F);
        // Before 5.0 these are filters like any other.
        check_exact(v311(), &format!("82 | 0001 {} 00", ascii(filter)));
        check_exact(v311(), &format!("A2 | 0001 {}", ascii(filter)));
    }
    for filter in ["$share/g+/x", "$share/#/x"] {
        let text = format!("82 | 0001 00 {} 00", ascii(filter));
        let error = decode(v5(), &hex(&text)).expect_err("ill-formed");
        assert_eq!(error.reason_code().as_u8(), 0x8F);
    }
}
