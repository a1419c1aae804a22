#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod core;
#[cfg(feature = "std")]
mod driver;

#[cfg(feature = "std")]
pub use driver::{
    Acknowledgement, Builder, BuilderError, Client, ConnectError, ConnectionEvent, DEFAULT_PORT,
    Driver, Inbox, InboxLimits, Opener, OperationError, Pending, Published, ReceiveError, Received,
    RequestFailure, ServerUrl, ShutdownReport, Step, SubmitError, Subscribed, TryPublishError,
    Unsubscribed, UrlError,
};

#[cfg(feature = "tunnel")]
pub use driver::ProxyUrlError;

pub use mqttstack_codec as codec;
pub use mqttstack_limits as limits;
pub use mqttstack_session as session;
#[cfg(feature = "std")]
pub use mqttstack_transport as transport;
