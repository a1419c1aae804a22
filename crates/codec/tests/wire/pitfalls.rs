//! What other decoders are known to take, to refuse, or to panic on.

use mqttstack_codec::{DecodeError, Sender};

use super::hex::{check_canonical, check_exact, decode, hex, v5, v31, v311};

#[test]
pub(crate) fn illegal_packets_that_others_take_are_refused() {
    let v5_wires = [
        (
            "bytes after the end of CONNECT",
            "10 | 0004 4D515454 05 02 003C 00 0001 61 FF",
        ),
        ("a body on PINGREQ", "C0 | 00"),
        ("a body on PINGRESP", "D0 | 00"),
        ("DUP at QoS 0", "38 | 0001 61 00"),
        ("U+0000 in a topic", "30 | 0003 610062 00"),
        ("wildcard in a topic", "30 | 0003 612F23 00"),
        (
            "wildcard inside of a filter",
            "82 | 0001 00 0005 612F232F62 00",
        ),
        ("padded remaining length", "30 84 00 00 01 61 00"),
        ("padded property length", "30 | 0001 61 80 00"),
        (
            "authentication data without method",
            "10 | 0004 4D515454 05 02 003C 04 16 0001 01 0000",
        ),
        ("wildcard in a response topic", "30 | 0001 61 04 08 0001 2B"),
        (
            "shared filter with no local",
            "82 | 0001 00 000A 2473686172652F672F61 04",
        ),
        ("empty topic without alias", "30 | 0000 00"),
        ("bytes after the properties of PUBACK", "40 | 0001 00 00 00"),
    ];
    for (name, text) in v5_wires {
        assert!(decode(v5(), &hex(text)).is_err(), "{name}");
    }
    let v3_wires = [
        ("a body on DISCONNECT", "E0 | 00"),
        ("a body on PINGREQ", "C0 | 00"),
        (
            "password without user name",
            "10 | 0004 4D515454 04 42 003C 0001 61 0001 70",
        ),
        (
            "bytes after the end of CONNECT",
            "10 | 0004 4D515454 04 02 003C 0001 61 FF",
        ),
        ("DUP at QoS 0", "38 | 0001 61"),
        ("PUBACK of three bytes", "40 | 0001 00"),
    ];
    for (name, text) in v3_wires {
        assert!(decode(v311(), &hex(text)).is_err(), "{name}");
    }
}

#[test]
pub(crate) fn legal_packets_that_others_refuse_are_taken() {
    let wires = [
        ("DISCONNECT without a body", "E0 00"),
        ("DISCONNECT with a reason only", "E0 | 04"),
        ("AUTH", "F0 | 18 04 15 0001 58"),
        ("PUBACK with a reason only", "40 | 0001 10"),
        ("PUBLISH by alias", "30 | 0000 03 23 0001 61"),
        ("message expiry 0", "30 | 0001 61 05 02 00000000"),
        (
            "several subscription identifiers",
            "30 | 0001 61 06 0B 01 0B 02 0B 03",
        ),
        (
            "binary password",
            "10 | 0004 4D515454 05 C2 003C 00 0001 61 0001 75 0002 00FF",
        ),
        (
            "password without user name",
            "10 | 0004 4D515454 05 42 003C 00 0001 61 0001 70",
        ),
        (
            "SUBSCRIBE of ten",
            "82 | 0001 00 000161 00 000162 01 000163 02 000164 00 000165 00 000166 00 000167 00 \
             000168 00 000169 00 00016A 00",
        ),
    ];
    for (name, text) in wires {
        println!("{name}");
        check_exact(v5(), text);
    }
    check_exact(v5(), "10 | 0006 4D5149736470 03 02 003C 0001 61");
    check_canonical(
        v31(),
        "10 | 0006 4D5149736470 03 C2 003C 0001 61",
        "10 | 0006 4D5149736470 03 02 003C 0001 61",
    );
}

#[test]
fn wires_that_panicked_elsewhere_are_refused() {
    let wires = [
        "20 00",
        "10 07 00 04 4D 51 54 54 04",
        "40 02 00 00",
        "10 02 00 00",
        "30 01 00 00",
    ];
    for text in wires {
        for decoder in [v5(), v311(), v31()] {
            assert!(decoder.decode_ref(&hex(text)).is_err(), "{text}");
        }
    }
}

#[test]
fn short_field_in_a_whole_packet_is_never_a_call_for_more() {
    // Every packet, its Remaining Length lowered: the rest of the bytes is not its own any more.
    let wires = [
        "10 26 00 04 4D 51 54 54 05 EE 00 1E 00 00 02 63 31 05 18 00 00 00 05 00 03 77 2F 74 00 \
         03 62 79 65 00 01 75 00 02 01 02",
        "20 06 01 00 03 22 00 10",
        "40 09 00 0A 87 05 1F 00 02 6E 6F",
        "82 0F 00 0A 00 00 03 61 2F 62 01 00 03 63 2F 64 02",
        "A2 0D 00 0A 00 00 03 61 2F 62 00 03 63 2F 64",
        "E0 07 00 05 11 00 00 00 00",
        "F0 0B 18 09 15 00 01 58 16 00 02 01 02",
    ];
    for text in wires {
        let bytes = hex(text);
        for length in 0..bytes[1] {
            let mut cut = bytes.clone();
            cut[1] = length;
            let whole = &cut[..2 + usize::from(length)];
            assert!(
                !matches!(v5().decode_ref(whole), Ok(None)),
                "{text} cut to {length}"
            );
        }
    }
}

#[test]
pub(crate) fn packets_before_connect_are_for_the_session_to_refuse() {
    // v3.1.1 MQTT-3.1.0-1: the bytes are a packet all the same.
    check_exact(v311().with_sender(Sender::Client), "40 02 00 01");
}

#[test]
fn longest_strings_are_taken() {
    for (byte, is_legal) in [(b'x', true), (b'/', true), (b'+', false), (0xFF, false)] {
        let mut body = vec![0xFF, 0xFF];
        body.extend(std::iter::repeat_n(byte, 65_535));
        let mut bytes = vec![0x30, 0x81, 0x80, 0x04];
        bytes.extend(body);
        let result = v311().decode_ref(&bytes);
        assert_eq!(result.is_ok(), is_legal, "{result:?}");
    }
    let error = DecodeError::FieldTruncated {
        needed: 65_535,
        available: 1,
    };
    assert_eq!(decode(v311(), &hex("30 | FFFF 61")), Err(error));
}
