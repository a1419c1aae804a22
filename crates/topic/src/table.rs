//! A hash table from what records say of themselves to their numbers.

use hashbrown::HashTable;

/// Finds small entries, such as record numbers, by a hash that is computed outside.
///
/// Each entry keeps 32 bits of its hash, so growing reads no record.
#[derive(Debug)]
pub(crate) struct IdTable<E> {
    slots: HashTable<Slot<E>>,
}

#[derive(Debug)]
struct Slot<E> {
    tag: u32,
    entry: E,
}

impl<E> IdTable<E> {
    pub(crate) const fn new() -> Self {
        Self {
            slots: HashTable::new(),
        }
    }

    /// Returns the entry with this hash that `is_it` recognises.
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(&E) -> bool) -> Option<&E> {
        let tag = tag(hash);
        self.slots
            .find(spread(tag), |slot| slot.tag == tag && is_it(&slot.entry))
            .map(|slot| &slot.entry)
    }

    /// Adds an entry that the table does not hold yet.
    pub(crate) fn insert(&mut self, hash: u64, entry: E) {
        let tag = tag(hash);
        self.slots
            .insert_unique(spread(tag), Slot { tag, entry }, |slot| spread(slot.tag));
    }

    /// Removes the entry with this hash that `is_it` recognises.
    pub(crate) fn remove(&mut self, hash: u64, mut is_it: impl FnMut(&E) -> bool) -> Option<E> {
        let tag = tag(hash);
        let found = self
            .slots
            .find_entry(spread(tag), |slot| slot.tag == tag && is_it(&slot.entry))
            .ok()?;
        let (slot, _) = found.remove();
        self.give_memory_back();
        Some(slot.entry)
    }

    /// Halves the table once it is seven eighths empty.
    fn give_memory_back(&mut self) {
        let len = self.slots.len();
        if len < self.slots.capacity() / 8 {
            self.slots
                .shrink_to(len.saturating_mul(2), |slot| spread(slot.tag));
        }
    }
}

/// The bits of a hash that are kept.
const fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// Turns a tag into a hash whose upper and lower ends, which the table reads, both vary.
const fn spread(tag: u32) -> u64 {
    (tag as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
