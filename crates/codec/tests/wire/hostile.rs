//! Every way to lie about a length in a packet, and to cut one short: nothing reads past the end, calls
//! for more bytes, or is judged differently by the two faces.

use mqttstack_codec::Decoder;

use super::hex::{decode, hex, v5, v31, v311};
use super::{vectors_v3, vectors_v5};

/// The good packets of both documents, for every version to read.
fn check(change: impl Fn(&mut Vec<u8>, usize)) {
    for (name, text) in vectors_v3::GOOD.iter().chain(vectors_v5::GOOD) {
        let good = hex(text);
        for at in 2..good.len() {
            let mut bytes = good.clone();
            change(&mut bytes, at);
            // All of them are short: the Remaining Length is one byte.
            bytes[1] = bytes.len() as u8 - 2;
            for decoder in [v31(), v311(), v5()] {
                check_judged(decoder, &bytes, name);
            }
        }
    }
}

/// Whatever the verdict, there is one, and `decode` finds that both faces give it.
fn check_judged(decoder: Decoder, bytes: &[u8], name: &str) {
    let whole = decoder.decode_ref(bytes);
    assert_ne!(whole, Ok(None), "{name}: {bytes:02X?}");
    assert_eq!(decode(decoder, bytes).is_ok(), whole.is_ok(), "{name}");
}

#[test]
fn packets_cut_short_are_judged() {
    check(|bytes, at| bytes.truncate(at));
}

#[test]
fn inner_lengths_that_lie_are_judged() {
    for length in [0x0000, 0x0001, 0x00FF, 0x7FFF, 0xFFFF_u16] {
        check(|bytes, at| {
            for (place, byte) in bytes[at..].iter_mut().zip(length.to_be_bytes()) {
                *place = byte;
            }
        });
    }
    check(|bytes, at| bytes[at] = bytes[at].wrapping_add(1));
    check(|bytes, at| bytes[at] = bytes[at].wrapping_sub(1));
}

#[test]
fn property_lengths_that_lie_are_judged() {
    for length in [
        &[0x80][..],
        &[0x80, 0x00],
        &[0xFF, 0xFF, 0xFF, 0x7F],
        &[0xFF, 0xFF, 0xFF, 0xFF],
        &[0x80, 0x80, 0x80, 0x80, 0x01],
    ] {
        check(|bytes, at| drop(bytes.splice(at..=at, length.iter().copied())));
    }
}
