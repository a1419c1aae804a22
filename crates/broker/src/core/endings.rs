//! Sessions that are over, where the store has not heard of it yet.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use mqttstack_session::journal::SessionNumber;

/// By Client Identifier, the sessions whose end is not stored, with whatever worker.
///
/// A crash would bring them back, so whoever lets their client in on another session writes down
/// once more that they are over, and says so when that is stored.
#[derive(Debug, Default)]
pub(super) struct Endings(Mutex<HashMap<Box<str>, Vec<SessionNumber>>>);

impl Endings {
    /// A session is over, which a worker is about to write down.
    pub(super) fn begin(&self, client_id: &str, number: SessionNumber) {
        let mut endings = self.lock();
        endings.entry(client_id.into()).or_default().push(number);
    }

    /// It is stored.
    pub(super) fn finish(&self, client_id: &str, number: SessionNumber) {
        let mut endings = self.lock();
        if let Some(numbers) = endings.get_mut(client_id) {
            numbers.retain(|it| *it != number);
            if numbers.is_empty() {
                endings.remove(client_id);
            }
        }
    }

    /// Returns the sessions of a client that a crash would bring back.
    pub(super) fn of(&self, client_id: &str) -> Vec<SessionNumber> {
        self.lock().get(client_id).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Vec<SessionNumber>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
