//! What a session keeps when its connection is gone.

use alloc::vec::Vec;

use mqttstack_codec::{PacketId, QoS, ReasonCode};
use mqttstack_limits::{Instant, Limits};

use super::{
    inbound::Inbound,
    outbound::{DeliveryOptions, Outbound, PublishToken, QueueStatus},
};
use crate::{Message, PublishError};

/// The state of a session apart from its connection: messages that wait or are in flight, and the
/// QoS 2 messages that were received and not released.
///
/// It can be taken out of a session between any two calls, kept while the peer is away, moved to
/// another thread, and put into the session of the next connection.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SessionState {
    pub(crate) outbound: Outbound,
    pub(crate) inbound: Inbound,
}

impl SessionState {
    /// Returns the state of a session that has just begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Queues a message for a peer that is away.
    ///
    /// # Errors
    ///
    /// [`PublishError::NotConnected`] for QoS 0, which does not wait; [`PublishError::QueueFull`]
    /// and [`PublishError::SessionMustEnd`] by the overflow policy.
    pub fn enqueue(
        &mut self,
        message: Message,
        options: DeliveryOptions,
        limits: &Limits,
        now: Instant,
    ) -> Result<PublishToken, PublishError> {
        if options.qos == QoS::AtMostOnce {
            return Err(PublishError::NotConnected);
        }
        self.outbound.enqueue(message, options, limits, now)
    }

    /// Decides about a received QoS 2 message whose connection is gone; QoS 1 is not remembered.
    ///
    /// What is accepted here is not delivered again when its sender repeats it. What is not decided
    /// by the time the state is put into another session arrives anew, so an owner that acts on a
    /// message before it is safe decides here before it lets the session go on.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.3.3-10; v3.1.1 MQTT-4.3.3-2.
    pub fn acknowledge(&mut self, packet_id: PacketId, reason: ReasonCode) {
        self.inbound.acknowledge(packet_id, reason);
    }

    /// Forgets the received messages about which nobody has decided: their owner is gone.
    pub(crate) fn forget_undecided(&mut self) {
        self.inbound.forget_undecided();
    }

    /// The peer has lost its side of the session: what is in flight waits again to be sent as new,
    /// or is given up. Returns the messages that the peer had taken over before.
    pub(crate) fn session_lost(&mut self, resend: bool) -> Vec<PublishToken> {
        self.inbound.clear();
        self.outbound.session_lost(resend)
    }

    /// Returns how much waits and how much is in flight.
    #[must_use]
    pub fn queue_status(&self) -> QueueStatus {
        self.outbound.status()
    }

    /// Returns how many received QoS 2 messages wait for their PUBREL.
    #[must_use]
    pub fn awaiting_release(&self) -> usize {
        self.inbound.len()
    }
}
