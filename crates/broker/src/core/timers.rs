//! Deadlines, soonest first.

use std::collections::BTreeSet;

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
}

impl Timers {
    pub(super) fn schedule(&mut self, timer: Timer, at: Instant) {
        if at != Instant::NEVER {
            self.due.insert((at, timer));
        }
    }

    pub(super) fn cancel(&mut self, timer: Timer, at: Instant) {
        self.due.remove(&(at, timer));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        self.due.first().filter(|(at, _)| *at <= now)?;
        self.due.pop_first().map(|(_, timer)| timer)
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
        assert_eq!(timers.pop_due(at(30)), Some(key(2)));
        assert_eq!(timers.pop_due(at(30)), Some(key(1)));
        assert_eq!(timers.pop_due(at(30)), None);
    }
}
