//! A client of QoS 0 and 1 in MQTT 3.1.1.

#![no_std]
#![no_main]

use core::hint::black_box;

/// The entry of the program.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    // Whatever ends the connection ends the program.
    let _ = black_box(mqttstack_embedded::converse::<false>());
    mqttstack_embedded::halt()
}
