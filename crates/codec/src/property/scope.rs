//! Which properties belong where.

use core::fmt;

use crate::{PropertyId, Sender};

/// A place that has properties: a packet, or the will inside of CONNECT.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[allow(missing_docs)]
pub enum PropertyScope {
    Connect,
    Will,
    ConnAck,
    Publish,
    PubAck,
    PubRec,
    PubRel,
    PubComp,
    Subscribe,
    SubAck,
    Unsubscribe,
    UnsubAck,
    Disconnect,
    Auth,
}

impl PropertyScope {
    /// Returns whether the property belongs here, whoever sends it.
    ///
    /// # Specification
    ///
    /// v5 §2.2.2.2, table 2-4.
    #[must_use]
    pub const fn allows(self, property: PropertyId) -> bool {
        self.allowed() & property.bit() != 0
    }

    /// Returns the set of identifiers that belong here.
    pub(super) const fn allowed(self) -> u64 {
        use PropertyId as Id;
        match self {
            Self::Connect => {
                const {
                    set(&[
                        Id::SessionExpiryInterval,
                        Id::AuthenticationMethod,
                        Id::AuthenticationData,
                        Id::RequestProblemInformation,
                        Id::RequestResponseInformation,
                        Id::ReceiveMaximum,
                        Id::TopicAliasMaximum,
                        Id::UserProperty,
                        Id::MaximumPacketSize,
                    ])
                }
            }
            Self::Will => {
                const {
                    set(&[
                        Id::PayloadFormatIndicator,
                        Id::MessageExpiryInterval,
                        Id::ContentType,
                        Id::ResponseTopic,
                        Id::CorrelationData,
                        Id::WillDelayInterval,
                        Id::UserProperty,
                    ])
                }
            }
            Self::ConnAck => {
                const {
                    set(&[
                        Id::SessionExpiryInterval,
                        Id::AssignedClientIdentifier,
                        Id::ServerKeepAlive,
                        Id::AuthenticationMethod,
                        Id::AuthenticationData,
                        Id::ResponseInformation,
                        Id::ServerReference,
                        Id::ReasonString,
                        Id::ReceiveMaximum,
                        Id::TopicAliasMaximum,
                        Id::MaximumQoS,
                        Id::RetainAvailable,
                        Id::UserProperty,
                        Id::MaximumPacketSize,
                        Id::WildcardSubscriptionAvailable,
                        Id::SubscriptionIdentifierAvailable,
                        Id::SharedSubscriptionAvailable,
                    ])
                }
            }
            Self::Publish => {
                const {
                    set(&[
                        Id::PayloadFormatIndicator,
                        Id::MessageExpiryInterval,
                        Id::ContentType,
                        Id::ResponseTopic,
                        Id::CorrelationData,
                        Id::SubscriptionIdentifier,
                        Id::TopicAlias,
                        Id::UserProperty,
                    ])
                }
            }
            Self::PubAck
            | Self::PubRec
            | Self::PubRel
            | Self::PubComp
            | Self::SubAck
            | Self::UnsubAck => const { set(&[Id::ReasonString, Id::UserProperty]) },
            Self::Subscribe => const { set(&[Id::SubscriptionIdentifier, Id::UserProperty]) },
            Self::Unsubscribe => const { set(&[Id::UserProperty]) },
            Self::Disconnect => {
                const {
                    set(&[
                        Id::SessionExpiryInterval,
                        Id::ServerReference,
                        Id::ReasonString,
                        Id::UserProperty,
                    ])
                }
            }
            Self::Auth => {
                const {
                    set(&[
                        Id::AuthenticationMethod,
                        Id::AuthenticationData,
                        Id::ReasonString,
                        Id::UserProperty,
                    ])
                }
            }
        }
    }

    /// Returns the identifiers that belong here, but not when this sender sends them.
    pub(super) const fn of_other_side(self, sender: Sender) -> u64 {
        match (self, sender) {
            // v5 MQTT-3.3.4-6
            (Self::Publish, Sender::Client) => PropertyId::SubscriptionIdentifier.bit(),
            (Self::Disconnect, Sender::Client) => PropertyId::ServerReference.bit(),
            // v5 MQTT-3.14.2-2
            (Self::Disconnect, Sender::Server) => PropertyId::SessionExpiryInterval.bit(),
            (_, _) => 0,
        }
    }

    /// Returns the identifiers that may occur more than once here.
    pub(super) const fn repeatable(self) -> u64 {
        match self {
            Self::Publish => {
                PropertyId::UserProperty.bit() | PropertyId::SubscriptionIdentifier.bit()
            }
            Self::Connect
            | Self::Will
            | Self::ConnAck
            | Self::PubAck
            | Self::PubRec
            | Self::PubRel
            | Self::PubComp
            | Self::Subscribe
            | Self::SubAck
            | Self::Unsubscribe
            | Self::UnsubAck
            | Self::Disconnect
            | Self::Auth => PropertyId::UserProperty.bit(),
        }
    }
}

const fn set(ids: &[PropertyId]) -> u64 {
    let mut set = 0;
    let mut rest = ids;
    while let [first, others @ ..] = rest {
        set |= first.bit();
        rest = others;
    }
    set
}

impl fmt::Display for PropertyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "CONNECT",
            Self::Will => "a will",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        })
    }
}
