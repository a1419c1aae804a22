//! A sorted set of numbers, many of which are neighbours.

use alloc::collections::{BTreeMap, btree_map};
use core::iter;

/// A sorted set of numbers, kept as maps of 64 bits.
///
/// Names arrive in the order of their ids, and those of one place arrive together: in the lists of
/// what they share, a bit each takes a thirtieth of the memory of a number each. A number without
/// neighbours takes half as much again.
#[derive(Debug)]
pub(crate) struct Blocks {
    /// The numbers of a block, whose own number is theirs without the last bits; none is empty.
    blocks: BTreeMap<u64, Bits>,
}

/// Which numbers of a block there are.
#[derive(Clone, Copy, Debug, Default)]
struct Bits(u64);

/// How many bits of a number are its place in the block.
const PLACE_BITS: u32 = 6;

impl Bits {
    /// Those of all numbers from one on.
    const fn from_on(number: u64) -> Self {
        Self(u64::MAX << place(number))
    }

    const fn only(number: u64) -> Self {
        Self(1 << place(number))
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Takes the place of the first out.
    fn pop(&mut self) -> Option<u64> {
        if self.0 == 0 {
            return None;
        }
        let first = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        Some(first.into())
    }
}

impl Blocks {
    pub(crate) const fn new() -> Self {
        Self {
            blocks: BTreeMap::new(),
        }
    }

    pub(crate) fn insert(&mut self, number: u64) {
        let bits = self.blocks.entry(block(number)).or_default();
        *bits = bits.or(Bits::only(number));
    }

    pub(crate) fn remove(&mut self, number: u64) {
        let btree_map::Entry::Occupied(mut entry) = self.blocks.entry(block(number)) else {
            return;
        };
        let left = entry.get().without(Bits::only(number));
        if left.0 == 0 {
            entry.remove();
        } else {
            entry.insert(left);
        }
    }

    /// Walks along the numbers between two, both included. Each step takes a number, and reads one
    /// block at most beyond it.
    pub(crate) fn walk(&self, from: u64, to: u64) -> impl Iterator<Item = u64> {
        let mut blocks = self.blocks.range(block(from)..=block(to));
        let (mut start, mut bits) = (0, Bits::default());
        iter::from_fn(move || {
            loop {
                if let Some(place) = bits.pop() {
                    return Some(start | place).filter(|number| *number <= to);
                }
                // Only the first block may have nothing to offer.
                let (number, all) = blocks.next()?;
                start = *number << PLACE_BITS;
                bits = if start < from {
                    all.and(Bits::from_on(from))
                } else {
                    *all
                };
            }
        })
    }
}

const fn block(number: u64) -> u64 {
    number >> PLACE_BITS
}

const fn place(number: u64) -> u64 {
    number & ((1 << PLACE_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeSet, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_gone_leaves_nothing() {
        let mut blocks = Blocks::new();
        for number in [0, 63, 64, u64::MAX] {
            blocks.insert(number);
        }
        assert_eq!(
            blocks.walk(0, u64::MAX).collect::<Vec<_>>(),
            [0, 63, 64, u64::MAX]
        );
        for number in [63, 7, 0, u64::MAX, 64] {
            blocks.remove(number);
        }
        assert!(blocks.blocks.is_empty());
    }

    proptest! {
        #[test]
        fn behaves_as_a_set(
            changes in proptest::collection::vec((any::<bool>(), 0_u64..500), 0..300),
            from in 0_u64..500,
            len in 0_u64..500,
        ) {
            let (mut blocks, mut model) = (Blocks::new(), BTreeSet::new());
            for (is_new, number) in changes {
                if is_new {
                    blocks.insert(number);
                    model.insert(number);
                } else {
                    blocks.remove(number);
                    model.remove(&number);
                }
            }
            let to = from.saturating_add(len);
            let walked: Vec<u64> = blocks.walk(from, to).collect();
            let expected: Vec<u64> = model.range(from..=to).copied().collect();
            prop_assert_eq!(walked, expected);
        }
    }
}
