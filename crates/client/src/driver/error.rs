//! What can go wrong for the users of a client.

use core::time::Duration;

use mqttstack_codec::{EncodeError, Properties, ReasonCode, Shared};
use mqttstack_session::{
    Message, MessageError, ProtocolError, PublishError, Undelivered, client::EndCause,
};
use mqttstack_transport::TransportError;

use crate::core::RequestError;

/// Why there is no connection.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConnectError {
    /// The name of the server has no address.
    #[error("{0}")]
    Dns(TransportError),
    /// The transport could not be opened in time.
    #[error("{0}")]
    Timeout(TransportError),
    /// The transport could not be opened, or broke.
    #[error("{0}")]
    Transport(TransportError),
    /// The socket is open, but what lies over it (TLS, WebSocket, a proxy's tunnel) did not open in
    /// time.
    #[error("the server did not complete the opening of the connection within {0:?}")]
    OpeningTimedOut(Duration),
    /// The server speaks TLS on this port, and the URL does not.
    #[error("the server speaks TLS on this port; use an mqtts:// or wss:// URL")]
    TlsExpected,
    /// The server refused the client.
    #[error(
        "the server refused the connection: {reason_code}{}",
        reason_string(properties)
    )]
    Refused {
        /// Why.
        reason_code: ReasonCode,
        /// What it says of it.
        properties: Properties<Shared>,
    },
    /// The server sent DISCONNECT.
    #[error(
        "the server ended the connection: {reason_code}{}",
        reason_string(properties)
    )]
    Disconnected {
        /// Why.
        reason_code: ReasonCode,
        /// What it says of it.
        properties: Properties<Shared>,
    },
    /// The server closed the transport without a word.
    #[error("the server closed the connection without giving a reason")]
    Closed,
    /// The server broke the protocol, or did not answer.
    #[error("{0}")]
    Protocol(ProtocolError),
    /// The client has disconnected, or was shut down.
    #[error("the client has ended")]
    Ended,
    /// No connection came about in the time that the caller would wait.
    #[error("no connection within {0:?}")]
    WaitTimedOut(Duration),
}

fn reason_string(properties: &Properties<Shared>) -> std::string::String {
    properties
        .reason_string()
        .map_or_else(Default::default, |reason| std::format!(" ({reason})"))
}

impl From<TransportError> for ConnectError {
    fn from(error: TransportError) -> Self {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "two causes have a variant of their own"
        )]
        match error {
            TransportError::HostUnknown { .. } => Self::Dns(error),
            TransportError::TimedOut { .. } => Self::Timeout(error),
            error => Self::Transport(error),
        }
    }
}

impl From<EndCause> for ConnectError {
    fn from(cause: EndCause) -> Self {
        match cause {
            EndCause::Refused(connack) => Self::Refused {
                reason_code: connack.reason_code,
                properties: connack.properties,
            },
            EndCause::ServerDisconnected {
                reason_code,
                properties,
            } => Self::Disconnected {
                reason_code,
                properties,
            },
            EndCause::Protocol(error) => Self::Protocol(error),
            EndCause::ClientDisconnected => Self::Ended,
            EndCause::TransportClosed => Self::Closed,
            // The list is open to the session only.
            _ => Self::Closed,
        }
    }
}

/// Why an operation was not taken.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SubmitError {
    /// The client has disconnected, was shut down, or has given up.
    #[error("the client has ended")]
    Ended,
    /// The calling thread drives the client: it would wait for itself.
    #[error("the thread that drives the client cannot wait for it")]
    WouldDeadlock,
    /// Too many requests are unfinished.
    #[error("too many requests are unfinished")]
    TooManyRequests,
    /// A filter is not valid.
    #[error(transparent)]
    Filter(#[from] EncodeError),
}

/// Why a message was not taken; it comes back.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TryPublishError {
    /// As much as may wait is waiting.
    #[error("the client has no room for the message now")]
    Full(Message),
    /// The client has disconnected, was shut down, or has given up.
    #[error("the client has ended")]
    Ended(Message),
}

/// Why an operation did not succeed.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OperationError {
    /// The server refused the message.
    #[error(
        "the server refused the message: {reason_code}{}",
        reason_string(properties)
    )]
    Rejected {
        /// Why.
        reason_code: ReasonCode,
        /// What it says of it.
        properties: Properties<Shared>,
    },
    /// The session did not take the message.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The session did not take the request.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The message was never delivered, as far as is known here.
    #[error("the message was not delivered: {}", describe(*_0))]
    Undelivered(Undelivered),
    /// The client ended first. A QoS 1 or 2 message may have arrived all the same.
    #[error("the client ended before the outcome was known")]
    Cancelled,
    /// The outcome is not known yet; wait again, if you like.
    #[error("no outcome yet")]
    TimedOut,
    /// The calling thread drives the client: it would wait for itself.
    #[error("the thread that drives the client cannot wait for it")]
    WouldDeadlock,
    /// The operation was not taken.
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

fn describe(why: Undelivered) -> &'static str {
    match why {
        Undelivered::Dropped => "it made room for others, or the connection was lost",
        Undelivered::Expired => "it expired in the queue",
        Undelivered::TooLarge => "it is larger than the server accepts",
        Undelivered::QosNotSupported => "the server takes no message of this QoS",
        Undelivered::RetainNotSupported => "the server retains no messages",
        Undelivered::SessionLost => "the server lost the session",
        _ => "no reason known",
    }
}

/// Why nothing was received.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReceiveError {
    /// Nothing arrived in time.
    #[error("no message in time")]
    TimedOut,
    /// The client has ended, and every message was received.
    #[error("the client has ended")]
    Ended,
}

/// Why a request got no response.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestFailure {
    /// Only MQTT 5.0 has requests and responses.
    #[error("only MQTT 5.0 has requests and responses")]
    NotSupported,
    /// There is no connection.
    #[error("not connected")]
    NotConnected,
    /// The message is not valid.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The server refused the subscription to the response topic.
    #[error("the server refused the subscription to the response topic: {0}")]
    ResponseTopic(ReasonCode),
    /// The request was not delivered.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// No response came in time.
    #[error("no response in time")]
    TimedOut,
}
