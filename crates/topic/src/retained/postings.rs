//! Which names have which levels where: the inverted index behind retained messages.

use alloc::vec::Vec;
use core::{iter, ops::ControlFlow};

use super::id_set::IdSet;
use crate::{
    TopicFilter, TopicName,
    arena::{Arena, EitherId, Id},
    hash::KeyedHash,
    table::{self, Table},
};

/// For each term, and each depth of a name, the names that have it, ordered by id.
///
/// Terms are told apart by 32 bits of a hash. Two that collide only yield candidates that do not
/// match, and the caller compares texts anyway.
#[derive(Debug)]
pub(crate) struct Postings {
    lists: Table<List, 7>,
    /// The names of lists with more than one.
    sets: Arena<IdSet>,
    /// How many names of each depth there are, up to the deepest.
    depths: Vec<u32>,
    hash: KeyedHash,
}

/// The names that share a term: the only one of them, or the number of a set.
#[derive(Clone, Copy, Debug)]
struct List {
    key: u32,
    names: EitherId,
}

impl table::Entry for List {
    fn hash(&self) -> u32 {
        self.key
    }
}

/// Where a search stands: at a depth in bits 32 to 39, and an id below.
///
/// Names of one depth stand together, so a filter without `#` reads no other.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Position(u64);

const DEPTH_SHIFT: u32 = 32;

/// A property of names that filters ask for, as a hash: nothing but their depth; their first
/// levels, of which there are more behind; or a level after the first, and where it stands.
#[derive(Clone, Copy, Debug, Default)]
struct Term(u32);

/// What a filter asks for: its terms, and the depths that it can match.
#[derive(Debug)]
pub(crate) struct Query {
    terms: [Term; TERMS_MAX],
    term_count: usize,
    is_dollar: bool,
    least: u8,
    most: u8,
}

/// The name that a filter matches beside those it asks the lists for: `a` is matched by `a/#`.
pub(crate) fn parent<'a>(filter: &TopicFilter<'a>) -> Option<&'a str> {
    let parent = filter.filter().strip_suffix("/#")?;
    (!parent.contains('+')).then_some(parent)
}

/// A filter with more literal parts is searched by this many of them.
const TERMS_MAX: usize = 8;

impl Position {
    pub(crate) const START: Self = Self(0);

    pub(crate) fn new(depth: u8, id: Id) -> Self {
        Self::at(depth, id.get())
    }

    fn at(depth: u8, number: u32) -> Self {
        Self(u64::from(depth) << DEPTH_SHIFT | u64::from(number))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower half is the id")]
    const fn number(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn id(self) -> Option<Id> {
        Id::new(self.number())
    }

    pub(crate) fn depth(self) -> u8 {
        u8::try_from(self.0 >> DEPTH_SHIFT).unwrap_or(u8::MAX)
    }

    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Postings {
    pub(crate) const fn new(hash: KeyedHash) -> Self {
        Self {
            lists: Table::new(),
            sets: Arena::new(),
            depths: Vec::new(),
            hash,
        }
    }

    pub(crate) fn insert(&mut self, name: &TopicName<'_>, id: Id) {
        let depth = name.level_count();
        if self.depths.len() <= depth.into() {
            self.depths.resize(usize::from(depth).saturating_add(1), 0);
        }
        if let Some(count) = self.depths.get_mut(usize::from(depth)) {
            *count = count.saturating_add(1);
        }
        for term in self.hash.terms_of_name(name) {
            let key = self.hash.key_of(term, depth, name.is_dollar());
            self.insert_at(key, id);
        }
    }

    pub(crate) fn remove(&mut self, name: &TopicName<'_>, id: Id) {
        let depth = name.level_count();
        if let Some(count) = self.depths.get_mut(usize::from(depth)) {
            *count = count.saturating_sub(1);
        }
        for term in self.hash.terms_of_name(name) {
            let key = self.hash.key_of(term, depth, name.is_dollar());
            self.remove_at(key, id);
        }
        while self.depths.last() == Some(&0) {
            self.depths.pop();
        }
        if self.depths.is_empty() {
            self.depths = Vec::new();
        }
    }

    fn insert_at(&mut self, key: u32, id: Id) {
        let Some(list) = self.lists.find_mut(key, |list| list.key == key) else {
            let names = EitherId::left(id);
            return self.lists.insert(List { key, names });
        };
        match list.names.split() {
            Ok(only) if only == id => {}
            Ok(only) => {
                let mut set = IdSet::new();
                set.insert(only);
                set.insert(id);
                list.names = EitherId::right(self.sets.insert(set));
            }
            Err(set) => {
                if let Some(set) = self.sets.get_mut(set) {
                    set.insert(id);
                }
            }
        }
    }

    fn remove_at(&mut self, key: u32, id: Id) {
        let Some(list) = self.lists.find_mut(key, |list| list.key == key) else {
            return;
        };
        let number = match list.names.split() {
            Ok(only) if only == id => {
                self.lists.remove(key, |list| list.key == key);
                return;
            }
            Ok(_) => return,
            Err(number) => number,
        };
        if let Some(set) = self.sets.get_mut(number) {
            set.remove(id);
            if let Some(only) = set.only() {
                list.names = EitherId::left(only);
                self.sets.remove(number);
            }
        }
    }

    /// Translates a filter with wildcards.
    pub(crate) fn query(&self, filter: &TopicFilter<'_>) -> Query {
        let text = filter.filter();
        let mut terms = [Term::default(); TERMS_MAX];
        let mut term_count = 0;
        for (place, term) in terms.iter_mut().zip(self.hash.terms_of_filter(text)) {
            *place = term;
            term_count = usize::saturating_add(term_count, 1);
        }
        let level_count = filter.level_count();
        let (least, most) = if text.ends_with('#') {
            (level_count.saturating_sub(1), u8::MAX)
        } else {
            (level_count, level_count)
        };
        Query {
            terms,
            term_count,
            is_dollar: text.starts_with('$'),
            least,
            most,
        }
    }

    /// Visits the names of the shortest list of the query, at each depth, from a position on, until
    /// `visit` says where to go on another time or `steps_left`, the lists and names that may be
    /// looked at, is used up. Returns where to go on, `None` at the end.
    ///
    /// All lists have the order of ids, so it does not matter if another one is the shortest when a
    /// search goes on.
    pub(crate) fn search(
        &self,
        query: &Query,
        from: Position,
        steps_left: &mut usize,
        mut visit: impl FnMut(Position) -> ControlFlow<Position>,
    ) -> Option<Position> {
        let deepest = u8::try_from(self.depths.len().checked_sub(1)?).unwrap_or(u8::MAX);
        let mut at = from.max(Position::at(query.least, 0));
        while at.depth() <= query.most.min(deepest) {
            let depth = at.depth();
            if *steps_left == 0 {
                return Some(at);
            }
            let names = match self.depths.get(usize::from(depth)) {
                Some(0) | None => Names::None,
                Some(_) => self.shortest(query, depth, steps_left),
            };
            for number in names.walk(at.number()) {
                at = Position::at(depth, number);
                if *steps_left == 0 {
                    return Some(at);
                }
                *steps_left = steps_left.saturating_sub(1);
                if let ControlFlow::Break(next) = visit(at) {
                    return Some(next);
                }
            }
            at = Position::at(depth.checked_add(1)?, 0);
        }
        None
    }

    /// Returns those names that have the rarest of the terms. Each list is a step.
    fn shortest(&self, query: &Query, depth: u8, steps_left: &mut usize) -> Names<'_> {
        let terms = query.terms.get(..query.term_count).unwrap_or_default();
        let mut shortest = Names::None;
        let mut least = usize::MAX;
        for term in terms {
            *steps_left = steps_left.saturating_sub(1);
            let key = self.hash.key_of(*term, depth, query.is_dollar);
            let names = self.names(key);
            let len = names.len();
            if len == 0 {
                return names;
            }
            if len < least {
                (shortest, least) = (names, len);
            }
        }
        shortest
    }

    fn names(&self, key: u32) -> Names<'_> {
        let list = self.lists.find(key, |list| list.key == key);
        match list.map(|list| list.names.split()) {
            Some(Ok(only)) => Names::Only(only),
            Some(Err(set)) => self.sets.get(set).map_or(Names::None, Names::Set),
            None => Names::None,
        }
    }
}

/// Some names of one depth.
#[derive(Clone, Copy, Debug)]
enum Names<'a> {
    None,
    Only(Id),
    Set(&'a IdSet),
}

impl<'a> Names<'a> {
    fn len(self) -> usize {
        match self {
            Self::None => 0,
            Self::Only(_) => 1,
            Self::Set(set) => set.len(),
        }
    }

    /// Walks along their numbers from one on.
    fn walk(self, from: u32) -> impl Iterator<Item = u32> + use<'a> {
        let (only, set) = match self {
            Self::None => (None, None),
            Self::Only(id) => (Some(id.get()).filter(|number| *number >= from), None),
            Self::Set(set) => (None, Some(set.walk(from))),
        };
        only.into_iter().chain(set.into_iter().flatten())
    }
}

/// The term that every name has.
const ANY: Term = Term(0);
/// The path of no level.
const ROOT_PATH: u32 = 0;
/// Sets paths apart from levels, whose places count from 1.
const PREFIX: u32 = 0;

impl KeyedHash {
    /// Returns the key of the list of names that have a term and a depth, and begin with `$` or not:
    /// a filter that begins with a wildcard reads none of a name that begins with `$`.
    fn key_of(self, term: Term, depth: u8, is_dollar: bool) -> u32 {
        self.pair(term.0, u32::from(depth) << 1 | u32::from(is_dollar))
    }

    const fn path_below(self, path: u32, level: u32) -> u32 {
        self.pair(path, level)
    }

    const fn prefix(self, path: u32) -> Term {
        Term(self.pair(path, PREFIX))
    }

    fn level(self, place: usize, level: u32) -> Term {
        Term(self.pair(level, u32::try_from(place).unwrap_or(u32::MAX)))
    }

    /// Returns all terms that a filter which matches the name may ask for; its whole text is asked
    /// for in no list, see [`parent`].
    fn terms_of_name<'a>(self, name: &TopicName<'a>) -> impl Iterator<Item = Term> + use<'a> {
        let last = usize::from(name.level_count()).saturating_sub(1);
        let mut path = ROOT_PATH;
        let levels = name.as_str().split('/').enumerate();
        let terms = levels.flat_map(move |(place, level)| {
            let level = self.text(level);
            path = self.path_below(path, level);
            let prefix = (place < last).then(|| self.prefix(path));
            let level = (place > 0).then(|| self.level(place, level));
            prefix.into_iter().chain(level)
        });
        iter::once(ANY).chain(terms)
    }

    /// Returns the terms that a filter asks for: its longest prefix without wildcards, and each
    /// literal level after the first wildcard; if there are neither, what every name has.
    fn terms_of_filter<'a>(self, text: &'a str) -> impl Iterator<Item = Term> + use<'a> {
        let wildcard = text.find(['+', '#']).unwrap_or(text.len());
        let prefix = wildcard.checked_sub(1).and_then(|end| text.get(..end));
        let prefix_levels = prefix.map_or(0, |prefix| prefix.split('/').count());
        let path = prefix.map(|prefix| {
            prefix.split('/').fold(ROOT_PATH, |path, level| {
                self.path_below(path, self.text(level))
            })
        });
        let literals = text
            .split('/')
            .enumerate()
            .skip(prefix_levels.max(1))
            .filter(|(_, level)| !matches!(*level, "+" | "#"));
        let mut terms = path
            .map(|path| self.prefix(path))
            .into_iter()
            .chain(literals.map(move |(place, level)| self.level(place, self.text(level))))
            .peekable();
        let any = terms.peek().is_none().then_some(ANY);
        any.into_iter().chain(terms)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeSet, string::String};

    use super::*;
    use crate::TopicLimits;

    #[test]
    fn a_deep_name_has_two_terms_a_level() {
        let limits = TopicLimits {
            levels_max: u8::MAX,
            ..TopicLimits::DEFAULT
        };
        let hash = KeyedHash::new(3);
        for levels in [1, 16, 255] {
            let text: String = ["level"; 255][..levels].join("/");
            let name = TopicName::with_limits(&text, limits).unwrap();
            // All names, each shorter prefix, and each level but the first.
            let terms: BTreeSet<u32> = hash.terms_of_name(&name).map(|term| term.0).collect();
            assert_eq!(terms.len(), 2 * levels - 1);
            let below = hash.terms_of_filter(&(text + "/#")).count();
            assert_eq!(below, 1);
        }
    }

    #[test]
    fn lists_that_are_emptied_leave_nothing() {
        let mut postings = Postings::new(KeyedHash::new(3));
        let names = ["a/b", "a/c", "a/b/c", "$x", "d"].map(|text| TopicName::new(text).unwrap());
        let ids = || (1..).filter_map(Id::new);
        for (name, id) in names.iter().zip(ids()) {
            postings.insert(name, id);
        }
        assert_eq!(postings.depths, [0, 2, 2, 1]);
        for (name, id) in names.iter().zip(ids()) {
            postings.remove(name, id);
        }
        let empty = Postings::new(KeyedHash::new(3));
        assert_eq!(alloc::format!("{postings:?}"), alloc::format!("{empty:?}"));
    }
}
