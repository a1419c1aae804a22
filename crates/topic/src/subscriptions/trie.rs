//! The filters with wildcards, by their levels.

use alloc::{collections::BTreeMap, vec::Vec};
use core::ops::ControlFlow;

use crate::{
    TopicFilter, TopicName,
    arena::{Arena, EitherId, Id},
    hash::KeyedHash,
    table::{Entry, Table},
};

/// A trie over the levels of filters that finds candidates: the caller compares texts.
///
/// An edge for a literal level is found by its parent and 32 bits of the level's hash, and the
/// trie keeps no text. So two levels of one parent may share an edge, which costs a comparison
/// but no correctness: every node still has one parent, hence a lookup meets a filter at most
/// once. A filter that is alone below some level hangs there as a leaf, its tail unfolded only
/// when a second one arrives.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Arena<Node>,
    root: Option<Id>,
    edges: Table<Edge, 5>,
    /// Further filters that end where the first one does, because their levels share hashes.
    twins: BTreeMap<Id, Vec<Id>>,
    hash: KeyedHash,
    /// How many nodes the lookups so far have visited.
    #[cfg(test)]
    pub(super) visited: core::sync::atomic::AtomicUsize,
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
    /// The hash of the level.
    level: u32,
    link: Link,
}

impl Edge {
    fn leads(&self, parent: Id, level: u32) -> bool {
        self.parent == parent && self.level == level
    }
}

impl Entry for Edge {
    /// Parents are numbered one after the other and levels are hashed under a secret already.
    fn hash(&self) -> u32 {
        edge_hash(self.parent, self.level)
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
            #[cfg(test)]
            visited: core::sync::atomic::AtomicUsize::new(0),
        }
    }

    /// Adds a filter that the trie does not hold. `filter_of` returns the filters it holds.
    pub(crate) fn insert<'f>(
        &mut self,
        id: Id,
        filter: &TopicFilter<'_>,
        filter_of: impl Fn(Id) -> Option<TopicFilter<'f>>,
    ) {
        let mut at = match self.root {
            Some(root) => root,
            None => *self.root.insert(self.nodes.insert(Node::default())),
        };
        let mut levels = filter.levels();
        let mut depth = 0_usize;
        loop {
            let Some(node) = self.nodes.get_mut(at) else {
                return;
            };
            node.filter_count = node.filter_count.saturating_add(1);
            let place = match levels.next() {
                None => return self.end(at, id, |node| &mut node.here),
                Some("#") => return self.end(at, id, |node| &mut node.multi),
                Some(level) => level,
            };
            depth = depth.saturating_add(1);
            match self.link(at, place).map(Link::split) {
                None => return self.set_link(at, place, Link::right(id)),
                Some(Ok(node)) => at = node,
                Some(Err(leaf)) => {
                    let node = self.nodes.insert(Node::default());
                    self.set_link(at, place, Link::left(node));
                    if let Some(filter) = filter_of(leaf) {
                        self.unfold(node, leaf, filter.levels().nth(depth));
                    }
                    at = node;
                }
            }
        }
    }

    /// Hangs a filter that was a leaf below the new node which took its place.
    fn unfold(&mut self, node: Id, leaf: Id, level: Option<&str>) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.filter_count = 1;
        }
        match level {
            None => self.end(node, leaf, |node| &mut node.here),
            Some("#") => self.end(node, leaf, |node| &mut node.multi),
            Some(level) => self.set_link(node, level, Link::right(leaf)),
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
        let Some(mut at) = self.root else { return };
        let mut levels = filter.levels();
        loop {
            let Some(node) = self.nodes.get_mut(at) else {
                return;
            };
            node.filter_count = node.filter_count.saturating_sub(1);
            let is_empty = node.filter_count == 0;
            let next = match levels.next() {
                None => self.unend(at, id, |node| &mut node.here),
                Some("#") => self.unend(at, id, |node| &mut node.multi),
                Some(level) => self.follow_and_cut(at, level),
            };
            if is_empty {
                self.nodes.remove(at);
                self.root = self.root.filter(|root| *root != at);
            }
            match next {
                Some(next) => at = next,
                None => return,
            }
        }
    }

    fn unend(&mut self, at: Id, id: Id, end: impl Fn(&mut Node) -> &mut Option<Id>) -> Option<Id> {
        let first = end(self.nodes.get_mut(at)?);
        let mut twins = self.twins.remove(&(*first)?).unwrap_or_default();
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
        None
    }

    /// Returns the node that a level leads to, and cuts the link if nothing else is behind it.
    fn follow_and_cut(&mut self, at: Id, level: &str) -> Option<Id> {
        let link = self.link(at, level)?;
        let next = link.split().ok();
        let is_last = next
            .and_then(|next| self.nodes.get(next))
            .is_none_or(|next| next.filter_count <= 1);
        if is_last {
            self.cut(at, level);
        }
        next
    }

    fn link(&self, at: Id, level: &str) -> Option<Link> {
        if level == "+" {
            return self.nodes.get(at)?.plus;
        }
        self.edge(at, self.hash.text(level))
    }

    fn edge(&self, parent: Id, level: u32) -> Option<Link> {
        self.edges
            .find(edge_hash(parent, level), |edge| edge.leads(parent, level))
            .map(|edge| edge.link)
    }

    fn set_link(&mut self, at: Id, level: &str, link: Link) {
        if level == "+" {
            if let Some(node) = self.nodes.get_mut(at) {
                node.plus = Some(link);
            }
            return;
        }
        let edge = Edge {
            parent: at,
            level: self.hash.text(level),
            link,
        };
        match self
            .edges
            .find_mut(edge.hash(), |other| other.leads(at, edge.level))
        {
            Some(old) => *old = edge,
            None => self.edges.insert(edge),
        }
    }

    fn cut(&mut self, at: Id, level: &str) {
        if level == "+" {
            if let Some(node) = self.nodes.get_mut(at) {
                node.plus = None;
            }
            return;
        }
        let level = self.hash.text(level);
        self.edges
            .remove(edge_hash(at, level), |edge| edge.leads(at, level));
    }

    /// Visits, each once, all filters that match the name and some that do not.
    ///
    /// The order is that of the levels: at each `#`, then the literal, then `+`.
    pub(crate) fn candidates(
        &self,
        name: &TopicName<'_>,
        mut visit: impl FnMut(Id) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(root) = self.root else {
            return ControlFlow::Continue(());
        };
        // Most names are shallow; they need not clear a stack made for the deepest.
        if name.level_count() <= 16 {
            self.descend::<16>(root, name, &mut visit)
        } else {
            self.descend::<256>(root, name, &mut visit)
        }
    }

    /// `LEVELS` bounds the levels of the name. Each node on the way leaves at most one branch, its
    /// `+`, for later, so as many places are enough for the branches that wait.
    fn descend<const LEVELS: usize>(
        &self,
        root: Id,
        name: &TopicName<'_>,
        visit: &mut impl FnMut(Id) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut hashes = [0; LEVELS];
        let level_count = self.hash.levels(name.as_str(), &mut hashes);
        let mut waiting = [None; LEVELS];
        let mut waiting_count = 0_usize;
        let mut next = Some((Link::left(root), 0_usize));
        while let Some((link, depth)) = next {
            next = None;
            #[cfg(test)]
            self.visited
                .fetch_add(1, core::sync::atomic::Ordering::Relaxed);
            match link.split() {
                Err(leaf) => visit(leaf)?,
                Ok(id) => {
                    let Some(node) = self.nodes.get(id) else {
                        continue;
                    };
                    let wildcards_apply = depth > 0 || !name.is_dollar();
                    if let (Some(first), true) = (node.multi, wildcards_apply) {
                        self.visit_twins(first, visit)?;
                    }
                    let below = depth.saturating_add(1);
                    if depth == level_count {
                        if let Some(first) = node.here {
                            self.visit_twins(first, visit)?;
                        }
                    } else {
                        if let (Some(plus), true) = (node.plus, wildcards_apply)
                            && let Some(place) = waiting.get_mut(waiting_count)
                        {
                            *place = Some((plus, below));
                            waiting_count = waiting_count.saturating_add(1);
                        }
                        let hash = hashes.get(depth).copied().unwrap_or_default();
                        next = self.edge(id, hash).map(|link| (link, below));
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

/// Mixes the parent into the hash of the level, which is keyed.
const fn edge_hash(parent: Id, level: u32) -> u32 {
    parent.get().wrapping_mul(0x9e37_79b9).rotate_left(16) ^ level
}
