#![doc = include_str!("../README.md")]
#![no_std]
#![warn(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

#[cfg(feature = "std")]
extern crate std;

mod instant;
mod limits;

pub use instant::Instant;
pub use limits::{BrokerLimits, Limits, More, Overflow, PROTOCOL_PACKET_SIZE_MAX};

pub use mqttstack_codec as codec;
