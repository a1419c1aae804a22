//! One rule: two sides that capture and produce the same parts.

use alloc::{boxed::Box, string::String, vec::Vec};

use super::{Bound, RewriteError, TopicRewrite};

/// What topics look like on either side of a translation.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) from: Side,
    pub(super) to: Side,
}

/// From filter to template, or from template to filter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Direction {
    There,
    Back,
}

/// A topic with gaps.
#[derive(Clone, Debug)]
pub(super) struct Side {
    levels: Box<[Level]>,
    /// Does anything, or nothing, follow the levels? Where it stands alone, something does.
    has_rest: bool,
}

#[derive(Clone, Debug)]
enum Level {
    /// Text and bound values, one after the other.
    Known(Box<[Piece]>),
    /// The level that was captured under this number.
    Captured(usize),
}

#[derive(Clone, Debug)]
enum Piece {
    Text(Box<str>),
    Value(Box<str>),
}

/// What a side captured from a topic.
pub(super) struct Captured<'t> {
    levels: [&'t str; TopicRewrite::LEVELS_MAX],
    rest: Option<&'t str>,
}

/// The values of names while the rule of a number is applied.
pub(super) struct Bindings<'a> {
    pub(super) rule: usize,
    pub(super) bound: &'a Bound<'a>,
}

impl Rule {
    pub(super) fn parse(rule: usize, filter: &str, template: &str) -> Result<Self, RewriteError> {
        let from = Side::parse_filter(rule, filter)?;
        let to = Side::parse_template(rule, template)?;
        let captures = from.captures().count();
        let asks_in_vain = to.captures().any(|number| number >= captures);
        if asks_in_vain || to.has_rest && !from.has_rest {
            return Err(RewriteError::NotCaptured { rule });
        }
        Ok(Self { from, to })
    }

    /// Does the template have all that the filter captures, each once?
    pub(super) fn keeps_every_capture(&self) -> bool {
        let is_once = |number| self.to.captures().filter(|other| *other == number).count() == 1;
        self.from.captures().all(is_once) && self.from.has_rest == self.to.has_rest
    }

    /// Returns the side to read and the side to write.
    pub(super) const fn sides(&self, direction: Direction) -> (&Side, &Side) {
        match direction {
            Direction::There => (&self.from, &self.to),
            Direction::Back => (&self.to, &self.from),
        }
    }
}

impl Side {
    fn parse_filter(rule: usize, text: &str) -> Result<Self, RewriteError> {
        let mut captures = 0_usize;
        Self::parse(rule, text, "#", |level| {
            if level == "+" {
                let number = captures;
                captures = captures.saturating_add(1);
                return Some(number);
            }
            None
        })
    }

    fn parse_template(rule: usize, text: &str) -> Result<Self, RewriteError> {
        Self::parse(rule, text, "{#}", |level| {
            let number = level.strip_prefix('{')?.strip_suffix('}')?;
            let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
            let number = number.parse::<usize>().ok().filter(|_| is_number)?;
            number.checked_sub(1)
        })
    }

    /// `rest` is how this side spells the rest, `capture` tells the number of a capture.
    fn parse(
        rule: usize,
        text: &str,
        rest: &str,
        mut capture: impl FnMut(&str) -> Option<usize>,
    ) -> Result<Self, RewriteError> {
        let (text, has_rest) = match text.strip_suffix(rest) {
            Some("") => ("", true),
            Some(before) if before.ends_with('/') => {
                (before.strip_suffix('/').unwrap_or(before), true)
            }
            Some(_) | None => (text, false),
        };
        let mut levels = Vec::new();
        let is_rest_alone = has_rest && text.is_empty();
        for level in text.split('/').filter(|_| !is_rest_alone) {
            levels.push(match capture(level) {
                Some(number) => Level::Captured(number),
                None => Level::Known(pieces(rule, level)?),
            });
        }
        if levels.len() > TopicRewrite::LEVELS_MAX {
            return Err(RewriteError::TooManyLevels { rule });
        }
        Ok(Self {
            levels: levels.into(),
            has_rest,
        })
    }

    /// May this side read or write the topic? A gap or a value at its start stands for no `$`:
    /// clients could else reach `$SYS` through a rule, or out of it.
    pub(super) fn allows(&self, topic: &str) -> bool {
        let is_spelled_out = match self.levels.first() {
            Some(Level::Known(pieces)) => matches!(pieces.first(), Some(Piece::Text(_))),
            Some(Level::Captured(_)) | None => false,
        };
        is_spelled_out || !topic.starts_with('$')
    }

    fn captures(&self) -> impl Iterator<Item = usize> {
        self.levels.iter().filter_map(|level| match level {
            Level::Captured(number) => Some(*number),
            Level::Known(_) => None,
        })
    }

    /// Holds a name or a filter against this side; `None` if it does not fit.
    pub(super) fn capture<'t>(
        &self,
        text: &'t str,
        bound: &Bindings<'_>,
    ) -> Result<Option<Captured<'t>>, RewriteError> {
        let mut captured = Captured {
            levels: [""; TopicRewrite::LEVELS_MAX],
            rest: None,
        };
        let mut left = Some(text);
        for level in &self.levels {
            let Some(text) = left else { return Ok(None) };
            let (first, after) = match text.split_once('/') {
                Some((first, after)) => (first, Some(after)),
                None => (text, None),
            };
            left = after;
            match level {
                Level::Captured(_) if first == "#" => return Ok(None),
                Level::Captured(number) => {
                    if let Some(place) = captured.levels.get_mut(*number) {
                        *place = first;
                    }
                }
                Level::Known(pieces) => {
                    let mut unmatched = Some(first);
                    for piece in pieces {
                        let value = bound.value(piece)?;
                        unmatched = unmatched.and_then(|text| text.strip_prefix(value));
                    }
                    if unmatched != Some("") {
                        return Ok(None);
                    }
                }
            }
        }
        captured.rest = left;
        let fits = self.has_rest || left.is_none();
        Ok(fits.then_some(captured))
    }

    /// Writes the topic of this side; tells whether there is one, and it is exact.
    pub(super) fn write(
        &self,
        captured: &Captured<'_>,
        bound: &Bindings<'_>,
        buffer: &mut String,
    ) -> Result<bool, RewriteError> {
        for (index, level) in self.levels.iter().enumerate() {
            if index > 0 {
                buffer.push('/');
            }
            match level {
                Level::Captured(number) => {
                    let text = captured.levels.get(*number).copied().unwrap_or_default();
                    let times = self.captures().filter(|other| other == number).count();
                    if text == "+" && times > 1 {
                        return Ok(false); // Two wildcards need not match the same.
                    }
                    buffer.push_str(text);
                }
                Level::Known(pieces) => {
                    for piece in pieces {
                        buffer.push_str(bound.value(piece)?);
                    }
                }
            }
        }
        if self.has_rest {
            match captured.rest {
                Some(rest) => {
                    if !self.levels.is_empty() {
                        buffer.push('/');
                    }
                    buffer.push_str(rest);
                }
                None if self.levels.is_empty() => return Ok(false), // No topic is empty.
                None => {}
            }
        }
        Ok(!buffer.is_empty())
    }

    /// Could a topic fit both sides, whatever is bound?
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let disjoint = |pair: (&Level, &Level)| match pair {
            (Level::Known(left), Level::Known(right)) => are_disjoint(left, right),
            (Level::Captured(_), _) | (_, Level::Captured(_)) => false,
        };
        let reaches = |long: &Self, short: &Self| {
            long.levels.len() == short.levels.len()
                || long.levels.len() > short.levels.len() && short.has_rest
        };
        !self.levels.iter().zip(&other.levels).any(disjoint)
            && (reaches(self, other) || reaches(other, self))
    }
}

/// Can no values make these pieces the same text? They differ before the first value, or after
/// the last.
fn are_disjoint(left: &[Piece], right: &[Piece]) -> bool {
    let text = |piece: Option<&Piece>| match piece {
        Some(Piece::Text(text)) => Box::clone(text),
        Some(Piece::Value(_)) | None => Box::default(),
    };
    let are_fixed = |pieces: &[Piece]| !pieces.iter().any(|piece| matches!(piece, Piece::Value(_)));
    let (first, other_first) = (text(left.first()), text(right.first()));
    if are_fixed(left) && are_fixed(right) {
        return first != other_first;
    }
    let (last, other_last) = (text(left.last()), text(right.last()));
    let starts_agree = first.starts_with(&*other_first) || other_first.starts_with(&*first);
    let ends_agree = last.ends_with(&*other_last) || other_last.ends_with(&*last);
    !(starts_agree && ends_agree)
}

impl<'a> Bindings<'a> {
    fn value<'p>(&self, piece: &'p Piece) -> Result<&'p str, RewriteError>
    where
        'a: 'p,
    {
        let name = match piece {
            Piece::Text(text) => return Ok(text),
            Piece::Value(name) => name,
        };
        let rule = self.rule;
        let is_it = |(other, _): &&(&str, &str)| *other == &**name;
        let (_, value) = self
            .bound
            .iter()
            .find(is_it)
            .ok_or(RewriteError::Unbound { rule })?;
        if value.is_empty() || value.contains(['/', '+', '#', '\0']) {
            return Err(RewriteError::NotALevel { rule });
        }
        Ok(value)
    }
}

/// Splits a level into text and `{name}`s.
fn pieces(rule: usize, level: &str) -> Result<Box<[Piece]>, RewriteError> {
    let mut pieces = Vec::new();
    let mut left = level;
    while let Some((text, after)) = left.split_once('{') {
        let ill_formed = RewriteError::PlaceholderIllFormed { rule };
        let (name, after) = after.split_once('}').ok_or(ill_formed)?;
        let is_capture = name == "#" || name.bytes().all(|byte| byte.is_ascii_digit());
        if is_capture || name.contains('{') {
            return Err(ill_formed);
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text.into()));
        }
        pieces.push(Piece::Value(name.into()));
        left = after;
    }
    if left.contains('}') {
        return Err(RewriteError::PlaceholderIllFormed { rule });
    }
    if !left.is_empty() {
        pieces.push(Piece::Text(left.into()));
    }
    let has_wildcard = |piece: &Piece| match piece {
        Piece::Text(text) | Piece::Value(text) => text.contains(['+', '#']),
    };
    if pieces.iter().any(has_wildcard) {
        return Err(RewriteError::WildcardMisplaced { rule });
    }
    Ok(pieces.into())
}
