//! `/live`, `/ready` and `/health`: three questions, and none of them is
//! passed on to a system that clusters are read from.
//!
//! - live: the process runs and its threads for input and output turn. Who
//!   restarts on anything else restarts for another's outage.
//! - ready: a configuration was loaded, its plugins are compiled, and nobody
//!   has asked the process to stop.
//! - health: the fleet does its work. One cluster that fails is for its
//!   metrics; health fails when every cluster fails, or when none was synced
//!   for longer than the schedules explain.
//!
//! Answers name numbers and times, never the text of an error: who may probe
//! need not know what a cluster said.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Site;
use crate::fleet::board::Snapshot;
use crate::fleet::board::Standing;

/// How long the I/O threads may be busy before somebody should restart us.
/// A sync that packs a large file has one of them for minutes.
const STALLED: Duration = Duration::from_secs(600);

/// A question that a probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Whether the fleet does its work.
    Health,
    /// Whether it has begun to.
    Ready,
    /// Whether the process lives.
    Live,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Endpoint; 3] = [Endpoint::Health, Endpoint::Ready, Endpoint::Live];

    /// Where it is asked.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Endpoint::Health => "/health",
            Endpoint::Ready => "/ready",
            Endpoint::Live => "/live",
        }
    }

    /// By its name on the command line.
    #[must_use]
    pub fn parse(name: &str) -> Option<Endpoint> {
        Endpoint::ALL
            .into_iter()
            .find(|endpoint| endpoint.path().trim_start_matches('/') == name)
    }
}

/// What of the process is not on the board.
#[derive(Debug)]
pub struct Life {
    began: Instant,
    /// Milliseconds after `began` at which the I/O threads last turned.
    beat: AtomicU64,
    phase: AtomicU8,
    /// Seconds without a good sync that the schedules explain.
    patience: AtomicU64,
    /// Times that the configuration was loaded, and that it could not be.
    loads: [AtomicU64; 2],
}

/// Where the process is between its start and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The configuration is read, plugins are compiled.
    Starting,
    /// It syncs.
    Serving,
    /// It was asked to stop.
    Stopping,
}

impl Default for Life {
    fn default() -> Life {
        Life::new()
    }
}

impl Phase {
    pub(super) fn name(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Serving => "serving",
            Phase::Stopping => "stopping",
        }
    }
}

impl Life {
    /// That of a process that begins now.
    #[must_use]
    pub fn new() -> Life {
        Life {
            began: Instant::now(),
            beat: AtomicU64::new(0),
            phase: AtomicU8::new(0),
            patience: AtomicU64::new(u64::MAX),
            loads: Default::default(),
        }
    }

    /// Whose I/O threads have not turned for so long.
    #[cfg(test)]
    pub(super) fn hanging_for(silence: Duration) -> Life {
        Life {
            began: Instant::now()
                .checked_sub(silence)
                .unwrap_or_else(Instant::now),
            ..Life::new()
        }
    }

    /// The I/O threads turn.
    pub fn beat(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.beat.store(now, Ordering::Relaxed);
    }

    /// Since when they do not.
    pub(super) fn silence(&self) -> Duration {
        let beat = Duration::from_millis(self.beat.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(beat)
    }

    /// It goes on to this; never back.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::Relaxed);
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Stopping,
        }
    }

    /// How long no good sync is no trouble.
    pub fn set_patience(&self, patience: Duration) {
        self.patience.store(patience.as_secs(), Ordering::Relaxed);
    }

    /// The configuration was loaded, or could not be.
    pub fn loaded(&self, well: bool) {
        let [good, bad] = &self.loads;
        if well { good } else { bad }.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was loaded, and how often it could not be.
    pub(super) fn loads(&self) -> [u64; 2] {
        self.loads
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed))
    }

    fn patience(&self) -> u64 {
        self.patience.load(Ordering::Relaxed)
    }
}

/// An answer to a probe.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) good: bool,
    pub(super) body: Value,
}

pub(super) fn judge(endpoint: Endpoint, site: &Site, now: Timestamp) -> Verdict {
    let (good, status, details) = match endpoint {
        Endpoint::Live => live(site.life.silence()),
        Endpoint::Ready => ready(site.life.phase()),
        Endpoint::Health => of(&site.board.snapshot(), site.life.patience(), now),
    };
    let mut body = json!({ "status": status, "timestamp": seconds(now) });
    if let (Some(body), Some(details)) = (body.as_object_mut(), details) {
        body.insert("details".to_owned(), details);
    }
    Verdict { good, body }
}

/// Whether all is well, in one word, and why.
pub(super) type Judged = (bool, &'static str, Option<Value>);

fn live(silence: Duration) -> Judged {
    if silence < STALLED {
        return (true, "alive", None);
    }
    let details = json!({ "reason": "the threads for input and output do not turn", "seconds": silence.as_secs() });
    (false, "stalled", Some(details))
}

fn ready(phase: Phase) -> Judged {
    let reason = match phase {
        Phase::Serving => return (true, "ready", None),
        Phase::Starting => "the configuration is being loaded",
        Phase::Stopping => "the process was asked to stop",
    };
    (false, "not_ready", Some(json!({ "reason": reason })))
}

/// Whether a fleet does its work.
pub(super) fn of(board: &Snapshot, patience: u64, now: Timestamp) -> Judged {
    let count = |wanted: fn(Standing) -> bool| {
        board
            .clusters
            .iter()
            .filter(|cluster| wanted(cluster.standing()))
            .count()
    };
    let all = board.clusters.len();
    let failing = count(|standing| matches!(standing, Standing::Failing | Standing::Disabled));
    let last = board
        .clusters
        .iter()
        .filter_map(|cluster| cluster.last_good.as_ref().map(|good| good.at))
        .max();
    // What was good before this process began says nothing of this process:
    // it has its time from the beginning.
    let since = last.map_or(board.since, |last| last.max(board.since));
    let quiet = u64::try_from(now.as_second().saturating_sub(since.as_second())).unwrap_or(0);
    let reason = if all == 0 {
        None
    } else if failing == all {
        Some("every cluster fails")
    } else if quiet > patience {
        Some("no cluster was synced for longer than the schedules explain")
    } else {
        None
    };
    let mut details = json!({
        "clusters": all,
        "failing": failing,
        "last_good_sync": last.map(seconds),
    });
    if let (Some(details), Some(reason)) = (details.as_object_mut(), reason) {
        details.insert("reason".to_owned(), reason.into());
    }
    match reason {
        None => (true, "healthy", Some(details)),
        Some(_) => (false, "unhealthy", Some(details)),
    }
}

/// RFC 3339, without fractions.
pub(super) fn seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second())
        .unwrap_or(at)
        .to_string()
}
