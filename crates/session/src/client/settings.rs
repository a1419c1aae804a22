//! What the owner of a client session decides, and what the server says it can do.

use alloc::sync::Arc;
use core::time::Duration;

use mqttstack_codec::{ConnAck, QoS, Shared};
use mqttstack_limits::Limits;

/// What happens to unfinished messages when the server has lost the session.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum LostSession {
    /// Messages that were not acknowledged are sent again as new ones: nothing is lost, and a
    /// message may arrive twice, even at QoS 2.
    #[default]
    Resend,
    /// They are reported as undelivered.
    GiveUp,
}

/// The settings of a client session that hold for all its connections.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the server may send, and how much may wait.
    pub limits: Arc<Limits>,
    /// How long, while a PINGRESP is awaited, no byte may move in either direction; then the
    /// connection is over.
    pub ping_timeout: Duration,
    /// What becomes of unfinished messages when the server has lost the session.
    pub lost_session: LostSession,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Arc::default(),
            ping_timeout: Duration::from_secs(10),
            lost_session: LostSession::default(),
        }
    }
}

/// What the server said in CONNACK that it can do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServerCapabilities {
    /// The highest QoS it takes.
    pub maximum_qos: QoS,
    /// Whether it keeps retained messages.
    pub retain_available: bool,
    /// The largest packet it takes, in bytes; `u32::MAX` if it named none.
    pub packet_size_max: u32,
    /// How many unacknowledged QoS 1 and 2 messages it takes.
    pub receive_maximum: u16,
    /// How many topic aliases it takes.
    pub topic_alias_maximum: u16,
    /// Whether it takes filters with wildcards.
    pub wildcard_subscriptions: bool,
    /// Whether it takes Subscription Identifiers.
    pub subscription_identifiers: bool,
    /// Whether it takes shared subscriptions.
    pub shared_subscriptions: bool,
}

impl ServerCapabilities {
    pub(super) fn from_connack(connack: &ConnAck<Shared>) -> Self {
        let properties = &connack.properties;
        Self {
            maximum_qos: properties.maximum_qos().unwrap_or(QoS::ExactlyOnce),
            retain_available: properties.retain_available().unwrap_or(true),
            packet_size_max: properties
                .maximum_packet_size()
                .map_or(u32::MAX, Into::into),
            receive_maximum: properties.receive_maximum().map_or(u16::MAX, Into::into),
            topic_alias_maximum: properties.topic_alias_maximum().unwrap_or(0),
            wildcard_subscriptions: properties.wildcard_subscription_available().unwrap_or(true),
            subscription_identifiers: properties
                .subscription_identifier_available()
                .unwrap_or(true),
            shared_subscriptions: properties.shared_subscription_available().unwrap_or(true),
        }
    }
}
