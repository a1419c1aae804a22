//! A client of QoS 0 and 1 in MQTT 3.1.1.

#![no_std]
#![no_main]

use core::hint::black_box;

use mqttstack_codec::{EncodeError, ProtocolVersion, QoS};
use mqttstack_embedded::{Client, Step, Wire, halt};

/// The entry of the program.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    // Whatever ends the connection ends the program.
    let _ = black_box(run());
    halt()
}

fn run() -> Result<(), EncodeError> {
    let mut client = Client::new(ProtocolVersion::V311, Wire::default());
    client.connect(black_box("board-7"))?;
    loop {
        match client.step()? {
            Step::Connected => client.subscribe(black_box("board/7/set"))?,
            Step::Subscribed => client.publish(black_box("board/7/up"), b"1", QoS::AtLeastOnce)?,
            Step::Delivered => client.publish(black_box("board/7/t"), b"21", QoS::AtMostOnce)?,
            Step::Message(0) => return client.disconnect(),
            Step::Closed => return Ok(()),
            Step::Message(_) | Step::Idle => {}
        }
    }
}
