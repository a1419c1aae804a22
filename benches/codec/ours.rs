//! This project's codec.

use std::hint::black_box;

use bytes::BytesMut;
use mqttstack_codec::{Decoder, PacketRef, SliceSink};

use super::{Case, Wire};

pub(crate) fn cases(wire: &Wire) -> Vec<Case<'_>> {
    vec![
        decode_borrowed(wire),
        decode_shared(wire),
        encode_slice(wire),
        encode_buffer(wire),
    ]
}

fn decode_borrowed(wire: &Wire) -> Case<'_> {
    let decoder = Decoder::new().with_version(wire.version);
    let run = move || {
        let mut rest = &wire.bytes[..];
        let mut count = 0;
        while let Ok(Some((ref packet, used))) = decoder.decode_ref(rest) {
            black_box(packet);
            rest = &rest[used..];
            count += 1;
        }
        assert_eq!(count, wire.packets.len());
        count
    };
    Case {
        name: "mqttstack decode borrowed".into(),
        run: Box::new(run),
    }
}

fn decode_shared(wire: &Wire) -> Case<'_> {
    let decoder = Decoder::new().with_version(wire.version);
    let mut buffer = BytesMut::new();
    let run = move || {
        // As a reader does: the bytes are copied into the buffer that packets share.
        buffer.extend_from_slice(&wire.bytes);
        let mut count = 0;
        while let Ok(Some(ref packet)) = decoder.decode(&mut buffer) {
            black_box(packet);
            count += 1;
        }
        assert_eq!(count, wire.packets.len());
        count
    };
    Case {
        name: "mqttstack decode shared".into(),
        run: Box::new(run),
    }
}

fn encode_slice(wire: &Wire) -> Case<'_> {
    let decoder = Decoder::new().with_version(wire.version);
    let mut packets: Vec<PacketRef<'_>> = Vec::new();
    let mut rest = &wire.bytes[..];
    while let Ok(Some((packet, used))) = decoder.decode_ref(rest) {
        packets.push(packet);
        rest = &rest[used..];
    }
    let mut buffer = vec![0; wire.bytes.len()];
    let run = move || {
        let mut out = SliceSink::new(&mut buffer);
        for packet in &packets {
            packet
                .encode(wire.version, &mut out)
                .expect("a legal packet");
        }
        black_box(out.written().len())
    };
    Case {
        name: "mqttstack encode slice".into(),
        run: Box::new(run),
    }
}

fn encode_buffer(wire: &Wire) -> Case<'_> {
    let mut buffer = BytesMut::with_capacity(wire.bytes.len());
    let run = move || {
        buffer.clear();
        for packet in &wire.packets {
            packet
                .encode(wire.version, &mut buffer)
                .expect("a legal packet");
        }
        black_box(buffer.len())
    };
    Case {
        name: "mqttstack encode buffer".into(),
        run: Box::new(run),
    }
}
