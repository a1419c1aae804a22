//! What a board says and hears, from CONNECT to DISCONNECT.

use core::hint::black_box;

use mqttstack_codec::EncodeError;

use crate::{Client, Step, Wire};

/// Connects, subscribes, publishes at both QoS, and goes on until the server ends it or sends an
/// empty message.
pub fn converse<const IS_V5: bool>() -> Result<(), EncodeError> {
    let mut client = Client::<IS_V5>::new(Wire::default());
    client.connect(black_box("board-7"))?;
    loop {
        match client.step()? {
            Step::Connected => client.subscribe(black_box("board/7/set"))?,
            Step::Subscribed => client.publish(black_box("board/7/up"), b"1", true)?,
            Step::Delivered => client.publish(black_box("board/7/t"), b"21", false)?,
            Step::Message(0) => return client.disconnect(),
            Step::Closed => return Ok(()),
            Step::Message(_) | Step::Idle => {}
        }
    }
}
