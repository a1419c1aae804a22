//! Who is subscribed to one filter, or a member of one group.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};
use core::mem;

use crate::arena::Id;

/// Keys and their values side by side, in the order of arrival; the last one takes the place of
/// one that leaves.
///
/// Visiting is a walk over memory in order, a place is found by number, and from
/// [`INDEXED_FROM`] members on a key is found by an index.
#[derive(Debug)]
pub(crate) struct Roster<K, V> {
    members: Vec<(K, V)>,
    places: Option<BTreeMap<K, usize>>,
}

/// Below this many members a scan finds a key sooner than an index does.
const INDEXED_FROM: usize = 32;

impl<K: Copy + Ord, V> Roster<K, V> {
    pub(crate) const fn new() -> Self {
        Self {
            members: Vec::new(),
            places: None,
        }
    }

    /// Adds a member, or replaces its value and returns the old one.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(place) = self.place_of(&key) {
            let (_, old) = self.members.get_mut(place)?;
            return Some(mem::replace(old, value));
        }
        if let Some(places) = &mut self.places {
            places.insert(key, self.members.len());
        }
        self.members.push((key, value));
        if self.places.is_none() && self.members.len() >= INDEXED_FROM {
            self.places = Some(
                self.members
                    .iter()
                    .map(|member| member.0)
                    .zip(0..)
                    .collect(),
            );
        }
        None
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.place_of(key)?;
        let (_, value) = self.members.swap_remove(place);
        if let Some(places) = &mut self.places {
            places.remove(key);
            if let Some((moved, _)) = self.members.get(place) {
                places.insert(*moved, place);
            }
        }
        if self.members.len() < self.members.capacity() / 4 {
            self.members.shrink_to(self.members.len().saturating_mul(2));
        }
        if self.members.len() < INDEXED_FROM / 2 {
            self.places = None;
        }
        Some(value)
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.at(self.place_of(key)?).map(|(_, value)| value)
    }

    pub(crate) fn at(&self, place: usize) -> Option<(K, &V)> {
        self.members.get(place).map(|(key, value)| (*key, value))
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (K, &V)> {
        self.members.iter().map(|(key, value)| (*key, value))
    }

    pub(crate) const fn len(&self) -> usize {
        self.members.len()
    }

    fn place_of(&self, key: &K) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(key).copied(),
            None => self.members.iter().position(|member| member.0 == *key),
        }
    }
}

/// The subscribers of one filter. Most filters have one, which is kept in place.
#[derive(Debug)]
pub(crate) enum Subscribers<K, V> {
    Nobody,
    One(K, V),
    Many(Box<Many<K, V>>),
}

#[derive(Debug)]
pub(crate) struct Many<K, V> {
    pub(crate) roster: Roster<K, V>,
    /// The shared groups of the filter.
    pub(crate) groups: Vec<Id>,
}

impl<K: Copy + Ord, V> Subscribers<K, V> {
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self {
            Self::Nobody => {
                *self = Self::One(key, value);
                None
            }
            Self::One(one, old) if *one == key => Some(mem::replace(old, value)),
            Self::One(..) => self.many(|many| many.roster.insert(key, value)),
            Self::Many(many) => many.roster.insert(key, value),
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        match self {
            Self::Many(many) => {
                let value = many.roster.remove(key);
                self.settle();
                value
            }
            Self::One(one, _) if one == key => match mem::replace(self, Self::Nobody) {
                Self::One(_, value) => Some(value),
                Self::Nobody | Self::Many(_) => None,
            },
            Self::Nobody | Self::One(..) => None,
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        match self {
            Self::One(one, value) if one == key => Some(value),
            Self::Many(many) => many.roster.get(key),
            Self::Nobody | Self::One(..) => None,
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        matches!(self, Self::Nobody)
    }

    /// Adds a group and returns its place in the list.
    pub(crate) fn add_group(&mut self, group: Id) -> usize {
        self.many(|many| {
            many.groups.push(group);
            many.groups.len().saturating_sub(1)
        })
    }

    /// Removes the group at this place and returns the one that moved there.
    pub(crate) fn remove_group(&mut self, place: usize) -> Option<Id> {
        let Self::Many(many) = self else { return None };
        if place < many.groups.len() {
            many.groups.swap_remove(place);
        }
        let moved = many.groups.get(place).copied();
        self.settle();
        moved
    }

    /// Changes the subscribers in the form that holds any number of them.
    fn many<T>(&mut self, change: impl FnOnce(&mut Many<K, V>) -> T) -> T {
        let mut many = match mem::replace(self, Self::Nobody) {
            Self::Many(many) => many,
            Self::Nobody => Box::new(Many::new()),
            Self::One(key, value) => {
                let mut many = Box::new(Many::new());
                many.roster.insert(key, value);
                many
            }
        };
        let result = change(&mut many);
        *self = Self::Many(many);
        result
    }

    /// Returns to the smallest form that holds what is left.
    fn settle(&mut self) {
        let Self::Many(many) = self else { return };
        if !many.groups.is_empty() {
            return;
        }
        match many.roster.members.pop() {
            None => *self = Self::Nobody,
            Some((key, value)) if many.roster.members.is_empty() => *self = Self::One(key, value),
            Some(member) => many.roster.members.push(member),
        }
    }
}

impl<K: Copy + Ord, V> Many<K, V> {
    const fn new() -> Self {
        Self {
            roster: Roster::new(),
            groups: Vec::new(),
        }
    }
}
