//! The packets: one model for MQTT 3.1, 3.1.1 and 5.0.

mod ack;
mod connect;
mod convert;
mod debug;
mod display;
mod filters;
mod packet_type;
mod publish;
mod reason_codes;
mod subscribe;

pub use ack::{Ack, Auth, Disconnect};
pub use connect::{ConnAck, Connect, Will};
pub use filters::{
    SubscribeFilters, SubscribeFiltersIter, UnsubscribeFilters, UnsubscribeFiltersIter,
};
pub use packet_type::PacketType;
pub use publish::{Delivery, Publish};
pub use reason_codes::ReasonCodes;
pub use subscribe::{
    RetainHandling, SubAck, Subscribe, Subscription, SubscriptionOptions, UnsubAck, Unsubscribe,
};

use crate::{Borrowed, DefaultStorage, PacketId, Storage};

/// A packet of any version. [`PacketRef`] is the borrowed face of the same type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Packet<S: Storage = DefaultStorage> {
    /// Client to server: opens the connection.
    Connect(Connect<S>),
    /// Server to client: answers CONNECT.
    ConnAck(ConnAck<S>),
    /// An application message.
    Publish(Publish<S>),
    /// Ends a QoS 1 exchange.
    PubAck(Ack<S>),
    /// QoS 2: the receiver has the message.
    PubRec(Ack<S>),
    /// QoS 2: the sender has let go of the message.
    PubRel(Ack<S>),
    /// Ends a QoS 2 exchange.
    PubComp(Ack<S>),
    /// Client to server: asks for subscriptions.
    Subscribe(Subscribe<S>),
    /// Server to client: answers SUBSCRIBE.
    SubAck(SubAck<S>),
    /// Client to server: ends subscriptions.
    Unsubscribe(Unsubscribe<S>),
    /// Server to client: answers UNSUBSCRIBE.
    UnsubAck(UnsubAck<S>),
    /// Client to server: still here.
    PingReq,
    /// Server to client: answers PINGREQ.
    PingResp,
    /// Ends the connection in good order.
    Disconnect(Disconnect<S>),
    /// A step of an authentication exchange; MQTT 5.0 only.
    Auth(Auth<S>),
}

/// A packet whose fields are slices of the buffer it was decoded from.
pub type PacketRef<'a> = Packet<Borrowed<'a>>;

impl<S: Storage> Packet<S> {
    /// Returns the type of the packet.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }

    /// Returns the Packet Identifier, where the packet has one.
    #[must_use]
    pub const fn packet_id(&self) -> Option<PacketId> {
        match self {
            Self::Publish(publish) => publish.packet_id(),
            Self::PubAck(ack) | Self::PubRec(ack) | Self::PubRel(ack) | Self::PubComp(ack) => {
                Some(ack.packet_id)
            }
            Self::Subscribe(subscribe) => Some(subscribe.packet_id),
            Self::SubAck(suback) => Some(suback.packet_id),
            Self::Unsubscribe(unsubscribe) => Some(unsubscribe.packet_id),
            Self::UnsubAck(unsuback) => Some(unsuback.packet_id),
            Self::Connect(_)
            | Self::ConnAck(_)
            | Self::PingReq
            | Self::PingResp
            | Self::Disconnect(_)
            | Self::Auth(_) => None,
        }
    }
}
