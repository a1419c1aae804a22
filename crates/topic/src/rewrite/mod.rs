//! Names and filters of one topic space told in the words of another.

use alloc::{string::String, vec::Vec};

mod rule;

use crate::{TopicError, TopicFilter, TopicLimits, TopicName};
use rule::{Bindings, Direction, Rule};

/// Rules that translate topics, as between what a tenant's clients say and what the broker knows.
///
/// A rule has two sides. The first is a filter whose wildcards capture: `+` a level, a last `#`
/// the rest. The second is a template: `{1}`, `{2}`, ... stand for the levels that were captured,
/// a last `{#}` for the rest. In both, `{name}` stands for a value that is bound when a topic is
/// translated, such as a tenant or a client id, alone in its level or beside other text. The
/// first rule that fits is applied; a topic that fits none is left to the caller.
///
/// As in matching, a filter that begins with a wildcard does not fit a name that begins with `$`,
/// and a template that begins with a capture makes none.
///
/// # Examples
///
/// ```
/// use mqttstack_topic::{RewriteError, TopicName, TopicRewrite};
///
/// let rewrite = TopicRewrite::reversible(&[
///     ("evt/+/fmt/+", "iot/{org}/id/{id}/evt/{1}/fmt/{2}"),
///     ("cmd/#", "iot/{org}/id/{id}/cmd/{#}"),
/// ])?;
/// let bound = [("org", "acme"), ("id", "d7")];
/// let mut buffer = String::new();
/// let name = TopicName::new("evt/temp/fmt/json").map_err(RewriteError::Topic)?;
/// let there = rewrite.name(&name, &bound, &mut buffer)?;
/// assert_eq!(there.map(TopicName::as_str), Some("iot/acme/id/d7/evt/temp/fmt/json"));
/// # Ok::<(), RewriteError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct TopicRewrite {
    rules: Vec<Rule>,
    is_reversible: bool,
}

/// Why rules do not make a [`TopicRewrite`], or a topic could not be translated.
///
/// Rules are counted from 0.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RewriteError {
    /// A side of a rule has more levels than [`TopicRewrite::LEVELS_MAX`].
    #[error("rule {rule} has more than {levels_max} levels", levels_max = TopicRewrite::LEVELS_MAX)]
    TooManyLevels {
        /// Which rule.
        rule: usize,
    },
    /// A wildcard in a template, or in a filter where none may stand.
    #[error("rule {rule} has a wildcard in the wrong place")]
    WildcardMisplaced {
        /// Which rule.
        rule: usize,
    },
    /// A `{` without `}`, an empty name, or a capture that does not fill its level.
    #[error("rule {rule} has an ill-formed placeholder")]
    PlaceholderIllFormed {
        /// Which rule.
        rule: usize,
    },
    /// The template asks for a level or rest that the filter does not capture.
    #[error("rule {rule} asks for what its filter does not capture")]
    NotCaptured {
        /// Which rule.
        rule: usize,
    },
    /// The template of a reversible rule lacks a captured level or rest, or has it twice.
    #[error("rule {rule} cannot be reversed: its template does not have each capture once")]
    NotReversible {
        /// Which rule.
        rule: usize,
    },
    /// A topic could fit two rules of which reversing needs to know the right one.
    #[error("rules {rule} and {other} overlap, so they cannot be reversed")]
    Overlap {
        /// The first rule.
        rule: usize,
        /// The second.
        other: usize,
    },
    /// A name in a rule was not bound to a value.
    #[error("rule {rule} names a value that is not bound")]
    Unbound {
        /// Which rule.
        rule: usize,
    },
    /// A bound value is empty or contains `/`, `+`, `#` or U+0000, so it cannot be part of a level.
    #[error("rule {rule} names a value that cannot be part of a level")]
    NotALevel {
        /// Which rule.
        rule: usize,
    },
    /// The result is not a topic, as it would be too long.
    #[error("the rewritten topic is refused: {0}")]
    Topic(TopicError),
}

/// The values of the names in rules. Where one begins a topic, no topic with a `$` comes of it or is
/// taken: as with captures, no rule fits then.
pub type Bound<'v> = [(&'v str, &'v str)];

impl TopicRewrite {
    /// The most levels that either side of a rule may have; `#` and `{#}` may stand for more.
    pub const LEVELS_MAX: usize = 32;

    /// Parses pairs of filter and template.
    ///
    /// # Errors
    ///
    /// The first thing wrong with a rule.
    pub fn new(rules: &[(&str, &str)]) -> Result<Self, RewriteError> {
        let parse = |(rule, sides): (usize, &(&str, &str))| Rule::parse(rule, sides.0, sides.1);
        Ok(Self {
            rules: rules
                .iter()
                .enumerate()
                .map(parse)
                .collect::<Result<_, _>>()?,
            is_reversible: false,
        })
    }

    /// Parses pairs of filter and template that also translate back.
    ///
    /// [`name_back`](Self::name_back) then undoes [`name`](Self::name) exactly, and the other way
    /// round: each template has each capture once, and no topic fits two filters or two
    /// templates.
    ///
    /// # Errors
    ///
    /// [`NotReversible`](RewriteError::NotReversible) and [`Overlap`](RewriteError::Overlap), and
    /// those of [`new`](Self::new).
    pub fn reversible(rules: &[(&str, &str)]) -> Result<Self, RewriteError> {
        let mut rewrite = Self::new(rules)?;
        for (rule, sides) in rewrite.rules.iter().enumerate() {
            if !sides.keeps_every_capture() {
                return Err(RewriteError::NotReversible { rule });
            }
            for (other, earlier) in rewrite.rules.iter().enumerate().take(rule) {
                if sides.from.overlaps(&earlier.from) || sides.to.overlaps(&earlier.to) {
                    return Err(RewriteError::Overlap {
                        rule: other,
                        other: rule,
                    });
                }
            }
        }
        rewrite.is_reversible = true;
        Ok(rewrite)
    }

    /// Translates a name into the buffer, or returns `None` if no rule fits.
    ///
    /// # Errors
    ///
    /// A name is not bound, or not to a level; or the result is too long.
    pub fn name<'b>(
        &self,
        name: &TopicName<'_>,
        bound: &Bound<'_>,
        buffer: &'b mut String,
    ) -> Result<Option<TopicName<'b>>, RewriteError> {
        let is_rewritten = self.rewrite(name.as_str(), bound, buffer, Direction::There)?;
        parsed(is_rewritten, buffer, |text| {
            TopicName::with_limits(text, LIMITS)
        })
    }

    /// Translates a name that [`name`](Self::name) made back, or returns `None` if no rule makes
    /// such a name or the rules are not reversible.
    ///
    /// # Errors
    ///
    /// As [`name`](Self::name).
    pub fn name_back<'b>(
        &self,
        name: &TopicName<'_>,
        bound: &Bound<'_>,
        buffer: &'b mut String,
    ) -> Result<Option<TopicName<'b>>, RewriteError> {
        if !self.is_reversible {
            return Ok(None);
        }
        let is_rewritten = self.rewrite(name.as_str(), bound, buffer, Direction::Back)?;
        parsed(is_rewritten, buffer, |text| {
            TopicName::with_limits(text, LIMITS)
        })
    }

    /// Translates a filter, or returns `None` if it is not within one rule.
    ///
    /// A filter is within a rule if its wildcards stand where the rule captures; each then stands
    /// in the template in place of what it may match. `cmd/+` and `cmd/#` are within `cmd/#`, and
    /// `+/x` is within `+/x`, but `#` is within neither. The group of a shared filter is kept.
    ///
    /// # Errors
    ///
    /// As [`name`](Self::name).
    pub fn filter<'b>(
        &self,
        filter: &TopicFilter<'_>,
        bound: &Bound<'_>,
        buffer: &'b mut String,
    ) -> Result<Option<TopicFilter<'b>>, RewriteError> {
        let text = filter.filter();
        let is_rewritten = self.rewrite(text, bound, buffer, Direction::There)?;
        let Some(group) = filter.shared_group() else {
            // What the rule made is a filter as it stands, `$share/` or not.
            return parsed(is_rewritten, buffer, |text| {
                TopicFilter::ordinary(text, LIMITS)
            });
        };
        for part in ["/", group, "$share/"] {
            buffer.insert_str(0, part);
        }
        parsed(is_rewritten, buffer, |text| {
            TopicFilter::with_limits(text, LIMITS)
        })
    }

    /// Writes the translation by the first rule that fits; tells whether there was one.
    fn rewrite(
        &self,
        text: &str,
        bound: &Bound<'_>,
        buffer: &mut String,
        direction: Direction,
    ) -> Result<bool, RewriteError> {
        for (index, rule) in self.rules.iter().enumerate() {
            let (source, target) = rule.sides(direction);
            let bound = Bindings { rule: index, bound };
            let Some(captured) = source.capture(text, &bound)? else {
                continue;
            };
            buffer.clear();
            let is_whole = target.write(&captured, &bound, buffer)?;
            if is_whole && source.allows(text) && target.allows(buffer) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The deepest topics there are: what a client may send was decided before it is translated.
const LIMITS: TopicLimits = TopicLimits {
    levels_max: u8::MAX,
    ..TopicLimits::DEFAULT
};

fn parsed<'b, T>(
    is_rewritten: bool,
    buffer: &'b str,
    parse: impl Fn(&'b str) -> Result<T, TopicError>,
) -> Result<Option<T>, RewriteError> {
    if is_rewritten {
        parse(buffer).map(Some).map_err(RewriteError::Topic)
    } else {
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
