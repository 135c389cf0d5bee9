//! One call: sign, send, read, and again where that helps.
//!
//! Each attempt is signed anew and sent exactly as signed. What comes back is
//! checked in one order: redirects, size, credentials in it, then errors are
//! rebuilt and objects cut.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use tokio::time::Instant;
use url::Url;

use super::answer::{self, AwsError, Budget, Clean, Collected, ReadError};
use super::auth::Auth;
use super::client::{Client, SendError};
use super::dial::DialError;
use super::error::UpstreamError;
use super::operation::{Operation, View};
use super::rate::Limiter;
use super::retry::{self, Class, Policy};
use super::rights::Kind;
use super::stats::Stats;

/// What one task may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests of one task under way.
    pub in_flight: usize,
    /// Bytes of one answer, inflated.
    pub answer: u64,
    /// Bytes of all answers that a task holds.
    pub answers: u64,
    /// To connect, TLS included.
    pub connect: Duration,
    /// One attempt, from sending to the last byte.
    pub attempt: Duration,
    /// How often and for how long to try.
    pub retry: Policy,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 128,
            answer: 32 * 1024 * 1024,
            answers: 64 * 1024 * 1024,
            connect: Duration::from_secs(10),
            attempt: Duration::from_secs(30),
            retry: Policy::default(),
        }
    }
}

/// A request as it goes out, before it is signed.
pub struct Outgoing {
    /// What it is called in numbers and errors: the right.
    pub label: String,
    /// Method.
    pub method: Method,
    /// Canonically encoded.
    pub path_and_query: String,
    /// `Accept`.
    pub accept: &'static str,
    /// `Content-Type`, with a body.
    pub content_type: Option<&'static str>,
    /// Body.
    pub body: Bytes,
    /// How the answer is cut.
    pub view: View,
    /// It changes something: sent again only where it cannot have arrived.
    pub once: bool,
}

/// What became of a request that changes something.
#[derive(Debug)]
pub enum Sent {
    /// The upstream answered.
    Answered(Clean),
    /// It may have been done, or not.
    Unknown(UpstreamError),
}

/// A request without an answer.
enum Lost {
    /// It cannot have arrived.
    Unsent(UpstreamError),
    /// It may have.
    Unknown(UpstreamError),
}

impl From<Lost> for UpstreamError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Unsent(error) | Lost::Unknown(error) => error,
        }
    }
}

impl From<&Operation> for Outgoing {
    fn from(operation: &Operation) -> Self {
        Self {
            label: operation.right.words.to_owned(),
            method: operation.method.clone(),
            path_and_query: operation.path_and_query(),
            accept: operation.accept(),
            content_type: operation.content_type(),
            body: operation.body(),
            view: operation.view,
            once: false,
        }
    }
}

/// One upstream of one task.
pub struct Wire {
    /// Whose vocabulary it speaks.
    pub kind: Kind,
    /// The name in numbers: the plugin's name for it.
    pub name: String,
    /// For people: `EKS`, `the API server of prod`.
    pub what: String,
    /// Where it is. A path in it is put before each request's.
    pub base: Url,
    /// The region to sign for.
    pub region: String,
    /// The cluster, for its token.
    pub cluster: String,
    /// Its connections.
    pub client: Client,
    /// Its rate.
    pub limiter: Arc<Limiter>,
}

/// What all calls of a task share.
pub struct Shared {
    /// Signatures and tokens.
    pub auth: Arc<dyn Auth>,
    /// Numbers.
    pub stats: Stats,
    /// Bytes in flight.
    pub budget: Budget,
    /// Limits.
    pub limits: Limits,
    /// `User-Agent`.
    pub agent: HeaderValue,
}

enum Failure {
    /// Nothing will change that, and nothing was sent.
    Final(UpstreamError),
    /// It was sent, and nothing will change the answer.
    Refused(UpstreamError),
    /// No connection could be made.
    NoConnection(UpstreamError),
    /// It may go better next time.
    Transient(UpstreamError),
}

impl Wire {
    /// Host and port, for people.
    pub fn address(&self) -> String {
        let port = self
            .base
            .port_or_known_default()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        format!("{}{port}", self.base.host_str().unwrap_or_default())
    }

    /// Makes a call.
    ///
    /// # Errors
    /// Why there is no answer. An answer that is an error of the upstream is
    /// an answer.
    pub async fn call(&self, shared: &Shared, out: &Outgoing) -> Result<Clean, UpstreamError> {
        shared
            .stats
            .count(&self.name, &out.label, |counts| counts.calls += 1);
        let answer = self
            .retrying(shared, out)
            .await
            .map_err(UpstreamError::from)
            .and_then(|answer| self.clean(shared, out, answer));
        self.count(shared, out, &answer);
        answer
    }

    /// Makes a call that changes something.
    ///
    /// # Errors
    /// Why it cannot have been made.
    pub async fn change(&self, shared: &Shared, out: &Outgoing) -> Result<Sent, UpstreamError> {
        shared
            .stats
            .count(&self.name, &out.label, |counts| counts.calls += 1);
        let answer = match self.retrying(shared, out).await {
            Ok(answer) => self.clean(shared, out, answer),
            Err(Lost::Unknown(error)) => Err(error),
            Err(Lost::Unsent(error)) => {
                let answer = Err(error);
                self.count(shared, out, &answer);
                return answer.map(Sent::Answered);
            }
        };
        self.count(shared, out, &answer);
        Ok(match answer {
            // Whatever stands before the upstream may say so too.
            Ok(answer) if answer.status().is_server_error() => {
                Sent::Unknown(UpstreamError::Answer {
                    what: self.what.clone(),
                    reason: format!("status {}", answer.status().as_u16()),
                })
            }
            Ok(answer) => Sent::Answered(answer),
            Err(error) => Sent::Unknown(error),
        })
    }

    fn count(&self, shared: &Shared, out: &Outgoing, answer: &Result<Clean, UpstreamError>) {
        shared
            .stats
            .count(&self.name, &out.label, |counts| match answer {
                Ok(answer) => {
                    counts.bytes += answer.body().len() as u64;
                    counts.errors += u64::from(answer.status().as_u16() >= 400);
                }
                Err(_) => counts.failed += 1,
            });
        if let Err(error) = answer {
            tracing::warn!(upstream = self.name, operation = out.label, "{error}");
            shared.stats.problem(&error.to_string());
        }
    }

    async fn retrying(&self, shared: &Shared, out: &Outgoing) -> Result<Collected, Lost> {
        let policy = &shared.limits.retry;
        let start = Instant::now();
        let (mut attempt, mut retries, mut fresh) = (0_u32, 0_u32, false);
        loop {
            attempt += 1;
            let permit = self.limiter.acquire().await;
            let sent =
                tokio::time::timeout(shared.limits.attempt, self.attempt(shared, out, fresh)).await;
            drop(permit);
            let (class, limit, outcome) = match sent {
                Ok(Ok(answer)) => {
                    shared.stats.answered(&self.name, answer.status);
                    let class =
                        off_the_loop(answer.body.len(), || self.classify(shared, &answer, out));
                    (class, policy.attempts, Ok(answer))
                }
                Ok(Err(Failure::Final(error))) => return Err(Lost::Unsent(error)),
                Ok(Err(Failure::Refused(error))) => return Err(Lost::Unknown(error)),
                Ok(Err(Failure::NoConnection(error))) => (
                    Class::Transient(None),
                    policy.connects,
                    Err(Lost::Unsent(error)),
                ),
                Ok(Err(Failure::Transient(error))) => (
                    Class::Transient(None),
                    policy.attempts,
                    Err(Lost::Unknown(error)),
                ),
                Err(_) => {
                    let error = UpstreamError::Timeout {
                        what: self.what.clone(),
                        address: self.address(),
                    };
                    (
                        Class::Transient(None),
                        policy.attempts,
                        Err(Lost::Unknown(error)),
                    )
                }
            };
            // What may have arrived is looked for first; whoever changes
            // something knows where.
            if out.once
                && matches!(class, Class::Transient(_))
                && !matches!(outcome, Err(Lost::Unsent(_)))
            {
                return outcome;
            }
            match class {
                Class::Done => {
                    self.limiter.succeeded();
                    return outcome;
                }
                Class::Stale if fresh => return outcome,
                Class::Stale => fresh = true,
                Class::Throttled(_) => {
                    self.limiter.throttled();
                    shared
                        .stats
                        .count(&self.name, &out.label, |counts| counts.throttled += 1);
                }
                Class::Transient(_) => {}
            }
            let delay = retry::delay(policy, class, retries, retry::random());
            if attempt >= limit || start.elapsed() + delay > policy.ceiling {
                return outcome;
            }
            if !matches!(class, Class::Stale) {
                retries += 1;
            }
            tracing::debug!(
                upstream = self.name,
                operation = out.label,
                attempt,
                ?class,
                ?delay,
                "again"
            );
            shared
                .stats
                .count(&self.name, &out.label, |counts| counts.retries += 1);
            tokio::time::sleep(delay).await;
        }
    }

    async fn attempt(
        &self,
        shared: &Shared,
        out: &Outgoing,
        fresh: bool,
    ) -> Result<Collected, Failure> {
        let request = self
            .signed(shared, out, fresh)
            .await
            .map_err(Failure::Final)?;
        let answer = self
            .client
            .send(request)
            .await
            .map_err(|error| self.no_answer(error))?;
        if answer.status().is_redirection() {
            return Err(Failure::Refused(UpstreamError::Answer {
                what: self.what.clone(),
                reason: "a redirect, which is never followed".to_owned(),
            }));
        }
        let collected = answer::collect(answer, shared.limits.answer, &shared.budget).await;
        collected.map_err(|error| match error {
            ReadError::TooLarge(limit) => Failure::Refused(UpstreamError::TooLarge {
                what: "answer",
                limit,
            }),
            ReadError::OverBudget(limit) => Failure::Refused(UpstreamError::TooLarge {
                what: "sum of the answers in flight",
                limit,
            }),
            ReadError::Broken(reason) => Failure::Transient(UpstreamError::Answer {
                what: self.what.clone(),
                reason: format!("something that breaks off or cannot be read: {reason}"),
            }),
        })
    }

    /// The request anew, with its signature. Nothing changes it afterwards.
    async fn signed(
        &self,
        shared: &Shared,
        out: &Outgoing,
        fresh: bool,
    ) -> Result<Request<Bytes>, UpstreamError> {
        let base = self.base.as_str().trim_end_matches('/');
        let mut request = Request::builder()
            .method(out.method.clone())
            .uri(format!("{base}{}", out.path_and_query))
            .header(header::ACCEPT, out.accept)
            .header(header::ACCEPT_ENCODING, "gzip")
            .header(header::USER_AGENT, shared.agent.clone())
            .body(out.body.clone())
            .map_err(|error| UpstreamError::Answer {
                what: self.what.clone(),
                reason: error.to_string(),
            })?;
        if let Some(content_type) = out.content_type {
            request
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        match self.kind {
            Kind::Eks => shared.auth.sign("eks", &self.region, &mut request).await?,
            Kind::Iam => shared.auth.sign("iam", &self.region, &mut request).await?,
            Kind::Cluster => {
                let token = shared
                    .auth
                    .eks_token(&self.cluster, &self.region, fresh)
                    .await?;
                let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
                let mut value = value.map_err(|_| UpstreamError::Answer {
                    what: "the credentials".to_owned(),
                    reason: "a token that fits into no header".to_owned(),
                })?;
                value.set_sensitive(true);
                request.headers_mut().insert(header::AUTHORIZATION, value);
            }
        }
        Ok(request)
    }

    fn no_answer(&self, error: SendError) -> Failure {
        let (what, address) = (self.what.clone(), self.address());
        match error {
            SendError::Dial(DialError::Trust(reason)) => Failure::Final(UpstreamError::Trust {
                what,
                address,
                reason,
            }),
            SendError::Dial(error @ DialError::Forbidden(_)) => {
                Failure::Final(UpstreamError::Unreachable {
                    what,
                    address,
                    reason: error.to_string(),
                })
            }
            SendError::Dial(error) => Failure::NoConnection(UpstreamError::Unreachable {
                what,
                address,
                reason: error.to_string(),
            }),
            SendError::Broken(reason) => Failure::Transient(UpstreamError::Unreachable {
                what,
                address,
                reason,
            }),
        }
    }

    fn classify(&self, shared: &Shared, answer: &Collected, out: &Outgoing) -> Class {
        let class = match self.kind {
            Kind::Cluster => retry::kubernetes(answer.status, &answer.headers, &answer.body),
            _ if answer.status.as_u16() < 400 => Class::Done,
            _ => retry::aws(answer.status, &AwsError::of(answer).code, &answer.headers),
        };
        // A proxy that gives up in the middle may leave a whole status line
        // and half a body.
        let json = !matches!(self.kind, Kind::Iam);
        if class == Class::Done && answer.status.is_success() && json {
            let whole = serde_json::from_slice::<serde::de::IgnoredAny>(&answer.body).is_ok();
            // Who sends credentials back is not given new ones.
            if !whole && !answer.echoes(&shared.auth.canaries()) {
                tracing::debug!(
                    upstream = self.name,
                    operation = out.label,
                    "an answer that is no JSON"
                );
                return Class::Transient(None);
            }
        }
        class
    }

    /// What a plugin may see of it.
    fn clean(
        &self,
        shared: &Shared,
        out: &Outgoing,
        answer: Collected,
    ) -> Result<Clean, UpstreamError> {
        off_the_loop(answer.body.len(), || self.cut(shared, out, answer))
    }

    fn cut(
        &self,
        shared: &Shared,
        out: &Outgoing,
        answer: Collected,
    ) -> Result<Clean, UpstreamError> {
        let canaries = shared.auth.canaries();
        let withheld = || {
            tracing::error!(target: "audit", upstream = self.name, operation = out.label, decision = "withheld",
                "an answer holds a credential of this session");
            UpstreamError::Withheld(format!(
                "an answer of {} to `{}` holds a credential of this session and is withheld",
                self.what, out.label
            ))
        };
        let failed = answer.status.as_u16() >= 400;
        if self.kind != Kind::Cluster && failed {
            return self
                .aws_error(shared, out, answer, &canaries)
                .ok_or_else(withheld);
        }
        if answer.echoes(&canaries) {
            return Err(withheld());
        }
        if let Some(id) = answer.request_id() {
            tracing::trace!(
                upstream = self.name,
                operation = out.label,
                request = id,
                "answered"
            );
        }
        let no_json = |reason| UpstreamError::Answer {
            what: self.what.clone(),
            reason,
        };
        let rebuilt = match self.kind {
            Kind::Iam => return Ok(answer.clean(None)),
            Kind::Eks => {
                let value: serde_json::Value = serde_json::from_slice(&answer.body)
                    .map_err(|_| no_json("something that is not JSON".to_owned()))?;
                if answer::holds(value.to_string().as_bytes(), &canaries) {
                    return Err(withheld());
                }
                return Ok(answer.clean(None));
            }
            Kind::Cluster if failed => answer::kubernetes_error(answer.status, &answer.body),
            Kind::Cluster => answer::kubernetes(&answer.body, out.view).map_err(no_json)?,
        };
        // Once more: an escape in JSON may have hidden it.
        if answer::holds(&rebuilt, &canaries) {
            return Err(withheld());
        }
        Ok(answer.clean(Some((rebuilt, "application/json"))))
    }

    /// An error of AWS, rebuilt; `None` if it holds a credential even so.
    fn aws_error(
        &self,
        shared: &Shared,
        out: &Outgoing,
        answer: Collected,
        canaries: &[super::auth::Secret],
    ) -> Option<Clean> {
        let mut error = AwsError::of(&answer);
        if error.is_signature()
            && let Some(seconds) = skew(&answer)
        {
            error.message = UpstreamError::Clock { seconds }.to_string();
        }
        tracing::debug!(
            upstream = self.name,
            operation = out.label,
            code = error.code,
            request = error.request_id,
            status = answer.status.as_u16(),
            "refused by AWS"
        );
        if error.is_signature() {
            shared.stats.problem(&error.message);
        } else if answer.echoes(canaries) {
            return None;
        }
        let rebuilt = error.rebuilt();
        (!answer::holds(&rebuilt.0, canaries)).then(|| answer.clean(Some(rebuilt)))
    }
}

/// An answer from this many bytes on is parsed where it keeps nobody waiting:
/// a megabyte of JSON takes some ten milliseconds, and everybody's timers and
/// connections share the I/O threads.
pub(super) const LARGE: usize = 64 * 1024;

tokio::task_local! {
    /// Set in tasks of a guest's requests, which the sandbox spawns. A caller
    /// of the host's own reads may be on a `LocalSet`, whose thread must not
    /// be given away.
    pub static SPAWNED: ();
}

/// Does work on so many bytes without holding the I/O loop up.
fn off_the_loop<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let threads = Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
    if bytes >= LARGE && threads && SPAWNED.try_with(|()| ()).is_ok() {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

/// How many seconds this machine is ahead of whoever answered, if it is
/// enough to break a signature.
fn skew(answer: &Collected) -> Option<i64> {
    let theirs = jiff::fmt::rfc2822::parse(answer.header("date")?)
        .ok()?
        .timestamp();
    let seconds = jiff::Timestamp::now().as_second() - theirs.as_second();
    (seconds.abs() >= 240).then_some(seconds)
}
