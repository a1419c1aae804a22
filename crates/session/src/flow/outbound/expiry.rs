//! Messages that expire while they wait.

use alloc::vec::Vec;
use core::mem::take;

use mqttstack_codec::{PacketId, QoS};
use mqttstack_limits::Instant;

use super::{Awaited, Outbound, PublishToken, undelivered::Undelivered};
use crate::{
    fault::{self, Fault},
    journal::{Journal, Operation},
};

/// How many waiting messages each new one pays to have looked at, when a full queue is searched for
/// messages that have expired.
const SWEPT_PER_MESSAGE: usize = 16;

impl Outbound {
    /// Drops the messages at the heads of the queues that have expired.
    pub(super) fn drop_expired(&mut self, now: Instant, journal: &mut Journal) {
        if fault::is_on(Fault::SendExpired) {
            return;
        }
        for qos0 in [true, false] {
            loop {
                let queue = if qos0 {
                    &mut self.queue_qos0
                } else {
                    &mut self.queue
                };
                match queue.front() {
                    Some(queued) if queued.expires_at <= now => {}
                    _ => break,
                }
                if let Some(queued) = queue.pop_front() {
                    self.forget(&queued);
                    let token = queued.token;
                    if !qos0 {
                        journal.record(|| Operation::GivenUp { token });
                    }
                    self.give_up(token, Undelivered::Expired);
                }
            }
        }
    }

    /// Returns whether something may have expired, and enough new messages have come to pay for a
    /// look at all that wait.
    pub(super) fn is_sweep_due(&self, now: Instant) -> bool {
        let unswept = usize::try_from(self.unswept).unwrap_or(usize::MAX);
        self.first_expiry <= now
            && unswept.saturating_mul(SWEPT_PER_MESSAGE) >= self.queued_messages()
    }

    /// Drops all messages that have expired, wherever they wait.
    pub(super) fn sweep_expired(&mut self, now: Instant, journal: &mut Journal) {
        self.unswept = 0;
        self.first_expiry = Instant::NEVER;
        let mut swept: Vec<PublishToken> = Vec::new();
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            let mut queue = take(self.queue_of(qos));
            queue.retain(|queued| {
                if queued.expires_at > now {
                    self.note_expiry(queued.expires_at);
                    return true;
                }
                self.forget(queued);
                self.give_up(queued.token, Undelivered::Expired);
                if qos != QoS::AtMostOnce && journal.is_kept() {
                    swept.push(queued.token);
                }
                false
            });
            *self.queue_of(qos) = queue;
        }
        if !swept.is_empty() {
            let tokens = swept.into_boxed_slice();
            journal.record(|| Operation::Swept { tokens });
        }
    }

    /// Returns the token of a message in flight that has expired.
    pub(crate) fn expired_in_flight(
        &self,
        packet_id: PacketId,
        now: Instant,
    ) -> Option<PublishToken> {
        if fault::is_on(Fault::SendExpired) {
            return None;
        }
        match self.window.get(packet_id)? {
            Awaited::PubAck(queued) | Awaited::PubRec(queued) => {
                (queued.expires_at <= now).then_some(queued.token)
            }
            Awaited::PubComp(_) | Awaited::SubAck { .. } | Awaited::UnsubAck { .. } => None,
        }
    }

    pub(super) fn note_expiry(&mut self, expires_at: Instant) {
        self.first_expiry = self.first_expiry.min(expires_at);
    }
}
