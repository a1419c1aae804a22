//! The keyed hash behind every table, for keys that peers choose.

use core::hash::{Hash, Hasher};

/// Hashes under a secret that the index's owner supplied as its seed.
///
/// Peers choose the topics. Without the seed they cannot tell which topics share a slot, and no
/// answer of an index depends on it: equal hashes are always settled by comparing the texts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyedHash {
    start: u64,
    factor: u64,
}

impl KeyedHash {
    pub(crate) const fn new(seed: u64) -> Self {
        let start = scramble(seed);
        Self {
            start,
            // Odd, so that no word is lost in the multiplication.
            factor: scramble(start) | 1,
        }
    }

    /// Gives everything the same hash, for tests of what happens when hashes collide.
    #[cfg(test)]
    pub(crate) const WEAK: Self = Self {
        start: 0,
        factor: 0,
    };

    /// Hashes a text.
    pub(crate) fn text(self, text: &str) -> u32 {
        self.bytes(text.as_bytes())
    }

    /// Hashes each level of a name; the hash of a level is that of its text. Returns how many
    /// found room in `hashes`.
    pub(crate) fn levels(self, name: &str, hashes: &mut [u32]) -> usize {
        let levels = name.as_bytes().split(|byte| *byte == b'/');
        let mut count = 0_usize;
        for (hash, level) in hashes.iter_mut().zip(levels) {
            *hash = self.bytes(level);
            count = count.saturating_add(1);
        }
        count
    }

    fn bytes(self, bytes: &[u8]) -> u32 {
        let mut state = Mixer(self.start ^ bytes.len() as u64, self.factor);
        state.absorb(bytes);
        upper(state.finish())
    }

    /// Hashes a key of the caller's.
    pub(crate) fn key(self, key: &impl Hash) -> u32 {
        let mut state = Mixer(self.start, self.factor);
        key.hash(&mut state);
        upper(state.finish())
    }

    /// Hashes two small numbers.
    pub(crate) const fn pair(self, left: u32, right: u32) -> u32 {
        let word = (left as u64) << 32 | right as u64;
        upper(fold(self.start ^ word, self.factor))
    }
}

struct Mixer(u64, u64);

impl Mixer {
    /// Absorbs bytes of a length that was absorbed before: the last word may overlap the one
    /// before it.
    fn absorb(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let last = bytes.last_chunk::<8>();
            self.write_u64(last.map_or_else(|| short_word(rest), |word| u64::from_le_bytes(*word)));
        }
    }
}

/// Packs up to seven bytes, overlapping where they are more than four.
fn short_word(bytes: &[u8]) -> u64 {
    match (bytes, bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (_, Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
        }
        ([first, middle @ .., last], ..) => {
            let middle = middle.first().map_or(0, |byte| u64::from(*byte));
            u64::from(*first) | middle << 8 | u64::from(*last) << 16
        }
        (short, ..) => short.first().map_or(0, |byte| u64::from(*byte)),
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        self.write_u64(bytes.len() as u64);
        self.absorb(bytes);
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = fold(self.0 ^ word, self.1);
    }

    fn finish(&self) -> u64 {
        fold(self.0, self.1)
    }
}

/// Multiplies to 128 bits and folds the halves, so that every bit reaches every other.
#[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
const fn fold(left: u64, right: u64) -> u64 {
    let product = (left as u128).wrapping_mul(right as u128);
    (product as u64) ^ ((product >> 64) as u64)
}

const fn upper(word: u64) -> u32 {
    (word >> 32) as u32
}

/// Spreads a seed over all 64 bits, neighbours far apart.
pub(crate) const fn scramble(seed: u64) -> u64 {
    let word = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
