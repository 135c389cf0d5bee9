//! One cluster, from settings to an access file: where the parts meet.
//!
//! [`connect`] makes credentials and upstreams out of settings and rights;
//! [`sync`] runs a plugin over them in a fresh store. The command line uses
//! nothing else, and neither must anybody who embeds the host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::c1z::FileOptions;
use crate::credentials::HttpClients;
use crate::credentials::endpoints::Service;
use crate::credentials::env::Env;
use crate::credentials::error::CredentialError;
use crate::credentials::session::{Purpose, Renewals, Session, SessionConfig};
use crate::credentials::settings::AwsSettings;
use crate::credentials::sts::CallerIdentity;
use crate::plugin::{Plugin, attribute};
use crate::sandbox::contract::types::{Descriptor, Setting};
use crate::sandbox::{Limits, Observer, Sandbox, Task, Usage};
use crate::sync::{Facts, Options, Progress, Summary, SyncError};
use crate::upstream::permissions::{Scope, session_policy};
use crate::upstream::rights::{Declared, Granted, Group, Right, RightsError, distinct};
use crate::upstream::{self, Endpoint, Proxies, Rates, Trust, UpstreamError, Upstreams};

/// What to read, with what.
#[derive(Clone)]
pub struct Job {
    /// The connector and its approval.
    pub plugin: Plugin,
    /// Values of the connector's settings.
    pub settings: BTreeMap<String, String>,
    /// The settings of the kind `aws`.
    pub aws: AwsSettings,
    /// The environment that ambient credentials and endpoints come from.
    pub env: Env,
    /// Rates of the process: jobs of one account share them.
    pub rates: Arc<Rates>,
    /// The clients that credentials are fetched with, for all jobs of the
    /// process.
    pub http: HttpClients,
    /// What the sandbox of one task may use.
    pub limits: Limits,
}

/// Why a job does not start or does not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// Settings that are missing or wrong, all at once.
    #[error("{}", .0.join("; "))]
    Settings(Vec<String>),
    /// The plugin declares what no plugin gets.
    #[error(transparent)]
    Rights(#[from] RightsError),
    /// No credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// An upstream does not answer as it should.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The plugin does not start.
    #[error("the connector does not start: {0}")]
    Start(#[source] crate::sandbox::CallError),
    /// The sync failed.
    #[error("{source}")]
    Sync {
        /// Where and why.
        source: Box<SyncError>,
        /// What the boundary or the network said last; often the cause.
        problems: Vec<String>,
    },
}

/// Credentials and upstreams of one cluster, for one task.
pub struct Connection {
    /// The way out.
    pub upstreams: Upstreams,
    /// Who we are, as STS says.
    pub caller: CallerIdentity,
    /// The credentials.
    pub session: Arc<Session>,
    /// The region of the cluster.
    pub region: String,
    /// The cluster's name.
    pub cluster: String,
}

/// A sync and what it cost.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// What was found.
    #[serde(flatten)]
    pub summary: Summary,
    /// What was asked of the upstreams.
    pub upstreams: upstream::Snapshot,
    /// How often credentials and tokens were fetched.
    pub renewals: Renewals,
    /// The most memory of the sandbox, in bytes.
    pub sandbox_memory: usize,
    /// CPU time of the sandbox, in milliseconds, rounded up to slices of ten.
    pub sandbox_cpu_ms: u64,
}

/// The upstreams of a descriptor, checked against the ceiling.
///
/// # Errors
/// When the plugin declares a kind or a right that no plugin gets.
pub fn declared(descriptor: &Descriptor) -> Result<Vec<Declared>, RightsError> {
    let declared = descriptor
        .upstreams
        .iter()
        .map(|upstream| {
            Declared::check(
                &upstream.name,
                &upstream.kind,
                &upstream.attributes,
                upstream
                    .rights
                    .iter()
                    .map(|right| (right.group.as_str(), right.allow.as_str())),
            )
        })
        .collect::<Result<Vec<_>, _>>()?;
    distinct(&declared)?;
    Ok(declared)
}

/// What is left of the declaration after the operator's approval.
#[must_use]
pub fn granted(plugin: &Plugin, declared: &[Declared]) -> Vec<Granted> {
    declared
        .iter()
        .map(|upstream| {
            let groups: BTreeSet<Group> = plugin
                .approval
                .groups
                .iter()
                .filter_map(|group| Group::parse(group))
                .collect();
            let mut granted = upstream.approved(&crate::upstream::rights::Approval::groups(groups));
            granted.rights.retain(|right| {
                plugin
                    .approval
                    .allows(&upstream.name, right.group.name(), right.words)
            });
            granted
        })
        .collect()
}

/// All rights of all upstreams, each once.
#[must_use]
pub fn rights(granted: &[Granted]) -> Vec<&'static Right> {
    let mut rights: Vec<&'static Right> = Vec::new();
    for right in granted.iter().flat_map(|upstream| &upstream.rights) {
        if !rights.contains(right) {
            rights.push(right);
        }
    }
    rights
}

/// Region and cluster of a job.
///
/// # Errors
/// [`JobError::Settings`] with everything that is missing or not understood.
pub fn place(job: &Job, declared: &[Declared]) -> Result<(String, String), JobError> {
    let descriptor = job.plugin.component.descriptor();
    let mut problems: Vec<String> = descriptor
        .settings
        .iter()
        .filter(|setting| {
            setting.required
                && attribute(&setting.attributes, "default").is_none()
                && !job.settings.contains_key(&setting.name)
        })
        .map(|setting| format!("{} is missing", setting.name))
        .collect();
    let find = |setting: fn(&Declared) -> Option<&String>| {
        declared
            .iter()
            .find_map(setting)
            .and_then(|name| job.settings.get(name))
            .cloned()
    };
    let region = find(|upstream| upstream.region_setting.as_ref());
    let cluster = find(|upstream| upstream.cluster_setting.as_ref());
    if problems.is_empty() && (region.is_none() || cluster.is_none()) {
        problems.push(format!(
            "{} names no setting for region and cluster",
            descriptor.name
        ));
    }
    if let Some(cluster) = &cluster
        && !cluster_name(cluster)
    {
        problems.push(
            "the cluster's name has 1 to 100 letters, digits, `-` and `_`, and begins with a letter or digit"
                .to_owned(),
        );
    }
    match (region, cluster) {
        (Some(region), Some(cluster)) if problems.is_empty() => Ok((region, cluster)),
        _ => Err(JobError::Settings(problems)),
    }
}

/// EKS: `^[0-9A-Za-z][A-Za-z0-9\-_]*`, at most 100 characters.
fn cluster_name(name: &str) -> bool {
    name.len() <= 100
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Makes the session of a job, narrowed to what the plugin may do: for
/// reading, or for what it may plan as well.
///
/// # Errors
/// Settings, endpoints or roles that make no sense.
pub fn session(
    job: &Job,
    granted: &[Granted],
    region: &str,
    cluster: &str,
    purpose: Purpose,
) -> Result<Session, JobError> {
    let mut config = SessionConfig::new(job.aws.clone(), region, cluster);
    config.env = job.env.clone();
    config.http = job.http.clone();
    config.purpose = purpose;
    let partition = crate::credentials::endpoints::partition(region);
    let role = match purpose {
        Purpose::Provision => job.aws.provisioning_role_arn.as_deref(),
        Purpose::Read => None,
    };
    // The role's account is the cluster's; without a role nothing is narrowed.
    let account = role
        .or(job.aws.role_arn.as_deref())
        .and_then(|arn| arn.split(':').nth(4))
        .unwrap_or("*");
    // A session that reads: whatever else was approved, AWS refuses it.
    let mut allowed: Vec<&'static Right> = rights(granted);
    allowed.retain(|right| purpose == Purpose::Provision || !right.writes());
    config.policy = Some(session_policy(
        &allowed,
        &Scope {
            partition: partition.name,
            region,
            account,
            cluster,
        },
    ));
    Ok(Session::new(config)?)
}

/// Credentials, caller and upstreams, for reading. Asks STS who we are; the
/// rest is asked when it is needed.
///
/// Must run on the I/O runtime.
///
/// # Errors
/// See [`JobError`].
pub async fn connect(job: &Job) -> Result<Connection, JobError> {
    connect_for(job, Purpose::Read, "sync").await
}

/// The same for an order of provisioning: with the role for that, where there
/// is one, and a session that may do what the plugin may plan. The operation's
/// id is in every request.
///
/// # Errors
/// See [`JobError`].
pub async fn connect_to_provision(job: &Job, operation: &str) -> Result<Connection, JobError> {
    connect_for(job, Purpose::Provision, &format!("operation {operation}")).await
}

async fn connect_for(job: &Job, purpose: Purpose, task: &str) -> Result<Connection, JobError> {
    let descriptor = job.plugin.component.descriptor();
    let declared = declared(descriptor)?;
    let granted = granted(&job.plugin, &declared);
    let (region, cluster) = place(job, &declared)?;
    let session = Arc::new(session(job, &granted, &region, &cluster, purpose)?);
    let caller = session.caller_identity().await?;
    if !session.is_narrowed() {
        tracing::warn!(
            "no role is assumed, so AWS cannot narrow the session to what the plugin may do; set role-arn"
        );
    }
    let upstreams = upstreams(
        &session,
        &job.env,
        TaskNames {
            plugin: format!("{} {}", descriptor.name, descriptor.version),
            granted,
            cluster: cluster.clone(),
            region: region.clone(),
            account: caller.account.clone(),
            task: task.to_owned(),
        },
        job.rates.clone(),
    )?;
    Ok(Connection {
        upstreams,
        caller,
        session,
        region,
        cluster,
    })
}

/// Who asks, what for and where.
struct TaskNames {
    plugin: String,
    granted: Vec<Granted>,
    cluster: String,
    region: String,
    account: String,
    task: String,
}

fn upstreams(
    session: &Arc<Session>,
    env: &Env,
    names: TaskNames,
    rates: Arc<Rates>,
) -> Result<Upstreams, JobError> {
    let endpoints = session.endpoints();
    let endpoint = |service| {
        Ok::<_, JobError>(Endpoint {
            url: endpoints.url(service).map_err(CredentialError::from)?,
            signing_region: endpoints.signing_region(service).to_owned(),
        })
    };
    Ok(Upstreams::new(upstream::TaskUpstreams {
        plugin: names.plugin,
        granted: names.granted,
        cluster: names.cluster,
        region: names.region,
        account: names.account,
        eks: endpoint(Service::Eks)?,
        iam: endpoint(Service::Iam)?,
        aws_trust: trust(env)?,
        proxies: Proxies::from_env(),
        auth: session.clone(),
        rates,
        io: tokio::runtime::Handle::current(),
        task: names.task,
        limits: upstream::Limits::default(),
    })?)
}

/// The upstreams of an account for questions of the host's own: no plugin has
/// a right in them. The session is the caller's, narrowed to its question.
///
/// Must run on the I/O runtime.
///
/// # Errors
/// See [`JobError`].
pub fn upstreams_of_host(
    session: &Arc<Session>,
    env: &Env,
    region: &str,
    account: &str,
    task: &str,
    rates: Arc<Rates>,
) -> Result<Upstreams, JobError> {
    let names = TaskNames {
        plugin: "baton-host".to_owned(),
        granted: Vec::new(),
        cluster: String::new(),
        region: region.to_owned(),
        account: account.to_owned(),
        task: task.to_owned(),
    };
    upstreams(session, env, names, rates)
}

/// `AWS_CA_BUNDLE`, for private gateways in front of AWS.
fn trust(env: &Env) -> Result<Trust, JobError> {
    let Some(path) = env.get("AWS_CA_BUNDLE") else {
        return Ok(Trust::System);
    };
    std::fs::read(&path).map(Trust::SystemAnd).map_err(|error| {
        JobError::Settings(vec![format!(
            "AWS_CA_BUNDLE names {path}, which cannot be read: {error}"
        )])
    })
}

/// Syncs over a connection into a file, in a fresh store.
///
/// # Errors
/// See [`JobError`]; the file on disk is then as it was.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a part of its own, named at the call"
)]
pub async fn sync<P: Progress>(
    sandbox: &Sandbox,
    job: &Job,
    connection: &Connection,
    options: &Options,
    file: &Path,
    file_options: &FileOptions,
    observer: Arc<dyn Observer>,
    progress: &mut P,
) -> Result<Outcome, JobError> {
    let component = &job.plugin.component;
    let mut task = Task::start(
        sandbox,
        component,
        Arc::new(connection.upstreams.clone()),
        job.limits.clone(),
        observer,
    )
    .await
    .map_err(JobError::Start)?;
    let settings = job
        .settings
        .iter()
        .map(|(name, value)| Setting {
            name: name.clone(),
            value: value.clone(),
        })
        .collect();
    let facts = Facts {
        host_version: env!("CARGO_PKG_VERSION").to_owned(),
        plugin_digest: Some(component.digest().to_owned()),
        caller: Some(connection.caller.arn.clone()),
    };
    let result = crate::sync::run(
        &mut task,
        component.descriptor(),
        settings,
        options,
        &facts,
        file,
        file_options,
        progress,
    )
    .await;
    let stats = connection.upstreams.stats();
    let Usage { memory, slices } = task.usage();
    match result {
        Ok(summary) => Ok(Outcome {
            summary,
            upstreams: stats,
            renewals: connection.session.renewals(),
            sandbox_memory: memory,
            sandbox_cpu_ms: slices * 10,
        }),
        Err(source) => Err(JobError::Sync {
            source: Box::new(source),
            problems: stats.problems,
        }),
    }
}
