//! One writer per principal: a mutex in this process, and a Lease in the
//! cluster for all others.
//!
//! EKS replaces whole lists of groups and whole scopes and knows no versions,
//! so two hosts that read, plan and write at the same time lose what the other
//! wrote. There are 16 Leases, chosen by the principal, so that RBAC can name
//! them. Whether a Lease has expired is judged by our own clock alone: it has
//! when it did not change for as long as it lasts. Without the right to Leases
//! the promise is one writer per cluster, and a warning says so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{OwnedMutexGuard, watch};

use super::clock::{self, Instant};
use super::facts::Cloud;
use crate::upstream::{Outcome, Read, Reply, UpstreamError, Upstreams};

/// The longest wait between two looks at somebody else's lease.
const LOOK: Duration = Duration::from_millis(250);

/// Where leases are; tests have their own.
pub trait Leases: Send + Sync + 'static {
    /// Reads one.
    fn get(&self, name: &str) -> impl Future<Output = Result<Reply, UpstreamError>> + Send;
    /// Creates one.
    fn create(&self, lease: Value) -> impl Future<Output = Result<Outcome, UpstreamError>> + Send;
    /// Replaces one, by its version.
    fn replace(
        &self,
        name: &str,
        lease: Value,
    ) -> impl Future<Output = Result<Outcome, UpstreamError>> + Send;
}

impl Leases for Upstreams {
    async fn get(&self, name: &str) -> Result<Reply, UpstreamError> {
        Cloud::read(self, &Read::Lease(name.to_owned())).await
    }

    async fn create(&self, lease: Value) -> Result<Outcome, UpstreamError> {
        self.create_lease(lease).await
    }

    async fn replace(&self, name: &str, lease: Value) -> Result<Outcome, UpstreamError> {
        self.replace_lease(name, lease).await
    }
}

type Mutexes = Mutex<BTreeMap<String, Weak<tokio::sync::Mutex<()>>>>;

/// The mutexes of this process, by cluster and principal.
static HERE: Mutexes = Mutex::new(BTreeMap::new());

fn mutex(key: String) -> Arc<tokio::sync::Mutex<()>> {
    let mut all = HERE.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|_, mutex| mutex.strong_count() > 0);
    if let Some(mutex) = all.get(&key).and_then(Weak::upgrade) {
        return mutex;
    }
    let mutex = Arc::new(tokio::sync::Mutex::new(()));
    all.insert(key, Arc::downgrade(&mutex));
    mutex
}

/// Why there is no lock.
#[derive(Debug)]
pub enum LockError {
    /// Somebody else holds it, and held it until the end of our time.
    Held(String),
    /// The cluster does not answer.
    Upstream(UpstreamError),
}

/// A lock that is held.
pub struct Lock<L: Leases> {
    _here: OwnedMutexGuard<()>,
    lease: Option<Held<L>>,
    /// What a person should know about it.
    pub warning: Option<String>,
}

struct Held<L: Leases> {
    leases: Arc<L>,
    name: String,
    identity: String,
    renewal: tokio::task::JoinHandle<()>,
    /// Why the lease is no longer ours.
    lost: watch::Receiver<Option<String>>,
}

impl<L: Leases> Drop for Held<L> {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// What is locked, by whom, for how long.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The cluster's ARN.
    pub cluster: String,
    /// The principal's key, in hex.
    pub principal: String,
    /// Unique to this order.
    pub identity: String,
    /// Without a sign of life.
    pub seconds: u64,
    /// When to give up.
    pub until: Instant,
}

impl Claim {
    /// The lease's name: one of sixteen.
    fn lease(&self) -> String {
        format!("baton-host-{}", self.principal.get(..1).unwrap_or("0"))
    }

    fn object(&self, name: &str, before: Option<&Value>) -> Value {
        let now = format!("{:.6}", jiff::Timestamp::now());
        let mut object = before.cloned().unwrap_or_else(|| {
            json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {
                    "name": name, "namespace": "kube-system",
                    "labels": {"app.kubernetes.io/managed-by": "baton-host"},
                },
            })
        });
        let transitions = object
            .pointer("/spec/leaseTransitions")
            .and_then(Value::as_u64);
        if let Some(members) = object.as_object_mut() {
            members.insert("apiVersion".to_owned(), "coordination.k8s.io/v1".into());
            members.insert("kind".to_owned(), "Lease".into());
            members.insert(
                "spec".to_owned(),
                json!({
                    "holderIdentity": self.identity, "leaseDurationSeconds": self.seconds,
                    "acquireTime": now, "renewTime": now,
                    "leaseTransitions": transitions.map_or(0, |count| count + 1),
                }),
            );
        }
        object
    }
}

fn holder(lease: &Value) -> &str {
    let holder = lease
        .pointer("/spec/holderIdentity")
        .and_then(Value::as_str);
    holder.unwrap_or_default()
}

fn version(lease: &Value) -> &str {
    let version = lease.pointer("/metadata/resourceVersion");
    version.and_then(Value::as_str).unwrap_or_default()
}

/// How an attempt ended.
enum Attempt {
    Ours(Value),
    Lost,
    Forbidden,
}

/// Takes the lock.
///
/// # Errors
/// [`LockError`], also when the time is over.
pub async fn take<L: Leases>(leases: Arc<L>, claim: Claim) -> Result<Lock<L>, LockError> {
    let here = mutex(format!("{}|{}", claim.cluster, claim.principal));
    let here = clock::timeout_at(claim.until, here.lock_owned())
        .await
        .map_err(|_| LockError::Held("another order of this process".to_owned()))?;
    let name = claim.lease();
    // What was seen last, and since when it has been so.
    let mut seen: Option<(String, Instant)> = None;
    loop {
        let found = leases.get(&name).await.map_err(LockError::Upstream)?;
        // From here at the latest it runs out for others.
        let begun = clock::now();
        let (attempt, wait) = match found.status {
            200..=299 => {
                let (lease, now) = (&found.body, clock::now());
                let lasts = lease.pointer("/spec/leaseDurationSeconds");
                let lasts = lasts.and_then(Value::as_u64).unwrap_or(claim.seconds);
                let since = match &seen {
                    Some((known, since)) if known == version(lease) => *since,
                    _ => {
                        seen = Some((version(lease).to_owned(), now));
                        now
                    }
                };
                let ends = since + Duration::from_secs(lasts.min(24 * 60 * 60));
                // Where it is ours an answer was lost: nobody knows how long ago.
                let others = !holder(lease).is_empty() && holder(lease) != claim.identity;
                if others && now < ends {
                    let wait = LOOK.min(ends - now);
                    if now + wait >= claim.until {
                        return Err(LockError::Held(crate::sandbox::clean(holder(lease), 200)));
                    }
                    (Attempt::Lost, wait)
                } else {
                    let ours = claim.object(&name, Some(lease));
                    let sent = leases.replace(&name, ours).await;
                    (attempt(sent)?, Duration::from_millis(100))
                }
            }
            404 => {
                let sent = leases.create(claim.object(&name, None)).await;
                let outcome = match sent {
                    // No such namespace, or an API server without leases.
                    Ok(Outcome::Answered(reply)) if reply.status == 404 => Attempt::Forbidden,
                    sent => attempt(sent)?,
                };
                (outcome, Duration::from_millis(100))
            }
            403 => (Attempt::Forbidden, Duration::ZERO),
            status => {
                return Err(LockError::Upstream(UpstreamError::Answer {
                    what: "the API server".to_owned(),
                    reason: format!(
                        "status {status} to a look at the lease {name}: {}",
                        found.message()
                    ),
                }));
            }
        };
        match attempt {
            Attempt::Ours(lease) => {
                let held = hold(leases, claim, name, lease, begun);
                return Ok(Lock {
                    _here: here,
                    lease: Some(held),
                    warning: None,
                });
            }
            Attempt::Forbidden => {
                return Ok(Lock {
                    _here: here,
                    lease: None,
                    warning: Some(format!(
                        "this identity has no rights on the lease kube-system/{name}, so only one host may write to this cluster at a time"
                    )),
                });
            }
            Attempt::Lost if clock::now() >= claim.until => {
                return Err(LockError::Held("others, one after another".to_owned()));
            }
            Attempt::Lost => clock::sleep(wait).await,
        }
    }
}

fn attempt(sent: Result<Outcome, UpstreamError>) -> Result<Attempt, LockError> {
    match sent {
        Ok(Outcome::Answered(reply)) => match reply.status {
            200..=299 => Ok(Attempt::Ours(reply.body)),
            403 => Ok(Attempt::Forbidden),
            404 | 409 | 412 => Ok(Attempt::Lost),
            status => Err(LockError::Upstream(UpstreamError::Answer {
                what: "the API server".to_owned(),
                reason: format!("status {status} to a lease: {}", reply.message()),
            })),
        },
        // It is looked at again: where it is ours by now, it runs out by itself.
        Ok(Outcome::Unknown(_)) => Ok(Attempt::Lost),
        Err(error) => Err(LockError::Upstream(error)),
    }
}

/// Renews a lease once; says what it is now and whether it was renewed, or who
/// has taken it.
async fn renew<L: Leases>(
    leases: &L,
    name: &str,
    identity: &str,
    mut lease: Value,
) -> Result<(Value, bool), String> {
    let now = format!("{:.6}", jiff::Timestamp::now());
    if let Some(spec) = lease.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("renewTime".to_owned(), now.into());
    }
    match leases.replace(name, lease.clone()).await {
        Ok(Outcome::Answered(reply)) if reply.is_success() => return Ok((reply.body, true)),
        Ok(Outcome::Answered(reply)) if matches!(reply.status, 404 | 409) => {}
        _ => return Ok((lease, false)),
    }
    match leases.get(name).await {
        // Ours all the same, if only an answer was lost.
        Ok(found) if found.is_success() && holder(&found.body) == identity => {
            Ok((found.body, false))
        }
        Ok(found) if found.is_success() => {
            let by = crate::sandbox::clean(holder(&found.body), 200);
            Err(format!("{by} has taken the lease kube-system/{name}"))
        }
        _ => Ok((lease, false)),
    }
}

/// Keeps a lease alive until it is let go or lost. It is lost when its life is
/// over since the last renewal was *sent*, whether or not an answer is still
/// waited for: by then others may take it.
fn hold<L: Leases>(
    leases: Arc<L>,
    claim: Claim,
    name: String,
    lease: Value,
    begun: Instant,
) -> Held<L> {
    let (tell, lost) = watch::channel(None);
    let life = Duration::from_secs(claim.seconds);
    let (renewing, called, identity) = (leases.clone(), name.clone(), claim.identity.clone());
    let renewal = tokio::spawn(async move {
        let mut lease = lease;
        let mut good = begun;
        let mut wait = life / 3;
        let why = loop {
            let work = async {
                clock::sleep(wait).await;
                let sent = clock::now();
                let renewal = renew(&*renewing, &called, &claim.identity, lease.clone());
                // One connection that hangs is not the end.
                (sent, clock::timeout(life / 3, renewal).await)
            };
            match clock::timeout_at(good + life, work).await {
                Ok((sent, Ok(Ok((now, true))))) => {
                    (lease, good, wait) = (now, sent, life / 3);
                }
                Ok((_, Ok(Ok((now, false))))) => (lease, wait) = (now, life / 10),
                Ok((_, Ok(Err(taken)))) => break taken,
                Ok((_, Err(_))) => wait = life / 10,
                Err(_) => {
                    break format!(
                        "the lease kube-system/{called} could not be renewed for {} s",
                        life.as_secs()
                    );
                }
            }
        };
        let _ = tell.send(Some(why));
    });
    Held {
        leases,
        name,
        identity,
        renewal,
        lost,
    }
}

impl<L: Leases> Lock<L> {
    /// Returns, with the reason, when the lock is no longer ours; never where
    /// there is no lease.
    pub fn lost(&self) -> impl Future<Output = String> + Send + use<L> {
        let lost = self.lease.as_ref().map(|held| held.lost.clone());
        async move {
            if let Some(mut lost) = lost
                && let Ok(reason) = lost.wait_for(Option::is_some).await
                && let Some(reason) = reason.clone()
            {
                return reason;
            }
            std::future::pending().await
        }
    }

    /// Gives it back. Best effort: a lease that is not given back expires.
    pub async fn release(mut self) {
        let Some(held) = self.lease.take() else {
            return;
        };
        held.renewal.abort();
        for _ in 0..3 {
            let Ok(found) = held.leases.get(&held.name).await else {
                return;
            };
            if !found.is_success() || holder(&found.body) != held.identity {
                return;
            }
            let mut lease = found.body;
            if let Some(spec) = lease.get_mut("spec").and_then(Value::as_object_mut) {
                spec.insert("holderIdentity".to_owned(), "".into());
            }
            match held.leases.replace(&held.name, lease).await {
                Ok(Outcome::Answered(reply)) if reply.status == 409 => {}
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests;
