//! Syncs clusters: each once, or for ever on schedule.
//!
//! Every cluster has a task of its own that mostly sleeps, so none waits for
//! another but at the sandbox's places (`queue`). What one does after a failure
//! is its own business: it comes back later, and later still.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::board::{Board, ClusterStatus, Mode, State};
use super::cluster::{Cluster, ClusterId};
use super::config::Broken;
use super::failed::Failed;
use super::schedule::{Backoff, Chance};
use super::status::StatusFile;
use super::stop::Stop;
use super::work::{Cancel, Canceller, Orders, Synced, Syncs, Work, result_of};
use crate::clock;
use crate::sandbox::Sandbox;

/// How long it may take to drop what was given up.
const DROP: Duration = Duration::from_secs(1);

/// How a scheduler works.
#[derive(Debug, Clone)]
pub struct SchedulerOptions {
    /// Once or for ever.
    pub mode: Mode,
    /// Syncs at once; 0: as many as the sandbox has places.
    pub tasks: usize,
    /// How often a cluster is tried that is synced once.
    pub attempts: u32,
    /// Between attempts.
    pub backoff: Backoff,
    /// When a stop is wanted, how long running syncs may go on before they are
    /// told to end at their next edge.
    pub finish: Duration,
    /// How long they may take for that before they are dropped.
    pub grace: Duration,
    /// Names that no setting of a plugin may take.
    pub reserved: Vec<String>,
    /// The environment that references and ambient credentials lead to.
    pub environment: BTreeMap<String, String>,
    /// What decides about moments.
    pub chance: Chance,
}

impl SchedulerOptions {
    /// Each cluster until it succeeded, three times at most.
    #[must_use]
    pub fn once(environment: BTreeMap<String, String>, reserved: Vec<String>) -> SchedulerOptions {
        SchedulerOptions {
            mode: Mode::Once,
            tasks: 0,
            attempts: 3,
            backoff: Backoff {
                first: Duration::from_secs(2),
                most: Duration::from_secs(30),
            },
            finish: Duration::ZERO,
            grace: Duration::from_secs(3),
            reserved,
            environment,
            chance: Chance::new(),
        }
    }

    /// On schedule. A stop lets what runs go on for `grace`.
    #[must_use]
    pub fn forever(
        environment: BTreeMap<String, String>,
        reserved: Vec<String>,
        grace: Duration,
    ) -> SchedulerOptions {
        SchedulerOptions {
            mode: Mode::Forever,
            backoff: Backoff {
                first: Duration::from_secs(30),
                most: Duration::from_secs(60 * 60),
            },
            finish: grace,
            ..SchedulerOptions::once(environment, reserved)
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Clusters whose last sync of this run went well.
    pub succeeded: Vec<ClusterId>,
    /// Clusters whose last sync failed, and those that cannot be synced.
    pub failed: Vec<ClusterId>,
    /// Clusters that were not synced, or not to the end, because of a stop.
    pub stopped: Vec<ClusterId>,
}

/// Syncs clusters. Cheap to clone.
#[derive(Clone)]
pub struct Scheduler(Arc<Inner>);

struct Inner {
    work: Arc<dyn Work>,
    board: Arc<Board>,
    options: SchedulerOptions,
    entries: Mutex<BTreeMap<ClusterId, Entry>>,
    broken: Mutex<Vec<ClusterId>>,
    results: Mutex<BTreeMap<ClusterId, bool>>,
    /// How many clusters' tasks live.
    live: watch::Sender<usize>,
    /// Take no new work.
    closing: Canceller,
}

/// One cluster's task.
struct Entry {
    cluster: Arc<Cluster>,
    cancel: Arc<Canceller>,
    nudge: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Scheduler {
    /// A scheduler without clusters.
    #[must_use]
    pub fn new(sandbox: Sandbox, board: Arc<Board>, options: SchedulerOptions) -> Scheduler {
        let work = Syncs::new(
            sandbox,
            board.clone(),
            options.tasks,
            options.reserved.clone(),
            options.environment.clone(),
        );
        Scheduler::with(Arc::new(work), board, options)
    }

    pub(super) fn with(
        work: Arc<dyn Work>,
        board: Arc<Board>,
        options: SchedulerOptions,
    ) -> Scheduler {
        Scheduler(Arc::new(Inner {
            work,
            board,
            options,
            entries: Mutex::default(),
            broken: Mutex::default(),
            results: Mutex::default(),
            live: watch::Sender::default(),
            closing: Canceller::new(),
        }))
    }

    /// The clusters from now on: unchanged ones keep their place and a running
    /// sync; changed or gone ones are cancelled at the next edge, and changed
    /// ones begin anew after that. Begins to work at once.
    pub async fn replace(&self, clusters: Vec<Cluster>) {
        self.replace_with(clusters, Vec::new()).await;
    }

    /// The same, and what cannot be synced: it is on the board with its reason.
    pub async fn replace_with(&self, clusters: Vec<Cluster>, broken: Vec<Broken>) {
        let clusters: Vec<Arc<Cluster>> = clusters.into_iter().map(Arc::new).collect();
        self.0.work.renew(&clusters);
        let read = clusters.clone();
        let known = off_thread(move || -> Vec<StatusFile> {
            read.iter().map(|cluster| StatusFile::of(cluster)).collect()
        })
        .await
        .unwrap_or_default();
        let broken: Vec<Broken> = broken.into_iter().filter(|broken| !broken.rule).collect();
        let mut shown: Vec<ClusterStatus> = clusters
            .iter()
            .zip(&known)
            .map(|(cluster, status)| status.shown(cluster))
            .collect();
        shown.extend(broken.iter().map(Board::broken));
        self.0.board.set_clusters(shown);
        for broken in &broken {
            let state = Board::broken(broken).state;
            self.0
                .board
                .update(&broken.id, |status| status.state = state);
        }
        *lock(&self.0.broken) = broken.into_iter().map(|broken| broken.id).collect();

        let mut entries = lock(&self.0.entries);
        let mut before = std::mem::take(&mut *entries);
        for (cluster, status) in clusters.into_iter().zip(known) {
            let id = cluster.id.clone();
            let entry = match before.remove(&id) {
                // What is over and was to be once stays over; for ever, what
                // stands still is looked at again.
                Some(entry)
                    if *entry.cluster == *cluster
                        && (self.0.options.mode == Mode::Once || !entry.task.is_finished()) =>
                {
                    entry
                }
                old => {
                    let afresh = old
                        .as_ref()
                        .is_some_and(|old| reads_otherwise(&old.cluster, &cluster));
                    let old = old.map(|old| {
                        old.cancel.cancel();
                        old.task
                    });
                    self.begin(cluster, status, old, afresh)
                }
            };
            entries.insert(id, entry);
        }
        for (_, gone) in before {
            gone.cancel.cancel();
        }
    }

    /// Returns when of each plugin it is known whether it runs.
    pub async fn warm(&self) {
        let clusters = lock(&self.0.entries)
            .values()
            .map(|entry| entry.cluster.clone())
            .collect();
        self.0.work.warm(clusters).await;
    }

    /// Keeps [`Scheduler::run`] from ending while more clusters may come.
    #[must_use]
    pub fn hold(&self) -> Hold {
        Hold {
            _alive: Alive::new(&self.0),
        }
    }

    fn begin(
        &self,
        cluster: Arc<Cluster>,
        status: StatusFile,
        old: Option<JoinHandle<()>>,
        afresh: bool,
    ) -> Entry {
        let cancel = Arc::new(Canceller::new());
        let nudge = Arc::new(Notify::new());
        let mut actor = Actor {
            alive: Alive::new(&self.0),
            cluster: cluster.clone(),
            cancel: cancel.listener(),
            nudge: nudge.clone(),
            status,
            afresh,
        };
        let task = tokio::spawn(async move {
            if let Some(old) = old {
                // Two syncs must not write one file, and what the old one
                // wrote down in the end is what is known.
                let _ = old.await;
                let cluster = actor.cluster.clone();
                if let Some(status) = off_thread(move || StatusFile::of(&cluster)).await {
                    actor.status = status;
                }
            }
            actor.run().await;
        });
        Entry {
            cluster,
            cancel,
            nudge,
            task,
        }
    }

    /// Runs until everything is done (once) or until a stop (for ever). After
    /// a stop no sync begins; what runs may finish, is then told to end, and is
    /// dropped in the end.
    pub async fn run(&self, stop: Stop) -> Outcome {
        let inner = &self.0;
        let mut live = inner.live.subscribe();
        let all_done = async {
            if inner.options.mode == Mode::Forever {
                std::future::pending::<()>().await;
            }
            let _ = live.wait_for(|live| *live == 0).await;
        };
        tokio::select! {
            () = all_done => {}
            () = stop.wanted() => {
                inner.closing.cancel();
                tokio::select! {
                    () = self.wind_down() => {}
                    () = stop.wanted_now() => {}
                }
            }
        }
        let mut entries = std::mem::take(&mut *lock(&inner.entries));
        for entry in entries.values() {
            entry.task.abort();
        }
        // What is dropped takes its work files along; that needs a moment.
        let gone = join_all(entries.values_mut().map(|entry| &mut entry.task));
        let _ = clock::timeout(DROP, gone).await;
        self.outcome(entries.keys())
    }

    /// Lets what runs finish, then tells it to end, each for its time.
    async fn wind_down(&self) {
        let inner = &self.0;
        let ended = || async {
            let mut live = inner.live.subscribe();
            let _ = live.wait_for(|live| *live == 0).await;
        };
        if clock::timeout(inner.options.finish, ended()).await.is_ok() {
            return;
        }
        for entry in lock(&inner.entries).values() {
            entry.cancel.cancel();
        }
        let _ = clock::timeout(inner.options.grace, ended()).await;
    }

    fn outcome<'e>(&self, ids: impl Iterator<Item = &'e ClusterId>) -> Outcome {
        let mut outcome = Outcome::default();
        let results = lock(&self.0.results);
        for id in ids {
            match results.get(id) {
                Some(true) => outcome.succeeded.push(id.clone()),
                Some(false) => outcome.failed.push(id.clone()),
                None => outcome.stopped.push(id.clone()),
            }
        }
        outcome.failed.extend(lock(&self.0.broken).iter().cloned());
        outcome
    }

    /// Syncs a cluster now that waits for its time. Whether it is one of ours.
    #[must_use]
    pub fn nudge(&self, id: &ClusterId) -> bool {
        let entries = lock(&self.0.entries);
        let Some(entry) = entries.get(id).filter(|entry| !entry.task.is_finished()) else {
            return false;
        };
        entry.nudge.notify_one();
        true
    }
}

/// Whether a cluster is read in another way than before; its schedule and its
/// limits change nothing of what it is.
fn reads_otherwise(before: &Cluster, now: &Cluster) -> bool {
    let before = Cluster {
        schedule: now.schedule,
        limits: now.limits.clone(),
        ..before.clone()
    };
    before != *now
}

/// More clusters may come. Dropped: no more.
pub struct Hold {
    _alive: Alive,
}

/// Counts a task as living.
struct Alive(Arc<Inner>);

impl Alive {
    fn new(inner: &Arc<Inner>) -> Alive {
        inner.live.send_modify(|live| *live += 1);
        Alive(inner.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.live.send_modify(|live| *live -= 1);
    }
}

/// The life of one cluster.
struct Actor {
    alive: Alive,
    cluster: Arc<Cluster>,
    cancel: Cancel,
    nudge: Arc<Notify>,
    status: StatusFile,
    /// What is there was read in another way than is wanted now.
    afresh: bool,
}

/// What comes after a sync.
enum Next {
    /// Another, after a while.
    After(Duration, State),
    End(State),
}

impl Actor {
    async fn run(mut self) {
        let inner = self.alive.0.clone();
        let closing = inner.closing.listener();
        let mut pause = self.first();
        let mut attempts = 0;
        loop {
            if let Some((time, state)) = pause.take() {
                let next = Timestamp::now() + time;
                self.show(state, Some(next));
                tokio::select! {
                    biased;
                    () = self.cancel.told() => return,
                    () = closing.told() => return,
                    () = self.nudge.notified() => {}
                    () = clock::sleep(time) => {}
                }
            }
            if self.cancel.is_told() || closing.is_told() {
                return;
            }
            self.show(State::Queued, None);
            attempts += 1;
            let sync = inner.work.sync(
                self.cluster.clone(),
                Orders {
                    cancel: self.cancel.clone(),
                    closing: closing.clone(),
                },
            );
            // A bug that shows at one cluster must not end its schedule.
            let result = AssertUnwindSafe(sync).catch_unwind().await;
            let result = result.unwrap_or_else(|_| {
                Err(Failed::host(
                    "the sync broke off by a bug of baton-host; its log has more".to_owned(),
                ))
            });
            let next = self.ended(result, attempts).await;
            match next {
                Next::After(time, state) => pause = Some((time, state)),
                Next::End(state) => {
                    self.show(state, None);
                    return;
                }
            }
        }
    }

    /// How long to wait before the first sync: nothing, unless another process
    /// made one that is recent enough.
    fn first(&self) -> Option<(Duration, State)> {
        let options = &self.alive.0.options;
        if options.mode == Mode::Once {
            return None;
        }
        let good = self.status.last_good.as_ref()?;
        if self.afresh || self.status.last_failure.is_some() || !self.cluster.output.is_file() {
            return None;
        }
        let age = Timestamp::now().duration_since(good.at);
        // A moment in the future is another clock's.
        let age = Duration::try_from(age).ok()?;
        let pause = self.cluster.schedule.pause(&options.chance);
        let left = pause.checked_sub(age)?;
        Some((left, State::Waiting))
    }

    /// Whether somebody wanted this to end; a connector can only say so.
    fn told(&self) -> bool {
        self.cancel.is_told() || self.alive.0.closing.listener().is_told()
    }

    fn show(&self, state: State, next: Option<Timestamp>) {
        self.alive.0.board.update(&self.cluster.id, |status| {
            status.state = state;
            status.next = next;
        });
    }

    /// Writes down how a sync ended, and says what is next.
    async fn ended(&mut self, result: Result<Synced, Failed>, attempts: u32) -> Next {
        let inner = self.alive.0.clone();
        let options = &inner.options;
        let result = result.map_err(|failed| match failed.cancelled && !self.told() {
            true => failed.unasked(),
            false => failed,
        });
        inner.board.count(|totals| {
            *totals.syncs.entry(result_of(&result)).or_default() += 1;
        });
        let id = &self.cluster.id;
        let serving = options.mode == Mode::Forever;
        let failed = match result {
            Err(failed) if failed.cancelled => return Next::End(State::Waiting),
            Ok(Synced { good, warnings }) => {
                let (seconds, grants) = (good.seconds, good.grants);
                if serving && self.status.last_failure.is_some() {
                    tracing::info!(cluster = %id, seconds, grants, "synced again");
                } else {
                    tracing::debug!(cluster = %id, seconds, grants, "synced");
                }
                self.status.succeeded(good, warnings);
                None
            }
            Err(failed) => {
                let message = crate::sandbox::clean(&failed.message, 2_000);
                let before = self.status.last_failure.as_ref();
                // `fleet sync` has its own lines for that; for ever, what is
                // no news is said once.
                if serving && before.is_none_or(|before| before.message != failed.message) {
                    tracing::warn!(cluster = %id, kind = ?failed.kind, "{message}");
                } else {
                    tracing::debug!(cluster = %id, kind = ?failed.kind, "{message}");
                }
                self.status.failed(failed.at(Timestamp::now()));
                Some(failed)
            }
        };
        inner.board.update(id, |status| {
            status.last_good.clone_from(&self.status.last_good);
            status.last_failure.clone_from(&self.status.last_failure);
            status.warnings.clone_from(&self.status.warnings);
        });
        self.write().await;
        let over = |good: bool| {
            lock(&inner.results).insert(id.clone(), good);
        };
        over(failed.is_none());
        match (options.mode, failed) {
            (Mode::Once, None) => Next::End(State::Done),
            (Mode::Forever, None) => {
                Next::After(self.cluster.schedule.pause(&options.chance), State::Waiting)
            }
            (_, Some(failed)) if failed.disables => Next::End(State::Disabled {
                why: failed.message,
            }),
            (Mode::Once, Some(failed)) if !failed.may_pass() || attempts >= options.attempts => {
                Next::End(State::Done)
            }
            (mode, Some(_)) => {
                let failures = self.status.failures;
                let count = if mode == Mode::Once {
                    attempts
                } else {
                    failures
                };
                let mut backoff = options.backoff;
                if mode == Mode::Forever {
                    backoff.most = backoff.most.min(self.cluster.schedule.every);
                }
                let pause = backoff.pause(count, &options.chance);
                let until = Timestamp::now() + pause;
                Next::After(
                    pause,
                    State::BackingOff {
                        until,
                        attempts: count,
                    },
                )
            }
        }
    }

    /// Keeps the status beside the access file. A disk that is full is the
    /// sync's failure already; here it costs a line in the log.
    async fn write(&self) {
        let (status, cluster) = (self.status.clone(), self.cluster.clone());
        let written = off_thread(move || {
            let path = cluster.status_file();
            super::config::inside(&cluster.folder, &path).map_err(std::io::Error::other)?;
            status.write(&path)
        })
        .await;
        if let Some(Err(error)) = written {
            tracing::warn!(cluster = %self.cluster.id, "the status file cannot be written: {error}");
        }
    }
}

/// Works with files where that keeps no socket waiting. In tests it takes no
/// time: their clock would go on meanwhile.
pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if cfg!(test) {
        return Some(work());
    }
    tokio::task::spawn_blocking(work).await.ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
