//! ntex-mqtt: its codec, over the buffers of its framework. Encoding consumes a packet, so that a
//! clone of it, which counts references, is measured with it.

use std::hint::black_box;

use mqttstack_codec::ProtocolVersion;
use ntex_bytes::{BytePageSize, BytePages, BytesMut};
use ntex_codec::{Decoder as _, Encoder as _};
use ntex_mqtt::{v3, v5};

use super::{Case, Wire};

pub(super) fn cases(wire: &Wire) -> Vec<Case<'_>> {
    if wire.version == ProtocolVersion::V5 {
        let codec = v5::codec::Codec::new();
        let decode = move |buffer: &mut BytesMut| match codec.decode(buffer).ok()?? {
            v5::codec::Decoded::Packet(packet, _) => Some(v5::codec::Encoded::Packet(packet)),
            v5::codec::Decoded::Publish(publish, payload, _) => {
                Some(v5::codec::Encoded::Publish(publish, Some(payload)))
            }
            v5::codec::Decoded::PayloadChunk(..) => None,
        };
        let codec = v5::codec::Codec::new();
        both(wire, decode, move |packet, out| {
            codec.encodev(packet, out).is_ok()
        })
    } else {
        let codec = v3::codec::Codec::new();
        let decode = move |buffer: &mut BytesMut| match codec.decode(buffer).ok()?? {
            v3::codec::Decoded::Packet(packet, _) => Some(v3::codec::Encoded::Packet(packet)),
            v3::codec::Decoded::Publish(publish, payload, _) => {
                Some(v3::codec::Encoded::Publish(publish, Some(payload)))
            }
            v3::codec::Decoded::PayloadChunk(..) => None,
        };
        let codec = v3::codec::Codec::new();
        both(wire, decode, move |packet, out| {
            codec.encodev(packet, out).is_ok()
        })
    }
}

fn both<'w, P: Clone + 'w>(
    wire: &'w Wire,
    decode: impl Fn(&mut BytesMut) -> Option<P> + 'w,
    encode: impl Fn(P, &mut BytePages) -> bool + 'w,
) -> Vec<Case<'w>> {
    let mut packets = Vec::new();
    let mut rest = BytesMut::copy_from_slice(&wire.bytes);
    while packets.len() < wire.packets.len() {
        match decode(&mut rest) {
            Some(packet) => packets.push(packet),
            None => break,
        }
    }
    if packets.len() != wire.packets.len() {
        println!("{} | ntex-mqtt: does not take this wire", wire.name);
        return Vec::new();
    }
    let mut buffer = BytesMut::new();
    let run_decode = move || {
        buffer.extend_from_slice(&wire.bytes);
        for _ in 0..wire.packets.len() {
            black_box(&decode(&mut buffer));
        }
        wire.packets.len()
    };
    let mut out = BytePages::new(BytePageSize::Size32);
    let run_encode = move || {
        out.clear();
        for packet in &packets {
            assert!(
                encode(packet.clone(), &mut out),
                "a packet that was decoded"
            );
        }
        black_box(out.len())
    };
    vec![
        Case {
            name: "ntex-mqtt decode".into(),
            run: Box::new(run_decode),
        },
        Case {
            name: "ntex-mqtt encode".into(),
            run: Box::new(run_encode),
        },
    ]
}
