//! Who is subscribed to one filter, or a member of one group.

use alloc::{boxed::Box, collections::BTreeMap, vec, vec::Vec};
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
        if let Some(old) = self.get_mut(&key) {
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

    fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.place_of(key)?;
        self.members.get_mut(place).map(|(_, value)| value)
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

    pub(crate) fn place_of(&self, key: &K) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(key).copied(),
            None => self.members.iter().position(|member| member.0 == *key),
        }
    }
}

/// The subscribers of one filter. Most filters have one, which is kept in place, or a few.
#[derive(Debug)]
pub(crate) enum Subscribers<K, V> {
    Nobody,
    One(K, V),
    Few(Box<[(K, V)]>),
    Many(Box<Many<K, V>>),
}

#[derive(Debug)]
pub(crate) struct Many<K, V> {
    pub(crate) roster: Roster<K, V>,
    /// The shared groups of the filter.
    pub(crate) groups: Vec<Id>,
}

/// Up to this many subscribers, making room for one more by copying is cheaper than spare room.
const FEW: usize = 16;

impl<K: Copy + Ord, V> Subscribers<K, V> {
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(old) = self.get_mut(&key) {
            return Some(mem::replace(old, value));
        }
        *self = match mem::replace(self, Self::Nobody) {
            Self::Nobody => Self::One(key, value),
            Self::One(first, its) => Self::Few(Box::new([(first, its), (key, value)])),
            Self::Few(few) if few.len() < FEW => {
                let mut few = few.into_vec();
                few.reserve_exact(1);
                few.push((key, value));
                Self::Few(few.into_boxed_slice())
            }
            more @ (Self::Few(_) | Self::Many(_)) => {
                let mut many = more.into_many();
                many.roster.insert(key, value);
                Self::Many(many)
            }
        };
        None
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        match mem::replace(self, Self::Nobody) {
            Self::One(one, value) if one == *key => Some(value),
            Self::Few(few) => {
                let mut few = few.into_vec();
                let place = few.iter().position(|member| member.0 == *key);
                let removed = place.map(|place| few.swap_remove(place).1);
                *self = Self::from_few(few);
                removed
            }
            Self::Many(mut many) => {
                let removed = many.roster.remove(key);
                *self = Self::Many(many);
                self.settle();
                removed
            }
            other @ (Self::Nobody | Self::One(..)) => {
                *self = other;
                None
            }
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        match self {
            Self::Nobody => None,
            Self::One(one, value) => (one == key).then_some(value),
            Self::Few(few) => few
                .iter()
                .find(|member| member.0 == *key)
                .map(|member| &member.1),
            Self::Many(many) => many.roster.get(key),
        }
    }

    pub(crate) fn first_key(&self) -> Option<K> {
        match self {
            Self::Nobody => None,
            Self::One(key, _) => Some(*key),
            Self::Few(few) => few.first().map(|member| member.0),
            Self::Many(many) => many.roster.members.first().map(|member| member.0),
        }
    }

    fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match self {
            Self::Nobody => None,
            Self::One(one, value) => (one == key).then_some(value),
            Self::Few(few) => few
                .iter_mut()
                .find(|member| member.0 == *key)
                .map(|member| &mut member.1),
            Self::Many(many) => many.roster.get_mut(key),
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        matches!(self, Self::Nobody)
    }

    /// Adds a group and returns its place in the list.
    pub(crate) fn add_group(&mut self, group: Id) -> usize {
        let mut many = mem::replace(self, Self::Nobody).into_many();
        let place = many.groups.len();
        many.groups.push(group);
        *self = Self::Many(many);
        place
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

    fn into_many(self) -> Box<Many<K, V>> {
        let members = match self {
            Self::Many(many) => return many,
            Self::Nobody => Vec::new(),
            Self::One(key, value) => vec![(key, value)],
            Self::Few(few) => few.into_vec(),
        };
        let mut roster = Roster::new();
        for (key, value) in members {
            roster.insert(key, value);
        }
        Box::new(Many {
            roster,
            groups: Vec::new(),
        })
    }

    fn from_few(mut few: Vec<(K, V)>) -> Self {
        match few.pop() {
            None => Self::Nobody,
            Some((key, value)) if few.is_empty() => Self::One(key, value),
            Some(last) => {
                few.push(last);
                Self::Few(few.into_boxed_slice())
            }
        }
    }

    /// Returns to the smallest form that holds what is left.
    fn settle(&mut self) {
        if let Self::Many(many) = self
            && many.groups.is_empty()
            && many.roster.len() <= FEW / 2
        {
            *self = Self::from_few(mem::take(&mut many.roster.members));
        }
    }
}
