//! The filters with wildcards, by their levels.

use alloc::{collections::BTreeMap, vec::Vec};
use core::ops::ControlFlow;

use crate::{
    Levels, TopicFilter, TopicName,
    arena::{Arena, EitherId, Id},
    hash::KeyedHash,
    table::{Entry, Table},
};

/// A trie over the levels of filters that finds candidates: the caller compares texts.
///
/// An edge for a literal level is found by its parent and 32 bits that hash the path from the root,
/// and the trie keeps no text. So two levels of one parent may share an edge, which costs a
/// comparison but no correctness: every node still has one parent, hence a lookup meets a filter at
/// most once. A filter that is alone below some level hangs there as a leaf, its tail unfolded only
/// when a second one arrives.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Arena<Node>,
    root: Option<Id>,
    edges: Table<Edge, 5>,
    /// Further filters that end where the first one does, because their levels share hashes.
    twins: BTreeMap<Id, Vec<Id>>,
    hash: KeyedHash,
}

#[derive(Debug, Default)]
struct Node {
    /// Where `+` leads.
    plus: Option<Link>,
    /// The filter that ends here.
    here: Option<Id>,
    /// The filter that ends here with a `#`.
    multi: Option<Id>,
    /// How many filters end here or further down. At 0 the node goes.
    filter_count: u32,
}

/// To a node (left) or straight to the only filter below (right).
type Link = EitherId;

/// Where a literal level leads; five edges fit into a cache line.
#[derive(Clone, Copy, Debug)]
struct Edge {
    parent: Id,
    /// The hash of the path that ends with the level.
    path: u32,
    link: Link,
}

impl Edge {
    fn leads(&self, parent: Id, path: u32) -> bool {
        // Without a branch: a wrong guess would wait for the memory behind the entry.
        (self.parent == parent) & (self.path == path)
    }
}

impl Entry for Edge {
    fn hash(&self) -> u32 {
        self.path
    }
}

impl Trie {
    pub(crate) const fn new(hash: KeyedHash) -> Self {
        Self {
            nodes: Arena::new(),
            root: None,
            edges: Table::new(),
            twins: BTreeMap::new(),
            hash,
        }
    }

    /// Adds a filter that the trie does not hold. `filter_of` returns the filters it holds; at most
    /// one is asked for.
    pub(crate) fn insert<'f>(
        &mut self,
        id: Id,
        filter: &TopicFilter<'_>,
        filter_of: impl Fn(Id) -> Option<TopicFilter<'f>>,
    ) {
        let root = match self.root {
            Some(root) => root,
            None => *self.root.insert(self.nodes.insert(Node::default())),
        };
        let mut at = Spot::at_root(root);
        let mut levels = filter.levels();
        let mut depth = 0_usize;
        // The levels of the leaf that is in the way. Unfolded level by level, it is met again below.
        let mut tail: Option<Levels<'f>> = None;
        loop {
            let Some(node) = self.nodes.get_mut(at.node) else {
                return;
            };
            node.filter_count = node.filter_count.saturating_add(1);
            let place = match levels.next() {
                None => return self.end(at.node, id, |node| &mut node.here),
                Some("#") => return self.end(at.node, id, |node| &mut node.multi),
                Some(level) => self.step(level),
            };
            depth = depth.saturating_add(1);
            match self.link(at, place).map(Link::split) {
                None => return self.set_link(at, place, Link::right(id)),
                Some(Ok(node)) => at = at.below(place, node),
                Some(Err(leaf)) => {
                    let node = self.nodes.insert(Node::default());
                    self.set_link(at, place, Link::left(node));
                    at = at.below(place, node);
                    if tail.is_none() {
                        tail = filter_of(leaf).map(|filter| {
                            let mut levels = filter.levels();
                            let _ = levels.nth(depth.saturating_sub(1));
                            levels
                        });
                    }
                    if let Some(tail) = &mut tail {
                        self.unfold(at, leaf, tail.next());
                    }
                }
            }
        }
    }

    /// Hangs a filter that was a leaf below the new node which took its place.
    fn unfold(&mut self, at: Spot, leaf: Id, level: Option<&str>) {
        if let Some(node) = self.nodes.get_mut(at.node) {
            node.filter_count = 1;
        }
        match level {
            None => self.end(at.node, leaf, |node| &mut node.here),
            Some("#") => self.end(at.node, leaf, |node| &mut node.multi),
            Some(level) => self.set_link(at, self.step(level), Link::right(leaf)),
        }
    }

    fn end(&mut self, at: Id, id: Id, end: impl Fn(&mut Node) -> &mut Option<Id>) {
        let Some(node) = self.nodes.get_mut(at) else {
            return;
        };
        match end(node) {
            Some(first) => self.twins.entry(*first).or_default().push(id),
            none => *none = Some(id),
        }
    }

    /// Removes a filter, and every node that led to it alone.
    pub(crate) fn remove(&mut self, id: Id, filter: &TopicFilter<'_>) {
        let Some(root) = self.root else { return };
        let mut at = Spot::at_root(root);
        let mut levels = filter.levels();
        loop {
            let Some(node) = self.nodes.get_mut(at.node) else {
                return;
            };
            node.filter_count = node.filter_count.saturating_sub(1);
            let is_empty = node.filter_count == 0;
            let next = match levels.next() {
                None => {
                    self.unend(at.node, id, |node| &mut node.here);
                    None
                }
                Some("#") => {
                    self.unend(at.node, id, |node| &mut node.multi);
                    None
                }
                Some(level) => self.follow_and_cut(at, self.step(level)),
            };
            if is_empty {
                self.nodes.remove(at.node);
                self.root = self.root.filter(|root| *root != at.node);
            }
            match next {
                Some(next) => at = next,
                None => return,
            }
        }
    }

    fn unend(&mut self, at: Id, id: Id, end: impl Fn(&mut Node) -> &mut Option<Id>) {
        let Some(first) = self.nodes.get_mut(at).map(end) else {
            return;
        };
        let twins = first.and_then(|first| self.twins.remove(&first));
        let mut twins = twins.unwrap_or_default();
        if *first == Some(id) {
            *first = if twins.is_empty() {
                None
            } else {
                Some(twins.remove(0))
            };
        } else {
            twins.retain(|twin| *twin != id);
        }
        if let (Some(first), false) = (*first, twins.is_empty()) {
            self.twins.insert(first, twins);
        }
    }

    /// Returns the node that a level leads to, and cuts the link if nothing else is behind it.
    fn follow_and_cut(&mut self, at: Spot, step: Step) -> Option<Spot> {
        let link = self.link(at, step)?;
        let next = link.split().ok();
        let is_last = next
            .and_then(|next| self.nodes.get(next))
            .is_none_or(|next| next.filter_count <= 1);
        if is_last {
            self.cut(at, step);
        }
        next.map(|next| at.below(step, next))
    }

    fn step(&self, level: &str) -> Step {
        match level {
            "+" => Step::Plus,
            literal => Step::Literal(self.hash.text(literal)),
        }
    }

    fn link(&self, at: Spot, step: Step) -> Option<Link> {
        match step {
            Step::Plus => self.nodes.get(at.node)?.plus,
            Step::Literal(_) => self.edge(at.node, at.path_below(step)),
        }
    }

    fn edge(&self, parent: Id, path: u32) -> Option<Link> {
        self.edges
            .find(path, |edge| edge.leads(parent, path))
            .map(|edge| edge.link)
    }

    fn set_link(&mut self, at: Spot, step: Step, link: Link) {
        if step == Step::Plus {
            if let Some(node) = self.nodes.get_mut(at.node) {
                node.plus = Some(link);
            }
            return;
        }
        let edge = Edge {
            parent: at.node,
            path: at.path_below(step),
            link,
        };
        match self
            .edges
            .find_mut(edge.hash(), |other| other.leads(edge.parent, edge.path))
        {
            Some(old) => *old = edge,
            None => self.edges.insert(edge),
        }
    }

    fn cut(&mut self, at: Spot, step: Step) {
        if step == Step::Plus {
            if let Some(node) = self.nodes.get_mut(at.node) {
                node.plus = None;
            }
            return;
        }
        let path = at.path_below(step);
        self.edges.remove(path, |edge| edge.leads(at.node, path));
    }

    /// Begins to fetch what [`candidates`](Self::candidates) asks for first, without waiting.
    ///
    /// The hash of a path tells where its edge is, before anything is known of the node it starts
    /// from. So the edges of all literal levels are fetched at once, and not one after the other.
    pub(crate) fn touch<const LEVELS: usize>(&self, route: &Route<'_, LEVELS>) {
        if self.root.is_none() {
            return;
        }
        let mut path = ROOT_PATH;
        for level in route.levels.iter().take(route.level_count.min(TOUCHED_MAX)) {
            path = path_below(path, *level);
            self.edges.touch(path);
        }
    }

    /// Visits, each once, all filters that match the name and some that do not, and counts the
    /// nodes on the way.
    ///
    /// The order is that of the levels: at each `#`, then the literal, then `+`.
    ///
    /// `LEVELS` bounds the levels of the name. Each node on the way leaves at most one branch, its
    /// `+`, for later, so as many places are enough for the branches that wait.
    pub(crate) fn candidates<const LEVELS: usize>(
        &self,
        route: &Route<'_, LEVELS>,
        steps: &mut usize,
        mut visit: impl FnMut(Id) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(root) = self.root else {
            return ControlFlow::Continue(());
        };
        let mut waiting = [None; LEVELS];
        let mut waiting_count = 0_usize;
        let mut next = Some((Link::left(root), 0_usize, ROOT_PATH));
        while let Some((link, depth, path)) = next {
            next = None;
            *steps = steps.saturating_add(1);
            match link.split() {
                Err(leaf) => visit(leaf)?,
                Ok(id) => {
                    let Some(node) = self.nodes.get(id) else {
                        continue;
                    };
                    let wildcards_apply = depth > 0 || !route.is_dollar;
                    if let (Some(first), true) = (node.multi, wildcards_apply) {
                        self.visit_twins(first, &mut visit)?;
                    }
                    let below = depth.saturating_add(1);
                    if depth == route.level_count {
                        if let Some(first) = node.here {
                            self.visit_twins(first, &mut visit)?;
                        }
                    } else {
                        if let (Some(plus), true) = (node.plus, wildcards_apply)
                            && let Some(place) = waiting.get_mut(waiting_count)
                        {
                            *place = Some((plus, below, path_below(path, PLUS)));
                            waiting_count = waiting_count.saturating_add(1);
                        }
                        let level = route.levels.get(depth).copied().unwrap_or_default();
                        let path = path_below(path, level);
                        next = self.edge(id, path).map(|link| (link, below, path));
                    }
                }
            }
            if next.is_none() && waiting_count > 0 {
                waiting_count = waiting_count.saturating_sub(1);
                next = waiting.get(waiting_count).copied().flatten();
            }
        }
        ControlFlow::Continue(())
    }

    fn visit_twins(
        &self,
        first: Id,
        visit: &mut impl FnMut(Id) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        visit(first)?;
        if !self.twins.is_empty() {
            for twin in self.twins.get(&first).into_iter().flatten() {
                visit(*twin)?;
            }
        }
        ControlFlow::Continue(())
    }
}

/// How many levels [`Trie::touch`] looks ahead: more than most filters with wildcards have.
const TOUCHED_MAX: usize = 4;

/// A name, and the hashes of its levels.
pub(crate) struct Route<'a, const LEVELS: usize> {
    name: &'a str,
    is_dollar: bool,
    levels: [u32; LEVELS],
    level_count: usize,
}

impl<'a, const LEVELS: usize> Route<'a, LEVELS> {
    /// Hashes the levels of a name that has no more than `LEVELS`.
    pub(crate) fn of(name: &TopicName<'a>, hash: KeyedHash) -> Self {
        let mut levels = [0; LEVELS];
        let level_count = hash.levels(name.as_str(), &mut levels);
        Self {
            name: name.as_str(),
            is_dollar: name.is_dollar(),
            levels,
            level_count,
        }
    }

    pub(crate) const fn name(&self) -> &'a str {
        self.name
    }
}

/// A node, and the hash of the levels that lead to it.
#[derive(Clone, Copy)]
struct Spot {
    node: Id,
    path: u32,
}

/// One level of a filter, `#` excepted.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Step {
    Plus,
    /// The hash of the level.
    Literal(u32),
}

impl Spot {
    const fn at_root(root: Id) -> Self {
        Self {
            node: root,
            path: ROOT_PATH,
        }
    }

    fn below(self, step: Step, node: Id) -> Self {
        Self {
            node,
            path: self.path_below(step),
        }
    }

    fn path_below(self, step: Step) -> u32 {
        match step {
            Step::Plus => path_below(self.path, PLUS),
            Step::Literal(level) => path_below(self.path, level),
        }
    }
}

const ROOT_PATH: u32 = 0;

/// Stands for `+` in a path.
const PLUS: u32 = 0x2b;

/// Hashes a path of one more level. For one parent, levels of different hashes have different
/// paths.
const fn path_below(path: u32, level: u32) -> u32 {
    (path ^ level).wrapping_mul(0x9e37_79b9).rotate_left(16)
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String};
    use core::cell::Cell;

    use super::*;
    use crate::TopicLimits;

    #[test]
    fn a_leaf_in_the_way_is_read_once_however_far_two_filters_agree() {
        let limits = TopicLimits {
            levels_max: u8::MAX,
            ..TopicLimits::DEFAULT
        };
        for common in [1, 20, 253] {
            let stem: String = ["+"; 253][..common].join("/");
            let texts = [format!("{stem}/a"), format!("{stem}/b")];
            let filters = texts
                .each_ref()
                .map(|text| TopicFilter::with_limits(text, limits).unwrap());
            let ids = [1, 2].map(|number| Id::new(number).unwrap());
            let mut trie = Trie::new(KeyedHash::new(1));
            let reads = Cell::new(0);
            for (id, filter) in ids.into_iter().zip(&filters) {
                trie.insert(id, filter, |other| {
                    reads.set(reads.get() + 1);
                    (other == ids[0]).then_some(filters[0])
                });
            }
            assert_eq!(reads.get(), 1, "{common} levels in common");
            for (id, text) in ids.into_iter().zip(&texts) {
                let name = text.replace('+', "x");
                let name = TopicName::with_limits(&name, limits).unwrap();
                let route = Route::<256>::of(&name, trie.hash);
                let mut found = None;
                let _ = trie.candidates(&route, &mut 0, |candidate| {
                    found = Some(candidate);
                    ControlFlow::Continue(())
                });
                assert_eq!(found, Some(id));
            }
        }
    }
}
