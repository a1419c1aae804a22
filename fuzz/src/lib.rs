//! What the fuzz targets share.

pub mod packets;
pub mod streams;

use mqttstack_codec::{Decoder, ProtocolVersion, Sender};

/// Takes the settings of a decoder off the input: its first byte.
pub fn settings(input: &[u8]) -> Option<(Decoder, &[u8])> {
    let (settings, bytes) = input.split_first()?;
    let version = match settings & 3 {
        0 => ProtocolVersion::V31,
        1 => ProtocolVersion::V311,
        _ => ProtocolVersion::V5,
    };
    let sender = match settings >> 2 & 3 {
        0 => Sender::Client,
        1 => Sender::Server,
        _ => Sender::Any,
    };
    let decoder = Decoder::new()
        .with_version(version)
        .with_sender(sender)
        .with_refuse_discouraged(settings & 0x10 != 0);
    Some((decoder, bytes))
}
