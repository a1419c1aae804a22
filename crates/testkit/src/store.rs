//! The store of a broker: slow, and after a crash without what it had not written.

use std::{collections::VecDeque, ops::Range, time::Duration};

use mqttstack_limits::{Instant, Limits};
use mqttstack_session::journal::{Epoch, OperationSequence, Recovered, StoreImage, StoreOperation};

use crate::Chance;

/// What the deadlines in the files count from.
const EPOCH: Epoch = Epoch::from_micros(1_700_000_000_000_000);

/// How many bytes of a file say how long a unit is.
const LENGTH_BYTES: usize = size_of::<u32>();

/// A file for each worker of a broker, written late, and an image of what is in them.
///
/// What a worker drains in one go is a unit. A sync takes some of the units that wait, oldest first,
/// and is told to the worker when it is done. A crash keeps what was synced, some of the units behind
/// it, and some bytes of the next one, which count for nothing.
#[derive(Debug)]
pub struct Store {
    image: StoreImage,
    files: Vec<File>,
    delay: Range<Duration>,
    chance: Chance,
}

#[derive(Debug, Default)]
struct File {
    /// Units that are not synced, as bytes, and the place of the last operation in each.
    units: VecDeque<(OperationSequence, Vec<u8>)>,
    /// When the sync that is under way is done.
    due: Option<Instant>,
}

impl Store {
    /// Creates an empty store for so many workers, which takes `delay` for a sync.
    #[must_use]
    pub fn new(workers: usize, delay: Range<Duration>, chance: Chance) -> Self {
        Self {
            image: StoreImage::new(),
            files: (0..workers).map(|_| File::default()).collect(),
            delay,
            chance,
        }
    }

    /// Returns whether everything is synced.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.files.iter().all(|file| file.units.is_empty())
    }

    /// Takes what a worker has drained in one go, up to the operation at `last`.
    pub fn write(
        &mut self,
        worker: usize,
        operations: &[StoreOperation],
        last: OperationSequence,
        now: Instant,
    ) {
        let delay = self.chance.between(&self.delay);
        let Some(file) = self.files.get_mut(worker) else {
            return;
        };
        file.units.push_back((last, unit_of(operations)));
        file.due.get_or_insert(now + delay);
    }

    /// Returns when which worker's next sync is done.
    #[must_use]
    pub fn next_sync(&self) -> Option<(Instant, usize)> {
        let files = self.files.iter().enumerate();
        let due = files.filter_map(|(worker, file)| Some((file.due?, worker)));
        due.min()
    }

    /// A sync of a worker is done; returns up to which operation everything is durable.
    ///
    /// # Errors
    ///
    /// What is written cannot be read, or does not follow from what was written before.
    pub fn sync(
        &mut self,
        worker: usize,
        now: Instant,
    ) -> Result<Option<OperationSequence>, String> {
        let Some(file) = self.files.get_mut(worker) else {
            return Ok(None);
        };
        let count = 1 + self.chance.index(file.units.len());
        let mut stored = None;
        for (last, unit) in file.units.drain(..count.min(file.units.len())) {
            take_over(&mut self.image, &unit)?;
            stored = Some(last);
        }
        let delay = self.chance.between(&self.delay);
        file.due = (!file.units.is_empty()).then_some(now + delay);
        Ok(stored)
    }

    /// The broker stops without a word, and begins anew with what is left.
    ///
    /// # Errors
    ///
    /// What is left cannot be read, or makes no sense.
    pub fn crash(&mut self, limits: &Limits, now: Instant) -> Result<Recovered, String> {
        for file in &mut self.files {
            let whole = self.chance.index(file.units.len() + 1);
            for (_, unit) in file.units.drain(..whole) {
                take_over(&mut self.image, &unit)?;
            }
            if let Some((_, unit)) = file.units.pop_front() {
                let torn = self.chance.index(unit.len());
                if take_over(&mut self.image, unit.get(..torn).unwrap_or_default())? {
                    return Err("half a unit was taken for a whole one".into());
                }
            }
            *file = File::default();
        }
        Ok(self.image.recover(limits, now))
    }
}

/// Writes a unit: its length, then its operations.
fn unit_of(operations: &[StoreOperation]) -> Vec<u8> {
    let mut unit = vec![0; LENGTH_BYTES];
    for operation in operations {
        operation.encode(EPOCH, &mut unit);
    }
    let length = u32::try_from(unit.len() - LENGTH_BYTES).unwrap_or(u32::MAX);
    if let Some(head) = unit.first_chunk_mut() {
        *head = length.to_be_bytes();
    }
    unit
}

/// Takes a unit over into an image; returns false for one that is not whole.
fn take_over(image: &mut StoreImage, unit: &[u8]) -> Result<bool, String> {
    let Some((head, mut body)) = unit.split_first_chunk() else {
        return Ok(false);
    };
    if usize::try_from(u32::from_be_bytes(*head)) != Ok(body.len()) {
        return Ok(false);
    }
    while !body.is_empty() {
        let operation = StoreOperation::decode(&mut body, EPOCH);
        let operation = operation.map_err(|error| format!("a unit cannot be read: {error}"))?;
        if let Some(operation) = operation {
            let shown = format!("{operation:?}");
            let applied = image.apply(operation);
            applied.map_err(|error| format!("{shown} does not fit: {error}"))?;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use mqttstack_session::{Message, journal::StoreOperation};

    use super::*;
    use crate::Seed;

    fn retained(topic: &str) -> StoreOperation {
        StoreOperation::Retained {
            message: Message::builder(topic, "x").build().expect("valid"),
            expires_at: Instant::NEVER,
            version: 1,
        }
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_a_prefix_of_the_rest() {
        let mut lengths = Vec::new();
        for seed in 0..50 {
            let delay = Duration::ZERO..Duration::from_millis(1);
            let mut store = Store::new(1, delay, Chance::new(Seed(seed)));
            let topics = ["a", "b", "c", "d", "e", "f"];
            for (place, topic) in (1..).zip(topics) {
                let last = OperationSequence::new(place);
                store.write(0, &[retained(topic)], last, Instant::EPOCH);
            }
            let stored = store.sync(0, Instant::EPOCH).expect("it fits");
            let stored = stored.map_or(0, OperationSequence::get);
            let recovered = store.crash(&Limits::default(), Instant::EPOCH);
            let retained = recovered.expect("it fits").retained;
            let kept: Vec<&str> = retained.iter().map(|(it, _)| it.topic()).collect();
            assert_eq!(kept, topics[..kept.len()], "seed {seed}");
            assert!(
                u64::try_from(kept.len()).expect("few") >= stored,
                "seed {seed}"
            );
            assert!(store.is_idle());
            lengths.push(kept.len());
        }
        assert!(lengths.iter().min() < lengths.iter().max());
    }

    #[test]
    fn half_a_unit_counts_for_nothing() {
        let unit = unit_of(&[retained("a"), retained("b")]);
        for length in 0..unit.len() {
            let mut image = StoreImage::new();
            assert_eq!(take_over(&mut image, &unit[..length]), Ok(false));
            assert_eq!(image, StoreImage::new());
        }
        assert_eq!(take_over(&mut StoreImage::new(), &unit), Ok(true));
    }
}
