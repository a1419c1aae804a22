//! What is decoded can be encoded, in no more bytes, and decodes to the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mqttstack_codec::Packet;

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
