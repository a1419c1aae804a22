//! Messages for sessions with other workers: what a turn has for one of them goes in one letter.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mqttstack_limits::Instant;
use mqttstack_session::{Message, journal::ParcelNumber};

use super::{
    Core,
    keys::WorkerId,
    message::{Target, WorkerMessage},
};

/// How many deliveries a letter collects before the next one begins, and how many bytes.
const LETTER_DELIVERIES_MAX: usize = 512;
const LETTER_BYTES_MAX: usize = 256 * 1024;
/// What a message counts as, beside its topic, properties and payload: its memory, and its place.
const ITEM_BYTES: usize = 256;
/// How many letters that have been read are kept for new ones. All of them have some six megabytes at
/// most.
const LETTERS_KEPT_MAX: usize = 32;

/// Messages, each with the sessions of one worker that get it.
#[derive(Clone)]
pub struct Letter {
    from: WorkerId,
    items: Vec<Item>,
    /// Those of all items, in their order.
    targets: Vec<Target>,
    /// About how many bytes the items keep from being freed.
    bytes: usize,
    /// On its way back: memory for as many messages as it brought.
    spare: Vec<Message>,
}

/// One message of a letter.
#[derive(Clone)]
struct Item {
    message: Message,
    /// How many of the targets are its own.
    targets: usize,
    /// What the store of the sender calls it, if it has it: the reader's says that it has come.
    parcel: Option<ParcelNumber>,
}

/// Letters that have been read, for all workers: where one sends and another reads, their memory would
/// stay with the reader.
#[derive(Clone, Debug, Default)]
pub(super) struct LetterRack(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    #[expect(clippy::vec_box, reason = "they travel in their boxes")]
    letters: Vec<Box<Letter>>,
    /// How many of them have not been needed since memory was last given back.
    unused: usize,
}

/// What is being written to each of the other workers.
#[derive(Debug, Default)]
pub(super) struct Letters(Vec<Option<Box<Letter>>>);

impl Letter {
    fn new() -> Self {
        Self {
            from: WorkerId::default(),
            items: Vec::new(),
            targets: Vec::new(),
            bytes: 0,
            spare: Vec::new(),
        }
    }

    /// Returns who wrote it.
    #[cfg(test)]
    pub(super) fn from(&self) -> WorkerId {
        self.from
    }

    /// A message for so many sessions that do not exist.
    #[cfg(test)]
    pub(crate) fn for_nobody(message: Message, count: usize) -> Box<Self> {
        let mut letter = Box::new(Self::new());
        let target = Target::for_nobody();
        letter.enter(message, std::iter::repeat_n(target, count), None);
        letter
    }

    /// Enters a message, and who gets it.
    fn enter(
        &mut self,
        message: Message,
        targets: impl Iterator<Item = Target>,
        parcel: Option<ParcelNumber>,
    ) {
        let before = self.targets.len();
        let mut bytes = message.size().saturating_add(ITEM_BYTES);
        self.targets.extend(targets.inspect(|target| {
            bytes = bytes.saturating_add(target.size());
        }));
        self.bytes = self.bytes.saturating_add(bytes);
        self.items.push(Item {
            message,
            targets: self.targets.len().saturating_sub(before),
            parcel,
        });
    }

    /// Returns how many bytes all of it keeps from being freed.
    pub(super) const fn size(&self) -> usize {
        self.bytes
    }

    /// Returns how many deliveries it asks for.
    pub(super) const fn deliveries(&self) -> usize {
        self.targets.len()
    }

    /// Returns whether its reader has to tell its store of a message.
    pub(super) fn has_parcel(&self) -> bool {
        self.items.iter().any(|item| item.parcel.is_some())
    }

    const fn is_full(&self) -> bool {
        self.targets.len() >= LETTER_DELIVERIES_MAX || self.bytes >= LETTER_BYTES_MAX
    }
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letter")
            .field("from", &self.from)
            .field("messages", &self.items.len())
            .field("deliveries", &self.targets.len())
            .finish_non_exhaustive()
    }
}

impl LetterRack {
    fn take(&self) -> Option<Box<Letter>> {
        let mut kept = self.kept();
        let letter = kept.letters.pop();
        kept.unused = kept.unused.min(kept.letters.len());
        letter
    }

    fn put(&self, letter: Box<Letter>) {
        // One message for very many is rare, and its list of them large.
        let is_common = letter.targets.capacity() <= LETTER_DELIVERIES_MAX * 2;
        let letters = &mut self.kept().letters;
        if is_common && letters.len() < LETTERS_KEPT_MAX {
            letters.push(letter);
        }
    }

    /// Gives the memory of those back that nobody has needed since the last call; returns whether any
    /// are left.
    pub(super) fn rest(&self) -> bool {
        let mut kept = self.kept();
        let needed = kept.letters.len().saturating_sub(kept.unused);
        kept.letters.truncate(needed);
        kept.unused = needed;
        needed > 0
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Whoever panicked has at worst not put one back.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Letters {
    /// Returns where the letter to a worker is being written.
    fn place(&mut self, to: WorkerId) -> Option<&mut Option<Box<Letter>>> {
        let index = usize::from(to.index());
        if self.0.len() <= index {
            self.0.resize_with(index.saturating_add(1), || None);
        }
        self.0.get_mut(index)
    }

    /// Returns a worker to whom something is being written.
    fn next_begun(&self) -> Option<WorkerId> {
        let mut places = (0..).zip(&self.0);
        places.find_map(|(index, place)| place.is_some().then(|| WorkerId::new(index)))
    }
}

impl Core {
    /// Sends a message to sessions of another worker, with all else of this turn.
    pub(super) fn send_message(
        &mut self,
        to: WorkerId,
        message: Message,
        targets: impl Iterator<Item = Target>,
        parcel: Option<ParcelNumber>,
    ) {
        let from = self.worker;
        let Some(place) = self.letters.place(to) else {
            return;
        };
        let letter = place.get_or_insert_with(|| {
            let mut letter =
                (self.directory.rack.take()).unwrap_or_else(|| Box::new(Letter::new()));
            for message in letter.spare.drain(..) {
                self.messages.put(message);
            }
            letter.from = from;
            letter
        });
        letter.enter(message, targets, parcel);
        if letter.is_full() {
            self.finish_letter(to);
        }
    }

    /// Finishes what is being written to a worker: something else comes after it, or the turn is over.
    pub(super) fn finish_letter(&mut self, to: WorkerId) {
        if let Some(letter) = self.letters.place(to).and_then(Option::take) {
            self.hand_to_journal(to, WorkerMessage::Deliver(letter));
        }
    }

    /// Finishes all that is being written.
    pub(super) fn finish_letters(&mut self) {
        while let Some(worker) = self.letters.next_begun() {
            self.finish_letter(worker);
        }
    }

    /// Delivers what another worker has sent.
    pub(super) fn read_letter(&mut self, mut letter: Box<Letter>, now: Instant) {
        let from = letter.from;
        let mut targets = letter.targets.drain(..);
        let mut count: usize = 0;
        for item in letter.items.drain(..) {
            self.unpack(item.parcel);
            for target in targets.by_ref().take(item.targets.saturating_sub(1)) {
                self.deliver(item.message.clone(), target, from, now);
            }
            if item.targets > 0
                && let Some(target) = targets.next()
            {
                self.deliver(item.message, target, from, now);
            }
            self.unpack(None);
            self.write_taken(item.parcel);
            count = count.saturating_add(1);
        }
        drop(targets);
        letter.bytes = 0;
        letter.spare.extend(self.messages.take_spare(count));
        self.directory.rack.put(letter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_are_needed_stay_and_the_others_go() {
        let rack = LetterRack::default();
        for _ in 0..10 {
            rack.put(Box::new(Letter::new()));
        }
        assert!(rack.rest(), "they have just come");
        // Three are needed at a time.
        let busy: Vec<Box<Letter>> = (0..3).filter_map(|_| rack.take()).collect();
        busy.into_iter().for_each(|letter| rack.put(letter));
        assert!(rack.rest());
        assert_eq!(rack.kept().letters.len(), 3);
        assert!(!rack.rest(), "nobody has needed any");
        assert!(rack.take().is_none());
    }
}
