//! What can be wrong with a peer's bytes, with a packet to encode, and with a property to build.

mod decode_error;

pub use decode_error::DecodeError;

use crate::{PacketType, PropertyId, ProtocolVersion, ReasonCode};

/// Why a packet cannot be encoded. Nothing has been written.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum EncodeError {
    /// Every receiver that keeps to the standard would refuse the packet.
    #[error("a receiver would refuse the packet: {0}")]
    WouldBeRefused(#[from] DecodeError),
    /// The packet does not exist in this version.
    #[error("{packet_type} does not exist in MQTT {version}")]
    PacketTypeNotInVersion {
        /// The packet's type.
        packet_type: PacketType,
        /// The version asked for.
        version: ProtocolVersion,
    },
    /// MQTT 3.x has no properties.
    #[error("{packet_type} carries no properties before MQTT 5.0")]
    PropertiesNotInVersion {
        /// The packet's type.
        packet_type: PacketType,
    },
    /// The packet cannot carry this reason code in this version.
    #[error("{packet_type} cannot say \"{reason_code}\" in MQTT {version}")]
    ReasonCodeNotInVersion {
        /// The packet's type.
        packet_type: PacketType,
        /// The code.
        reason_code: ReasonCode,
        /// The version asked for.
        version: ProtocolVersion,
    },
    /// MQTT 3.x has no subscription options but the QoS.
    #[error("subscription options other than the QoS need MQTT 5.0")]
    SubscriptionOptionsNotInVersion,
    /// The bridge bit is for MQTT 3.x.
    #[error("MQTT 5.0 has no bridge bit")]
    BridgeNotInVersion,
    /// The CONNECT names another version than the one asked for.
    #[error("CONNECT is of MQTT {connect}, not of {version}")]
    VersionMismatch {
        /// The version in the packet.
        connect: ProtocolVersion,
        /// The version asked for.
        version: ProtocolVersion,
    },
    /// A string or binary field is longer than its length field can say.
    #[error("field of {length} bytes exceeds 65535")]
    FieldTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The packet is longer than a Remaining Length, or a property block than its length, can say.
    #[error("{length} bytes exceed 268435455")]
    PacketTooLong {
        /// The length in bytes.
        length: usize,
    },
    /// The output has no room for the packet.
    #[error("{needed} bytes do not fit into the remaining {available}")]
    BufferTooSmall {
        /// What the packet takes.
        needed: usize,
        /// What is left.
        available: usize,
    },
}

/// Why a property cannot be added to a block.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PropertyError {
    /// The value is one that no packet may carry, or the property is there already.
    #[error(transparent)]
    Invalid(#[from] DecodeError),
    /// A string or binary value is longer than its length field can say.
    #[error("{property} of {length} bytes exceeds 65535")]
    ValueTooLong {
        /// The property.
        property: PropertyId,
        /// The length of the value in bytes.
        length: usize,
    },
    /// The block is longer than a Property Length can say.
    #[error("properties of {length} bytes exceed 268435455")]
    BlockTooLong {
        /// The length of the block in bytes.
        length: usize,
    },
    /// The caller's buffer is full.
    #[error("{needed} bytes do not fit into the remaining {available}")]
    BufferTooSmall {
        /// What the property takes.
        needed: usize,
        /// What is left.
        available: usize,
    },
}
