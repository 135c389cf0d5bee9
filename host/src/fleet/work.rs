//! One sync of one cluster, from its configuration to its access file.
//!
//! In three parts. What is wrong here fails before anything is sent. Then
//! credentials and endpoints are tried without a place in the sandbox, so that
//! what does not answer keeps nobody waiting; what does gets a place, fairly.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::board::{Board, Good, Slots, State, SyncResult, Totals};
use super::cluster::Cluster;
use super::config::inside;
use super::failed::Failed;
use super::plugins::Plugins;
use super::queue::Queue;
use super::scheduler::off_thread;
use super::settings;
use crate::c1z::FileOptions;
use crate::credentials::HttpClients;
use crate::job::{self, Connection, Job, JobError, Outcome};
use crate::sandbox::Sandbox;
use crate::sync::{Options, Phase, Progress};
use crate::upstream::Rates;

/// Clusters whose credentials and endpoints are tried at once. They wait for
/// networks and cost a few connections each.
const CONNECTING: usize = 128;

/// Told to stop before the next call.
#[derive(Debug, Clone)]
pub(super) struct Cancel {
    flag: Arc<AtomicBool>,
    told: watch::Receiver<bool>,
}

/// Tells.
#[derive(Debug)]
pub(super) struct Canceller {
    flag: Arc<AtomicBool>,
    tell: watch::Sender<bool>,
}

impl Canceller {
    pub(super) fn new() -> Canceller {
        Canceller {
            flag: Arc::default(),
            tell: watch::Sender::default(),
        }
    }

    pub(super) fn cancel(&self) {
        self.flag.store(true, Ordering::Relaxed);
        self.tell.send_replace(true);
    }

    pub(super) fn listener(&self) -> Cancel {
        Cancel {
            flag: self.flag.clone(),
            told: self.tell.subscribe(),
        }
    }
}

impl Cancel {
    pub(super) fn is_told(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// Returns when it is told. Who cannot be told any more waits for ever.
    pub(super) async fn told(&self) {
        let mut told = self.told.clone();
        if told.wait_for(|told| *told).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What a sync heeds.
#[derive(Debug, Clone)]
pub(super) struct Orders {
    /// Stop at the next edge.
    pub(super) cancel: Cancel,
    /// Do not begin any more; what has a place may go on.
    pub(super) closing: Cancel,
}

impl Orders {
    /// What comes before the sync has a place, and is dropped for either.
    pub(super) async fn before<T>(&self, work: impl Future<Output = T>) -> Result<T, Failed> {
        tokio::select! {
            biased;
            () = self.cancel.told() => Err(Failed::cancelled()),
            () = self.closing.told() => Err(Failed::cancelled()),
            value = work => Ok(value),
        }
    }
}

/// A sync that went well.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Synced {
    pub(super) good: Good,
    pub(super) warnings: Vec<String>,
}

type Working = Pin<Box<dyn Future<Output = Result<Synced, Failed>> + Send>>;

/// What syncs a cluster. Tests have one of their own.
pub(super) trait Work: Send + Sync + 'static {
    /// Syncs it once. Leaves the access file as it was unless it went well.
    fn sync(&self, cluster: Arc<Cluster>, orders: Orders) -> Working;

    /// The configuration was read again; these are the clusters now.
    fn renew(&self, clusters: &[Arc<Cluster>]);

    /// Does what is done once for many syncs. What fails is told when a
    /// cluster needs it.
    fn warm(&self, _clusters: Vec<Arc<Cluster>>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

/// Syncs with the sandbox and over the network.
#[derive(Clone)]
pub(super) struct Syncs(Arc<Inner>);

struct Inner {
    sandbox: Sandbox,
    board: Arc<Board>,
    plugins: Plugins,
    rates: Arc<Rates>,
    http: HttpClients,
    environment: BTreeMap<String, String>,
    connecting: Queue,
    places: Queue,
}

impl Syncs {
    pub(super) fn new(
        sandbox: Sandbox,
        board: Arc<Board>,
        tasks: usize,
        reserved: Vec<String>,
        environment: BTreeMap<String, String>,
    ) -> Syncs {
        let all = match tasks {
            0 => sandbox.slots(),
            tasks => tasks.min(sandbox.slots()),
        };
        board.set_slots(Slots { in_use: 0, all });
        let watched = board.clone();
        let places = Queue::watched(all, move |in_use| watched.set_slots(Slots { in_use, all }));
        Syncs(Arc::new(Inner {
            plugins: Plugins::new(sandbox.clone(), reserved),
            sandbox,
            board,
            rates: Arc::default(),
            http: HttpClients::new(),
            environment,
            connecting: Queue::new(CONNECTING),
            places,
        }))
    }
}

impl Work for Syncs {
    fn sync(&self, cluster: Arc<Cluster>, orders: Orders) -> Working {
        let inner = self.0.clone();
        Box::pin(async move { inner.sync(&cluster, &orders).await })
    }

    fn renew(&self, clusters: &[Arc<Cluster>]) {
        let used: Vec<_> = clusters
            .iter()
            .map(|cluster| (cluster.plugin.clone(), cluster.lock.clone()))
            .collect();
        self.0.plugins.renew(&used);
    }

    fn warm(&self, clusters: Vec<Arc<Cluster>>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let inner = self.0.clone();
        Box::pin(async move {
            let mut seen = std::collections::BTreeSet::new();
            for cluster in clusters {
                if seen.insert((cluster.plugin.clone(), cluster.lock.clone())) {
                    let lock = cluster.lock.as_deref();
                    let _ = inner.plugins.get(&cluster.plugin, lock).await;
                }
            }
        })
    }
}

impl Inner {
    async fn sync(&self, cluster: &Cluster, orders: &Orders) -> Result<Synced, Failed> {
        // A file system that hangs holds up this cluster and no thread of ours.
        let made = || {
            let cluster = cluster.clone();
            async {
                let made = off_thread(move || folder(&cluster)).await;
                made.unwrap_or_else(|| Err(Failed::cancelled()))
            }
        };
        orders.before(made()).await??;
        let plugin = self.plugins.get(&cluster.plugin, cluster.lock.as_deref());
        let plugin = orders.before(plugin).await??;
        let job = settings::job(
            cluster,
            plugin,
            &self.environment,
            self.rates.clone(),
            self.http.clone(),
        )?;

        let connecting = orders
            .before(self.connecting.enter(&cluster.account))
            .await?;
        let connection = orders.before(self.connect(cluster, &job)).await??;
        drop(connecting);

        let _place = orders.before(self.places.enter(&cluster.account)).await?;
        let since = Timestamp::now();
        let mut watcher = Watcher {
            board: &self.board,
            cluster,
            since,
            phase: Phase::Opening,
            before: 0,
            current: 0,
            kind: String::new(),
        };
        watcher.show();
        let options = Options {
            cancelled: orders.cancel.flag.clone(),
            external: cluster.external.clone(),
            ..Options::default()
        };
        let file = FileOptions {
            work_folder: cluster.work_folder.clone(),
            ..FileOptions::default()
        };
        // It may have become a link since it was looked at.
        orders.before(made()).await??;
        let begun = std::time::Instant::now();
        let result = job::sync(
            &self.sandbox,
            &job,
            &connection,
            &options,
            &cluster.output,
            &file,
            Arc::new(()),
            &mut watcher,
        )
        .await;
        let result = result.map_err(|error| match &error {
            JobError::Sync { source, .. }
                if matches!(**source, crate::sync::SyncError::Cancelled) =>
            {
                Failed::cancelled()
            }
            _ => Failed::from(error),
        });
        self.count(&connection, begun.elapsed(), &result);
        Ok(synced(result?))
    }

    /// Credentials, the account, the endpoint: each with a call that a sync
    /// makes as well or that costs nothing.
    async fn connect(&self, cluster: &Cluster, job: &Job) -> Result<Connection, Failed> {
        let connection = job::connect(job).await?;
        let account = &connection.caller.account;
        let answer = async {
            if *account != cluster.account {
                return Err(Failed::configuration(format!(
                    "the credentials belong to account {account}, and {} is in {}",
                    cluster.name, cluster.account
                ))
                .hint("correct `account`, or use credentials of the cluster's account"));
            }
            connection
                .upstreams
                .describe_cluster()
                .await
                .map_err(JobError::from)?;
            connection
                .upstreams
                .version()
                .await
                .map_err(JobError::from)?;
            Ok(())
        }
        .await;
        match answer {
            Ok(()) => Ok(connection),
            Err(failed) => {
                self.board.count(|totals| asked(totals, &connection));
                Err(failed)
            }
        }
    }

    fn count(&self, connection: &Connection, took: Duration, result: &Result<Outcome, Failed>) {
        self.board.count(|totals| {
            totals.durations.add(took);
            asked(totals, connection);
            if let Ok(outcome) = result {
                totals.cpu_slices += outcome.sandbox_cpu_ms / 10;
                totals.peak_memory = totals.peak_memory.max(outcome.sandbox_memory as u64);
            }
        });
    }
}

/// Adds what a task asked of its upstreams and for its credentials.
fn asked(totals: &mut Totals, connection: &Connection) {
    totals.add_upstreams(&connection.upstreams.stats());
    let renewals = connection.session.renewals();
    totals.token_refreshes += renewals.sessions + renewals.tokens;
}

/// Makes the folder of the access file, and never outside of the output folder.
fn folder(cluster: &Cluster) -> Result<(), Failed> {
    inside(&cluster.folder, &cluster.output).map_err(Failed::configuration)?;
    let parent = cluster.output.parent().unwrap_or(&cluster.folder);
    super::files::folders(parent).map_err(|error| {
        Failed::host(format!(
            "cannot make the folder {}: {error}",
            parent.display()
        ))
    })?;
    inside(&cluster.folder, &cluster.output).map_err(Failed::configuration)
}

fn synced(outcome: Outcome) -> Synced {
    let summary = &outcome.summary;
    let unread = summary
        .unread
        .iter()
        .map(|unread| format!("{} was not read: {}", unread.kind, unread.message));
    let warnings = summary.warnings.iter().map(|warning| match warning.count {
        0 | 1 => warning.message.clone(),
        count => format!("{} ({count} times)", warning.message),
    });
    let warnings = unread
        .chain(warnings)
        .map(|text| crate::sandbox::clean(&text, 1_000))
        .collect();
    Synced {
        good: Good {
            at: Timestamp::now(),
            seconds: summary.seconds,
            objects: summary.objects,
            entitlements: summary.entitlements,
            grants: summary.grants,
            bytes: summary.file_bytes,
            file: summary.file.clone(),
        },
        warnings,
    }
}

/// Shows on the board what a sync does.
struct Watcher<'s> {
    board: &'s Board,
    cluster: &'s Cluster,
    since: Timestamp,
    phase: Phase,
    /// Rows of the phase's finished kinds, and of the one that is listed.
    before: u64,
    current: u64,
    kind: String,
}

impl Watcher<'_> {
    fn show(&self) {
        let (phase, rows, since) = (self.phase, self.before + self.current, self.since);
        self.board.update(&self.cluster.id, |status| {
            status.state = State::Syncing { phase, rows, since };
            status.next = None;
        });
    }
}

impl Progress for Watcher<'_> {
    fn phase(&mut self, phase: Phase) {
        self.phase = phase;
        (self.before, self.current) = (0, 0);
        self.kind.clear();
        self.show();
    }

    fn found(&mut self, _phase: Phase, kind: &str, count: u64) {
        if self.kind != kind {
            self.before += self.current;
            kind.clone_into(&mut self.kind);
        }
        self.current = count;
        self.show();
    }
}

/// How a sync ended, for the numbers.
pub(super) fn result_of(result: &Result<Synced, Failed>) -> SyncResult {
    match result {
        Ok(_) => SyncResult::Succeeded,
        Err(failed) if failed.cancelled => SyncResult::Cancelled,
        Err(_) => SyncResult::Failed,
    }
}
