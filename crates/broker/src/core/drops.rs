//! Messages that a session had no room for: counted, and told to the log.

use mqttstack_limits::Instant;

use super::{Core, keys::SessionKey, notice::Notice, session_table::Presence};

impl Core {
    /// A QoS 0 message was dropped because memory is short.
    pub(super) fn note_shed(&mut self, key: SessionKey, now: Instant) {
        self.counts.messages_shed.add(1);
        if let Some(entry) = self.sessions.get_mut(key) {
            entry.drops.miss(1);
            self.tell_drops(key, now);
        }
    }

    /// The queue of a session has counted so many messages that it had no room for, or that were
    /// larger than its client takes.
    pub(super) fn note_drops(&mut self, key: SessionKey, dropped: u64, now: Instant) {
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        let count = entry.drops.count(dropped);
        if count > 0 {
            self.counts.messages_dropped.add(count);
            self.tell_drops(key, now);
        }
    }

    /// Takes what the queue of a session has counted so far as it is: a connection begins or ends.
    pub(super) fn overlook_drops(&mut self, key: SessionKey) {
        let of_connection = self
            .connection_of(key)
            .and_then(|id| self.connection(id))
            .map(|connection| connection.session.queue_status().dropped);
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        let dropped = match &entry.presence {
            Presence::Connected(_) => of_connection,
            Presence::Absent(absent) => Some(absent.state.queue_status().dropped),
        };
        if let Some(dropped) = dropped {
            entry.drops.overlook(dropped);
        }
    }

    /// Tells the log of messages that were dropped, but not of each.
    pub(super) fn tell_drops(&mut self, key: SessionKey, now: Instant) {
        if let Some(entry) = self.sessions.get_mut(key)
            && let Some(count) = entry.drops.tell(now)
        {
            let client_id = Box::from(&*entry.client_id);
            self.notices
                .push_back(Notice::MessagesDropped { client_id, count });
        }
    }
}
