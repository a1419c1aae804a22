//! Checks of text: well-formed UTF-8, no U+0000, and the grammar of topic names and filters.
//!
//! Each check is one pass over the bytes, eight at a time, as long as they are ASCII.

use crate::{DecodeError, EncodeError};

/// The prefix of a shared subscription's filter.
const SHARE: &[u8] = b"$share/";

/// Checks a text field.
///
/// # Specification
///
/// v5 MQTT-1.5.4-1, v5 MQTT-1.5.4-2; v3.1.1 MQTT-1.5.3-1, v3.1.1 MQTT-1.5.3-2.
#[inline]
pub(crate) fn check_text(text: &[u8]) -> Result<(), DecodeError> {
    let found = scan(text);
    if found.nul {
        return Err(DecodeError::NulInString);
    }
    check_utf8(text, found)
}

/// Checks that a Topic Name may stand in a packet: one to 65,535 bytes, no wildcard, no U+0000.
///
/// # Errors
///
/// [`EncodeError`]: what encoding a PUBLISH to this topic would say.
///
/// # Examples
///
/// ```
/// use mqttstack_codec::validate_topic_name;
///
/// assert!(validate_topic_name("a/b").is_ok());
/// assert!(validate_topic_name("a/+").is_err());
/// ```
pub fn validate_topic_name(name: &str) -> Result<(), EncodeError> {
    let length = name.len();
    if length > usize::from(u16::MAX) {
        return Err(EncodeError::FieldTooLong { length });
    }
    Ok(check_topic_name(name.as_bytes())?)
}

/// Checks a Topic Name that must not be empty.
///
/// # Specification
///
/// v5 MQTT-4.7.0-1, v5 MQTT-4.7.3-1, v5 MQTT-4.7.3-2.
#[inline]
pub(crate) fn check_topic_name(name: &[u8]) -> Result<(), DecodeError> {
    if name.is_empty() {
        return Err(DecodeError::EmptyTopicName);
    }
    let found = scan(name);
    if found.nul {
        return Err(DecodeError::NulInString);
    }
    check_utf8(name, found)?;
    if found.wildcard {
        return Err(DecodeError::WildcardInTopicName);
    }
    Ok(())
}

/// Checks a Topic Filter, and tells what kind it is.
///
/// # Specification
///
/// v5 MQTT-4.7.1-1, v5 MQTT-4.7.1-2, v5 MQTT-4.7.3-1, v5 MQTT-4.7.3-2, v5 MQTT-4.8.2-1,
/// v5 MQTT-4.8.2-2.
#[inline]
pub(crate) fn check_topic_filter(filter: &[u8]) -> Result<FilterKind, DecodeError> {
    if filter.is_empty() {
        return Err(DecodeError::EmptyTopicFilter);
    }
    let (found, is_misplaced) = scan_filter(filter);
    if found.nul {
        return Err(DecodeError::NulInString);
    }
    check_utf8(filter, found)?;
    if is_misplaced {
        return Err(DecodeError::MisplacedWildcard);
    }
    if filter.first() != SHARE.first() {
        return Ok(FilterKind::Plain);
    }
    Ok(match filter.strip_prefix(SHARE) {
        None => FilterKind::Plain,
        Some(rest) if is_share_name_and_filter(rest) => FilterKind::Shared,
        Some(_) => FilterKind::IllFormedShared,
    })
}

/// What kind of subscription a filter asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FilterKind {
    /// It does not begin with `$share/`.
    Plain,
    /// `$share/{name}/{filter}`.
    Shared,
    /// It begins with `$share/` and does not go on as it must: an error in 5.0, an ordinary
    /// filter in 3.x, which has no shared subscriptions.
    IllFormedShared,
}

/// Returns whether what follows `$share/` is a share name, a slash and a filter. Wildcards of the
/// whole filter have been checked, so the share name can only be one, not hold one.
fn is_share_name_and_filter(rest: &[u8]) -> bool {
    let Some(end) = rest.iter().position(|byte| *byte == b'/') else {
        return false;
    };
    let (name, slash_and_filter) = rest.split_at(end);
    !name.is_empty() && !matches!(name, b"+" | b"#") && slash_and_filter.len() > 1
}

/// Refuses control characters and non-characters, which the standard only discourages.
///
/// # Specification
///
/// v5 U-01; X311-1.5.3-a.
pub(crate) fn check_discouraged(text: &str) -> Result<(), DecodeError> {
    for character in text.chars() {
        let code_point = u32::from(character);
        let is_control = matches!(code_point, 0x01..=0x1F | 0x7F..=0x9F);
        let is_non_character =
            matches!(code_point, 0xFDD0..=0xFDEF) || code_point & 0xFFFE == 0xFFFE;
        if is_control || is_non_character {
            return Err(DecodeError::DiscouragedCodePoint { code_point });
        }
    }
    Ok(())
}

/// What one pass over the bytes has met.
#[derive(Clone, Copy, Default)]
struct Found {
    not_ascii: bool,
    nul: bool,
    wildcard: bool,
}

#[inline]
fn check_utf8(text: &[u8], found: Found) -> Result<(), DecodeError> {
    if !found.not_ascii {
        return Ok(());
    }
    match core::str::from_utf8(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(DecodeError::InvalidUtf8 {
            valid_up_to: u16::try_from(error.valid_up_to()).unwrap_or(u16::MAX),
        }),
    }
}

/// Looks for bytes that need care. In UTF-8 the bytes of `+`, `#` and U+0000 stand for nothing
/// else, so that this works on text that has not been checked yet.
#[inline(always)]
fn scan(text: &[u8]) -> Found {
    let mut seen = Seen::NOTHING;
    let (words, tail) = text.as_chunks::<8>();
    for word in words {
        seen.add(u64::from_le_bytes(*word));
    }
    if !tail.is_empty() {
        seen.add(match text.last_chunk::<8>() {
            // Some bytes are looked at twice, which is cheaper than to look at single ones.
            Some(last) => u64::from_le_bytes(*last),
            None => short_word(text),
        });
    }
    seen.found()
}

/// Looks for bytes that need care, and for wildcards that do not fill a level or, in the case of
/// `#`, are not the last.
#[inline(always)]
fn scan_filter(filter: &[u8]) -> (Found, bool) {
    let mut seen = Seen::NOTHING;
    // What comes first begins a level, as if a slash stood before it.
    let mut levels = Levels {
        after_slash: 0x80,
        ..Levels::default()
    };
    let (words, tail) = filter.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        seen.add(word);
        levels.add(word, HIGH_BITS);
    }
    if !tail.is_empty() {
        let tail_len = u32::try_from(tail.len()).unwrap_or_default();
        let bits = u64::BITS.saturating_sub(tail_len.saturating_mul(8));
        let tail = match filter.last_chunk::<8>() {
            Some(last) => u64::from_le_bytes(*last).wrapping_shr(bits),
            None => tail
                .iter()
                .rev()
                .fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        // What is not there is padded with a harmless byte.
        let there = u64::MAX.wrapping_shr(bits);
        let word = tail | HARMLESS & !there;
        seen.add(word);
        levels.add(word, there & HIGH_BITS);
    }
    (seen.found(), levels.misplaced != 0)
}

/// Where levels begin and wildcards stand, of eight bytes at once: the high bit of a byte tells.
#[derive(Default)]
struct Levels {
    misplaced: u64,
    /// Whether the first byte of the next word follows a slash, a `+` or a `#`.
    after_slash: u64,
    after_plus: u64,
    after_hash: u64,
}

impl Levels {
    /// Takes the next word, and which of its bytes are there.
    #[inline]
    fn add(&mut self, word: u64, there: u64) {
        let slash = zero_bytes(word ^ repeat(b'/'));
        let plus = zero_bytes(word ^ repeat(b'+'));
        let hash = zero_bytes(word ^ repeat(b'#'));
        let after_slash = slash << 8 | self.after_slash;
        let after_plus = plus << 8 | self.after_plus;
        let after_hash = hash << 8 | self.after_hash;
        self.misplaced |= (plus | hash) & !after_slash;
        self.misplaced |= (after_plus & !slash | after_hash) & there;
        self.after_slash = slash >> 56;
        self.after_plus = plus >> 56;
        self.after_hash = hash >> 56;
    }
}

/// Returns a word of the bytes of a text of 1 to 7, each at least once.
#[inline(always)]
fn short_word(text: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32;
    }
    match text {
        [one] => repeat(*one),
        [one, two] => u64::from_le_bytes([*one, *two, *one, *two, *one, *two, *one, *two]),
        [one, two, three, ..] => {
            u64::from_le_bytes([*one, *two, *three, *one, *two, *three, *one, *two])
        }
        [] => HARMLESS,
    }
}

const HIGH_BITS: u64 = repeat(0x80);
const HARMLESS: u64 = repeat(b' ');

/// What has been met, of eight positions at once: the high bit of a byte tells.
struct Seen {
    /// Set for a byte that is not ASCII.
    not_ascii: u64,
    /// Cleared for U+0000.
    no_nul: u64,
    /// Cleared for `+` or `#`.
    no_wildcard: u64,
}

impl Seen {
    const NOTHING: Self = Self {
        not_ascii: 0,
        no_nul: u64::MAX,
        no_wildcard: u64::MAX,
    };

    #[inline(always)]
    const fn add(&mut self, word: u64) {
        self.not_ascii |= word;
        self.no_nul &= other_bytes(word);
        self.no_wildcard &= no_wildcards(word);
    }

    #[inline(always)]
    const fn found(&self) -> Found {
        Found {
            not_ascii: self.not_ascii & HIGH_BITS != 0,
            nul: self.no_nul & HIGH_BITS != HIGH_BITS,
            wildcard: self.no_wildcard & HIGH_BITS != HIGH_BITS,
        }
    }
}

const fn repeat(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Clears the high bit of each byte that is `+` or `#`, and of no other.
#[inline(always)]
const fn no_wildcards(word: u64) -> u64 {
    // The two differ in a single bit.
    other_bytes((word | repeat(b'+' ^ b'#')) ^ repeat(b'+'))
}

/// Sets the high bit of each byte that is 0, and of no other.
#[inline(always)]
const fn zero_bytes(word: u64) -> u64 {
    !other_bytes(word) & HIGH_BITS
}

/// Clears the high bit of each byte that is 0, and of no other; the low bits mean nothing.
#[inline(always)]
const fn other_bytes(word: u64) -> u64 {
    (word & !HIGH_BITS).wrapping_add(!HIGH_BITS) | word
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::{HIGH_BITS, no_wildcards, scan, scan_filter, short_word, zero_bytes};

    #[test]
    fn bytes_are_found_at_every_place_of_every_length() {
        let filler = [b'a'; 40];
        for length in 1..filler.len() {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut text = filler;
                    text[at] = byte;
                    let found = scan(&text[..length]);
                    assert_eq!(found.nul, byte == 0, "{byte} at {at} of {length}");
                    assert_eq!(
                        found.wildcard,
                        matches!(byte, b'+' | b'#'),
                        "{byte} at {at}"
                    );
                    assert_eq!(found.not_ascii, byte >= 0x80, "{byte} at {at}");
                }
            }
        }
    }

    /// Says by levels whether wildcards are where they may be.
    fn is_misplaced(filter: &[u8]) -> bool {
        let levels = filter.split(|byte| *byte == b'/').collect::<Vec<_>>();
        levels.iter().enumerate().any(|(at, level)| {
            let has_wildcard = level.iter().any(|byte| matches!(byte, b'+' | b'#'));
            let is_last = at.saturating_add(1) == levels.len();
            has_wildcard && *level != b"+" && (*level != b"#" || !is_last)
        })
    }

    #[test]
    fn wildcards_are_judged_as_levels_are() {
        // All filters of five bytes that matter, behind fillers of all lengths.
        for shift in 0..18 {
            for number in 0..4_u32.pow(5) {
                let mut filter = vec![b'x'; shift];
                if shift > 0 {
                    filter.push(b'/');
                }
                filter.extend((0..5).map(|at| b"a/+#"[(number >> (2 * at) & 3) as usize]));
                let (_, found) = scan_filter(&filter);
                assert_eq!(found, is_misplaced(&filter), "{}", filter.escape_ascii());
            }
        }
    }

    #[test]
    fn words_tell_their_bytes_apart() {
        let word = u64::from_le_bytes(*b"+a#\0+\xAB\x01#");
        let wildcards = !no_wildcards(word) & HIGH_BITS;
        assert_eq!(
            wildcards.to_le_bytes(),
            [0x80, 0, 0x80, 0, 0x80, 0, 0, 0x80]
        );
        assert_eq!(zero_bytes(word).to_le_bytes(), [0, 0, 0, 0x80, 0, 0, 0, 0]);
        assert_eq!(zero_bytes(0x0000_0100_0000_0000).count_ones(), 7);
        assert_eq!(short_word(b"abc").to_le_bytes(), *b"abcabcab");
        assert_eq!(short_word(b"abcde").to_le_bytes(), *b"abcdbcde");
    }
}
