//! How much one connection may make the worker do before the others have their turn.

use std::collections::VecDeque;

use mqttstack_limits::Instant;

use super::{Core, keys::ConnectionId};

/// How many packets and deliveries one call may come to, about. A packet counts as one, and so does
/// each subscription that a message matches: seven bytes can mean a hundred thousand deliveries. About
/// ten milliseconds. Less would have a message to a thousand subscribers leave with a system call
/// for each, where fifty that came together can share it.
const WORK_MAX: usize = 50_000;

/// How many steps of a lookup make a unit. A name takes ten or so, unless others have subscribed to
/// filters with wildcards so that it meets a great many: a million take a good part of a second.
const STEPS_PER_UNIT: usize = 4;

/// How many units a level of a filter or name comes to that enters an index or leaves it.
const UNITS_PER_LEVEL: usize = 2;

/// What has been done in this call, and which connections have to wait for another.
#[derive(Debug, Default)]
pub(super) struct Work {
    done: usize,
    waiting: VecDeque<ConnectionId>,
    /// When the first of them was told to wait.
    since: Instant,
}

impl Work {
    /// Counts packets or deliveries.
    pub(super) fn count(&mut self, units: usize) {
        self.done = self.done.saturating_add(units);
    }

    /// Counts what a message matches, and the steps that it took to find that.
    pub(super) fn count_lookup(&mut self, matches: usize, steps: usize) {
        self.count(matches.saturating_add(steps / STEPS_PER_UNIT));
    }

    /// Counts the levels of a filter or name that enters an index, or leaves it.
    pub(super) fn count_levels(&mut self, levels: u8) {
        self.count(usize::from(levels).saturating_mul(UNITS_PER_LEVEL));
    }

    /// Counts filters that leave the index, of which each takes so many steps.
    pub(super) fn count_removed(&mut self, filters: usize, steps_each: u64) {
        let steps_each = usize::try_from(steps_each).unwrap_or(usize::MAX);
        let steps = filters.saturating_add(1).saturating_mul(steps_each);
        self.count(steps.saturating_mul(UNITS_PER_LEVEL));
    }

    /// Begins another share, of a connection or of what is due.
    pub(super) fn begin(&mut self) {
        self.done = 0;
    }

    pub(super) const fn is_enough(&self) -> bool {
        self.done >= WORK_MAX
    }

    /// Returns when somebody who waits has to be taken up again: at once.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.since)
    }
}

impl Core {
    /// Has a connection wait for its next turn, since it has made enough work in this one or the store
    /// is behind.
    pub(super) fn end_share(&mut self, id: ConnectionId, now: Instant) {
        if let Some(connection) = self.connection_mut(id) {
            connection.has_had_its_share = true;
        }
        if self.journal.is_full() {
            return self.journal.pause(id);
        }
        if self.work.waiting.is_empty() {
            self.work.since = now;
        }
        self.work.waiting.push_back(id);
    }

    /// Takes up those who had to wait, each for another share.
    pub(super) fn resume_waiting(&mut self, now: Instant) {
        for _ in 0..self.work.waiting.len() {
            let Some(id) = self.work.waiting.pop_front() else {
                return;
            };
            self.end_pause(id, now);
            self.conclude(now);
        }
    }

    /// Takes up a connection that had to wait, for another share.
    pub(super) fn end_pause(&mut self, id: ConnectionId, now: Instant) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        connection.has_had_its_share = false;
        self.work.begin();
        self.handle_unread(id, now);
        // The driver may read on.
        self.mark_dirty(id);
        self.settle(id);
    }
}
