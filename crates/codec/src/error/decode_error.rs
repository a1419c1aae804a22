//! Why bytes are not a packet, each cause with the reason code that answers it.

use crate::{PacketType, PropertyId, PropertyScope, ReasonCode, Sender};

/// Why the peer's bytes are not an MQTT packet that it may send.
///
/// [`reason_code`](Self::reason_code) gives the code that answers an MQTT 5.0 peer; an MQTT 3.x
/// peer is closed without one.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DecodeError {
    // The fixed header.
    /// The upper half of the first byte is 0, or 15 before MQTT 5.0.
    #[error("first byte 0x{first_byte:02X} is of a reserved packet type")]
    ReservedPacketType {
        /// The byte.
        first_byte: u8,
    },
    /// The lower half of the first byte is not the one that belongs to the packet type.
    #[error("flags 0x{flags:X} are not those of {packet_type}")]
    InvalidFlags {
        /// The packet type.
        packet_type: PacketType,
        /// The four bits.
        flags: u8,
    },
    /// Both QoS bits of a PUBLISH are set.
    #[error("PUBLISH with QoS 3")]
    InvalidPublishQoS,
    /// A PUBLISH at QoS 0 claims to be a duplicate.
    #[error("PUBLISH with DUP at QoS 0")]
    DupWithoutQoS,
    /// The packet type is one that only the other side sends.
    #[error("{packet_type} is not sent by a {sender}")]
    WrongDirection {
        /// The packet type.
        packet_type: PacketType,
        /// Who sent it.
        sender: Sender,
    },
    /// The Remaining Length has a continuation bit in its fourth byte.
    #[error("remaining length continues past its fourth byte")]
    RemainingLengthTooLong,
    /// The Remaining Length takes more bytes than its value needs.
    #[error("remaining length is not in its shortest form")]
    RemainingLengthNotMinimal,
    /// The Remaining Length cannot be that of a packet of this type.
    #[error("{packet_type} cannot have a remaining length of {length}")]
    InvalidRemainingLength {
        /// The packet type.
        packet_type: PacketType,
        /// The Remaining Length.
        length: u32,
    },
    /// The packet, fixed header included, is larger than this side agreed to take; or the head of a
    /// PUBLISH whose payload would come in pieces.
    #[error("packet of {size} bytes exceeds the limit of {limit}")]
    PacketTooLarge {
        /// Its size in bytes; of a head, what is known of it.
        size: u32,
        /// The limit in bytes.
        limit: u32,
    },

    // Fields.
    /// A field runs past the end of the packet or of its property block.
    #[error("field of {needed} bytes where {available} are left")]
    FieldTruncated {
        /// What the field takes.
        needed: u32,
        /// What is left.
        available: u32,
    },
    /// Bytes are left over after the last field.
    #[error("{count} bytes after the last field")]
    TrailingBytes {
        /// How many.
        count: u32,
    },
    /// A Variable Byte Integer has a continuation bit in its fourth byte.
    #[error("variable byte integer continues past its fourth byte")]
    VariableByteIntegerTooLong,
    /// A Variable Byte Integer takes more bytes than its value needs.
    #[error("variable byte integer is not in its shortest form")]
    VariableByteIntegerNotMinimal,
    /// A string is not well-formed UTF-8.
    #[error("ill-formed UTF-8 after {valid_up_to} bytes of a string")]
    InvalidUtf8 {
        /// How many bytes of the string are well-formed.
        valid_up_to: u16,
    },
    /// A string holds U+0000.
    #[error("U+0000 in a string")]
    NulInString,
    /// A topic holds a control character or non-character, and the decoder is set to refuse them.
    #[error("code point U+{code_point:04X} in a topic")]
    DiscouragedCodePoint {
        /// The code point.
        code_point: u32,
    },
    /// A Packet Identifier is 0.
    #[error("packet identifier 0")]
    PacketIdZero,

    // Topics.
    /// A PUBLISH has an empty Topic Name and no Topic Alias.
    #[error("PUBLISH without topic name and topic alias")]
    EmptyTopicWithoutAlias,
    /// A Topic Name is empty.
    #[error("empty topic name")]
    EmptyTopicName,
    /// A Topic Name holds `+` or `#`.
    #[error("wildcard in a topic name")]
    WildcardInTopicName,
    /// A Topic Filter is empty.
    #[error("empty topic filter")]
    EmptyTopicFilter,
    /// A wildcard of a Topic Filter does not fill a level, or `#` is not the last.
    #[error("misplaced wildcard in a topic filter")]
    MisplacedWildcard,
    /// A filter that begins with `$share/` has no share name, or no filter after it.
    #[error("ill-formed shared subscription filter")]
    InvalidSharedFilter,

    // Properties.
    /// The identifier is not one of the standard's.
    #[error("unknown property 0x{id:02X}")]
    UnknownProperty {
        /// The identifier.
        id: u8,
    },
    /// The property does not belong here.
    #[error("{property} is not a property of {scope}")]
    PropertyNotAllowed {
        /// The property.
        property: PropertyId,
        /// Where it was found.
        scope: PropertyScope,
    },
    /// The property belongs here, but only in the other direction.
    #[error("{property} in {scope} is for the other side")]
    PropertyOfOtherSide {
        /// The property.
        property: PropertyId,
        /// Where it was found.
        scope: PropertyScope,
    },
    /// The property occurs twice, but may only once.
    #[error("{property} occurs twice")]
    DuplicateProperty {
        /// The property.
        property: PropertyId,
    },
    /// The value is outside of the range of the property.
    #[error("{property} cannot be {value}")]
    InvalidPropertyValue {
        /// The property.
        property: PropertyId,
        /// The value.
        value: u32,
    },
    /// Topic Alias 0.
    #[error("topic alias 0")]
    TopicAliasZero,
    /// Authentication Data stands in a CONNECT without Authentication Method.
    #[error("authentication data without authentication method")]
    AuthenticationDataWithoutMethod,
    /// An AUTH has no Authentication Method.
    #[error("AUTH without authentication method")]
    AuthWithoutMethod,

    // Reason codes.
    /// The code is not defined, or not for this packet and sender.
    #[error("{packet_type} cannot carry code 0x{code:02X}")]
    InvalidReasonCode {
        /// The packet type.
        packet_type: PacketType,
        /// The byte.
        code: u8,
    },

    // CONNECT and CONNACK.
    /// The protocol name is neither `MQTT` nor `MQIsdp`.
    #[error("unknown protocol name")]
    UnknownProtocolName,
    /// The protocol name is known, its level is not.
    #[error("unsupported protocol level {level}")]
    UnsupportedProtocolVersion {
        /// The level byte.
        level: u8,
    },
    /// Bit 0 of the Connect Flags is set.
    #[error("reserved connect flag is set")]
    ReservedConnectFlag,
    /// Will QoS or Will Retain are set without Will Flag.
    #[error("connect flags 0x{flags:02X} describe a will that is not there")]
    WillFlagsWithoutWill {
        /// The Connect Flags.
        flags: u8,
    },
    /// Both Will QoS bits are set.
    #[error("will with QoS 3")]
    InvalidWillQoS,
    /// A CONNECT before MQTT 5.0 has a password, but no user name.
    #[error("password without user name")]
    PasswordWithoutUserName,
    /// Bits 7 to 1 of the Connect Acknowledge Flags are not 0.
    #[error("reserved connect acknowledge flags are set: 0x{flags:02X}")]
    ReservedConnAckFlags {
        /// The Connect Acknowledge Flags.
        flags: u8,
    },
    /// A CONNACK says that the session is present and that the connection is refused.
    #[error("session present in a CONNACK that refuses")]
    SessionPresentWithError,

    // Lists.
    /// A SUBSCRIBE or UNSUBSCRIBE has no filter, or a SUBACK or UNSUBACK no code.
    #[error("{packet_type} without entries")]
    EmptyList {
        /// The packet type.
        packet_type: PacketType,
    },
    /// Reserved bits of Subscription Options are set.
    #[error("reserved bits in subscription options 0x{options:02X}")]
    ReservedSubscriptionOptions {
        /// The byte.
        options: u8,
    },
    /// Subscription Options ask for QoS 3 or Retain Handling 3.
    #[error("subscription options 0x{options:02X} have no meaning")]
    InvalidSubscriptionOptions {
        /// The byte.
        options: u8,
    },
    /// No Local is set on a shared subscription.
    #[error("no local on a shared subscription")]
    NoLocalOnShared,
}

impl DecodeError {
    /// Returns the code that answers this error; a 3.x peer is closed without one.
    ///
    /// # Specification
    ///
    /// v5 §4.13, and `U-02` to `U-27`. Where the standard names no class, the crate documentation
    /// lists what was chosen.
    #[must_use]
    pub const fn reason_code(&self) -> ReasonCode {
        // No wildcard: a new variant has to choose its code.
        match self {
            Self::ReservedPacketType { .. }
            | Self::InvalidFlags { .. }
            | Self::InvalidPublishQoS
            | Self::DupWithoutQoS
            | Self::RemainingLengthTooLong
            | Self::RemainingLengthNotMinimal
            | Self::InvalidRemainingLength { .. }
            | Self::FieldTruncated { .. }
            | Self::TrailingBytes { .. }
            | Self::VariableByteIntegerTooLong
            | Self::VariableByteIntegerNotMinimal
            | Self::InvalidUtf8 { .. }
            | Self::NulInString
            | Self::DiscouragedCodePoint { .. }
            | Self::UnknownProperty { .. }
            | Self::PropertyNotAllowed { .. }
            | Self::ReservedConnectFlag
            | Self::WillFlagsWithoutWill { .. }
            | Self::InvalidWillQoS
            | Self::ReservedConnAckFlags { .. }
            | Self::ReservedSubscriptionOptions { .. } => ReasonCode::MalformedPacket,

            Self::WrongDirection { .. }
            | Self::PacketIdZero
            | Self::EmptyTopicWithoutAlias
            | Self::PropertyOfOtherSide { .. }
            | Self::DuplicateProperty { .. }
            | Self::InvalidPropertyValue { .. }
            | Self::AuthenticationDataWithoutMethod
            | Self::AuthWithoutMethod
            | Self::InvalidReasonCode { .. }
            | Self::PasswordWithoutUserName
            | Self::SessionPresentWithError
            | Self::EmptyList { .. }
            | Self::InvalidSubscriptionOptions { .. }
            | Self::NoLocalOnShared => ReasonCode::ProtocolError,

            Self::UnknownProtocolName | Self::UnsupportedProtocolVersion { .. } => {
                ReasonCode::UnsupportedProtocolVersion
            }
            Self::EmptyTopicFilter | Self::MisplacedWildcard | Self::InvalidSharedFilter => {
                ReasonCode::TopicFilterInvalid
            }
            Self::EmptyTopicName | Self::WildcardInTopicName => ReasonCode::TopicNameInvalid,
            Self::TopicAliasZero => ReasonCode::TopicAliasInvalid,
            Self::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
        }
    }
}
