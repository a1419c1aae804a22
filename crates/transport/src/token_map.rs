//! Values under the tokens that events carry, safe against events that come too late.

use core::mem;
use std::collections::BTreeSet;

/// The name under which a source was registered, and which its events carry.
///
/// A token is never used twice: the place of a removed value is given away again under a new
/// generation, so an event that was already on its way reaches nobody.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Token(usize);

/// How many bits of a token count places; the others count generations.
const INDEX_BITS: u32 = if usize::BITS >= 64 { 32 } else { 20 };
const INDEX_MASK: usize = (1 << INDEX_BITS) - 1;
const GENERATION_MASK: usize = usize::MAX >> INDEX_BITS;

impl Token {
    const fn new(index: usize, generation: usize) -> Self {
        Self((generation & GENERATION_MASK) << INDEX_BITS | index & INDEX_MASK)
    }

    /// Returns a number for the token, to be kept where this type is not known.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        self.0 as u64
    }

    /// Returns the token that gave this number; any other number names nothing.
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        if number > usize::MAX as u64 {
            return Self(usize::MAX);
        }
        Self(number as usize)
    }

    pub(crate) const fn from_mio(token: mio::Token) -> Self {
        Self(token.0)
    }

    pub(crate) const fn to_mio(self) -> mio::Token {
        mio::Token(self.0)
    }

    const fn index(self) -> usize {
        self.0 & INDEX_MASK
    }

    const fn generation(self) -> usize {
        self.0 >> INDEX_BITS
    }

    const fn is_of(self, generation: u32) -> bool {
        generation as usize & GENERATION_MASK == self.generation()
    }
}

/// A bounded collection that names its values with [`Token`]s.
///
/// An event loop keeps everything it registers with one [`Poller`](crate::Poller) (listeners,
/// connections) in one such map: tokens of two maps can be equal. A value is found in constant time;
/// to add or to remove one takes time logarithmic in the number of pages of 64 places. The order of
/// iteration is that of the places, not of insertion.
///
/// # Examples
///
/// ```
/// use mqttstack_transport::TokenMap;
///
/// let mut connections = TokenMap::new(1);
/// let first = connections.insert("first").unwrap();
/// assert_eq!(connections.insert("too many"), Err("too many"));
/// connections.remove(first);
/// let second = connections.insert("second").unwrap();
/// assert_eq!(connections.get(first), None, "an event for the first does not hit the second");
/// assert_eq!(connections.get(second), Some(&"second"));
/// ```
#[derive(Clone, Debug)]
pub struct TokenMap<T> {
    pages: Vec<Page<T>>,
    /// The pages that are not full, those without memory included. The lowest is filled first, so that
    /// what stays after a storm is close together.
    with_room: BTreeSet<usize>,
    /// A page in which nothing was left when it was kept, with its memory.
    kept: usize,
    len: usize,
    len_max: usize,
}

/// How many places are made, and given back, at once.
const PAGE_LEN: usize = 64;

#[derive(Clone, Debug)]
struct Page<T> {
    /// None where the page was given back.
    slots: Vec<Slot<T>>,
    /// The place to fill next, which names the one after it; past the last place, a new one.
    free: usize,
    taken: usize,
    /// What the next value of the page gets; it outlives the places.
    generation: u32,
}

#[derive(Clone, Debug)]
enum Slot<T> {
    Free { next: usize },
    Taken { generation: u32, value: T },
}

impl<T> TokenMap<T> {
    /// The most values that any map can hold.
    pub const LEN_MAX: usize = INDEX_MASK; // Leaves out the last index, where the waker lives.

    /// Creates an empty map for at most `len_max` values, or [`LEN_MAX`](Self::LEN_MAX) if that is
    /// less. It takes memory as it grows, and gives back what nothing is left in.
    #[must_use]
    pub const fn new(len_max: usize) -> Self {
        Self {
            pages: Vec::new(),
            with_room: BTreeSet::new(),
            kept: 0,
            len: 0,
            len_max: if len_max < Self::LEN_MAX {
                len_max
            } else {
                Self::LEN_MAX
            },
        }
    }

    /// Returns the token that [`insert`](Self::insert) gives to the next value, or `None` when the
    /// map is full: for a value that has to know its own name.
    #[must_use]
    pub fn next_token(&self) -> Option<Token> {
        if self.len >= self.len_max {
            return None;
        }
        let number = self.with_room.first().copied().unwrap_or(self.pages.len());
        let page = self.pages.get(number);
        let (free, generation) = page.map_or((0, 0), |page| (page.free, page.generation));
        Some(Token::new(number * PAGE_LEN + free, generation as usize))
    }

    /// Adds a value and returns its token.
    ///
    /// # Errors
    ///
    /// The value, when the map is full.
    pub fn insert(&mut self, value: T) -> Result<Token, T> {
        let Some(token) = self.next_token() else {
            return Err(value);
        };
        let number = token.index() / PAGE_LEN;
        if number == self.pages.len() {
            self.pages.push(Page::new(0));
            self.with_room.insert(number);
        }
        if let Some(page) = self.pages.get_mut(number) {
            page.insert(value);
            self.len += 1;
            if page.taken == PAGE_LEN {
                self.with_room.remove(&number);
            }
        }
        Ok(token)
    }

    /// Takes a value out; its token stays without meaning for ever.
    pub fn remove(&mut self, token: Token) -> Option<T> {
        let number = token.index() / PAGE_LEN;
        let page = self.pages.get_mut(number)?;
        let was_full = page.taken == PAGE_LEN;
        let value = page.remove(token)?;
        self.len -= 1;
        if was_full {
            self.with_room.insert(number);
        }
        if page.taken == 0 {
            self.give_back(number);
        }
        Some(value)
    }

    /// Gives an empty page back, unless it is the only one: whoever comes and goes alone makes no
    /// memory come and go. Of two, the one that is filled first stays.
    fn give_back(&mut self, emptied: usize) {
        let kept = self.pages.get(self.kept).filter(|page| page.taken == 0);
        let kept = kept.map_or(emptied, |_| self.kept);
        self.kept = kept.min(emptied);
        if kept != emptied
            && let Some(page) = self.pages.get_mut(kept.max(emptied))
        {
            *page = Page::new(page.generation);
        }
    }

    /// Returns a value to change it.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        let page = self.pages.get_mut(token.index() / PAGE_LEN)?;
        match page.slots.get_mut(token.index() % PAGE_LEN)? {
            Slot::Taken { generation, value } if token.is_of(*generation) => Some(value),
            Slot::Taken { .. } | Slot::Free { .. } => None,
        }
    }

    /// Returns the values and their tokens, to change the values.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Token, &mut T)> {
        let pages = self.pages.iter_mut().enumerate();
        pages.flat_map(|(number, page)| {
            let slots = page.slots.iter_mut().enumerate();
            slots.filter_map(move |(place, slot)| match slot {
                Slot::Taken { generation, value } => {
                    let index = number * PAGE_LEN + place;
                    Some((Token::new(index, *generation as usize), value))
                }
                Slot::Free { .. } => None,
            })
        })
    }

    /// Returns a value.
    #[must_use]
    pub fn get(&self, token: Token) -> Option<&T> {
        let page = self.pages.get(token.index() / PAGE_LEN)?;
        match page.slots.get(token.index() % PAGE_LEN)? {
            Slot::Taken { generation, value } if token.is_of(*generation) => Some(value),
            Slot::Taken { .. } | Slot::Free { .. } => None,
        }
    }

    /// Returns the values and their tokens.
    pub fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        let pages = self.pages.iter().enumerate();
        pages.flat_map(|(number, page)| {
            let slots = page.slots.iter().enumerate();
            slots.filter_map(move |(place, slot)| match slot {
                Slot::Taken { generation, value } => {
                    let index = number * PAGE_LEN + place;
                    Some((Token::new(index, *generation as usize), value))
                }
                Slot::Free { .. } => None,
            })
        })
    }

    /// Returns how many values the map holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Says whether the map holds no value.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Says whether the next [`insert`](Self::insert) would be refused.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.len >= self.len_max
    }
}

impl<T> Page<T> {
    const fn new(generation: u32) -> Self {
        Self {
            slots: Vec::new(),
            free: 0,
            taken: 0,
            generation,
        }
    }

    fn insert(&mut self, value: T) {
        let taken = Slot::Taken {
            generation: self.generation,
            value,
        };
        self.taken += 1;
        if let Some(slot) = self.slots.get_mut(self.free) {
            if let Slot::Free { next } = mem::replace(slot, taken) {
                self.free = next;
            }
            return;
        }
        if self.slots.capacity() == 0 {
            self.slots.reserve_exact(PAGE_LEN);
        }
        self.slots.push(taken);
        self.free = self.slots.len();
    }

    fn remove(&mut self, token: Token) -> Option<T> {
        let place = token.index() % PAGE_LEN;
        let next = self.free;
        let slot = self.slots.get_mut(place)?;
        match slot {
            Slot::Taken { generation, .. } if token.is_of(*generation) => {}
            Slot::Taken { .. } | Slot::Free { .. } => return None,
        }
        let Slot::Taken { value, .. } = mem::replace(slot, Slot::Free { next }) else {
            return None; // Never: it has been looked at.
        };
        self.free = place;
        self.taken -= 1;
        self.generation = self.generation.wrapping_add(1);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poller::WAKER;

    #[test]
    fn a_place_is_given_away_under_a_new_token() {
        let mut map = TokenMap::new(8);
        let [a, b, c] = ["a", "b", "c"].map(|value| map.insert(value).unwrap());
        assert_eq!(map.remove(b), Some("b"));
        assert_eq!(map.remove(a), Some("a"));
        assert_eq!(map.remove(a), None, "removing twice frees nothing twice");
        let d = map.insert("d").unwrap();
        let e = map.insert("e").unwrap();
        assert_eq!((d.index(), e.index()), (a.index(), b.index()));
        for (token, value) in [(a, None), (b, None), (c, Some(&"c")), (d, Some(&"d"))] {
            assert_eq!(map.get(token), value);
            assert_eq!(map.get_mut(token).map(|v| &*v), value);
        }
        assert_eq!(
            map.iter().collect::<Vec<_>>(),
            [(d, &"d"), (e, &"e"), (c, &"c")]
        );
        assert_eq!(map.len(), 3);
    }

    #[test]
    fn a_full_map_gives_the_value_back() {
        let mut map = TokenMap::new(2);
        let first = map.insert(1).unwrap();
        map.insert(2).unwrap();
        assert!(map.is_full());
        assert_eq!(map.insert(3), Err(3));
        map.remove(first);
        assert!(map.insert(3).is_ok());
        assert_eq!(TokenMap::new(0).insert(()), Err(()));
    }

    #[test]
    fn generations_wrap_without_a_panic() {
        let mut map = TokenMap::new(1);
        map.insert('a').unwrap();
        let (first, _) = map.iter().next().unwrap();
        map.remove(first);
        map.pages[0].generation = u32::MAX;
        let last = map.insert('a').unwrap();
        assert_eq!(map.remove(last), Some('a'));
        let next = map.insert('b').unwrap();
        assert_eq!(next.generation(), 0);
        assert_eq!(map.get(last), None);
    }

    #[test]
    fn pages_are_given_back_and_their_tokens_stay_without_meaning() {
        let mut map = TokenMap::new(10_000);
        let stays = map.insert(0).unwrap();
        let gone: Vec<Token> = (1..10_000)
            .map(|value| map.insert(value).unwrap())
            .collect();
        assert_eq!(map.insert(0), Err(0));
        for token in &gone {
            assert!(map.remove(*token).is_some());
        }
        let with_memory = |map: &TokenMap<_>| {
            let pages = map.pages.iter();
            pages.filter(|page| page.slots.capacity() > 0).count()
        };
        // One empty page is kept for the next.
        assert_eq!((map.len(), with_memory(&map)), (1, 2));
        let again: Vec<Token> = (1..10_000)
            .map(|value| map.insert(value).unwrap())
            .collect();
        assert_eq!(map.get(stays), Some(&0));
        assert!(gone.iter().all(|token| map.get(*token).is_none()));
        assert!(again.iter().all(|token| map.get(*token).is_some()));
    }

    #[test]
    fn the_next_token_is_the_one_that_is_given() {
        let mut map = TokenMap::new(200);
        let mut tokens = Vec::new();
        for step in 0..2_000_usize {
            let next = map.next_token();
            if step % 3 < 2 {
                let token = map.insert(step).ok();
                assert_eq!(token, next);
                tokens.extend(token);
            } else {
                let token = tokens.swap_remove(step * 7 % tokens.len());
                assert!(map.remove(token).is_some());
            }
            assert_eq!(map.len(), tokens.len());
            assert!(map.iter().all(|(token, _)| tokens.contains(&token)));
        }
        assert!(map.is_full());
    }

    #[test]
    fn no_value_can_have_the_wakers_token() {
        let highest = Token::new(TokenMap::<()>::LEN_MAX - 1, usize::MAX);
        assert_ne!(highest.to_mio(), WAKER);
    }

    #[test]
    fn tokens_that_were_never_given_out_find_nothing() {
        let mut map = TokenMap::new(4);
        map.insert(()).unwrap();
        for token in [Token(usize::MAX), Token::new(1, 0), Token::new(0, 1)] {
            assert_eq!(map.get(token), None);
            assert_eq!(map.get_mut(token), None);
            assert_eq!(map.remove(token), None);
        }
    }
}
