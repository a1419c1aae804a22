//! What is done when time has passed.

use mqttstack_limits::Instant;

use super::{
    Core,
    connection::{find, find_mut},
    keys::ConnectionId,
    timers::Timer,
};

impl Core {
    /// Returns when [`handle_timeout`](Self::handle_timeout) has to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let next = self.timers.next();
        [next, self.work.due(), self.leavings.due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Deadlines may have passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.resume_waiting(now);
        self.work.begin();
        // What is left then is still due: the driver calls again, and others have their turn between.
        while !self.work.is_enough()
            && let Some((timer, at)) = self.timers.pop_due(now)
        {
            self.work.count(1);
            match timer {
                Timer::Connection(id) => self.on_connection_due(id, at, now),
                Timer::Decision(id) => self.on_decision_due(id, now),
                Timer::Slowed(id) => self.on_slowed_due(id, now),
                Timer::Status => self.on_status_due(now),
                Timer::Will(key) => self.on_will_due(key, now),
                Timer::SessionExpiry(key) => self.on_session_expired(key, now),
                Timer::RetainedExpiry => self.on_retained_expired(now),
            }
            self.drop_overflowed(now);
        }
        self.clear_filters();
        self.conclude(now);
    }

    /// Puts the deadline of a connection elsewhere.
    pub(super) fn move_deadline(&mut self, id: ConnectionId, to: Instant) {
        let Some(connection) = find_mut(&mut self.connections, id) else {
            return;
        };
        let from = std::mem::replace(&mut connection.timer_at, to);
        self.timers.cancel(Timer::Connection(id), from);
        self.timers.schedule(Timer::Connection(id), to);
        if self.timers.is_cluttered() {
            let connections = &self.connections;
            self.timers.clear_out(|id, at| {
                find(connections, id).is_some_and(|connection| connection.timer_at == at)
            });
        }
    }

    fn on_connection_due(&mut self, id: ConnectionId, at: Instant, now: Instant) {
        let connection = find_mut(&mut self.connections, id);
        let Some(connection) = connection.filter(|connection| connection.timer_at == at) else {
            return self.timers.note_cancelled();
        };
        connection.timer_at = Instant::NEVER;
        // Whoever was busy may be quiet now.
        connection.session.rest();
        // The session reports the end as an event.
        let _ = connection.session.handle_timeout(now);
        if connection.packet_deadline() <= now {
            connection.session.handle_packet_timeout();
        }
        self.handle_events(id, now);
        self.settle(id);
    }

    pub(super) fn schedule_retained_expiry(&mut self, at: Option<Instant>) {
        let Some(at) = at.filter(|at| *at < self.retained_timer) else {
            return;
        };
        self.timers
            .cancel(Timer::RetainedExpiry, self.retained_timer);
        self.timers.schedule(Timer::RetainedExpiry, at);
        self.retained_timer = at;
    }

    fn on_retained_expired(&mut self, now: Instant) {
        /// How many messages are removed at once.
        const SLICE: usize = 1_000;
        let mut retained = self.directory.retained.write();
        let mut before = retained.counted_bytes();
        retained.expire(now, SLICE);
        let (after, next) = (retained.counted_bytes(), retained.next_deadline());
        drop(retained);
        self.memory.recount(&mut before, after);
        self.retained_timer = Instant::NEVER;
        self.schedule_retained_expiry(next);
    }
}
