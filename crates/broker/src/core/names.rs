//! Which client has which session.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use super::keys::SessionKey;

/// How many tables the names are spread over: one that grows or shrinks moves its own names only, so
/// nobody waits for all of them.
const PARTS: usize = 64;

/// Tables of so few names are left as they are.
const SMALL_LEN: usize = 28;

type Part = HashMap<Arc<str>, SessionKey>;

/// The sessions there are, by Client Identifier. The sessions share their names with it.
#[derive(Debug)]
pub(super) struct Names {
    /// Keys the choice of a part, and the places in it: peers choose the names.
    random: RandomState,
    parts: Box<[Part]>,
    len: usize,
}

impl Default for Names {
    fn default() -> Self {
        let random = RandomState::new();
        let part = || HashMap::with_hasher(random.clone());
        let parts = std::iter::repeat_with(part).take(PARTS).collect();
        Self {
            random,
            parts,
            len: 0,
        }
    }
}

impl Names {
    pub(super) fn get(&self, client_id: &str) -> Option<SessionKey> {
        self.part(client_id)?.get(client_id).copied()
    }

    /// Returns the name as it is kept here, so that it is in memory once.
    pub(super) fn shared(&self, client_id: &str) -> Option<Arc<str>> {
        let (name, _) = self.part(client_id)?.get_key_value(client_id)?;
        Some(Arc::clone(name))
    }

    /// Enters a session, in the place of an earlier one of the name.
    pub(super) fn insert(&mut self, client_id: &str, key: SessionKey) {
        let replaced = self
            .part_mut(client_id)
            .and_then(|part| part.insert(client_id.into(), key));
        if replaced.is_none() {
            self.len = self.len.saturating_add(1);
        }
    }

    /// Strikes a session out, and gives memory back that nothing needs.
    pub(super) fn remove(&mut self, client_id: &str) {
        let Some(part) = self.part_mut(client_id) else {
            return;
        };
        if part.remove(client_id).is_none() {
            return;
        }
        let len = part.len();
        if len < part.capacity() / 4 && part.capacity() > SMALL_LEN {
            // Room for twice as many: what is left does not move again before many have come or gone.
            part.shrink_to(len.saturating_mul(2));
        }
        self.len = self.len.saturating_sub(1);
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    fn part(&self, client_id: &str) -> Option<&Part> {
        self.parts.get(self.part_number(client_id))
    }

    fn part_mut(&mut self, client_id: &str) -> Option<&mut Part> {
        let number = self.part_number(client_id);
        self.parts.get_mut(number)
    }

    fn part_number(&self, client_id: &str) -> usize {
        // The tables use the lowest and the highest bits.
        let middle = self.random.hash_one(client_id) >> 40;
        usize::try_from(middle).unwrap_or_default() % PARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_and_go_and_leave_no_memory_behind() {
        let mut names = Names::default();
        let key = |number| SessionKey::new(number, 1);
        for number in 0..50_000 {
            names.insert(&format!("client {number}"), key(number));
        }
        names.insert("client 7", key(70_000));
        assert_eq!(names.len(), 50_000);
        assert_eq!(names.get("client 7"), Some(key(70_000)));
        assert_eq!(names.get("client 50000"), None);
        let shared = names.shared("client 49999").expect("it is there");
        assert_eq!((&*shared, Arc::strong_count(&shared)), ("client 49999", 2));
        for number in 1..50_000 {
            names.remove(&format!("client {number}"));
            names.remove(&format!("client {number}"));
        }
        assert_eq!((names.len(), names.get("client 0")), (1, Some(key(0))));
        let room: usize = names.parts.iter().map(Part::capacity).sum();
        assert!(room <= PARTS * SMALL_LEN, "{room}");
    }
}
