//! mqtt-protocol-core: packets are parsed from a body, the fixed header being the business of its
//! connection, and are encoded into a new `Vec`.

use std::{hint::black_box, sync::Arc};

use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait as _, Packet, v3_1_1, v5_0};
use mqttstack_codec::ProtocolVersion;

use super::{Case, Wire, frame_len};

/// Parses the body of a packet by its first byte.
macro_rules! parse {
    ($version:ident, $first:expr, $body:expr, $($number:literal => $name:ident $variant:ident),* $(,)?) => {
        match $first >> 4 {
            3 => {
                let parsed = $version::Publish::parse($first & 0x0F, Arc::from($body)).ok()?;
                Some(parsed.0.into())
            }
            $($number => Some(Packet::$variant($version::$name::parse($body).ok()?.0)),)*
            _ => None,
        }
    };
}

fn decode(version: ProtocolVersion, packet: &[u8]) -> Option<Packet> {
    let body_at = packet.iter().skip(1).position(|byte| *byte < 0x80)? + 2;
    let (first, body) = (packet[0], &packet[body_at..]);
    if version == ProtocolVersion::V5 {
        parse!(v5_0, first, body,
            1 => Connect V5_0Connect, 4 => Puback V5_0Puback, 5 => Pubrec V5_0Pubrec,
            6 => Pubrel V5_0Pubrel, 7 => Pubcomp V5_0Pubcomp, 8 => Subscribe V5_0Subscribe,
            9 => Suback V5_0Suback, 12 => Pingreq V5_0Pingreq, 13 => Pingresp V5_0Pingresp)
    } else {
        parse!(v3_1_1, first, body,
            1 => Connect V3_1_1Connect, 4 => Puback V3_1_1Puback, 5 => Pubrec V3_1_1Pubrec,
            6 => Pubrel V3_1_1Pubrel, 7 => Pubcomp V3_1_1Pubcomp, 8 => Subscribe V3_1_1Subscribe,
            9 => Suback V3_1_1Suback, 12 => Pingreq V3_1_1Pingreq, 13 => Pingresp V3_1_1Pingresp)
    }
}

pub(super) fn cases(wire: &Wire) -> Vec<Case<'_>> {
    let mut packets = Vec::new();
    let mut rest = &wire.bytes[..];
    while !rest.is_empty() {
        let (packet, after) = rest.split_at(frame_len(rest));
        packets.extend(decode(wire.version, packet));
        rest = after;
    }
    if packets.len() != wire.packets.len() {
        println!(
            "{} | mqtt-protocol-core: does not take this wire",
            wire.name
        );
        return Vec::new();
    }
    let run_decode = move || {
        let mut rest = &wire.bytes[..];
        let mut count = 0;
        while !rest.is_empty() {
            let (packet, after) = rest.split_at(frame_len(rest));
            black_box(&decode(wire.version, packet));
            rest = after;
            count += 1;
        }
        count
    };
    let run_encode = move || {
        for packet in &packets {
            black_box(packet.to_continuous_buffer());
        }
        packets.len()
    };
    vec![
        Case {
            name: "mqtt-protocol-core decode".into(),
            run: Box::new(run_decode),
        },
        Case {
            name: "mqtt-protocol-core encode".into(),
            run: Box::new(run_encode),
        },
    ]
}
