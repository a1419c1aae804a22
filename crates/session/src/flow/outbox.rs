//! The sending half of a session, which is two numbers while there is nothing to send.

use alloc::{
    boxed::Box,
    collections::{BTreeSet, VecDeque},
    vec::Vec,
};
use core::{mem::take, num::NonZeroU32};

use mqttstack_codec::PacketId;
use mqttstack_limits::{Instant, Limits};

use super::{
    outbound::{
        Awaited, DeliveryOptions, NextToSend, Outbound, PublishToken, QueueStatus, Queued,
        Undelivered,
    },
    outgoing::OutgoingPublish,
};
use crate::{
    Message, PublishError,
    journal::{Journal, ReplayError},
};

/// The sending half of a session. Most sessions of a large server have nothing to send, and take no
/// memory for it.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    /// Messages that wait or are in flight, or did not long ago.
    busy: Option<Box<Outbound>>,
    /// What the last message was named; out of date while it is busy.
    last_token: PublishToken,
    /// The identifier of the next exchange; out of date while it is busy.
    next_id: PacketId,
}

/// The same is sent under the same names.
impl PartialEq for Outbox {
    fn eq(&self, other: &Self) -> bool {
        match (self.busy.as_deref(), other.busy.as_deref()) {
            (Some(one), Some(other)) => one == other,
            (Some(busy), None) | (None, Some(busy)) => {
                busy.is_idle() && self.totals() == other.totals()
            }
            (None, None) => self.totals() == other.totals(),
        }
    }
}

impl Eq for Outbox {}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            busy: None,
            last_token: PublishToken::new(0),
            next_id: PacketId::MIN,
        }
    }
}

impl Outbox {
    /// Lets go of the memory that nothing needs now.
    pub(crate) fn rest(&mut self) {
        let Some(busy) = &mut self.busy else { return };
        match busy.at_rest() {
            Some((last_token, next_id)) => {
                *self = Self {
                    busy: None,
                    last_token,
                    next_id,
                };
            }
            None => busy.shrink(),
        }
    }

    /// Returns what takes memory, so that something can be put in.
    fn busy(&mut self) -> &mut Outbound {
        let (last_token, next_id) = (self.last_token, self.next_id);
        self.busy
            .get_or_insert_with(|| Box::new(Outbound::resume(last_token, next_id)))
    }

    /// From now on, [`poll_undelivered`](Self::poll_undelivered) tells what became of messages.
    pub(crate) fn track(&mut self) {
        self.busy().track();
    }

    /// Nobody asks any longer what became of messages.
    pub(crate) fn untrack(&mut self) {
        if let Some(busy) = &mut self.busy {
            busy.untrack();
        }
    }

    pub(crate) fn is_tracked(&self) -> bool {
        self.busy.as_ref().is_some_and(|busy| busy.is_tracked())
    }

    pub(crate) fn poll_undelivered(&mut self) -> Option<(PublishToken, Undelivered)> {
        self.busy.as_mut()?.poll_undelivered()
    }

    /// Notes that a message will not be delivered.
    pub(crate) fn give_up(&mut self, token: PublishToken, why: Undelivered) {
        self.busy().give_up(token, why);
    }

    /// Returns the next token.
    pub(crate) fn next_token(&mut self) -> PublishToken {
        self.busy().next_token()
    }

    /// Puts a message into the queue, or applies the overflow policy.
    pub(crate) fn enqueue(
        &mut self,
        message: Message,
        options: DeliveryOptions,
        limits: &Limits,
        now: Instant,
        journal: &mut Journal,
    ) -> Result<PublishToken, PublishError> {
        self.busy().enqueue(message, options, limits, now, journal)
    }

    /// Drops the QoS 0 messages that wait: their peer is gone.
    pub(crate) fn drop_qos0(&mut self) {
        if let Some(busy) = &mut self.busy {
            busy.drop_qos0();
        }
    }

    /// Begins an exchange of a SUBSCRIBE or UNSUBSCRIBE; `None` if every identifier is taken.
    pub(crate) fn begin_request(&mut self, request: Awaited) -> Option<PacketId> {
        self.busy().begin_request(request)
    }

    /// Ends an exchange of a SUBSCRIBE or UNSUBSCRIBE.
    pub(crate) fn end_request(&mut self, packet_id: PacketId) {
        if let Some(busy) = &mut self.busy {
            busy.end_request(packet_id);
        }
    }

    /// Drops all exchanges of SUBSCRIBE and UNSUBSCRIBE, which do not outlive their connection, and
    /// returns their tokens.
    pub(crate) fn drop_requests(&mut self) -> VecDeque<PublishToken> {
        let busy = self.busy.as_mut();
        busy.map(|busy| busy.drop_requests()).unwrap_or_default()
    }

    /// Ends the exchange of a message, frees its identifier, and returns the message if it is still
    /// there.
    pub(crate) fn end_exchange(
        &mut self,
        packet_id: PacketId,
        journal: &mut Journal,
    ) -> Option<Message> {
        self.busy.as_mut()?.end_exchange(packet_id, journal)
    }

    /// Lets go of a QoS 2 message whose identifier the peer has yet to release; `token` is whom to
    /// tell then.
    pub(crate) fn await_pubcomp(
        &mut self,
        packet_id: PacketId,
        token: Option<PublishToken>,
        journal: &mut Journal,
    ) -> Option<Message> {
        self.busy.as_mut()?.await_pubcomp(packet_id, token, journal)
    }

    /// The peer has forgotten what was in flight: it waits again in its order, ahead of the rest,
    /// or is given up. Returns the messages that the peer had taken over.
    pub(crate) fn session_lost(&mut self, resend: bool) -> Vec<PublishToken> {
        let busy = self.busy.as_mut();
        busy.map(|busy| busy.session_lost(resend))
            .unwrap_or_default()
    }

    /// Takes out what a shared group gave to this subscriber and another member may have instead,
    /// in order, and drops the rest.
    pub(crate) fn take_group_messages(
        &mut self,
    ) -> impl Iterator<Item = (NonZeroU32, Message)> + use<> {
        let busy = take(self).busy.into_iter();
        busy.flat_map(|mut busy| busy.take_group_messages())
    }

    /// Takes the next message that may be sent and moves it into flight.
    ///
    /// `quota` says whether a QoS 1 or 2 message may be sent, if `bytes_max` in flight allow it.
    /// Messages that have expired are dropped on the way.
    pub(crate) fn take_next(
        &mut self,
        quota: bool,
        bytes_max: u64,
        now: Instant,
        journal: &mut Journal,
    ) -> Option<OutgoingPublish> {
        self.busy
            .as_mut()?
            .take_next(quota, bytes_max, now, journal)
    }

    /// Does what [`take_next`](Self::take_next) does, and leaves a message that is in flight where it
    /// is.
    pub(crate) fn next_to_send(
        &mut self,
        quota: bool,
        bytes_max: u64,
        now: Instant,
        journal: &mut Journal,
    ) -> Option<NextToSend<'_>> {
        self.busy
            .as_mut()?
            .next_to_send(quota, bytes_max, now, journal)
    }

    /// Returns whether a packet of the message that is next might be larger than the protocol can
    /// express.
    pub(crate) fn is_next_large(&self) -> bool {
        self.busy.as_ref().is_some_and(|busy| busy.is_next_large())
    }

    /// Puts a message behind all others, as it was elsewhere.
    pub(crate) fn apply_queued(&mut self, queued: Queued) -> Result<(), ReplayError> {
        self.busy().apply_queued(queued)
    }

    /// Moves a message into flight, under the identifier that it had elsewhere.
    pub(crate) fn apply_sent(
        &mut self,
        token: PublishToken,
        packet_id: PacketId,
    ) -> Result<(), ReplayError> {
        self.busy().apply_sent(token, packet_id)
    }

    /// Lets go of a QoS 2 message, or takes over an exchange that had come so far.
    pub(crate) fn apply_taken(
        &mut self,
        packet_id: PacketId,
        token: Option<PublishToken>,
    ) -> Result<(), ReplayError> {
        self.busy().apply_taken(packet_id, token)
    }

    /// Ends the exchange of a message.
    pub(crate) fn apply_completed(&mut self, packet_id: PacketId) -> Result<(), ReplayError> {
        self.busy().apply_completed(packet_id)
    }

    /// Drops waiting messages, which are named in their order.
    pub(crate) fn apply_given_up(&mut self, tokens: &[PublishToken]) -> Result<(), ReplayError> {
        self.busy().apply_given_up(tokens)
    }

    /// Notes waiting messages, which are named in their order, to be dropped with others that were
    /// noted before.
    pub(crate) fn note_given_up(
        &mut self,
        tokens: &[PublishToken],
        given_up: &mut BTreeSet<PublishToken>,
    ) -> Result<(), ReplayError> {
        self.busy().note_given_up(tokens, given_up)
    }

    /// Drops messages that were noted, as far as nothing waits ahead of them.
    pub(crate) fn drop_given_up_heads(&mut self, given_up: &mut BTreeSet<PublishToken>) {
        if let Some(busy) = &mut self.busy {
            busy.drop_given_up_heads(given_up);
        }
    }

    /// Drops messages that were noted; looks at all that wait.
    pub(crate) fn drop_given_up(&mut self, given_up: &BTreeSet<PublishToken>) {
        if let Some(busy) = &mut self.busy {
            busy.drop_given_up(given_up);
        }
    }

    /// Takes over the totals of a snapshot.
    pub(crate) fn set_totals(&mut self, totals: [u64; 3]) {
        self.busy().set_totals(totals);
        self.rest();
    }

    /// Returns what a snapshot says beside the messages: the last token, and how many messages were
    /// dropped and have expired.
    pub(crate) fn totals(&self) -> [u64; 3] {
        let busy = self.busy.as_ref();
        busy.map_or([self.last_token.get(), 0, 0], |busy| busy.totals())
    }

    /// Returns what is in flight under an identifier.
    pub(crate) fn exchange(&self, packet_id: PacketId) -> Option<&Awaited> {
        self.busy.as_ref()?.window.get(packet_id)
    }

    /// Returns the token of a message in flight that has expired.
    pub(crate) fn expired_in_flight(
        &self,
        packet_id: PacketId,
        now: Instant,
    ) -> Option<PublishToken> {
        self.busy.as_ref()?.expired_in_flight(packet_id, now)
    }

    /// Returns what is in flight, oldest first.
    pub(crate) fn exchanges(&self) -> impl Iterator<Item = (PacketId, &Awaited)> {
        self.busy.iter().flat_map(|busy| busy.exchanges())
    }

    /// Returns the identifiers in use, oldest exchange first.
    pub(crate) fn ids_in_order(&self) -> VecDeque<PacketId> {
        let busy = self.busy.as_ref();
        busy.map(|busy| busy.window.ids_in_order())
            .unwrap_or_default()
    }

    /// Returns how many messages are in flight.
    pub(crate) fn messages_in_flight(&self) -> u16 {
        self.busy
            .as_ref()
            .map_or(0, |busy| busy.messages_in_flight())
    }

    /// Returns whether anything is in flight.
    pub(crate) fn has_exchanges(&self) -> bool {
        self.busy
            .as_ref()
            .is_some_and(|busy| !busy.window.is_empty())
    }

    /// Returns whether an exchange can begin.
    pub(crate) fn has_free_id(&self) -> bool {
        self.busy.as_ref().is_none_or(|busy| !busy.window.is_full())
    }

    /// Returns the QoS 1 and 2 messages that wait, in their order.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Queued> {
        self.busy.iter().flat_map(|busy| busy.waiting())
    }

    /// Returns whether a message waits that could be sent now.
    pub(crate) fn has_next(&self, quota: bool, bytes_max: u64) -> bool {
        self.busy
            .as_ref()
            .is_some_and(|busy| busy.has_next(quota, bytes_max))
    }

    pub(crate) fn status(&self) -> QueueStatus {
        self.busy
            .as_ref()
            .map(|busy| busy.status())
            .unwrap_or_default()
    }

    /// Returns whether all messages have been sent.
    pub(crate) fn has_nothing_waiting(&self) -> bool {
        self.busy
            .as_ref()
            .is_none_or(|busy| busy.queued_messages() == 0)
    }

    /// Returns whether it takes no memory.
    #[cfg(test)]
    pub(crate) fn is_at_rest(&self) -> bool {
        self.busy.is_none()
    }
}
