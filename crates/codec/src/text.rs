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
pub(crate) fn check_topic_filter(filter: &[u8]) -> Result<FilterKind, DecodeError> {
    if filter.is_empty() {
        return Err(DecodeError::EmptyTopicFilter);
    }
    let found = scan(filter);
    if found.nul {
        return Err(DecodeError::NulInString);
    }
    check_utf8(filter, found)?;
    if found.wildcard {
        check_wildcards(filter)?;
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

/// Checks that each wildcard fills its level and that `#` is the last.
fn check_wildcards(filter: &[u8]) -> Result<(), DecodeError> {
    let mut before = b'/';
    let mut rest = filter;
    while let [byte, after @ ..] = rest {
        let fills_level = before == b'/' && matches!(after, [] | [b'/', ..]);
        match byte {
            b'+' if !fills_level => return Err(DecodeError::MisplacedWildcard),
            b'#' if before != b'/' || !after.is_empty() => {
                return Err(DecodeError::MisplacedWildcard);
            }
            _ => {}
        }
        before = *byte;
        rest = after;
    }
    Ok(())
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
fn scan(text: &[u8]) -> Found {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let (words, tail) = text.as_chunks::<8>();
    let mut seen = Seen::default();
    for word in words {
        seen.add(u64::from_le_bytes(*word));
    }
    if !tail.is_empty() {
        // Padding with a harmless byte.
        let mut word = [b' '; 8];
        for (to, from) in word.iter_mut().zip(tail) {
            *to = *from;
        }
        seen.add(u64::from_le_bytes(word));
    }
    Found {
        not_ascii: seen.not_ascii & HIGH_BITS != 0,
        nul: seen.nul & HIGH_BITS != 0,
        wildcard: seen.wildcard & HIGH_BITS != 0,
    }
}

/// High bits of the bytes that were met, of eight positions at once.
#[derive(Default)]
struct Seen {
    not_ascii: u64,
    nul: u64,
    wildcard: u64,
}

impl Seen {
    fn add(&mut self, word: u64) {
        self.not_ascii |= word;
        self.nul |= zero_bytes(word);
        self.wildcard |= zero_bytes(word ^ repeat(b'+')) | zero_bytes(word ^ repeat(b'#'));
    }
}

const fn repeat(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Sets the high bit of each byte that is 0. A borrow can set it in a byte above one that is 0
/// as well, never in a word without a 0.
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(repeat(0x01)) & !word & repeat(0x80)
}
