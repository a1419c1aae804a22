//! Properties of MQTT 5.0, kept as the bytes they travel in.

use crate::{DefaultStorage, Storage};

/// The identifier of a property.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
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

/// The properties of a packet: validated once, then kept as their encoded bytes, so that a
/// forwarded packet re-encodes nothing.
///
/// Typed getters read single values; user properties and subscription identifiers have iterators.
/// Empty for MQTT 3.x, at no cost.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Properties<S: Storage = DefaultStorage> {
    /// The properties without their Property Length.
    encoded: S::Bytes,
    /// Which identifiers occur: one bit for each, by position in the table of identifiers.
    present: u32,
}
