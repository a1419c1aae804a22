//! The hash table behind every index: one cache line a probe, and growth without a pause.

use core::{hint::black_box, iter};

use crate::{
    arena::{Arena, Id},
    pages::Pages,
};

/// What a table holds: small, and able to tell its own hash.
pub(crate) trait Entry: Copy {
    /// Returns the hash under which the entry was inserted.
    fn hash(&self) -> u32;
}

/// A number under 32 bits of a hash, which are kept so that growing reads no record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tagged {
    pub(crate) hash: u32,
    pub(crate) id: Id,
}

impl Entry for Tagged {
    fn hash(&self) -> u32 {
        self.hash
    }
}

/// A table of [`Tagged`] ids; seven fit into a cache line.
pub(crate) type IdTable = Table<Tagged, 7>;

impl IdTable {
    /// Returns the id with this hash that `is_it` recognises.
    pub(crate) fn find_id(&self, hash: u32, mut is_it: impl FnMut(Id) -> bool) -> Option<Id> {
        self.with_hash(hash).find(|id| is_it(*id))
    }

    /// Returns all ids with this hash.
    pub(crate) fn with_hash(&self, hash: u32) -> impl Iterator<Item = Id> {
        let home = self.buckets.get(self.address(hash));
        let next = |bucket: &&Bucket<Tagged, 7>| self.overflow.get(bucket.overflow?);
        iter::successors(home, next).flat_map(move |bucket| {
            let places = bucket.places(move |tagged| tagged.hash == hash);
            places.filter_map(|place| bucket.entries.get(place)?.map(|tagged| tagged.id))
        })
    }

    pub(crate) fn insert_id(&mut self, hash: u32, id: Id) {
        self.insert(Tagged { hash, id });
    }

    pub(crate) fn remove_id(&mut self, hash: u32, id: Id) {
        self.remove(hash, |tagged| tagged.id == id);
    }
}

/// Linear hashing over buckets of one cache line, with room for `N` entries each.
///
/// The table grows by splitting one bucket whenever it holds more entries than its buckets should
/// and shrinks by merging one, so no insertion pays for all that came before. Buckets are split
/// in turn, not where it is full: entries that find no room wait in overflow buckets.
#[derive(Debug)]
pub(crate) struct Table<E, const N: usize> {
    buckets: Pages<Bucket<E, N>>,
    overflow: Arena<Bucket<E, N>>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Bucket<E, const N: usize> {
    entries: [Option<E>; N],
    overflow: Option<Id>,
}

impl<E: Entry, const N: usize> Table<E, N> {
    /// How many entries a bucket holds on average; measured. Fewer cost memory, more cost
    /// overflow buckets, since one that is due to be split holds up to twice as many.
    const MEAN: usize = (N * 4 + 3) / 7;

    pub(crate) const fn new() -> Self {
        Self {
            buckets: Pages::new(),
            overflow: Arena::new(),
            len: 0,
        }
    }

    /// Begins to fetch the bucket of a hash, without waiting for it.
    pub(crate) fn touch(&self, hash: u32) {
        black_box(
            self.buckets
                .get(self.address(hash))
                .map(|bucket| bucket.overflow),
        );
    }

    /// Returns the entry with this hash that `is_it` recognises.
    pub(crate) fn find(&self, hash: u32, mut is_it: impl FnMut(&E) -> bool) -> Option<&E> {
        let mut bucket = self.buckets.get(self.address(hash))?;
        loop {
            if let Some(place) = bucket.places(|entry| is_it(entry)).next() {
                return bucket.entries.get(place)?.as_ref();
            }
            bucket = self.overflow.get(bucket.overflow?)?;
        }
    }

    pub(crate) fn find_mut(
        &mut self,
        hash: u32,
        is_it: impl FnMut(&E) -> bool + Copy,
    ) -> Option<&mut E> {
        self.slot_mut(hash, |entry| entry.as_ref().is_some_and(is_it))?
            .as_mut()
    }

    /// Adds an entry that the table does not hold yet.
    pub(crate) fn insert(&mut self, entry: E) {
        self.len = self.len.saturating_add(1);
        if self.len > self.buckets.len().saturating_mul(Self::MEAN) {
            self.split();
        }
        self.place(entry);
    }

    /// Removes the entry with this hash that `is_it` recognises.
    pub(crate) fn remove(&mut self, hash: u32, is_it: impl FnMut(&E) -> bool + Copy) -> Option<E> {
        let slot = self.slot_mut(hash, |entry| entry.as_ref().is_some_and(is_it))?;
        let entry = slot.take();
        self.len = self.len.saturating_sub(1);
        self.drop_empty_overflow(self.address(hash));
        // Shrinks later than it grows, so that a coming and going at the edge is cheap.
        if self.len < self.buckets.len().saturating_mul(Self::MEAN / 2) {
            self.merge();
        }
        if self.len == 0 {
            *self = Self::new();
        }
        entry
    }

    /// Returns the bucket of a hash: as many low bits as there are buckets for, or one less if
    /// that bucket is not split off yet.
    fn address(&self, hash: u32) -> usize {
        let hash = hash as usize;
        let count = self.buckets.len();
        let mask = count.next_power_of_two().wrapping_sub(1);
        let address = hash & mask;
        if address < count {
            address
        } else {
            hash & (mask >> 1)
        }
    }

    /// Adds a bucket and moves there what now belongs to it from the bucket it splits.
    fn split(&mut self) {
        let from = parent(self.buckets.len());
        let moving = self.take_chain(from);
        self.buckets.push(Bucket::EMPTY);
        self.place_chain(moving);
    }

    /// Removes the last bucket and moves its entries to the one that it was split from.
    fn merge(&mut self) {
        let last = self.buckets.len().saturating_sub(1);
        if last == 0 {
            return;
        }
        let moving = self.take_chain(last);
        self.buckets.pop();
        self.place_chain(moving);
    }

    /// Empties a bucket and returns what it held.
    fn take_chain(&mut self, address: usize) -> Bucket<E, N> {
        match self.buckets.get_mut(address) {
            Some(bucket) => core::mem::replace(bucket, Bucket::EMPTY),
            None => Bucket::EMPTY,
        }
    }

    /// Places the entries of a bucket, and of its overflow, where they belong now.
    fn place_chain(&mut self, mut bucket: Bucket<E, N>) {
        loop {
            for entry in bucket.entries.into_iter().flatten() {
                self.place(entry);
            }
            match bucket.overflow.and_then(|id| self.overflow.remove(id)) {
                Some(next) => bucket = next,
                None => return,
            }
        }
    }

    fn place(&mut self, entry: E) {
        if let Some(slot) = self.slot_mut(entry.hash(), Option::is_none) {
            *slot = Some(entry);
            return;
        }
        let address = self.address(entry.hash());
        let Some(home) = self.buckets.get_mut(address) else {
            return;
        };
        let mut link = Bucket::EMPTY;
        if let Some(first) = link.entries.first_mut() {
            *first = Some(entry);
        }
        link.overflow = home.overflow;
        home.overflow = Some(self.overflow.insert(link));
    }

    /// Returns the first slot in the chain of a hash that `is_it` recognises.
    fn slot_mut(
        &mut self,
        hash: u32,
        mut is_it: impl FnMut(&Option<E>) -> bool,
    ) -> Option<&mut Option<E>> {
        let address = self.address(hash);
        let mut overflow = None;
        loop {
            let bucket = self.bucket(address, overflow)?;
            if let Some(place) = bucket.entries.iter().position(&mut is_it) {
                return self.bucket_mut(address, overflow)?.entries.get_mut(place);
            }
            overflow = Some(bucket.overflow?);
        }
    }

    /// Unlinks the overflow buckets of a chain that hold nothing.
    fn drop_empty_overflow(&mut self, address: usize) {
        let mut before = None;
        while let Some(id) = self
            .bucket(address, before)
            .and_then(|bucket| bucket.overflow)
        {
            let is_empty = |bucket: &Bucket<E, N>| bucket.entries.iter().all(Option::is_none);
            if !self.overflow.get(id).is_some_and(is_empty) {
                before = Some(id);
                continue;
            }
            let next = self.overflow.remove(id).and_then(|bucket| bucket.overflow);
            if let Some(bucket) = self.bucket_mut(address, before) {
                bucket.overflow = next;
            }
        }
    }

    /// Returns a link of a chain: the home bucket, or an overflow bucket.
    fn bucket(&self, address: usize, overflow: Option<Id>) -> Option<&Bucket<E, N>> {
        match overflow {
            None => self.buckets.get(address),
            Some(id) => self.overflow.get(id),
        }
    }

    fn bucket_mut(&mut self, address: usize, overflow: Option<Id>) -> Option<&mut Bucket<E, N>> {
        match overflow {
            None => self.buckets.get_mut(address),
            Some(id) => self.overflow.get_mut(id),
        }
    }
}

impl<E: Entry, const N: usize> Bucket<E, N> {
    const EMPTY: Self = Self {
        entries: [None; N],
        overflow: None,
    };

    /// Returns the places of the entries that `is_it` recognises.
    ///
    /// All entries are looked at, and none is branched on: which place an entry has is chance, so
    /// the processor would guess wrong, and that while it waits for the bucket.
    fn places(&self, mut is_it: impl FnMut(&E) -> bool) -> Places {
        let mut set = 0_u32;
        for (place, entry) in (0..).zip(&self.entries) {
            set |= u32::from(entry.as_ref().is_some_and(&mut is_it)) << place;
        }
        Places(set)
    }
}

/// Places in a bucket, as a set of bits.
struct Places(u32);

impl Iterator for Places {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let place = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (place < u32::BITS).then_some(place as usize)
    }
}

/// Returns the bucket that the one of this number is split from: the number without its highest
/// bit.
fn parent(number: usize) -> usize {
    let highest = number.checked_ilog2().unwrap_or_default();
    number & !(1 << highest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::KeyedHash;

    const COUNT: u32 = 10_000;

    fn id(number: u32) -> Id {
        Id::new(number).unwrap()
    }

    /// Fills a table, and empties it again, holding it to what it should contain.
    fn check(hash: impl Fn(u32) -> u32) {
        let mut table = IdTable::new();
        let has =
            |table: &IdTable, number| table.find_id(hash(number), |found| found == id(number));
        for number in 1..=COUNT {
            assert_eq!(has(&table, number), None);
            table.insert_id(hash(number), id(number));
            assert_eq!(has(&table, number), Some(id(number)));
            assert!(
                table.buckets.len() >= table.len.div_ceil(IdTable::MEAN),
                "it grows in time"
            );
        }
        for number in (1..=COUNT).filter(|number| number % 3 != 0) {
            table.remove_id(hash(number), id(number));
        }
        for number in (1..=COUNT).step_by(7) {
            assert_eq!(has(&table, number).is_some(), number % 3 == 0);
        }
        for number in (1..=COUNT).filter(|number| number % 3 == 0) {
            table.remove_id(hash(number), id(number));
        }
        assert_eq!(
            (table.len, table.buckets.len(), table.overflow.len()),
            (0, 0, 0)
        );
    }

    #[test]
    fn a_table_grows_and_shrinks_and_loses_nothing() {
        let keyed = KeyedHash::new(9);
        check(|number| keyed.pair(number, 0));
    }

    #[test]
    fn numbers_that_share_buckets_are_told_apart() {
        check(|number| number % 100);
    }

    #[test]
    fn most_entries_are_found_in_their_own_bucket() {
        let keyed = KeyedHash::new(9);
        let mut table = IdTable::new();
        for number in 1..=COUNT {
            table.insert_id(keyed.pair(number, 0), id(number));
            // The worst moment is just before all buckets are split.
            assert!(table.overflow.len() <= table.buckets.len() / 4 + 1);
        }
    }

    #[test]
    fn a_bucket_of_ids_is_a_cache_line() {
        assert_eq!(size_of::<Bucket<Tagged, 7>>(), 64);
    }
}
