//! One index for many threads.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

/// Something that counts its changes.
pub trait Versioned {
    /// Returns a number that grows with every change of what a lookup finds, and only then.
    fn version(&self) -> u64;
}

/// A handle to an index that worker threads read often and change seldom.
///
/// Readers hold the index together and never wait for one another, only for writers: a writer waits
/// for those who read, new readers wait for it, and it has the index alone for as long as its guard
/// lives. What a writer changed, everyone who calls [`read`](Self::read) or
/// [`version`](Self::version) after the guard is gone will see: a broker that sends SUBACK then
/// can promise the subscriber every message published from there on.
#[derive(Debug, Default)]
pub struct Shared<T>(Arc<Inner<T>>);

#[derive(Debug, Default)]
struct Inner<T> {
    index: RwLock<T>,
    version: AtomicU64,
}

impl<T: Versioned> Shared<T> {
    /// Shares an index.
    #[must_use]
    pub fn new(index: T) -> Self {
        let version = AtomicU64::new(index.version());
        Self(Arc::new(Inner {
            index: RwLock::new(index),
            version,
        }))
    }

    /// Waits for writers, not for readers, and lends the index for lookups.
    ///
    /// A guard that lives long keeps writers waiting, and behind them new readers: collect what
    /// a lookup finds, let the guard go, then deliver.
    #[must_use]
    pub fn read(&self) -> ReadGuard<'_, T> {
        // A writer that panicked left an index that is still safe to read.
        ReadGuard(self.0.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for readers and writers and lends the index for changes.
    #[must_use]
    pub fn write(&self) -> WriteGuard<'_, T> {
        WriteGuard {
            index: self.0.index.write().unwrap_or_else(PoisonError::into_inner),
            version: &self.0.version,
        }
    }

    /// Returns the [version](Versioned::version) of the index, without waiting for anyone. Who
    /// [writes](Self::write) and changes nothing leaves it as it is.
    ///
    /// What was looked up at a version still holds while the version is the same: a worker can
    /// keep the answers for its busiest names. Read the version before the lookup.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// An index lent for lookups.
#[derive(Debug)]
pub struct ReadGuard<'a, T>(RwLockReadGuard<'a, T>);

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// An index lent for changes. Its version is that of the index when the guard goes.
#[derive(Debug)]
pub struct WriteGuard<'a, T: Versioned> {
    index: RwLockWriteGuard<'a, T>,
    version: &'a AtomicU64,
}

impl<T: Versioned> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.index
    }
}

impl<T: Versioned> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.index
    }
}

impl<T: Versioned> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        // Still under the lock: whoever sees the change sees the version too.
        self.version.store(self.index.version(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use core::ops::ControlFlow;
    use std::{sync::mpsc, thread, vec::Vec};

    use super::*;
    use crate::{Match, SubscriptionIndex, TopicFilter, TopicName};

    type Index = SubscriptionIndex<u64, u32>;

    fn keys(index: &Index, topic: &str) -> Vec<u64> {
        let mut keys = Vec::new();
        let _ = index.lookup(&TopicName::new(topic).unwrap(), |found| {
            if let Match::Subscriber { key, .. } = found {
                keys.push(key);
            }
            ControlFlow::Continue(())
        });
        keys
    }

    #[test]
    fn lookups_do_not_wait_for_one_another() {
        let shared = Shared::new(Index::new(1));
        let held = shared.read();
        let other = shared.clone();
        let found = thread::spawn(move || keys(&other.read(), "a").len()).join();
        assert_eq!(found.unwrap(), 0);
        drop(held);
    }

    #[test]
    fn a_change_is_seen_by_every_lookup_that_follows_it() {
        let shared = Shared::new(Index::new(1));
        let (to_worker, announced) = mpsc::channel();
        let (to_writer, seen) = mpsc::channel();
        let worker = shared.clone();
        let worker = thread::spawn(move || {
            for version in announced {
                let found = keys(&worker.read(), "a");
                to_writer
                    .send((found, worker.version() >= version))
                    .unwrap();
            }
        });
        for key in 0..1_000 {
            shared
                .write()
                .insert(&TopicFilter::new("+").unwrap(), key, 0);
            // As a SUBACK would be, this is sent after the guard is gone.
            to_worker.send(shared.version()).unwrap();
            let (found, is_new) = seen.recv().unwrap();
            assert_eq!(found.last(), Some(&key));
            assert!(is_new);
        }
        drop(to_worker);
        worker.join().unwrap();
    }

    #[test]
    fn the_version_grows_with_each_change_and_only_then() {
        let shared = Shared::new(Index::new(1));
        assert_eq!(shared.version(), 0);
        let _ = keys(&shared.read(), "a");
        assert_eq!(shared.version(), 0);
        let filters = ["a", "$share/g/a"].map(|text| TopicFilter::new(text).unwrap());
        let mut last = 0;
        let mut has_changed = |expected: bool| {
            let version = shared.clone().version();
            assert_eq!(version > last, expected);
            last = version;
        };
        for filter in &filters {
            shared.write().remove(filter, &1);
            has_changed(false);
            shared.write().insert(filter, 1, 0);
            has_changed(true);
            shared.write().insert(filter, 1, 7);
            has_changed(true);
            shared.write().remove(filter, &2);
            shared.write().remove_all(&2);
            drop(shared.write());
            has_changed(false);
        }
        // Who is away is asked for when a member is chosen, not when the group is found.
        shared.write().set_away(&1, true);
        has_changed(false);
        shared.write().remove(&filters[0], &1);
        has_changed(true);
        shared.write().remove_all(&1);
        has_changed(true);
    }

    #[test]
    fn a_panic_in_a_writer_leaves_the_index_usable() {
        let shared = Shared::new(Index::new(1));
        let writer = shared.clone();
        let result = thread::spawn(move || {
            let mut index = writer.write();
            index.insert(&TopicFilter::new("a").unwrap(), 1, 0);
            panic!("on purpose");
        });
        assert!(result.join().is_err());
        assert_eq!(keys(&shared.read(), "a"), [1]);
        assert_eq!(shared.version(), 1);
    }
}
