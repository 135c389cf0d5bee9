//! Clusters by rule: all of an account in some regions.
//!
//! The host asks with a session of its own that may list clusters and nothing
//! else. What one look cannot say, an outage of a region for example, the look
//! before it said: a cluster is gone only when EKS lists the others without it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;
use jiff::Timestamp;

use super::board::RuleStatus;
use super::cluster::{Cluster, ClusterId};
use super::config::{Config, Rule, reader};
use super::failed::Failed;
use super::shard::Shard;
use super::status::{StatusFile, found_in};
use super::{config, settings};
use crate::credentials::HttpClients;
use crate::credentials::{Session, SessionConfig};
use crate::job::{self, JobError};
use crate::upstream::Rates;

/// What such a session may do.
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["eks:ListClusters"],"Resource":"*"}]}"#;

/// Looks by rules, and remembers.
pub struct Discovery {
    environment: BTreeMap<String, String>,
    rates: Arc<Rates>,
    http: HttpClients,
    shard: Shard,
    /// Names by rule, account and region.
    known: Mutex<BTreeMap<(String, String, String), Vec<String>>>,
}

/// What one look by a rule found: names by region.
type Look = Vec<(String, Result<Vec<String>, Failed>)>;

/// What the rules of a file found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Clusters of this shard that the file does not list itself.
    pub clusters: Vec<Cluster>,
    /// Each rule and how it went.
    pub rules: Vec<RuleStatus>,
    /// What somebody should know.
    pub warnings: Vec<String>,
}

impl Discovery {
    /// For one shard of a fleet.
    #[must_use]
    pub fn new(environment: BTreeMap<String, String>, shard: Shard) -> Discovery {
        Discovery {
            environment,
            rates: Arc::default(),
            http: HttpClients::new(),
            shard,
            known: Mutex::default(),
        }
    }

    /// Looks by all rules at once, and leaves a status file for each cluster
    /// found, so that it is known before it is synced.
    pub async fn look(&self, config: &Config) -> Found {
        let looks = config.rules.iter().map(|rule| self.look_by(rule));
        let looks = join_all(looks).await;
        self.settle(config, looks)
    }

    /// What is known without looking: from the status files of earlier looks.
    #[must_use]
    pub fn remembered(&self, config: &Config) -> Found {
        let mut found = Found::default();
        let mut seen = listed(config);
        for rule in &config.rules {
            let mut names = 0;
            for status in found_in(rule.folder(), &rule.name).into_values() {
                let parts: Vec<&str> = status.id.as_str().splitn(3, '/').collect();
                let [account, region, name] = parts.as_slice() else {
                    continue;
                };
                if *account != rule.account || status.gone.is_some() || !rule_of(&status, rule) {
                    continue;
                }
                if let Ok(cluster) = rule.cluster(region, name)
                    && cluster.arn() == status.arn
                    && self.shard.keeps(&status.arn)
                    && seen.insert(cluster.id.clone())
                    && written(config, &cluster).is_none()
                {
                    names += 1;
                    found.clusters.push(cluster);
                }
            }
            found.rules.push(RuleStatus {
                name: rule.name.clone(),
                account: rule.account.clone(),
                regions: rule.regions.clone(),
                found: names,
                looked: None,
                last_failure: None,
            });
        }
        found
    }

    async fn look_by(&self, rule: &Rule) -> Look {
        let regions = rule.regions.iter().map(async |region| {
            let names = self.look_in(rule, region).await;
            (region.clone(), names)
        });
        join_all(regions).await
    }

    async fn look_in(&self, rule: &Rule, region: &str) -> Result<Vec<String>, Failed> {
        let env = settings::surroundings(rule.credentials(), &self.environment);
        let aws = settings::aws(rule.credentials(), &self.environment)?;
        let mut session = SessionConfig::new(aws, region, "discovery");
        session.policy = Some(POLICY.to_owned());
        session.env = env.clone();
        session.http = self.http.clone();
        let session = Arc::new(Session::new(session).map_err(JobError::from)?);
        let caller = session.caller_identity().await.map_err(JobError::from)?;
        if caller.account != rule.account {
            return Err(Failed::configuration(format!(
                "the credentials belong to account {}, and the rule is for {}",
                caller.account, rule.account
            ))
            .hint("correct `account`, or use credentials of the clusters' account"));
        }
        let upstreams = job::upstreams_of_host(
            &session,
            &env,
            region,
            &rule.account,
            "discovery",
            self.rates.clone(),
        )?;
        Ok(upstreams.list_clusters().await.map_err(JobError::from)?)
    }

    fn settle(&self, config: &Config, looks: Vec<Look>) -> Found {
        let mut found = Found::default();
        let mut seen = listed(config);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Timestamp::now();
        for (rule, regions) in config.rules.iter().zip(looks) {
            let mut failures = Vec::new();
            let mut here: BTreeSet<PathBuf> = BTreeSet::new();
            let mut count = 0;
            for (region, names) in regions {
                let key = (rule.name.clone(), rule.account.clone(), region.clone());
                let names = match names {
                    Ok(names) => {
                        known.insert(key, names.clone());
                        names
                    }
                    Err(failed) => {
                        failures.push((region.clone(), failed));
                        let before = known.get(&key).cloned();
                        before.unwrap_or_else(|| names_in(rule, &region))
                    }
                };
                for name in names {
                    let cluster = match rule.cluster(&region, &name) {
                        Ok(cluster) => cluster,
                        Err(why) => {
                            found.warnings.push(why);
                            continue;
                        }
                    };
                    count += 1;
                    here.insert(cluster.status_file());
                    if !self.shard.keeps(&cluster.arn()) || !seen.insert(cluster.id.clone()) {
                        continue;
                    }
                    match written(config, &cluster) {
                        None => found.clusters.push(cluster),
                        Some(why) => found.warnings.push(why),
                    }
                }
            }
            if failures.is_empty() {
                retire(rule, &here, self.shard, now);
            }
            found.rules.push(RuleStatus {
                name: rule.name.clone(),
                account: rule.account.clone(),
                regions: rule.regions.clone(),
                found: count,
                looked: failures.is_empty().then_some(now),
                last_failure: failure(&failures).map(|failed| failed.at(now)),
            });
        }
        found.warnings.extend(namesakes(config, &found.clusters));
        for cluster in &found.clusters {
            if let Err(why) = remember(cluster) {
                found.warnings.push(why);
            }
        }
        found
    }
}

/// Why a cluster that was found cannot be written: one of the file has its
/// access file already.
fn written(config: &Config, cluster: &Cluster) -> Option<String> {
    let other = config
        .clusters
        .iter()
        .find(|listed| listed.output == cluster.output && listed.id != cluster.id)?;
    Some(format!(
        "{} is not synced: {} writes its access file {}",
        cluster.id,
        other.id,
        cluster.output.display()
    ))
}

/// Clusters of one name that one role reads: see `config::resolve`.
fn namesakes(config: &Config, found: &[Cluster]) -> Vec<String> {
    let mut seen: BTreeMap<(String, &str), &ClusterId> = config
        .clusters
        .iter()
        .map(|cluster| ((reader(cluster), cluster.name.as_str()), &cluster.id))
        .collect();
    let mut warnings = Vec::new();
    for cluster in found {
        let reader = reader(cluster);
        let key = (reader.clone(), cluster.name.as_str());
        if let Some(other) = seen.insert(key, &cluster.id) {
            warnings.push(format!(
                "{reader} reads {other} and {}: whoever runs one of them can use at the other the token that it receives (SECURITY.md)",
                cluster.id
            ));
        }
    }
    warnings
}

/// What earlier looks found in a region, another process's too.
fn names_in(rule: &Rule, region: &str) -> Vec<String> {
    found_in(rule.folder(), &rule.name)
        .into_values()
        .filter(|status| status.gone.is_none())
        .filter_map(|status| {
            let name = status.arn.rsplit_once('/')?.1.to_owned();
            let cluster = rule.cluster(region, &name).ok()?;
            (cluster.arn() == status.arn).then_some(name)
        })
        .collect()
}

/// Leaves a status file that says that a cluster was found.
fn remember(cluster: &Cluster) -> Result<(), String> {
    let path = cluster.status_file();
    let status = StatusFile::of(cluster);
    if StatusFile::read(&path).as_ref() == Some(&status) {
        return Ok(());
    }
    config::inside(&cluster.folder, &path)?;
    status
        .write(&path)
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Says in the status files of what a rule found once that it is gone. The
/// access files stay.
fn retire(rule: &Rule, here: &BTreeSet<PathBuf>, shard: Shard, now: Timestamp) {
    for (path, mut status) in found_in(rule.folder(), &rule.name) {
        let ours = rule_of(&status, rule) && shard.keeps(&status.arn);
        if status.gone.is_none() && !here.contains(&path) && ours {
            status.gone = Some(now);
            if let Err(error) = status.write(&path) {
                tracing::warn!("cannot write {}: {error}", path.display());
            }
        }
    }
}

/// Whether a status is of a cluster that this rule would find.
fn rule_of(status: &StatusFile, rule: &Rule) -> bool {
    let parts: Vec<&str> = status.id.as_str().splitn(3, '/').collect();
    matches!(parts.as_slice(), [account, region, _]
        if *account == rule.account && rule.regions.iter().any(|own| own == region))
}

/// All failures of a rule as one.
fn failure(failures: &[(String, Failed)]) -> Option<Failed> {
    let (_, first) = failures.first()?;
    let texts: Vec<String> = failures
        .iter()
        .map(|(region, failed)| format!("{region}: {}", failed.message))
        .collect();
    Some(Failed {
        message: texts.join("; "),
        ..first.clone()
    })
}

fn listed(config: &Config) -> BTreeSet<ClusterId> {
    let clusters = config.clusters.iter().map(|cluster| cluster.id.clone());
    let broken = config.broken.iter().map(|broken| broken.id.clone());
    clusters.chain(broken).collect()
}
