//! Records that name each other by number.

use alloc::{collections::BTreeSet, vec::Vec};
use core::{mem, num::NonZeroU32};

/// The number of a record in its [`Arena`]: 1 to 2^31 - 1, so that one bit is left to those who
/// store it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Id(NonZeroU32);

impl Id {
    pub(crate) const FIRST: Self = Self(NonZeroU32::MIN);
    const MAX: u32 = u32::MAX >> 1;

    pub(crate) fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number)
            .filter(|number| number.get() <= Self::MAX)
            .map(Self)
    }

    pub(crate) const fn get(self) -> u32 {
        self.0.get()
    }

    /// Returns the number of a place in a page.
    fn at(page: u32, place: u16) -> Option<Self> {
        let index = page.checked_mul(PAGE_LEN.into())?;
        let number = index.checked_add(place.into())?.checked_add(1)?;
        Self::new(number)
    }

    /// Returns its page, and its place in there.
    #[expect(clippy::cast_possible_truncation, reason = "the lower bits are taken")]
    const fn place(self) -> (u32, u16) {
        let index = self.get().saturating_sub(1);
        (index >> PAGE_BITS, (index as u16) & (PAGE_LEN - 1))
    }
}

/// One of two kinds of record, in the size of one [`Id`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct EitherId(NonZeroU32);

impl EitherId {
    const RIGHT: u32 = Id::MAX + 1;

    pub(crate) const fn left(id: Id) -> Self {
        Self(id.0)
    }

    pub(crate) const fn right(id: Id) -> Self {
        Self(id.0.saturating_add(Self::RIGHT))
    }

    /// Returns `Ok` with a left id, `Err` with a right one.
    pub(crate) const fn split(self) -> Result<Id, Id> {
        match NonZeroU32::new(self.0.get() & Id::MAX) {
            Some(id) if self.0.get() > Id::MAX => Err(Id(id)),
            Some(_) | None => Ok(Id(self.0)),
        }
    }
}

/// Records that keep their number until they are removed; a free number is given again, the lowest
/// first or nearly so.
///
/// They lie in pages, so that a new one moves no other. A page that loses its last record gives its
/// memory back, and as new records go to the first page that has room, the last ones empty.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    pages: Vec<Page<T>>,
    /// The pages that have room.
    roomy: BTreeSet<u32>,
    len: usize,
}

#[derive(Debug)]
struct Page<T> {
    /// Without memory while no record is in it.
    places: Vec<Place<T>>,
    /// The free place to fill next; it names the one after it.
    free: Option<u16>,
    taken: u16,
}

#[derive(Debug)]
enum Place<T> {
    Taken(T),
    Free(Option<u16>),
}

const PAGE_BITS: u32 = 9;
const PAGE_LEN: u16 = 1 << PAGE_BITS;

impl<T> Arena<T> {
    pub(crate) const fn new() -> Self {
        Self {
            pages: Vec::new(),
            roomy: BTreeSet::new(),
            len: 0,
        }
    }

    /// Stores a record and returns its number.
    ///
    /// # Panics
    ///
    /// With 2^31 records, as `Vec` does when its capacity overflows.
    pub(crate) fn insert(&mut self, record: T) -> Id {
        let page_number = match self.roomy.first() {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.pages.len()).unwrap_or(u32::MAX);
                self.pages.push(Page::new());
                self.roomy.insert(number);
                number
            }
        };
        let is_first = page_number == 0;
        let place = self
            .pages
            .get_mut(page_number as usize)
            .and_then(|page| page.insert(record, is_first));
        let id = place.and_then(|place| Id::at(page_number, place));
        assert!(id.is_some(), "capacity overflow");
        let page = self.pages.get(page_number as usize);
        if page.is_some_and(|page| page.taken == PAGE_LEN) {
            self.roomy.remove(&page_number);
        }
        self.len = self.len.saturating_add(1);
        id.unwrap_or(Id::FIRST)
    }

    /// Takes a record out.
    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let (page_number, place) = id.place();
        let page = self.pages.get_mut(page_number as usize)?;
        let record = page.remove(place)?;
        let taken = page.taken;
        self.len = self.len.saturating_sub(1);
        if self.len == 0 {
            *self = Self::new();
            return Some(record);
        }
        if taken.saturating_add(1) == PAGE_LEN {
            self.roomy.insert(page_number);
        }
        // The only one that has room is kept for the next record.
        if taken == 0 && self.roomy.len() > 1 {
            self.give_back(page_number);
        }
        Some(record)
    }

    /// Gives back the memory of a page that is empty, and of the end of the list of pages.
    fn give_back(&mut self, page_number: u32) {
        if let Some(page) = self.pages.get_mut(page_number as usize) {
            *page = Page::new();
        }
        while self.pages.last().is_some_and(|page| page.taken == 0) {
            self.pages.pop();
            let number = u32::try_from(self.pages.len()).unwrap_or(u32::MAX);
            self.roomy.remove(&number);
        }
        if self.pages.len() < self.pages.capacity() / 4 {
            self.pages.shrink_to(self.pages.len().saturating_mul(2));
        }
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let (page, place) = id.place();
        let page = self.pages.get_mut(page as usize)?;
        match page.places.get_mut(usize::from(place))? {
            Place::Taken(record) => Some(record),
            Place::Free(_) => None,
        }
    }

    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        let (page, place) = id.place();
        let page = self.pages.get(page as usize)?;
        match page.places.get(usize::from(place))? {
            Place::Taken(record) => Some(record),
            Place::Free(_) => None,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

impl<T> Page<T> {
    const fn new() -> Self {
        Self {
            places: Vec::new(),
            free: None,
            taken: 0,
        }
    }

    /// Fills a place and returns which, if there is one. The first page of all grows as needed: what
    /// is small stays small.
    fn insert(&mut self, record: T, is_first: bool) -> Option<u16> {
        let place = match self.free {
            Some(place) => {
                let free = self.places.get_mut(usize::from(place))?;
                if let Place::Free(next) = mem::replace(free, Place::Taken(record)) {
                    self.free = next;
                }
                place
            }
            None => {
                let place = u16::try_from(self.places.len()).ok()?;
                if place == 0 && !is_first {
                    self.places.reserve_exact(PAGE_LEN.into());
                }
                self.places.push(Place::Taken(record));
                place
            }
        };
        self.taken = self.taken.saturating_add(1);
        Some(place)
    }

    fn remove(&mut self, number: u16) -> Option<T> {
        let place = self.places.get_mut(usize::from(number))?;
        match mem::replace(place, Place::Free(self.free)) {
            Place::Taken(record) => {
                self.free = Some(number);
                self.taken = self.taken.saturating_sub(1);
                Some(record)
            }
            Place::Free(next) => {
                *place = Place::Free(next);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn pages_with_memory(arena: &Arena<u64>) -> usize {
        let has_memory = |page: &&Page<u64>| page.places.capacity() > 0;
        arena.pages.iter().filter(has_memory).count()
    }

    #[test]
    fn a_record_keeps_its_number_and_a_free_one_is_given_again() {
        let mut arena = Arena::new();
        let ids: Vec<Id> = (0..2_000_u64).map(|record| arena.insert(record)).collect();
        let numbers: Vec<u32> = ids.iter().map(|id| id.get()).collect();
        assert_eq!(numbers, (1..=2_000).collect::<Vec<_>>());
        for (id, record) in ids.iter().zip(0_u64..) {
            assert_eq!(arena.get(*id), Some(&record));
        }
        assert_eq!(arena.remove(ids[1_500]), Some(1_500));
        assert_eq!(arena.remove(ids[1_500]), None);
        assert_eq!(arena.remove(ids[7]), Some(7));
        assert_eq!((arena.get(ids[7]), arena.len()), (None, 1_998));
        assert_eq!(arena.insert(9_007), ids[7]);
        assert_eq!(arena.insert(9_500), ids[1_500]);
        assert_eq!(arena.get_mut(ids[1_500]), Some(&mut 9_500));
        assert_eq!(arena.insert(0).get(), 2_001);
    }

    #[test]
    fn pages_without_records_take_no_memory() {
        let mut arena = Arena::new();
        let ids: Vec<Id> = (0..100_000_u64)
            .map(|record| arena.insert(record))
            .collect();
        assert_eq!(pages_with_memory(&arena), 196);
        // One is left at the beginning, and one at the end.
        for id in ids.get(1..99_999).unwrap() {
            arena.remove(*id);
        }
        assert_eq!(pages_with_memory(&arena), 2);
        assert_eq!(arena.get(ids[99_999]), Some(&99_999));
        arena.remove(ids[99_999]);
        assert_eq!(arena.pages.len(), 1);
        assert!(arena.pages.capacity() < 100);
        // New records fill what is there first.
        let again: Vec<u32> = (0..600).map(|record| arena.insert(record).get()).collect();
        let mut sorted = again.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (2..=601).collect::<Vec<_>>());
        arena.remove(ids[0]);
        for number in again {
            arena.remove(Id::new(number).unwrap());
        }
        assert_eq!((arena.pages.capacity(), arena.roomy.len()), (0, 0));
    }

    #[test]
    fn coming_and_going_at_the_edge_of_a_page_keeps_its_memory() {
        let mut arena = Arena::new();
        for record in 0..u64::from(PAGE_LEN) {
            arena.insert(record);
        }
        for record in 0..3 {
            let id = arena.insert(record);
            assert_eq!(pages_with_memory(&arena), 2);
            arena.remove(id);
            assert_eq!(pages_with_memory(&arena), 2);
        }
    }
}
