//! Any bytes, decoded into packets that share the buffer.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((decoder, bytes)) = mqttstack_fuzz::settings(input) else {
        return;
    };
    let mut buffer = BytesMut::from(bytes);
    let mut left = buffer.len();
    while let Ok(Some(packet)) = decoder.decode(&mut buffer) {
        assert!(buffer.len() < left, "a packet of no bytes");
        left = buffer.len();
        assert!(!packet.to_string().contains('\n'), "more than a line");
    }
});
