//! Names of workers, connections and sessions: small, copied freely, never reused by mistake.

use std::{fmt, num::NonZeroU64};

/// Names a worker: one thread with its own connections and sessions.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WorkerId(u8);

impl WorkerId {
    /// Returns the name of worker number `index`.
    #[must_use]
    pub const fn new(index: u8) -> Self {
        Self(index)
    }

    /// Returns the number of the worker.
    #[must_use]
    pub const fn index(self) -> u8 {
        self.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a connection of one worker; a later connection in the same slot has another name.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnectionId {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// Names a session, wherever it is; a later session of the same number has another name.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionKey(NonZeroU64);

impl SessionKey {
    pub(super) const GENERATION_MAX: u32 = (1 << 24) - 1;

    /// Set in every key, so that the lack of one takes no room.
    const MARK: u64 = 1 << 63;

    pub(super) const fn new(number: u32, generation: u32) -> Self {
        let generation = generation & Self::GENERATION_MAX;
        let key = Self::MARK | ((generation as u64) << 32) | number as u64;
        match NonZeroU64::new(key) {
            Some(key) => Self(key),
            None => Self(NonZeroU64::MAX), // Never: the mark is set.
        }
    }

    /// The key as a number, for the store.
    pub(super) const fn as_u64(self) -> u64 {
        self.0.get() & !Self::MARK
    }

    pub(super) const fn number(self) -> u32 {
        let [.., a, b, c, d] = self.0.get().to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    pub(super) const fn generation(self) -> u32 {
        let [_, a, b, c, ..] = self.0.get().to_be_bytes();
        u32::from_be_bytes([0, a, b, c])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_key_tells_number_and_generation() {
        let key = SessionKey::new(0xFFFF_FFFE, 3);
        assert_eq!((key.number(), key.generation()), (0xFFFF_FFFE, 3));
        assert_ne!(key, SessionKey::new(0xFFFF_FFFE, 4));
        assert_eq!(key, SessionKey::new(0xFFFF_FFFE, (1 << 24) + 3));
        assert_eq!(SessionKey::new(0, 0).as_u64(), 0);
        assert_eq!(size_of::<Option<SessionKey>>(), 8);
    }
}
