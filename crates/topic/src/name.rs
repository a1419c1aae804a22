//! Topic names: what a PUBLISH, a will and a response topic carry.

use alloc::boxed::Box;
use core::{fmt, str::Split};

use crate::{CharacterPolicy, TopicError, TopicLimits};

/// A topic name: at least one character, no wildcard, no U+0000, within [`TopicLimits`].
///
/// Parsed once and trusted after. Comparison is exact: case, spaces, empty levels and the Unicode
/// form all count.
///
/// # Specification
///
/// v5 MQTT-4.7.0-1, v5 MQTT-4.7.3-1 to -4; v3.1.1 MQTT-4.7.1-1, v3.1.1 MQTT-4.7.3-1 to -4.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TopicName<'a> {
    text: &'a str,
    level_count: u8,
}

impl<'a> TopicName<'a> {
    /// Parses a name under [`TopicLimits::DEFAULT`].
    ///
    /// # Errors
    ///
    /// The first rule that the text breaks.
    pub fn new(text: &'a str) -> Result<Self, TopicError> {
        Self::with_limits(text, TopicLimits::DEFAULT)
    }

    /// Parses a name under the given limits.
    ///
    /// # Errors
    ///
    /// The first rule that the text breaks.
    pub fn with_limits(text: &'a str, limits: TopicLimits) -> Result<Self, TopicError> {
        let census = Census::of(text);
        check_text(text, &census, limits)?;
        let level_count = check_levels(&census, limits)?;
        if census.has_wildcards {
            return Err(wildcard_error(text));
        }
        Ok(Self { text, level_count })
    }

    /// Returns the name as it was given.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.text
    }

    /// Returns the levels from left to right; empty levels count.
    #[must_use]
    pub fn levels(self) -> Levels<'a> {
        Levels::new(self.text)
    }

    /// Returns the number of levels, at least 1.
    #[must_use]
    pub const fn level_count(self) -> u8 {
        self.level_count
    }

    /// Is this a name that filters beginning with a wildcard leave alone?
    ///
    /// # Specification
    ///
    /// v5 MQTT-4.7.2-1; v3.1.1 MQTT-4.7.2-1.
    #[must_use]
    pub fn is_dollar(self) -> bool {
        self.text.starts_with('$')
    }

    /// Copies the name into memory of its own.
    #[must_use]
    pub fn to_owned(self) -> TopicNameBuf {
        TopicNameBuf {
            text: self.text.into(),
            level_count: self.level_count,
        }
    }

    /// Vouches for a text that an index took from a `TopicName`.
    pub(crate) const fn trusted(text: &'a str, level_count: u8) -> Self {
        Self { text, level_count }
    }
}

impl fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl AsRef<str> for TopicName<'_> {
    fn as_ref(&self) -> &str {
        self.text
    }
}

impl<'a> TryFrom<&'a str> for TopicName<'a> {
    type Error = TopicError;

    fn try_from(text: &'a str) -> Result<Self, TopicError> {
        Self::new(text)
    }
}

/// A [`TopicName`] that owns its text.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TopicNameBuf {
    text: Box<str>,
    level_count: u8,
}

impl TopicNameBuf {
    /// Returns the name, borrowed.
    #[must_use]
    pub fn as_name(&self) -> TopicName<'_> {
        TopicName::trusted(&self.text, self.level_count)
    }

    /// Returns the name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for TopicNameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The levels of a topic, from left to right.
#[derive(Clone, Debug)]
pub struct Levels<'a>(Split<'a, char>);

impl<'a> Levels<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self(text.split('/'))
    }
}

impl<'a> Iterator for Levels<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.0.next()
    }
}

impl DoubleEndedIterator for Levels<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back()
    }
}

/// The bytes that matter to parsing, counted in one pass without branches.
pub(crate) struct Census {
    slashes: usize,
    has_null: bool,
    pub(crate) has_wildcards: bool,
}

impl Census {
    pub(crate) fn of(text: &str) -> Self {
        let mut census = Self {
            slashes: 0,
            has_null: false,
            has_wildcards: false,
        };
        // A chunk is short enough for its count to fit a byte, so that many are counted at once.
        for chunk in text.as_bytes().chunks(128) {
            let (mut slashes, mut nulls, mut wildcards) = (0_u8, 0_u8, 0_u8);
            for byte in chunk {
                slashes = slashes.wrapping_add(u8::from(*byte == b'/'));
                nulls |= u8::from(*byte == 0);
                wildcards |= u8::from(*byte == b'+') | u8::from(*byte == b'#');
            }
            census.slashes = census.slashes.saturating_add(usize::from(slashes));
            census.has_null |= nulls > 0;
            census.has_wildcards |= wildcards > 0;
        }
        census
    }

    /// Returns the number of levels of a topic that was checked before.
    pub(crate) fn level_count(&self) -> u8 {
        u8::try_from(self.slashes)
            .unwrap_or(u8::MAX)
            .saturating_add(1)
    }
}

/// Checks what names and filters have in common.
pub(crate) fn check_text(
    text: &str,
    census: &Census,
    limits: TopicLimits,
) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > usize::from(limits.bytes_max) {
        return Err(TopicError::TooLong {
            bytes: text.len(),
            bytes_max: limits.bytes_max,
        });
    }
    if census.has_null {
        let offset = text.bytes().position(|byte| byte == 0).unwrap_or_default();
        return Err(TopicError::NullCharacter { offset });
    }
    if limits.characters == CharacterPolicy::Refuse
        && let Some((offset, character)) = text.char_indices().find(|&(_, c)| is_disputed(c))
    {
        return Err(TopicError::RefusedCharacter { character, offset });
    }
    Ok(())
}

/// Returns the number of levels if there are not too many.
pub(crate) fn check_levels(census: &Census, limits: TopicLimits) -> Result<u8, TopicError> {
    let levels = census.slashes.saturating_add(1);
    match u8::try_from(levels) {
        Ok(count) if count <= limits.levels_max => Ok(count),
        Ok(_) | Err(_) => Err(TopicError::TooManyLevels {
            levels,
            levels_max: limits.levels_max,
        }),
    }
}

/// Is this a control character or a non-character, which a receiver may refuse?
fn is_disputed(character: char) -> bool {
    let code = u32::from(character);
    character.is_control() || matches!(code, 0xFDD0..=0xFDEF) || code & 0xFFFE == 0xFFFE
}

fn wildcard_error(text: &str) -> TopicError {
    text.char_indices()
        .find(|&(_, character)| matches!(character, '+' | '#'))
        .map_or(TopicError::Empty, |(offset, wildcard)| {
            TopicError::WildcardInName { wildcard, offset }
        })
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String, vec::Vec};

    use super::*;

    fn check(text: &str, expected: Result<u8, TopicError>) {
        let parsed = TopicName::new(text).map(TopicName::level_count);
        assert_eq!(parsed, expected, "{text:?}");
    }

    #[test]
    fn a_name_has_characters_and_no_wildcard() {
        // v5 MQTT-4.7.0-1, v5 MQTT-3.3.2-2, v5 MQTT-3.3.2-14, v3.1.1 MQTT-4.7.1-1,
        // v3.1.1 MQTT-3.3.2-2, v3.1.1 MQTT-3.1.3-10: a PUBLISH topic, response topic, will topic.
        let wildcard = |wildcard, offset| Err(TopicError::WildcardInName { wildcard, offset });
        check("sport/tennis", Ok(2));
        check("#", wildcard('#', 0));
        check("+", wildcard('+', 0));
        check("sport/#", wildcard('#', 6));
        check("é/+/x", wildcard('+', 3));
        check("sport+", wildcard('+', 5));
        check("a/b#c", wildcard('#', 3));
        // v5 MQTT-4.7.3-1, v3.1.1 MQTT-4.7.3-1
        check("", Err(TopicError::Empty));
        check("/", Ok(2));
        check(" ", Ok(1));
        // v5 MQTT-4.7.3-2, v3.1.1 MQTT-4.7.3-2
        check("a\0b", Err(TopicError::NullCharacter { offset: 1 }));
        check("a/b\0", Err(TopicError::NullCharacter { offset: 3 }));
    }

    #[test]
    fn every_slash_begins_a_level_even_an_empty_one() {
        // X311-4.7.3-a
        for (text, levels) in [
            ("/", &["", ""][..]),
            ("a", &["a"]),
            ("/a", &["", "a"]),
            ("a/", &["a", ""]),
            ("a//b", &["a", "", "b"]),
            ("Accounts payable", &["Accounts payable"]),
            ("ACCOUNTS", &["ACCOUNTS"]),
            ("$SYS/x", &["$SYS", "x"]),
        ] {
            let name = TopicName::new(text).unwrap();
            assert_eq!(name.levels().collect::<Vec<_>>(), levels);
            assert_eq!(usize::from(name.level_count()), levels.len());
            assert_eq!(name.as_str(), text);
            assert_eq!(name.to_owned().as_name(), name);
        }
        assert_ne!(TopicName::new("ACCOUNTS"), TopicName::new("Accounts"));
    }

    #[test]
    fn length_and_depth_end_at_their_limits() {
        // v5 MQTT-4.7.3-3, v3.1.1 MQTT-4.7.3-3
        check(&"x".repeat(65_535), Ok(1));
        let too_long = TopicError::TooLong {
            bytes: 65_536,
            bytes_max: 65_535,
        };
        check(&"x".repeat(65_536), Err(too_long));
        // X311-4.7.3-a: the standard has no limit on levels, a policy may.
        let levels = |count: usize| "/".repeat(count.saturating_sub(1));
        let too_many = |levels, levels_max| TopicError::TooManyLevels { levels, levels_max };
        check(&levels(128), Ok(128));
        check(&levels(129), Err(too_many(129, 128)));
        check(&levels(32_768), Err(too_many(32_768, 128)));
        check(&levels(65_536), Err(too_many(65_536, 128)));
        let deepest = TopicLimits {
            levels_max: 255,
            ..TopicLimits::DEFAULT
        };
        let parse =
            |count| TopicName::with_limits(&levels(count), deepest).map(|n| n.level_count());
        assert_eq!(parse(255), Ok(255));
        assert_eq!(parse(256), Err(too_many(256, 255)));
        let short = TopicLimits {
            bytes_max: 3,
            ..TopicLimits::DEFAULT
        };
        assert!(TopicName::with_limits("abc", short).is_ok());
        let too_long = TopicError::TooLong {
            bytes: 4,
            bytes_max: 3,
        };
        assert_eq!(TopicName::with_limits("abcd", short), Err(too_long));
    }

    #[test]
    fn disputed_characters_are_refused_only_by_policy() {
        let refusing = TopicLimits {
            characters: CharacterPolicy::Refuse,
            ..TopicLimits::DEFAULT
        };
        for character in [
            '\u{1}',
            '\u{1f}',
            '\u{7f}',
            '\u{9f}',
            '\u{fdd0}',
            '\u{fffe}',
            '\u{10ffff}',
        ] {
            let text = format!("a/{character}");
            check(&text, Ok(2));
            let refused = TopicError::RefusedCharacter {
                character,
                offset: 2,
            };
            assert_eq!(TopicName::with_limits(&text, refusing), Err(refused));
        }
        for character in [
            ' ', '~', '\u{a0}', '\u{fdcf}', '\u{fdf0}', '\u{fffd}', '\u{feff}', '€',
        ] {
            let text = String::from(character);
            assert!(TopicName::with_limits(&text, refusing).is_ok(), "{text:?}");
        }
    }
}
