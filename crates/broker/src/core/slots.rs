//! Numbered places that give their memory back.

use std::collections::BTreeSet;

/// How many places are made, and given back, at once.
const PAGE_LEN: usize = 64;

/// Values by number, in pages: growing moves nothing, and a page that nothing is left in is given
/// back. The lowest page with room is filled first, so that what stays after a storm is close
/// together.
#[derive(Debug)]
pub(super) struct Slots<T> {
    /// A page that was given back is empty, and has no memory.
    pages: Vec<Page<T>>,
    /// The pages that are not full, those without memory included.
    with_room: BTreeSet<usize>,
    /// A page in which nothing was left when it was kept, with its memory.
    kept: usize,
    len: usize,
}

#[derive(Debug)]
struct Page<T> {
    places: Vec<Place<T>>,
    /// The place to fill next, which names the one after it; past the last place, a new one.
    free: usize,
    taken: usize,
}

#[derive(Debug)]
enum Place<T> {
    Taken(T),
    Free { next: usize },
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            pages: Vec::new(),
            with_room: BTreeSet::new(),
            kept: 0,
            len: 0,
        }
    }
}

impl<T> Slots<T> {
    /// Returns the number that the next value gets.
    pub(super) fn vacant_key(&self) -> usize {
        match self.with_room.first() {
            Some(number) => {
                let free = self.pages.get(*number).map_or(0, |page| page.free);
                number.saturating_mul(PAGE_LEN).saturating_add(free)
            }
            None => self.pages.len().saturating_mul(PAGE_LEN),
        }
    }

    /// Puts a value in; returns its number.
    pub(super) fn insert(&mut self, value: T) -> usize {
        let key = self.vacant_key();
        let number = key / PAGE_LEN;
        if number == self.pages.len() {
            self.pages.push(Page::new());
            self.with_room.insert(number);
        }
        if let Some(page) = self.pages.get_mut(number) {
            page.insert(value);
            self.len = self.len.saturating_add(1);
            if page.taken == PAGE_LEN {
                self.with_room.remove(&number);
            }
        }
        key
    }

    /// Takes a value out.
    pub(super) fn remove(&mut self, key: usize) -> Option<T> {
        let number = key / PAGE_LEN;
        let page = self.pages.get_mut(number)?;
        let was_full = page.taken == PAGE_LEN;
        let value = page.remove(key % PAGE_LEN)?;
        self.len = self.len.saturating_sub(1);
        if was_full {
            self.with_room.insert(number);
        }
        if page.taken == 0 {
            self.give_back(number);
        }
        Some(value)
    }

    /// Gives an empty page back, unless it is the only one: whoever comes and goes alone makes no
    /// memory come and go. Of two, the one that is filled first stays.
    fn give_back(&mut self, emptied: usize) {
        let kept = self.pages.get(self.kept).filter(|page| page.taken == 0);
        let kept = kept.map_or(emptied, |_| self.kept);
        self.kept = kept.min(emptied);
        if kept != emptied
            && let Some(page) = self.pages.get_mut(kept.max(emptied))
        {
            *page = Page::new();
        }
    }

    pub(super) fn get(&self, key: usize) -> Option<&T> {
        let page = self.pages.get(key / PAGE_LEN)?;
        match page.places.get(key % PAGE_LEN)? {
            Place::Taken(value) => Some(value),
            Place::Free { .. } => None,
        }
    }

    pub(super) fn get_mut(&mut self, key: usize) -> Option<&mut T> {
        let page = self.pages.get_mut(key / PAGE_LEN)?;
        match page.places.get_mut(key % PAGE_LEN)? {
            Place::Taken(value) => Some(value),
            Place::Free { .. } => None,
        }
    }

    /// Returns all values and their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        let pages = self.pages.iter().enumerate();
        pages.flat_map(|(number, page)| {
            let first = number.saturating_mul(PAGE_LEN);
            let places = page.places.iter().enumerate();
            places.filter_map(move |(place, value)| match value {
                Place::Taken(value) => Some((first.saturating_add(place), value)),
                Place::Free { .. } => None,
            })
        })
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

impl<T> Page<T> {
    const fn new() -> Self {
        Self {
            places: Vec::new(),
            free: 0,
            taken: 0,
        }
    }

    fn insert(&mut self, value: T) {
        self.taken = self.taken.saturating_add(1);
        if let Some(place) = self.places.get_mut(self.free) {
            if let Place::Free { next } = std::mem::replace(place, Place::Taken(value)) {
                self.free = next;
            }
            return;
        }
        if self.places.capacity() == 0 {
            self.places.reserve_exact(PAGE_LEN);
        }
        self.places.push(Place::Taken(value));
        self.free = self.places.len();
    }

    fn remove(&mut self, place: usize) -> Option<T> {
        let next = self.free;
        let place_mut = self.places.get_mut(place)?;
        match std::mem::replace(place_mut, Place::Free { next }) {
            Place::Taken(value) => {
                self.free = place;
                self.taken = self.taken.saturating_sub(1);
                Some(value)
            }
            free @ Place::Free { .. } => {
                *place_mut = free;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn pages_with_memory<T>(slots: &Slots<T>) -> usize {
        let has_memory = |page: &&Page<T>| page.places.capacity() > 0;
        slots.pages.iter().filter(has_memory).count()
    }

    #[test]
    fn pages_are_given_back_when_nothing_is_left_in_them() {
        let mut slots = Slots::default();
        let stays = slots.insert(0);
        let keys: Vec<usize> = (1..10_000).map(|value| slots.insert(value)).collect();
        assert_eq!(pages_with_memory(&slots), 10_000_usize.div_ceil(PAGE_LEN));
        for key in &keys {
            assert!(slots.remove(*key).is_some());
            assert!(slots.remove(*key).is_none());
        }
        // One empty page is kept for the next.
        assert_eq!((slots.len(), pages_with_memory(&slots)), (1, 2));
        assert_eq!(slots.get(stays), Some(&0));
        // What comes next lies beside what has stayed.
        assert!((1..PAGE_LEN).all(|value| slots.insert(value) < PAGE_LEN));
        assert_eq!(pages_with_memory(&slots), 2);
        assert_eq!(slots.insert(0) / PAGE_LEN, 1);
    }

    #[test]
    fn one_that_comes_and_goes_behind_full_pages_moves_no_memory() {
        let mut slots = Slots::default();
        for value in 0..3 * PAGE_LEN {
            slots.insert(value);
        }
        let key = slots.insert(0);
        assert_eq!(pages_with_memory(&slots), 4);
        assert!(slots.remove(key).is_some());
        assert_eq!(pages_with_memory(&slots), 4);
        assert_eq!(slots.insert(0), key);
        assert!(slots.remove(key).is_some());
        // A lower page that becomes empty is kept in its place.
        assert!((0..PAGE_LEN).all(|key| slots.remove(key).is_some()));
        assert_eq!(pages_with_memory(&slots), 3);
        assert!(slots.insert(0) < PAGE_LEN);
    }

    proptest! {
        #[test]
        fn every_value_is_found_under_its_number(
            steps in proptest::collection::vec((0..3_u8, 0..400_usize), 0..2_000),
        ) {
            let mut slots = Slots::default();
            let mut model = BTreeMap::new();
            for (step, (kind, at)) in steps.into_iter().enumerate() {
                if kind < 2 {
                    let vacant = slots.vacant_key();
                    prop_assert_eq!(slots.insert(step), vacant);
                    prop_assert_eq!(model.insert(vacant, step), None);
                } else {
                    prop_assert_eq!(slots.remove(at), model.remove(&at));
                }
                prop_assert_eq!(slots.get(at), model.get(&at));
                prop_assert_eq!(slots.get_mut(at).copied(), model.get(&at).copied());
                prop_assert_eq!(slots.len(), model.len());
            }
            let all: Vec<(usize, usize)> = slots.iter().map(|(key, value)| (key, *value)).collect();
            prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
        }
    }
}
