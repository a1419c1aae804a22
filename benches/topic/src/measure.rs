//! Processor time, allocations and live memory.

use std::{alloc::System, time::Duration};

use cpu_time::ThreadTime;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

/// The allocator of every measurement: it counts.
pub type Counting = &'static StatsAlloc<System>;

/// What to declare as `#[global_allocator]`.
pub const COUNTING: Counting = &INSTRUMENTED_SYSTEM;

/// Counts allocations and bytes from its creation on.
#[derive(Debug)]
pub struct Memory(Region<'static, System>);

impl Memory {
    /// Begins to count.
    #[must_use]
    pub fn start() -> Self {
        Self(Region::new(COUNTING))
    }

    /// Returns the allocations since.
    #[must_use]
    pub fn allocations(&self) -> usize {
        self.0.change().allocations
    }

    /// Returns the bytes requested since and not given back.
    #[must_use]
    pub fn live_bytes(&self) -> i64 {
        let change = self.0.change();
        let signed = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        signed(change.bytes_allocated) - signed(change.bytes_deallocated)
    }
}

/// Takes the processor time of this thread: other work on the machine counts as little as it can.
pub fn time<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = ThreadTime::now();
    let result = work();
    (result, start.elapsed())
}

/// Returns nanoseconds for each of `count` items.
#[must_use]
pub fn nanoseconds_each(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e9 / count.max(1) as f64
}
