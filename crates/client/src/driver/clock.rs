//! The driver's clock: the only place in the client that asks the system for the time.

use core::time::Duration;
use std::time;

use mqttstack_limits::Instant;

/// Counts from the moment it was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(time::Instant);

#[expect(
    clippy::disallowed_methods,
    reason = "the driver is who asks the system for the time"
)]
impl Clock {
    pub(super) fn new() -> Self {
        Self(time::Instant::now())
    }

    pub(super) fn now(&self) -> Instant {
        Instant::EPOCH + self.0.elapsed()
    }

    /// Returns the moment in `timeout` as the standard library has it; `None` is never.
    pub(super) fn deadline(timeout: Duration) -> Option<time::Instant> {
        time::Instant::now().checked_add(timeout)
    }

    /// Returns how long it is until `deadline`; `None` if that has passed.
    pub(super) fn until(deadline: time::Instant) -> Option<Duration> {
        let left = deadline.saturating_duration_since(time::Instant::now());
        (!left.is_zero()).then_some(left)
    }
}
