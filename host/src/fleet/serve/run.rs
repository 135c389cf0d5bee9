//! A fleet that is kept up to date until somebody ends it: the configuration
//! and its changes, the rules and what they find, the start and the end.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::health::{Life, Phase};
use super::listen::Bound;
use super::watch::Watch;
use crate::fleet::board::{Board, ConfigurationState};
use crate::fleet::cluster::{Cluster, ClusterId};
use crate::fleet::config::{Broken, Config, Mistake, Mistakes};
use crate::fleet::discover::{Discovery, Found};
use crate::fleet::scheduler::{Scheduler, SchedulerOptions};
use crate::fleet::shard::Shard;
use crate::fleet::stop::Stop;
use crate::sandbox::{Sandbox, clean};

/// Between two looks at the files of the configuration. A change counts when
/// two looks agree.
const FILES: Duration = Duration::from_secs(1);
/// Between two looks by the rules that find clusters: one call for each region.
const RULES: Duration = Duration::from_secs(15 * 60);
/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(1);
/// What may come between two syncs beside the schedule: the queue, retries,
/// the sync itself.
const MARGIN: Duration = Duration::from_secs(60 * 60);

/// What to keep up to date, and how.
pub struct Serving {
    /// The fleet file.
    pub file: PathBuf,
    /// The part of it that is ours.
    pub shard: Shard,
    /// Where to answer.
    pub listen: Bound,
    /// How long running syncs may go on after a stop.
    pub grace: Duration,
    /// What clusters run in.
    pub sandbox: Sandbox,
    /// What references and ambient credentials lead to.
    pub environment: BTreeMap<String, String>,
    /// Names that no setting of a plugin may take.
    pub reserved: Vec<String>,
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The fleet file cannot be used at all.
    #[error(transparent)]
    Configuration(#[from] Mistakes),
    /// The machine gives no thread.
    #[error("cannot start the thread that answers: {0}")]
    Thread(#[from] std::io::Error),
}

type Looking = Pin<Box<dyn Future<Output = Found> + Send>>;

/// Stops a task when it is dropped.
struct Background(tokio::task::JoinHandle<()>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serves until a stop. Reads its file again when `reload` is notified, and
/// when it has changed.
///
/// # Errors
/// The configuration cannot be read at the start. Later it is only told.
pub async fn serve(serving: Serving, reload: Arc<Notify>, stop: Stop) -> Result<(), ServeError> {
    let watch = Watch::new(&serving.file);
    let config = Config::read(&serving.file)?;
    let board = Arc::new(Board::new());
    let life = Arc::new(Life::new());
    let address = serving.listen.address();
    let server = super::answer(serving.listen, board.clone(), life.clone())?;
    tracing::info!(url = %format_args!("http://{address}/"), "serving");
    let scheduler = Scheduler::new(
        serving.sandbox,
        board.clone(),
        SchedulerOptions::forever(serving.environment.clone(), serving.reserved, serving.grace),
    );
    let beats = life.clone();
    let _pulse = Background(tokio::spawn(async move {
        let mut beat = tokio::time::interval(BEAT);
        loop {
            beat.tick().await;
            beats.beat();
        }
    }));
    let keeper = Keeper {
        file: serving.file,
        shard: serving.shard,
        discovery: Arc::new(Discovery::new(serving.environment, serving.shard)),
        scheduler: scheduler.clone(),
        board,
        life: life.clone(),
        watch,
        plugins: Vec::new(),
        lock: None,
    };
    tokio::select! {
        () = stop.wanted() => {}
        () = keeper.keep(config, &reload) => {}
    }
    life.enter(Phase::Stopping);
    tracing::info!(grace = serving.grace.as_secs(), "stopping");
    let outcome = scheduler.run(stop).await;
    tracing::info!(given_up = outcome.stopped.len(), "stopped");
    drop(server);
    Ok(())
}

struct Keeper {
    file: PathBuf,
    shard: Shard,
    discovery: Arc<Discovery>,
    scheduler: Scheduler,
    board: Arc<Board>,
    life: Arc<Life>,
    watch: Watch,
    /// Which cluster runs which plugin.
    plugins: Vec<(ClusterId, PathBuf)>,
    /// The lock beside the fleet file, where it is in force.
    lock: Option<PathBuf>,
}

impl Keeper {
    /// For ever.
    async fn keep(mut self, config: Config, reload: &Notify) {
        let mut config = Arc::new(config);
        for mistake in config.mistakes() {
            tracing::error!("{}", clean(&mistake.line(&self.file), 2_000));
        }
        let mut looking = self.take(&config).await;
        let (scheduler, life) = (self.scheduler.clone(), self.life.clone());
        let _warming = Background(tokio::spawn(async move {
            scheduler.warm().await;
            life.enter(Phase::Serving);
        }));
        let mut tick = tokio::time::interval(FILES);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let read = tokio::select! {
                found = &mut looking => {
                    self.replace(&config, found).await;
                    looking = self.look(&config, RULES);
                    None
                }
                () = reload.notified() => Some(self.watch.reloading()),
                _ = tick.tick() => self.watch.changed(),
            };
            if let Some(others) = read
                && let Some(new) = self.read()
            {
                config = Arc::new(new);
                looking = self.take(&config).await;
                self.begin_anew(&others);
            }
        }
    }

    /// Clusters whose plugin is another file now need not wait for their time
    /// to run it, or to say that it is not approved.
    fn begin_anew(&self, others: &[PathBuf]) {
        for (id, plugin) in &self.plugins {
            if others.contains(plugin) {
                // One that is no longer there needs nothing.
                let _ = self.scheduler.nudge(id);
            }
        }
    }

    /// The configuration on disk, if nothing at all is wrong with it: one that
    /// serves already is not given up for one with a mistake.
    fn read(&self) -> Option<Config> {
        let read = Config::read(&self.file).and_then(Config::whole);
        match read.and_then(|config| self.locked(config)) {
            Ok(config) => Some(config),
            Err(mistakes) => {
                self.life.loaded(false);
                for mistake in &mistakes.mistakes {
                    let line = clean(&mistake.line(&mistakes.path), 2_000);
                    tracing::error!("the configuration goes on as it was: {line}");
                }
                let lines = mistakes.to_string().replace('\n', "; ");
                self.board
                    .update_configuration(|state| state.last_error = Some(lines));
                None
            }
        }
    }

    /// A lock that nobody names is in force by being there. That it goes, by a
    /// mishap or somebody's hand, must not let every plugin run.
    fn locked(&self, config: Config) -> Result<Config, Mistakes> {
        let free = config.clusters.iter().any(|cluster| cluster.lock.is_none())
            || config.rules.iter().any(|rule| rule.lock().is_none());
        match &self.lock {
            Some(lock) if free && !lock.is_file() => Err(Mistakes {
                path: config.path,
                mistakes: vec![Mistake {
                    line: 1,
                    column: 1,
                    message: format!("the lock {} is gone", lock.display()),
                    hint: Some("put it back; to run without one, restart the process".to_owned()),
                }],
            }),
            _ => Ok(config),
        }
    }

    /// Puts a configuration in force, with what its rules found earlier, and
    /// begins to look by them.
    async fn take(&mut self, config: &Arc<Config>) -> Looking {
        self.life.loaded(true);
        self.board.set_configuration(ConfigurationState {
            path: config.path.clone(),
            loaded_at: Some(Timestamp::now()),
            last_error: None,
        });
        for warning in &config.warnings {
            tracing::warn!("{}", clean(&warning.line(&config.path), 2_000));
        }
        let found = self.discovery.remembered(config);
        let (clusters, rules) = (config.clusters.len(), config.rules.len());
        self.replace(config, found).await;
        tracing::info!(clusters, rules, "the configuration is loaded");
        self.look(config, Duration::ZERO)
    }

    /// Looks by the rules, after a while.
    fn look(&self, config: &Arc<Config>, after: Duration) -> Looking {
        let (discovery, config) = (self.discovery.clone(), config.clone());
        Box::pin(async move {
            if config.rules.is_empty() {
                return std::future::pending().await;
            }
            tokio::time::sleep(after).await;
            discovery.look(&config).await
        })
    }

    /// The clusters from now on: those of the file and those that were found.
    async fn replace(&mut self, config: &Config, found: Found) {
        for warning in &found.warnings {
            tracing::warn!("{}", clean(warning, 2_000));
        }
        for rule in &found.rules {
            if let Some(failure) = &rule.last_failure {
                tracing::warn!(rule = %clean(&rule.name, 200), "{}", clean(&failure.message, 2_000));
            }
        }
        self.board.set_rules(found.rules);
        let ours = |cluster: &&Cluster| self.shard.keeps(&cluster.arn());
        let mut clusters: Vec<Cluster> = config.clusters.iter().filter(ours).cloned().collect();
        clusters.extend(found.clusters);
        // Each is shown by one shard, whether its ARN is known or not.
        let broken: Vec<Broken> = config
            .broken
            .iter()
            .filter(|broken| self.shard.keeps(broken.id.as_str()))
            .cloned()
            .collect();
        let longest = clusters
            .iter()
            .map(|cluster| cluster.schedule.every + cluster.schedule.jitter)
            .max()
            .unwrap_or_default();
        self.life.set_patience(2 * longest + MARGIN);
        // The lock that counts where none is named may come later.
        let lock = config.path.with_file_name("baton.lock");
        let named = clusters.iter().flat_map(|cluster| {
            [Some(cluster.plugin.clone()), cluster.lock.clone()]
                .into_iter()
                .flatten()
        });
        let in_force = clusters
            .iter()
            .any(|cluster| cluster.lock.as_ref() == Some(&lock));
        self.lock = in_force.then(|| lock.clone());
        self.watch.beside(named.chain([lock]));
        self.plugins = clusters
            .iter()
            .map(|cluster| (cluster.id.clone(), cluster.plugin.clone()))
            .collect();
        self.scheduler.replace_with(clusters, broken).await;
    }
}
