//! What a server session tells its owner, and what the owner answers.

use alloc::boxed::Box;

use mqttstack_codec::{
    Auth, Connect, PacketId, Properties, ReasonCode, Shared, Subscribe, Unsubscribe, Utf8Bytes,
    Will,
};

use crate::{Message, ProtocolError, SessionState};

/// What has happened on a connection of a server.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A valid CONNECT has arrived: answer with [`accept`](super::Session::accept) or
    /// [`refuse`](super::Session::refuse), now or later. Packets behind it have to wait
    /// ([`is_deciding`](super::Session::is_deciding)).
    ConnectRequested(Box<Connect<Shared>>),
    /// A step of an authentication exchange has arrived.
    AuthReceived(Box<Auth<Shared>>),
    /// A message has arrived. With a Packet Identifier it waits for
    /// [`acknowledge`](super::Session::acknowledge).
    MessageReceived {
        /// The message.
        message: Message,
        /// The identifier to acknowledge; `None` at QoS 0.
        packet_id: Option<PacketId>,
    },
    /// A SUBSCRIBE has arrived: answer with [`suback`](super::Session::suback).
    SubscribeRequested(Box<Subscribe<Shared>>),
    /// An UNSUBSCRIBE has arrived: answer with [`unsuback`](super::Session::unsuback).
    UnsubscribeRequested(Box<Unsubscribe<Shared>>),
    /// The connection is over: send what [`poll_packet`](super::Session::poll_packet) still gives,
    /// close the transport, and take the state out. Comes exactly once, and last.
    Ended(Box<Ended>),
}

/// How a connection ended, and what it leaves behind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ended {
    /// Why.
    pub cause: EndCause,
    /// The Will Message, unless the client deleted it or never had one.
    pub will: Option<Will<Shared>>,
    /// The Session Expiry Interval in force, in seconds; `u32::MAX` is never.
    pub session_expiry_interval: u32,
    /// How many messages the session has dropped, as in
    /// [`QueueStatus::dropped`](crate::QueueStatus::dropped), before those at QoS 0 went with the
    /// connection that waited for it.
    pub dropped: u64,
}

/// Why a connection ended.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EndCause {
    /// The client sent DISCONNECT.
    ClientDisconnected(ReasonCode),
    /// The transport was closed without a DISCONNECT.
    TransportClosed,
    /// The client broke the protocol, or was silent for too long.
    Protocol(ProtocolError),
    /// The owner refused the CONNECT.
    Refused(ReasonCode),
    /// The owner ended the connection.
    ServerDisconnected(ReasonCode),
}

/// The answer to a CONNECT that is accepted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Acceptance {
    /// The state of the session that is resumed; emptied if none is.
    pub state: SessionState,
    /// Whether a stored session is resumed; ignored if the client asked for a clean start.
    pub session_present: bool,
    /// The Client Identifier that the server chose; ignored if the client sent one.
    pub assigned_client_id: Option<Utf8Bytes>,
    /// Further properties for the CONNACK of MQTT 5.0: Authentication Data, Response Information (if
    /// the client requested it), Server Reference, Reason String, User Properties. Those that follow
    /// from the limits are added; others are ignored.
    pub properties: Properties<Shared>,
}

/// A CONNECT was not accepted; the state of its session is still the owner's.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the connection was not accepted")]
pub struct NotAccepted {
    /// The state, as it was in the [`Acceptance`].
    pub state: Box<SessionState>,
}

impl From<SessionState> for NotAccepted {
    fn from(state: SessionState) -> Self {
        Self {
            state: Box::new(state),
        }
    }
}
