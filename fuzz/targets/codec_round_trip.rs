//! What is decoded can be encoded, to the same bytes or to fewer, and decodes to the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mqttstack_codec::{Packet, PacketRef, PacketType, ProtocolVersion};

fuzz_target!(|input: &[u8]| {
    let Some((decoder, bytes)) = mqttstack_fuzz::settings(input) else {
        return;
    };
    let Ok(Some((packet, used))) = decoder.decode_ref(bytes) else {
        return;
    };
    let version = match &packet {
        Packet::Connect(connect) => connect.version,
        _ => decoder.version,
    };
    let mut encoded = Vec::new();
    packet
        .encode(version, &mut encoded)
        .expect("what is decoded can be encoded");
    assert_eq!(packet.encoded_len(version), Ok(encoded.len()));
    if has_one_form(&packet, decoder.version, version) {
        assert_eq!(encoded, bytes[..used]);
    }
    assert!(encoded.len() <= used, "the canonical form is the shortest");
    let decoder = decoder.with_version(version);
    let (again, length) = decoder
        .decode_ref(&encoded)
        .expect("legal")
        .expect("all of it is there");
    assert_eq!(length, encoded.len());
    assert_eq!(again.to_shared(), packet.to_shared());
    // Once canonical, always the same.
    let mut twice = Vec::new();
    again.encode(version, &mut twice).expect("legal");
    assert_eq!(twice, encoded);
});

/// Returns whether the standard leaves one form to write a packet in: 3.1 tolerates what it does not
/// use, and 5.0 lets a reason code and properties be left out.
fn has_one_form(packet: &PacketRef<'_>, read: ProtocolVersion, written: ProtocolVersion) -> bool {
    let is_short_in_v5 = matches!(
        packet.packet_type(),
        PacketType::PubAck
            | PacketType::PubRec
            | PacketType::PubRel
            | PacketType::PubComp
            | PacketType::Disconnect
            | PacketType::Auth
    );
    read != ProtocolVersion::V31
        && written != ProtocolVersion::V31
        && !(is_short_in_v5 && written == ProtocolVersion::V5)
}
