//! Deadlines, soonest first.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
};

use mqttstack_limits::Instant;

use super::keys::{ConnectionId, SessionKey};

/// What is due.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Timer {
    /// A connection wants its time: CONNECT deadline or keep alive.
    Connection(ConnectionId),
    /// A question about a connection that nobody has answered.
    Decision(ConnectionId),
    /// A client that was slowed down may go on.
    Slowed(ConnectionId),
    /// It is time to say how the broker does.
    Status,
    /// A will whose delay has passed.
    Will(SessionKey),
    /// A session whose expiry interval has passed.
    SessionExpiry(SessionKey),
    /// Retained messages that have expired.
    RetainedExpiry,
}

/// All deadlines of a worker. A deadline that was moved may still ring at its old time: whoever is
/// rung looks whether it is time.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(Instant, Timer)>,
    /// Those of connections, which each have one: in a heap they take half the memory.
    connections: BinaryHeap<Reverse<(Instant, ConnectionId)>>,
    /// How many of `connections` have been cancelled, at least; they stay until they ring, or until
    /// there are too many.
    cancelled: usize,
}

/// So few that are cancelled are left alone.
const CANCELLED_MIN: usize = 64;

impl Timers {
    pub(super) fn schedule(&mut self, timer: Timer, at: Instant) {
        if at == Instant::NEVER {
            return;
        }
        if let Timer::Connection(id) = timer {
            self.connections.push(Reverse((at, id)));
        } else {
            self.due.insert((at, timer));
        }
    }

    pub(super) fn cancel(&mut self, timer: Timer, at: Instant) {
        if at == Instant::NEVER {
            return;
        }
        if let Timer::Connection(_) = timer {
            self.cancelled = self.cancelled.saturating_add(1);
        } else {
            self.due.remove(&(at, timer));
        }
    }

    /// A connection was rung by a deadline that had been cancelled.
    pub(super) fn note_cancelled(&mut self) {
        self.cancelled = self.cancelled.saturating_sub(1);
    }

    /// Returns whether all deadlines of connections have been cancelled, or most of many, so that
    /// they are worth to be [cleared out](Self::clear_out).
    pub(super) fn is_cluttered(&self) -> bool {
        let is_worth_it = self.cancelled > CANCELLED_MIN;
        let (cancelled, all) = (self.cancelled, self.connections.len());
        cancelled >= all || (is_worth_it && cancelled > all / 2)
    }

    /// Drops the deadlines of connections that are not theirs any longer.
    pub(super) fn clear_out(&mut self, mut is_valid: impl FnMut(ConnectionId, Instant) -> bool) {
        self.connections
            .retain(|Reverse((at, id))| is_valid(*id, *at));
        self.connections.shrink_to_fit();
        self.cancelled = 0;
    }

    pub(super) fn next(&self) -> Option<Instant> {
        let of_connections = self.connections.peek().map(|Reverse((at, _))| *at);
        let others = self.due.first().map(|(at, _)| *at);
        of_connections.into_iter().chain(others).min()
    }

    /// Returns what has to be rung, and when it was due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Timer, Instant)> {
        let next = self.next().filter(|next| *next <= now)?;
        if self.due.first().is_some_and(|(at, _)| *at == next) {
            return self.due.pop_first().map(|(at, timer)| (timer, at));
        }
        let Reverse((at, id)) = self.connections.pop()?;
        Some((Timer::Connection(id), at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_ring_in_order_and_only_when_due() {
        let mut timers = Timers::default();
        let at = Instant::from_micros;
        let key = |slot| Timer::Will(SessionKey::new(slot, 0));
        timers.schedule(key(1), at(20));
        timers.schedule(key(2), at(10));
        timers.schedule(key(3), Instant::NEVER);
        timers.schedule(key(4), at(15));
        timers.cancel(key(4), at(15));
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.pop_due(at(9)), None);
        assert_eq!(timers.pop_due(at(30)), Some((key(2), at(10))));
        assert_eq!(timers.pop_due(at(30)), Some((key(1), at(20))));
        assert_eq!(timers.pop_due(at(30)), None);
    }

    #[test]
    fn connections_that_are_gone_do_not_pile_up() {
        let mut timers = Timers::default();
        let at = Instant::from_micros;
        let id = |slot| ConnectionId {
            slot,
            generation: 1,
        };
        let far = at(1_000_000);
        timers.schedule(Timer::Connection(id(0)), far);
        timers.schedule(Timer::Status, at(5));
        for slot in 1..=5_000 {
            timers.schedule(Timer::Connection(id(slot)), far);
            timers.cancel(Timer::Connection(id(slot)), far);
            if timers.is_cluttered() {
                timers.clear_out(|id, _| id.slot == 0);
            }
            assert!(timers.connections.len() <= 130);
        }
        assert_eq!(timers.pop_due(at(5)), Some((Timer::Status, at(5))));
        timers.clear_out(|id, _| id.slot == 0);
        assert_eq!(timers.pop_due(far), Some((Timer::Connection(id(0)), far)));
        assert_eq!(timers.next(), None);
    }
}
