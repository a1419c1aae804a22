//! The mask over what a WebSocket client sends.

use core::hash::BuildHasher as _;
use std::hash::RandomState;

/// A mask, and how far it is along its four bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Mask {
    key: [u8; 4],
}

impl Mask {
    pub(super) const fn new(key: [u8; 4]) -> Self {
        Self { key }
    }

    /// Masks or unmasks `bytes`, and moves on by their number.
    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        if self.key == [0; 4] {
            return;
        }
        let [a, b, c, d] = self.key;
        let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let (words, rest) = bytes.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(self.key.iter().cycle()) {
            *byte ^= key;
        }
        self.key.rotate_left(bytes.len() % 4);
    }
}

/// Where a client's masks come from.
///
/// A mask has to be one that a web page cannot guess, so that it cannot write chosen bytes onto the
/// wire. A keyed hash of a counter, with a key from the system's randomness, is that.
#[derive(Debug)]
pub(super) struct Masks {
    key: RandomState,
    count: u64,
}

impl Masks {
    pub(super) fn new() -> Self {
        Self {
            key: RandomState::new(),
            count: 0,
        }
    }

    pub(super) fn next(&mut self) -> [u8; 4] {
        self.count = self.count.wrapping_add(1);
        let [a, b, c, d, ..] = self.key.hash_one(self.count).to_ne_bytes();
        [a, b, c, d]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_unmasked() {
        // RFC 6455 section 5.7: "Hello" under 37 fa 21 3d.
        let mut bytes = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        Mask::new([0x37, 0xfa, 0x21, 0x3d]).apply(&mut bytes);
        assert_eq!(&bytes, b"Hello");
    }

    #[test]
    fn a_mask_goes_on_where_it_stopped() {
        let key = [1, 2, 3, 4];
        for cut in 0..40 {
            let (mut whole, mut parts) = ([0xAA; 40], [0xAA; 40]);
            Mask::new(key).apply(&mut whole);
            let mut mask = Mask::new(key);
            let (first, second) = parts.split_at_mut(cut);
            mask.apply(first);
            mask.apply(second);
            assert_eq!(whole, parts, "cut at {cut}");
        }
    }

    #[test]
    fn masks_do_not_repeat() {
        let (mut one, mut other) = (Masks::new(), Masks::new());
        let mut seen: Vec<_> = (0..32).flat_map(|_| [one.next(), other.next()]).collect();
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 60, "{} of 64 differ", seen.len());
    }
}
