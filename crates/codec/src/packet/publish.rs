//! PUBLISH.

use crate::{DefaultStorage, PacketId, Properties, QoS, Storage};

/// How a PUBLISH is delivered: its QoS with what only that QoS has.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Delivery {
    /// QoS 0: no identifier, never a duplicate.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce {
        /// The Packet Identifier.
        packet_id: PacketId,
        /// Whether this is a re-delivery.
        dup: bool,
    },
    /// QoS 2.
    ExactlyOnce {
        /// The Packet Identifier.
        packet_id: PacketId,
        /// Whether this is a re-delivery.
        dup: bool,
    },
}

impl Delivery {
    /// Returns a first delivery at the QoS, or `None` unless there is a Packet Identifier for
    /// QoS 1 and 2, and none for QoS 0.
    ///
    /// # Specification
    ///
    /// v5 MQTT-2.2.1-2; v3.1.1 MQTT-2.3.1-5.
    #[must_use]
    pub const fn new(qos: QoS, packet_id: Option<PacketId>) -> Option<Self> {
        match (qos, packet_id) {
            (QoS::AtMostOnce, None) => Some(Self::AtMostOnce),
            (QoS::AtLeastOnce, Some(packet_id)) => Some(Self::AtLeastOnce {
                packet_id,
                dup: false,
            }),
            (QoS::ExactlyOnce, Some(packet_id)) => Some(Self::ExactlyOnce {
                packet_id,
                dup: false,
            }),
            (QoS::AtMostOnce, Some(_)) | (QoS::AtLeastOnce | QoS::ExactlyOnce, None) => None,
        }
    }

    /// Returns the QoS.
    #[must_use]
    pub const fn qos(self) -> QoS {
        match self {
            Self::AtMostOnce => QoS::AtMostOnce,
            Self::AtLeastOnce { .. } => QoS::AtLeastOnce,
            Self::ExactlyOnce { .. } => QoS::ExactlyOnce,
        }
    }

    /// Returns the Packet Identifier; QoS 0 has none.
    #[must_use]
    pub const fn packet_id(self) -> Option<PacketId> {
        match self {
            Self::AtMostOnce => None,
            Self::AtLeastOnce { packet_id, .. } | Self::ExactlyOnce { packet_id, .. } => {
                Some(packet_id)
            }
        }
    }

    /// Returns whether this is a re-delivery.
    #[must_use]
    pub const fn dup(self) -> bool {
        match self {
            Self::AtMostOnce => false,
            Self::AtLeastOnce { dup, .. } | Self::ExactlyOnce { dup, .. } => dup,
        }
    }

    /// Returns the same delivery marked as a re-delivery, or not; QoS 0 stays as it is.
    #[must_use]
    pub const fn with_dup(self, dup: bool) -> Self {
        match self {
            Self::AtMostOnce => Self::AtMostOnce,
            Self::AtLeastOnce { packet_id, .. } => Self::AtLeastOnce { packet_id, dup },
            Self::ExactlyOnce { packet_id, .. } => Self::ExactlyOnce { packet_id, dup },
        }
    }
}

/// PUBLISH: an application message.
#[derive(Clone, Eq, PartialEq)]
pub struct Publish<S: Storage = DefaultStorage> {
    /// The QoS, Packet Identifier and DUP flag.
    pub delivery: Delivery,
    /// The RETAIN flag.
    pub retain: bool,
    /// The Topic Name; empty only in 5.0 beside a Topic Alias.
    pub topic: S::Str,
    /// The properties.
    pub properties: Properties<S>,
    /// The application's bytes; may be empty.
    pub payload: S::Bytes,
}

impl<S: Storage> Publish<S> {
    /// Creates a PUBLISH at QoS 0, without RETAIN and properties.
    #[must_use]
    pub fn new(topic: impl Into<S::Str>, payload: impl Into<S::Bytes>) -> Self {
        Self {
            delivery: Delivery::AtMostOnce,
            retain: false,
            topic: topic.into(),
            properties: Properties::empty(),
            payload: payload.into(),
        }
    }

    /// Returns the QoS.
    #[must_use]
    pub const fn qos(&self) -> QoS {
        self.delivery.qos()
    }

    /// Returns the Packet Identifier; QoS 0 has none.
    #[must_use]
    pub const fn packet_id(&self) -> Option<PacketId> {
        self.delivery.packet_id()
    }

    /// Returns whether this is a re-delivery.
    #[must_use]
    pub const fn dup(&self) -> bool {
        self.delivery.dup()
    }
}
