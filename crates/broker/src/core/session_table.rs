//! The sessions that a worker owns, connected or not.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mqttstack_codec::{Shared, Will};
use mqttstack_limits::{Instant, Limits};
use mqttstack_session::{SessionState, journal::SessionNumber};
use mqttstack_topic::Cursor;

use super::{
    access::Client,
    directory::Granted,
    filters::Filters,
    keys::{ConnectionId, SessionKey, WorkerId},
    locations::{Location, Locations},
    slots::Slots,
};

/// A session of this worker.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: SessionKey,
    /// Shared with the directory.
    pub(super) client_id: Arc<str>,
    /// Whom the client's credentials proved; a session stays bound to it.
    pub(super) identity: Option<Box<str>>,
    pub(super) filters: Filters,
    /// What the session counts as, beside what its connection does.
    pub(super) counted_bytes: u64,
    /// How many of its messages are known to have been dropped, and when that is told again.
    pub(super) drops: Drops,
    /// Retained messages that subscriptions are still owed.
    pub(super) owed: Owed,
    /// Whether it is to be dropped, because its queue is full.
    pub(super) is_overflowed: bool,
    /// Whether its client says that it is a bridge.
    pub(super) is_bridge: bool,
    /// Whether something that its client published has gone to other workers.
    pub(super) published_elsewhere: bool,
    /// Whether it has come from another worker, and letters that went to its old place may still
    /// be under way.
    pub(super) is_arriving: bool,
    /// What its store calls it, if it outlives its connection and the process.
    pub(super) number: Option<SessionNumber>,
    pub(super) presence: Presence,
}

impl Entry {
    /// A session of which there is nothing to tell yet.
    pub(super) fn new(
        key: SessionKey,
        client_id: Arc<str>,
        identity: Option<Box<str>>,
        presence: Presence,
    ) -> Self {
        Self {
            key,
            client_id,
            identity,
            filters: Filters::default(),
            counted_bytes: 0,
            drops: Drops::default(),
            owed: Owed::default(),
            is_overflowed: false,
            is_bridge: false,
            published_elsewhere: false,
            is_arriving: false,
            number: None,
            presence,
        }
    }

    /// Returns whose it is.
    pub(super) fn client(&self) -> Client<'_> {
        Client {
            client_id: &self.client_id,
            identity: self.identity.as_deref(),
        }
    }
}

/// How often the log is told of messages that a client did not take, at most.
const DROPS_TOLD_EVERY: Duration = Duration::from_secs(60);

/// Messages that a session had no room for, or that were larger than its client takes; mostly there
/// are none.
#[derive(Clone, Debug, Default)]
pub(super) struct Drops(Option<Box<CountedDrops>>);

#[derive(Clone, Debug, Default)]
struct CountedDrops {
    /// How many its queue has counted, as far as that is known.
    of_queue: u64,
    /// How many the log has not been told of.
    untold: u64,
    /// When it is told next, at the soonest.
    next: Instant,
}

impl Drops {
    /// Counts messages that never came to the queue, because there was no memory or no room for them.
    pub(super) fn miss(&mut self, count: u64) {
        if count > 0 {
            let drops = self.0.get_or_insert_default();
            drops.untold = drops.untold.saturating_add(count);
        }
    }

    /// Notes how many the queue has counted; returns how many are new.
    pub(super) fn count(&mut self, of_queue: u64) -> u64 {
        if self.0.is_none() && of_queue == 0 {
            return 0;
        }
        let drops = self.0.get_or_insert_default();
        let before = std::mem::replace(&mut drops.of_queue, of_queue);
        let new = of_queue.saturating_sub(before);
        drops.untold = drops.untold.saturating_add(new);
        new
    }

    /// Notes how many the queue has counted, where that is as it should be: at QoS 0, with the
    /// client away.
    pub(super) fn overlook(&mut self, of_queue: u64) {
        if self.0.is_some() || of_queue > 0 {
            self.0.get_or_insert_default().of_queue = of_queue;
        }
    }

    /// Returns how many the log has to be told of now.
    pub(super) fn tell(&mut self, now: Instant) -> Option<u64> {
        let drops = self.0.as_mut()?;
        if drops.untold == 0 || now < drops.next {
            return None;
        }
        drops.next = now + DROPS_TOLD_EVERY;
        Some(std::mem::take(&mut drops.untold))
    }
}

/// The retained messages that the subscriptions of a session are owed, by filter; mostly there are
/// none.
#[derive(Clone, Debug, Default)]
pub(super) struct Owed(
    #[expect(
        clippy::box_collection,
        reason = "one word instead of three, in every session"
    )]
    Option<Box<BTreeMap<Box<str>, OwedRetained>>>,
);

/// The retained messages that a new subscription gets, in slices.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwedRetained {
    pub(super) granted: Granted,
    /// Where to go on.
    pub(super) cursor: Cursor,
}

impl Owed {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |all| all.len())
    }

    /// A subscription is owed all that its filter matches, from the beginning.
    pub(super) fn begin(&mut self, filter: &str, granted: Granted) {
        let cursor = Cursor::START;
        let all = self.0.get_or_insert_default();
        all.insert(filter.into(), OwedRetained { granted, cursor });
    }

    /// A subscription was granted something else; what it is owed comes with that.
    pub(super) fn grant(&mut self, filter: &str, granted: Granted) {
        if let Some(owed) = self.0.as_mut().and_then(|all| all.get_mut(filter)) {
            owed.granted = granted;
        }
    }

    /// Returns what the first of the filters is owed.
    pub(super) fn first(&self) -> Option<(&str, OwedRetained)> {
        let (filter, owed) = self.0.as_ref()?.first_key_value()?;
        Some((filter, *owed))
    }

    /// Notes where to go on with the first of the filters; `None` if it is owed nothing more.
    pub(super) fn go_on(&mut self, cursor: Option<Cursor>) {
        let Some(first) = self.0.as_mut().and_then(|all| all.first_entry()) else {
            return;
        };
        match cursor {
            Some(cursor) => first.into_mut().cursor = cursor,
            None => {
                first.remove();
                self.forget_empty();
            }
        }
    }

    /// A subscription is over.
    pub(super) fn remove(&mut self, filter: &str) {
        if let Some(all) = &mut self.0 {
            all.remove(filter);
            self.forget_empty();
        }
    }

    fn forget_empty(&mut self) {
        self.0.take_if(|all| all.is_empty());
    }
}

/// Where the peer of a session is.
#[derive(Debug)]
pub(super) enum Presence {
    /// On this connection, which holds the state.
    Connected(ConnectionId),
    /// Away.
    Absent(Box<Absent>),
}

/// What is kept of a session whose client is away.
#[derive(Debug)]
pub(super) struct Absent {
    pub(super) state: SessionState,
    /// The limits of its last connection.
    pub(super) limits: Arc<Limits>,
    pub(super) expires_at: Instant,
    /// A will that waits for its delay, and when it is due.
    pub(super) will: Option<(Will<Shared>, Instant)>,
}

/// The sessions of a worker, by key.
#[derive(Debug)]
pub(super) struct SessionTable {
    worker: WorkerId,
    locations: Arc<Locations>,
    entries: Slots<Entry>,
}

impl SessionTable {
    pub(super) fn new(worker: WorkerId, locations: Arc<Locations>) -> Self {
        Self {
            worker,
            locations,
            entries: Slots::default(),
        }
    }

    /// Puts a session in: from now on it is here.
    pub(super) fn insert(&mut self, entry: Entry) {
        let key = entry.key;
        let location = Location {
            worker: self.worker,
            entry: Some(self.entries.insert(entry)),
        };
        self.locations.set(key, location);
    }

    pub(super) fn get(&self, key: SessionKey) -> Option<&Entry> {
        let index = self.index(key)?;
        self.entries.get(index).filter(|entry| entry.key == key)
    }

    pub(super) fn get_mut(&mut self, key: SessionKey) -> Option<&mut Entry> {
        let index = self.index(key)?;
        self.entries.get_mut(index).filter(|entry| entry.key == key)
    }

    /// Returns a session whose place has just been looked up.
    pub(super) fn at_mut(&mut self, key: SessionKey, at: Option<Location>) -> Option<&mut Entry> {
        let at = at.filter(|at| at.worker == self.worker)?;
        self.entries
            .get_mut(at.entry?)
            .filter(|entry| entry.key == key)
    }

    /// Takes a session out; where it is now is for the caller to note.
    pub(super) fn remove(&mut self, key: SessionKey) -> Option<Entry> {
        self.get(key)?;
        self.entries.remove(self.index(key)?)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn index(&self, key: SessionKey) -> Option<usize> {
        let location = self.locations.of(key)?;
        location.entry.filter(|_| location.worker == self.worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_takes_little_beside_its_name() {
        assert!(size_of::<Entry>() <= 120, "{}", size_of::<Entry>());
    }
}
