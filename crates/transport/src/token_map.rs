//! Values under the tokens that events carry, safe against events that come too late.

use core::mem;

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
}

/// A bounded collection that names its values with [`Token`]s.
///
/// An event loop keeps everything it registers with one [`Poller`](crate::Poller) (listeners,
/// connections) in one such map: tokens of two maps can be equal. All operations take constant
/// time; the order of iteration is that of the places, not of insertion.
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
    slots: Vec<Slot<T>>,
    /// The place that was freed last; each free place knows the one freed before it.
    free: Option<u32>,
    len: usize,
    len_max: usize,
}

#[derive(Clone, Debug)]
struct Slot<T> {
    generation: u32,
    state: State<T>,
}

#[derive(Clone, Debug)]
enum State<T> {
    Free { next: Option<u32> },
    Taken(T),
}

impl<T> TokenMap<T> {
    /// The most values that any map can hold.
    pub const LEN_MAX: usize = INDEX_MASK; // Leaves out the last index, where the waker lives.

    /// Creates an empty map for at most `len_max` values, or [`LEN_MAX`](Self::LEN_MAX) if that is
    /// less; it takes memory as it grows.
    #[must_use]
    pub const fn new(len_max: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: None,
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
        let index = self.free.map_or(self.slots.len(), |index| index as usize);
        let generation = self.slots.get(index).map_or(0, |slot| slot.generation);
        Some(Token::new(index, generation as usize))
    }

    /// Adds a value and returns its token.
    ///
    /// # Errors
    ///
    /// The value, when the map is full.
    pub fn insert(&mut self, value: T) -> Result<Token, T> {
        if self.len >= self.len_max {
            return Err(value);
        }
        let index = match self.free {
            Some(index) => index as usize,
            None => self.slots.len(),
        };
        let generation = match self.slots.get_mut(index) {
            Some(slot) => {
                if let State::Free { next } = slot.state {
                    self.free = next;
                }
                slot.state = State::Taken(value);
                slot.generation
            }
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    state: State::Taken(value),
                });
                0
            }
        };
        self.len += 1;
        Ok(Token::new(index, generation as usize))
    }

    /// Takes a value out; its token stays without meaning for ever.
    pub fn remove(&mut self, token: Token) -> Option<T> {
        let free = self.free;
        let slot = self.slot_mut(token)?;
        let State::Taken(value) = mem::replace(&mut slot.state, State::Free { next: free }) else {
            return None; // Never: `slot_mut` finds taken places only.
        };
        slot.generation = slot.generation.wrapping_add(1);
        self.free = u32::try_from(token.index()).ok();
        self.len -= 1;
        Some(value)
    }

    /// Returns a value to change it.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        match &mut self.slot_mut(token)?.state {
            State::Taken(value) => Some(value),
            State::Free { .. } => None,
        }
    }

    /// Returns the values and their tokens, to change the values.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Token, &mut T)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(index, slot)| match &mut slot.state {
            State::Taken(value) => Some((Token::new(index, slot.generation as usize), value)),
            State::Free { .. } => None,
        })
    }

    /// Returns a value.
    #[must_use]
    pub fn get(&self, token: Token) -> Option<&T> {
        let slot = self.slots.get(token.index())?;
        match &slot.state {
            State::Taken(value) if slot.is_named_by(token) => Some(value),
            State::Taken(_) | State::Free { .. } => None,
        }
    }

    /// Returns the values and their tokens.
    pub fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(index, slot)| match &slot.state {
            State::Taken(value) => Some((Token::new(index, slot.generation as usize), value)),
            State::Free { .. } => None,
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

    fn slot_mut(&mut self, token: Token) -> Option<&mut Slot<T>> {
        let slot = self.slots.get_mut(token.index())?;
        let is_taken = matches!(slot.state, State::Taken(_));
        (is_taken && slot.is_named_by(token)).then_some(slot)
    }
}

impl<T> Slot<T> {
    const fn is_named_by(&self, token: Token) -> bool {
        self.generation as usize & GENERATION_MASK == token.generation()
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
        map.slots[0].generation = u32::MAX;
        let (last, _) = map.iter().next().unwrap();
        assert_eq!(map.remove(last), Some('a'));
        let next = map.insert('b').unwrap();
        assert_eq!(next.generation(), 0);
        assert_eq!(map.get(last), None);
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
