//! The subscription index: from a topic name to everyone who wants it.

use alloc::{collections::BTreeSet, vec::Vec};
use core::{hash::Hash, hint::black_box, ops::ControlFlow};

mod batch;
mod holdings;
mod roster;
mod trie;

pub(crate) use roster::Roster;

use crate::{
    GroupId, GroupTag, SharedGroup, TopicFilter, TopicName,
    arena::{Arena, Id},
    group::Group,
    hash::KeyedHash,
    matching::text_matches,
    table::IdTable,
    text::Text,
};
use batch::Batch;
use holdings::{Holding, Holdings};
use roster::Subscribers;
use trie::{Route, Trie};

/// Who is subscribed to what, under keys `K` (sessions) with values `V` (options).
///
/// Keep values small: with keys of 8 and values of up to 12 bytes, a filter of up to 38 bytes and
/// its only subscriber share a cache line.
///
/// A subscription is a key and a filter; subscribing again replaces the value. Keys of one group
/// (`$share/{group}/{filter}`) form a [`SharedGroup`].
///
/// Every filter is found by one probe of a hash table, which is all that a name needs to find the
/// filter without wildcards that equals it. Filters with wildcards hang in a trie as well.
/// Filters, and the subscribers of a filter, are visited in an order that depends only on the
/// calls made before: level by level `#`, the literal, `+`, and last the filter without wildcards;
/// of one filter the subscribers in the order of arrival (the last takes the place of one that
/// left), then its groups.
///
/// A lookup allocates nothing and does not recurse. It visits no trie node twice, so at most one
/// for each level of each filter with wildcards, and at most 2^(n+1) for a name of n levels: the
/// number of such filters that one client may have is what bounds the harm it can do, and
/// [`lookup_counting`](Self::lookup_counting) tells what a publisher is to be charged. Filters whose
/// first levels the name does not match cost nothing.
#[derive(Debug)]
pub struct SubscriptionIndex<K, V> {
    filters: Arena<Filter<K, V>>,
    groups: Arena<Group<K, V>>,
    /// Filters by the part that is matched.
    by_filter: IdTable,
    /// Groups by their whole text.
    by_group: IdTable,
    /// Groups by what is kept of them elsewhere. Peers can find filters of the same tag, so this
    /// is no hash table.
    by_tag: BTreeSet<(GroupTag, Id)>,
    wildcards: Trie,
    holdings: Holdings<K>,
    hash: KeyedHash,
    len: usize,
    groups_made: u32,
    version: u64,
}

/// One cache line with keys of 8 and values of up to 12 bytes; it must not straddle two.
#[derive(Debug)]
#[repr(align(64))]
struct Filter<K, V> {
    text: Text,
    subscribers: Subscribers<K, V>,
}

/// What a name was found to match: one subscription, or one shared group.
#[derive(Debug)]
pub enum Match<'a, K, V> {
    /// A subscription that is not shared.
    Subscriber {
        /// Whose it is.
        key: K,
        /// The value it was inserted with.
        value: &'a V,
    },
    /// A group, of which one member gets the message.
    Group(SharedGroup<'a, K, V>),
}

impl<K: Copy + Ord + Hash, V> SubscriptionIndex<K, V> {
    /// Creates an empty index. The seed keys its hashes: peers must not be able to guess it.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self::with_hash(KeyedHash::new(seed))
    }

    const fn with_hash(hash: KeyedHash) -> Self {
        Self {
            filters: Arena::new(),
            groups: Arena::new(),
            by_filter: IdTable::new(),
            by_group: IdTable::new(),
            by_tag: BTreeSet::new(),
            wildcards: Trie::new(hash),
            holdings: Holdings::new(hash),
            hash,
            len: 0,
            groups_made: 0,
            version: 0,
        }
    }

    /// Subscribes a key, or replaces the value of its subscription and returns the old one.
    pub fn insert(&mut self, filter: &TopicFilter<'_>, key: K, value: V) -> Option<V> {
        self.holdings.touch_key(&key);
        let found = self.find(filter);
        self.holdings.touch_owner(&key);
        let holding = found.unwrap_or_else(|| self.add(filter));
        let old = match holding.split() {
            Ok(id) => self.filters.get_mut(id)?.subscribers.insert(key, value),
            Err(id) => self.groups.get_mut(id)?.insert(key, value),
        };
        self.version = self.version.wrapping_add(1);
        if old.is_none() {
            self.len = self.len.saturating_add(1);
            self.holdings.add(key, holding);
        }
        old
    }

    /// Unsubscribes a key and returns the value of its subscription.
    pub fn remove(&mut self, filter: &TopicFilter<'_>, key: &K) -> Option<V> {
        self.holdings.touch_key(key);
        let holding = self.find(filter)?;
        self.holdings.touch_owner(key);
        let value = self.remove_value(holding, key)?;
        self.holdings.remove(key, holding);
        Some(value)
    }

    /// Unsubscribes a key from everything and returns how many subscriptions it had.
    pub fn remove_all(&mut self, key: &K) -> usize {
        self.remove_some(key, usize::MAX)
    }

    /// Unsubscribes a key from at most `count_max` filters and returns from how many.
    ///
    /// With [`Shared`](crate::Shared), a key of a hundred thousand filters is so removed in steps
    /// between which lookups go on.
    pub fn remove_some(&mut self, key: &K, count_max: usize) -> usize {
        let mut count = 0_usize;
        while count < count_max {
            let Some(holding) = self.holdings.of(*key).next() else {
                break;
            };
            self.remove_value(holding, key);
            self.holdings.remove(key, holding);
            count = count.saturating_add(1);
        }
        count
    }

    /// Takes a key out of all its shared groups and returns how many they were; what else it is
    /// subscribed to stays.
    ///
    /// The cost follows the number of the key's subscriptions.
    pub fn leave_groups(&mut self, key: &K) -> usize {
        let groups: Vec<Holding> = self
            .holdings
            .of(*key)
            .filter(|holding| holding.split().is_err())
            .collect();
        for holding in &groups {
            self.remove_value(*holding, key);
            self.holdings.remove(key, *holding);
        }
        groups.len()
    }

    /// Marks a key as away, or as back, in all shared groups that it is a member of now: members
    /// who are away are chosen only if nobody else is ready.
    ///
    /// The cost follows the number of the key's subscriptions.
    pub fn set_away(&mut self, key: &K, is_away: bool) {
        for holding in self.holdings.of(*key) {
            if let Err(id) = holding.split()
                && let Some(group) = self.groups.get_mut(id)
            {
                group.set_away(key, is_away);
            }
        }
    }

    /// Returns the value of a key's subscription.
    #[must_use]
    pub fn get(&self, filter: &TopicFilter<'_>, key: &K) -> Option<&V> {
        match self.find(filter)?.split() {
            Ok(id) => self.filters.get(id)?.subscribers.get(key),
            Err(id) => self.groups.get(id)?.get(key),
        }
    }

    /// Returns the filters that a key is subscribed to, with the values.
    pub fn filters_of(&self, key: &K) -> impl Iterator<Item = (TopicFilter<'_>, &V)> {
        let key = *key;
        self.holdings
            .of(key)
            .filter_map(move |holding| match holding.split() {
                Ok(id) => {
                    let filter = self.filters.get(id)?;
                    Some((filter.as_filter(), filter.subscribers.get(&key)?))
                }
                Err(id) => {
                    let group = self.groups.get(id)?;
                    Some((group.as_filter(), group.get(&key)?))
                }
            })
    }

    /// Returns the shared groups that a key is a member of.
    ///
    /// To walk them all takes as long as the key has subscriptions.
    pub fn groups_of(&self, key: &K) -> impl Iterator<Item = SharedGroup<'_, K, V>> {
        self.holdings
            .of(*key)
            .filter_map(|holding| self.shared_group(holding.split().err()?))
    }

    /// Returns the group with this id, unless its last member has left.
    #[must_use]
    pub fn group(&self, id: GroupId) -> Option<SharedGroup<'_, K, V>> {
        self.shared_group(id.id).filter(|group| group.id == id)
    }

    /// Returns the groups that have a tag: one or none, unless somebody has chosen the names of
    /// groups so that they share it. There may be many of those: look at a few.
    pub fn tagged(&self, tag: GroupTag) -> impl Iterator<Item = SharedGroup<'_, K, V>> {
        self.by_tag
            .range((tag, Id::FIRST)..)
            .take_while(move |(other, _)| *other == tag)
            .filter_map(|(_, id)| self.shared_group(*id))
    }

    fn shared_group(&self, id: Id) -> Option<SharedGroup<'_, K, V>> {
        let group = self.groups.get(id)?;
        let generation = group.generation;
        let id = GroupId { id, generation };
        Some(SharedGroup { id, group })
    }

    /// Returns the number of subscriptions.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Is nobody subscribed to anything?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the number of keys that are subscribed to something.
    #[must_use]
    pub const fn key_count(&self) -> usize {
        self.holdings.key_count()
    }

    /// Returns the number of different filters; groups do not count, their filters do.
    #[must_use]
    pub const fn filter_count(&self) -> usize {
        self.filters.len()
    }

    /// Returns the number of shared groups.
    #[must_use]
    pub const fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Visits everything that matches the name, until `visit` breaks; returns whether it did.
    ///
    /// A key is visited once for each of its matching subscriptions.
    pub fn lookup<'a>(
        &'a self,
        name: &TopicName<'_>,
        visit: impl FnMut(Match<'a, K, V>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.lookup_counting(name, &mut 0, visit)
    }

    /// Looks a name up as [`lookup`](Self::lookup) does, and adds to `steps` the trie nodes that it
    /// visited: its work beside what matches.
    ///
    /// Ten or so are usual, but others may have subscribed so that a name meets far more. Who has
    /// each publisher do a bounded amount of work in turn, charges it for the steps.
    pub fn lookup_counting<'a>(
        &'a self,
        name: &TopicName<'_>,
        steps: &mut usize,
        mut visit: impl FnMut(Match<'a, K, V>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        // Most names are shallow; they need not clear room for the deepest.
        if name.level_count() <= 16 {
            let route = Route::<16>::of(name, self.hash);
            self.lookup_along(&route, steps, &mut visit)
        } else {
            let route = Route::<256>::of(name, self.hash);
            self.lookup_along(&route, steps, &mut visit)
        }
    }

    fn lookup_along<'a, const LEVELS: usize>(
        &'a self,
        route: &Route<'_, LEVELS>,
        steps: &mut usize,
        visit: &mut impl FnMut(Match<'a, K, V>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let name = route.name();
        let hash = self.hash.text(name);
        // Both tables are far away in memory: the one is waited for together with the other.
        self.by_filter.touch(hash);
        self.wildcards.touch(route);
        let mut batch = Batch::new();
        self.wildcards.candidates(route, steps, |id| {
            batch.push(id);
            if batch.is_full() {
                self.visit_batch(&mut batch, name, visit)?;
            }
            ControlFlow::Continue(())
        })?;
        for id in self.by_filter.with_hash(hash) {
            batch.push_equal(id);
            if batch.is_full() {
                self.visit_batch(&mut batch, name, visit)?;
            }
        }
        self.visit_batch(&mut batch, name, visit)
    }

    /// Visits those filters of a batch that match, and empties it.
    fn visit_batch<'a>(
        &'a self,
        batch: &mut Batch,
        name: &str,
        visit: &mut impl FnMut(Match<'a, K, V>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        // These loads wait for nothing but memory, and all at the same time: first for the filters,
        // the rarest before the others, then for those lists of subscribers that are apart.
        for (id, _) in batch.iter().rev() {
            black_box(self.filters.get(id).map(|filter| filter.text.len()));
        }
        for (id, _) in batch.iter() {
            let filter = self.filters.get(id);
            black_box(filter.and_then(|filter| filter.subscribers.first_key()));
        }
        for (id, is_equal) in batch.iter() {
            let Some(filter) = self.filters.get(id) else {
                continue;
            };
            let is_match = if is_equal {
                filter.text.is(name)
            } else {
                text_matches(filter.text.as_bytes(), name.as_bytes())
            };
            if is_match {
                self.visit_filter(filter, visit)?;
            }
        }
        *batch = Batch::new();
        ControlFlow::Continue(())
    }

    fn visit_filter<'a>(
        &'a self,
        filter: &'a Filter<K, V>,
        visit: &mut impl FnMut(Match<'a, K, V>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match &filter.subscribers {
            Subscribers::Nobody => {}
            Subscribers::One(key, value) => visit(Match::Subscriber { key: *key, value })?,
            Subscribers::Few(few) => {
                for (key, value) in few {
                    visit(Match::Subscriber { key: *key, value })?;
                }
            }
            Subscribers::Many(many) => {
                for (key, value) in many.roster.iter() {
                    visit(Match::Subscriber { key, value })?;
                }
                for id in &many.groups {
                    if let Some(group) = self.shared_group(*id) {
                        visit(Match::Group(group))?;
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn find(&self, filter: &TopicFilter<'_>) -> Option<Holding> {
        if filter.shared_group().is_some() {
            self.find_group(filter.as_str()).map(Holding::right)
        } else {
            self.find_filter(filter.filter()).map(Holding::left)
        }
    }

    fn find_filter(&self, text: &str) -> Option<Id> {
        let is_it = |id| {
            self.filters
                .get(id)
                .is_some_and(|filter| filter.text.is(text))
        };
        self.by_filter.find_id(self.hash.text(text), is_it)
    }

    fn find_group(&self, text: &str) -> Option<Id> {
        let is_it = |id| {
            self.groups
                .get(id)
                .is_some_and(|group| group.as_filter().as_str() == text)
        };
        self.by_group.find_id(self.hash.text(text), is_it)
    }

    /// Adds a filter or a group that is not there.
    fn add(&mut self, filter: &TopicFilter<'_>) -> Holding {
        if filter.shared_group().is_some() {
            Holding::right(self.add_group(filter))
        } else {
            Holding::left(self.add_filter(filter))
        }
    }

    fn add_filter(&mut self, filter: &TopicFilter<'_>) -> Id {
        let text = filter.filter();
        let id = self.filters.insert(Filter {
            text: Text::new(text),
            subscribers: Subscribers::Nobody,
        });
        self.by_filter.insert_id(self.hash.text(text), id);
        if filter.has_wildcards() {
            self.wildcards
                .insert(id, filter, |id| self.filters.get(id).map(Filter::as_filter));
        }
        id
    }

    fn add_group(&mut self, filter: &TopicFilter<'_>) -> Id {
        let text = filter.as_str();
        self.groups_made = self.groups_made.wrapping_add(1);
        let filter_id = self
            .find_filter(filter.filter())
            .unwrap_or_else(|| self.add_filter(filter));
        let id = self
            .groups
            .insert(Group::new(filter, filter_id, self.groups_made));
        self.by_group.insert_id(self.hash.text(text), id);
        if let Some(filter) = self.filters.get_mut(filter_id) {
            let place = filter.subscribers.add_group(id);
            if let Some(group) = self.groups.get_mut(id) {
                group.place = place;
                self.by_tag.insert((group.tag, id));
            }
        }
        id
    }

    /// Removes a subscription from its filter or group, and those once they are empty.
    fn remove_value(&mut self, holding: Holding, key: &K) -> Option<V> {
        let value = match holding.split() {
            Ok(id) => {
                let value = self.filters.get_mut(id)?.subscribers.remove(key)?;
                self.remove_filter_if_empty(id);
                value
            }
            Err(id) => {
                let group = self.groups.get_mut(id)?;
                let value = group.remove(key)?;
                if group.is_empty() {
                    self.remove_group(id);
                }
                value
            }
        };
        self.version = self.version.wrapping_add(1);
        self.len = self.len.saturating_sub(1);
        Some(value)
    }

    fn remove_group(&mut self, id: Id) {
        let Some(group) = self.groups.remove(id) else {
            return;
        };
        self.by_group
            .remove_id(self.hash.text(group.as_filter().as_str()), id);
        self.by_tag.remove(&(group.tag, id));
        let Some(filter) = self.filters.get_mut(group.filter) else {
            return;
        };
        if let Some(moved) = filter.subscribers.remove_group(group.place)
            && let Some(moved) = self.groups.get_mut(moved)
        {
            moved.place = group.place;
        }
        self.remove_filter_if_empty(group.filter);
    }

    fn remove_filter_if_empty(&mut self, id: Id) {
        if self
            .filters
            .get(id)
            .is_none_or(|filter| !filter.subscribers.is_empty())
        {
            return;
        }
        let Some(filter) = self.filters.remove(id) else {
            return;
        };
        self.by_filter
            .remove_id(self.hash.text(filter.text.as_str()), id);
        if filter.as_filter().has_wildcards() {
            self.wildcards.remove(id, &filter.as_filter());
        }
    }
}

#[cfg(feature = "std")]
impl<K, V> crate::Versioned for SubscriptionIndex<K, V> {
    fn version(&self) -> u64 {
        self.version
    }
}

impl<K, V> Filter<K, V> {
    fn as_filter(&self) -> TopicFilter<'_> {
        TopicFilter::trusted(self.text.as_str())
    }
}

#[cfg(test)]
mod tests;
