//! The client with I/O: three owned parts, and a blocking interface.
//!
//! [`Client`] submits, [`Inbox`] receives, [`Driver`] moves bytes between the core and a transport.

mod builder;
mod client;
mod clock;
mod error;
mod inbox;
mod layers;
mod link;
mod opening;
mod pending;
#[cfg(feature = "tunnel")]
mod proxy;
mod runner;
mod shared;
#[cfg(test)]
mod tests;
mod url;

pub use self::{
    builder::{Acknowledgement, Builder, BuilderError, InboxLimits},
    client::Client,
    error::{
        ConnectError, OperationError, ReceiveError, RequestFailure, SubmitError, TryPublishError,
    },
    inbox::{Inbox, Received},
    opening::Opener,
    pending::{Pending, Published, ShutdownReport, Subscribed, Unsubscribed},
    runner::{ConnectionEvent, Driver, Step},
    url::{DEFAULT_PORT, ServerUrl, UrlError},
};

#[cfg(feature = "tunnel")]
pub use self::proxy::ProxyUrlError;
