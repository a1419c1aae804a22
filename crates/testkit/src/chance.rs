//! Chance that repeats: everything random in a simulation comes from one seed.

use std::{fmt, ops::Range, time::Duration};

/// What a simulation is replayed from.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Seed(pub u64);

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A sequence of numbers that a [`Seed`] decides: SplitMix64, enough to scatter faults.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Begins the sequence of a seed.
    #[must_use]
    pub const fn new(seed: Seed) -> Self {
        Self(seed.0)
    }

    /// Returns a sequence of its own, so that what one part draws does not move the others.
    #[must_use]
    pub const fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// Returns the next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`; 0 if there is none.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or_default()
    }

    /// Returns an index into something of `len` elements.
    pub fn index(&mut self, len: usize) -> usize {
        let bound = u64::try_from(len).unwrap_or(u64::MAX);
        usize::try_from(self.below(bound)).unwrap_or_default()
    }

    /// Returns true so many times in a hundred.
    pub fn percent(&mut self, percent: u8) -> bool {
        self.below(100) < percent.into()
    }

    /// Returns a duration in the range, to the microsecond; its start if it is empty.
    pub fn between(&mut self, range: &Range<Duration>) -> Duration {
        let width = range.end.saturating_sub(range.start).as_micros();
        let width = u64::try_from(width).unwrap_or(u64::MAX);
        range.start + Duration::from_micros(self.below(width))
    }

    /// Returns one of the elements; there has to be one.
    pub fn pick<'a, T>(&mut self, elements: &'a [T]) -> &'a T {
        &elements[self.index(elements.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_another_does_not() {
        let draw = |seed| {
            let mut chance = Chance::new(Seed(seed));
            [(); 4].map(|()| chance.next())
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let mut chance = Chance::new(Seed(3));
        let range = Duration::from_micros(5)..Duration::from_micros(8);
        for _ in 0..100 {
            assert!(chance.below(7) < 7);
            assert!(range.contains(&chance.between(&range)));
        }
        assert_eq!(chance.between(&(range.end..range.end)), range.end);
        assert_eq!(chance.below(0), 0);
    }
}
