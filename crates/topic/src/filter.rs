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

    /// Vouches for a text that an index took from a shared `TopicFilter`.
    pub(crate) fn trusted_shared(text: &'a str) -> Self {
        let rest = text.strip_prefix(SHARE_PREFIX);
        let filter = rest
            .and_then(|rest| filter_after_group(rest).ok())
            .unwrap_or(text);
        let census = Census::of(filter);
        let offset = text.len().saturating_sub(filter.len());
        let filter_offset = u16::try_from(offset).unwrap_or_default();
        let shape = Shape {
            filter_offset,
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
