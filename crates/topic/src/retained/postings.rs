//! Which names have which levels where: the inverted index behind retained messages.

use core::{iter, ops::ControlFlow};

use super::blocks::Blocks;
use crate::{TopicFilter, TopicName, arena::Id, hash::KeyedHash};

/// For each term the names that have it, ordered by depth, then by id.
///
/// Terms are told apart by 24 bits of their hash. Two that collide only yield candidates that do
/// not match, and the caller compares texts anyway.
#[derive(Debug)]
pub(crate) struct Postings {
    all: Blocks,
    hash: KeyedHash,
}

/// A name's place in every list: its depth in bits 32 to 39, its id below.
///
/// Names of one depth stand together, so a filter without `#` reads no other.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Position(u64);

const POSITION_BITS: u32 = 40;
const DEPTH_SHIFT: u32 = 32;

/// A property of names that filters ask for.
#[derive(Clone, Copy)]
enum Term<'a> {
    /// Nothing, except for beginning with `$` or not.
    Any,
    /// The first levels, as a hash of their path; there are more behind them.
    Prefix(u32),
    /// A level after the first, and where it stands.
    Level(usize, &'a str),
}

/// What a filter asks for: its lists, and the positions between which it can match.
#[derive(Debug)]
pub(crate) struct Query {
    lists: [u64; LISTS_MAX],
    list_count: usize,
    first: Position,
    last: Position,
}

/// The name that a filter matches beside those it asks the lists for: `a` is matched by `a/#`.
pub(crate) fn parent<'a>(filter: &TopicFilter<'a>) -> Option<&'a str> {
    let parent = filter.filter().strip_suffix("/#")?;
    (!parent.contains('+')).then_some(parent)
}

/// A filter with more literal parts is searched by this many of them.
const LISTS_MAX: usize = 8;

impl Position {
    pub(crate) const START: Self = Self(0);

    pub(crate) fn new(depth: u8, id: Id) -> Self {
        Self(u64::from(depth) << DEPTH_SHIFT | u64::from(id.get()))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower half is the id")]
    pub(crate) fn id(self) -> Option<Id> {
        Id::new(self.0 as u32)
    }

    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Postings {
    pub(crate) const fn new(hash: KeyedHash) -> Self {
        Self {
            all: Blocks::new(),
            hash,
        }
    }

    pub(crate) fn insert(&mut self, name: &TopicName<'_>, id: Id) {
        let position = Position::new(name.level_count(), id);
        for term in self.terms_of_name(name) {
            let list = self.list(term, name.is_dollar());
            self.all.insert(list | position.0);
        }
    }

    pub(crate) fn remove(&mut self, name: &TopicName<'_>, id: Id) {
        let position = Position::new(name.level_count(), id);
        for term in self.terms_of_name(name) {
            let list = self.list(term, name.is_dollar());
            self.all.remove(list | position.0);
        }
    }

    /// Translates a filter with wildcards.
    pub(crate) fn query(&self, filter: &TopicFilter<'_>) -> Query {
        let text = filter.filter();
        let is_dollar = text.starts_with('$');
        let mut lists = [0; LISTS_MAX];
        let mut list_count = 0;
        for (list, term) in lists.iter_mut().zip(self.terms_of_filter(text)) {
            *list = self.list(term, is_dollar);
            list_count = usize::saturating_add(list_count, 1);
        }
        let level_count = u64::from(filter.level_count());
        let (least, most) = if text.ends_with('#') {
            (level_count.saturating_sub(1), u64::from(u8::MAX))
        } else {
            (level_count, level_count)
        };
        Query {
            lists,
            list_count,
            first: Position(least << DEPTH_SHIFT),
            last: Position(most << DEPTH_SHIFT | u64::from(u32::MAX)),
        }
    }

    /// Visits what is in all lists of the query from a position on, until `visit` says where to
    /// go on another time or `steps_left`, the postings that may be read, is used up. Returns where
    /// to go on, `None` at the end.
    ///
    /// The lists are sorted alike and asked in turn for their first posting from the position on
    /// that the others have reached. So in two rounds the shortest list moves on, or all agree:
    /// whatever the other lists hold, it is read no more than twice its length in rounds.
    pub(crate) fn search(
        &self,
        query: &Query,
        from: Position,
        steps_left: &mut usize,
        mut visit: impl FnMut(Position) -> ControlFlow<Position>,
    ) -> Option<Position> {
        let lists = query.lists.get(..query.list_count)?;
        let first = *lists.first()?;
        let from_on = |list, at: Position| self.all.walk(list | at.0, list | query.last.0);
        let mut at = from.max(query.first);
        if at > query.last {
            return None; // A cursor of another filter; a range must not end before it begins.
        }
        // Walking along a list is cheaper than searching it, and often there is but one.
        let mut walk = from_on(first, at);
        let mut agreed = 0_usize;
        for (turn, list) in lists.iter().enumerate().cycle() {
            if *steps_left == 0 {
                return Some(at);
            }
            *steps_left = steps_left.saturating_sub(1);
            let found = if turn == 0 {
                let next = position_in(walk.next()?);
                if next < at {
                    walk = from_on(first, at);
                    position_in(walk.next()?)
                } else {
                    next
                }
            } else {
                position_in(from_on(*list, at).next()?)
            };
            agreed = if found > at {
                1
            } else {
                agreed.saturating_add(1)
            };
            at = found;
            if agreed == lists.len() {
                if let ControlFlow::Break(next) = visit(at) {
                    return Some(next);
                }
                at = at.next();
                agreed = 0;
            }
        }
        None
    }

    /// Returns the bits above the position that a term's postings share.
    fn list(&self, term: Term<'_>, is_dollar: bool) -> u64 {
        let (hash, kind) = match term {
            Term::Any => (0, 0),
            Term::Prefix(path) => (path, 1),
            // Places count from 1: each has a kind of its own, from 2 on.
            Term::Level(place, text) => {
                let kind = u32::try_from(place).map_or(u32::MAX, |place| place.saturating_add(1));
                (self.hash.text(text), kind)
            }
        };
        // A filter that begins with a wildcard reads no posting of a name that begins with `$`.
        let kind = kind << 1 | u32::from(is_dollar);
        let hash = hash ^ self.hash.pair(kind, kind);
        u64::from(hash >> 8) << POSITION_BITS
    }

    fn terms_of_name<'a>(&self, name: &TopicName<'a>) -> impl Iterator<Item = Term<'a>> + use<'a> {
        let hash = self.hash;
        terms_of_name(name, move |path, level| hash.pair(path, hash.text(level)))
    }

    fn terms_of_filter<'a>(&self, text: &'a str) -> impl Iterator<Item = Term<'a>> + use<'a> {
        let hash = self.hash;
        terms_of_filter(text, move |path, level| hash.pair(path, hash.text(level)))
    }
}

/// The path of no level.
const ROOT_PATH: u32 = 0;

fn position_in(posting: u64) -> Position {
    Position(posting & ((1 << POSITION_BITS) - 1))
}

/// Returns all terms that a filter which matches the name may ask for; its whole text is asked for
/// in no list, see [`parent`]. `path_below` hashes a path of one more level; it sees each level once.
fn terms_of_name<'a, F: FnMut(u32, &str) -> u32>(
    name: &TopicName<'a>,
    mut path_below: F,
) -> impl Iterator<Item = Term<'a>> + use<'a, F> {
    let text = name.as_str();
    let above = usize::from(name.level_count()).saturating_sub(1);
    let prefixes = text.split('/').take(above);
    let prefixes = prefixes.scan(ROOT_PATH, move |path, level| {
        *path = path_below(*path, level);
        Some(Term::Prefix(*path))
    });
    iter::once(Term::Any)
        .chain(prefixes)
        .chain(levels_after_first(text))
}

/// Returns the terms that a filter asks for: its longest prefix without wildcards, and each
/// literal level after the first wildcard; if there are neither, what every name has.
fn terms_of_filter(
    text: &str,
    mut path_below: impl FnMut(u32, &str) -> u32,
) -> impl Iterator<Item = Term<'_>> {
    let wildcard = text.find(['+', '#']).unwrap_or(text.len());
    let prefix = wildcard.checked_sub(1).and_then(|end| text.get(..end));
    let prefix_levels = prefix.map_or(0, |prefix| prefix.split('/').count());
    let is_literal = move |term: &Term<'_>| match term {
        Term::Level(_, "+" | "#") | Term::Any | Term::Prefix(_) => false,
        Term::Level(place, _) => *place >= prefix_levels.max(1),
    };
    let path_of = |prefix: &str| {
        let mut path = ROOT_PATH;
        for level in prefix.split('/') {
            path = path_below(path, level);
        }
        path
    };
    let mut terms = prefix
        .map(path_of)
        .map(Term::Prefix)
        .into_iter()
        .chain(levels_after_first(text).filter(is_literal))
        .peekable();
    let any = terms.peek().is_none().then_some(Term::Any);
    any.into_iter().chain(terms)
}

fn levels_after_first(text: &str) -> impl Iterator<Item = Term<'_>> {
    text.split('/')
        .enumerate()
        .skip(1)
        .map(|(place, level)| Term::Level(place, level))
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;
    use crate::TopicLimits;

    #[test]
    fn each_level_of_a_deep_name_enters_its_paths_once() {
        let limits = TopicLimits {
            levels_max: u8::MAX,
            ..TopicLimits::DEFAULT
        };
        for levels in [1, 16, 255] {
            let text: String = ["level"; 255][..levels].join("/");
            let name = TopicName::with_limits(&text, limits).unwrap();
            let mut hashed = 0;
            let terms = terms_of_name(&name, |path, level| {
                hashed += level.len();
                path + 1
            });
            // All names, each shorter prefix, and each level but the first.
            assert_eq!(terms.count(), 2 * levels - 1);
            assert_eq!(hashed, 5 * (levels - 1));
            let mut hashed = 0;
            let filter = text + "/#";
            let terms = terms_of_filter(&filter, |path, level| {
                hashed += level.len();
                path + 1
            });
            assert_eq!(terms.count(), 1);
            assert_eq!(hashed, 5 * levels);
        }
    }
}
