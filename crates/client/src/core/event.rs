//! What the core tells its owner.

use alloc::{boxed::Box, string::String};
use core::time::Duration;

use mqttstack_codec::{Auth, ConnAck, PacketId, Properties, ReasonCode, ReasonCodes, Shared};
use mqttstack_session::{Message, PublishToken, SubscriptionIds, Undelivered, client::EndCause};

use super::RequestError;

/// Names one operation that was asked for; its outcome carries the same name.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OperationId(pub(super) Kind);

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Kind {
    Publish(PublishToken),
    Request(u64),
}

/// What a received QoS 1 or 2 message is acknowledged by.
///
/// At QoS 1 it is good for the connection on which the message came: on a later one it does nothing,
/// and the message comes again. At QoS 2 it is good for as long as the server keeps the session: the
/// message does not come again.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[must_use = "the server waits for the acknowledgement"]
pub struct Receipt {
    pub(super) packet_id: PacketId,
    pub(super) scope: ReceiptScope,
}

/// How long a receipt is good.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum ReceiptScope {
    /// For a connection, by number.
    Connection(u64),
    /// For a session, by number.
    Session(u64),
}

impl Receipt {
    /// Returns the Packet Identifier of the message.
    #[must_use]
    pub const fn packet_id(self) -> PacketId {
        self.packet_id
    }
}

/// What has happened.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The server has accepted the connection.
    Connected(Box<ConnAck<Shared>>),
    /// A message has arrived. With a receipt it waits for
    /// [`acknowledge`](super::ClientCore::acknowledge).
    MessageReceived {
        /// The message.
        message: Message,
        /// The Subscription Identifiers of the subscriptions that it matched.
        subscription_ids: SubscriptionIds,
        /// What to acknowledge it by; `None` at QoS 0.
        receipt: Option<Receipt>,
    },
    /// An operation has come to its one and only outcome.
    Completed {
        /// The operation.
        operation: OperationId,
        /// How it ended.
        outcome: Outcome,
    },
    /// The client subscribed again after a reconnect, and the server refused a filter that it had
    /// granted before.
    SubscriptionLost {
        /// The filter.
        filter: String,
        /// Why; `None` if the request could not even be sent.
        reason_code: Option<ReasonCode>,
    },
    /// A step of an authentication exchange has arrived: answer with
    /// [`authenticate`](super::ClientCore::authenticate).
    AuthReceived(Box<Auth<Shared>>),
    /// The transport could not be opened.
    OpenFailed {
        /// When the next attempt is made; `None` if there is none.
        retry_after: Option<Duration>,
    },
    /// The connection is over.
    Ended {
        /// Why.
        cause: EndCause,
        /// When the next attempt is made; `None` if there is none.
        retry_after: Option<Duration>,
    },
}

/// How an operation ended.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// A QoS 0 message was handed to the transport, which is all there is to know.
    Sent,
    /// The server has answered a PUBLISH: from PUBACK, PUBREC with an error, or PUBCOMP.
    Acknowledged {
        /// The server's verdict.
        reason_code: ReasonCode,
        /// What it says of it.
        properties: Properties<Shared>,
    },
    /// The server has answered a SUBSCRIBE, one code for each filter.
    Subscribed {
        /// Granted QoS or error of each filter.
        reason_codes: ReasonCodes<Shared>,
        /// What the server says of them.
        properties: Properties<Shared>,
    },
    /// The server has answered an UNSUBSCRIBE, one code for each filter; none in 3.x.
    Unsubscribed {
        /// Success or error of each filter.
        reason_codes: ReasonCodes<Shared>,
        /// What the server says of them.
        properties: Properties<Shared>,
    },
    /// A message was never delivered, as far as this side can know.
    Undelivered(Undelivered),
    /// A SUBSCRIBE or UNSUBSCRIBE that had waited for a connection could not be sent on it.
    Refused(RequestError),
    /// The client has stopped before a SUBSCRIBE or UNSUBSCRIBE was answered.
    Cancelled,
}

/// What the owner of the transport is to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TransportRequest {
    /// Open a new transport; then call [`handle_connected`](super::ClientCore::handle_connected),
    /// or [`handle_closed`](super::ClientCore::handle_closed) if that fails.
    Open,
    /// Write what [`poll_output`](super::ClientCore::poll_output) still gives, close the transport
    /// (or stop opening it), then call [`handle_closed`](super::ClientCore::handle_closed).
    Close,
}

/// Bytes to write, in this order.
#[derive(Debug)]
pub struct Output<'a> {
    /// Encoded packets.
    pub bytes: &'a [u8],
    /// A large payload, which the last of the packets ends with.
    pub payload: Option<bytes::Bytes>,
}
