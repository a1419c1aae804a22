//! Names of workers, connections and sessions: small, copied freely, never reused by mistake.

use std::fmt;

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

/// Names a session and the worker that owns it; a later session in the same slot has another name.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionKey(u64);

impl SessionKey {
    const GENERATION_BITS: u32 = 24;

    pub(super) const fn new(worker: WorkerId, slot: u32, generation: u32) -> Self {
        let generation = generation & ((1 << Self::GENERATION_BITS) - 1);
        Self(((worker.0 as u64) << 56) | ((generation as u64) << 32) | slot as u64)
    }

    /// Returns the worker that owns the session.
    #[must_use]
    pub const fn worker(self) -> WorkerId {
        let [worker, ..] = self.0.to_be_bytes();
        WorkerId(worker)
    }

    pub(super) const fn slot(self) -> usize {
        let [.., a, b, c, d] = self.0.to_be_bytes();
        u32::from_be_bytes([a, b, c, d]) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_key_tells_worker_slot_and_generation() {
        let key = SessionKey::new(WorkerId::new(7), 0xFFFF_FFFE, 3);
        assert_eq!((key.worker(), key.slot()), (WorkerId::new(7), 0xFFFF_FFFE));
        assert_ne!(key, SessionKey::new(WorkerId::new(7), 0xFFFF_FFFE, 4));
    }
}
