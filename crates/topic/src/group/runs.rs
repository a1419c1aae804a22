//! A set of places in few runs.

use alloc::collections::BTreeMap;
use core::{iter, ops::Range};

/// Places, as runs of neighbours: where a run that holds a place begins and ends is found without
/// walking along it.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    /// The end of each run, which is not of it, by its start. No two touch.
    ends: BTreeMap<usize, usize>,
    len: usize,
}

impl Runs {
    pub(crate) const fn new() -> Self {
        Self {
            ends: BTreeMap::new(),
            len: 0,
        }
    }

    /// Adds a place; returns whether it is new.
    pub(crate) fn insert(&mut self, place: usize) -> bool {
        if self.run_of(place).is_some() {
            return false;
        }
        let after = place.saturating_add(1);
        let end = self.ends.remove(&after).unwrap_or(after);
        let before = place.checked_sub(1).and_then(|before| self.run_of(before));
        let start = before.map_or(place, |(start, _)| start);
        self.ends.insert(start, end);
        self.len = self.len.saturating_add(1);
        true
    }

    /// Removes a place; returns whether it was there.
    pub(crate) fn remove(&mut self, place: usize) -> bool {
        let Some((start, end)) = self.run_of(place) else {
            return false;
        };
        self.ends.remove(&start);
        if start < place {
            self.ends.insert(start, place);
        }
        let after = place.saturating_add(1);
        if after < end {
            self.ends.insert(after, end);
        }
        self.len = self.len.saturating_sub(1);
        true
    }

    /// Returns those of these places that are in the set.
    pub(crate) fn inside(&self, places: Range<usize>) -> impl Iterator<Item = usize> {
        let next = move |from| self.next_inside(from).filter(|place| *place < places.end);
        iter::successors(next(places.start), move |place| {
            next(place.saturating_add(1))
        })
    }

    /// Returns those of these places that are not in the set.
    pub(crate) fn outside(&self, places: Range<usize>) -> impl Iterator<Item = usize> {
        let next = move |from| Some(self.next_outside(from)).filter(|place| *place < places.end);
        iter::successors(next(places.start), move |place| {
            next(place.saturating_add(1))
        })
    }

    /// Returns the first place from this one on that is not in the set.
    pub(crate) fn next_outside(&self, from: usize) -> usize {
        self.run_of(from).map_or(from, |(_, end)| end)
    }

    fn next_inside(&self, from: usize) -> Option<usize> {
        if self.run_of(from).is_some() {
            return Some(from);
        }
        self.ends.range(from..).next().map(|(start, _)| *start)
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Returns start and end of the run that holds a place.
    fn run_of(&self, place: usize) -> Option<(usize, usize)> {
        let (start, end) = self.ends.range(..=place).next_back()?;
        (place < *end).then_some((*start, *end))
    }
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeSet, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_agree_with_a_set(ops in prop::collection::vec((any::<bool>(), 0..40_usize), 1..200)) {
            let mut runs = Runs::new();
            let mut set = BTreeSet::new();
            for (is_insert, place) in ops {
                if is_insert {
                    prop_assert_eq!(runs.insert(place), set.insert(place));
                } else {
                    prop_assert_eq!(runs.remove(place), set.remove(&place));
                }
                prop_assert_eq!(runs.len(), set.len());
                for from in 0..42 {
                    let inside: Vec<_> = runs.inside(from..40).collect();
                    let outside: Vec<_> = runs.outside(from..40).collect();
                    let (in_set, others): (Vec<_>, Vec<_>) =
                        (from..40).partition(|place| set.contains(place));
                    prop_assert_eq!((inside, outside), (in_set, others));
                }
                let ends: Vec<_> = runs.ends.iter().collect();
                prop_assert!(ends.windows(2).all(|pair| pair[0].1 < pair[1].0), "none touch");
            }
        }
    }
}
