//! What a client session tells its owner.

use alloc::boxed::Box;

use mqttstack_codec::{Auth, ConnAck, PacketId, Properties, ReasonCode, ReasonCodes, Shared};

use crate::{Message, ProtocolError, PublishToken, SubscriptionIds, Undelivered};

/// What has happened on a connection of a client.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The server has accepted the connection. With `session_present` false, the server knows of
    /// no subscriptions, and everything that was in flight has been reported as
    /// [`Outcome::Undelivered`] or queued again, by [`LostSession`](super::LostSession). A 3.1
    /// server does not say: there it is always false, and a session that did not ask to be clean
    /// goes on.
    ///
    /// The properties hold what the server has to say, an Assigned Client Identifier, Response
    /// Information and Server Reference among it; what it can do is
    /// [`Session::server`](super::Session::server).
    Connected(Box<ConnAck<Shared>>),
    /// A message has arrived. With a Packet Identifier it waits for
    /// [`acknowledge`](super::Session::acknowledge).
    MessageReceived {
        /// The message.
        message: Message,
        /// The Subscription Identifiers of the subscriptions that it matched.
        subscription_ids: SubscriptionIds,
        /// The identifier to acknowledge; `None` at QoS 0.
        packet_id: Option<PacketId>,
    },
    /// A request has come to its one and only outcome.
    Completed {
        /// What the request returned.
        token: PublishToken,
        /// How it ended.
        outcome: Outcome,
    },
    /// A step of an authentication exchange has arrived: answer with
    /// [`authenticate`](super::Session::authenticate).
    AuthReceived(Box<Auth<Shared>>),
    /// The connection is over: send what is still to be sent and close the transport. Comes exactly
    /// once for each connection.
    Ended(EndCause),
}

/// How a request ended.
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
    /// The connection ended before a SUBSCRIBE or UNSUBSCRIBE was answered.
    Unanswered,
}

/// Why a connection ended.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EndCause {
    /// The server refused the connection.
    Refused(Box<ConnAck<Shared>>),
    /// The server sent DISCONNECT.
    ServerDisconnected {
        /// Why.
        reason_code: ReasonCode,
        /// What it says of it, a Server Reference perhaps.
        properties: Properties<Shared>,
    },
    /// The transport was closed without a word.
    TransportClosed,
    /// The server broke the protocol, or did not answer.
    Protocol(ProtocolError),
    /// The owner has disconnected.
    ClientDisconnected,
}
