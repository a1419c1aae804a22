//! What the core has to say to the people who run it.

use std::sync::Arc;

use mqttstack_codec::{ProtocolVersion, ReasonCode};
use mqttstack_session::server::EndCause;

use super::Peer;

/// Something worth a line in the log. Each connection has at most one end.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// A client has been let in.
    Connected {
        /// Where it comes from.
        peer: Arc<Peer>,
        /// Its Client Identifier.
        client_id: Box<str>,
        /// The protocol version it speaks.
        version: ProtocolVersion,
        /// Whether a stored session was resumed.
        session_present: bool,
    },
    /// A connection is over, or was refused.
    Ended {
        /// Where it came from.
        peer: Arc<Peer>,
        /// Its Client Identifier, if it came to that.
        client_id: Option<Box<str>>,
        /// Why.
        cause: EndCause,
    },
    /// A session was dropped although its client expects it to live.
    SessionDropped {
        /// Whose it was.
        client_id: Box<str>,
        /// Why.
        reason: ReasonCode,
    },
    /// Messages were dropped that a client did not take fast enough, or that are larger than it
    /// takes at all. At most one in a minute for each session.
    MessagesDropped {
        /// Whose they were.
        client_id: Box<str>,
        /// How many since the last notice.
        count: u64,
    },
}
