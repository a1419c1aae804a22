//! How connections and sessions end, and what becomes of wills.

use std::{sync::Arc, time::Duration};

use mqttstack_codec::{PacketType, ReasonCode, Sender, Shared, Will};
use mqttstack_limits::{Instant, Limits};
use mqttstack_session::{
    Message, SessionState,
    fault::{self, Fault},
    journal::Change,
    server::{EndCause, Ended},
};
use mqttstack_topic::{CharacterPolicy, TopicLimits};

use super::{
    Core,
    connection::find_mut,
    keys::{ConnectionId, SessionKey},
    notice::Notice,
    session_table::{Absent, Presence},
    timers::Timer,
};

/// A Session Expiry Interval that never passes.
const NEVER_EXPIRES: u32 = u32::MAX;

/// What the topic of a message is held to that comes from here: it was checked when it came.
pub(super) const CHECKED_BEFORE: TopicLimits = TopicLimits {
    levels_max: u8::MAX,
    bytes_max: u16::MAX,
    characters: CharacterPolicy::Accept,
};

impl Core {
    /// A connection is over: its session, if it has one, stays or goes, and so does its will.
    pub(super) fn on_ended(&mut self, id: ConnectionId, ended: Ended, now: Instant) {
        let Some(connection) = find_mut(&mut self.connections, id) else {
            return;
        };
        connection.drop_unread();
        connection.admission = None;
        connection.has_left = matches!(ended.cause, EndCause::ClientDisconnected(_));
        let state = connection.session.detach();
        let limits = Arc::clone(connection.limits());
        let peer = connection.peer(&self.listeners);
        let key = connection.key.take();
        self.drop_question(id);
        self.exchanges.forget(id);
        let entry = key.and_then(|key| self.sessions.get(key));
        if let Some(entry) = entry {
            self.access.on_disconnect(&entry.client(), &ended.cause);
        }
        let client_id = entry.map(|entry| Box::from(&*entry.client_id));
        if let Some(key) = key {
            // What was dropped since its last turn.
            self.note_drops(key, ended.dropped, now);
        }
        match (key, state) {
            (Some(key), Some(state)) => self.leave(key, state, limits, &ended, now),
            // Whoever was accepted has a state; without one there is no session to keep.
            (Some(key), None) => self.remove_session(key, now),
            (None, _) => self.note_decided(),
        }
        self.notices.push_back(Notice::Ended {
            peer,
            client_id,
            cause: ended.cause,
        });
    }

    /// The client of a session is gone.
    fn leave(
        &mut self,
        key: SessionKey,
        state: SessionState,
        limits: Arc<Limits>,
        ended: &Ended,
        now: Instant,
    ) {
        let will = ended.will.clone().filter(|_| !self.is_shutting_down);
        let expiry = ended.session_expiry_interval;
        if expiry == 0 {
            let message = will.and_then(|will| self.will_message(key, &will, now));
            self.note_last_words(key, message.as_ref());
            self.end_session(key, state, now);
            self.publish_will(key, message, now);
            return;
        }
        let expires_at = expires_at(expiry, now);
        // The will is due after its delay, or when the session ends (v5 MQTT-3.1.2-8).
        let delay = will
            .as_ref()
            .and_then(|will| will.properties.will_delay_interval());
        let due = expires_at.min(now + Duration::from_secs(delay.unwrap_or(0).into()));
        let (at_once, later) = match will {
            Some(will) if due <= now => (Some(will), None),
            Some(will) => (None, Some((will, due))),
            None => (None, None),
        };
        let will_at = later.as_ref().map(|(_, due)| *due);
        if later.is_some() {
            self.timers.schedule(Timer::Will(key), due);
        }
        self.timers.schedule(Timer::SessionExpiry(key), expires_at);
        if let Some(entry) = self.sessions.get_mut(key) {
            let absent = Absent {
                state,
                limits,
                expires_at,
                will: later,
            };
            entry.presence = Presence::Absent(Box::new(absent));
            if entry.filters.shared_count > 0 {
                self.directory.set_member_absent(key, true);
            }
        }
        self.write_disconnected(key, expires_at, will_at);
        // What is given up with the connection, QoS 0 that waited for it, is nobody's loss to tell of.
        self.overlook_drops(key);
        self.count_session(key);
        let message = at_once.and_then(|will| self.will_message(key, &will, now));
        self.publish_will(key, message, now);
    }

    /// Takes back what was planned for a session whose client was away.
    pub(super) fn cancel_timers(&mut self, key: SessionKey, absent: &Absent) {
        self.timers
            .cancel(Timer::SessionExpiry(key), absent.expires_at);
        if let Some((_, due)) = &absent.will {
            self.timers.cancel(Timer::Will(key), *due);
        }
    }

    /// Returns the message that a will becomes, if its client may still publish to its topic.
    pub(super) fn will_message(
        &mut self,
        key: SessionKey,
        will: &Will<Shared>,
        now: Instant,
    ) -> Option<Message> {
        if !self.may_publish(key, &will.topic) {
            return None;
        }
        let message = Message::from_will(will, now);
        self.note_published(key, &message);
        Some(message)
    }

    /// A session that ends publishes its will when it is gone: to whom is not known yet.
    fn note_last_words(&mut self, key: SessionKey, message: Option<&Message>) {
        if message.is_some()
            && let Some(entry) = self.sessions.get_mut(key)
        {
            entry.published_elsewhere = true;
        }
    }

    pub(super) fn publish_will(&mut self, key: SessionKey, message: Option<Message>, now: Instant) {
        if let Some(message) = message {
            self.publish(Some(key), message, CHECKED_BEFORE, now);
        }
    }

    pub(super) fn on_will_due(&mut self, key: SessionKey, now: Instant) {
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        let Presence::Absent(absent) = &mut entry.presence else {
            return;
        };
        if absent.will.as_ref().is_none_or(|(_, due)| *due > now) {
            return;
        }
        let Some((will, _)) = absent.will.take() else {
            return;
        };
        self.write_change(key, || Change::WillPublished);
        let message = self.will_message(key, &will, now);
        self.publish_will(key, message, now);
    }

    pub(super) fn on_session_expired(&mut self, key: SessionKey, now: Instant) {
        let Some(entry) = self.sessions.get(key) else {
            return;
        };
        let Presence::Absent(absent) = &entry.presence else {
            return;
        };
        if absent.expires_at <= now && !fault::is_on(Fault::SessionForEver) {
            self.end_absent(key, now);
        }
    }

    /// Ends a session whose client is away: its will, if one is pending, is published.
    pub(super) fn end_absent(&mut self, key: SessionKey, now: Instant) {
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        let Presence::Absent(absent) = &mut entry.presence else {
            return;
        };
        let (expires_at, will) = (absent.expires_at, absent.will.take());
        let state = std::mem::take(&mut absent.state);
        self.timers.cancel(Timer::SessionExpiry(key), expires_at);
        let message = will.and_then(|(will, due)| {
            self.timers.cancel(Timer::Will(key), due);
            self.will_message(key, &will, now)
        });
        self.note_last_words(key, message.as_ref());
        self.end_session(key, state, now);
        self.publish_will(key, message, now);
    }

    /// Notes that a session cannot take what it is owed. It is ended at the end of the call, not in
    /// the middle of a delivery: its will may overflow the next one, and so on.
    pub(super) fn note_overflow(&mut self, key: SessionKey) {
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        if !std::mem::replace(&mut entry.is_overflowed, true) {
            self.overflowed.push_back(key);
        }
    }

    /// What each call ends with: the sessions end that could not take what they were owed, and what
    /// all that have ended leave to others goes to them.
    pub(super) fn conclude(&mut self, now: Instant) {
        self.drop_overflowed(now);
        self.hand_on_estates(now);
    }

    /// Ends the sessions that could not take what they were owed.
    pub(super) fn drop_overflowed(&mut self, now: Instant) {
        while let Some(key) = self.overflowed.pop_front() {
            self.drop_session(key, ReasonCode::QuotaExceeded, now);
        }
    }

    /// Ends a session that cannot take what it is owed; a client that is here is told.
    fn drop_session(&mut self, key: SessionKey, reason: ReasonCode, now: Instant) {
        let Some(entry) = self.sessions.get(key) else {
            return;
        };
        let client_id = Box::from(&*entry.client_id);
        if let Some(id) = self.connection_of(key) {
            if let Some(connection) = self.connection_mut(id) {
                connection.session.disconnect(reason);
            }
            self.handle_events(id, now);
            self.settle(id);
        }
        self.end_absent(key, now);
        self.counts.sessions_dropped.add(1);
        self.notices
            .push_back(Notice::SessionDropped { client_id, reason });
    }

    /// Says why a connection that was never accepted is refused.
    pub(super) fn refuse(&mut self, id: ConnectionId, reason: ReasonCode, now: Instant) {
        // Whoever decides may name any code; CONNACK has but some.
        let reason = match reason.is_allowed(PacketType::ConnAck, Sender::Server) {
            true if reason.is_error() => reason,
            _ => ReasonCode::UnspecifiedError,
        };
        if let Some(connection) = self.connection_mut(id) {
            connection.session.refuse(reason);
            self.counts.connects_refused.add(1);
        }
        self.handle_events(id, now);
        self.settle(id);
    }

    /// Ends the connection of a client because another one has taken its place.
    pub(super) fn end_taken_over(&mut self, key: SessionKey, now: Instant) {
        let Some(id) = self.connection_of(key) else {
            return;
        };
        if let Some(connection) = self.connection_mut(id) {
            connection.session.disconnect(ReasonCode::SessionTakenOver);
        }
        self.handle_events(id, now);
        self.settle(id);
    }
}

/// Returns when a session ends whose client goes at `now`.
pub(super) fn expires_at(session_expiry_interval: u32, now: Instant) -> Instant {
    match session_expiry_interval {
        NEVER_EXPIRES => Instant::NEVER,
        seconds => now + Duration::from_secs(seconds.into()),
    }
}

/// Says whether an end is worth more than a line of routine.
impl Notice {
    /// Returns whether the notice is about something that went wrong.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::Connected { .. } => false,
            Self::SessionDropped { .. } | Self::MessagesDropped { .. } => true,
            Self::Ended { cause, .. } => match cause {
                EndCause::ClientDisconnected(reason) => reason.is_error(),
                EndCause::ServerDisconnected(reason) => *reason != ReasonCode::ServerShuttingDown,
                EndCause::TransportClosed | EndCause::Protocol(_) | EndCause::Refused(_) => true,
                // The list of causes is open: what is not known here is worth a look.
                _ => true,
            },
        }
    }
}
