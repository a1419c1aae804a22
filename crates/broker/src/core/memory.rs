//! What clients make the broker hold, all together, and what happens as it nears the limit.
//!
//! Counted are packets that have begun to arrive, messages that wait or are in flight, packets on
//! their way out, topics with an alias, wills, filters, sessions, connections and retained messages. A message that several
//! queues share counts in each of them: the figure is an upper bound. Each worker keeps its own sum
//! and adds to that of all in steps, so that counting costs no traffic between processors.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering},
};

use mqttstack_codec::{ReasonCode, Shared, Will};
use mqttstack_limits::Instant;

use super::{
    Core,
    keys::{ConnectionId, SessionKey},
    session_table::{Entry, Presence},
};

/// By how many bytes a worker's sum may differ from what the others know of it.
const STEP_BYTES: i64 = 64 * 1024;
/// How much a connection may hold when memory is full of packets that are not whole, and of topics that
/// have an alias.
const HOARD_BYTES_MAX: usize = 64 * 1024;
/// What a connection counts as, beside what it holds.
const CONNECTION_BYTES: u64 = 1_024;
/// What a session counts as, beside what it holds.
const SESSION_BYTES: u64 = 512;
/// What a subscription counts as, beside its filter.
pub(super) const SUBSCRIPTION_BYTES: u64 = 256;
/// What each level of a filter with wildcards counts as: its place in the index.
pub(super) const FILTER_LEVEL_BYTES: u64 = 32;
/// What a message counts as, beside its topic, properties and payload: its place in a queue, and the
/// room that a small one has for more than it is.
const MESSAGE_BYTES: u64 = 224;
/// What each level of the topic of a retained message counts as: its place in the index.
pub(super) const LEVEL_BYTES: u64 = 64;

/// How near the limit the memory that clients use is.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum MemoryStage {
    /// Far from it.
    #[default]
    Calm,
    /// From three quarters of it: QoS 0 messages for clients that do not keep up are dropped.
    Shedding,
    /// From 85 %: clients that publish are read from in small portions, at intervals.
    Slowing,
    /// From 95 %: no client is let in, but to a session that it has.
    Refusing,
    /// All of it is used: no message and no subscription is taken. What was acknowledged stays.
    Full,
}

impl MemoryStage {
    /// All stages, in their order.
    pub const ALL: [Self; 5] = [
        Self::Calm,
        Self::Shedding,
        Self::Slowing,
        Self::Refusing,
        Self::Full,
    ];

    /// From how many per cent of the limit it holds, and down to how many.
    const fn percent(self) -> (u64, u64) {
        match self {
            Self::Calm => (0, 0),
            Self::Shedding => (75, 70),
            Self::Slowing => (85, 80),
            Self::Refusing => (95, 90),
            Self::Full => (100, 97),
        }
    }

    fn from_index(index: u8) -> Self {
        Self::ALL
            .get(usize::from(index))
            .copied()
            .unwrap_or_default()
    }

    /// Returns the stage after this one, with so much of the limit used.
    fn next(self, used: u64, limit: u64) -> Self {
        let holds = |stage: &Self| {
            let (from, down_to) = stage.percent();
            let percent = if *stage > self { from } else { down_to };
            // Of a limit, not of an overflow.
            u128::from(used) * 100 >= u128::from(limit) * u128::from(percent)
        };
        Self::ALL.into_iter().rfind(holds).unwrap_or_default()
    }
}

/// What the workers know of their memory together.
#[derive(Debug, Default)]
pub(super) struct SharedMemory {
    used: AtomicI64,
    stage: AtomicU8,
    /// How often each stage was entered from below.
    entered: [AtomicU64; MemoryStage::ALL.len()],
}

impl SharedMemory {
    pub(super) fn used(&self) -> u64 {
        u64::try_from(self.used.load(Ordering::Relaxed)).unwrap_or(0)
    }

    pub(super) fn stage(&self) -> MemoryStage {
        MemoryStage::from_index(self.stage.load(Ordering::Relaxed))
    }

    pub(super) fn entered(&self, stage: MemoryStage) -> u64 {
        let counter = self.entered.get(usize::from(stage as u8));
        counter.map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    pub(super) fn add(&self, bytes: i64, limit: u64) {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let used = u64::try_from(before.saturating_add(bytes)).unwrap_or(0);
        let stage = self.stage();
        let next = stage.next(used, limit);
        // Whoever changes it last may have counted first: the next step puts that right.
        if next != stage {
            self.stage.store(next as u8, Ordering::Relaxed);
            let index = usize::from(next as u8);
            if let Some(counter) = self.entered.get(index).filter(|_| next > stage) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// The sum of one worker.
#[derive(Debug)]
pub(super) struct Memory {
    shared: Arc<SharedMemory>,
    limit: u64,
    /// What the others do not know yet.
    pending: i64,
}

impl Memory {
    pub(super) fn new(shared: Arc<SharedMemory>, limit: u64) -> Self {
        Self {
            shared,
            limit,
            pending: 0,
        }
    }

    pub(super) fn stage(&self) -> MemoryStage {
        self.shared.stage()
    }

    /// Notes that what counted as `before` counts as `after` now.
    pub(super) fn recount(&mut self, before: &mut u64, after: u64) {
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let change = signed(after).saturating_sub(signed(*before));
        *before = after;
        self.pending = self.pending.saturating_add(change);
        if self.pending.abs() >= STEP_BYTES {
            self.publish();
        }
    }

    /// Tells the others.
    pub(super) fn publish(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        if pending != 0 {
            self.shared.add(pending, self.limit);
        }
    }
}

impl Core {
    /// Says how many encoded bytes of a connection wait to be written: they count as memory. A driver
    /// that writes all there is in its turn need not say so.
    pub fn handle_output(&mut self, id: ConnectionId, waiting: usize) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        if connection.output_bytes != waiting {
            connection.output_bytes = waiting;
            self.count_connection(id);
        }
    }

    /// Ends a connection that has begun a large packet when no memory is left for it.
    pub(super) fn end_hoarding(&mut self, id: ConnectionId, now: Instant) {
        if self.memory.stage() < MemoryStage::Full {
            return;
        }
        if let Some(connection) = self.connection_mut(id)
            && connection.hoarded_bytes() > HOARD_BYTES_MAX
        {
            connection.session.disconnect(ReasonCode::QuotaExceeded);
            self.handle_events(id, now);
            self.settle(id);
            self.drop_overflowed(now);
        }
    }

    /// Returns what is counted in all, to the last byte.
    #[cfg(test)]
    pub(super) fn memory_balance(&mut self) -> i64 {
        self.memory.publish();
        self.directory.memory.used.load(Ordering::Relaxed)
    }

    /// Counts what a connection holds.
    pub(super) fn count_connection(&mut self, id: ConnectionId) {
        let Self {
            connections,
            exchanges,
            memory,
            ..
        } = self;
        let Some(connection) = super::connection::find_mut(connections, id) else {
            return;
        };
        let status = connection.session.queue_status();
        let messages = status.queued_messages.saturating_add(status.inflight);
        let held = connection
            .unread_capacity()
            .saturating_add(connection.output_bytes)
            .saturating_add(connection.session.response_bytes())
            .saturating_add(connection.session.alias_bytes())
            .saturating_add(connection.asked_bytes())
            .saturating_add(exchanges.note_bytes(id));
        let after = CONNECTION_BYTES
            .saturating_add(wide(messages).saturating_mul(MESSAGE_BYTES))
            .saturating_add(status.queued_bytes)
            .saturating_add(status.inflight_bytes)
            .saturating_add(wide(held));
        memory.recount(&mut connection.counted_bytes, after);
    }

    /// A connection is gone, and what it held.
    pub(super) fn uncount_connection(&mut self, id: ConnectionId) {
        let Self {
            connections,
            memory,
            ..
        } = self;
        if let Some(connection) = super::connection::find_mut(connections, id) {
            memory.recount(&mut connection.counted_bytes, 0);
        }
    }

    /// Counts what a session of this worker holds, beside what its connection does.
    pub(super) fn count_session(&mut self, key: SessionKey) {
        if let Some(entry) = self.sessions.get_mut(key) {
            let after = weight(entry);
            self.memory.recount(&mut entry.counted_bytes, after);
        }
    }

    /// A session has left this worker, and what it held.
    pub(super) fn uncount_session(&mut self, entry: &mut Entry) {
        self.memory.recount(&mut entry.counted_bytes, 0);
    }
}

fn weight(entry: &Entry) -> u64 {
    let names = entry
        .client_id
        .len()
        .saturating_add(entry.identity.as_deref().map_or(0, str::len));
    let absent = match &entry.presence {
        Presence::Connected(_) => 0,
        Presence::Absent(absent) => {
            let status = absent.state.queue_status();
            let messages = status.queued_messages.saturating_add(status.inflight);
            let will = absent.will.as_ref().map_or(0, |(will, _)| will_bytes(will));
            wide(messages)
                .saturating_mul(MESSAGE_BYTES)
                .saturating_add(status.queued_bytes)
                .saturating_add(status.inflight_bytes)
                .saturating_add(wide(will))
        }
    };
    SESSION_BYTES
        .saturating_add(wide(names))
        .saturating_add(entry.filters.counted_bytes())
        .saturating_add(absent)
}

/// Returns how many bytes a will holds.
pub(super) fn will_bytes(will: &Will<Shared>) -> usize {
    let properties = will.properties.as_bytes().len();
    let topic = will.topic.len().saturating_add(properties);
    topic.saturating_add(will.payload.len())
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_left_further_down_than_it_was_entered() {
        use MemoryStage::{Calm, Full, Refusing, Shedding, Slowing};
        let mut stage = Calm;
        for (used, expected) in [
            (0, Calm),
            (74, Calm),
            (75, Shedding),
            (71, Shedding),
            (84, Shedding),
            (85, Slowing),
            (80, Slowing),
            (79, Shedding),
            (96, Refusing),
            (100, Full),
            (98, Full),
            (96, Refusing),
            (89, Slowing),
            (69, Calm),
            (250, Full),
            (0, Calm),
        ] {
            stage = stage.next(used, 100);
            assert_eq!(stage, expected, "{used}");
        }
        assert_eq!(Calm.next(u64::MAX - 1, u64::MAX), Refusing);
    }

    #[test]
    fn a_worker_tells_the_others_in_steps() {
        let shared = Arc::new(SharedMemory::default());
        let mut memory = Memory::new(Arc::clone(&shared), 1_000_000);
        let mut counted = 0;
        memory.recount(&mut counted, 60_000);
        assert_eq!(shared.used(), 0);
        memory.recount(&mut counted, 800_000);
        assert_eq!(
            (shared.used(), memory.stage()),
            (800_000, MemoryStage::Shedding)
        );
        assert_eq!(shared.entered(MemoryStage::Shedding), 1);
        memory.recount(&mut counted, 0);
        assert_eq!((shared.used(), memory.stage()), (0, MemoryStage::Calm));
    }
}
