//! The sessions that a worker owns, connected or not.

use std::{collections::BTreeMap, sync::Arc};

use mqttstack_codec::{Shared, Will};
use mqttstack_limits::{Instant, Limits};
use mqttstack_session::SessionState;
use mqttstack_topic::Cursor;
use slab::Slab;

use super::directory::Granted;
use super::keys::{ConnectionId, SessionKey, WorkerId};

/// A session of this worker.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: SessionKey,
    pub(super) client_id: Box<str>,
    /// Whom the client's credentials proved; a session stays bound to it.
    pub(super) identity: Option<Box<str>>,
    pub(super) subscription_count: u32,
    /// How many of the subscriptions are shared.
    pub(super) shared_count: u32,
    /// Retained messages that subscriptions are still owed, by filter.
    pub(super) owed: BTreeMap<Box<str>, OwedRetained>,
    /// Whether it is to be dropped, because its queue is full.
    pub(super) is_overflowed: bool,
    /// Whether its client says that it is a bridge.
    pub(super) is_bridge: bool,
    pub(super) presence: Presence,
}

/// The retained messages that a new subscription gets, in slices.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwedRetained {
    pub(super) granted: Granted,
    /// Where to go on.
    pub(super) cursor: Cursor,
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
    entries: Slab<Entry>,
    /// Counts the sessions ever made, so that a key is not used again.
    generation: u32,
}

impl SessionTable {
    pub(super) fn new(worker: WorkerId) -> Self {
        Self {
            worker,
            entries: Slab::new(),
            generation: 0,
        }
    }

    /// Returns the key that [`insert`](Self::insert) gives to the next session.
    pub(super) fn next_key(&self) -> SessionKey {
        // The number of sessions is limited well below what a u32 holds.
        let slot = u32::try_from(self.entries.vacant_key()).unwrap_or(u32::MAX);
        SessionKey::new(self.worker, slot, self.generation)
    }

    pub(super) fn insert(
        &mut self,
        client_id: Box<str>,
        identity: Option<Box<str>>,
        presence: Presence,
    ) -> SessionKey {
        let key = self.next_key();
        self.generation = self.generation.wrapping_add(1);
        self.entries.insert(Entry {
            key,
            client_id,
            identity,
            subscription_count: 0,
            shared_count: 0,
            owed: BTreeMap::new(),
            is_overflowed: false,
            is_bridge: false,
            presence,
        });
        key
    }

    pub(super) fn get(&self, key: SessionKey) -> Option<&Entry> {
        self.entries
            .get(key.slot())
            .filter(|entry| entry.key == key)
    }

    pub(super) fn get_mut(&mut self, key: SessionKey) -> Option<&mut Entry> {
        self.entries
            .get_mut(key.slot())
            .filter(|entry| entry.key == key)
    }

    pub(super) fn remove(&mut self, key: SessionKey) -> Option<Entry> {
        self.get(key)?;
        self.entries.try_remove(key.slot())
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
