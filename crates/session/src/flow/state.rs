//! What a session keeps when its connection is gone.

use alloc::vec::Vec;
use core::num::NonZeroU32;

use mqttstack_codec::{PacketId, QoS, ReasonCode};
use mqttstack_limits::{Instant, Limits};

use super::{
    inbound::Inbound,
    outbound::{DeliveryOptions, PublishToken, QueueStatus},
    outbox::Outbox,
};
use crate::{
    Message, PublishError,
    journal::{Journal, Operation, OperationSequence},
};

/// The state of a session apart from its connection: messages that wait or are in flight, and the
/// QoS 2 messages that were received and not released.
///
/// It can be taken out of a session between any two calls, kept while the peer is away, moved to
/// another thread, and put into the session of the next connection. [`encode`](Self::encode) and
/// [`decode`](Self::decode) take it to another process; a store that writes what changed, and not
/// the whole each time, uses the [journal](crate::journal).
#[derive(Clone, Debug, Default)]
pub struct SessionState {
    pub(crate) outbound: Outbox,
    pub(crate) inbound: Inbound,
    pub(crate) journal: Journal,
    /// Those of the last connection, for [`Fault::KeepAliases`](crate::fault::Fault::KeepAliases).
    #[cfg(mqttstack_faults)]
    pub(super) aliases: super::OutboundAliases,
}

/// What is kept is the same, whoever writes it down.
impl PartialEq for SessionState {
    fn eq(&self, other: &Self) -> bool {
        self.outbound == other.outbound && self.inbound == other.inbound
    }
}

impl Eq for SessionState {}

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
        self.outbound
            .enqueue(message, options, limits, now, &mut self.journal)
    }

    /// From now on each change is recorded as an operation, and what depends on one waits for
    /// [`handle_stored`](Self::handle_stored). The operations count from 1 and say nothing of what
    /// the state holds already: [`encode`](Self::encode) it first if that is not stored.
    pub fn keep_journal(&mut self) {
        self.journal.keep();
    }

    /// From now on nothing is recorded, and nothing waits.
    pub fn drop_journal(&mut self) {
        self.journal.drop();
    }

    /// Returns whether changes are recorded.
    #[must_use]
    pub fn keeps_journal(&self) -> bool {
        self.journal.is_kept()
    }

    /// Returns the next operation, with its place.
    #[must_use]
    pub fn poll_operation(&mut self) -> Option<(OperationSequence, Operation)> {
        self.journal.poll()
    }

    /// The store has made everything up to `sequence` durable.
    pub fn handle_stored(&mut self, sequence: OperationSequence) {
        self.journal.handle_stored(sequence);
    }

    /// Returns the place of the last operation, drained or not.
    #[must_use]
    pub fn recorded(&self) -> OperationSequence {
        self.journal.recorded()
    }

    /// Empties the state: a new session begins. A journal that is kept goes on.
    pub fn clear(&mut self) {
        // An empty state may have counted: its tokens begin again, and a copy has to know.
        if !self.is_empty() || self.outbound.totals() != [0; 3] {
            self.journal.record(|| Operation::Cleared);
        }
        self.clear_unrecorded();
    }

    pub(crate) fn clear_unrecorded(&mut self) {
        let tracks = self.outbound.is_tracked();
        self.outbound = Outbox::default();
        self.inbound = Inbound::default();
        if tracks {
            self.outbound.track();
        }
    }

    /// Empties the state of a session that is over, and returns the messages that a shared group gave
    /// to it and another member is to get instead, each with the
    /// [number](DeliveryOptions::group) of its group, in their order.
    ///
    /// They are those of QoS 1 that nobody has acknowledged, and those of QoS 1 and 2 that were
    /// never sent. A QoS 2 message whose delivery has begun is not among them: its receiver may
    /// have it. Nothing is recorded: whoever keeps a journal writes that the session is over.
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.8.2-5, v5 U-32.
    pub fn take_group_messages(&mut self) -> impl Iterator<Item = (NonZeroU32, Message)> + use<> {
        self.inbound = Inbound::default();
        self.outbound.take_group_messages()
    }

    /// Returns whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let QueueStatus {
            queued_messages,
            inflight,
            ..
        } = self.queue_status();
        queued_messages == 0 && inflight == 0 && self.inbound.len() == 0
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
        self.inbound
            .acknowledge(packet_id, reason, &mut self.journal);
    }

    /// Forgets the received messages about which nobody has decided: their owner is gone.
    pub(crate) fn forget_undecided(&mut self) {
        self.inbound.forget_undecided();
    }

    /// The peer has lost its side of the session: what is in flight waits again to be sent as new,
    /// or is given up. Returns the messages that the peer had taken over before.
    pub(crate) fn session_lost(&mut self, resend: bool) -> Vec<PublishToken> {
        if self.outbound.has_exchanges() || self.inbound.len() > 0 {
            self.journal.record(|| Operation::PeerLost { resend });
        }
        self.inbound.clear();
        self.outbound.session_lost(resend)
    }

    /// Lets go of the memory that nothing needs now.
    pub(crate) fn rest(&mut self) {
        self.outbound.rest();
        self.inbound.rest();
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
