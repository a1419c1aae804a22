//! The packets that are a reason code with properties: the four acknowledgements of PUBLISH,
//! DISCONNECT and AUTH.

use crate::{DefaultStorage, PacketId, Properties, ReasonCode, Storage};

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ack<S: Storage = DefaultStorage> {
    /// The Packet Identifier of the exchange.
    pub packet_id: PacketId,
    /// The reason code; always Success in 3.x.
    pub reason_code: ReasonCode,
    /// The properties.
    pub properties: Properties<S>,
}

impl<S: Storage> Ack<S> {
    /// Creates an acknowledgement with Success and without properties.
    #[must_use]
    pub const fn new(packet_id: PacketId) -> Self {
        Self::with_reason(packet_id, ReasonCode::Success)
    }

    /// Creates an acknowledgement without properties.
    #[must_use]
    pub const fn with_reason(packet_id: PacketId, reason_code: ReasonCode) -> Self {
        Self {
            packet_id,
            reason_code,
            properties: Properties::empty(),
        }
    }
}

/// DISCONNECT.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Disconnect<S: Storage = DefaultStorage> {
    /// The reason code; always Success in 3.x.
    pub reason_code: ReasonCode,
    /// The properties.
    pub properties: Properties<S>,
}

impl<S: Storage> Disconnect<S> {
    /// Creates a DISCONNECT without properties.
    #[must_use]
    pub const fn new(reason_code: ReasonCode) -> Self {
        Self {
            reason_code,
            properties: Properties::empty(),
        }
    }
}

/// AUTH; MQTT 5.0 only.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Auth<S: Storage = DefaultStorage> {
    /// The reason code: Success, Continue or Re-authenticate.
    pub reason_code: ReasonCode,
    /// The properties; the Authentication Method is required but in the short form of Success.
    pub properties: Properties<S>,
}
