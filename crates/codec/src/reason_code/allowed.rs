//! Which reason codes each packet may carry, and who may send them.

use crate::{PacketType, ReasonCode, Sender};

use ReasonCode as Code;

impl ReasonCode {
    /// Returns whether MQTT 5.0 packets of the type may carry the code, coming from the sender.
    ///
    /// Follows the tables of the standard but for two points on which it contradicts itself:
    /// 0x8C is accepted in DISCONNECT from a server, and 0x9B from either side.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.2.2-8, v5 MQTT-3.4.2-1, v5 MQTT-3.5.2-1, v5 MQTT-3.6.2-1, v5 MQTT-3.7.2-1,
    /// v5 MQTT-3.9.3-2, v5 MQTT-3.11.3-2, v5 MQTT-3.14.2-1, v5 MQTT-3.15.2-1.
    #[must_use]
    pub const fn is_allowed(self, packet_type: PacketType, sender: Sender) -> bool {
        match packet_type {
            PacketType::ConnAck => CONNACK.has(self),
            PacketType::PubAck | PacketType::PubRec => {
                PUBACK.has(self) || (sender.may_be_server() && PUBACK_SERVER.has(self))
            }
            PacketType::PubRel | PacketType::PubComp => PUBREL.has(self),
            PacketType::SubAck => SUBACK.has(self),
            PacketType::UnsubAck => UNSUBACK.has(self),
            PacketType::Disconnect => {
                DISCONNECT.has(self)
                    || (sender.may_be_client() && DISCONNECT_CLIENT.has(self))
                    || (sender.may_be_server() && DISCONNECT_SERVER.has(self))
            }
            PacketType::Auth => {
                AUTH.has(self)
                    || (sender.may_be_client() && AUTH_CLIENT.has(self))
                    || (sender.may_be_server() && AUTH_SERVER.has(self))
            }
            PacketType::Connect
            | PacketType::Publish
            | PacketType::Subscribe
            | PacketType::Unsubscribe
            | PacketType::PingReq
            | PacketType::PingResp => false,
        }
    }
}

/// A set of reason codes: a bit for each code below 0x40, and for each from 0x80 on.
struct Set {
    successes: u64,
    errors: u64,
}

impl Set {
    const fn of(codes: &[ReasonCode]) -> Self {
        let mut set = Self {
            successes: 0,
            errors: 0,
        };
        let mut rest = codes;
        while let [code, others @ ..] = rest {
            let bit = 1 << (code.as_u8() & 0x3F);
            if code.is_error() {
                set.errors |= bit;
            } else {
                set.successes |= bit;
            }
            rest = others;
        }
        set
    }

    const fn has(&self, code: ReasonCode) -> bool {
        let bits = if code.is_error() {
            self.errors
        } else {
            self.successes
        };
        bits >> (code.as_u8() & 0x3F) & 1 == 1
    }
}

const CONNACK: Set = Set::of(&[
    Code::Success,
    Code::UnspecifiedError,
    Code::MalformedPacket,
    Code::ProtocolError,
    Code::ImplementationSpecificError,
    Code::UnsupportedProtocolVersion,
    Code::ClientIdentifierNotValid,
    Code::BadUserNameOrPassword,
    Code::NotAuthorized,
    Code::ServerUnavailable,
    Code::ServerBusy,
    Code::Banned,
    Code::BadAuthenticationMethod,
    Code::TopicNameInvalid,
    Code::PacketTooLarge,
    Code::QuotaExceeded,
    Code::PayloadFormatInvalid,
    Code::RetainNotSupported,
    Code::QoSNotSupported,
    Code::UseAnotherServer,
    Code::ServerMoved,
    Code::ConnectionRateExceeded,
]);

const PUBACK: Set = Set::of(&[
    Code::Success,
    Code::UnspecifiedError,
    Code::ImplementationSpecificError,
    Code::NotAuthorized,
    Code::TopicNameInvalid,
    Code::PacketIdentifierInUse,
    Code::QuotaExceeded,
    Code::PayloadFormatInvalid,
]);
const PUBACK_SERVER: Set = Set::of(&[Code::NoMatchingSubscribers]);

const PUBREL: Set = Set::of(&[Code::Success, Code::PacketIdentifierNotFound]);

const SUBACK: Set = Set::of(&[
    Code::Success,
    Code::GrantedQoS1,
    Code::GrantedQoS2,
    Code::UnspecifiedError,
    Code::ImplementationSpecificError,
    Code::NotAuthorized,
    Code::TopicFilterInvalid,
    Code::PacketIdentifierInUse,
    Code::QuotaExceeded,
    Code::SharedSubscriptionsNotSupported,
    Code::SubscriptionIdentifiersNotSupported,
    Code::WildcardSubscriptionsNotSupported,
]);

const UNSUBACK: Set = Set::of(&[
    Code::Success,
    Code::NoSubscriptionExisted,
    Code::UnspecifiedError,
    Code::ImplementationSpecificError,
    Code::NotAuthorized,
    Code::TopicFilterInvalid,
    Code::PacketIdentifierInUse,
]);

const DISCONNECT: Set = Set::of(&[
    Code::Success,
    Code::UnspecifiedError,
    Code::MalformedPacket,
    Code::ProtocolError,
    Code::ImplementationSpecificError,
    Code::TopicNameInvalid,
    Code::ReceiveMaximumExceeded,
    Code::TopicAliasInvalid,
    Code::PacketTooLarge,
    Code::MessageRateTooHigh,
    Code::QuotaExceeded,
    Code::AdministrativeAction,
    Code::PayloadFormatInvalid,
    Code::QoSNotSupported,
]);
const DISCONNECT_CLIENT: Set = Set::of(&[Code::DisconnectWithWillMessage]);
const DISCONNECT_SERVER: Set = Set::of(&[
    Code::NotAuthorized,
    Code::ServerBusy,
    Code::ServerShuttingDown,
    Code::BadAuthenticationMethod,
    Code::KeepAliveTimeout,
    Code::SessionTakenOver,
    Code::TopicFilterInvalid,
    Code::RetainNotSupported,
    Code::UseAnotherServer,
    Code::ServerMoved,
    Code::SharedSubscriptionsNotSupported,
    Code::ConnectionRateExceeded,
    Code::MaximumConnectTime,
    Code::SubscriptionIdentifiersNotSupported,
    Code::WildcardSubscriptionsNotSupported,
]);

const AUTH: Set = Set::of(&[Code::ContinueAuthentication]);
const AUTH_CLIENT: Set = Set::of(&[Code::ReAuthenticate]);
const AUTH_SERVER: Set = Set::of(&[Code::Success]);
