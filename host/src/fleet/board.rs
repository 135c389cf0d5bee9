//! What is known of each cluster now, and the numbers of the process: written
//! by the scheduler, read by whoever shows them. No secret and no path of one
//! gets here; texts may be words of an upstream or a plugin and are hostile
//! wherever they are shown.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::cluster::ClusterId;
use super::config::Broken;
use crate::sync::Phase;
use crate::upstream;

/// Everything at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Snapshot {
    /// Since when the numbers grow: the start of the process.
    pub since: Timestamp,
    /// Every cluster of this process, by id.
    pub clusters: Vec<ClusterStatus>,
    /// Every rule by which clusters are found.
    pub rules: Vec<RuleStatus>,
    /// Numbers that only grow.
    pub totals: Totals,
    /// Places of the sandbox.
    pub slots: Slots,
    /// The fleet file.
    pub configuration: ConfigurationState,
}

/// Whether clusters are synced once or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Each until it succeeded or was tried often enough.
    Once,
    /// On schedule.
    Forever,
}

/// What is known of one cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterStatus {
    /// Its name in the fleet.
    pub id: ClusterId,
    /// Its account.
    pub account: Option<String>,
    /// Its region.
    pub region: String,
    /// Its name in EKS.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// The last sync that went well, whichever process made it.
    pub last_good: Option<Good>,
    /// The last sync that failed, until one goes well.
    pub last_failure: Option<Failure>,
    /// What the last good sync warned of, a sentence each.
    pub warnings: Vec<String>,
    /// When it is synced next, if that is known.
    pub next: Option<Timestamp>,
    /// Whether a rule found it.
    pub found_by_rule: bool,
}

/// What a cluster is doing.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum State {
    /// Until its time comes.
    Waiting,
    /// Its time has come; it waits for a place.
    Queued,
    /// A sync runs.
    Syncing {
        /// What the sync is doing.
        phase: Phase,
        /// Rows listed so far.
        rows: u64,
        /// When it began.
        since: Timestamp,
    },
    /// The last sync failed; it is tried again.
    BackingOff {
        /// When.
        until: Timestamp,
        /// Failures in a row.
        attempts: u32,
    },
    /// It is not synced until the configuration changes.
    Disabled {
        /// One sentence.
        why: String,
    },
    /// It is over: synced once, or tried often enough.
    Done,
}

/// A sync that went well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Good {
    /// When it ended.
    pub at: Timestamp,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Objects in the file.
    pub objects: u64,
    /// Entitlements in the file.
    pub entitlements: u64,
    /// Grants in the file.
    pub grants: u64,
    /// The file's length in bytes.
    pub bytes: u64,
    /// The access file.
    pub file: PathBuf,
}

/// A sync that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// For programs.
    pub kind: FailureKind,
    /// One sentence.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Why a sync failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FailureKind {
    /// A setting or a file is wrong; only another configuration helps.
    Configuration,
    /// Credentials, or what they may do.
    Denied,
    /// Something is not there: the cluster, an endpoint.
    NotFound,
    /// An upstream cannot be reached or asks to wait.
    Unavailable,
    /// The plugin is not approved, or did what it may not.
    Plugin,
    /// A failure of the host or of its machine.
    Host,
}

/// How a sync ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncResult {
    /// A new access file is there.
    Succeeded,
    /// The file is as before.
    Failed,
    /// Stopped; the file is as before.
    Cancelled,
}

impl SyncResult {
    /// For labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SyncResult::Succeeded => "succeeded",
            SyncResult::Failed => "failed",
            SyncResult::Cancelled => "cancelled",
        }
    }
}

/// A rule by which clusters are found, and how that went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleStatus {
    /// Its name: `discover 1`, or the one it has in the file.
    pub name: String,
    /// The account that it looks in.
    pub account: String,
    /// Where it looks.
    pub regions: Vec<String>,
    /// How many it found at the last look.
    pub found: usize,
    /// When it last looked and nothing failed.
    pub looked: Option<Timestamp>,
    /// Why the last look failed, in whole or for some regions.
    pub last_failure: Option<Failure>,
}

/// Places of the sandbox: syncs at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Slots {
    /// How many are taken.
    pub in_use: usize,
    /// How many there are.
    pub all: usize,
}

/// The fleet file as it was read last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConfigurationState {
    /// Where it is.
    pub path: PathBuf,
    /// When what is in force was read.
    pub loaded_at: Option<Timestamp>,
    /// Why a later reading is not in force.
    pub last_error: Option<String>,
}

/// Numbers of the process that only grow (but for the peak), summed over all
/// clusters, so that their number does not grow with the fleet.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Syncs that ended, by how.
    pub syncs: BTreeMap<SyncResult, u64>,
    /// How long syncs took, whichever way they ended.
    pub durations: Histogram,
    /// What was asked of upstreams, by the upstream's name.
    pub upstreams: BTreeMap<String, upstream::Counts>,
    /// Answers by upstream and HTTP status.
    pub answers: BTreeMap<String, BTreeMap<u16, u64>>,
    /// CPU of plugins, in slices of 10 ms.
    pub cpu_slices: u64,
    /// The most memory that one sync's plugin used, in bytes.
    pub peak_memory: u64,
    /// Cluster tokens and role sessions that were made or renewed.
    pub token_refreshes: u64,
}

/// How a cluster is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Its last sync failed.
    Failing,
    /// It is not synced at all, and somebody has to do something.
    Disabled,
    /// It was never tried.
    New,
    /// Its last sync was good.
    Fine,
}

impl Standing {
    /// The same as text.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Standing::Failing => "failing",
            Standing::Disabled => "disabled",
            Standing::New => "new",
            Standing::Fine => "fine",
        }
    }
}

impl ClusterStatus {
    /// How it is. A sync under way changes nothing: the last one counts until
    /// it ends.
    #[must_use]
    pub fn standing(&self) -> Standing {
        if matches!(self.state, State::Disabled { .. }) {
            return Standing::Disabled;
        }
        match (&self.last_good, &self.last_failure) {
            (None, None) => Standing::New,
            (Some(_), None) => Standing::Fine,
            (Some(good), Some(failure)) if good.at >= failure.at => Standing::Fine,
            (_, Some(_)) => Standing::Failing,
        }
    }
}

/// Upper bounds of the histogram's buckets, in seconds; above the last: no
/// bound.
pub const BUCKETS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];

/// Durations by size. `counts[i]` holds those above bound `i-1` and up to bound
/// `i` of [`BUCKETS`]; the last one those above all bounds. Prometheus wants
/// them summed up from the left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Histogram {
    /// How many in each bucket.
    pub counts: [u64; BUCKETS.len() + 1],
    /// The sum of all, in seconds.
    pub sum: f64,
}

impl Histogram {
    /// Counts one.
    pub fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum += seconds;
    }

    /// How many in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl Totals {
    /// Adds what one task asked of its upstreams.
    pub fn add_upstreams(&mut self, stats: &upstream::Snapshot) {
        for name in stats.upstreams.keys() {
            *self.upstreams.entry(name.clone()).or_default() += stats.of(name);
        }
        for (name, answers) in &stats.answers {
            let sums = self.answers.entry(name.clone()).or_default();
            for (status, count) in answers {
                *sums.entry(*status).or_default() += count;
            }
        }
    }
}

/// Holds what is known. One per process.
#[derive(Debug)]
pub struct Board {
    state: Mutex<Known>,
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Known {
    since: Timestamp,
    clusters: BTreeMap<ClusterId, ClusterStatus>,
    rules: Vec<RuleStatus>,
    totals: Totals,
    slots: Slots,
    configuration: ConfigurationState,
}

impl Board {
    /// An empty one; the process begins now.
    #[must_use]
    pub fn new() -> Board {
        Board {
            state: Mutex::new(Known {
                since: Timestamp::now(),
                clusters: BTreeMap::new(),
                rules: Vec::new(),
                totals: Totals::default(),
                slots: Slots::default(),
                configuration: ConfigurationState::default(),
            }),
            changes: watch::Sender::default(),
        }
    }

    /// A cluster whose configuration is wrong, as it is shown.
    #[must_use]
    pub fn broken(broken: &Broken) -> ClusterStatus {
        let texts: Vec<String> = broken
            .mistakes
            .iter()
            .map(|mistake| format!("line {}: {}", mistake.line, mistake.message))
            .collect();
        ClusterStatus {
            id: broken.id.clone(),
            account: broken.account.clone(),
            region: broken.region.clone(),
            name: broken.name.clone(),
            state: State::Disabled {
                why: texts.join("; "),
            },
            last_good: None,
            last_failure: None,
            warnings: Vec::new(),
            next: None,
            found_by_rule: false,
        }
    }

    /// Everything now: a consistent copy.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let known = self.lock();
        Snapshot {
            since: known.since,
            clusters: known.clusters.values().cloned().collect(),
            rules: known.rules.clone(),
            totals: known.totals.clone(),
            slots: known.slots,
            configuration: known.configuration.clone(),
        }
    }

    /// What is known of one cluster.
    #[must_use]
    pub fn cluster(&self, id: &ClusterId) -> Option<ClusterStatus> {
        self.lock().clusters.get(id).cloned()
    }

    /// Counts changes: whoever waits on it need not poll.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The clusters from now on: what is known of those that stay, stays.
    pub fn set_clusters(&self, clusters: Vec<ClusterStatus>) {
        self.change(|known| {
            let mut before = std::mem::take(&mut known.clusters);
            known.clusters = clusters
                .into_iter()
                .map(|new| {
                    let status = match before.remove(&new.id) {
                        Some(old) => ClusterStatus {
                            found_by_rule: new.found_by_rule,
                            ..old
                        },
                        None => new,
                    };
                    (status.id.clone(), status)
                })
                .collect();
        });
    }

    /// Changes what is known of a cluster, if it is one of the fleet.
    pub fn update(&self, id: &ClusterId, change: impl FnOnce(&mut ClusterStatus)) {
        self.change(|known| {
            if let Some(status) = known.clusters.get_mut(id) {
                change(status);
            }
        });
    }

    /// The rules from now on.
    pub fn set_rules(&self, rules: Vec<RuleStatus>) {
        self.change(|known| known.rules = rules);
    }

    /// Changes the numbers of the process.
    pub fn count(&self, change: impl FnOnce(&mut Totals)) {
        self.change(|known| change(&mut known.totals));
    }

    /// How many places of the sandbox are taken, and how many there are.
    pub fn set_slots(&self, slots: Slots) {
        self.change(|known| known.slots = slots);
    }

    /// The fleet file that is in force.
    pub fn set_configuration(&self, configuration: ConfigurationState) {
        self.change(|known| known.configuration = configuration);
    }

    /// Changes what is known of the fleet file.
    pub fn update_configuration(&self, change: impl FnOnce(&mut ConfigurationState)) {
        self.change(|known| change(&mut known.configuration));
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.lock());
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Board {
    fn default() -> Board {
        Board::new()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn status(name: &str) -> ClusterStatus {
        ClusterStatus {
            id: ClusterId::new("111122223333", "eu-west-1", name),
            account: Some("111122223333".into()),
            region: "eu-west-1".into(),
            name: name.into(),
            state: State::Waiting,
            last_good: None,
            last_failure: None,
            warnings: Vec::new(),
            next: None,
            found_by_rule: false,
        }
    }

    #[test]
    fn what_is_known_of_a_cluster_outlives_a_reload() {
        let board = Board::new();
        board.set_clusters(vec![status("a"), status("b")]);
        let id = status("a").id;
        board.update(&id, |status| status.state = State::Queued);
        board.set_clusters(vec![status("c"), status("a")]);
        let names: Vec<String> = board
            .snapshot()
            .clusters
            .into_iter()
            .map(|status| status.name)
            .collect();
        assert_eq!(names, ["a", "c"]);
        assert_eq!(board.cluster(&id).unwrap().state, State::Queued);
    }

    #[test]
    fn who_waits_hears_of_every_change() {
        let board = Board::new();
        let mut changed = board.changed();
        assert!(!changed.has_changed().unwrap());
        board.count(|totals| totals.cpu_slices += 1);
        assert!(changed.has_changed().unwrap());
        changed.mark_unchanged();
        board.set_slots(Slots { in_use: 1, all: 4 });
        assert!(changed.has_changed().unwrap());
        assert_eq!(board.snapshot().slots.in_use, 1);
    }

    #[test]
    fn a_duration_falls_into_the_bucket_whose_bound_it_reaches() {
        let mut histogram = Histogram::default();
        for seconds in [0.2, 1.0, 1.5, 7200.0] {
            histogram.add(Duration::from_secs_f64(seconds));
        }
        assert_eq!(histogram.counts.first(), Some(&2));
        assert_eq!(histogram.counts.get(1), Some(&1));
        assert_eq!(histogram.counts.last(), Some(&1));
        assert_eq!(histogram.count(), 4);
        assert!((histogram.sum - 7202.7).abs() < 1e-9);
    }

    #[test]
    fn states_are_told_apart_by_programs() {
        let value = serde_json::to_value(State::Disabled { why: "x".into() }).unwrap();
        assert_eq!(value, serde_json::json!({ "is": "disabled", "why": "x" }));
        let value = serde_json::to_value(State::Waiting).unwrap();
        assert_eq!(value, serde_json::json!({ "is": "waiting" }));
    }
}
