//! Errors: what a peer did wrong, and what a caller asked for that cannot be.

use core::time::Duration;

use mqttstack_codec::{DecodeError, PacketId, PacketType, QoS, ReasonCode};

/// What the peer did that ends the connection.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProtocolError {
    /// The peer's bytes are not a packet.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The packet may not come from this side, or not at this time.
    #[error("unexpected {packet_type}")]
    UnexpectedPacket {
        /// The type of the packet.
        packet_type: PacketType,
    },
    /// No complete CONNECT, or no CONNACK, came in time.
    #[error("no {awaited} before the deadline")]
    ConnectTimeout {
        /// The packet that did not come.
        awaited: PacketType,
    },
    /// The peer was silent for longer than the keep alive allows.
    #[error("keep alive of {keep_alive} s expired")]
    KeepAliveTimeout {
        /// The Keep Alive in force, in seconds.
        keep_alive: u16,
    },
    /// The peer did not finish a packet in time.
    #[error("a packet was not finished within {timeout:?}")]
    PacketTimeout {
        /// How long one may take.
        timeout: Duration,
    },
    /// More QoS 1 and 2 messages were outstanding than allowed.
    #[error("more than {receive_maximum} unacknowledged messages")]
    ReceiveMaximumExceeded {
        /// The Receive Maximum that was announced.
        receive_maximum: u16,
    },
    /// A topic alias was 0 or above the maximum that was announced.
    #[error("topic alias {alias} is not in 1..={maximum}")]
    TopicAliasInvalid {
        /// The alias.
        alias: u16,
        /// The Topic Alias Maximum that was announced.
        maximum: u16,
    },
    /// A PUBLISH had an empty topic and an alias that no earlier PUBLISH had set.
    #[error("topic alias {alias} was never set")]
    TopicAliasUnknown {
        /// The alias.
        alias: u16,
    },
    /// A message had a QoS above the maximum that was announced.
    #[error("QoS {} is above the maximum {}", qos.as_u8(), maximum.as_u8())]
    QosNotSupported {
        /// The QoS of the message.
        qos: QoS,
        /// The Maximum QoS that was announced.
        maximum: QoS,
    },
    /// A message was to be retained though retained messages are not available.
    #[error("retained messages are not available")]
    RetainNotSupported,
    /// A Subscription Identifier came though they are not available.
    #[error("subscription identifiers are not available")]
    SubscriptionIdentifiersNotSupported,
    /// DISCONNECT raised the Session Expiry Interval from 0.
    #[error("session expiry interval raised from 0 in DISCONNECT")]
    SessionExpiryRaised,
    /// More filters in a SUBSCRIBE or UNSUBSCRIBE than allowed.
    #[error("{filters} filters in a packet, of at most {maximum}")]
    TooManyFilters {
        /// How many there are.
        filters: usize,
        /// The largest number allowed.
        maximum: u32,
    },
    /// More User Properties in a packet than allowed.
    #[error("more than {maximum} user properties in a packet")]
    TooManyUserProperties {
        /// The largest number allowed.
        maximum: u32,
    },
    /// An acknowledgement does not fit the exchange that its identifier names.
    #[error("{packet_type} does not fit the exchange of packet identifier {packet_id}")]
    AckMismatch {
        /// The type of the acknowledgement.
        packet_type: PacketType,
        /// Its Packet Identifier.
        packet_id: PacketId,
    },
    /// SUBACK or UNSUBACK has another number of reason codes than the request had filters.
    #[error("{actual} reason codes for {expected} filters")]
    ReasonCodeCount {
        /// The number of filters.
        expected: usize,
        /// The number of codes.
        actual: usize,
    },
    /// The peer asks for more than it lets this side answer.
    #[error("peer does not read its responses")]
    ResponsesNotRead,
    /// An answer that has to be sent is larger than the Maximum Packet Size of the peer.
    #[error("{packet_type} exceeds the peer's maximum packet size")]
    ResponseTooLarge {
        /// The type of the packet.
        packet_type: PacketType,
    },
    /// The server resumed a session that this client does not have.
    #[error("session present without session state")]
    SessionPresentWithoutState,
    /// The server explained itself though this client asked it not to.
    #[error("reason string or user property in {packet_type} though not requested")]
    ProblemInformationNotRequested {
        /// The type of the packet.
        packet_type: PacketType,
    },
    /// An authentication exchange broke its rules.
    #[error("authentication exchange out of order")]
    AuthenticationOutOfOrder,
    /// An AUTH or CONNACK named another Authentication Method than CONNECT.
    #[error("authentication method changed")]
    AuthenticationMethodChanged,
}

impl ProtocolError {
    /// Returns the code that answers this error in CONNACK or DISCONNECT; a 3.x peer is closed
    /// without one.
    #[must_use]
    pub const fn reason_code(&self) -> ReasonCode {
        match self {
            Self::Decode(error) => error.reason_code(),
            Self::UnexpectedPacket { .. }
            | Self::TopicAliasUnknown { .. }
            | Self::SessionExpiryRaised
            | Self::AckMismatch { .. }
            | Self::ReasonCodeCount { .. }
            | Self::SessionPresentWithoutState
            | Self::ProblemInformationNotRequested { .. }
            | Self::AuthenticationOutOfOrder
            | Self::AuthenticationMethodChanged => ReasonCode::ProtocolError,
            // The server itself did not come to an answer.
            Self::ConnectTimeout {
                awaited: PacketType::ConnAck,
            } => ReasonCode::ServerBusy,
            Self::ConnectTimeout { .. } => ReasonCode::UnspecifiedError,
            Self::KeepAliveTimeout { .. } => ReasonCode::KeepAliveTimeout,
            Self::ReceiveMaximumExceeded { .. } => ReasonCode::ReceiveMaximumExceeded,
            Self::TopicAliasInvalid { .. } => ReasonCode::TopicAliasInvalid,
            Self::QosNotSupported { .. } => ReasonCode::QoSNotSupported,
            Self::RetainNotSupported => ReasonCode::RetainNotSupported,
            Self::SubscriptionIdentifiersNotSupported => {
                ReasonCode::SubscriptionIdentifiersNotSupported
            }
            Self::ResponseTooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::TooManyUserProperties { .. }
            | Self::TooManyFilters { .. }
            | Self::PacketTimeout { .. }
            | Self::ResponsesNotRead => ReasonCode::QuotaExceeded,
        }
    }
}

/// Why a message was not taken for delivery; nothing has changed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PublishError {
    /// The queue is full and the overflow policy is to drop the new message.
    #[error("the queue is full: {messages} messages wait")]
    QueueFull {
        /// How many messages wait.
        messages: u32,
    },
    /// The queue is full and the overflow policy is to end the session.
    #[error("the queue is full: the session has to end")]
    SessionMustEnd,
    /// A QoS 0 message has nowhere to go while the peer is away.
    #[error("not connected")]
    NotConnected,
    /// The server announced a lower Maximum QoS.
    #[error("the server takes at most QoS {}", maximum.as_u8())]
    QosNotSupported {
        /// The server's Maximum QoS.
        maximum: QoS,
    },
    /// The server announced that it keeps no retained messages.
    #[error("the server keeps no retained messages")]
    RetainNotSupported,
    /// The packet would exceed the server's Maximum Packet Size.
    #[error("packet of {size} bytes exceeds the server's maximum of {maximum}")]
    PacketTooLarge {
        /// The size of the packet.
        size: u64,
        /// The server's Maximum Packet Size.
        maximum: u32,
    },
}
