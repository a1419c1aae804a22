//! Reason codes: one closed set for all packets, and its mapping to the return codes of MQTT 3.x.

mod allowed;

use core::fmt;

/// Why a packet was accepted or refused, or a connection ended.
///
/// Codes below 0x80 are successes. MQTT 3.x knows only the return codes of CONNACK and SUBACK;
/// [`to_connect_return_code`](Self::to_connect_return_code) and
/// [`from_connect_return_code`](Self::from_connect_return_code) translate.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum ReasonCode {
    /// 0x00: Success, Normal disconnection or Granted QoS 0, by packet.
    #[default]
    Success = 0x00,
    /// 0x01: SUBACK: granted QoS 1.
    GrantedQoS1 = 0x01,
    /// 0x02: SUBACK: granted QoS 2.
    GrantedQoS2 = 0x02,
    /// 0x04: DISCONNECT: close, but publish the will.
    DisconnectWithWillMessage = 0x04,
    /// 0x10: PUBACK, PUBREC: accepted, nobody subscribes.
    NoMatchingSubscribers = 0x10,
    /// 0x11: UNSUBACK: there was nothing to remove.
    NoSubscriptionExisted = 0x11,
    /// 0x18: AUTH: another step follows.
    ContinueAuthentication = 0x18,
    /// 0x19: AUTH: the client starts over.
    ReAuthenticate = 0x19,
    /// 0x80: the reason is unknown or withheld.
    UnspecifiedError = 0x80,
    /// 0x81: the bytes are not a packet.
    MalformedPacket = 0x81,
    /// 0x82: A packet that is not allowed here.
    ProtocolError = 0x82,
    /// 0x83: valid, but not accepted by this receiver.
    ImplementationSpecificError = 0x83,
    /// 0x84: CONNACK: the protocol version is not served.
    UnsupportedProtocolVersion = 0x84,
    /// 0x85: CONNACK: the client identifier is not allowed.
    ClientIdentifierNotValid = 0x85,
    /// 0x86: CONNACK: the credentials were refused.
    BadUserNameOrPassword = 0x86,
    /// 0x87: the client may not do this.
    NotAuthorized = 0x87,
    /// 0x88: CONNACK: the server cannot serve now.
    ServerUnavailable = 0x88,
    /// 0x89: try again later.
    ServerBusy = 0x89,
    /// 0x8A: CONNACK: the client is banned.
    Banned = 0x8A,
    /// 0x8B: DISCONNECT: the server stops.
    ServerShuttingDown = 0x8B,
    /// 0x8C: the authentication method is not supported.
    BadAuthenticationMethod = 0x8C,
    /// 0x8D: DISCONNECT: silence for 1.5 times the keep alive.
    KeepAliveTimeout = 0x8D,
    /// 0x8E: DISCONNECT: another connection uses the client identifier.
    SessionTakenOver = 0x8E,
    /// 0x8F: the filter is not accepted.
    TopicFilterInvalid = 0x8F,
    /// 0x90: the topic name is not accepted.
    TopicNameInvalid = 0x90,
    /// 0x91: the session states do not match.
    PacketIdentifierInUse = 0x91,
    /// 0x92: PUBREL, PUBCOMP: no such exchange.
    PacketIdentifierNotFound = 0x92,
    /// 0x93: DISCONNECT: too many unacknowledged PUBLISH packets.
    ReceiveMaximumExceeded = 0x93,
    /// 0x94: DISCONNECT: the alias is 0 or above the maximum.
    TopicAliasInvalid = 0x94,
    /// 0x95: the packet exceeds the receiver's maximum.
    PacketTooLarge = 0x95,
    /// 0x96: DISCONNECT: more messages than allowed.
    MessageRateTooHigh = 0x96,
    /// 0x97: A limit of the implementation or administrator.
    QuotaExceeded = 0x97,
    /// 0x98: DISCONNECT: ended by an administrator.
    AdministrativeAction = 0x98,
    /// 0x99: the payload does not match its format indicator.
    PayloadFormatInvalid = 0x99,
    /// 0x9A: retained messages are not available.
    RetainNotSupported = 0x9A,
    /// 0x9B: the QoS is above the maximum.
    QoSNotSupported = 0x9B,
    /// 0x9C: temporarily.
    UseAnotherServer = 0x9C,
    /// 0x9D: permanently.
    ServerMoved = 0x9D,
    /// 0x9E: shared subscriptions are not available.
    SharedSubscriptionsNotSupported = 0x9E,
    /// 0x9F: too many connections in a short time.
    ConnectionRateExceeded = 0x9F,
    /// 0xA0: DISCONNECT: connected for as long as allowed.
    MaximumConnectTime = 0xA0,
    /// 0xA1: subscription identifiers are not available.
    SubscriptionIdentifiersNotSupported = 0xA1,
    /// 0xA2: wildcard filters are not available.
    WildcardSubscriptionsNotSupported = 0xA2,
}

impl ReasonCode {
    /// Returns the code for its byte, or `None` for a byte the standard does not define.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            0x00 => Self::Success,
            0x01 => Self::GrantedQoS1,
            0x02 => Self::GrantedQoS2,
            0x04 => Self::DisconnectWithWillMessage,
            0x10 => Self::NoMatchingSubscribers,
            0x11 => Self::NoSubscriptionExisted,
            0x18 => Self::ContinueAuthentication,
            0x19 => Self::ReAuthenticate,
            0x80 => Self::UnspecifiedError,
            0x81 => Self::MalformedPacket,
            0x82 => Self::ProtocolError,
            0x83 => Self::ImplementationSpecificError,
            0x84 => Self::UnsupportedProtocolVersion,
            0x85 => Self::ClientIdentifierNotValid,
            0x86 => Self::BadUserNameOrPassword,
            0x87 => Self::NotAuthorized,
            0x88 => Self::ServerUnavailable,
            0x89 => Self::ServerBusy,
            0x8A => Self::Banned,
            0x8B => Self::ServerShuttingDown,
            0x8C => Self::BadAuthenticationMethod,
            0x8D => Self::KeepAliveTimeout,
            0x8E => Self::SessionTakenOver,
            0x8F => Self::TopicFilterInvalid,
            0x90 => Self::TopicNameInvalid,
            0x91 => Self::PacketIdentifierInUse,
            0x92 => Self::PacketIdentifierNotFound,
            0x93 => Self::ReceiveMaximumExceeded,
            0x94 => Self::TopicAliasInvalid,
            0x95 => Self::PacketTooLarge,
            0x96 => Self::MessageRateTooHigh,
            0x97 => Self::QuotaExceeded,
            0x98 => Self::AdministrativeAction,
            0x99 => Self::PayloadFormatInvalid,
            0x9A => Self::RetainNotSupported,
            0x9B => Self::QoSNotSupported,
            0x9C => Self::UseAnotherServer,
            0x9D => Self::ServerMoved,
            0x9E => Self::SharedSubscriptionsNotSupported,
            0x9F => Self::ConnectionRateExceeded,
            0xA0 => Self::MaximumConnectTime,
            0xA1 => Self::SubscriptionIdentifiersNotSupported,
            0xA2 => Self::WildcardSubscriptionsNotSupported,
            _ => return None,
        })
    }

    /// Returns the byte of the code.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// Returns whether the code is 0x80 or above.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.as_u8() >= 0x80
    }

    /// Returns the name of the code in words, as the standard gives it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::GrantedQoS1 => "granted QoS 1",
            Self::GrantedQoS2 => "granted QoS 2",
            Self::DisconnectWithWillMessage => "disconnect with will message",
            Self::NoMatchingSubscribers => "no matching subscribers",
            Self::NoSubscriptionExisted => "no subscription existed",
            Self::ContinueAuthentication => "continue authentication",
            Self::ReAuthenticate => "re-authenticate",
            Self::UnspecifiedError => "unspecified error",
            Self::MalformedPacket => "malformed packet",
            Self::ProtocolError => "protocol error",
            Self::ImplementationSpecificError => "implementation specific error",
            Self::UnsupportedProtocolVersion => "unsupported protocol version",
            Self::ClientIdentifierNotValid => "client identifier not valid",
            Self::BadUserNameOrPassword => "bad user name or password",
            Self::NotAuthorized => "not authorized",
            Self::ServerUnavailable => "server unavailable",
            Self::ServerBusy => "server busy",
            Self::Banned => "banned",
            Self::ServerShuttingDown => "server shutting down",
            Self::BadAuthenticationMethod => "bad authentication method",
            Self::KeepAliveTimeout => "keep alive timeout",
            Self::SessionTakenOver => "session taken over",
            Self::TopicFilterInvalid => "topic filter invalid",
            Self::TopicNameInvalid => "topic name invalid",
            Self::PacketIdentifierInUse => "packet identifier in use",
            Self::PacketIdentifierNotFound => "packet identifier not found",
            Self::ReceiveMaximumExceeded => "receive maximum exceeded",
            Self::TopicAliasInvalid => "topic alias invalid",
            Self::PacketTooLarge => "packet too large",
            Self::MessageRateTooHigh => "message rate too high",
            Self::QuotaExceeded => "quota exceeded",
            Self::AdministrativeAction => "administrative action",
            Self::PayloadFormatInvalid => "payload format invalid",
            Self::RetainNotSupported => "retain not supported",
            Self::QoSNotSupported => "QoS not supported",
            Self::UseAnotherServer => "use another server",
            Self::ServerMoved => "server moved",
            Self::SharedSubscriptionsNotSupported => "shared subscriptions not supported",
            Self::ConnectionRateExceeded => "connection rate exceeded",
            Self::MaximumConnectTime => "maximum connect time",
            Self::SubscriptionIdentifiersNotSupported => "subscription identifiers not supported",
            Self::WildcardSubscriptionsNotSupported => "wildcard subscriptions not supported",
        }
    }

    /// Returns the CONNACK return code of MQTT 3.x for this code, or `None` if none of 0 to 5 fits:
    /// the connection is then closed without a CONNACK.
    ///
    /// # Specification
    ///
    /// v3.1.1 MQTT-3.2.2-6.
    #[must_use]
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "3.x has six codes, whatever 5.0 adds"
    )]
    pub const fn to_connect_return_code(self) -> Option<u8> {
        match self {
            Self::Success => Some(0),
            Self::UnsupportedProtocolVersion => Some(1),
            Self::ClientIdentifierNotValid => Some(2),
            Self::ServerUnavailable
            | Self::ServerBusy
            | Self::ConnectionRateExceeded
            | Self::QuotaExceeded
            | Self::UseAnotherServer
            | Self::ServerMoved => Some(3),
            Self::BadUserNameOrPassword => Some(4),
            Self::NotAuthorized | Self::Banned | Self::BadAuthenticationMethod => Some(5),
            _ => None,
        }
    }

    /// Returns the code for a CONNACK return code of MQTT 3.x, or `None` above 5.
    #[must_use]
    pub const fn from_connect_return_code(value: u8) -> Option<Self> {
        Some(match value {
            0 => Self::Success,
            1 => Self::UnsupportedProtocolVersion,
            2 => Self::ClientIdentifierNotValid,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02X})", self.name(), self.as_u8())
    }
}
