//! Packets made of arbitrary parts: what the encoder lets through, the decoder takes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mqttstack_codec::{Decoder, Packet, ProtocolVersion, SliceSink};
use mqttstack_fuzz::packets::Versioned;

fuzz_target!(|input: Versioned| {
    let Versioned { version, packet } = input;
    let length = packet.encoded_len(version);
    let mut encoded = Vec::new();
    let written = packet.encode(version, &mut encoded);
    assert_eq!(written, length);
    if written.is_err() {
        assert!(encoded.is_empty(), "all or nothing");
        return;
    }
    let mut slice = vec![0; encoded.len()];
    let mut out = SliceSink::new(&mut slice);
    packet
        .as_ref()
        .encode(version, &mut out)
        .expect("both faces are encoded alike");
    assert_eq!(out.written(), encoded);
    let decoder = Decoder::new().with_version(version);
    let (decoded, used) = decoder
        .decode_ref(&encoded)
        .expect("legal")
        .expect("complete");
    assert_eq!(used, encoded.len());
    // MQTT 3.x says less about a CONNACK than the packet can.
    let is_lossy = matches!(packet, Packet::ConnAck(_)) && version != ProtocolVersion::V5;
    if !is_lossy {
        assert_eq!(decoded.to_shared(), packet);
    }
});
