#![cfg_attr(feature = "server", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "server"),
    doc = "The core of an MQTT broker, without I/O."
)]
#![warn(clippy::indexing_slicing)]

pub mod core;
#[cfg(feature = "server")]
pub mod server;

#[cfg(feature = "server")]
pub use server::{Broker, BrokerBuilder, ListenerSettings, Resolver, StartError, Stopper};

pub use mqttstack_codec as codec;
pub use mqttstack_limits as limits;
pub use mqttstack_session as session;
#[cfg(feature = "server")]
pub use mqttstack_transport as transport;
