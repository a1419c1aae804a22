//! The client with I/O: three owned parts, and a blocking interface.
//!
//! [`Client`] submits, [`Inbox`] receives, [`Driver`] moves bytes between the core and a transport.

mod builder;
mod client;
mod clock;
mod error;
mod inbox;
mod link;
mod opening;
mod pending;
mod runner;
mod shared;
mod target;
#[cfg(test)]
mod tests;

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
    target::{DEFAULT_PORT, UrlError},
};
