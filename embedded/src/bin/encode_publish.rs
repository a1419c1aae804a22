//! Encodes a PUBLISH of QoS 0.

#![no_std]
#![no_main]

use core::hint::black_box;

use mqttstack_codec::{Borrowed, ProtocolVersion, Publish, SliceSink};

/// The entry of the program.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let publish = Publish::<Borrowed<'_>>::new(black_box("a/b"), black_box(&b"hi"[..]));
    let mut buffer = [0; 64];
    let mut out = SliceSink::new(&mut buffer);
    if publish.encode(ProtocolVersion::V311, &mut out).is_ok() {
        black_box(out.written());
    }
    mqttstack_embedded::halt()
}
