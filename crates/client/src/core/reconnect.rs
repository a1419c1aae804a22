//! When a lost connection is tried again.

use core::time::Duration;

/// When, and how often, a lost connection is tried again.
///
/// Each delay doubles the one before, up to `delay_max`; half of it is left to chance, so that the
/// clients of a server that went down do not come back in one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReconnectPolicy {
    /// The delay before the first attempt. Default 1 s.
    pub delay_min: Duration,
    /// The longest delay. Default 60 s.
    pub delay_max: Duration,
    /// How many attempts in a row are made; `Some(0)` is none. Default `None`: no end.
    pub attempts_max: Option<u32>,
    /// How long a connection has to last for the delays to begin anew. Default 10 s.
    pub stable_after: Duration,
}

impl ReconnectPolicy {
    /// Never tries again.
    pub const NEVER: Self = Self {
        delay_min: Duration::ZERO,
        delay_max: Duration::ZERO,
        attempts_max: Some(0),
        stable_after: Duration::ZERO,
    };
}

impl Default for ReconnectPolicy {
    fn default() -> Self {
        Self {
            delay_min: Duration::from_secs(1),
            delay_max: Duration::from_secs(60),
            attempts_max: None,
            stable_after: Duration::from_secs(10),
        }
    }
}

/// The delays of one client.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    attempts: u32,
    random: SplitMix64,
}

impl Backoff {
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            attempts: 0,
            random: SplitMix64(seed),
        }
    }

    /// The connection proved stable.
    pub(super) const fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Returns how long to wait before the next attempt; `None` if there is to be none.
    pub(super) fn next(&mut self, policy: &ReconnectPolicy) -> Option<Duration> {
        if policy
            .attempts_max
            .is_some_and(|maximum| self.attempts >= maximum)
        {
            return None;
        }
        let factor = 1u32.checked_shl(self.attempts).unwrap_or(u32::MAX);
        let delay = policy
            .delay_min
            .saturating_mul(factor)
            .min(policy.delay_max);
        self.attempts = self.attempts.saturating_add(1);
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        let half = micros.div_euclid(2);
        let chance = self
            .random
            .next()
            .checked_rem(half.saturating_add(1))
            .unwrap_or_default();
        Some(Duration::from_micros(
            micros.saturating_sub(half).saturating_add(chance),
        ))
    }
}

/// Sebastiano Vigna's generator: enough to spread reconnects, nothing that an attacker must not
/// guess.
#[derive(Clone, Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const POLICY: ReconnectPolicy = ReconnectPolicy {
        delay_min: Duration::from_secs(1),
        delay_max: Duration::from_secs(60),
        attempts_max: None,
        stable_after: Duration::from_secs(10),
    };

    #[test]
    fn delays_double_up_to_the_maximum_and_half_of_each_is_chance() {
        for seed in 0..100 {
            let mut backoff = Backoff::new(seed);
            for full in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
                let delay = backoff.next(&POLICY).unwrap();
                let full = Duration::from_secs(full);
                assert!(delay >= full / 2 && delay <= full, "{delay:?} of {full:?}");
            }
            backoff.reset();
            assert!(backoff.next(&POLICY).unwrap() <= POLICY.delay_min);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_delays_and_another_does_not() {
        let delays = |seed| {
            let mut backoff = Backoff::new(seed);
            (0..8).map(|_| backoff.next(&POLICY)).collect::<Vec<_>>()
        };
        assert_eq!(delays(7), delays(7));
        assert_ne!(delays(7), delays(8));
    }

    #[test]
    fn the_number_of_attempts_is_limited() {
        let policy = ReconnectPolicy {
            attempts_max: Some(2),
            ..POLICY
        };
        let mut backoff = Backoff::new(1);
        assert!(backoff.next(&policy).is_some());
        assert!(backoff.next(&policy).is_some());
        assert_eq!(backoff.next(&policy), None);
        assert_eq!(Backoff::new(1).next(&ReconnectPolicy::NEVER), None);
    }

    #[test]
    fn a_long_row_of_failures_does_not_overflow() {
        let mut backoff = Backoff {
            attempts: u32::MAX - 1,
            random: SplitMix64(1),
        };
        let policy = ReconnectPolicy {
            delay_max: Duration::MAX,
            ..POLICY
        };
        assert!(backoff.next(&policy).is_some());
        assert!(backoff.next(&policy).is_some());
    }
}
