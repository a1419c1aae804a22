//! The retained index: from a topic filter to the names it matches.

use alloc::collections::BTreeSet;
use core::{mem, ops::ControlFlow};

mod id_set;
mod postings;

use crate::{
    TopicFilter, TopicName,
    arena::{Arena, Id},
    hash::KeyedHash,
    matching::matches,
    table::IdTable,
    text::Text,
};
use postings::{Position, Postings, parent};

/// One value for each topic name, found by name or by filter, and gone after its deadline.
///
/// A name is found by one probe of a hash table. A filter is answered from lists of the names
/// that have a prefix, or a level at some place: from the shortest of those that the filter asks
/// for. So the work of `#`, `a/#`, `+/+/x` and every filter with one literal part (the levels before
/// the first wildcard are one, each literal level after it is another) is a step for each match,
/// whatever else the index holds. With several parts, as `+/a/+/b` has, it is a step for each name
/// that has the rarest of them, even if few names have them all. To that comes a step for each
/// part, with `#` at each depth that names have. Searches go in slices of bounded work, so a long one
/// keeps nobody waiting. An index that loses names gives memory back.
#[derive(Debug)]
pub struct RetainedIndex<V> {
    entries: Arena<Entry<V>>,
    by_name: IdTable,
    postings: Postings,
    deadlines: BTreeSet<(u64, Id)>,
    hash: KeyedHash,
    version: u64,
}

#[cfg(feature = "std")]
impl<V> crate::Versioned for RetainedIndex<V> {
    fn version(&self) -> u64 {
        self.version
    }
}

#[derive(Debug)]
struct Entry<V> {
    text: Text,
    level_count: u8,
    deadline: Option<u64>,
    value: V,
}

/// Where a search by filter goes on.
///
/// It stays good while the index changes: names that are there from the first slice to the last
/// are visited exactly once; those that come or go in between may or may not be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cursor(Position);

impl Cursor {
    /// Where every search begins.
    pub const START: Self = Self(Position::START);
}

impl Default for Cursor {
    fn default() -> Self {
        Self::START
    }
}

impl<V> RetainedIndex<V> {
    /// Creates an empty index. The seed keys its hashes: peers must not be able to guess it.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self::with_hash(KeyedHash::new(seed))
    }

    const fn with_hash(hash: KeyedHash) -> Self {
        Self {
            entries: Arena::new(),
            by_name: IdTable::new(),
            postings: Postings::new(hash),
            deadlines: BTreeSet::new(),
            hash,
            version: 0,
        }
    }

    /// Stores a value that does not expire and returns the one it replaces.
    pub fn insert(&mut self, name: &TopicName<'_>, value: V) -> Option<V> {
        self.insert_entry(name, value, None)
    }

    /// Stores a value until a deadline, of which [`expire`](Self::expire) knows the unit, and
    /// returns the one it replaces.
    pub fn insert_until(&mut self, name: &TopicName<'_>, value: V, deadline: u64) -> Option<V> {
        self.insert_entry(name, value, Some(deadline))
    }

    fn insert_entry(&mut self, name: &TopicName<'_>, value: V, deadline: Option<u64>) -> Option<V> {
        self.version = self.version.wrapping_add(1);
        let text = name.as_str();
        let old = self
            .find(text)
            .and_then(|id| Some((id, self.entries.get_mut(id)?)));
        let (id, old) = match old {
            Some((id, entry)) => {
                let former = mem::replace(&mut entry.deadline, deadline);
                let old = mem::replace(&mut entry.value, value);
                self.forget_deadline(former, id);
                (id, Some(old))
            }
            None => {
                let id = self.entries.insert(Entry {
                    text: Text::new(text),
                    level_count: name.level_count(),
                    deadline,
                    value,
                });
                self.by_name.insert_id(self.hash.text(text), id);
                self.postings.insert(name, id);
                (id, None)
            }
        };
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, id));
        }
        old
    }

    /// Removes the value of a name and returns it.
    pub fn remove(&mut self, name: &TopicName<'_>) -> Option<V> {
        let id = self.find(name.as_str())?;
        self.remove_entry(id).map(|entry| entry.value)
    }

    /// Removes at most `count_max` values whose deadline is not after `now` and hands each to
    /// `removed`, earliest deadline first; returns how many.
    ///
    /// Until then [`get`](Self::get) and [`matching`](Self::matching) still find them.
    pub fn expire(
        &mut self,
        now: u64,
        count_max: usize,
        mut removed: impl FnMut(TopicName<'_>, V),
    ) -> usize {
        let mut count = 0_usize;
        while count < count_max {
            let Some((deadline, id)) = self.deadlines.first().copied() else {
                break;
            };
            if deadline > now {
                break;
            }
            if let Some(entry) = self.remove_entry(id) {
                let Entry {
                    text,
                    level_count,
                    value,
                    ..
                } = entry;
                removed(TopicName::trusted(text.as_str(), level_count), value);
            }
            count = count.saturating_add(1);
        }
        count
    }

    /// Returns the earliest deadline, when [`expire`](Self::expire) next has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Returns the value of a name.
    #[must_use]
    pub fn get(&self, name: &TopicName<'_>) -> Option<&V> {
        let entry = self.entries.get(self.find(name.as_str())?)?;
        Some(&entry.value)
    }

    /// Returns the number of names.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Is there no value at all?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// Visits at most `count_max` names that the filter matches, from the cursor on, and returns
    /// where to go on; `None` means that all were visited.
    ///
    /// One call takes some `8 * count_max + 64` steps at most, so it may return a cursor having
    /// visited fewer names, even none. Of a shared filter the part after the group name counts.
    /// The order is that of depth, then of arrival (a new name takes the place of one that went).
    pub fn matching<'a>(
        &'a self,
        filter: &TopicFilter<'_>,
        cursor: Cursor,
        count_max: usize,
        mut visit: impl FnMut(TopicName<'a>, &'a V),
    ) -> Option<Cursor> {
        self.matching_while(filter, cursor, count_max, |name, value| {
            visit(name, value);
            true
        })
    }

    /// Visits names as [`matching`](Self::matching) does, but stops at the first for which `visit`
    /// returns `false`: the cursor then stands before that name, so that the next call begins with
    /// it.
    pub fn matching_while<'a>(
        &'a self,
        filter: &TopicFilter<'_>,
        cursor: Cursor,
        count_max: usize,
        mut visit: impl FnMut(TopicName<'a>, &'a V) -> bool,
    ) -> Option<Cursor> {
        let mut count_left = count_max;
        if count_left == 0 {
            return Some(cursor);
        }
        if !filter.has_wildcards() {
            let entry = self.entries.get(self.find(filter.filter())?)?;
            let is_taken = visit(entry.name(), &entry.value);
            return (!is_taken).then_some(cursor);
        }
        // It is the shallowest of its matches, so it comes before those in the lists.
        let parent = parent(filter).and_then(|parent| self.find(parent));
        let entry = parent.and_then(|id| Some((id, self.entries.get(id)?)));
        let mut from = cursor.0;
        if let Some((id, entry)) = entry {
            let at = Position::new(entry.level_count, id);
            if cursor.0 <= at {
                if !visit(entry.name(), &entry.value) {
                    return Some(cursor);
                }
                count_left = count_left.saturating_sub(1);
                if count_left == 0 {
                    return Some(Cursor(at.next()));
                }
                // A slice that ends before its first match must not lead back here.
                from = at.next();
            }
        }
        let mut steps_left = count_max.saturating_mul(8).saturating_add(64);
        let query = self.postings.query(filter);
        let next = self.postings.search(&query, from, &mut steps_left, |at| {
            // It may be in a list whose hash is that of another, even of another depth.
            let id = at.id().filter(|id| Some(*id) != parent);
            let entry = id.and_then(|id| self.entries.get(id));
            if let Some(entry) = entry.filter(|entry| entry.level_count == at.depth()) {
                let name = entry.name();
                if matches(filter, &name) {
                    if !visit(name, &entry.value) {
                        return ControlFlow::Break(at);
                    }
                    count_left = count_left.saturating_sub(1);
                }
            }
            match count_left {
                0 => ControlFlow::Break(at.next()),
                _ => ControlFlow::Continue(()),
            }
        });
        next.map(Cursor)
    }

    fn find(&self, text: &str) -> Option<Id> {
        let is_it = |id| {
            self.entries
                .get(id)
                .is_some_and(|entry| entry.text.is(text))
        };
        self.by_name.find_id(self.hash.text(text), is_it)
    }

    fn remove_entry(&mut self, id: Id) -> Option<Entry<V>> {
        let entry = self.entries.remove(id)?;
        self.version = self.version.wrapping_add(1);
        self.by_name
            .remove_id(self.hash.text(entry.text.as_str()), id);
        self.postings.remove(&entry.name(), id);
        self.forget_deadline(entry.deadline, id);
        Some(entry)
    }

    fn forget_deadline(&mut self, deadline: Option<u64>, id: Id) {
        let Some(deadline) = deadline else { return };
        self.deadlines.remove(&(deadline, id));
        if self.deadlines.is_empty() {
            // Without the node that an empty set keeps.
            self.deadlines = BTreeSet::new();
        }
    }
}

impl<V> Entry<V> {
    fn name(&self) -> TopicName<'_> {
        TopicName::trusted(self.text.as_str(), self.level_count)
    }
}

#[cfg(test)]
mod tests;
