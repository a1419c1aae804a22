//! `codec` and `topic` judge topic names and filters alike, though neither knows the other.

use bytes::BytesMut;
use mqttstack_codec::{Decoder, ProtocolVersion, validate_topic_name};
use mqttstack_topic::{CharacterPolicy, TopicFilter, TopicLimits, TopicName};
use proptest::prelude::*;

/// As lenient as the codec, which knows no levels.
const LIMITS: TopicLimits = TopicLimits {
    levels_max: u8::MAX,
    bytes_max: u16::MAX,
    characters: CharacterPolicy::Accept,
};
const STRICT: TopicLimits = TopicLimits {
    characters: CharacterPolicy::Refuse,
    ..LIMITS
};

/// Returns the bytes of a packet: first byte, length, body.
#[expect(clippy::unwrap_used, reason = "numbers below 128")]
fn packet(first: u8, body: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::from(&[first][..]);
    let mut length = body.len();
    while length >= 0x80 {
        bytes.extend_from_slice(&[u8::try_from(length % 0x80).unwrap() | 0x80]);
        length /= 0x80;
    }
    bytes.extend_from_slice(&[u8::try_from(length).unwrap()]);
    bytes.extend_from_slice(body);
    bytes
}

#[expect(clippy::unwrap_used, reason = "no text here is longer")]
fn field(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

fn accepts(mut wire: BytesMut, version: ProtocolVersion, strict: bool) -> bool {
    let decoder = Decoder::new()
        .with_version(version)
        .with_refuse_discouraged(strict);
    decoder
        .decode(&mut wire)
        .is_ok_and(|packet| packet.is_some())
}

/// PUBLISH at QoS 0 to a topic, in a version without properties, as in 5.0 an empty name may stand
/// for an alias.
fn codec_takes_name(text: &str, strict: bool) -> bool {
    accepts(packet(0x30, &field(text)), ProtocolVersion::V311, strict)
}

/// SUBSCRIBE 1 to a filter at QoS 0.
fn codec_takes_filter(text: &str, version: ProtocolVersion, strict: bool) -> bool {
    let properties: &[u8] = match version {
        ProtocolVersion::V5 => &[0],
        ProtocolVersion::V31 | ProtocolVersion::V311 => &[],
    };
    let body = [&[0, 1], properties, &field(text), &[0]].concat();
    accepts(packet(0x82, &body), version, strict)
}

fn check(text: &str) {
    for (limits, strict) in [(LIMITS, false), (STRICT, true)] {
        assert_eq!(
            codec_takes_name(text, strict),
            TopicName::with_limits(text, limits).is_ok(),
            "as a name, strict {strict}: {text:?}"
        );
        let plain = TopicFilter::ordinary(text, limits).is_ok();
        assert_eq!(
            codec_takes_filter(text, ProtocolVersion::V311, strict),
            plain,
            "as a filter of 3.1.1, strict {strict}: {text:?}"
        );
        assert_eq!(
            codec_takes_filter(text, ProtocolVersion::V5, strict),
            TopicFilter::with_limits(text, limits).is_ok(),
            "as a filter of 5.0, strict {strict}: {text:?}"
        );
    }
    assert_eq!(
        validate_topic_name(text).is_ok(),
        TopicName::with_limits(text, LIMITS).is_ok(),
        "before sending: {text:?}"
    );
}

#[test]
fn both_judge_the_corner_cases_alike() {
    // v5 MQTT-4.7.0-1, v5 MQTT-4.7.1-1, v5 MQTT-4.7.1-2, v5 MQTT-4.7.3-1, v5 MQTT-4.7.3-2,
    // v5 MQTT-4.8.2-1, v5 MQTT-4.8.2-2; v3.1.1 MQTT-4.7.1-1, v3.1.1 MQTT-4.7.1-2,
    // v3.1.1 MQTT-4.7.1-3, v3.1.1 MQTT-4.7.3-1, v3.1.1 MQTT-4.7.3-2
    for text in [
        "",
        "a",
        "/",
        "//",
        "a/",
        "/a",
        "a//b",
        " ",
        "a b",
        "$",
        "$SYS",
        "$SYS/a",
        "é/ü",
        "\u{1F600}",
        "+",
        "#",
        "+/+",
        "+/#",
        "a/+",
        "a/#",
        "a/+/b",
        "/+",
        "/#",
        "+/",
        "#/",
        "#/a",
        "a/#/b",
        "a+",
        "+a",
        "a/+b",
        "a/b+",
        "a#",
        "#a",
        "a/b#",
        "a/#b",
        "##",
        "++",
        "+#",
        "#+",
        "a/++/b",
        "$share",
        "$share/",
        "$share//",
        "$share//a",
        "$share/g",
        "$share/g/",
        "$share/g/a",
        "$share/g//",
        "$share/g//a",
        "$share/g/#",
        "$share/g/+/a",
        "$share/+/a",
        "$share/#/a",
        "$share/#",
        "$share/+",
        "$share/g+/a",
        "$share/g#/a",
        "$share/+g/a",
        "$share/g/a#",
        "$share/g/+a",
        "$share/$share/a",
        "$shared/g/a",
        "$Share//a",
        "a/$share/g/a",
        "/$share/g/a",
        "\0",
        "a\0b",
        "a/\0",
        "\u{1}",
        "a\u{7F}",
        "\u{80}",
        "\u{9F}",
        "\u{A0}",
        "\u{FEFF}",
        "a\u{FFFE}",
        "\u{FFFF}",
        "\u{FDD0}",
        "\u{FDEF}",
        "\u{FDF0}",
        "\u{1FFFE}",
        "\u{10FFFF}",
        "\u{FFFD}",
        "\u{D7FF}",
    ] {
        check(text);
        // Alignment and length must not matter to code that reads words at a time.
        for padding in [1, 7, 8, 9, 15, 16, 31] {
            check(&format!("{}/{text}", "x".repeat(padding)));
            check(&format!("{text}/{}", "x".repeat(padding)));
            check(&format!("{text}{}", "x".repeat(padding)));
        }
    }
}

#[test]
fn both_take_the_longest_text() {
    // v5 MQTT-4.7.3-3; v3.1.1 MQTT-4.7.3-3
    let longest = "x".repeat(65_535);
    check(&longest);
    check(&format!("{}/#", "x".repeat(65_533)));
    check(&format!("$share/g/{}", "x".repeat(65_526)));
    assert!(validate_topic_name(&format!("{longest}x")).is_err());
    assert!(TopicName::with_limits(&format!("{longest}x"), LIMITS).is_err());
}

proptest! {
    #[test]
    fn both_judge_text_made_of_what_matters_alike(text in "[a/+#$ \u{0}\u{1}\u{80}é]{0,12}") {
        check(&text);
    }

    #[test]
    fn both_judge_what_looks_shared_alike(text in "\\$share/?[g+#/]{0,3}/?[a/+#]{0,5}") {
        check(&text);
    }

    #[test]
    fn both_judge_any_text_alike(text in any::<String>()) {
        check(&text);
    }
}
