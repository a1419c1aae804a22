//! A program that does nothing: what the others cost beyond it is theirs.

#![no_std]
#![no_main]

/// The entry of the program.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    mqttstack_embedded::halt()
}
