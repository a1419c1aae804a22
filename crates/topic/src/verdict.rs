//! Match, no match, or why there is no answer: for people and their scripts.

use core::fmt;

use crate::{TopicError, TopicFilter, TopicLimits, TopicName, matches};

/// What there is to say of a filter and a name that somebody typed.
///
/// # Examples
///
/// ```
/// use mqttstack_topic::{TopicLimits, Verdict};
///
/// let verdict = |filter, name| Verdict::of(filter, name, TopicLimits::DEFAULT);
/// assert_eq!(verdict("sport/#", "sport"), Verdict::Match);
/// assert_eq!(verdict("sport/+", "sport").exit_code(), 1);
/// let ill_formed = verdict("sport#", "sport");
/// assert_eq!(ill_formed.to_string(), "ill-formed filter: `#` at byte 5 does not fill the last level");
/// assert_eq!(ill_formed.exit_code(), 2);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The filter matches the name.
    Match,
    /// It does not.
    NoMatch,
    /// The filter is none.
    FilterIllFormed(TopicError),
    /// The name is none.
    NameIllFormed(TopicError),
}

impl Verdict {
    /// Parses both and compares them. A filter that is ill-formed is reported first.
    #[must_use]
    pub fn of(filter: &str, name: &str, limits: TopicLimits) -> Self {
        let filter = match TopicFilter::with_limits(filter, limits) {
            Ok(filter) => filter,
            Err(error) => return Self::FilterIllFormed(error),
        };
        match TopicName::with_limits(name, limits) {
            Ok(name) if matches(&filter, &name) => Self::Match,
            Ok(_) => Self::NoMatch,
            Err(error) => Self::NameIllFormed(error),
        }
    }

    /// Returns what a command that gives this verdict exits with: 0 for a match, 1 for none, 2
    /// for ill-formed input. Of several verdicts, the greatest counts.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Match => 0,
            Self::NoMatch => 1,
            Self::FilterIllFormed(_) | Self::NameIllFormed(_) => 2,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Match => f.write_str("match"),
            Self::NoMatch => f.write_str("no match"),
            Self::FilterIllFormed(error) => write!(f, "ill-formed filter: {error}"),
            Self::NameIllFormed(error) => write!(f, "ill-formed name: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_verdict_tells_matches_from_mistakes() {
        for (filter, name, text, exit_code) in [
            ("a/+", "a/b", "match", 0),
            ("$share/g/a/+", "a/b", "match", 0),
            ("a/+", "a", "no match", 1),
            ("#", "$SYS", "no match", 1),
            (
                "",
                "a",
                "ill-formed filter: a topic has at least one character",
                2,
            ),
            (
                "#",
                "a/+",
                "ill-formed name: wildcard '+' at byte 2 of a topic name",
                2,
            ),
            (
                "a/b+",
                "#",
                "ill-formed filter: `+` at byte 3 does not fill its level",
                2,
            ),
            (
                "$share/g",
                "a",
                "ill-formed filter: shared subscription without a topic filter",
                2,
            ),
        ] {
            let verdict = Verdict::of(filter, name, TopicLimits::DEFAULT);
            assert_eq!(
                (verdict.to_string().as_str(), verdict.exit_code()),
                (text, exit_code)
            );
        }
    }
}
