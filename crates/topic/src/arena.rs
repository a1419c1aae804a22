//! Records that name each other by number.

use core::{mem, num::NonZeroU32};

use crate::pages::Pages;

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

    const fn index(self) -> usize {
        self.get().saturating_sub(1) as usize
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

/// Records that keep their number until they are removed; a free number is given again.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    places: Pages<Place<T>>,
    /// The free place to fill next; it names the one after it.
    free: Option<Id>,
    len: usize,
}

#[derive(Debug)]
enum Place<T> {
    Taken(T),
    Free(Option<Id>),
}

impl<T> Arena<T> {
    pub(crate) const fn new() -> Self {
        Self {
            places: Pages::new(),
            free: None,
            len: 0,
        }
    }

    /// Stores a record and returns its number.
    ///
    /// # Panics
    ///
    /// With 2^31 records, as `Vec` does when its capacity overflows.
    pub(crate) fn insert(&mut self, record: T) -> Id {
        self.len = self.len.saturating_add(1);
        let Some(id) = self.free else {
            self.places.push(Place::Taken(record));
            // No place is free, so the records' count is the number of the last.
            let id = u32::try_from(self.len).ok().and_then(Id::new);
            assert!(id.is_some(), "capacity overflow");
            return id.unwrap_or(Id(NonZeroU32::MIN));
        };
        let place = self.places.get_mut(id.index());
        self.free = match place.map(|place| mem::replace(place, Place::Taken(record))) {
            Some(Place::Free(next)) => next,
            Some(Place::Taken(_)) | None => None,
        };
        id
    }

    /// Takes a record out.
    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let free = self.free;
        let place = self.places.get_mut(id.index())?;
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
        match self.places.get_mut(id.index())? {
            Place::Taken(record) => Some(record),
            Place::Free(_) => None,
        }
    }

    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        match self.places.get(id.index())? {
            Place::Taken(record) => Some(record),
            Place::Free(_) => None,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}
