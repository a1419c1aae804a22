//! Topic filters, ordinary and shared: what SUBSCRIBE and UNSUBSCRIBE carry.

use alloc::boxed::Box;
use core::fmt;

use crate::{
    Levels, TopicError, TopicLimits, TopicName,
    matching::{covers, matches},
    name::{Census, check_levels, check_text},
};

const SHARE_PREFIX: &str = "$share/";

/// A topic filter, ordinary or `$share/{group}/{filter}`.
///
/// Parsed once and trusted after. Two filters are the same subscription exactly if their texts
/// are equal.
///
/// # Specification
///
/// v5 MQTT-4.7.1-1, v5 MQTT-4.7.1-2, v5 MQTT-4.7.3-1 to -3, v5 MQTT-4.8.2-1, v5 MQTT-4.8.2-2;
/// v3.1.1 MQTT-4.7.1-2, v3.1.1 MQTT-4.7.1-3, v3.1.1 MQTT-4.7.3-1 to -3.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TopicFilter<'a> {
    text: &'a str,
    shape: Shape,
}

/// What parsing learnt about a filter's text.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Shape {
    /// Where the part that is matched begins: 0 in an ordinary filter.
    filter_offset: u16,
    /// The levels of that part.
    level_count: u8,
    has_wildcards: bool,
}

impl<'a> TopicFilter<'a> {
    /// Parses an ordinary or shared filter under [`TopicLimits::DEFAULT`].
    ///
    /// # Errors
    ///
    /// The first rule that the text breaks.
    pub fn new(text: &'a str) -> Result<Self, TopicError> {
        Self::with_limits(text, TopicLimits::DEFAULT)
    }

    /// Parses an ordinary or shared filter under the given limits.
    ///
    /// # Errors
    ///
    /// The first rule that the text breaks.
    pub fn with_limits(text: &'a str, limits: TopicLimits) -> Result<Self, TopicError> {
        let census = Census::of(text);
        check_text(text, &census, limits)?;
        match text.strip_prefix(SHARE_PREFIX) {
            Some(rest) => {
                let filter = filter_after_group(rest)?;
                Self::parse(text, filter, &Census::of(filter), limits)
            }
            None => Self::parse(text, text, &census, limits),
        }
    }

    /// Parses a filter to which `$share/` means nothing: a broker may read those of 3.1 and 3.1.1
    /// clients so, whose standards know no shared subscriptions.
    ///
    /// # Errors
    ///
    /// The first rule that the text breaks.
    pub fn ordinary(text: &'a str, limits: TopicLimits) -> Result<Self, TopicError> {
        let census = Census::of(text);
        check_text(text, &census, limits)?;
        Self::parse(text, text, &census, limits)
    }

    /// Parses a filter of a 3.1 or 3.1.1 client as a broker reads it that has shared subscriptions
    /// for these clients, too: what [`with_limits`](Self::with_limits) takes for a shared filter is
    /// one, and what it refuses for its `$share/` alone is an [`ordinary`](Self::ordinary) filter, as
    /// their standards have it.
    ///
    /// # Errors
    ///
    /// The first rule that the text breaks.
    pub fn before_v5(text: &'a str, limits: TopicLimits) -> Result<Self, TopicError> {
        match Self::with_limits(text, limits) {
            Err(
                TopicError::ShareNameEmpty
                | TopicError::ShareFilterEmpty
                | TopicError::WildcardInShareName { .. },
            ) => Self::ordinary(text, limits),
            other => other,
        }
    }

    /// `filter` is the part of `text` that is matched, `census` its own.
    fn parse(
        text: &'a str,
        filter: &str,
        census: &Census,
        limits: TopicLimits,
    ) -> Result<Self, TopicError> {
        let level_count = check_levels(census, limits)?;
        let offset = text.len().saturating_sub(filter.len());
        if census.has_wildcards {
            check_wildcards(filter, offset)?;
        }
        let too_long = TopicError::TooLong {
            bytes: text.len(),
            bytes_max: limits.bytes_max,
        };
        Ok(Self {
            text,
            shape: Shape {
                filter_offset: u16::try_from(offset).map_err(|_| too_long)?,
                level_count,
                has_wildcards: census.has_wildcards,
            },
        })
    }

    /// Returns the whole text, `$share/{group}/` included.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.text
    }

    /// Returns the part that is matched, without `$share/{group}/`.
    #[must_use]
    pub fn filter(self) -> &'a str {
        self.text
            .get(usize::from(self.shape.filter_offset)..)
            .unwrap_or(self.text)
    }

    /// Returns group and filter of a shared subscription, `None` for an ordinary one.
    #[must_use]
    pub fn shared(self) -> Option<SharedFilter<'a>> {
        let group_end = usize::from(self.shape.filter_offset).checked_sub(1)?;
        Some(SharedFilter {
            group: self.text.get(SHARE_PREFIX.len()..group_end)?,
            filter: self.filter(),
        })
    }

    /// Returns the group name of a shared subscription, `None` for an ordinary one.
    #[must_use]
    pub fn shared_group(self) -> Option<&'a str> {
        self.shared().map(|shared| shared.group)
    }

    /// Returns the levels of [`filter`](Self::filter) from left to right.
    #[must_use]
    pub fn levels(self) -> Levels<'a> {
        Levels::new(self.filter())
    }

    /// Returns the number of levels of [`filter`](Self::filter), at least 1.
    #[must_use]
    pub const fn level_count(self) -> u8 {
        self.shape.level_count
    }

    /// Does the filter contain `+` or `#`?
    #[must_use]
    pub const fn has_wildcards(self) -> bool {
        self.shape.has_wildcards
    }

    /// Does the filter match the name? See [`matches`](crate::matches()).
    #[must_use]
    pub fn matches(self, name: &TopicName<'_>) -> bool {
        matches(&self, name)
    }

    /// Does every name that `other` matches also match `self`?
    ///
    /// The question behind rights: may one who may read `self` subscribe to `other`? The `$` rule
    /// counts, so `#` does not cover `$SYS/#`. Group names are not looked at.
    #[must_use]
    pub fn covers(self, other: &TopicFilter<'_>) -> bool {
        covers(self.filter(), other.filter())
    }

    /// Copies the filter into memory of its own.
    #[must_use]
    pub fn to_owned(self) -> TopicFilterBuf {
        TopicFilterBuf {
            text: self.text.into(),
            shape: self.shape,
        }
    }

    /// Vouches for a text that an index took from an ordinary `TopicFilter`.
    pub(crate) fn trusted(text: &'a str) -> Self {
        let census = Census::of(text);
        let shape = Shape {
            filter_offset: 0,
            level_count: census.level_count(),
            has_wildcards: census.has_wildcards,
        };
        Self { text, shape }
    }
}

impl fmt::Display for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl AsRef<str> for TopicFilter<'_> {
    fn as_ref(&self) -> &str {
        self.text
    }
}

impl<'a> TryFrom<&'a str> for TopicFilter<'a> {
    type Error = TopicError;

    fn try_from(text: &'a str) -> Result<Self, TopicError> {
        Self::new(text)
    }
}

/// The two parts of a shared filter.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SharedFilter<'a> {
    /// The group name: at least one character, none of them `/`, `+` or `#`.
    pub group: &'a str,
    /// The filter that the group shares.
    pub filter: &'a str,
}

/// A [`TopicFilter`] that owns its text.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TopicFilterBuf {
    text: Box<str>,
    shape: Shape,
}

impl TopicFilterBuf {
    /// Returns the filter, borrowed.
    #[must_use]
    pub fn as_filter(&self) -> TopicFilter<'_> {
        TopicFilter {
            text: &self.text,
            shape: self.shape,
        }
    }

    /// Returns the whole text, `$share/{group}/` included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for TopicFilterBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Returns what follows the group name in `rest`, which follows `$share/`.
fn filter_after_group(rest: &str) -> Result<&str, TopicError> {
    let (group, filter) = rest.split_once('/').unwrap_or((rest, ""));
    if group.is_empty() {
        return Err(TopicError::ShareNameEmpty);
    }
    if let Some((within, wildcard)) = group.char_indices().find(|&(_, c)| matches!(c, '+' | '#')) {
        let offset = SHARE_PREFIX.len().saturating_add(within);
        return Err(TopicError::WildcardInShareName { wildcard, offset });
    }
    if filter.is_empty() {
        return Err(TopicError::ShareFilterEmpty);
    }
    Ok(filter)
}

/// Checks that each wildcard fills its level and that `#` is last.
fn check_wildcards(filter: &str, filter_offset: usize) -> Result<(), TopicError> {
    let bytes = filter.as_bytes();
    let slash_or_end = |byte: Option<&u8>| byte.is_none_or(|byte| *byte == b'/');
    for (at, byte) in bytes.iter().enumerate() {
        let offset = filter_offset.saturating_add(at);
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        let after = bytes.get(at.saturating_add(1));
        if *byte == b'#' && !(slash_or_end(before) && after.is_none()) {
            return Err(TopicError::MultiLevelWildcardMisplaced { offset });
        }
        if *byte == b'+' && !(slash_or_end(before) && slash_or_end(after)) {
            return Err(TopicError::SingleLevelWildcardMisplaced { offset });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString, vec::Vec};

    use super::*;
    use TopicError::{
        MultiLevelWildcardMisplaced, ShareFilterEmpty, ShareNameEmpty,
        SingleLevelWildcardMisplaced, WildcardInShareName,
    };

    fn check(text: &str, expected: Result<(), TopicError>) {
        assert_eq!(TopicFilter::new(text).map(|_| ()), expected, "{text:?}");
    }

    #[test]
    fn a_hash_stands_alone_in_the_last_level() {
        // v5 MQTT-4.7.1-1, v3.1.1 MQTT-4.7.1-2
        for text in [
            "#",
            "sport/#",
            "/#",
            "+/#",
            "a/+/#",
            "sport/tennis/player1/#",
        ] {
            check(text, Ok(()));
        }
        for (text, offset) in [
            ("sport#", 5),
            ("sport/#/x", 6),
            ("sport/tennis#", 12),
            ("##", 0),
            ("#/", 0),
            ("#/a", 0),
            ("a/#/#", 2),
            ("#a", 0),
            ("é#", 2),
        ] {
            check(text, Err(MultiLevelWildcardMisplaced { offset }));
        }
    }

    #[test]
    fn a_plus_fills_its_level() {
        // v5 MQTT-4.7.1-2, v3.1.1 MQTT-4.7.1-3
        for text in [
            "+",
            "+/",
            "/+",
            "+/+",
            "a/+/b",
            "+/a/#",
            "+/tennis/#",
            "sport/+/p1",
        ] {
            check(text, Ok(()));
        }
        for (text, offset) in [
            ("a+", 1),
            ("+a", 0),
            ("a/b+", 3),
            ("a/+b/c", 2),
            ("++", 0),
            ("sport+", 5),
            ("+#", 0),
        ] {
            check(text, Err(SingleLevelWildcardMisplaced { offset }));
        }
    }

    #[test]
    fn a_filter_keeps_the_rules_of_every_topic() {
        // v5 MQTT-4.7.3-1 to v5 MQTT-4.7.3-3, v3.1.1 MQTT-4.7.3-1 to v3.1.1 MQTT-4.7.3-3
        check("", Err(TopicError::Empty));
        check("/", Ok(()));
        check(" ", Ok(()));
        check("+/\0", Err(TopicError::NullCharacter { offset: 2 }));
        check(&"x".repeat(65_535), Ok(()));
        let too_long = TopicError::TooLong {
            bytes: 65_536,
            bytes_max: 65_535,
        };
        check(&"x".repeat(65_536), Err(too_long));
        let too_many = |levels| TopicError::TooManyLevels {
            levels,
            levels_max: 128,
        };
        check(&"+/".repeat(128), Err(too_many(129)));
        check(&"/".repeat(65_535), Err(too_many(65_536)));
        check(&format!("$share/g/{}", "/".repeat(127)), Ok(()));
        check(&format!("$share/g/{}", "/".repeat(128)), Err(too_many(129)));
    }

    #[test]
    fn a_shared_filter_has_a_group_name_and_a_filter() {
        // v5 MQTT-4.8.2-1, v5 MQTT-4.8.2-2
        for (text, group, filter) in [
            ("$share/g/a", "g", "a"),
            ("$share/g//finance", "g", "/finance"),
            ("$share/g//", "g", "/"),
            ("$share/a b/+/#", "a b", "+/#"),
            ("$share/$x/$SYS/#", "$x", "$SYS/#"),
            ("$share/g/$share/h/a", "g", "$share/h/a"),
        ] {
            let parsed = TopicFilter::new(text).unwrap();
            assert_eq!(
                parsed.shared(),
                Some(SharedFilter { group, filter }),
                "{text:?}"
            );
            assert_eq!(parsed.shared_group(), Some(group));
            assert_eq!(parsed.filter(), filter);
            assert_eq!(parsed.as_str(), text);
            assert_eq!(usize::from(parsed.level_count()), filter.split('/').count());
            assert_eq!(parsed.to_owned().as_filter(), parsed);
        }
        for (text, error) in [
            ("$share/", ShareNameEmpty),
            ("$share//x", ShareNameEmpty),
            ("$share/g", ShareFilterEmpty),
            ("$share/ab", ShareFilterEmpty),
            ("$share/g/", ShareFilterEmpty),
            (
                "$share/g+/x",
                WildcardInShareName {
                    wildcard: '+',
                    offset: 8,
                },
            ),
            (
                "$share/+/x",
                WildcardInShareName {
                    wildcard: '+',
                    offset: 7,
                },
            ),
            (
                "$share/#/x",
                WildcardInShareName {
                    wildcard: '#',
                    offset: 7,
                },
            ),
            ("$share/g/a#", MultiLevelWildcardMisplaced { offset: 10 }),
            ("$share/g/+a", SingleLevelWildcardMisplaced { offset: 9 }),
        ] {
            check(text, Err(error));
        }
    }

    #[test]
    fn only_the_exact_prefix_makes_a_filter_shared() {
        for text in ["$share", "$shared/g/a", "$SHARE/g/a", "/$share/g/a", "a"] {
            let parsed = TopicFilter::new(text).unwrap();
            assert_eq!(parsed.shared(), None, "{text:?}");
            assert_eq!(parsed.filter(), text);
        }
        let ordinary = TopicFilter::ordinary("$share/g/a", TopicLimits::DEFAULT).unwrap();
        assert_eq!(ordinary.shared(), None);
        assert_eq!(ordinary.filter(), "$share/g/a");
    }

    #[test]
    fn share_means_nothing_to_older_clients_unless_it_makes_a_shared_filter() {
        // v3.1.1 MQTT-4.7.1-2, v3.1.1 MQTT-4.7.1-3
        let read = |text| TopicFilter::before_v5(text, TopicLimits::DEFAULT);
        for text in ["$share/", "$share/x", "$share//x", "$share/+/x", "$share/#"] {
            let filter = read(text).unwrap();
            assert_eq!((filter.filter(), filter.shared()), (text, None));
        }
        assert_eq!(read("$share/g/a").unwrap().shared_group(), Some("g"));
        for text in ["$share/#/x", "$share/x+", "$share/g/a#", ""] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_filter_tells_whether_it_has_wildcards() {
        // v3.1.1 MQTT-3.8.3-2, X311-3.8.3-a: what a server without wildcards has to refuse.
        for (text, expected) in [
            ("a/b", false),
            ("/", false),
            ("+", true),
            ("a/#", true),
            ("$share/g/a", false),
        ] {
            assert_eq!(
                TopicFilter::new(text).unwrap().has_wildcards(),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_filter_covers_another_if_it_matches_all_its_names() {
        let parse = |text| TopicFilter::new(text).unwrap();
        for (wide, narrow, expected) in [
            ("#", "a/b/#", true),
            ("#", "+/#", true),
            ("+/#", "#", true),
            ("#", "$SYS/#", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/+/x", true),
            ("a/#", "a", true),
            ("a/#", "a/#", true),
            ("a/#", "a/+/b", true),
            ("a/#", "#", false),
            ("a/#", "+/b", false),
            ("a/+", "a/b", true),
            ("a/+", "a/+", true),
            ("a/+", "a/#", false),
            ("a/+/#", "a/#", false),
            ("+/+/#", "+/#", false),
            ("a/b", "a/+", false),
            ("a/+", "a", false),
            ("a", "a/b", false),
            ("+", "#", false),
        ] {
            assert_eq!(
                parse(wide).covers(&parse(narrow)),
                expected,
                "{wide} over {narrow}"
            );
        }
    }

    #[test]
    fn texts_that_mean_something_elsewhere_are_plain_here() {
        for text in [
            ".*", "a|b", "[a-z]", "(", "^$", "\\", "%u", "%2f", "*", "a.b", "?",
        ] {
            let filter = TopicFilter::new(text).unwrap();
            assert_eq!(filter.to_string(), text);
            let names =
                [text, "a", "b", ".", "x", "a/b", "ab"].map(|name| TopicName::new(name).unwrap());
            let matched: Vec<_> = names.iter().filter(|name| filter.matches(name)).collect();
            assert_eq!(matched, [&names[0]], "{text:?}");
        }
    }
}
