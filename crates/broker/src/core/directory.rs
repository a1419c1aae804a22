//! What the workers share: subscriptions, retained messages, and who owns which client.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
};

use mqttstack_codec::{QoS, ReasonCode, SubscriptionOptions};
use mqttstack_limits::{BrokerLimits, Instant};
use mqttstack_session::{
    Message, MessageBody,
    fault::{self, Fault},
    journal::SessionNumber,
};
use mqttstack_topic::{RetainedIndex, Shared, SubscriptionIndex, TopicName, Versioned};

use super::{
    endings::Endings,
    keys::{SessionKey, WorkerId},
    letters::LetterRack,
    locations::Locations,
    memory::{LEVEL_BYTES, MemoryStage, SharedMemory},
    metrics::Counts,
    names::Names,
};

/// What the workers of a broker share. A handle: clones see the same.
#[derive(Clone, Debug)]
pub struct Directory {
    pub(super) subscriptions: Shared<SubscriptionIndex<SessionKey, Granted>>,
    pub(super) retained: Shared<Retained>,
    /// Where each session is.
    pub(super) locations: Arc<Locations>,
    clients: Arc<Mutex<Clients>>,
    pub(super) memory: Arc<SharedMemory>,
    counts: Arc<Mutex<Vec<Arc<Counts>>>>,
    workers: Arc<AtomicU8>,
    connections: Arc<ConnectionCounts>,
    /// The highest number that a session has had in a store.
    session_numbers: Arc<AtomicU64>,
    /// Sessions that a crash would bring back.
    pub(super) endings: Arc<Endings>,
    /// Letters between workers that have been read.
    pub(super) rack: LetterRack,
}

/// Who has which session.
#[derive(Debug, Default)]
struct Clients {
    sessions: Names,
    /// Numbers that sessions had which are over.
    free: Vec<u32>,
}

/// How many connections are open, with all workers together.
#[derive(Debug, Default)]
struct ConnectionCounts {
    open: AtomicU32,
    /// Those of them that have not been accepted.
    pending: AtomicU32,
}

/// What a subscription was granted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Granted {
    pub(super) qos: QoS,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    /// Whether the session is kept in a store.
    pub(super) lasts: bool,
    /// 0 is none.
    pub(super) subscription_id: u32,
}

impl Granted {
    pub(super) fn new(
        options: &SubscriptionOptions,
        qos: QoS,
        subscription_id: Option<u32>,
    ) -> Self {
        Self {
            qos,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            lasts: false,
            subscription_id: subscription_id.unwrap_or(0),
        }
    }

    pub(super) fn subscription_id(&self) -> Option<u32> {
        (self.subscription_id != 0).then_some(self.subscription_id)
    }
}

impl Directory {
    /// Creates the directory of a broker without clients. The seed keys hashes of what peers
    /// choose: they must not be able to guess it.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            subscriptions: Shared::new(SubscriptionIndex::new(seed)),
            retained: Shared::new(Retained::new(seed)),
            locations: Arc::new(Locations::new()),
            clients: Arc::default(),
            memory: Arc::default(),
            counts: Arc::default(),
            workers: Arc::default(),
            connections: Arc::default(),
            session_numbers: Arc::default(),
            endings: Arc::default(),
            rack: LetterRack::default(),
        }
    }

    /// Returns how many sessions there are, connected or not.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.clients().sessions.len()
    }

    /// Returns how many connections are open, accepted or not.
    #[must_use]
    pub fn connection_count(&self) -> u32 {
        self.connections.open.load(Ordering::Relaxed)
    }

    /// Returns how many connections are open that have not been accepted.
    #[must_use]
    pub fn pending_count(&self) -> u32 {
        self.connections.pending.load(Ordering::Relaxed)
    }

    /// Returns how many subscriptions there are.
    #[must_use]
    pub fn subscription_count(&self) -> usize {
        self.subscriptions.read().len()
    }

    /// Returns how many retained messages there are, and their bytes.
    #[must_use]
    pub fn retained_count(&self) -> (usize, u64) {
        let retained = self.retained.read();
        (retained.index.len(), retained.bytes)
    }

    /// Returns how many bytes clients make the broker hold, at most; see [`MemoryStage`].
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory.used()
    }

    /// Returns how near its limit that is.
    #[must_use]
    pub fn memory_stage(&self) -> MemoryStage {
        self.memory.stage()
    }

    /// Counts a connection that has been opened, if there is room for it. `own` is how many that
    /// have not been accepted its worker has.
    pub(super) fn admit(&self, own: u32, limits: &BrokerLimits) -> bool {
        let ConnectionCounts { open, pending } = &*self.connections;
        if !raise(open, limits.connections_max) {
            return false;
        }
        let maximum = if own < self.pending_share(limits) {
            u32::MAX
        } else {
            limits.pending_connections_max
        };
        let has_room = raise(pending, maximum);
        if !has_room {
            lower(open);
        }
        has_room
    }

    /// Returns whether a worker that has `own` connections that have not been accepted must have
    /// fewer before it may have another.
    pub(super) fn is_crowded(&self, own: u32, limits: &BrokerLimits) -> bool {
        self.pending_count() >= limits.pending_connections_max && own >= self.pending_share(limits)
    }

    /// Returns how many connections that have not been accepted a worker may have whatever the
    /// others have: it can make room among its own only, and must not be shut by theirs.
    fn pending_share(&self, limits: &BrokerLimits) -> u32 {
        let workers = u32::from(self.workers.load(Ordering::Relaxed)).max(1);
        limits.pending_connections_max.div_ceil(workers)
    }

    /// A connection has been accepted, or has ended before it was.
    pub(super) fn note_decided(&self) {
        lower(&self.connections.pending);
    }

    /// A connection is gone.
    pub(super) fn note_closed(&self) {
        lower(&self.connections.open);
    }

    /// Returns the number of a new session in the store.
    pub(super) fn next_session_number(&self) -> SessionNumber {
        let before = self.session_numbers.fetch_add(1, Ordering::Relaxed);
        SessionNumber(before.wrapping_add(1))
    }

    /// A session in the store has this number: later ones have higher ones.
    pub(super) fn note_session_number(&self, number: SessionNumber) {
        self.session_numbers.fetch_max(number.0, Ordering::Relaxed);
    }

    /// Notes whether the client of a session that is in shared groups is away.
    pub(super) fn set_member_absent(&self, key: SessionKey, is_absent: bool) {
        self.subscriptions.write().set_away(&key, is_absent);
    }

    /// Makes the counters of a worker.
    pub(super) fn new_counts(&self) -> Arc<Counts> {
        let counts = Arc::<Counts>::default();
        let mut all = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::clone(&counts));
        counts
    }

    /// Looks at the counters of all workers.
    pub(super) fn each_counts(&self, mut look: impl FnMut(&Counts)) {
        let all = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().for_each(|counts| look(counts));
    }

    /// Notes that there is such a worker.
    pub(super) fn add_worker(&self, worker: WorkerId) {
        let count = worker.index().saturating_add(1);
        self.workers.fetch_max(count, Ordering::Relaxed);
    }

    /// Returns the workers other than one of them.
    pub(super) fn other_workers(&self, one: WorkerId) -> impl Iterator<Item = WorkerId> + use<> {
        (0..self.workers.load(Ordering::Relaxed))
            .map(WorkerId::new)
            .filter(move |worker| *worker != one)
    }

    /// Returns the session that a client has.
    pub(super) fn find(&self, client_id: &str) -> Option<SessionKey> {
        self.clients().sessions.get(client_id)
    }

    /// Returns the name of a client that has a session, which the session is to share.
    pub(super) fn name_of(&self, client_id: &str) -> Arc<str> {
        let shared = self.clients().sessions.shared(client_id);
        shared.unwrap_or_else(|| client_id.into())
    }

    /// Returns the session of a client, or enters one with this worker for a client that has none.
    pub(super) fn find_or_enter(
        &self,
        client_id: &str,
        sessions_max: u32,
        worker: WorkerId,
    ) -> Lookup {
        let mut clients = self.clients();
        if let Some(key) = clients.sessions.get(client_id) {
            // Who is struck out of the one is struck out of the other.
            let owner = self.locations.of(key).map(|location| location.worker);
            debug_assert!(owner.is_some(), "a session that is nowhere");
            return Lookup::Found(key, owner.unwrap_or(worker));
        }
        let count = u32::try_from(clients.sessions.len()).unwrap_or(u32::MAX);
        if count >= sessions_max {
            return Lookup::Full;
        }
        // Numbers that are free fill the gaps below the count.
        let number = clients.free.pop().unwrap_or(count);
        let key = self.locations.begin(number, worker);
        clients.sessions.insert(client_id, key);
        Lookup::Entered(key)
    }

    /// Strikes a session out.
    pub(super) fn remove(&self, client_id: &str, key: SessionKey) {
        let mut clients = self.clients();
        if clients.sessions.get(client_id) == Some(key) {
            clients.sessions.remove(client_id);
            self.locations.end(key);
            clients.free.push(key.number());
            if clients.sessions.len() == 0 {
                // Numbers fill the gaps below the count, which is none.
                clients.free = Vec::new();
            }
        }
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        // No change is left half done: nothing between its calls can panic.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What [`Directory::find_or_enter`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Lookup {
    /// The client has a session, with this worker or on its way there.
    Found(SessionKey, WorkerId),
    /// It had none and has this one now.
    Entered(SessionKey),
    /// It has none, and there is no room for another.
    Full,
}

/// The retained messages.
#[derive(Debug)]
pub(super) struct Retained {
    pub(super) index: RetainedIndex<MessageBody>,
    /// Those of topics, properties and payloads.
    bytes: u64,
    /// Numbers what is written down of it, in order.
    writes: u64,
    /// What the topics count as in the index, beside that.
    index_bytes: u64,
}

impl Retained {
    fn new(seed: u64) -> Self {
        Self {
            index: RetainedIndex::new(seed),
            bytes: 0,
            writes: 0,
            index_bytes: 0,
        }
    }

    /// Stores a message under its topic, or removes what is stored if the payload is empty.
    ///
    /// # Specification
    ///
    /// v5 MQTT-3.3.1-5, v5 MQTT-3.3.1-6, v5 MQTT-3.3.1-7.
    pub(super) fn store(
        &mut self,
        topic: &TopicName<'_>,
        message: &Message,
        limits: &BrokerLimits,
        now: Instant,
    ) -> Result<(), ReasonCode> {
        if message.payload().is_empty() {
            self.writes = self.writes.saturating_add(1);
            if let Some(old) = self.index.remove(topic) {
                self.bytes = self.bytes.saturating_sub(size_of(topic, &old));
                self.index_bytes = self.index_bytes.saturating_sub(index_size(topic));
            }
            return Ok(());
        }
        let body = MessageBody::of(message);
        let (size, place) = (size_of(topic, &body), index_size(topic));
        let known = || self.index.get(topic);
        // Most have room even if nothing is replaced, and need not be looked for here.
        if !self.has_room(1, size.saturating_add(place), limits) {
            let replaced = known().map(|old| size_of(topic, old));
            let more = replaced.map(|old| size.saturating_sub(old));
            if !more.is_some_and(|more| self.has_room(0, more, limits)) {
                return Err(ReasonCode::QuotaExceeded);
            }
        }
        if fault::is_on(Fault::KeepOldRetained) && known().is_some() {
            return Ok(());
        }
        self.writes = self.writes.saturating_add(1);
        let expires_at = message.expires_at(now);
        let replaced = if expires_at == Instant::NEVER {
            self.index.insert(topic, body)
        } else {
            self.index.insert_until(topic, body, expires_at.as_micros())
        };
        self.bytes = self.bytes.saturating_add(size);
        match replaced {
            Some(old) => self.bytes = self.bytes.saturating_sub(size_of(topic, &old)),
            None => self.index_bytes = self.index_bytes.saturating_add(place),
        }
        Ok(())
    }

    /// Returns whether there is room for so many more messages and bytes.
    fn has_room(&self, messages: u32, bytes: u64, limits: &BrokerLimits) -> bool {
        let count = u32::try_from(self.index.len()).unwrap_or(u32::MAX);
        count.saturating_add(messages) <= limits.retained_messages_max
            && self.counted_bytes().saturating_add(bytes) <= limits.retained_bytes_max
    }

    /// Removes at most `count_max` messages that have expired.
    pub(super) fn expire(&mut self, now: Instant, count_max: usize) {
        let (bytes, index_bytes) = (&mut self.bytes, &mut self.index_bytes);
        self.index
            .expire(now.as_micros(), count_max, |topic, body| {
                *bytes = bytes.saturating_sub(size_of(&topic, &body));
                *index_bytes = index_bytes.saturating_sub(index_size(&topic));
            });
    }

    /// Returns the number of the last change that a client has asked for, whether it changed anything
    /// or not: the store keeps the one with the highest.
    pub(super) const fn last_write(&self) -> u64 {
        self.writes
    }

    /// Returns what they count as in the memory of all.
    pub(super) fn counted_bytes(&self) -> u64 {
        self.bytes.saturating_add(self.index_bytes)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.index.next_deadline().map(Instant::from_micros)
    }
}

impl Versioned for Retained {
    fn version(&self) -> u64 {
        self.index.version()
    }
}

/// Adds one, unless that is more than `maximum`.
fn raise(count: &AtomicU32, maximum: u32) -> bool {
    let more = |value: u32| value.checked_add(1).filter(|next| *next <= maximum);
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
        .is_ok()
}

fn lower(count: &AtomicU32) {
    let less = |value: u32| value.checked_sub(1);
    // It was counted before.
    let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
}

/// Returns what the place of a message in the index counts as: a node for each level of its topic.
fn index_size(topic: &TopicName<'_>) -> u64 {
    u64::from(topic.level_count())
        .saturating_add(1)
        .saturating_mul(LEVEL_BYTES)
}

fn size_of(topic: &TopicName<'_>, body: &MessageBody) -> u64 {
    let size = topic.as_str().len().saturating_add(body.size());
    u64::try_from(size).unwrap_or(u64::MAX)
}
