//! A sorted set of ids, in memory that follows how many there are and how close they stand.

use alloc::{boxed::Box, vec::Vec};
use core::iter;

use crate::arena::Id;

/// A sorted set of ids.
///
/// A few lie in the record itself; more in chunks, each for a range of ids, as a list of two bytes
/// an id or as a map of one bit an id, whichever is less. Ids mostly arrive in their order, so
/// that adding one touches the last chunk only. A set gives memory back as it loses ids.
#[derive(Debug)]
pub(crate) struct IdSet {
    len: u32,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// Sorted; behind the length there is anything.
    Few([u32; FEW_MAX]),
    /// Sorted by number; none is empty.
    Chunks(Vec<Chunk>),
}

/// The ids of one range.
#[derive(Debug)]
struct Chunk {
    number: u32,
    len: u16,
    places: Places,
}

/// Which ids of its range a chunk has.
#[derive(Debug)]
enum Places {
    /// Sorted; behind the length there is anything.
    Few([u16; FEW_PLACES_MAX]),
    Listed(Vec<u16>),
    Mapped(Box<[u64; WORDS]>),
}

const FEW_MAX: usize = 4;
const FEW_PLACES_MAX: usize = 8;
/// How many bits of an id are its place in the chunk.
const PLACE_BITS: u32 = 14;
const WORDS: usize = 1 << (PLACE_BITS - u64::BITS.ilog2());
/// As many in a list take as much memory as a map.
const LISTED_MAX: usize = WORDS * 4;

impl IdSet {
    pub(crate) const fn new() -> Self {
        Self {
            len: 0,
            form: Form::Few([0; FEW_MAX]),
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    /// Returns the only id.
    pub(crate) fn only(&self) -> Option<Id> {
        if self.len != 1 {
            return None;
        }
        self.walk(0).next().and_then(Id::new)
    }

    pub(crate) fn insert(&mut self, id: Id) {
        let len = self.len();
        let is_new = match &mut self.form {
            Form::Few(ids) => match insert_sorted(ids, len, id.get()) {
                Inserted::New => true,
                Inserted::Known => false,
                Inserted::NoRoom => {
                    let mut chunks = Vec::new();
                    for number in iter::once(id.get()).chain(*ids) {
                        insert_in_chunk(&mut chunks, number);
                    }
                    self.form = Form::Chunks(chunks);
                    true
                }
            },
            Form::Chunks(chunks) => insert_in_chunk(chunks, id.get()),
        };
        self.len = self.len.saturating_add(is_new.into());
    }

    pub(crate) fn remove(&mut self, id: Id) {
        let len = self.len();
        let was_there = match &mut self.form {
            Form::Few(ids) => remove_sorted(ids, len, id.get()),
            Form::Chunks(chunks) => remove_from_chunk(chunks, id.get()),
        };
        self.len = self.len.saturating_sub(was_there.into());
        // Later than it became more than a few, so that coming and going at the edge is cheap.
        if matches!(self.form, Form::Chunks(_)) && self.len() < FEW_MAX {
            let mut ids = [0; FEW_MAX];
            for (place, number) in ids.iter_mut().zip(self.walk(0)) {
                *place = number;
            }
            self.form = Form::Few(ids);
        }
    }

    /// Walks along the ids from a number on.
    pub(crate) fn walk(&self, from: u32) -> Walk<'_> {
        let (few, chunks) = match &self.form {
            Form::Few(ids) => (from_on(first(ids, self.len()), from), &[][..]),
            Form::Chunks(chunks) => {
                let number = from >> PLACE_BITS;
                let before = chunks.partition_point(|chunk| chunk.number < number);
                (&[][..], chunks.get(before..).unwrap_or_default())
            }
        };
        Walk {
            few,
            start: 0,
            listed: &[],
            mapped: Bits::default(),
            chunks,
            from,
        }
    }
}

/// A walk along the ids of a set, in their order.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    few: &'a [u32],
    /// The chunk at hand, of which either the list or the map has something.
    start: u32,
    listed: &'a [u16],
    mapped: Bits<'a>,
    /// Those after it.
    chunks: &'a [Chunk],
    /// Where the walk begins: only the first chunk may have something before it.
    from: u32,
}

impl<'a> Walk<'a> {
    /// Turns to the next chunk.
    fn open(&mut self) -> Option<()> {
        let (chunk, after) = self.chunks.split_first()?;
        self.chunks = after;
        self.start = chunk.number << PLACE_BITS;
        let skipped = place_of(self.from.max(self.start));
        match &chunk.places {
            Places::Few(places) => self.listed = from_on(first(places, chunk.len.into()), skipped),
            Places::Listed(places) => self.listed = from_on(places, skipped),
            Places::Mapped(words) => self.mapped = Bits::from_on(words, skipped),
        }
        Some(())
    }
}

impl Iterator for Walk<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if let Some((id, after)) = self.few.split_first() {
            self.few = after;
            return Some(*id);
        }
        loop {
            if let Some((place, after)) = self.listed.split_first() {
                self.listed = after;
                return Some(self.start | u32::from(*place));
            }
            if let Some(place) = self.mapped.next() {
                return Some(self.start | place);
            }
            self.open()?;
        }
    }
}

/// The numbers of the bits that are set.
#[derive(Clone, Copy, Debug, Default)]
struct Bits<'a> {
    /// The number of the first bit of the word.
    start: u32,
    word: u64,
    /// Those after it.
    words: &'a [u64],
}

impl<'a> Bits<'a> {
    fn from_on(words: &'a [u64; WORDS], place: u16) -> Self {
        let (index, bit) = word_and_bit(place);
        let Some((word, words)) = words.get(index..).and_then(<[u64]>::split_first) else {
            return Self::default();
        };
        Self {
            start: u32::from(place) & !(u64::BITS - 1),
            word: word & !bit.wrapping_sub(1),
            words,
        }
    }
}

impl Iterator for Bits<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        while self.word == 0 {
            let (word, after) = self.words.split_first()?;
            (self.word, self.words) = (*word, after);
            self.start = self.start.saturating_add(u64::BITS);
        }
        let place = self.word.trailing_zeros();
        self.word &= self.word.wrapping_sub(1);
        Some(self.start | place)
    }
}

fn insert_in_chunk(chunks: &mut Vec<Chunk>, id: u32) -> bool {
    let number = id >> PLACE_BITS;
    // Mostly it is the last.
    let index = match chunks.last() {
        Some(last) if last.number == number => Ok(chunks.len().saturating_sub(1)),
        Some(last) if last.number < number => Err(chunks.len()),
        Some(_) => chunks.binary_search_by_key(&number, |chunk| chunk.number),
        None => {
            chunks.reserve_exact(1);
            Err(0)
        }
    };
    match index {
        Ok(index) => chunks
            .get_mut(index)
            .is_some_and(|chunk| chunk.insert(place_of(id))),
        Err(index) => {
            let mut places = [0; FEW_PLACES_MAX];
            if let Some(first) = places.first_mut() {
                *first = place_of(id);
            }
            let chunk = Chunk {
                number,
                len: 1,
                places: Places::Few(places),
            };
            chunks.insert(index, chunk);
            true
        }
    }
}

fn remove_from_chunk(chunks: &mut Vec<Chunk>, id: u32) -> bool {
    let number = id >> PLACE_BITS;
    let index = chunks.binary_search_by_key(&number, |chunk| chunk.number);
    let Some(index) = index.ok().filter(|index| *index < chunks.len()) else {
        return false;
    };
    let Some(chunk) = chunks.get_mut(index) else {
        return false;
    };
    let was_there = chunk.remove(place_of(id));
    if chunk.len == 0 {
        chunks.remove(index);
        give_back(chunks);
    }
    was_there
}

impl Chunk {
    fn insert(&mut self, place: u16) -> bool {
        let len = usize::from(self.len);
        let is_new = match &mut self.places {
            Places::Few(places) => match insert_sorted(places, len, place) {
                Inserted::New => true,
                Inserted::Known => false,
                Inserted::NoRoom => {
                    let mut listed = Vec::with_capacity(roomy(len));
                    listed.extend_from_slice(places);
                    let is_new = insert_listed(&mut listed, place);
                    self.places = Places::Listed(listed);
                    is_new
                }
            },
            Places::Listed(places) if len < LISTED_MAX => insert_listed(places, place),
            Places::Listed(places) => {
                let mut words = Box::new([0; WORDS]);
                for place in places {
                    set(&mut words, *place);
                }
                let is_new = set(&mut words, place);
                self.places = Places::Mapped(words);
                is_new
            }
            Places::Mapped(words) => set(words, place),
        };
        self.len = self.len.saturating_add(is_new.into());
        is_new
    }

    fn remove(&mut self, place: u16) -> bool {
        let len = usize::from(self.len);
        let was_there = match &mut self.places {
            Places::Few(places) => remove_sorted(places, len, place),
            Places::Listed(places) => match places.binary_search(&place) {
                Ok(index) => {
                    places.remove(index);
                    give_back(places);
                    true
                }
                Err(_) => false,
            },
            Places::Mapped(words) => clear(words, place),
        };
        self.len = self.len.saturating_sub(was_there.into());
        self.shrink();
        was_there
    }

    /// Takes the smaller form, later than it took the larger one.
    fn shrink(&mut self) {
        let len = usize::from(self.len);
        let smaller = match &self.places {
            Places::Listed(places) if len <= FEW_PLACES_MAX / 2 => {
                let mut few = [0; FEW_PLACES_MAX];
                for (to, from) in few.iter_mut().zip(places) {
                    *to = *from;
                }
                Places::Few(few)
            }
            Places::Mapped(words) if len <= LISTED_MAX / 2 => {
                let mut places = Vec::with_capacity(roomy(len));
                let bits = Bits::from_on(words, 0);
                places.extend(bits.filter_map(|place| u16::try_from(place).ok()));
                Places::Listed(places)
            }
            Places::Few(_) | Places::Listed(_) | Places::Mapped(_) => return,
        };
        self.places = smaller;
    }
}

/// What became of something that was to be inserted into a few.
enum Inserted {
    New,
    Known,
    NoRoom,
}

fn insert_sorted<T: Copy + Ord, const N: usize>(
    items: &mut [T; N],
    len: usize,
    item: T,
) -> Inserted {
    let Err(index) = first(items, len).binary_search(&item) else {
        return Inserted::Known;
    };
    let after = items.get_mut(index..=len);
    match after {
        Some(after) => {
            after.rotate_right(1);
            if let Some(place) = after.first_mut() {
                *place = item;
            }
            Inserted::New
        }
        None => Inserted::NoRoom,
    }
}

fn remove_sorted<T: Copy + Ord, const N: usize>(items: &mut [T; N], len: usize, item: T) -> bool {
    let Ok(index) = first(items, len).binary_search(&item) else {
        return false;
    };
    if let Some(after) = items.get_mut(index..len) {
        after.rotate_left(1);
    }
    true
}

fn insert_listed(places: &mut Vec<u16>, place: u16) -> bool {
    let index = match places.last() {
        Some(last) if *last < place => places.len(),
        Some(_) | None => match places.binary_search(&place) {
            Ok(_) => return false,
            Err(index) => index,
        },
    };
    if places.len() == places.capacity() {
        places.reserve_exact(roomy(places.len()).saturating_sub(places.len()));
    }
    places.insert(index, place);
    true
}

/// Gives memory back of which more than half is not used.
fn give_back<T>(items: &mut Vec<T>) {
    if items.len() < items.capacity() / 2 {
        items.shrink_to(roomy(items.len()));
    }
}

/// How much room a list of some length gets: a quarter more, so that it grows in few steps and
/// wastes little.
const fn roomy(len: usize) -> usize {
    len.saturating_add(len / 4).saturating_add(4)
}

/// Enters a place in a map; returns whether it was not there.
fn set(words: &mut [u64; WORDS], place: u16) -> bool {
    let (index, bit) = word_and_bit(place);
    words.get_mut(index).is_some_and(|word| {
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    })
}

/// Takes a place out of a map; returns whether it was there.
fn clear(words: &mut [u64; WORDS], place: u16) -> bool {
    let (index, bit) = word_and_bit(place);
    words.get_mut(index).is_some_and(|word| {
        let was_there = *word & bit != 0;
        *word &= !bit;
        was_there
    })
}

fn word_and_bit(place: u16) -> (usize, u64) {
    let bit = 1 << (u32::from(place) % u64::BITS);
    (usize::from(place) >> u64::BITS.ilog2(), bit)
}

/// Returns an id's place in its chunk.
const fn place_of(id: u32) -> u16 {
    (id & ((1 << PLACE_BITS) - 1)) as u16
}

/// Returns those of a few that count.
fn first<T>(few: &[T], len: usize) -> &[T] {
    few.get(..len).unwrap_or_default()
}

/// Returns those that are not below one.
fn from_on<T: Copy + Ord>(sorted: &[T], least: T) -> &[T] {
    let below = sorted.partition_point(|item| *item < least);
    sorted.get(below..).unwrap_or_default()
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows fails"
)]
mod tests {
    use alloc::{collections::BTreeSet, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    fn id(number: u32) -> Id {
        Id::new(number).unwrap()
    }

    fn numbers(set: &IdSet) -> Vec<u32> {
        set.walk(0).collect()
    }

    #[test]
    fn a_set_takes_each_form_and_gives_it_up_again() {
        for step in [1, 3, 100, 20_000] {
            let mut set = IdSet::new();
            let all: Vec<u32> = (1..=30_000).map(|number| number * step).collect();
            for number in &all {
                set.insert(id(*number));
                set.insert(id(*number));
            }
            assert_eq!(numbers(&set), all);
            let (gone, left) = all.split_at(29_990);
            for number in gone {
                set.remove(id(*number));
                set.remove(id(*number));
            }
            assert_eq!(numbers(&set), left);
            assert_eq!(set.len(), left.len());
            let (only, rest) = left.split_first().unwrap();
            for number in rest {
                set.remove(id(*number));
            }
            assert_eq!(set.only(), Some(id(*only)));
            assert!(matches!(set.form, Form::Few(_)), "nothing is allocated");
        }
    }

    /// Whatever comes and goes, memory follows what is there.
    fn check_memory(set: &IdSet) {
        let Form::Chunks(chunks) = &set.form else {
            return;
        };
        assert!(chunks.capacity() <= chunks.len() * 2 + 4);
        for chunk in chunks {
            match &chunk.places {
                Places::Few(_) => {}
                Places::Listed(places) => assert!(places.capacity() <= places.len() * 2 + 8),
                Places::Mapped(_) => assert!(usize::from(chunk.len) > LISTED_MAX / 2),
            }
        }
    }

    proptest! {
        #[test]
        fn behaves_as_a_set(
            runs in prop::collection::vec(
                (any::<bool>(), 1_u32..60_000, 0_u32..3_000, 1_u32..40),
                0..20,
            ),
            from in 0_u32..70_000,
        ) {
            let (mut set, mut model) = (IdSet::new(), BTreeSet::new());
            for (is_new, start, len, step) in runs {
                for number in (start..start + len).step_by(step as usize) {
                    if is_new {
                        set.insert(id(number));
                        model.insert(number);
                    } else {
                        set.remove(id(number));
                        model.remove(&number);
                    }
                }
                check_memory(&set);
                prop_assert_eq!(set.len(), model.len());
            }
            let walked: Vec<u32> = set.walk(from).collect();
            let expected: Vec<u32> = model.range(from..).copied().collect();
            prop_assert_eq!(walked, expected);
        }
    }

    #[test]
    fn a_chunk_is_half_a_cache_line() {
        assert_eq!((size_of::<Chunk>(), size_of::<IdSet>()), (32, 32));
    }
}
