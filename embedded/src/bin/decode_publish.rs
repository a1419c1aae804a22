//! Decodes a PUBLISH of QoS 0.

#![no_std]
#![no_main]

use core::hint::black_box;

use mqttstack_codec::{Decoder, ProtocolVersion};

/// The entry of the program.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let decoder = Decoder::new().with_version(ProtocolVersion::V311);
    let bytes: &[u8] = black_box(&[0x30, 5, 0, 1, b'a', b'h', b'i']);
    if let Ok(Some((head, length))) = decoder.decode_publish_head_ref(bytes) {
        black_box((head.publish.topic, bytes.get(length..)));
    }
    mqttstack_embedded::halt()
}
