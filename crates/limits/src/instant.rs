//! Time without a clock: what drivers pass in as `now`.

use core::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

/// A moment: microseconds since an epoch that the driver chooses.
///
/// State machines never ask a clock; their drivers pass `now` to each call. The type is a plain
/// number, so it works without std, prints, compares, and can be made up in tests. Arithmetic
/// saturates: an absurd interval means "never", not an overflow.
///
/// ```
/// use core::time::Duration;
/// use mqttstack_limits::Instant;
///
/// let start = Instant::from_micros(5_000_000);
/// assert_eq!((start + Duration::from_secs(2)).as_micros(), 7_000_000);
/// assert_eq!(start + Duration::MAX, Instant::NEVER);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Instant(u64);

impl Instant {
    /// The driver's epoch.
    pub const EPOCH: Self = Self(0);
    /// A moment that does not come.
    pub const NEVER: Self = Self(u64::MAX);

    /// Returns the moment `micros` microseconds after the epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Returns how long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Moves on by `duration`; past the end of time this is [`Instant::NEVER`].
    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// Returns the distance, or zero if `earlier` is later.
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.checked_div(1_000_000).unwrap_or_default();
        let micros = self.0.checked_rem(1_000_000).unwrap_or_default();
        write!(f, "{seconds}.{micros:06}s")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let early = Instant::from_micros(10);
        assert_eq!(early + Duration::from_micros(5), Instant::from_micros(15));
        assert_eq!(early + Duration::from_secs(u64::MAX), Instant::NEVER);
        assert_eq!(Instant::EPOCH - early, Duration::ZERO);
        assert_eq!(early - Instant::EPOCH, Duration::from_micros(10));
    }

    #[test]
    fn display_is_in_seconds() {
        assert_eq!(Instant::from_micros(1_500_000).to_string(), "1.500000s");
    }
}
