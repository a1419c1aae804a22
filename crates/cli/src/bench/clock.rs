//! The time of a run: nanoseconds since it began.

use std::time::{Duration, Instant};

/// A clock that only goes forward.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn nanos(self) -> u64 {
        u64::try_from(self.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
