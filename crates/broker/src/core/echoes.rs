//! Sessions that have ended while what their clients published is still on its way to other workers.
//!
//! A client that comes again, with another worker, must not overtake itself: what it publishes there
//! would reach a third worker by another way. So a session that has published to other workers keeps
//! its name in the directory until they have handled all of that, and whoever wants the name meanwhile
//! gets it as a session that moves ([`moves`](super::moves)), which waits for the same. Most clients
//! notice nothing; there is one question at a time, for all sessions that have ended since the last.

use std::{collections::BTreeMap, sync::Arc};

use super::{Core, keys::SessionKey, message::WorkerMessage, session_table::Entry};

/// The names that are kept, by Client Identifier.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    names: BTreeMap<Arc<str>, Echo>,
    /// Those that the next question is about.
    fresh: Vec<Arc<str>>,
    /// Those that the present question is about.
    asked: Vec<Arc<str>>,
    /// How many workers have not answered it.
    missing: usize,
}

#[derive(Clone, Copy, Debug)]
struct Echo {
    key: SessionKey,
    /// Whether the present question is about it, not the next.
    is_asked: bool,
}

impl Core {
    /// A session is over, and out of the index: its name goes, now or when nothing of it is under way.
    pub(super) fn release_name(&mut self, entry: Entry) {
        let Entry { client_id, key, .. } = entry;
        let has_others = self.directory.other_workers(self.worker).next().is_some();
        if !entry.published_elsewhere || !has_others {
            return self.directory.remove(&client_id, key);
        }
        self.echoes.fresh.push(Arc::clone(&client_id));
        let echo = Echo {
            key,
            is_asked: false,
        };
        self.echoes.names.insert(client_id, echo);
    }

    /// Asks the other workers whether they have handled what was sent to them, if there are names that
    /// wait for it. Goes behind all other letters.
    pub(super) fn fence_echoes(&mut self) {
        if self.echoes.missing > 0 || self.echoes.fresh.is_empty() {
            return;
        }
        self.echoes.asked = std::mem::take(&mut self.echoes.fresh);
        for name in &self.echoes.asked {
            if let Some(echo) = self.echoes.names.get_mut(name) {
                echo.is_asked = true;
            }
        }
        let from = self.worker;
        for worker in self.directory.other_workers(from) {
            self.echoes.missing = self.echoes.missing.saturating_add(1);
            self.send_letter(worker, WorkerMessage::Fence { from });
        }
    }

    /// A worker has handled all that came before the question.
    pub(super) fn on_fence_reached(&mut self) {
        self.echoes.missing = self.echoes.missing.saturating_sub(1);
        if self.echoes.missing > 0 {
            return;
        }
        for name in std::mem::take(&mut self.echoes.asked) {
            // It may have been given away, and have come back with a session that ended since.
            let is_over = self.echoes.names.get(&name).is_some_and(|it| it.is_asked);
            if is_over && let Some(echo) = self.echoes.names.remove(&name) {
                self.directory.remove(&name, echo.key);
            }
        }
    }

    /// Somebody wants a name: gives it up at once. Returns whether that was the name of this session.
    pub(super) fn give_up_name(&mut self, client_id: &str, key: Option<SessionKey>) -> bool {
        let Some(echo) = self.echoes.names.get(client_id).copied() else {
            return false;
        };
        if key.is_some_and(|key| key != echo.key) {
            return false;
        }
        self.echoes.names.remove(client_id);
        self.directory.remove(client_id, echo.key);
        true
    }
}
