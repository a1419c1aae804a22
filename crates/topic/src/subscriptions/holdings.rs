//! Which filters each key is subscribed to.

use alloc::collections::BTreeSet;
use core::{hash::Hash, hint::black_box, iter, mem};

use crate::{
    arena::{Arena, EitherId, Id},
    hash::KeyedHash,
    table::IdTable,
};

/// One subscription as its key sees it: a filter (left) or a shared group (right).
pub(crate) type Holding = EitherId;

/// For each key, the filters and groups that it is subscribed to.
///
/// The latest are in the record of their owner, half a cache line. To note one more is to write
/// there: what was noted long ago is not read, which at a million subscriptions would be one more
/// place in memory to wait for.
#[derive(Debug)]
pub(crate) struct Holdings<K> {
    owners: Arena<Owner<K>>,
    by_key: IdTable,
    older: Older,
    hash: KeyedHash,
}

#[derive(Debug)]
struct Owner<K> {
    key: K,
    latest: Handful,
    older: Option<OlderId>,
}

/// One to five holdings.
#[derive(Clone, Copy, Debug)]
struct Handful {
    first: Holding,
    others: [Option<Holding>; HANDFUL - 1],
}

const HANDFUL: usize = 5;

/// The holdings that found no room in the records of their owners, in full handfuls.
#[derive(Debug)]
struct Older {
    chunks: Arena<Chunk>,
    sets: Arena<BTreeSet<Holding>>,
}

/// A list of chunks (left) or a set (right).
type OlderId = EitherId;

/// A handful, and those that were put away before it.
#[derive(Debug)]
struct Chunk {
    handful: Handful,
    next: Option<Id>,
    /// How many chunks the list has from here on.
    chunk_count: u8,
}

/// Most keys hold one or a few; a bridge may hold a hundred thousand and drop them one by one. A
/// list that would become longer than this becomes a set.
const CHUNKS_MAX: u8 = 4;

/// A set of so few becomes a list again.
const SET_LEN_MIN: usize = 2 * HANDFUL;

impl<K: Copy + Eq + Hash> Holdings<K> {
    pub(crate) const fn new(hash: KeyedHash) -> Self {
        Self {
            owners: Arena::new(),
            by_key: IdTable::new(),
            older: Older {
                chunks: Arena::new(),
                sets: Arena::new(),
            },
            hash,
        }
    }

    /// Begins to fetch what leads to a key's record, without waiting for it.
    pub(crate) fn touch_key(&self, key: &K) {
        self.by_key.touch(self.hash.key(key));
    }

    /// Begins to fetch a key's record.
    pub(crate) fn touch_owner(&self, key: &K) {
        let id = self.by_key.with_hash(self.hash.key(key)).next();
        let owner = id.and_then(|id| self.owners.get(id));
        black_box(owner.map(|owner| owner.latest.first));
    }

    /// Notes a subscription that the key did not have.
    pub(crate) fn add(&mut self, key: K, holding: Holding) {
        let Some(owner) = self.find(&key).and_then(|id| self.owners.get_mut(id)) else {
            let latest = Handful::of(holding);
            let owner = Owner {
                key,
                latest,
                older: None,
            };
            let id = self.owners.insert(owner);
            self.by_key.insert_id(self.hash.key(&key), id);
            return;
        };
        if !owner.latest.add(holding) {
            let full = mem::replace(&mut owner.latest, Handful::of(holding));
            owner.older = Some(self.older.put_away(full, owner.older));
        }
    }

    /// Removes a subscription that the key has. The latest one takes its place, so that only the
    /// handful of the owner ever has room.
    pub(crate) fn remove(&mut self, key: &K, holding: Holding) {
        let Some(id) = self.find(key) else { return };
        let Some(owner) = self.owners.get_mut(id) else {
            return;
        };
        let last = owner.latest.last();
        let is_replaced =
            owner.latest.replace(holding, last) || self.older.replace(owner.older, holding, last);
        if !is_replaced || owner.latest.drop_last() {
            return;
        }
        if let Some((handful, older)) = owner.older.and_then(|older| self.older.take_back(older)) {
            owner.latest = handful;
            owner.older = older;
        } else {
            self.owners.remove(id);
            self.by_key.remove_id(self.hash.key(key), id);
        }
    }

    /// Returns what a key holds.
    pub(crate) fn of(&self, key: K) -> impl Iterator<Item = Holding> {
        let owner = self.find(&key).and_then(|id| self.owners.get(id));
        owner.into_iter().flat_map(|owner| {
            let older = self.older.iter(owner.older);
            owner.latest.iter().chain(older)
        })
    }

    pub(crate) const fn key_count(&self) -> usize {
        self.owners.len()
    }

    fn find(&self, key: &K) -> Option<Id> {
        let is_key = |id| self.owners.get(id).is_some_and(|owner| owner.key == *key);
        self.by_key.find_id(self.hash.key(key), is_key)
    }
}

impl Older {
    /// Adds a full handful.
    fn put_away(&mut self, full: Handful, to: Option<OlderId>) -> OlderId {
        let list = match to.map(OlderId::split) {
            None => None,
            Some(Ok(list)) => Some(list),
            Some(Err(id)) => {
                if let Some(set) = self.sets.get_mut(id) {
                    set.extend(full.iter());
                }
                return OlderId::right(id);
            }
        };
        let first = list.and_then(|id| self.chunks.get(id));
        let chunk_count = first.map_or(0, |chunk| chunk.chunk_count).saturating_add(1);
        let chunk = Chunk {
            handful: full,
            next: list,
            chunk_count,
        };
        let list = self.chunks.insert(chunk);
        if chunk_count <= CHUNKS_MAX {
            return OlderId::left(list);
        }
        let mut set = BTreeSet::new();
        let mut next = Some(list);
        while let Some(chunk) = next.and_then(|id| self.chunks.remove(id)) {
            set.extend(chunk.handful.iter());
            next = chunk.next;
        }
        OlderId::right(self.sets.insert(set))
    }

    /// Takes a full handful out, and says what is left.
    fn take_back(&mut self, from: OlderId) -> Option<(Handful, Option<OlderId>)> {
        match from.split() {
            Ok(list) => {
                let chunk = self.chunks.remove(list)?;
                Some((chunk.handful, chunk.next.map(OlderId::left)))
            }
            Err(id) => {
                let set = self.sets.get_mut(id)?;
                let handful = Handful::out_of(set)?;
                if set.len() > SET_LEN_MIN {
                    return Some((handful, Some(from)));
                }
                let mut rest = self.sets.remove(id)?;
                let mut left = None;
                while let Some(handful) = Handful::out_of(&mut rest) {
                    left = Some(self.put_away(handful, left));
                }
                Some((handful, left))
            }
        }
    }

    /// Replaces a holding, and says whether it was there.
    fn replace(&mut self, within: Option<OlderId>, old: Holding, new: Holding) -> bool {
        let mut next = match within.map(OlderId::split) {
            None => None,
            Some(Ok(list)) => Some(list),
            Some(Err(id)) => {
                return self
                    .sets
                    .get_mut(id)
                    .is_some_and(|set| set.remove(&old) && set.insert(new));
            }
        };
        while let Some(chunk) = next.and_then(|id| self.chunks.get_mut(id)) {
            if chunk.handful.replace(old, new) {
                return true;
            }
            next = chunk.next;
        }
        false
    }

    fn iter(&self, of: Option<OlderId>) -> impl Iterator<Item = Holding> {
        let of = of.map(OlderId::split);
        let list = of.and_then(Result::ok).and_then(|id| self.chunks.get(id));
        let set = of.and_then(Result::err).and_then(|id| self.sets.get(id));
        iter::successors(list, |chunk| self.chunks.get(chunk.next?))
            .flat_map(|chunk| chunk.handful.iter())
            .chain(set.into_iter().flatten().copied())
    }
}

impl Handful {
    const fn of(first: Holding) -> Self {
        Self {
            first,
            others: [None; HANDFUL - 1],
        }
    }

    /// Takes up to five out of a set.
    fn out_of(set: &mut BTreeSet<Holding>) -> Option<Self> {
        let mut handful = Self::of(set.pop_first()?);
        for other in &mut handful.others {
            *other = set.pop_first();
        }
        Some(handful)
    }

    /// Adds a holding, unless there is no room.
    fn add(&mut self, holding: Holding) -> bool {
        let room = self.others.iter_mut().find(|other| other.is_none());
        room.is_some_and(|room| room.replace(holding).is_none())
    }

    fn last(&self) -> Holding {
        let last = self.others.iter().rev().flatten().next();
        last.copied().unwrap_or(self.first)
    }

    /// Removes the last holding, unless it is the only one.
    fn drop_last(&mut self) -> bool {
        let last = self.others.iter_mut().rev().find(|other| other.is_some());
        last.is_some_and(|last| last.take().is_some())
    }

    /// Replaces a holding, and says whether it was there.
    fn replace(&mut self, old: Holding, new: Holding) -> bool {
        let others = self.others.iter_mut().flatten();
        for holding in iter::once(&mut self.first).chain(others) {
            if *holding == old {
                *holding = new;
                return true;
            }
        }
        false
    }

    fn iter(&self) -> impl Iterator<Item = Holding> + use<> {
        let Self { first, others } = *self;
        iter::once(first).chain(others.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec::Vec};

    use super::*;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn an_owner_is_half_a_cache_line() {
        assert_eq!(size_of::<Option<Owner<u64>>>(), 32);
        assert_eq!(size_of::<Option<Chunk>>(), 28);
    }

    #[test]
    fn holdings_come_and_go_in_every_number() {
        // Past the handful and the list into the set, and back; the oldest first, or the latest.
        for count in (1..=60).chain([1_000]) {
            let all: Vec<_> = (1..=count).filter_map(Id::new).map(Holding::left).collect();
            let backwards = all.iter().rev().copied().collect();
            for going in [all.clone(), backwards] {
                let mut holdings = Holdings::new(KeyedHash::new(1));
                for holding in &all {
                    holdings.add(7_u64, *holding);
                }
                let mut left: BTreeSet<_> = all.iter().copied().collect();
                for holding in going {
                    let held: Vec<_> = holdings.of(7).collect();
                    assert_eq!(held.len(), left.len(), "each once");
                    assert_eq!(held.into_iter().collect::<BTreeSet<_>>(), left);
                    holdings.remove(&7, holding);
                    left.remove(&holding);
                }
                let empty = Holdings::<u64>::new(KeyedHash::new(1));
                assert_eq!(format!("{holdings:?}"), format!("{empty:?}"));
            }
        }
    }
}
