//! CONNECT, its will, and CONNACK.

use crate::{DefaultStorage, Properties, ProtocolVersion, QoS, ReasonCode, Storage};

/// CONNECT: the first packet of every connection.
#[derive(Clone, Eq, PartialEq)]
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

impl<S: Storage> Connect<S> {
    /// Creates a CONNECT with Clean Start, a Keep Alive of 60 seconds, and nothing else.
    #[must_use]
    pub fn new(version: ProtocolVersion, client_id: impl Into<S::Str>) -> Self {
        Self {
            version,
            bridge: false,
            clean_start: true,
            keep_alive: 60,
            properties: Properties::empty(),
            client_id: client_id.into(),
            will: None,
            username: None,
            password: None,
        }
    }
}

/// A Will Message, published when its connection ends without a DISCONNECT.
#[derive(Clone, Eq, PartialEq)]
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

impl<S: Storage> ConnAck<S> {
    /// Creates a CONNACK without properties.
    #[must_use]
    pub const fn new(session_present: bool, reason_code: ReasonCode) -> Self {
        Self {
            session_present,
            reason_code,
            properties: Properties::empty(),
        }
    }
}
