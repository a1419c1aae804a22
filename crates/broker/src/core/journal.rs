//! What has to be stored, and what waits until it is.
//!
//! A core that is [durable](Durability::Stored) asks its store to write what outlives the process:
//! sessions that outlive their connection, retained messages, and messages on their way to such
//! sessions with other workers. Each operation has a number; [`Core::handle_stored`] says up to which
//! one everything would survive a crash. Until then these wait:
//!
//! - PUBACK and PUBREC of a publisher, for all that its message made the core write: in the queues of
//!   this worker, as a retained message, or as a parcel for another worker;
//! - what a session [holds back](mqttstack_session::journal);
//! - everything to a client that has just been let in on a session that lasts, or in the place of
//!   one, or whose subscriptions have changed: CONNACK, SUBACK and UNSUBACK go first, and they
//!   promise;
//! - letters that carry a parcel or a session, and those behind them.
//!
//! A message for sessions with another worker is stored here as a parcel, before it is sent; the
//! other worker writes what it did with it and that it has taken it in one unit. So an
//! acknowledgement depends on this worker's numbers alone, and the message is neither lost nor
//! doubled if all workers stop in between.
//!
//! Not written is which retained messages a new subscription is still owed. Those that its queue has
//! taken are stored as any other; the rest of them is not sent after a crash.

use std::{collections::VecDeque, num::NonZeroU64};

use mqttstack_codec::{PacketId, QoS, ReasonCode};
use mqttstack_limits::Instant;
use mqttstack_session::{
    DeliveryOptions, Message,
    fault::{self, Fault},
    journal::{
        Change, Operation, OperationSequence, ParcelNumber, RecordedSubscription, SessionNumber,
        StoreOperation,
    },
};

use super::{
    Core,
    keys::{ConnectionId, SessionKey, WorkerId},
    message::{Target, WorkerMessage},
    publish::is_server_topic,
    session_table::Presence,
};

/// How many operations, and deliveries by letter, may wait for the store before nothing more is read
/// from clients.
const UNSTORED_MAX: usize = 65_536;

/// When a message counts as safe.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Durability {
    /// As soon as it is in memory: nothing is written, and nothing survives the process.
    #[default]
    Memory,
    /// When a store has it: drain [`Core::poll_store_operation`], and call [`Core::handle_stored`].
    Stored,
}

/// What has to be stored, and what waits until it is.
#[derive(Debug)]
pub(super) struct Journal {
    durability: Durability,
    recorded: u64,
    stored: OperationSequence,
    pending: VecDeque<StoreOperation>,
    /// Operations of sessions, by the place that they have here and there.
    sessions: VecDeque<(OperationSequence, SessionKey, OperationSequence)>,
    answers: VecDeque<(OperationSequence, LateAnswer)>,
    outputs: VecDeque<(OperationSequence, ConnectionId)>,
    /// Ends of sessions, which the directory knows of as well.
    endings: VecDeque<(OperationSequence, Box<str>, SessionNumber)>,
    letters: VecDeque<(OperationSequence, WorkerId, WorkerMessage)>,
    /// How many deliveries they ask for, each letter one at least.
    held_deliveries: usize,
    /// Connections from which nothing is read until the store has caught up.
    paused: VecDeque<ConnectionId>,
    parcels: u64,
    /// What the message that is being handled came in: if it is passed on, it keeps its place among
    /// those of the worker that sent it.
    origin: Option<ParcelNumber>,
}

/// An acknowledgement that waits.
#[derive(Clone, Copy, Debug)]
struct LateAnswer {
    connection: ConnectionId,
    packet_id: PacketId,
    reason: ReasonCode,
}

impl Journal {
    pub(super) fn new(durability: Durability) -> Self {
        Self {
            durability,
            recorded: 0,
            stored: OperationSequence::default(),
            pending: VecDeque::new(),
            sessions: VecDeque::new(),
            answers: VecDeque::new(),
            outputs: VecDeque::new(),
            endings: VecDeque::new(),
            letters: VecDeque::new(),
            held_deliveries: 0,
            paused: VecDeque::new(),
            parcels: 0,
            origin: None,
        }
    }

    pub(super) fn is_kept(&self) -> bool {
        self.durability == Durability::Stored
    }

    /// Returns the place of the last operation.
    pub(super) fn recorded(&self) -> OperationSequence {
        OperationSequence::new(self.recorded)
    }

    pub(super) fn is_stored(&self, sequence: OperationSequence) -> bool {
        sequence <= self.stored
    }

    /// Returns whether so much waits that nothing more may come.
    pub(super) fn is_full(&self) -> bool {
        let unstored = self.recorded.saturating_sub(self.stored.get());
        usize::try_from(unstored).unwrap_or(usize::MAX) >= UNSTORED_MAX
            || self.held_deliveries >= UNSTORED_MAX
    }

    /// Has a connection wait until the store has caught up.
    pub(super) fn pause(&mut self, id: ConnectionId) {
        self.paused.push_back(id);
    }

    fn record(&mut self, operation: StoreOperation) {
        self.recorded = self.recorded.saturating_add(1);
        self.pending.push_back(operation);
    }

    fn record_change(&mut self, session: SessionNumber, change: Change) {
        self.record(StoreOperation::Session { session, change });
    }

    fn record_state(
        &mut self,
        key: SessionKey,
        session: SessionNumber,
        place: OperationSequence,
        operation: Operation,
    ) {
        self.record_change(session, Change::State(operation));
        self.sessions.push_back((self.recorded(), key, place));
    }

    /// Returns the letter if it may leave; else it waits, and all that follow it.
    fn hold_letter(&mut self, to: WorkerId, letter: WorkerMessage) -> Option<WorkerMessage> {
        let promises = match &letter {
            WorkerMessage::Deliver(letter) => letter.has_parcel(),
            // That what came before is handled has to outlast a crash: behind it the client speaks to
            // another worker, and nothing orders what two workers have stored.
            WorkerMessage::HandOver(_) | WorkerMessage::Passed { .. } | WorkerMessage::Reached => {
                true
            }
            WorkerMessage::TakeOver(_)
            | WorkerMessage::Moved { .. }
            | WorkerMessage::Fence { .. } => false,
        };
        let after = self.recorded();
        if self.letters.is_empty() && (!promises || self.is_stored(after)) {
            return Some(letter);
        }
        let deliveries = letter.deliveries().max(1);
        self.held_deliveries = self.held_deliveries.saturating_add(deliveries);
        self.letters.push_back((after, to, letter));
        None
    }

    fn poll(&mut self) -> Option<(OperationSequence, StoreOperation)> {
        let pending = u64::try_from(self.pending.len()).unwrap_or(u64::MAX);
        let operation = self.pending.pop_front()?;
        let before = self.recorded.saturating_sub(pending);
        Some((OperationSequence::new(before.saturating_add(1)), operation))
    }
}

/// Takes the first of a list, if what it waits for is stored.
fn take_due<T>(
    list: &mut VecDeque<T>,
    stored: OperationSequence,
    after: impl Fn(&T) -> OperationSequence,
) -> Option<T> {
    list.front().filter(|first| after(first) <= stored)?;
    list.pop_front()
}

impl Core {
    /// Returns something for the store to write, with its place.
    ///
    /// The places count up from 1 with each core. What has been drained to `None` is to be written
    /// whole or not at all. Drain this after every call, [`drain`](Self::drain) included.
    #[must_use]
    pub fn poll_store_operation(&mut self) -> Option<(OperationSequence, StoreOperation)> {
        self.journal.poll()
    }

    /// The store has made everything up to `sequence` durable: what waited for it goes on.
    pub fn handle_stored(&mut self, sequence: OperationSequence, now: Instant) {
        let journal = &mut self.journal;
        journal.stored = journal.stored.max(sequence.min(journal.recorded()));
        let stored = journal.stored;
        while let Some((_, key, place)) = take_due(&mut self.journal.sessions, stored, |it| it.0) {
            let next = self.journal.sessions.front();
            let is_followed = next.is_some_and(|next| next.0 <= stored && next.1 == key);
            if !is_followed {
                self.tell_stored(key, place);
            }
        }
        while let Some((_, answer)) = take_due(&mut self.journal.answers, stored, |it| it.0) {
            if let Some(connection) = self.connection_mut(answer.connection) {
                connection
                    .session
                    .acknowledge(answer.packet_id, answer.reason);
                self.settle(answer.connection);
            }
        }
        while let Some((_, id)) = take_due(&mut self.journal.outputs, stored, |it| it.0) {
            self.mark_dirty(id);
        }
        while let Some((_, client_id, number)) =
            take_due(&mut self.journal.endings, stored, |it| it.0)
        {
            self.directory.endings.finish(&client_id, number);
        }
        while let Some((_, to, letter)) = take_due(&mut self.journal.letters, stored, |it| it.0) {
            let deliveries = letter.deliveries().max(1);
            let held = &mut self.journal.held_deliveries;
            *held = held.saturating_sub(deliveries);
            self.worker_messages.push_back((to, letter));
        }
        for _ in 0..self.journal.paused.len() {
            if self.journal.is_full() {
                break;
            }
            if let Some(id) = self.journal.paused.pop_front() {
                self.end_pause(id, now);
            }
        }
        self.conclude(now);
    }

    fn tell_stored(&mut self, key: SessionKey, place: OperationSequence) {
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        match &mut entry.presence {
            Presence::Absent(absent) => absent.state.handle_stored(place),
            Presence::Connected(id) => {
                let id = *id;
                if let Some(connection) = self.connection_mut(id) {
                    connection.session.handle_stored(place);
                    self.settle(id);
                }
            }
        }
    }

    /// Writes down what a session has changed.
    pub(super) fn write_down(&mut self, key: SessionKey) {
        if !self.journal.is_kept() {
            return;
        }
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(number) = entry.number else { return };
        match &mut entry.presence {
            Presence::Absent(absent) => {
                while let Some((place, operation)) = absent.state.poll_operation() {
                    self.journal.record_state(key, number, place, operation);
                }
            }
            Presence::Connected(id) => {
                let slot = usize::try_from(id.slot).unwrap_or(usize::MAX);
                let connection = self.connections.get_mut(slot);
                let Some(connection) = connection.filter(|it| it.generation == id.generation)
                else {
                    return;
                };
                while let Some((place, operation)) = connection.session.poll_operation() {
                    self.journal.record_state(key, number, place, operation);
                }
            }
        }
    }

    /// Writes down a change of a session as a whole, if it is one that lasts.
    pub(super) fn write_change(&mut self, key: SessionKey, change: impl FnOnce() -> Change) {
        let number = self.sessions.get(key).and_then(|entry| entry.number);
        if let Some(number) = number {
            self.journal.record_change(number, change());
        }
    }

    /// Writes down that a session is over, or lasts no longer than its connection.
    pub(super) fn write_end(&mut self, key: SessionKey) {
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        if let Some(number) = entry.number.take() {
            self.journal.record_change(number, Change::Ended);
            let after = self.journal.recorded();
            self.directory.endings.begin(&entry.client_id, number);
            let ending = (after, Box::from(&*entry.client_id), number);
            self.journal.endings.push_back(ending);
        }
    }

    /// Writes down once more that earlier sessions of a client are over, if a crash could bring
    /// them back: with another worker, that may be stored later than what this one says of it.
    fn write_earlier_ends(&mut self, id: ConnectionId, key: SessionKey) {
        let client_id = self.sessions.get(key).map(|entry| &entry.client_id);
        let earlier = client_id.map(|client_id| self.directory.endings.of(client_id));
        for number in earlier.into_iter().flatten() {
            self.journal.record_change(number, Change::Ended);
            self.hold_output(id);
        }
    }

    /// A client has been let in on its session, which lasts or does not.
    pub(super) fn write_connected(&mut self, id: ConnectionId, key: SessionKey, lasts: bool) {
        if !self.journal.is_kept() {
            return;
        }
        self.write_earlier_ends(id, key);
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        match (entry.number, lasts) {
            (None, false) => return,
            (Some(_), false) => {
                self.write_end(key);
                return self.hold_output(id);
            }
            (Some(_), true) => {}
            (None, true) => {
                let number = self.directory.next_session_number();
                entry.number = Some(number);
                let begun = Change::Begun {
                    client_id: Box::from(&*entry.client_id),
                    identity: entry.identity.clone(),
                    key: key.as_u64(),
                };
                self.journal.record_change(number, begun);
            }
        }
        let Some(connection) = self.connection(id) else {
            return;
        };
        let session_expiry_interval = connection.session.session_expiry_interval();
        let will = connection.session.will().cloned().map(Box::new);
        self.write_change(key, || Change::Connected {
            session_expiry_interval,
            will,
        });
        // A session that is resumed may have begun so lately that a crash would end it.
        self.hold_output(id);
    }

    /// The client of a session is gone.
    pub(super) fn write_disconnected(
        &mut self,
        key: SessionKey,
        expires_at: Instant,
        will_at: Option<Instant>,
    ) {
        self.write_change(key, || Change::Disconnected {
            expires_at,
            will_at,
        });
        self.write_down(key);
    }

    /// A session has been granted a subscription.
    pub(super) fn write_subscribed(
        &mut self,
        key: SessionKey,
        filter: &str,
        subscription: RecordedSubscription,
    ) {
        self.write_change(key, || Change::Subscribed {
            filter: filter.into(),
            subscription,
        });
    }

    /// Has everything to a client wait until what has been written by now is stored.
    pub(super) fn hold_output(&mut self, id: ConnectionId) {
        let after = self.journal.recorded();
        if self.journal.is_stored(after) {
            return;
        }
        if let Some(connection) = self.connection_mut(id) {
            connection.output_after = after;
            self.journal.outputs.push_back((after, id));
        }
    }

    /// Returns whether everything to a client waits for the store.
    pub(super) fn holds_output(&self, id: ConnectionId) -> bool {
        self.connection(id)
            .is_some_and(|connection| !self.journal.is_stored(connection.output_after))
    }

    /// Answers a publisher: at once if nothing of its message had to be written since `before`, or if
    /// its session waits by itself.
    ///
    /// A session that lasts writes down that it has accepted a QoS 2 message, in one unit with what
    /// became of it, and holds the PUBREC back until then.
    pub(super) fn answer_publisher(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        (packet_id, qos): (PacketId, QoS),
        reason: ReasonCode,
        before: OperationSequence,
    ) {
        let after = self.journal.recorded();
        let lasts = |core: &Self| (core.sessions.get(key)).is_some_and(|it| it.number.is_some());
        let is_early = qos == QoS::AtLeastOnce && fault::is_on(Fault::EarlyPuback);
        if after > before && !(qos == QoS::ExactlyOnce && lasts(self)) && !is_early {
            let answer = LateAnswer {
                connection: id,
                packet_id,
                reason,
            };
            self.journal.answers.push_back((after, answer));
            return;
        }
        if let Some(connection) = self.connection_mut(id) {
            connection.session.acknowledge(packet_id, reason);
            self.write_down(key);
        }
    }

    /// Writes down what is retained under a topic from now on.
    pub(super) fn write_retained(&mut self, message: &Message, version: u64, now: Instant) {
        // What the broker says of itself it says anew.
        if !self.journal.is_kept() || is_server_topic(message.topic()) {
            return;
        }
        self.journal.record(if message.payload().is_empty() {
            StoreOperation::RetainedRemoved {
                topic: message.topic().into(),
                version,
            }
        } else {
            StoreOperation::Retained {
                message: message.clone(),
                expires_at: message.expires_at(now),
                version,
            }
        });
    }

    /// Writes down a message that is on its way to sessions, as far as they last.
    pub(super) fn write_parcel(
        &mut self,
        message: &Message,
        targets: &[Target],
    ) -> Option<ParcelNumber> {
        if !self.journal.is_kept() {
            return None;
        }
        let lasting = |target: &&Target| target.lasts && target.qos != QoS::AtMostOnce;
        let targets: Vec<(u64, DeliveryOptions)> = targets
            .iter()
            .filter(lasting)
            .map(|target| (target.session.as_u64(), target.options()))
            .collect();
        if targets.is_empty() {
            return None;
        }
        self.journal.parcels = self.journal.parcels.saturating_add(1);
        let parcel = ParcelNumber {
            worker: self.worker.index(),
            number: self.journal.parcels,
        };
        self.journal.record(StoreOperation::Parcel {
            parcel,
            origin: self.journal.origin.unwrap_or(parcel),
            message: message.clone(),
            targets,
        });
        Some(parcel)
    }

    /// What is written from here on came in this parcel, or in none.
    pub(super) fn unpack(&mut self, parcel: Option<ParcelNumber>) {
        self.journal.origin = parcel;
    }

    /// Names a parcel of this worker.
    pub(super) fn own_parcel(&self, number: NonZeroU64) -> ParcelNumber {
        ParcelNumber {
            worker: self.worker.index(),
            number: number.get(),
        }
    }

    /// Writes down that a message has come to those it was for.
    pub(super) fn write_taken(&mut self, parcel: Option<ParcelNumber>) {
        if let Some(parcel) = parcel {
            self.journal.record(StoreOperation::ParcelTaken { parcel });
        }
    }

    /// Sends a letter, or has it wait for the store.
    pub(super) fn send_letter(&mut self, to: WorkerId, letter: WorkerMessage) {
        self.finish_letter(to);
        self.hand_to_journal(to, letter);
    }

    pub(super) fn hand_to_journal(&mut self, to: WorkerId, letter: WorkerMessage) {
        if let Some(letter) = self.journal.hold_letter(to, letter) {
            self.worker_messages.push_back((to, letter));
        }
    }
}
