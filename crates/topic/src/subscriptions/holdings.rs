//! Which filters each key is subscribed to.

use alloc::{boxed::Box, collections::BTreeSet};
use core::{hash::Hash, iter, mem};

use crate::{
    arena::{Arena, EitherId, Id},
    hash::KeyedHash,
    table::IdTable,
};

/// One subscription as its key sees it: a filter (left) or a shared group (right).
pub(crate) type Holding = EitherId;

/// For each key, the filters and groups that it is subscribed to.
#[derive(Debug)]
pub(crate) struct Holdings<K> {
    owners: Arena<Owner<K>>,
    by_key: IdTable,
    hash: KeyedHash,
}

#[derive(Debug)]
struct Owner<K> {
    key: K,
    held: Held,
}

/// Most keys hold one or a few; a bridge may hold a hundred thousand and drop them one by one.
#[derive(Debug)]
enum Held {
    Nothing,
    One(Holding),
    Few(Box<[Holding]>),
    #[expect(
        clippy::box_collection,
        reason = "a bare set makes each of a million owners larger"
    )]
    Many(Box<BTreeSet<Holding>>),
}

/// Up to this many, copying a list is cheaper than keeping a set.
const FEW: usize = 24;

impl<K: Copy + Eq + Hash> Holdings<K> {
    pub(crate) const fn new(hash: KeyedHash) -> Self {
        Self {
            owners: Arena::new(),
            by_key: IdTable::new(),
            hash,
        }
    }

    /// Begins to fetch what a key holds, without waiting for it.
    pub(crate) fn touch(&self, key: &K) {
        self.by_key.touch(self.hash.key(key));
    }

    /// Notes a subscription that the key did not have.
    pub(crate) fn add(&mut self, key: K, holding: Holding) {
        match self.find(&key).and_then(|id| self.owners.get_mut(id)) {
            Some(owner) => owner.held.add(holding),
            None => {
                let held = Held::One(holding);
                let id = self.owners.insert(Owner { key, held });
                self.by_key.insert_id(self.hash.key(&key), id);
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K, holding: Holding) {
        let Some(id) = self.find(key) else { return };
        let Some(owner) = self.owners.get_mut(id) else {
            return;
        };
        owner.held.remove(holding);
        if matches!(owner.held, Held::Nothing) {
            self.owners.remove(id);
            self.by_key.remove_id(self.hash.key(key), id);
        }
    }

    pub(crate) fn of(&self, key: K) -> impl Iterator<Item = Holding> {
        let owner = self.find(&key).and_then(|id| self.owners.get(id));
        owner.into_iter().flat_map(|owner| owner.held.iter())
    }

    pub(crate) const fn key_count(&self) -> usize {
        self.owners.len()
    }

    fn find(&self, key: &K) -> Option<Id> {
        let is_key = |id| self.owners.get(id).is_some_and(|owner| owner.key == *key);
        self.by_key.find_id(self.hash.key(key), is_key)
    }
}

impl Held {
    fn add(&mut self, holding: Holding) {
        match self {
            Self::Nothing => *self = Self::One(holding),
            Self::One(first) => *self = Self::Few(Box::new([*first, holding])),
            Self::Few(few) if few.len() < FEW => {
                *few = few.iter().copied().chain(iter::once(holding)).collect();
            }
            Self::Few(few) => {
                let all = mem::take(few).into_iter().chain(iter::once(holding));
                *self = Self::Many(Box::new(all.collect()));
            }
            Self::Many(many) => {
                many.insert(holding);
            }
        }
    }

    fn remove(&mut self, holding: Holding) {
        match self {
            Self::Nothing => {}
            Self::One(one) => {
                if *one == holding {
                    *self = Self::Nothing;
                }
            }
            Self::Few(few) => {
                *few = few
                    .iter()
                    .copied()
                    .filter(|other| *other != holding)
                    .collect();
                match few.as_ref() {
                    [] => *self = Self::Nothing,
                    [last] => *self = Self::One(*last),
                    [..] => {}
                }
            }
            Self::Many(many) => {
                many.remove(&holding);
                if many.len() <= FEW / 2 {
                    *self = Self::Few(many.iter().copied().collect());
                }
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = Holding> {
        let (slice, set): (&[Holding], _) = match self {
            Self::Nothing => (&[], None),
            Self::One(one) => (core::slice::from_ref(one), None),
            Self::Few(few) => (few, None),
            Self::Many(many) => (&[], Some(many)),
        };
        let set = set.into_iter().flat_map(|set| set.iter());
        slice.iter().chain(set).copied()
    }
}
