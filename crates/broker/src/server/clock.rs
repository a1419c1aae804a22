//! The one place that asks the system for the time.

use mqttstack_limits::Instant;

/// Microseconds since the broker started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    epoch: std::time::Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is the driver's clock")]
    pub(super) fn start() -> Self {
        Self {
            epoch: std::time::Instant::now(),
        }
    }

    pub(super) fn now(self) -> Instant {
        Instant::from_micros(u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}
