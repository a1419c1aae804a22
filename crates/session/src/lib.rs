#![doc = include_str!("../README.md")]
#![no_std]
#![warn(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod authentication;
mod check;
pub mod client;
mod error;
#[doc(hidden)]
pub mod fault;
mod flow;
pub mod journal;
mod message;
pub mod server;
mod short_queue;
#[cfg(test)]
mod testing;

pub use error::{ProtocolError, PublishError};
pub use flow::{
    DeliveryOptions, Encoded, Outgoing, OutgoingPublish, PublishToken, QueueStatus, SessionState,
    SubscriptionIds, Undelivered,
};
pub use message::{Message, MessageBody, MessageBuilder, MessageError, MessagePool};

pub use mqttstack_codec as codec;
pub use mqttstack_limits as limits;
