//! Bytes from text, and the two checks that vectors go through.

use std::{cell::RefCell, collections::BTreeSet};

use bytes::BytesMut;
use mqttstack_codec::{DecodeError, Decoder, Packet, PacketRef, ProtocolVersion};

/// Returns the bytes of hex digits; what stands in parentheses is a note. `30 | 00 01 61` is a
/// packet of first byte and body, whose Remaining Length is put in between.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let Some((first_byte, body)) = text.split_once('|') else {
        return digits(text);
    };
    let (mut packet, body) = (digits(first_byte), digits(body));
    let mut length = body.len();
    while length > 0x7F {
        packet.push(length as u8 | 0x80);
        length >>= 7;
    }
    packet.push(length as u8);
    packet.extend(body);
    packet
}

fn digits(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut high = None;
    let mut depth = 0;
    for character in text.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth > 0 => {}
            _ if character.is_whitespace() => {}
            _ => {
                let digit = character.to_digit(16).expect("a hex digit") as u8;
                match high.take() {
                    None => high = Some(digit),
                    Some(first) => bytes.push(first << 4 | digit),
                }
            }
        }
    }
    assert_eq!(high, None, "half a byte in {text}");
    bytes
}

/// Returns a decoder for MQTT 5.0.
pub(crate) fn v5() -> Decoder {
    Decoder::new()
}

/// Returns a decoder for MQTT 3.1.1.
pub(crate) fn v311() -> Decoder {
    Decoder::new().with_version(ProtocolVersion::V311)
}

/// Returns a decoder for MQTT 3.1.
pub(crate) fn v31() -> Decoder {
    Decoder::new().with_version(ProtocolVersion::V31)
}

thread_local! {
    /// The wires that this thread has seen: version, whether legal, bytes.
    static JUDGED: RefCell<BTreeSet<(ProtocolVersion, bool, Vec<u8>)>> = const {
        RefCell::new(BTreeSet::new())
    };
}

/// Returns rows of a table: how many different wires of each version have been seen by this thread.
pub(crate) fn judged() -> [String; 3] {
    let count = |version, is_legal| {
        JUDGED.with_borrow(|wires| {
            let same = wires
                .iter()
                .filter(|it| it.0 == version && it.1 == is_legal);
            same.count()
        })
    };
    [
        ProtocolVersion::V31,
        ProtocolVersion::V311,
        ProtocolVersion::V5,
    ]
    .map(|it| format!("| {it} | {} | {} |", count(it, true), count(it, false)))
}

/// Decodes bytes that are one packet with both faces, which have to agree, and with every cut.
pub(crate) fn decode(decoder: Decoder, bytes: &[u8]) -> Result<Packet, DecodeError> {
    let result = decode_uncounted(decoder, bytes);
    let version = match &result {
        Ok(Packet::Connect(connect)) => connect.version,
        Ok(_) | Err(_) => decoder.version,
    };
    JUDGED.with_borrow_mut(|wires| wires.insert((version, result.is_ok(), bytes.to_vec())));
    result
}

fn decode_uncounted(decoder: Decoder, bytes: &[u8]) -> Result<Packet, DecodeError> {
    let borrowed = decoder.decode_ref(bytes);
    let mut buffer = BytesMut::from(bytes);
    let owned = decoder.decode(&mut buffer);
    match (borrowed, owned) {
        (Ok(Some((borrowed, used))), Ok(Some(owned))) => {
            assert_eq!(used, bytes.len(), "bytes used");
            assert!(buffer.is_empty(), "bytes left over");
            assert_eq!(borrowed.to_shared(), owned, "faces disagree");
            assert_eq!(borrowed, owned.as_ref(), "faces disagree");
            for cut in 0..bytes.len() {
                assert_eq!(decoder.decode_ref(&bytes[..cut]), Ok(None), "cut at {cut}");
            }
            Ok(owned)
        }
        (Err(borrowed), Err(owned)) => {
            assert_eq!(borrowed, owned, "faces disagree");
            Err(borrowed)
        }
        (borrowed, owned) => panic!("faces disagree: {borrowed:?} and {owned:?}"),
    }
}

/// Checks that the bytes are a packet that is encoded to the same bytes again.
pub(crate) fn check_exact(decoder: Decoder, text: &str) -> Packet {
    check_canonical(decoder, text, text)
}

/// Checks that the bytes are a packet that is encoded to other bytes, its canonical form.
pub(crate) fn check_canonical(decoder: Decoder, text: &str, canonical: &str) -> Packet {
    let bytes = hex(text);
    let packet = decode(decoder, &bytes).unwrap_or_else(|error| panic!("{text}: {error}"));
    let version = if let Packet::Connect(connect) = &packet {
        connect.version
    } else {
        decoder.version
    };
    let mut encoded = Vec::new();
    packet
        .encode(version, &mut encoded)
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(encoded, hex(canonical), "{text}");
    assert_eq!(packet.encoded_len(version), Ok(encoded.len()), "{text}");
    let borrowed: PacketRef<'_> = packet.as_ref();
    let mut again = BytesMut::new();
    borrowed
        .encode(version, &mut again)
        .expect("the borrowed face encodes as the owned");
    assert_eq!(encoded, again, "{text}");
    packet
}

/// Checks that the bytes are refused for the reason.
pub(crate) fn check_refused(decoder: Decoder, text: &str, expected: DecodeError) {
    assert_eq!(decode(decoder, &hex(text)), Err(expected), "{text}");
}
