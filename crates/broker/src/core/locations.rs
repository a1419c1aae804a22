//! Where each session is: a number that it keeps for life, and the worker that has it now.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use super::keys::{SessionKey, WorkerId};

/// How many sessions the first chunk has room for; each further chunk has twice the room of the one
/// before.
const FIRST_CHUNK: u32 = 1024;
/// So many chunks have room for every number.
const CHUNKS: usize = 23;

/// The place of every session, by its number.
///
/// Whoever delivers reads it, for each message and each subscriber: that takes no lock, and as a
/// place seldom changes, every processor keeps a copy. Only the worker that has a session changes
/// its place.
#[derive(Debug)]
pub(super) struct Locations {
    chunks: [OnceLock<Box<[AtomicU64]>>; CHUNKS],
}

/// Where a session is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Location {
    /// The worker that has it, or is about to get it.
    pub(super) worker: WorkerId,
    /// The entry there; `None` while the session is on its way.
    pub(super) entry: Option<usize>,
}

/// A place in one word: the worker, the generation of the number, the entry.
#[derive(Clone, Copy)]
struct Word(u64);

impl Word {
    const NOBODY: u8 = u8::MAX;
    const ON_ITS_WAY: u32 = u32::MAX;

    const fn new(worker: u8, generation: u32, entry: u32) -> Self {
        let generation = generation & SessionKey::GENERATION_MAX;
        Self(((worker as u64) << 56) | ((generation as u64) << 32) | entry as u64)
    }

    const fn worker(self) -> u8 {
        let [worker, ..] = self.0.to_be_bytes();
        worker
    }

    const fn generation(self) -> u32 {
        let [_, a, b, c, ..] = self.0.to_be_bytes();
        u32::from_be_bytes([0, a, b, c])
    }

    const fn entry(self) -> u32 {
        let [.., a, b, c, d] = self.0.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }
}

impl Locations {
    pub(super) fn new() -> Self {
        Self {
            chunks: std::array::from_fn(|_| OnceLock::new()),
        }
    }

    /// Gives a number that is free to a session that begins with a worker; returns its key.
    pub(super) fn begin(&self, number: u32, worker: WorkerId) -> SessionKey {
        let Some(place) = self.place_or_room(number) else {
            return SessionKey::new(number, 0);
        };
        let before = Word(place.load(Ordering::Relaxed));
        let generation = before.generation().wrapping_add(1);
        let word = Word::new(worker.index(), generation, Word::ON_ITS_WAY);
        place.store(word.0, Ordering::Release);
        SessionKey::new(number, generation)
    }

    /// Notes where a session is now.
    pub(super) fn set(&self, key: SessionKey, location: Location) {
        let entry = location.entry.and_then(|entry| u32::try_from(entry).ok());
        let entry = entry.unwrap_or(Word::ON_ITS_WAY);
        self.write(key, location.worker.index(), entry);
    }

    /// Notes that a session is no more: its number may be given to another.
    pub(super) fn end(&self, key: SessionKey) {
        self.write(key, Word::NOBODY, Word::ON_ITS_WAY);
    }

    /// Returns where a session is; `None` if it is no more.
    pub(super) fn of(&self, key: SessionKey) -> Option<Location> {
        let word = Word(self.place(key.number())?.load(Ordering::Acquire));
        let is_there = word.generation() == key.generation() && word.worker() != Word::NOBODY;
        is_there.then(|| Location {
            worker: WorkerId::new(word.worker()),
            entry: match word.entry() {
                Word::ON_ITS_WAY => None,
                entry => usize::try_from(entry).ok(),
            },
        })
    }

    fn write(&self, key: SessionKey, worker: u8, entry: u32) {
        if let Some(place) = self.place(key.number()) {
            let word = Word::new(worker, key.generation(), entry);
            place.store(word.0, Ordering::Release);
        }
    }

    fn place(&self, number: u32) -> Option<&AtomicU64> {
        let (chunk, offset) = position(number);
        self.chunks.get(chunk)?.get()?.get(offset)
    }

    fn place_or_room(&self, number: u32) -> Option<&AtomicU64> {
        let (chunk, offset) = position(number);
        let room = || {
            let nobody = Word::new(Word::NOBODY, 0, Word::ON_ITS_WAY);
            let len = usize::try_from(FIRST_CHUNK).unwrap_or_default() << chunk;
            (0..len).map(|_| AtomicU64::new(nobody.0)).collect()
        };
        self.chunks.get(chunk)?.get_or_init(room).get(offset)
    }
}

/// Returns the chunk of a number, and where in it.
fn position(number: u32) -> (usize, usize) {
    let chunk = (number / FIRST_CHUNK).saturating_add(1).ilog2();
    let before = u64::from(FIRST_CHUNK) * ((1 << chunk) - 1);
    let offset = u64::from(number).saturating_sub(before);
    let small = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    (small(chunk.into()), small(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_place_of_its_own() {
        assert_eq!(position(0), (0, 0));
        assert_eq!(position(1023), (0, 1023));
        assert_eq!(position(1024), (1, 0));
        assert_eq!(position(3071), (1, 2047));
        assert_eq!(position(3072), (2, 0));
        let (chunk, _) = position(u32::MAX);
        assert!(chunk < CHUNKS);
    }

    #[test]
    fn a_session_is_found_where_it_is_and_not_once_it_is_over() {
        let locations = Locations::new();
        let at = |worker, entry| Location {
            worker: WorkerId::new(worker),
            entry,
        };
        let key = locations.begin(70_000, WorkerId::new(3));
        assert_eq!(locations.of(key), Some(at(3, None)));
        locations.set(key, at(3, Some(9)));
        assert_eq!(locations.of(key), Some(at(3, Some(9))));
        locations.set(key, at(0, None));
        assert_eq!(locations.of(key), Some(at(0, None)));
        locations.end(key);
        assert_eq!(locations.of(key), None);
        let next = locations.begin(70_000, WorkerId::new(1));
        assert_ne!(next, key);
        assert_eq!(locations.of(key), None);
        assert_eq!(locations.of(next), Some(at(1, None)));
        assert_eq!(locations.of(SessionKey::new(u32::MAX, 0)), None);
    }
}
