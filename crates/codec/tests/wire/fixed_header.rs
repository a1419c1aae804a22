//! The first byte and the Remaining Length, of every version and from either side.

use mqttstack_codec::{DecodeError, Decoder, PacketType, ProtocolVersion, Sender};

use super::hex::{check_canonical, check_exact, check_refused, hex, v5, v31, v311};

const TYPES: [PacketType; 15] = [
    PacketType::Connect,
    PacketType::ConnAck,
    PacketType::Publish,
    PacketType::PubAck,
    PacketType::PubRec,
    PacketType::PubRel,
    PacketType::PubComp,
    PacketType::Subscribe,
    PacketType::SubAck,
    PacketType::Unsubscribe,
    PacketType::UnsubAck,
    PacketType::PingReq,
    PacketType::PingResp,
    PacketType::Disconnect,
    PacketType::Auth,
];

/// What the first byte alone says, as the standards put it.
fn first_byte_is_legal(version: ProtocolVersion, byte: u8) -> bool {
    let (kind, flags) = (byte >> 4, byte & 0x0F);
    match kind {
        0 => false,
        3 => !matches!(flags, 0x6 | 0x7 | 0xE | 0xF | 0x8 | 0x9),
        6 | 8 | 10 => flags == 2 || (version == ProtocolVersion::V31 && flags == 0xA),
        15 => version == ProtocolVersion::V5 && flags == 0,
        _ => flags == 0 || version == ProtocolVersion::V31,
    }
}

#[test]
fn each_first_byte_is_judged_before_the_length_is_there() {
    // v5 MQTT-2.1.3-1, v5 MQTT-3.3.1-2, v5 MQTT-3.3.1-4, v5 MQTT-3.6.1-1, v5 MQTT-3.8.1-1,
    // v5 MQTT-3.10.1-1, v5 MQTT-3.14.1-1, v5 MQTT-3.15.1-1;
    // v3.1.1 MQTT-2.2.2-1, v3.1.1 MQTT-2.2.2-2, v3.1.1 MQTT-3.3.1-2, v3.1.1 MQTT-3.3.1-4,
    // v3.1.1 MQTT-3.6.1-1, v3.1.1 MQTT-3.8.1-1, v3.1.1 MQTT-3.10.1-1, v3.1.1 MQTT-3.14.1-1;
    // X311-2.2.1-a; V31-dup, V31-reserved
    for decoder in [v5(), v311(), v31()] {
        for byte in 0..=u8::MAX {
            let expected = first_byte_is_legal(decoder.version, byte);
            let frame = decoder.frame(&[byte]);
            assert_eq!(
                frame.is_ok(),
                expected,
                "0x{byte:02X} in {}",
                decoder.version
            );
            assert!(!matches!(frame, Ok(Some(_))), "a length out of nothing");
        }
    }
}

#[test]
fn wrong_first_bytes_are_malformed_packets() {
    let cases = [
        ("00", DecodeError::ReservedPacketType { first_byte: 0x00 }),
        ("0F", DecodeError::ReservedPacketType { first_byte: 0x0F }),
        ("F0", DecodeError::ReservedPacketType { first_byte: 0xF0 }),
        (
            "63",
            DecodeError::InvalidFlags {
                packet_type: PacketType::PubRel,
                flags: 3,
            },
        ),
        (
            "11",
            DecodeError::InvalidFlags {
                packet_type: PacketType::Connect,
                flags: 1,
            },
        ),
        ("37", DecodeError::InvalidPublishQoS),
        ("38", DecodeError::DupWithoutQoS),
        ("39", DecodeError::DupWithoutQoS),
    ];
    for (text, error) in cases {
        assert_eq!(v311().frame(&hex(text)), Err(error), "{text}");
        assert_eq!(error.reason_code().as_u8(), 0x81, "{text}");
    }
}

#[test]
fn flags_of_connect_are_judged_by_the_version_that_is_set() {
    // V31-reserved: which version a CONNECT names is not known yet.
    let text = "1F | 0006 4D5149736470 03 02 003C 0001 61";
    assert!(matches!(v31().decode_ref(&hex(text)), Ok(Some(_))));
    let error = DecodeError::InvalidFlags {
        packet_type: PacketType::Connect,
        flags: 0x0F,
    };
    for decoder in [v5(), v311()] {
        assert_eq!(decoder.decode_ref(&hex(text)), Err(error));
    }
}

#[test]
pub(crate) fn v31_duplicates_of_other_packets_are_accepted() {
    // V31-dup; the bit is not kept
    check_canonical(v31(), "6A 02 00 0A", "62 02 00 0A");
    check_canonical(v31(), "8A | 0001 0001 61 00", "82 | 0001 0001 61 00");
    check_canonical(v31(), "AA | 0001 0001 61", "A2 | 0001 0001 61");
    for first_byte in ["6A", "8A", "AA"] {
        assert!(v311().frame(&hex(first_byte)).is_err());
    }
}

#[test]
fn direction_is_told_from_the_first_byte() {
    // v5 §2.1.2; X311-2.2.1-b
    use PacketType as T;
    let from_client = [T::Connect, T::Subscribe, T::Unsubscribe, T::PingReq];
    let from_server = [T::ConnAck, T::SubAck, T::UnsubAck, T::PingResp];
    for packet_type in TYPES {
        let is_two = matches!(packet_type, T::PubRel | T::Subscribe | T::Unsubscribe);
        let flags = if is_two { 2 } else { 0 };
        let byte = [packet_type.as_u8() << 4 | flags];
        let cases = [
            (v5(), Sender::Client, !from_server.contains(&packet_type)),
            (v5(), Sender::Server, !from_client.contains(&packet_type)),
            (
                v311(),
                Sender::Client,
                !from_server.contains(&packet_type) && packet_type != T::Auth,
            ),
            (
                v311(),
                Sender::Server,
                !from_client.contains(&packet_type)
                    && packet_type != T::Auth
                    && packet_type != T::Disconnect,
            ),
        ];
        for (decoder, sender, expected) in cases {
            let frame = decoder.with_sender(sender).frame(&byte);
            assert_eq!(
                frame.is_ok(),
                expected,
                "{packet_type} from {sender}: {frame:?}"
            );
        }
    }
    let error = v5().with_sender(Sender::Server).frame(&hex("C0"));
    let expected = DecodeError::WrongDirection {
        packet_type: T::PingReq,
        sender: Sender::Server,
    };
    assert_eq!(error, Err(expected));
    assert_eq!(expected.reason_code().as_u8(), 0x82);
}

#[test]
fn remaining_length_may_be_cut_anywhere() {
    // v5 MQTT-1.5.5-1; X311-2.2.3-a
    for decoder in [v5(), v311(), v31()] {
        for text in ["", "30", "30 80", "30 80 80", "30 80 80 80", "30 FF FF FF"] {
            assert_eq!(decoder.frame(&hex(text)), Ok(None), "{text}");
        }
        for text in ["30 80 80 80 80", "30 FF FF FF FF 7F"] {
            assert_eq!(
                decoder.frame(&hex(text)),
                Err(DecodeError::RemainingLengthTooLong)
            );
        }
        for text in [
            "30 80 00",
            "30 FF 00",
            "30 80 80 00",
            "30 80 80 80 00",
            "30 81 80 80 00",
        ] {
            assert_eq!(
                decoder.frame(&hex(text)),
                Err(DecodeError::RemainingLengthNotMinimal)
            );
        }
    }
}

#[test]
fn packet_over_the_limit_is_refused_from_its_header() {
    // v5 U-13, v5 MQTT-3.1.2-24, v5 MQTT-3.2.2-15
    let decoder = Decoder::new().with_packet_size_max(10);
    let at_limit = decoder
        .frame(&hex("30 08"))
        .expect("at the limit")
        .expect("complete");
    assert_eq!((at_limit.total_len(), at_limit.header_len()), (10, 2));
    let error = DecodeError::PacketTooLarge {
        size: 11,
        limit: 10,
    };
    assert_eq!(decoder.frame(&hex("30 09")), Err(error));
    assert_eq!(error.reason_code().as_u8(), 0x95);
    let largest = Decoder::new()
        .frame(&hex("30 FF FF FF 7F"))
        .expect("legal")
        .expect("complete");
    assert_eq!(largest.total_len(), 268_435_460);
}

#[test]
pub(crate) fn fixed_sizes_are_exact() {
    // X311-2.2.3-b
    for first_byte in ["20", "40", "50", "62", "70", "B0", "C0", "D0", "E0"] {
        let size = if matches!(first_byte, "C0" | "D0" | "E0") {
            0
        } else {
            2
        };
        for length in (0..6).filter(|length| *length != size) {
            let mut bytes = hex(first_byte);
            bytes.push(length);
            let frame = v311().frame(&bytes);
            assert!(
                matches!(frame, Err(DecodeError::InvalidRemainingLength { length: found, .. })
                    if found == u32::from(length)),
                "{first_byte} {length}: {frame:?}"
            );
        }
    }
    for first_byte in ["C0", "D0"] {
        let mut bytes = hex(first_byte);
        bytes.extend(hex("01 00"));
        assert!(v5().frame(&bytes).is_err(), "{first_byte} with a body");
    }
    check_exact(v5(), "C0 00");
}

#[test]
pub(crate) fn bytes_left_over_are_malformed() {
    // X311-2.2.3-b; v5 §2
    let cases = [
        (v5(), "10 | 0004 4D515454 05 02 003C 00 0001 61 00"),
        (v5(), "20 | 00 00 00 00"),
        (v5(), "40 | 000A 00 00 00"),
        (v5(), "E0 | 00 00 00"),
        (v5(), "F0 | 18 04 15 0001 58 00"),
        (v311(), "10 | 0004 4D515454 04 02 003C 0001 61 00"),
        (v31(), "10 | 0006 4D5149736470 03 02 003C 0001 61 00"),
    ];
    for (decoder, text) in cases {
        check_refused(decoder, text, DecodeError::TrailingBytes { count: 1 });
    }
}
