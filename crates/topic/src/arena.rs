//! Records that name each other by number.

use alloc::vec::Vec;
use core::{mem, num::NonZeroU32};

/// The number of a record in its [`Arena`]: 1 to 2^31, so that one bit is left to those who
/// store it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Id(NonZeroU32);

impl Id {
    const MAX: u32 = 1 << 31;

    pub(crate) fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number)
            .filter(|number| number.get() <= Self::MAX)
            .map(Self)
    }

    pub(crate) const fn get(self) -> u32 {
        self.0.get()
    }

    const fn page_and_place(self) -> (usize, usize) {
        let index = self.get().saturating_sub(1) as usize;
        (index >> PAGE_BITS, index % PAGE_LEN)
    }
}

/// One of two kinds of record, in the size of one [`Id`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct EitherId(NonZeroU32);

impl EitherId {
    const RIGHT: u32 = 1 << 31;

    /// An id is at most 2^31, so one less than it leaves the upper bit free.
    pub(crate) const fn left(id: Id) -> Self {
        Self(id.0)
    }

    pub(crate) const fn right(id: Id) -> Self {
        Self(id.0.saturating_add(Self::RIGHT))
    }

    /// Returns `Ok` with a left id, `Err` with a right one.
    pub(crate) const fn split(self) -> Result<Id, Id> {
        match NonZeroU32::new(self.0.get().wrapping_sub(Self::RIGHT)) {
            Some(number) if self.0.get() > Self::RIGHT => Err(Id(number)),
            Some(_) | None => Ok(Id(self.0)),
        }
    }
}

/// Records in pages: growing moves none of them, and a removed record's place is used again.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    pages: Vec<Vec<Place<T>>>,
    /// The free place to fill next; it names the one after it.
    free: Option<Id>,
    len: usize,
}

#[derive(Debug)]
enum Place<T> {
    Taken(T),
    Free(Option<Id>),
}

const PAGE_BITS: u32 = 9;
const PAGE_LEN: usize = 1 << PAGE_BITS;

impl<T> Arena<T> {
    pub(crate) const fn new() -> Self {
        Self {
            pages: Vec::new(),
            free: None,
            len: 0,
        }
    }

    /// Stores a record and returns its number.
    ///
    /// # Panics
    ///
    /// With more than 2^31 - 1 records, as `Vec` does when its capacity overflows.
    pub(crate) fn insert(&mut self, record: T) -> Id {
        self.len = self.len.saturating_add(1);
        match self.free {
            Some(id) => {
                let place = self
                    .place_mut(id)
                    .map(|place| mem::replace(place, Place::Taken(record)));
                self.free = match place {
                    Some(Place::Free(next)) => next,
                    Some(Place::Taken(_)) | None => None,
                };
                id
            }
            None => self.push(record),
        }
    }

    fn push(&mut self, record: T) -> Id {
        if self.pages.last().is_none_or(|page| page.len() == PAGE_LEN) {
            // The first page grows as needed: a small index stays small.
            let capacity = if self.pages.is_empty() { 0 } else { PAGE_LEN };
            self.pages.push(Vec::with_capacity(capacity));
        }
        if let Some(page) = self.pages.last_mut() {
            page.push(Place::Taken(record));
        }
        // No place is free, so every record has its own and the last one's number is their count.
        let id = u32::try_from(self.len).ok().and_then(Id::new);
        assert!(id.is_some_and(|id| id.get() < Id::MAX), "capacity overflow");
        id.unwrap_or(Id(NonZeroU32::MIN))
    }

    /// Takes a record out.
    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let free = self.free;
        let place = self.place_mut(id)?;
        let record = match mem::replace(place, Place::Free(free)) {
            Place::Taken(record) => record,
            Place::Free(next) => {
                *place = Place::Free(next);
                return None;
            }
        };
        self.free = Some(id);
        self.len = self.len.saturating_sub(1);
        if self.len == 0 {
            *self = Self::new();
        }
        Some(record)
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        match self.place_mut(id)? {
            Place::Taken(record) => Some(record),
            Place::Free(_) => None,
        }
    }

    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        let (page, place) = id.page_and_place();
        match self.pages.get(page)?.get(place)? {
            Place::Taken(record) => Some(record),
            Place::Free(_) => None,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    fn place_mut(&mut self, id: Id) -> Option<&mut Place<T>> {
        let (page, place) = id.page_and_place();
        self.pages.get_mut(page)?.get_mut(place)
    }
}
