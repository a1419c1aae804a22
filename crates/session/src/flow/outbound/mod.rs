//! The sending half: messages that wait, messages in flight, and the window of the peer.

mod delivery;
mod expiry;
mod replay;
mod undelivered;

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::{
    mem::{replace, take},
    num::NonZeroU32,
};

use mqttstack_codec::{Delivery, PacketId, QoS};
use mqttstack_limits::{Instant, Limits, Overflow};

use self::undelivered::Reports;
pub use self::{
    delivery::{DeliveryOptions, PublishToken, SubscriptionIds},
    undelivered::Undelivered,
};
use super::{outgoing::OutgoingPublish, window::Window};
use crate::{
    Message, PublishError,
    fault::{self, Fault},
    journal::{Journal, Operation},
};

/// A message that waits for its turn.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Queued {
    pub(crate) token: PublishToken,
    pub(crate) message: Message,
    pub(crate) options: DeliveryOptions,
    pub(crate) expires_at: Instant,
}

/// What waits for an acknowledgement under a packet identifier.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Awaited {
    /// QoS 1: PUBLISH sent, PUBACK awaited.
    PubAck(Queued),
    /// QoS 2: PUBLISH sent, PUBREC awaited.
    PubRec(Queued),
    /// QoS 2: PUBREL sent, PUBCOMP awaited; the message is gone. `None` if it was given up, and its
    /// owner knows.
    PubComp(Option<PublishToken>),
    /// SUBSCRIBE with so many filters sent, SUBACK awaited.
    SubAck { token: PublishToken, filters: usize },
    /// UNSUBSCRIBE with so many filters sent, UNSUBACK awaited.
    UnsubAck { token: PublishToken, filters: usize },
}

/// A message that is to be sent now.
pub(crate) struct NextToSend<'a> {
    pub(crate) delivery: Delivery,
    place: Place<'a>,
}

/// Where a message is that is to be sent now.
enum Place<'a> {
    /// Nowhere else: at QoS 0, it is gone once it is sent.
    Left(Queued),
    InFlight(&'a Queued),
}

impl NextToSend<'_> {
    pub(crate) const fn queued(&self) -> &Queued {
        match &self.place {
            Place::Left(queued) => queued,
            Place::InFlight(queued) => queued,
        }
    }

    /// It is sent: returns the message if it is not needed any more.
    pub(crate) fn into_message(self) -> Option<Message> {
        match self.place {
            Place::Left(queued) => Some(queued.message),
            Place::InFlight(_) => None,
        }
    }
}

/// How much waits in a session.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct QueueStatus {
    /// Messages that have not been sent.
    pub queued_messages: usize,
    /// Their bytes: topics, properties and payloads.
    pub queued_bytes: u64,
    /// Exchanges that wait for an acknowledgement.
    pub inflight: usize,
    /// The bytes of the messages that may have to be sent again.
    pub inflight_bytes: u64,
    /// Messages that were dropped because the queue was full, since the session began.
    pub dropped: u64,
    /// Those of them that had QoS 1 or 2 and found no room; [`SessionState::encode`] leaves it out.
    ///
    /// [`SessionState::encode`]: crate::SessionState::encode
    pub lost: u64,
    /// Messages that expired in the queue, since the session began.
    pub expired: u64,
}

impl Queued {
    fn bytes(&self) -> u64 {
        held_bytes(&self.message, &self.options)
    }

    pub(crate) fn operation(&self) -> Operation {
        Operation::Queued {
            token: self.token,
            message: self.message.clone(),
            options: self.options.clone(),
            expires_at: self.expires_at,
        }
    }
}

/// What the sending half of a session keeps while it has something to send.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbound {
    pub(super) window: Window<Awaited>,
    /// The bytes of the messages in the window.
    inflight_bytes: u64,
    /// QoS 1 and 2, in order of arrival.
    queue: VecDeque<Queued>,
    /// QoS 0, in order of arrival: apart, so that it flows while the window is full, and is shed
    /// first.
    queue_qos0: VecDeque<Queued>,
    queued_bytes: u64,
    /// No waiting message expires before this.
    first_expiry: Instant,
    /// How many messages have come since the last sweep for expired ones.
    unswept: u32,
    last_token: u64,
    /// Exchanges of SUBSCRIBE and UNSUBSCRIBE in the window.
    requests: u16,
    /// What became of messages that will not be delivered; mostly there are none.
    undelivered: Option<Box<Reports>>,
}

/// Counts of what is held, and hints for the next sweep, follow from the rest.
impl PartialEq for Outbound {
    fn eq(&self, other: &Self) -> bool {
        self.window == other.window
            && self.queue == other.queue
            && self.queue_qos0 == other.queue_qos0
            && self.totals() == other.totals()
    }
}

impl Eq for Outbound {}

impl Outbound {
    /// Begins where another ended.
    pub(super) fn resume(last_token: PublishToken, next_id: PacketId) -> Self {
        Self {
            window: Window::beginning_at(next_id),
            last_token: last_token.0,
            ..Self::default()
        }
    }

    /// Returns where another can begin, if there is nothing else to keep.
    pub(super) fn at_rest(&self) -> Option<(PublishToken, PacketId)> {
        let is_over = self.is_idle() && self.undelivered.is_none();
        is_over.then(|| (PublishToken(self.last_token), self.window.next_id()))
    }

    /// Returns whether nothing waits and nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.queued_messages() == 0 && self.window.is_empty()
    }

    /// Returns the next token.
    pub(crate) fn next_token(&mut self) -> PublishToken {
        self.last_token = self.last_token.saturating_add(1);
        PublishToken(self.last_token)
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
        let size = held_bytes(&message, &options);
        let expires_at = message.expires_at(now);
        self.unswept = self.unswept.saturating_add(1);
        if self.is_full_for(size, limits) {
            self.make_room_for(size, options.qos, limits, now, journal)?;
        }
        let token = self.next_token();
        let queued = Queued {
            token,
            message,
            options,
            expires_at,
        };
        if queued.options.qos != QoS::AtMostOnce {
            journal.record(|| queued.operation());
        }
        self.wait_as(queued, size);
        Ok(token)
    }

    /// Puts a message behind all others.
    pub(crate) fn wait(&mut self, queued: Queued) {
        let bytes = queued.bytes();
        self.wait_as(queued, bytes);
    }

    /// Puts a message of so many bytes behind all others.
    fn wait_as(&mut self, queued: Queued, bytes: u64) {
        self.queued_bytes = self.queued_bytes.saturating_add(bytes);
        if self.queued_messages() == 0 {
            self.first_expiry = queued.expires_at;
        }
        self.note_expiry(queued.expires_at);
        let queue = self.queue_of(queued.options.qos);
        if fault::is_on(Fault::NewestFirst) {
            return queue.push_front(queued);
        }
        queue.push_back(queued);
    }

    /// Drops what has expired, and then what the overflow policy says, until there is room for a
    /// message of so many bytes; or refuses it.
    #[cold]
    fn make_room_for(
        &mut self,
        size: u64,
        qos: QoS,
        limits: &Limits,
        now: Instant,
        journal: &mut Journal,
    ) -> Result<(), PublishError> {
        self.drop_expired(now, journal);
        if self.is_full_for(size, limits) && self.is_sweep_due(now) {
            self.sweep_expired(now, journal);
        }
        while self.is_full_for(size, limits) {
            // Nothing makes room for a message that only an empty queue takes.
            if size > limits.queue_bytes_max {
                return Err(self.refuse(qos, limits));
            }
            self.make_room(qos, limits, journal)?;
        }
        Ok(())
    }

    fn is_full_for(&self, size: u64, limits: &Limits) -> bool {
        let messages = self.queued_messages();
        // An empty queue takes one message of any size.
        messages > 0
            && !fault::is_on(Fault::QueueWithoutLimit)
            && (u32::try_from(messages).unwrap_or(u32::MAX) >= limits.queue_messages_max
                || self.queued_bytes.saturating_add(size) > limits.queue_bytes_max)
    }

    /// Sheds one waiting message, or refuses the new one. QoS 0 goes first in either case.
    fn make_room(
        &mut self,
        new: QoS,
        limits: &Limits,
        journal: &mut Journal,
    ) -> Result<(), PublishError> {
        let oldest = match self.queue_qos0.pop_front() {
            None if new != QoS::AtMostOnce && limits.overflow == Overflow::DropOldest => {
                self.queue.pop_front()
            }
            qos0 => qos0,
        };
        let Some(oldest) = oldest else {
            return Err(self.refuse(new, limits));
        };
        self.forget(&oldest);
        if oldest.options.qos != QoS::AtMostOnce {
            self.count_lost();
            let token = oldest.token;
            journal.record(|| Operation::GivenUp { token });
        }
        self.give_up(oldest.token, Undelivered::Dropped);
        Ok(())
    }

    /// Refuses a new message. Its caller hears of it, so it is counted but not reported.
    fn refuse(&mut self, new: QoS, limits: &Limits) -> PublishError {
        if new != QoS::AtMostOnce && limits.overflow == Overflow::EndSession {
            return PublishError::SessionMustEnd;
        }
        if new != QoS::AtMostOnce {
            self.count_lost();
        }
        let reports = self.reports();
        reports.dropped = reports.dropped.saturating_add(1);
        PublishError::QueueFull {
            messages: u32::try_from(self.queued_messages()).unwrap_or(u32::MAX),
        }
    }

    /// Drops the QoS 0 messages that wait: their peer is gone.
    pub(crate) fn drop_qos0(&mut self) {
        while let Some(queued) = self.queue_qos0.pop_front() {
            self.forget(&queued);
            self.give_up(queued.token, Undelivered::Dropped);
        }
        self.queue_qos0.shrink_to_fit();
    }

    /// Begins an exchange of a SUBSCRIBE or UNSUBSCRIBE; `None` if every identifier is taken.
    pub(crate) fn begin_request(&mut self, request: Awaited) -> Option<PacketId> {
        let packet_id = self.window.insert(request).ok()?;
        self.requests = self.requests.saturating_add(1);
        Some(packet_id)
    }

    /// Ends an exchange of a SUBSCRIBE or UNSUBSCRIBE.
    pub(crate) fn end_request(&mut self, packet_id: PacketId) {
        if self.window.remove(packet_id).is_some() {
            self.requests = self.requests.saturating_sub(1);
        }
    }

    /// Returns how many messages are in flight.
    pub(crate) const fn messages_in_flight(&self) -> u16 {
        self.window.len().saturating_sub(self.requests)
    }

    /// Ends the exchange of a message and frees its identifier; returns the message, if it was still
    /// held.
    pub(crate) fn end_exchange(
        &mut self,
        packet_id: PacketId,
        journal: &mut Journal,
    ) -> Option<Message> {
        journal.record(|| Operation::Completed { packet_id });
        match self.window.remove(packet_id)? {
            Awaited::PubAck(queued) | Awaited::PubRec(queued) => {
                self.land(&queued);
                Some(queued.message)
            }
            Awaited::PubComp(_) | Awaited::SubAck { .. } | Awaited::UnsubAck { .. } => None,
        }
    }

    /// Lets go of a QoS 2 message whose identifier the peer has yet to release; `token` is whom to
    /// tell then.
    pub(crate) fn await_pubcomp(
        &mut self,
        packet_id: PacketId,
        token: Option<PublishToken>,
        journal: &mut Journal,
    ) -> Option<Message> {
        let exchange = self.window.get_mut(packet_id)?;
        journal.record(|| Operation::Taken { packet_id, token });
        let Awaited::PubRec(queued) = replace(exchange, Awaited::PubComp(token)) else {
            return None;
        };
        self.land(&queued);
        Some(queued.message)
    }

    /// Drops all exchanges of SUBSCRIBE and UNSUBSCRIBE, which do not outlive their connection, and
    /// returns their tokens.
    pub(crate) fn drop_requests(&mut self) -> VecDeque<PublishToken> {
        let mut tokens = VecDeque::new();
        for id in self.window.ids_in_order() {
            if let Some(Awaited::SubAck { token, .. } | Awaited::UnsubAck { token, .. }) =
                self.window.get(id)
            {
                tokens.push_back(*token);
                self.end_request(id);
            }
        }
        tokens
    }

    /// The peer has forgotten what was in flight: it waits again in its order, ahead of the rest,
    /// or is given up. Returns the messages that the peer had taken over.
    pub(crate) fn session_lost(&mut self, resend: bool) -> Vec<PublishToken> {
        let mut unfinished = Vec::new();
        let mut taken_over = Vec::new();
        for id in self.window.ids_in_order() {
            match self.window.remove(id) {
                Some(Awaited::PubAck(queued) | Awaited::PubRec(queued)) => unfinished.push(queued),
                Some(Awaited::PubComp(token)) => taken_over.extend(token),
                Some(Awaited::SubAck { .. } | Awaited::UnsubAck { .. }) | None => {}
            }
        }
        self.requests = 0;
        self.inflight_bytes = 0;
        if resend {
            for queued in unfinished.into_iter().rev() {
                self.requeue(queued);
            }
        } else {
            for queued in unfinished {
                self.give_up(queued.token, Undelivered::SessionLost);
            }
        }
        taken_over
    }

    /// Takes out what a shared group gave to this subscriber and another member may have instead,
    /// in order, and drops the rest.
    pub(crate) fn take_group_messages(
        &mut self,
    ) -> impl Iterator<Item = (NonZeroU32, Message)> + use<> {
        let Self {
            mut window, queue, ..
        } = take(self);
        let in_flight = window.ids_in_order().into_iter();
        let unacknowledged = in_flight.filter_map(move |id| match window.remove(id)? {
            Awaited::PubAck(queued) => Some(queued),
            // The peer may have it: if somebody else got it, it would be there twice.
            Awaited::PubRec(_) | Awaited::PubComp(_) => None,
            Awaited::SubAck { .. } | Awaited::UnsubAck { .. } => None,
        });
        unacknowledged
            .chain(queue)
            .filter_map(|queued| Some((queued.options.group?, queued.message)))
    }

    /// Puts a message back to the head of the queue.
    fn requeue(&mut self, queued: Queued) {
        self.queued_bytes = self.queued_bytes.saturating_add(queued.bytes());
        self.note_expiry(queued.expires_at);
        self.queue.push_front(queued);
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
        let NextToSend { delivery, place } = self.next_to_send(quota, bytes_max, now, journal)?;
        let queued = match place {
            Place::Left(queued) => queued,
            Place::InFlight(queued) => queued.clone(),
        };
        Some(OutgoingPublish::new(queued, delivery, now))
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
        if self.first_expiry <= now {
            self.drop_expired(now, journal);
        }
        let acknowledged = self.next_acknowledged(quota, bytes_max);
        let from_qos0 = match (self.queue_qos0.front(), acknowledged) {
            (None, None) => return None,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            // One peer sees the messages of all QoS in the order in which they came.
            (Some(unacknowledged), Some(acknowledged)) => unacknowledged.token < acknowledged.token,
        };
        let queue = if from_qos0 {
            &mut self.queue_qos0
        } else {
            &mut self.queue
        };
        let queued = queue.pop_front()?;
        let bytes = queued.bytes();
        self.queued_bytes = self.queued_bytes.saturating_sub(bytes);
        if from_qos0 {
            return Some(NextToSend {
                delivery: Delivery::AtMostOnce,
                place: Place::Left(queued),
            });
        }
        let (token, is_twofold) = (queued.token, queued.options.qos == QoS::ExactlyOnce);
        let exchange = match is_twofold {
            true => Awaited::PubRec(queued),
            false => Awaited::PubAck(queued),
        };
        let packet_id = self.launch(exchange, bytes)?;
        journal.record(|| Operation::Sent { token, packet_id });
        let (Awaited::PubAck(queued) | Awaited::PubRec(queued)) = self.window.get(packet_id)?
        else {
            return None;
        };
        Some(NextToSend {
            delivery: match is_twofold {
                true => Delivery::ExactlyOnce {
                    packet_id,
                    dup: false,
                },
                false => Delivery::AtLeastOnce {
                    packet_id,
                    dup: false,
                },
            },
            place: Place::InFlight(queued),
        })
    }

    /// Returns whether a packet of the message that is next might be larger than the protocol can
    /// express.
    pub(crate) fn is_next_large(&self) -> bool {
        let is_large = |queued: &Queued| queued.message.size() > usize::from(u16::MAX);
        let heads = [self.queue_qos0.front(), self.queue.front()];
        heads.into_iter().flatten().any(is_large)
    }

    /// Puts an exchange with a message of so many bytes into flight. When every identifier is taken, the message goes back to the
    /// head of the queue.
    fn launch(&mut self, exchange: Awaited, bytes: u64) -> Option<PacketId> {
        match self.window.insert(exchange) {
            Ok(packet_id) => {
                self.inflight_bytes = self.inflight_bytes.saturating_add(bytes);
                Some(packet_id)
            }
            Err(Awaited::PubAck(queued) | Awaited::PubRec(queued)) => {
                self.requeue(queued);
                None
            }
            Err(Awaited::PubComp(_) | Awaited::SubAck { .. } | Awaited::UnsubAck { .. }) => None,
        }
    }

    /// Returns whether a message waits that could be sent now.
    pub(crate) fn has_next(&self, quota: bool, bytes_max: u64) -> bool {
        !self.queue_qos0.is_empty() || self.next_acknowledged(quota, bytes_max).is_some()
    }

    /// Returns the QoS 1 or 2 message that is next, if it may be sent. One message of any size may
    /// be in flight.
    fn next_acknowledged(&self, quota: bool, bytes_max: u64) -> Option<&Queued> {
        let next = self.queue.front().filter(|_| quota)?;
        let bytes = next.bytes();
        let fits = self.inflight_bytes.saturating_add(bytes) <= bytes_max;
        (fits || self.inflight_bytes == 0).then_some(next)
    }

    /// Lets go of spare memory where nothing waits.
    pub(crate) fn shrink(&mut self) {
        if self.queue.is_empty() {
            self.queue.shrink_to_fit();
        }
        if self.queue_qos0.is_empty() {
            self.queue_qos0.shrink_to_fit();
        }
        self.window.shrink();
    }

    pub(crate) fn status(&self) -> QueueStatus {
        let [_, dropped, expired] = self.totals();
        QueueStatus {
            queued_messages: self.queued_messages(),
            queued_bytes: self.queued_bytes,
            inflight: self.window.len().into(),
            inflight_bytes: self.inflight_bytes,
            dropped,
            lost: self.undelivered.as_deref().map_or(0, |it| it.lost),
            expired,
        }
    }

    pub(super) fn queued_messages(&self) -> usize {
        self.queue.len().saturating_add(self.queue_qos0.len())
    }

    fn queue_of(&mut self, qos: QoS) -> &mut VecDeque<Queued> {
        if qos == QoS::AtMostOnce {
            &mut self.queue_qos0
        } else {
            &mut self.queue
        }
    }

    /// Stops counting a message that was in flight.
    fn land(&mut self, queued: &Queued) {
        self.inflight_bytes = self.inflight_bytes.saturating_sub(queued.bytes());
    }

    fn forget(&mut self, queued: &Queued) {
        self.queued_bytes = self.queued_bytes.saturating_sub(queued.bytes());
    }
}

/// Returns what a message counts against a queue, with the identifiers that it carries there.
fn held_bytes(message: &Message, options: &DeliveryOptions) -> u64 {
    let ids = size_of_val(options.subscription_ids.as_slice());
    u64::try_from(message.size().saturating_add(ids)).unwrap_or(u64::MAX)
}
