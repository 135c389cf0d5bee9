//! When a cluster is synced.

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
}

impl Default for Schedule {
    /// Every six hours.
    fn default() -> Schedule {
        Schedule::every(Duration::from_secs(6 * 60 * 60))
    }
}
