//! Codecs of other crates, each the way its documentation calls it. A codec that does not take a
//! wire is left out of that row.

mod mqtt5;
mod ntex;
mod protocol_core;

use std::hint::black_box;

use bytes::BytesMut;
use mqttstack_codec::ProtocolVersion;
use mqute_codec::codec::PacketCodec;
use tokio_util::codec::Decoder as _;

use super::{Case, Wire};

pub(crate) fn cases(wire: &Wire) -> Vec<Case<'_>> {
    let mut cases = Vec::new();
    cases.extend(ntex::cases(wire));
    cases.extend(protocol_core::cases(wire));
    if wire.version == ProtocolVersion::V5 {
        cases.extend(owned("mqtt5-protocol", wire, mqtt5::decode, mqtt5::encode));
        cases.extend(owned(
            "rumqttc",
            wire,
            |buffer| rumqttc::v5::mqttbytes::v5::Packet::read(buffer, None).ok(),
            |packet, out| packet.write(out, None).is_ok(),
        ));
        cases.extend(owned(
            "mqute-codec",
            wire,
            |buffer| {
                let raw = PacketCodec::new(None, None).decode(buffer).ok()??;
                mqute_codec::protocol::v5::Packet::decode(raw).ok()
            },
            |packet, out| packet.encode(out).is_ok(),
        ));
    } else {
        cases.extend(mqttrs(wire));
        cases.extend(owned(
            "rumqttc",
            wire,
            |buffer| rumqttc::mqttbytes::v4::Packet::read(buffer, usize::MAX).ok(),
            |packet, out| packet.write(out, usize::MAX).is_ok(),
        ));
        cases.extend(owned(
            "mqute-codec",
            wire,
            |buffer| {
                let raw = PacketCodec::new(None, None).decode(buffer).ok()??;
                mqute_codec::protocol::v4::Packet::decode(raw).ok()
            },
            |packet, out| packet.encode(out).is_ok(),
        ));
    }
    cases
}

/// A codec that takes packets off a `BytesMut` and appends them to one.
fn owned<'w, P: 'w>(
    name: &str,
    wire: &'w Wire,
    decode: impl Fn(&mut BytesMut) -> Option<P> + 'w,
    encode: impl Fn(&P, &mut BytesMut) -> bool + 'w,
) -> Vec<Case<'w>> {
    let mut packets = Vec::new();
    let mut rest = BytesMut::from(&wire.bytes[..]);
    while let Some(packet) = decode(&mut rest) {
        packets.push(packet);
    }
    if packets.len() != wire.packets.len() {
        println!("{} | {name}: does not take this wire", wire.name);
        return Vec::new();
    }
    let mut buffer = BytesMut::new();
    let run_decode = move || {
        buffer.extend_from_slice(&wire.bytes);
        let mut count = 0;
        while count < wire.packets.len() {
            let packet = decode(&mut buffer);
            black_box(&packet);
            count += 1;
        }
        count
    };
    let mut out = BytesMut::with_capacity(wire.bytes.len());
    let run_encode = move || {
        out.clear();
        for packet in &packets {
            assert!(encode(packet, &mut out), "a packet that was decoded");
        }
        black_box(out.len())
    };
    vec![
        Case {
            name: format!("{name} decode"),
            run: Box::new(run_decode),
        },
        Case {
            name: format!("{name} encode"),
            run: Box::new(run_encode),
        },
    ]
}

/// Borrows from a slice and encodes into one; does not say how many bytes a packet took, so that
/// the fixed header is read for it.
fn mqttrs(wire: &Wire) -> Vec<Case<'_>> {
    let mut lengths = Vec::new();
    let mut rest = &wire.bytes[..];
    let mut packets = Vec::new();
    while let Ok(Some(packet)) = mqttrs::decode_slice(rest) {
        packets.push(packet);
        let length = frame_len(rest);
        lengths.push(length);
        rest = &rest[length..];
    }
    if packets.len() != wire.packets.len() {
        println!("{} | mqttrs: does not take this wire", wire.name);
        return Vec::new();
    }
    let run_decode = move || {
        let mut rest = &wire.bytes[..];
        let mut count = 0;
        while let Ok(Some(ref packet)) = mqttrs::decode_slice(rest) {
            black_box(packet);
            rest = &rest[frame_len(rest)..];
            count += 1;
        }
        count
    };
    let mut out = vec![0; wire.bytes.len()];
    let run_encode = move || {
        let mut at = 0;
        for packet in &packets {
            at += mqttrs::encode_slice(packet, &mut out[at..]).expect("a packet that was decoded");
        }
        black_box(at)
    };
    vec![
        Case {
            name: "mqttrs decode".into(),
            run: Box::new(run_decode),
        },
        Case {
            name: "mqttrs encode".into(),
            run: Box::new(run_encode),
        },
    ]
}

/// Returns the length of the packet that the bytes begin with.
fn frame_len(bytes: &[u8]) -> usize {
    let mut length = 0;
    for (at, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * at);
        if *byte < 0x80 {
            return length + at + 2;
        }
    }
    bytes.len()
}
