//! Checks of text: well-formed UTF-8, no U+0000, and the grammar of topic names and filters.
//!
//! Each check is one quick pass over the bytes, and a second one over the few texts that the first
//! does not find to be plain. Where registers hold eight bytes the first takes as many at a time;
//! elsewhere, where memory for code tends to be short, one.

#[cfg(any(all(test, feature = "alloc"), not(target_pointer_width = "64")))]
mod bytes;
#[cfg(any(all(test, feature = "alloc"), target_pointer_width = "64"))]
mod words;

#[cfg(not(target_pointer_width = "64"))]
use bytes as quick;
#[cfg(target_pointer_width = "64")]
use words as quick;

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
    if quick::is_ascii_from(LOWEST_OF_TEXT, text) {
        return Ok(());
    }
    check_text_closely(text)
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
    if quick::is_ascii_from(LOWEST_OF_NAMES, name) {
        return Ok(());
    }
    check_name_closely(name)
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
    if !quick::is_plain_filter(filter) {
        check_filter_closely(filter)?;
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

/// The lowest character that any text may have: all but U+0000.
const LOWEST_OF_TEXT: u8 = 0x01;
/// The lowest character above the wildcards and U+0000. Most names have none that is lower; those
/// that do, such as a space or `$`, are worth a closer look.
const LOWEST_OF_NAMES: u8 = b'+' + 1;

/// Looks for what no text may have.
#[cold]
fn check_text_closely(text: &[u8]) -> Result<(), DecodeError> {
    if text.contains(&0) {
        return Err(DecodeError::NulInString);
    }
    match core::str::from_utf8(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(DecodeError::InvalidUtf8 {
            valid_up_to: u16::try_from(error.valid_up_to()).unwrap_or(u16::MAX),
        }),
    }
}

/// Looks for what no Topic Name may have. In UTF-8 the bytes of wildcards stand for nothing else.
#[cold]
fn check_name_closely(name: &[u8]) -> Result<(), DecodeError> {
    check_text(name)?;
    if name.iter().any(|byte| matches!(byte, b'+' | b'#')) {
        return Err(DecodeError::WildcardInTopicName);
    }
    Ok(())
}

/// Returns whether a byte is U+0000, a wildcard that does not fill its level, or a `#` before the
/// last level.
#[inline(always)]
fn is_nul_or_misplaced(filter: &[u8], at: usize) -> bool {
    let (before, from) = filter.split_at_checked(at).unwrap_or_default();
    let begins_level = matches!(before, [] | [.., b'/']);
    match from {
        [b'+', after @ ..] => !begins_level || !matches!(after, [] | [b'/', ..]),
        [b'#', after @ ..] => !begins_level || !after.is_empty(),
        [byte, ..] => *byte == 0,
        [] => false,
    }
}

/// Looks for what no Topic Filter may have.
fn check_filter_closely(filter: &[u8]) -> Result<(), DecodeError> {
    check_text(filter)?;
    if (0..filter.len()).any(|at| is_nul_or_misplaced(filter, at)) {
        return Err(DecodeError::MisplacedWildcard);
    }
    Ok(())
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::{LOWEST_OF_NAMES, LOWEST_OF_TEXT, bytes, words};
    use super::{check_text, check_topic_filter, check_topic_name};
    use crate::DecodeError;

    #[test]
    fn words_agree_with_bytes() {
        for length in 0..40 {
            for at in 0..=length {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'a'; length];
                    if let Some(place) = text.get_mut(at) {
                        *place = byte;
                    }
                    for lowest in [LOWEST_OF_TEXT, LOWEST_OF_NAMES] {
                        assert_eq!(
                            words::is_ascii_from(lowest, &text),
                            bytes::is_ascii_from(lowest, &text),
                            "{byte} at {at} of {length}, from {lowest}"
                        );
                    }
                    let is_judged_closely = super::check_filter_closely(&text).is_ok();
                    for is_plain in [words::is_plain_filter(&text), bytes::is_plain_filter(&text)] {
                        assert!(!is_plain || is_judged_closely, "{}", text.escape_ascii());
                    }
                }
            }
        }
    }

    #[test]
    fn bytes_are_found_at_every_place_of_every_length() {
        let filler = [b'a'; 40];
        for length in 1..filler.len() {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut text = filler;
                    text[at] = byte;
                    let text = &text[..length];
                    let as_text = match byte {
                        0 => Err(DecodeError::NulInString),
                        0x80.. => Err(DecodeError::InvalidUtf8 {
                            valid_up_to: u16::try_from(at).unwrap_or(u16::MAX),
                        }),
                        _ => Ok(()),
                    };
                    let as_name = match byte {
                        b'+' | b'#' => Err(DecodeError::WildcardInTopicName),
                        _ => as_text,
                    };
                    assert_eq!(check_text(text), as_text, "{byte} at {at} of {length}");
                    assert_eq!(
                        check_topic_name(text),
                        as_name,
                        "{byte} at {at} of {length}"
                    );
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
                let found = check_topic_filter(&filter) == Err(DecodeError::MisplacedWildcard);
                assert_eq!(found, is_misplaced(&filter), "{}", filter.escape_ascii());
            }
        }
    }
}
