//! From the owned face to the borrowed one and back.

#[cfg(feature = "alloc")]
use crate::Shared;
use crate::{
    Ack, Auth, ConnAck, Connect, Disconnect, Packet, Publish, SubAck, Subscribe, UnsubAck,
    Unsubscribe, Will,
};
use crate::{Borrowed, PacketRef, Storage};

impl<S: Storage> Packet<S> {
    /// Returns the same packet, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> PacketRef<'_> {
        match self {
            Self::Connect(connect) => Packet::Connect(connect.as_ref()),
            Self::ConnAck(connack) => Packet::ConnAck(connack.as_ref()),
            Self::Publish(publish) => Packet::Publish(publish.as_ref()),
            Self::PubAck(ack) => Packet::PubAck(ack.as_ref()),
            Self::PubRec(ack) => Packet::PubRec(ack.as_ref()),
            Self::PubRel(ack) => Packet::PubRel(ack.as_ref()),
            Self::PubComp(ack) => Packet::PubComp(ack.as_ref()),
            Self::Subscribe(subscribe) => Packet::Subscribe(subscribe.as_ref()),
            Self::SubAck(suback) => Packet::SubAck(suback.as_ref()),
            Self::Unsubscribe(unsubscribe) => Packet::Unsubscribe(unsubscribe.as_ref()),
            Self::UnsubAck(unsuback) => Packet::UnsubAck(unsuback.as_ref()),
            Self::PingReq => Packet::PingReq,
            Self::PingResp => Packet::PingResp,
            Self::Disconnect(disconnect) => Packet::Disconnect(disconnect.as_ref()),
            Self::Auth(auth) => Packet::Auth(auth.as_ref()),
        }
    }

    /// Returns the same packet, to be kept; copies what is borrowed.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn to_shared(&self) -> Packet<Shared> {
        match self {
            Self::Connect(connect) => Packet::Connect(connect.to_shared()),
            Self::ConnAck(connack) => Packet::ConnAck(connack.to_shared()),
            Self::Publish(publish) => Packet::Publish(publish.to_shared()),
            Self::PubAck(ack) => Packet::PubAck(ack.to_shared()),
            Self::PubRec(ack) => Packet::PubRec(ack.to_shared()),
            Self::PubRel(ack) => Packet::PubRel(ack.to_shared()),
            Self::PubComp(ack) => Packet::PubComp(ack.to_shared()),
            Self::Subscribe(subscribe) => Packet::Subscribe(subscribe.to_shared()),
            Self::SubAck(suback) => Packet::SubAck(suback.to_shared()),
            Self::Unsubscribe(unsubscribe) => Packet::Unsubscribe(unsubscribe.to_shared()),
            Self::UnsubAck(unsuback) => Packet::UnsubAck(unsuback.to_shared()),
            Self::PingReq => Packet::PingReq,
            Self::PingResp => Packet::PingResp,
            Self::Disconnect(disconnect) => Packet::Disconnect(disconnect.to_shared()),
            Self::Auth(auth) => Packet::Auth(auth.to_shared()),
        }
    }
}

impl<S: Storage> Connect<S> {
    /// Returns the same CONNECT, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> Connect<Borrowed<'_>> {
        Connect {
            version: self.version,
            bridge: self.bridge,
            clean_start: self.clean_start,
            keep_alive: self.keep_alive,
            properties: self.properties.as_ref(),
            client_id: S::text(&self.client_id),
            will: self.will.as_ref().map(Will::as_ref),
            username: self.username.as_ref().map(S::text),
            password: self.password.as_ref().map(AsRef::as_ref),
        }
    }

    /// Returns the same CONNECT, to be kept; copies what is borrowed.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn to_shared(&self) -> Connect<Shared> {
        Connect {
            version: self.version,
            bridge: self.bridge,
            clean_start: self.clean_start,
            keep_alive: self.keep_alive,
            properties: self.properties.to_shared(),
            client_id: S::share_text(&self.client_id),
            will: self.will.as_ref().map(Will::to_shared),
            username: self.username.as_ref().map(S::share_text),
            password: self.password.as_ref().map(S::share_bytes),
        }
    }
}

impl<S: Storage> Will<S> {
    /// Returns the same will, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> Will<Borrowed<'_>> {
        Will {
            qos: self.qos,
            retain: self.retain,
            properties: self.properties.as_ref(),
            topic: S::text(&self.topic),
            payload: self.payload.as_ref(),
        }
    }

    /// Returns the same will, to be kept; copies what is borrowed.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn to_shared(&self) -> Will<Shared> {
        Will {
            qos: self.qos,
            retain: self.retain,
            properties: self.properties.to_shared(),
            topic: S::share_text(&self.topic),
            payload: S::share_bytes(&self.payload),
        }
    }
}

impl<S: Storage> ConnAck<S> {
    /// Returns the same CONNACK, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> ConnAck<Borrowed<'_>> {
        ConnAck {
            session_present: self.session_present,
            reason_code: self.reason_code,
            properties: self.properties.as_ref(),
        }
    }

    /// Returns the same CONNACK, to be kept; copies what is borrowed.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn to_shared(&self) -> ConnAck<Shared> {
        ConnAck {
            session_present: self.session_present,
            reason_code: self.reason_code,
            properties: self.properties.to_shared(),
        }
    }
}

impl<S: Storage> Publish<S> {
    /// Returns the same PUBLISH, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> Publish<Borrowed<'_>> {
        Publish {
            delivery: self.delivery,
            retain: self.retain,
            topic: S::text(&self.topic),
            properties: self.properties.as_ref(),
            payload: self.payload.as_ref(),
        }
    }

    /// Returns the same PUBLISH, to be kept; copies what is borrowed.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn to_shared(&self) -> Publish<Shared> {
        Publish {
            delivery: self.delivery,
            retain: self.retain,
            topic: S::share_text(&self.topic),
            properties: self.properties.to_shared(),
            payload: S::share_bytes(&self.payload),
        }
    }
}

impl<S: Storage> Ack<S> {
    /// Returns the same acknowledgement, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> Ack<Borrowed<'_>> {
        Ack {
            packet_id: self.packet_id,
            reason_code: self.reason_code,
            properties: self.properties.as_ref(),
        }
    }

    /// Returns the same acknowledgement, to be kept; copies what is borrowed.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn to_shared(&self) -> Ack<Shared> {
        Ack {
            packet_id: self.packet_id,
            reason_code: self.reason_code,
            properties: self.properties.to_shared(),
        }
    }
}

impl<S: Storage> Subscribe<S> {
    /// Returns the same SUBSCRIBE, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> Subscribe<Borrowed<'_>> {
        Subscribe {
            packet_id: self.packet_id,
            properties: self.properties.as_ref(),
            filters: self.filters.as_ref(),
        }
    }

    /// Returns the same SUBSCRIBE, to be kept; copies what is borrowed.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn to_shared(&self) -> Subscribe<Shared> {
        Subscribe {
            packet_id: self.packet_id,
            properties: self.properties.to_shared(),
            filters: self.filters.to_shared(),
        }
    }
}

impl<S: Storage> SubAck<S> {
    /// Returns the same SUBACK, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> SubAck<Borrowed<'_>> {
        SubAck {
            packet_id: self.packet_id,
            properties: self.properties.as_ref(),
            reason_codes: self.reason_codes.as_ref(),
        }
    }

    /// Returns the same SUBACK, to be kept; copies what is borrowed.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn to_shared(&self) -> SubAck<Shared> {
        SubAck {
            packet_id: self.packet_id,
            properties: self.properties.to_shared(),
            reason_codes: self.reason_codes.to_shared(),
        }
    }
}

impl<S: Storage> Unsubscribe<S> {
    /// Returns the same UNSUBSCRIBE, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> Unsubscribe<Borrowed<'_>> {
        Unsubscribe {
            packet_id: self.packet_id,
            properties: self.properties.as_ref(),
            filters: self.filters.as_ref(),
        }
    }

    /// Returns the same UNSUBSCRIBE, to be kept; copies what is borrowed.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn to_shared(&self) -> Unsubscribe<Shared> {
        Unsubscribe {
            packet_id: self.packet_id,
            properties: self.properties.to_shared(),
            filters: self.filters.to_shared(),
        }
    }
}

impl<S: Storage> UnsubAck<S> {
    /// Returns the same UNSUBACK, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> UnsubAck<Borrowed<'_>> {
        UnsubAck {
            packet_id: self.packet_id,
            properties: self.properties.as_ref(),
            reason_codes: self.reason_codes.as_ref(),
        }
    }

    /// Returns the same UNSUBACK, to be kept; copies what is borrowed.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn to_shared(&self) -> UnsubAck<Shared> {
        UnsubAck {
            packet_id: self.packet_id,
            properties: self.properties.to_shared(),
            reason_codes: self.reason_codes.to_shared(),
        }
    }
}

impl<S: Storage> Disconnect<S> {
    /// Returns the same DISCONNECT, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> Disconnect<Borrowed<'_>> {
        Disconnect {
            reason_code: self.reason_code,
            properties: self.properties.as_ref(),
        }
    }

    /// Returns the same DISCONNECT, to be kept; copies what is borrowed.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn to_shared(&self) -> Disconnect<Shared> {
        Disconnect {
            reason_code: self.reason_code,
            properties: self.properties.to_shared(),
        }
    }
}

impl<S: Storage> Auth<S> {
    /// Returns the same AUTH, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> Auth<Borrowed<'_>> {
        Auth {
            reason_code: self.reason_code,
            properties: self.properties.as_ref(),
        }
    }

    /// Returns the same AUTH, to be kept; copies what is borrowed.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn to_shared(&self) -> Auth<Shared> {
        Auth {
            reason_code: self.reason_code,
            properties: self.properties.to_shared(),
        }
    }
}
