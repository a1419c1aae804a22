//! The identifiers of properties, and the type of value that each has.

use core::fmt;

/// The identifier of a property.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum PropertyId {
    /// 0x01, byte: PUBLISH, Will.
    PayloadFormatIndicator = 0x01,
    /// 0x02, four bytes, seconds: PUBLISH, Will.
    MessageExpiryInterval = 0x02,
    /// 0x03, string: PUBLISH, Will.
    ContentType = 0x03,
    /// 0x08, string: PUBLISH, Will.
    ResponseTopic = 0x08,
    /// 0x09, binary: PUBLISH, Will.
    CorrelationData = 0x09,
    /// 0x0B, variable byte integer: PUBLISH (repeatable), SUBSCRIBE.
    SubscriptionIdentifier = 0x0B,
    /// 0x11, four bytes, seconds: CONNECT, CONNACK, DISCONNECT.
    SessionExpiryInterval = 0x11,
    /// 0x12, string: CONNACK.
    AssignedClientIdentifier = 0x12,
    /// 0x13, two bytes, seconds: CONNACK.
    ServerKeepAlive = 0x13,
    /// 0x15, string: CONNECT, CONNACK, AUTH.
    AuthenticationMethod = 0x15,
    /// 0x16, binary: CONNECT, CONNACK, AUTH.
    AuthenticationData = 0x16,
    /// 0x17, byte: CONNECT.
    RequestProblemInformation = 0x17,
    /// 0x18, four bytes, seconds: Will.
    WillDelayInterval = 0x18,
    /// 0x19, byte: CONNECT.
    RequestResponseInformation = 0x19,
    /// 0x1A, string: CONNACK.
    ResponseInformation = 0x1A,
    /// 0x1C, string: CONNACK, DISCONNECT.
    ServerReference = 0x1C,
    /// 0x1F, string: all acknowledgements, DISCONNECT, AUTH.
    ReasonString = 0x1F,
    /// 0x21, two bytes: CONNECT, CONNACK.
    ReceiveMaximum = 0x21,
    /// 0x22, two bytes: CONNECT, CONNACK.
    TopicAliasMaximum = 0x22,
    /// 0x23, two bytes: PUBLISH.
    TopicAlias = 0x23,
    /// 0x24, byte: CONNACK.
    MaximumQoS = 0x24,
    /// 0x25, byte: CONNACK.
    RetainAvailable = 0x25,
    /// 0x26, string pair, repeatable: every packet with properties.
    UserProperty = 0x26,
    /// 0x27, four bytes: CONNECT, CONNACK.
    MaximumPacketSize = 0x27,
    /// 0x28, byte: CONNACK.
    WildcardSubscriptionAvailable = 0x28,
    /// 0x29, byte: CONNACK.
    SubscriptionIdentifierAvailable = 0x29,
    /// 0x2A, byte: CONNACK.
    SharedSubscriptionAvailable = 0x2A,
}

impl PropertyId {
    /// Every identifier, in ascending order.
    pub const ALL: [Self; 27] = [
        Self::PayloadFormatIndicator,
        Self::MessageExpiryInterval,
        Self::ContentType,
        Self::ResponseTopic,
        Self::CorrelationData,
        Self::SubscriptionIdentifier,
        Self::SessionExpiryInterval,
        Self::AssignedClientIdentifier,
        Self::ServerKeepAlive,
        Self::AuthenticationMethod,
        Self::AuthenticationData,
        Self::RequestProblemInformation,
        Self::WillDelayInterval,
        Self::RequestResponseInformation,
        Self::ResponseInformation,
        Self::ServerReference,
        Self::ReasonString,
        Self::ReceiveMaximum,
        Self::TopicAliasMaximum,
        Self::TopicAlias,
        Self::MaximumQoS,
        Self::RetainAvailable,
        Self::UserProperty,
        Self::MaximumPacketSize,
        Self::WildcardSubscriptionAvailable,
        Self::SubscriptionIdentifierAvailable,
        Self::SharedSubscriptionAvailable,
    ];

    /// Returns the identifier for its number, or `None` for a number the standard does not define.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            0x01 => Self::PayloadFormatIndicator,
            0x02 => Self::MessageExpiryInterval,
            0x03 => Self::ContentType,
            0x08 => Self::ResponseTopic,
            0x09 => Self::CorrelationData,
            0x0B => Self::SubscriptionIdentifier,
            0x11 => Self::SessionExpiryInterval,
            0x12 => Self::AssignedClientIdentifier,
            0x13 => Self::ServerKeepAlive,
            0x15 => Self::AuthenticationMethod,
            0x16 => Self::AuthenticationData,
            0x17 => Self::RequestProblemInformation,
            0x18 => Self::WillDelayInterval,
            0x19 => Self::RequestResponseInformation,
            0x1A => Self::ResponseInformation,
            0x1C => Self::ServerReference,
            0x1F => Self::ReasonString,
            0x21 => Self::ReceiveMaximum,
            0x22 => Self::TopicAliasMaximum,
            0x23 => Self::TopicAlias,
            0x24 => Self::MaximumQoS,
            0x25 => Self::RetainAvailable,
            0x26 => Self::UserProperty,
            0x27 => Self::MaximumPacketSize,
            0x28 => Self::WildcardSubscriptionAvailable,
            0x29 => Self::SubscriptionIdentifierAvailable,
            0x2A => Self::SharedSubscriptionAvailable,
            _ => return None,
        })
    }

    /// Returns the number of the identifier.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// Returns the name of the property in words, as the standard gives it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PayloadFormatIndicator => "payload format indicator",
            Self::MessageExpiryInterval => "message expiry interval",
            Self::ContentType => "content type",
            Self::ResponseTopic => "response topic",
            Self::CorrelationData => "correlation data",
            Self::SubscriptionIdentifier => "subscription identifier",
            Self::SessionExpiryInterval => "session expiry interval",
            Self::AssignedClientIdentifier => "assigned client identifier",
            Self::ServerKeepAlive => "server keep alive",
            Self::AuthenticationMethod => "authentication method",
            Self::AuthenticationData => "authentication data",
            Self::RequestProblemInformation => "request problem information",
            Self::WillDelayInterval => "will delay interval",
            Self::RequestResponseInformation => "request response information",
            Self::ResponseInformation => "response information",
            Self::ServerReference => "server reference",
            Self::ReasonString => "reason string",
            Self::ReceiveMaximum => "receive maximum",
            Self::TopicAliasMaximum => "topic alias maximum",
            Self::TopicAlias => "topic alias",
            Self::MaximumQoS => "maximum QoS",
            Self::RetainAvailable => "retain available",
            Self::UserProperty => "user property",
            Self::MaximumPacketSize => "maximum packet size",
            Self::WildcardSubscriptionAvailable => "wildcard subscription available",
            Self::SubscriptionIdentifierAvailable => "subscription identifier available",
            Self::SharedSubscriptionAvailable => "shared subscription available",
        }
    }

    /// Returns the bit that stands for this identifier in a set of them.
    pub(super) const fn bit(self) -> u64 {
        1 << self.as_u8()
    }

    /// Returns the type of value.
    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::PayloadFormatIndicator
            | Self::RequestProblemInformation
            | Self::RequestResponseInformation
            | Self::MaximumQoS
            | Self::RetainAvailable
            | Self::WildcardSubscriptionAvailable
            | Self::SubscriptionIdentifierAvailable
            | Self::SharedSubscriptionAvailable => Kind::Flag,
            Self::MessageExpiryInterval | Self::SessionExpiryInterval | Self::WillDelayInterval => {
                Kind::FourBytes
            }
            Self::ContentType
            | Self::AssignedClientIdentifier
            | Self::AuthenticationMethod
            | Self::ResponseInformation
            | Self::ServerReference
            | Self::ReasonString => Kind::Text,
            Self::ResponseTopic => Kind::Topic,
            Self::CorrelationData | Self::AuthenticationData => Kind::Binary,
            Self::SubscriptionIdentifier => Kind::Variable,
            Self::ServerKeepAlive | Self::TopicAliasMaximum => Kind::TwoBytes,
            Self::ReceiveMaximum | Self::TopicAlias => Kind::NonZeroTwoBytes,
            Self::UserProperty => Kind::Pair,
            Self::MaximumPacketSize => Kind::NonZeroFourBytes,
        }
    }
}

impl fmt::Display for PropertyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The type of a property's value, with what is checked about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// One byte: 0 or 1. Maximum QoS, too, is never 2 on the wire.
    Flag,
    /// A Two Byte Integer.
    TwoBytes,
    /// A Two Byte Integer that is not 0.
    NonZeroTwoBytes,
    /// A Four Byte Integer.
    FourBytes,
    /// A Four Byte Integer that is not 0.
    NonZeroFourBytes,
    /// A Variable Byte Integer that is not 0.
    Variable,
    /// A UTF-8 string.
    Text,
    /// A UTF-8 string that is a Topic Name.
    Topic,
    /// Binary data.
    Binary,
    /// A UTF-8 string pair.
    Pair,
}
