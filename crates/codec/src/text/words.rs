//! The quick checks of text, eight bytes at a time.

use super::{LOWEST_OF_NAMES, is_nul_or_misplaced};

/// Eight bytes at once. ASCII leaves the high bit of each free, to tell something about the byte.
type Word = u64;

const HIGH_BITS: Word = repeat(0x80);

const fn repeat(byte: u8) -> Word {
    Word::from_le_bytes([byte; 8])
}

/// Returns a word that carries into the high bit of each ASCII character from `lowest` on, when it
/// is added.
const fn carry_from(lowest: u8) -> Word {
    repeat(0x80_u8.saturating_sub(lowest))
}

/// Returns whether a text is ASCII from some character on.
#[inline(always)]
pub(super) fn is_ascii_from(lowest: u8, text: &[u8]) -> bool {
    is_ascii_with(carry_from(lowest), text)
}

/// One pass of a few instructions a word. Not inlined, so that its many callers stay small.
#[inline(never)]
fn is_ascii_with(carry: Word, text: &[u8]) -> bool {
    let mut any_bits = 0;
    let mut carries = HIGH_BITS;
    let mut add = |word: Word| {
        any_bits |= word;
        carries &= word.wrapping_add(carry);
    };
    let mut rest = text;
    while let Some((pair, after)) = rest.split_first_chunk::<16>() {
        add_ends(pair, &mut add);
        rest = after;
    }
    if rest.len() > 8 {
        // Some bytes are looked at twice, which is cheaper than to look at single ones.
        add_ends(rest, &mut add);
    } else if let Some(last) = text.last_chunk() {
        add(Word::from_le_bytes(*last));
    } else {
        add(short_word(text));
    }
    any_bits & HIGH_BITS == 0 && carries == HIGH_BITS
}

/// Adds the first and the last word of a text that has them.
#[inline(always)]
fn add_ends(text: &[u8], mut add: impl FnMut(Word)) {
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        add(Word::from_le_bytes(*first));
        add(Word::from_le_bytes(*last));
    }
}

/// Returns a word of the bytes of a text of at most 7, each at least once.
#[inline(always)]
fn short_word(text: &[u8]) -> Word {
    if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        return Word::from(u32::from_le_bytes(*first))
            | Word::from(u32::from_le_bytes(*last)) << 32;
    }
    match text {
        [] => repeat(b'/'),
        [first, ..] => {
            let second = text.get(1).unwrap_or(first);
            let third = text.get(2).unwrap_or(first);
            Word::from_le_bytes([
                *first, *second, *third, *first, *first, *first, *first, *first,
            ])
        }
    }
}

/// Returns whether a filter of eight bytes or more is ASCII without U+0000, and has no misplaced
/// wildcard.
#[inline(always)]
pub(super) fn is_plain_filter(filter: &[u8]) -> bool {
    let Some(last) = filter.last_chunk() else {
        return false;
    };
    let mut any_bits = 0;
    let mut is_wrong = false;
    let mut add = |at: usize, word: Word| {
        any_bits |= word;
        let mut low = !word.wrapping_add(carry_from(LOWEST_OF_NAMES)) & HIGH_BITS;
        while low != 0 {
            let byte = usize::try_from(low.trailing_zeros() / 8).unwrap_or_default();
            is_wrong |= is_nul_or_misplaced(filter, at.saturating_add(byte));
            low &= low.wrapping_sub(1);
        }
    };
    for (number, word) in filter.as_chunks().0.iter().enumerate() {
        add(number.saturating_mul(8), Word::from_le_bytes(*word));
    }
    if !filter.len().is_multiple_of(8) {
        add(filter.len().saturating_sub(8), Word::from_le_bytes(*last));
    }
    any_bits & HIGH_BITS == 0 && !is_wrong
}
