//! When a cluster is synced: after a success on schedule, after a failure
//! sooner, a little later each time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

/// The shortest time between two syncs of one cluster.
pub const LEAST: Duration = Duration::from_secs(60);
/// The longest: 30 days.
pub const MOST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// What is spread over, where the file does not say: a tenth.
const SPREAD: u32 = 10;

/// Every so often, a little spread so that clusters of one schedule do not
/// begin at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Schedule {
    /// From the end of one sync to the beginning of the next.
    pub every: Duration,
    /// Up to this is added, by chance.
    pub jitter: Duration,
}

impl Schedule {
    /// Every so often, spread over a tenth of it.
    #[must_use]
    pub fn every(every: Duration) -> Schedule {
        Schedule {
            every,
            jitter: every / SPREAD,
        }
    }

    /// From a success to the next sync.
    #[must_use]
    pub fn pause(&self, chance: &Chance) -> Duration {
        self.every + self.jitter.mul_f64(chance.share())
    }
}

impl Default for Schedule {
    /// Every six hours.
    fn default() -> Schedule {
        Schedule::every(Duration::from_secs(6 * 60 * 60))
    }
}

/// How long to wait after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first.
    pub first: Duration,
    /// At most.
    pub most: Duration,
}

impl Backoff {
    /// After `failures` in a row: doubled each time, and half of it by chance,
    /// so that what failed together does not come back together.
    #[must_use]
    pub fn pause(&self, failures: u32, chance: &Chance) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let full = self
            .first
            .saturating_mul(1 << doublings)
            .min(self.most.max(self.first));
        full.mul_f64(0.5 + chance.share() / 2.0)
    }
}

/// Chance, by a seed: SplitMix64. What it decides are moments, no secrets.
#[derive(Debug, Clone)]
pub struct Chance(Arc<Mutex<u64>>);

impl Chance {
    /// The same numbers each time.
    #[must_use]
    pub fn seeded(seed: u64) -> Chance {
        Chance(Arc::new(Mutex::new(seed)))
    }

    /// From the machine.
    #[must_use]
    pub fn new() -> Chance {
        Chance::seeded(getrandom::u64().unwrap_or(0x5eed))
    }

    /// From 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        f64::from((z >> 32) as u32) / f64::from(u32::MAX)
    }
}

impl Default for Chance {
    fn default() -> Chance {
        Chance::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_of_one_schedule_begin_at_different_moments() {
        let schedule = Schedule::every(Duration::from_secs(1_000));
        let chance = Chance::seeded(1);
        let pauses: std::collections::BTreeSet<Duration> =
            (0..50).map(|_| schedule.pause(&chance)).collect();
        assert!(pauses.len() > 45, "{pauses:?}");
        for pause in pauses {
            assert!(pause >= Duration::from_secs(1_000), "{pause:?}");
            assert!(pause <= Duration::from_secs(1_100), "{pause:?}");
        }
    }

    #[test]
    fn failures_are_tried_again_later_and_later_up_to_a_bound() {
        let backoff = Backoff {
            first: Duration::from_secs(30),
            most: Duration::from_secs(3_600),
        };
        let chance = Chance::seeded(2);
        let mut bound = 30.0_f64;
        for failures in 1..40 {
            let pause = backoff.pause(failures, &chance).as_secs_f64();
            assert!(
                pause >= bound / 2.0 && pause <= bound,
                "{failures}: {pause}"
            );
            bound = (bound * 2.0).min(3_600.0);
        }
    }
}
