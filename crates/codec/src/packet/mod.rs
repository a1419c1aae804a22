//! The packets: one model for MQTT 3.1, 3.1.1 and 5.0.

use crate::Borrowed;
use crate::{DefaultStorage, PacketId, Properties, ProtocolVersion, QoS, ReasonCode, Storage};

/// The type of a packet, as the upper four bits of its first byte number it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

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

/// CONNECT: the first packet of every connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Connect<S: Storage = DefaultStorage> {
    /// The protocol version, which the packet itself names.
    pub version: ProtocolVersion,
    /// The private bridge bit (0x80 of the level byte) of MQTT 3.x; always false in 5.0.
    pub bridge: bool,
    /// Clean Start; Clean Session in 3.x.
    pub clean_start: bool,
    /// Keep Alive in seconds; 0 is off.
    pub keep_alive: u16,
    /// The properties of CONNECT.
    pub properties: Properties<S>,
    /// The Client Identifier; may be empty.
    pub client_id: S::Str,
    /// The Will Message.
    pub will: Option<Will<S>>,
    /// The User Name.
    pub username: Option<S::Str>,
    /// The Password.
    pub password: Option<S::Bytes>,
}

/// A Will Message, published when its connection ends without a DISCONNECT.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Will<S: Storage = DefaultStorage> {
    /// The QoS at which it is published.
    pub qos: QoS,
    /// Whether it is published as a retained message.
    pub retain: bool,
    /// The Will Properties.
    pub properties: Properties<S>,
    /// The topic it is published to.
    pub topic: S::Str,
    /// The Will Payload: at most 65,535 bytes.
    pub payload: S::Bytes,
}

/// CONNACK: the answer to CONNECT.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnAck<S: Storage = DefaultStorage> {
    /// Whether the server resumed a stored session; false with any error.
    pub session_present: bool,
    /// The Connect Reason Code (5.0) or return code (3.x).
    pub reason_code: ReasonCode,
    /// The properties.
    pub properties: Properties<S>,
}

/// How a PUBLISH is delivered: its QoS with what only that QoS has.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
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

/// PUBLISH: an application message.
#[derive(Clone, Debug, Eq, PartialEq)]
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

/// SUBSCRIBE.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subscribe<S: Storage = DefaultStorage> {
    /// The Packet Identifier.
    pub packet_id: PacketId,
    /// The properties.
    pub properties: Properties<S>,
    /// The filters and their options: at least one.
    pub filters: SubscribeFilters<S>,
}

/// The filters of a SUBSCRIBE with their options, kept as their encoded bytes; at least one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SubscribeFilters<S: Storage = DefaultStorage> {
    encoded: S::Bytes,
    count: u32,
}

/// One entry of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Subscription<'a> {
    /// The Topic Filter.
    pub filter: &'a str,
    /// Its Subscription Options.
    pub options: SubscriptionOptions,
}

/// The Subscription Options of one filter. In 3.x only the QoS exists; the rest is as `Default` has it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct SubscriptionOptions {
    /// The Maximum QoS asked for.
    pub qos: QoS,
    /// No Local: do not send back what this client published.
    pub no_local: bool,
    /// Retain As Published: keep the RETAIN flag on forwarded messages.
    pub retain_as_published: bool,
    /// Retain Handling: when retained messages are sent.
    pub retain_handling: RetainHandling,
}

/// When retained messages are sent for a subscription.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum RetainHandling {
    /// 0: at every SUBSCRIBE.
    #[default]
    Send = 0,
    /// 1: only if the subscription did not exist.
    SendIfNew = 1,
    /// 2: never at SUBSCRIBE.
    DoNotSend = 2,
}

/// SUBACK.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SubAck<S: Storage = DefaultStorage> {
    /// The Packet Identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// The properties.
    pub properties: Properties<S>,
    /// One code for each filter, in its order.
    pub reason_codes: ReasonCodes<S>,
}

/// A list of reason codes, kept as its bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ReasonCodes<S: Storage = DefaultStorage>(S::Bytes);

/// UNSUBSCRIBE.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unsubscribe<S: Storage = DefaultStorage> {
    /// The Packet Identifier.
    pub packet_id: PacketId,
    /// The properties.
    pub properties: Properties<S>,
    /// The filters: at least one.
    pub filters: UnsubscribeFilters<S>,
}

/// The filters of an UNSUBSCRIBE, kept as their encoded bytes; at least one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnsubscribeFilters<S: Storage = DefaultStorage> {
    encoded: S::Bytes,
    count: u32,
}

/// UNSUBACK.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnsubAck<S: Storage = DefaultStorage> {
    /// The Packet Identifier of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// The properties.
    pub properties: Properties<S>,
    /// One code for each filter, in its order; empty in 3.x.
    pub reason_codes: ReasonCodes<S>,
}

/// DISCONNECT.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Disconnect<S: Storage = DefaultStorage> {
    /// The reason code; always Success in 3.x.
    pub reason_code: ReasonCode,
    /// The properties.
    pub properties: Properties<S>,
}

/// AUTH; MQTT 5.0 only.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Auth<S: Storage = DefaultStorage> {
    /// The reason code: Success, Continue or Re-authenticate.
    pub reason_code: ReasonCode,
    /// The properties; the Authentication Method is required but in the short form of Success.
    pub properties: Properties<S>,
}
