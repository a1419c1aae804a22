//! Who sends what: the direction rules of packets, properties and reason codes.

use core::fmt;

use crate::PacketType;

/// Who sent the bytes, as far as the decoder is told.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Sender {
    /// Not known: whatever either side may send is accepted.
    #[default]
    Any,
    /// A client: what only servers send is refused.
    Client,
    /// A server: what only clients send is refused.
    Server,
}

impl Sender {
    /// Returns whether the sender may be a client.
    #[must_use]
    pub const fn may_be_client(self) -> bool {
        matches!(self, Self::Any | Self::Client)
    }

    /// Returns whether the sender may be a server.
    #[must_use]
    pub const fn may_be_server(self) -> bool {
        matches!(self, Self::Any | Self::Server)
    }

    /// Returns whether this sender may send packets of the type.
    ///
    /// A DISCONNECT from a server exists in 5.0 only: `server_disconnects` says whether it does.
    pub(crate) const fn may_send(self, packet_type: PacketType, server_disconnects: bool) -> bool {
        match packet_type {
            PacketType::Connect
            | PacketType::Subscribe
            | PacketType::Unsubscribe
            | PacketType::PingReq => self.may_be_client(),
            PacketType::ConnAck
            | PacketType::SubAck
            | PacketType::UnsubAck
            | PacketType::PingResp => self.may_be_server(),
            PacketType::Disconnect => server_disconnects || self.may_be_client(),
            PacketType::Publish
            | PacketType::PubAck
            | PacketType::PubRec
            | PacketType::PubRel
            | PacketType::PubComp
            | PacketType::Auth => true,
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "peer",
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}
