//! Single properties: reading one from its bytes, checking its value, writing it.

use crate::decode::primitive::{self, Parsed, variable};
use crate::encode::Writer;
use crate::{DecodeError, PropertyId, QoS, text};

use super::id::Kind;

/// One property with its value.
#[derive(Clone, Copy, Eq, PartialEq)]
#[non_exhaustive]
pub enum Property<'a> {
    /// Whether the payload is UTF-8 text.
    PayloadFormatIndicator(bool),
    /// Seconds.
    MessageExpiryInterval(u32),
    /// What the payload is; its meaning is up to the applications.
    ContentType(&'a str),
    /// The Topic Name that a response goes to.
    ResponseTopic(&'a str),
    /// What tells the requester which request a response is for.
    CorrelationData(&'a [u8]),
    /// 1 to 268,435,455.
    SubscriptionIdentifier(u32),
    /// Seconds; `u32::MAX` is for ever.
    SessionExpiryInterval(u32),
    /// The Client Identifier that the server chose.
    AssignedClientIdentifier(&'a str),
    /// Seconds; 0 is off.
    ServerKeepAlive(u16),
    /// The name of an authentication method.
    AuthenticationMethod(&'a str),
    /// What the authentication method exchanges.
    AuthenticationData(&'a [u8]),
    /// Whether the server may send Reason Strings and User Properties on all packets.
    RequestProblemInformation(bool),
    /// Seconds.
    WillDelayInterval(u32),
    /// Whether the server may send Response Information.
    RequestResponseInformation(bool),
    /// What response topics are made from.
    ResponseInformation(&'a str),
    /// Another server to use.
    ServerReference(&'a str),
    /// Why, in words, for a person.
    ReasonString(&'a str),
    /// How many QoS 1 and 2 messages may be unacknowledged; not 0.
    ReceiveMaximum(u16),
    /// The highest Topic Alias that is accepted.
    TopicAliasMaximum(u16),
    /// A number that stands for the topic; not 0.
    TopicAlias(u16),
    /// The highest QoS that is accepted: 0 or 1.
    MaximumQoS(QoS),
    /// Whether retained messages are available.
    RetainAvailable(bool),
    /// A name and a value.
    UserProperty(&'a str, &'a str),
    /// Bytes; not 0.
    MaximumPacketSize(u32),
    /// Whether wildcards are available.
    WildcardSubscriptionAvailable(bool),
    /// Whether subscription identifiers are available.
    SubscriptionIdentifierAvailable(bool),
    /// Whether shared subscriptions are available.
    SharedSubscriptionAvailable(bool),
}

/// The value of a property, told apart by how it is written only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Raw<'a> {
    Number(u32),
    Data(&'a [u8]),
    Pair(&'a [u8], &'a [u8]),
}

impl<'a> Raw<'a> {
    /// Reads a value, without a check of more than its length.
    #[inline]
    pub(super) fn parse(id: PropertyId, input: &'a [u8]) -> Parsed<'a, Self> {
        match id.kind() {
            Kind::Flag => {
                let (rest, value) = primitive::byte(input)?;
                Ok((rest, Self::Number(u32::from(value))))
            }
            Kind::TwoBytes | Kind::NonZeroTwoBytes => {
                let (rest, value) = primitive::two_bytes(input)?;
                Ok((rest, Self::Number(u32::from(value))))
            }
            Kind::FourBytes | Kind::NonZeroFourBytes => {
                let (rest, value) = primitive::four_bytes(input)?;
                Ok((rest, Self::Number(value)))
            }
            Kind::Variable => {
                let (rest, value) = variable(input)?;
                Ok((rest, Self::Number(value)))
            }
            Kind::Text | Kind::Topic | Kind::Binary => {
                let (rest, data) = primitive::field(input)?;
                Ok((rest, Self::Data(data)))
            }
            Kind::Pair => {
                let (rest, name) = primitive::field(input)?;
                let (rest, value) = primitive::field(rest)?;
                Ok((rest, Self::Pair(name, value)))
            }
        }
    }

    /// Checks what the standard demands of the value, wherever the property stands.
    ///
    /// # Specification
    ///
    /// v5 U-08, v5 U-09, v5 U-22; v5 MQTT-1.5.4-1, v5 MQTT-1.5.7-1, v5 MQTT-3.3.2-8,
    /// v5 MQTT-3.3.2-13, v5 MQTT-3.3.2-14, v5 MQTT-3.3.2-19.
    #[inline]
    pub(super) fn check(self, property: PropertyId) -> Result<(), DecodeError> {
        match (self, property.kind()) {
            (Self::Number(value), kind) if !kind.holds(value) => {
                Err(if property == PropertyId::TopicAlias {
                    DecodeError::TopicAliasZero
                } else {
                    DecodeError::InvalidPropertyValue { property, value }
                })
            }
            (Self::Number(_), _) | (Self::Data(_), Kind::Binary) => Ok(()),
            (Self::Data(topic), Kind::Topic) => text::check_topic_name(topic),
            (Self::Data(data), _) => text::check_text(data),
            (Self::Pair(name, value), _) => {
                text::check_text(name)?;
                text::check_text(value)
            }
        }
    }

    /// Returns how many bytes the value takes.
    pub(super) fn encoded_len(self, id: PropertyId) -> usize {
        match (self, id.kind()) {
            (Self::Number(_), Kind::Flag) => 1,
            (Self::Number(_), Kind::TwoBytes | Kind::NonZeroTwoBytes) => 2,
            (Self::Number(value), Kind::Variable) => crate::encode::variable_len(value),
            (Self::Number(_), _) => 4,
            (Self::Data(data), _) => data.len().saturating_add(2),
            (Self::Pair(name, value), _) => {
                name.len().saturating_add(value.len()).saturating_add(4)
            }
        }
    }

    /// Writes the value.
    pub(super) fn write(self, id: PropertyId, out: &mut Writer<'_>) {
        match (self, id.kind()) {
            (Self::Number(value), Kind::Flag) => out.byte(value.to_be_bytes()[3]),
            (Self::Number(value), Kind::TwoBytes | Kind::NonZeroTwoBytes) => {
                let [_, _, high, low] = value.to_be_bytes();
                out.bytes(&[high, low]);
            }
            (Self::Number(value), Kind::Variable) => out.variable(value),
            (Self::Number(value), _) => out.bytes(&value.to_be_bytes()),
            (Self::Data(data), _) => out.field(data),
            (Self::Pair(name, value), _) => {
                out.field(name);
                out.field(value);
            }
        }
    }
}

impl Kind {
    /// Returns whether a number is one that properties of this kind may have.
    const fn holds(self, value: u32) -> bool {
        match self {
            Self::Flag => value <= 1,
            Self::NonZeroTwoBytes | Self::NonZeroFourBytes => value != 0,
            Self::Variable => value != 0 && value <= crate::encode::VARIABLE_MAX,
            Self::TwoBytes
            | Self::FourBytes
            | Self::Text
            | Self::Topic
            | Self::Binary
            | Self::Pair => true,
        }
    }
}

impl<'a> Property<'a> {
    /// Returns the identifier of the property.
    #[must_use]
    pub const fn id(&self) -> PropertyId {
        match self {
            Self::PayloadFormatIndicator(..) => PropertyId::PayloadFormatIndicator,
            Self::MessageExpiryInterval(..) => PropertyId::MessageExpiryInterval,
            Self::ContentType(..) => PropertyId::ContentType,
            Self::ResponseTopic(..) => PropertyId::ResponseTopic,
            Self::CorrelationData(..) => PropertyId::CorrelationData,
            Self::SubscriptionIdentifier(..) => PropertyId::SubscriptionIdentifier,
            Self::SessionExpiryInterval(..) => PropertyId::SessionExpiryInterval,
            Self::AssignedClientIdentifier(..) => PropertyId::AssignedClientIdentifier,
            Self::ServerKeepAlive(..) => PropertyId::ServerKeepAlive,
            Self::AuthenticationMethod(..) => PropertyId::AuthenticationMethod,
            Self::AuthenticationData(..) => PropertyId::AuthenticationData,
            Self::RequestProblemInformation(..) => PropertyId::RequestProblemInformation,
            Self::WillDelayInterval(..) => PropertyId::WillDelayInterval,
            Self::RequestResponseInformation(..) => PropertyId::RequestResponseInformation,
            Self::ResponseInformation(..) => PropertyId::ResponseInformation,
            Self::ServerReference(..) => PropertyId::ServerReference,
            Self::ReasonString(..) => PropertyId::ReasonString,
            Self::ReceiveMaximum(..) => PropertyId::ReceiveMaximum,
            Self::TopicAliasMaximum(..) => PropertyId::TopicAliasMaximum,
            Self::TopicAlias(..) => PropertyId::TopicAlias,
            Self::MaximumQoS(..) => PropertyId::MaximumQoS,
            Self::RetainAvailable(..) => PropertyId::RetainAvailable,
            Self::UserProperty(..) => PropertyId::UserProperty,
            Self::MaximumPacketSize(..) => PropertyId::MaximumPacketSize,
            Self::WildcardSubscriptionAvailable(..) => PropertyId::WildcardSubscriptionAvailable,
            Self::SubscriptionIdentifierAvailable(..) => {
                PropertyId::SubscriptionIdentifierAvailable
            }
            Self::SharedSubscriptionAvailable(..) => PropertyId::SharedSubscriptionAvailable,
        }
    }

    /// Makes a property of a value that has been checked.
    pub(super) fn from_raw(id: PropertyId, raw: Raw<'a>) -> Self {
        match id {
            PropertyId::PayloadFormatIndicator => Self::PayloadFormatIndicator(flag(raw)),
            PropertyId::MessageExpiryInterval => Self::MessageExpiryInterval(number(raw)),
            PropertyId::ContentType => Self::ContentType(text(raw)),
            PropertyId::ResponseTopic => Self::ResponseTopic(text(raw)),
            PropertyId::CorrelationData => Self::CorrelationData(data(raw)),
            PropertyId::SubscriptionIdentifier => Self::SubscriptionIdentifier(number(raw)),
            PropertyId::SessionExpiryInterval => Self::SessionExpiryInterval(number(raw)),
            PropertyId::AssignedClientIdentifier => Self::AssignedClientIdentifier(text(raw)),
            PropertyId::ServerKeepAlive => Self::ServerKeepAlive(short(raw)),
            PropertyId::AuthenticationMethod => Self::AuthenticationMethod(text(raw)),
            PropertyId::AuthenticationData => Self::AuthenticationData(data(raw)),
            PropertyId::RequestProblemInformation => Self::RequestProblemInformation(flag(raw)),
            PropertyId::WillDelayInterval => Self::WillDelayInterval(number(raw)),
            PropertyId::RequestResponseInformation => Self::RequestResponseInformation(flag(raw)),
            PropertyId::ResponseInformation => Self::ResponseInformation(text(raw)),
            PropertyId::ServerReference => Self::ServerReference(text(raw)),
            PropertyId::ReasonString => Self::ReasonString(text(raw)),
            PropertyId::ReceiveMaximum => Self::ReceiveMaximum(short(raw)),
            PropertyId::TopicAliasMaximum => Self::TopicAliasMaximum(short(raw)),
            PropertyId::TopicAlias => Self::TopicAlias(short(raw)),
            PropertyId::MaximumQoS => Self::MaximumQoS(qos(raw)),
            PropertyId::RetainAvailable => Self::RetainAvailable(flag(raw)),
            PropertyId::UserProperty => {
                let (name, value) = pair(raw);
                Self::UserProperty(name, value)
            }
            PropertyId::MaximumPacketSize => Self::MaximumPacketSize(number(raw)),
            PropertyId::WildcardSubscriptionAvailable => {
                Self::WildcardSubscriptionAvailable(flag(raw))
            }
            PropertyId::SubscriptionIdentifierAvailable => {
                Self::SubscriptionIdentifierAvailable(flag(raw))
            }
            PropertyId::SharedSubscriptionAvailable => Self::SharedSubscriptionAvailable(flag(raw)),
        }
    }

    /// Returns the value as it is written.
    pub(super) fn raw(&self) -> Raw<'a> {
        match *self {
            Self::PayloadFormatIndicator(value)
            | Self::RequestProblemInformation(value)
            | Self::RequestResponseInformation(value)
            | Self::RetainAvailable(value)
            | Self::WildcardSubscriptionAvailable(value)
            | Self::SubscriptionIdentifierAvailable(value)
            | Self::SharedSubscriptionAvailable(value) => Raw::Number(u32::from(value)),
            Self::ServerKeepAlive(value)
            | Self::ReceiveMaximum(value)
            | Self::TopicAliasMaximum(value)
            | Self::TopicAlias(value) => Raw::Number(u32::from(value)),
            Self::MessageExpiryInterval(value)
            | Self::SubscriptionIdentifier(value)
            | Self::SessionExpiryInterval(value)
            | Self::WillDelayInterval(value)
            | Self::MaximumPacketSize(value) => Raw::Number(value),
            Self::ContentType(value)
            | Self::ResponseTopic(value)
            | Self::AssignedClientIdentifier(value)
            | Self::AuthenticationMethod(value)
            | Self::ResponseInformation(value)
            | Self::ServerReference(value)
            | Self::ReasonString(value) => Raw::Data(value.as_bytes()),
            Self::CorrelationData(value) | Self::AuthenticationData(value) => Raw::Data(value),
            Self::MaximumQoS(value) => Raw::Number(u32::from(value.as_u8())),
            Self::UserProperty(name, value) => Raw::Pair(name.as_bytes(), value.as_bytes()),
        }
    }
}

// Values that have been checked have the form that their identifier asks for, so that the
// fallbacks of the functions below are never taken.

pub(super) fn number(raw: Raw<'_>) -> u32 {
    match raw {
        Raw::Number(value) => value,
        Raw::Data(_) | Raw::Pair(..) => 0,
    }
}

pub(super) fn short(raw: Raw<'_>) -> u16 {
    u16::try_from(number(raw)).unwrap_or_default()
}

pub(super) fn flag(raw: Raw<'_>) -> bool {
    number(raw) != 0
}

pub(super) fn qos(raw: Raw<'_>) -> QoS {
    if flag(raw) {
        QoS::AtLeastOnce
    } else {
        QoS::AtMostOnce
    }
}

pub(super) fn data(raw: Raw<'_>) -> &[u8] {
    match raw {
        Raw::Data(data) => data,
        Raw::Number(_) | Raw::Pair(..) => &[],
    }
}

pub(super) fn text(raw: Raw<'_>) -> &str {
    core::str::from_utf8(data(raw)).unwrap_or_default()
}

pub(super) fn pair<'a>(raw: Raw<'a>) -> (&'a str, &'a str) {
    match raw {
        Raw::Pair(name, value) => (text(Raw::Data(name)), text(Raw::Data(value))),
        Raw::Number(_) | Raw::Data(_) => ("", ""),
    }
}
