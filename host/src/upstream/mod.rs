//! Everything a plugin says to the world passes through here: parse, decide,
//! rebuild, sign, send, and clean the answer.
//!
//! `rights` is what may be said, `operation` recognises and decides,
//! `exchange` sends with `client`, `rate` and `retry`, `answer` cleans what
//! comes back. A guest's bytes never go out and an upstream's never go in as
//! they are. The price is that an upstream kind is host code; the gain is one
//! page that says all a plugin can do.

mod answer;
pub mod auth;
mod client;
mod cluster;
mod clusters;
mod dial;
pub mod error;
mod exchange;
mod host;
pub mod operation;
pub mod permissions;
mod rate;
mod retry;
pub mod rights;
mod stats;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http::HeaderValue;
use hyper_util::client::proxy::matcher::Matcher;
use tokio::sync::OnceCell;
use url::Url;

pub use cluster::{Access, ClusterInfo};
pub use dial::Trust;
pub use error::UpstreamError;
pub use exchange::Limits;
pub(crate) use host::{Outcome, Read, Reply};
pub use rate::Rates;
pub use retry::Policy;
pub use stats::{Counts, Snapshot};

use answer::{Budget, Clean};
use auth::Auth;
use client::Client;
use exchange::{Outgoing, Shared, Wire};
use operation::{Denial, Operation};
use rights::{Granted, Kind};
use stats::Stats;

/// A request of a plugin that gets no answer of an upstream. The guest sees
/// one of the error codes of `wasi:http`; the reason goes to the host's log
/// and audit.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// Not an operation that this plugin may make.
    #[error("{0}")]
    Denied(String),
    /// The request or the answer is larger than the limit, in bytes.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// `request` or `answer`.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// Too many requests of this instance are in flight.
    #[error("more than {0} requests in flight")]
    TooMany(usize),
    /// The upstream gave no answer in time, retries included.
    #[error("no answer in time: {0}")]
    Timeout(String),
    /// The upstream cannot be reached, or trust in it fails.
    #[error("{0}")]
    Unreachable(String),
}

/// The way out of one task's sandbox. The authority of the request is the name
/// of an upstream.
pub trait Egress: Send + Sync + 'static {
    /// Decides on a request and, if it may be made, returns the upstream's
    /// cleaned answer. Runs on the I/O runtime.
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, Refusal>> + Send + 'static>>;
}

/// Where a service of AWS is. A plain `http` URL is taken: only an override in
/// the operator's configuration can be one.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its URL.
    pub url: Url,
    /// The region to sign for.
    pub signing_region: String,
}

/// Everything that one task's upstreams are made of.
pub struct TaskUpstreams {
    /// The plugin's name and version, as refusals name it: `baton-eks 0.1.0`.
    pub plugin: String,
    /// What it may say to each of its upstreams.
    pub granted: Vec<Granted>,
    /// The session's cluster.
    pub cluster: String,
    /// The cluster's region.
    pub region: String,
    /// The account of the credentials, if it is known: tasks of one account
    /// share a rate.
    pub account: String,
    /// EKS.
    pub eks: Endpoint,
    /// IAM.
    pub iam: Endpoint,
    /// Trust in `eks` and `iam`.
    pub aws_trust: Trust,
    /// Proxies.
    pub proxies: Proxies,
    /// Signatures and tokens.
    pub auth: Arc<dyn Auth>,
    /// The process's rates.
    pub rates: Arc<Rates>,
    /// Where connections live.
    pub io: tokio::runtime::Handle,
    /// Ends in `User-Agent`, and so in CloudTrail and the cluster's audit log.
    pub task: String,
    /// Limits.
    pub limits: Limits,
}

/// Proxies for upstreams.
#[derive(Debug, Clone)]
pub struct Proxies(Arc<Matcher>);

impl Proxies {
    /// By `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, as curl
    /// reads them.
    pub fn from_env() -> Self {
        Self(Arc::new(Matcher::from_env()))
    }

    /// None.
    pub fn none() -> Self {
        Self(Arc::new(Matcher::builder().build()))
    }

    /// One for everything but the hosts of `no`, which is written as in
    /// `NO_PROXY`.
    pub fn all(proxy: &str, no: &str) -> Self {
        Self(Arc::new(Matcher::builder().all(proxy).no(no).build()))
    }
}

/// Refused requests of one task that get an audit record each: a guest can
/// make them as fast as it runs, and a log has to end somewhere.
const AUDITED: u64 = 10_000;

/// One task's upstreams.
#[derive(Clone)]
pub struct Upstreams(Arc<Inner>);

struct Inner {
    plugin: String,
    granted: Vec<Granted>,
    cluster: String,
    region: String,
    account: String,
    proxies: Proxies,
    rates: Arc<Rates>,
    io: tokio::runtime::Handle,
    shared: Shared,
    eks: Wire,
    iam: Wire,
    /// DescribeCluster's answer, by whoever asked first since it was forgotten.
    described: RwLock<Arc<OnceCell<Bytes>>>,
    api: OnceCell<Result<Arc<Wire>, UpstreamError>>,
}

impl Upstreams {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// When there is nothing to trust on this machine.
    pub fn new(task: TaskUpstreams) -> Result<Self, UpstreamError> {
        let agent = format!("baton-host/{} ({})", env!("CARGO_PKG_VERSION"), task.task);
        let agent = HeaderValue::try_from(agent).unwrap_or(HeaderValue::from_static("baton-host"));
        let wire = |kind: Kind, what: &str, endpoint: &Endpoint| {
            let name = task
                .granted
                .iter()
                .find(|granted| granted.kind == kind)
                .map(|granted| granted.name.clone());
            let address = endpoint.url.host_str().unwrap_or_default().to_owned();
            let client = Client::new(
                &task.aws_trust,
                task.proxies.0.clone(),
                task.io.clone(),
                task.limits.connect,
            );
            Ok::<Wire, UpstreamError>(Wire {
                kind,
                name: name.unwrap_or_else(|| what.to_lowercase()),
                what: what.to_owned(),
                base: endpoint.url.clone(),
                region: endpoint.signing_region.clone(),
                cluster: task.cluster.clone(),
                limiter: task.rates.of(&task.account, &address),
                client: client.map_err(|reason| UpstreamError::Trust {
                    what: what.to_owned(),
                    address,
                    reason,
                })?,
            })
        };
        let (eks, iam) = (
            wire(Kind::Eks, "EKS", &task.eks)?,
            wire(Kind::Iam, "IAM", &task.iam)?,
        );
        Ok(Self(Arc::new(Inner {
            plugin: task.plugin,
            granted: task.granted,
            cluster: task.cluster,
            region: task.region,
            account: task.account,
            proxies: task.proxies,
            rates: task.rates,
            io: task.io,
            shared: Shared {
                auth: task.auth,
                stats: Stats::default(),
                budget: Budget::new(task.limits.answers),
                limits: task.limits,
                agent,
            },
            eks,
            iam,
            described: RwLock::default(),
            api: OnceCell::new(),
        })))
    }

    /// What was asked so far.
    pub fn stats(&self) -> Snapshot {
        self.0.shared.stats.snapshot()
    }

    /// Where the cluster is and how it is. Asked once, until it is forgotten.
    ///
    /// # Errors
    /// One sentence for each way in which a cluster cannot be found.
    pub async fn describe_cluster(&self) -> Result<ClusterInfo, UpstreamError> {
        cluster::info(&self.0.description().await?)
    }

    /// The answer of the API server's `/version`, as JSON.
    ///
    /// # Errors
    /// Why the API server gives none.
    pub async fn version(&self) -> Result<Bytes, UpstreamError> {
        self.0.api_call(&cluster::version()).await
    }

    /// Whether the session's identity may do something in the cluster.
    ///
    /// # Errors
    /// Why the API server does not say.
    pub async fn self_subject_access_review(
        &self,
        access: &Access<'_>,
    ) -> Result<bool, UpstreamError> {
        let answer = self.0.api_call(&cluster::review(access)).await?;
        let review: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
        review
            .pointer("/status/allowed")
            .and_then(serde_json::Value::as_bool)
            .ok_or_else(|| UpstreamError::Answer {
                what: "the API server".to_owned(),
                reason: "a review without a decision".to_owned(),
            })
    }
}

/// An error of EKS, as it is rebuilt for plugins.
#[derive(serde::Deserialize, Default)]
struct Told {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Told {
    fn of(answer: &Clean) -> Self {
        serde_json::from_slice(answer.body()).unwrap_or_default()
    }

    /// Why a question of the host's own has no answer.
    fn refusal(self, status: http::StatusCode, right: &str) -> UpstreamError {
        let Self { code, message } = self;
        let what = "EKS".to_owned();
        match (status.as_u16(), code.as_str()) {
            (401 | 403, "AccessDeniedException" | "AccessDenied") => UpstreamError::NotPermitted {
                what,
                right: right.to_owned(),
                hint_line: message,
            },
            (401 | 403, _) => UpstreamError::Unauthenticated {
                what,
                hint_line: format!("{code}: {message}"),
            },
            (status, _) => UpstreamError::Answer {
                what,
                reason: format!("status {status}, {code}: {message}"),
            },
        }
    }
}

impl Egress for Upstreams {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, Refusal>> + Send + 'static>>
    {
        let inner = self.0.clone();
        Box::pin(exchange::SPAWNED.scope((), async move { inner.guest(request).await }))
    }
}

impl Inner {
    async fn guest(&self, request: http::Request<Bytes>) -> Result<Clean, Refusal> {
        let limit = self.shared.limits.in_flight;
        let Some(_under_way) = self.shared.stats.begin(limit) else {
            return Err(Refusal::TooMany(limit));
        };
        if request.body().len() > operation::MAX_BODY {
            return Err(Refusal::TooLarge {
                what: "request",
                limit: operation::MAX_BODY as u64,
            });
        }
        let operation = self.decide(&request)?;
        drop(request);
        tracing::debug!(target: "audit", upstream = %operation.right.kind, operation = operation.right.words,
            path = operation.path, decision = "allowed", plugin = self.plugin);
        self.perform(&operation).await.map_err(Refusal::from)
    }

    fn decide(&self, request: &http::Request<Bytes>) -> Result<Operation, Refusal> {
        let authority = request
            .uri()
            .authority()
            .map_or("", http::uri::Authority::as_str);
        let granted = self
            .granted
            .iter()
            .find(|granted| granted.name == authority);
        let (name, denial) = match granted {
            Some(granted) => match operation::decide(granted, &self.cluster, request) {
                Ok(operation) => return Ok(operation),
                Err(denial) => (granted.name.as_str(), denial),
            },
            None => {
                let shown = authority.escape_debug().to_string();
                (
                    "unknown",
                    Denial::Malformed(format!("`{shown}` is no upstream of {}", self.plugin)),
                )
            }
        };
        let sentence = denial.sentence(&self.plugin);
        let nth = self.shared.stats.refused();
        if nth <= AUDITED {
            tracing::warn!(target: "audit", upstream = name, operation = denial.operation(), decision = "denied",
                plugin = self.plugin, "{sentence}");
        }
        if nth == AUDITED {
            tracing::warn!(target: "audit", plugin = self.plugin,
                "{AUDITED} requests were refused; more of this task are counted and not written");
        }
        self.shared
            .stats
            .count(name, denial.operation(), |counts| counts.denied += 1);
        self.shared.stats.problem(&sentence);
        Err(Refusal::Denied(sentence))
    }

    async fn perform(&self, operation: &Operation) -> Result<Clean, UpstreamError> {
        let out = Outgoing::from(operation);
        match operation.right.kind {
            Kind::Iam => self.iam.call(&self.shared, &out).await,
            Kind::Cluster => self.api().await?.call(&self.shared, &out).await,
            Kind::Eks if operation.right.words == "eks:DescribeCluster" => {
                self.describe_for_guest(&out).await
            }
            Kind::Eks => self.eks.call(&self.shared, &out).await,
        }
    }

    /// The host has to describe the cluster too, so one answer serves both.
    async fn describe_for_guest(&self, out: &Outgoing) -> Result<Clean, UpstreamError> {
        let described = self.described();
        if let Some(body) = described.get() {
            let mut answer = http::Response::new(body.clone());
            answer.headers_mut().insert(
                http::header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
            return Ok(answer);
        }
        let answer = self.eks.call(&self.shared, out).await?;
        if answer.status().is_success() {
            // Lost only to another one that asked at the same time.
            let _ = described.set(Bytes::copy_from_slice(answer.body()));
        }
        Ok(answer)
    }

    fn described(&self) -> Arc<OnceCell<Bytes>> {
        let described = self.described.read();
        described.unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn description(&self) -> Result<Bytes, UpstreamError> {
        let fetch = async || {
            let answer = self
                .eks
                .call(&self.shared, &cluster::describe(&self.cluster))
                .await?;
            if answer.status().is_success() {
                return Ok(Bytes::copy_from_slice(answer.body()));
            }
            Err(self.not_described(&answer))
        };
        self.described().get_or_try_init(fetch).await.cloned()
    }

    fn not_described(&self, answer: &Clean) -> UpstreamError {
        let error = Told::of(answer);
        if answer.status() == 404 && error.code == "ResourceNotFoundException" {
            return UpstreamError::NoCluster {
                cluster: self.cluster.clone(),
                region: self.region.clone(),
            };
        }
        error.refusal(answer.status(), "eks:DescribeCluster")
    }

    /// The cluster's API server: found once, then kept for the task, and so is
    /// the reason why it cannot be found.
    async fn api(&self) -> Result<Arc<Wire>, UpstreamError> {
        self.api.get_or_init(|| self.find_api()).await.clone()
    }

    async fn find_api(&self) -> Result<Arc<Wire>, UpstreamError> {
        let info = cluster::info(&self.description().await?)?;
        let Some(base) = info.endpoint.filter(|_| !info.ca.is_empty()) else {
            return Err(match info.status.as_str() {
                "ACTIVE" | "UPDATING" | "" => UpstreamError::NoEndpoint(self.cluster.clone()),
                _ => UpstreamError::NotReady {
                    cluster: self.cluster.clone(),
                    status: info.status,
                },
            });
        };
        if matches!(
            info.status.as_str(),
            "CREATING" | "DELETING" | "FAILED" | "PENDING"
        ) {
            return Err(UpstreamError::NotReady {
                cluster: self.cluster.clone(),
                status: info.status,
            });
        }
        let what = format!("the API server of `{}`", self.cluster);
        let address = base.host_str().unwrap_or_default().to_owned();
        let trust = Trust::Only(info.ca);
        let connect = self.shared.limits.connect;
        let client = Client::new(&trust, self.proxies.0.clone(), self.io.clone(), connect);
        let name = self
            .granted
            .iter()
            .find(|granted| granted.kind == Kind::Cluster);
        Ok(Arc::new(Wire {
            kind: Kind::Cluster,
            name: name
                .map_or("kubernetes", |granted| granted.name.as_str())
                .to_owned(),
            limiter: self.rates.of(&self.account, &address),
            client: client.map_err(|reason| UpstreamError::Trust {
                what: what.clone(),
                address,
                reason,
            })?,
            what,
            base,
            region: self.region.clone(),
            cluster: self.cluster.clone(),
        }))
    }

    async fn api_call(&self, out: &Outgoing) -> Result<Bytes, UpstreamError> {
        let api = self.api().await?;
        let answer = api.call(&self.shared, out).await?;
        let status: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let message = status
            .get("message")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let what = api.what.clone();
        match answer.status().as_u16() {
            200..=299 => Ok(answer.into_body()),
            401 => Err(UpstreamError::Unauthenticated {
                what,
                hint_line: "give it an access entry; `baton-host permissions` prints the command"
                    .to_owned(),
            }),
            403 => Err(UpstreamError::NotPermitted {
                what,
                right: out.label.clone(),
                hint_line: message,
            }),
            code => Err(UpstreamError::Answer {
                what,
                reason: format!("status {code}: {message}"),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
