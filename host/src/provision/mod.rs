//! Grant and revoke: a connector plans, the host decides, applies, audits,
//! undoes, and asks again.
//!
//! A plan is a stranger's text. Every change in it is parsed into an operation
//! of its upstream, checked against the rights and against the wish with facts
//! that the host reads itself, and built anew; what a plan may hold is written
//! down in `check` and nothing else is ever sent. An empty plan is the only
//! proof that a wish is true: at the first call it means that nothing was to
//! be done, after changes it is the read-back. The price is a host that knows
//! what an entitlement of each kind means; the gain is that idempotence, undo,
//! audit and locking exist once and no connector can get round them.

mod answer;
pub mod audit;
mod check;
mod facts;
mod lock;
mod plans;
pub mod protect;
mod rounds;
mod rows;
mod undo;
mod wish;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use crate::clock;
use crate::job::{self, Connection, Job};
use crate::sandbox::contract::types::{self, Setting};
use crate::sandbox::{CallError, Observer, Sandbox, World};
use crate::upstream::UpstreamError;
use crate::upstream::rights::{Granted, Group};
use clock::Instant;
use lock::{Claim, Lock, LockError};
use plans::Sandboxed;
use rounds::{Ended, Progress, Run};
use rows::Rows;
use wish::{Iam, Wish};

pub use audit::{Audit, AuditError, AuditTarget};
pub use protect::Protect;

/// What is wished for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// That the principal holds the entitlement.
    Grant,
    /// That it does not.
    Revoke,
}

impl Direction {
    /// `grant` or `revoke`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Revoke => "revoke",
        }
    }
}

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Make the wish true.
    Apply,
    /// Say what would be sent; send nothing but reads.
    Plan,
    /// As `Plan`, and let Kubernetes try its part with `dryRun=All`. EKS has
    /// no such thing: its part is listed as not tried.
    DryRun,
}

/// One wish.
#[derive(Debug, Clone)]
pub struct Order {
    /// Grant or revoke.
    pub direction: Direction,
    /// The entitlement and the principal; attributes are empty.
    pub wish: types::Grant,
    /// The entitlement's id as the access file names it, for guard and audit.
    pub entitlement: String,
    /// Who asked, for the audit log.
    pub asked_by: String,
    /// Names the operation everywhere: audit rows, user agent, idempotency
    /// tokens. See [`Order::new_id`].
    pub operation: String,
    /// How far to go.
    pub mode: Mode,
}

impl Order {
    /// An id for an operation: 16 random bytes in hex.
    ///
    /// # Errors
    /// When the machine gives no randomness: an id that repeats would make EKS
    /// answer with what another operation did.
    pub fn new_id() -> Result<String, String> {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes)
            .map_err(|error| format!("this machine gives no random numbers: {error}"))?;
        Ok(hex::encode(bytes))
    }

    /// `kind:id` of the principal, as guard and audit name it.
    #[must_use]
    pub fn principal(&self) -> String {
        format!("{}:{}", self.wish.principal.kind, self.wish.principal.id)
    }
}

/// How an order ended that ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The wish is true now, and was read back.
    Changed,
    /// It was true before: GrantAlreadyExists.
    AlreadyGranted,
    /// It was true before: GrantAlreadyRevoked.
    AlreadyRevoked,
    /// Nothing was changed, as was asked for.
    Planned,
}

/// What came of an order.
#[derive(Debug, Clone, Serialize)]
pub struct Done {
    /// How it ended.
    pub state: State,
    /// The operation's id.
    pub operation: String,
    /// Rounds in which something was sent.
    pub rounds: u32,
    /// Every change, in the order in which it was sent or would be.
    pub changes: Vec<Applied>,
    /// Access that stays through other entitlements; one sentence each.
    pub remaining: Vec<String>,
    /// What went wrong without hurting the wish; one sentence each.
    pub warnings: Vec<String>,
}

/// One change and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct Applied {
    /// One sentence for people.
    pub summary: String,
    /// What it changes, for people: `RoleBinding dev/baton-host-…`.
    pub object: String,
    /// `access`, `identity` or `cleanup`.
    pub step: String,
    /// The upstream's name.
    pub upstream: String,
    /// HTTP method.
    pub method: String,
    /// Path and query as they are sent.
    pub url_path: String,
    /// Body as it is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// The object before, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The object after, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// `sent 201`, `dry run 201`, `planned`, `not tried`, `undone`, or why it
    /// failed.
    pub result: String,
}

/// Which rule of the guard refuses an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Provisioning is not switched on.
    Switch,
    /// The plugin's `provision` rights are not approved.
    Approval,
    /// Entitlements of this kind cannot be granted, or the slug is none.
    Entitlement,
    /// Principals of this kind cannot hold it, or the id is none.
    Principal,
    /// `--protect`.
    Protected,
    /// The principal is the identity that the host acts as.
    Own,
    /// The principal is one of the cluster's nodes.
    Node,
}

/// Why an order ended early once something may have been changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// An upstream refuses this identity.
    NotPermitted,
    /// An upstream refuses the change itself.
    Refused,
    /// An upstream cannot be reached, or does not answer.
    Unavailable,
    /// The cluster changes faster than it can be planned for.
    Conflict,
    /// The connector failed when it was asked again.
    Connector,
    /// Somebody stopped the host.
    Stopped,
    /// The order took too long.
    Deadline,
    /// Another process took the lock.
    Lock,
    /// The audit log cannot be written.
    Audit,
}

/// Why a wish is not true. Each is one sentence; `hint` is the next step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvisionError {
    /// The guard refuses: nothing was sent.
    #[error("{sentence}")]
    Refused {
        /// By which rule.
        rule: Rule,
        /// What is missing or in the way.
        sentence: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The connector says why there is no plan: nothing was sent.
    #[error("{}", .0.message)]
    Connector(types::Error),
    /// The connector failed; nothing was sent.
    #[error(transparent)]
    Call(CallError),
    /// The plan asks for more than the wish: nothing of it was sent.
    #[error("{sentence}")]
    BadPlan {
        /// Which change, and what is wrong with it.
        sentence: String,
    },
    /// What the host has to know before it changes anything cannot be read.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The audit log cannot be written: nothing was sent.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Another process holds the lock: nothing was sent.
    #[error("{sentence}")]
    Busy {
        /// Who holds what.
        sentence: String,
    },
    /// It failed after the first change was on its way.
    #[error("{what}{}", outcome(undone, left))]
    Failed {
        /// Why.
        cause: Cause,
        /// What went wrong, one sentence.
        what: String,
        /// What to do, often a line to add.
        hint: Option<String>,
        /// Changes that were taken back.
        undone: Vec<String>,
        /// Changes that were made and could not be taken back.
        left: Vec<String>,
    },
}

fn outcome(undone: &[String], left: &[String]) -> String {
    match (undone, left) {
        ([], []) => "; nothing was changed".to_owned(),
        (_, []) => "; everything was undone".to_owned(),
        (_, left) => format!("; LEFT as it is now: {}", left.join("; ")),
    }
}

/// Stops an order from outside: what was changed is undone and reported.
#[derive(Debug, Clone)]
pub struct Stop(watch::Sender<bool>);

impl Default for Stop {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Stop {
    /// A switch that nobody has pulled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Pulls it.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was pulled.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it is pulled.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut pulled = self.0.subscribe();
        let kept = self.0.clone();
        async move {
            // Never an error: the sender is kept as long as it is waited for.
            let _ = pulled.wait_for(|stopped| *stopped).await;
            drop(kept);
        }
    }
}

/// What an operator lets happen.
#[derive(Debug)]
pub struct Guard {
    /// `--provisioning`.
    pub enabled: bool,
    /// Entitlements and principals that nobody grants or revokes with this
    /// host.
    pub protect: Protect,
    /// Where every request is written down.
    pub audit: Audit,
    /// For how long a lock is held without a sign of life.
    pub lock_seconds: u64,
    /// Ctrl-C.
    pub stop: Stop,
}

/// What one order may take, without the undo.
const DEADLINE: Duration = Duration::from_secs(120);

/// Makes a wish true, or leaves everything as it was.
///
/// Must run on the I/O runtime, over a connection for provisioning
/// ([`job::connect_to_provision`]). Returns with nothing half done where that
/// is in the host's power, and says precisely what is left where it is not:
/// do not drop it, pull [`Guard::stop`].
///
/// # Errors
/// See [`ProvisionError`].
pub async fn provision(
    sandbox: &Sandbox,
    job: &Job,
    connection: &Connection,
    order: &Order,
    guard: &Guard,
    observer: Arc<dyn Observer>,
) -> Result<Done, ProvisionError> {
    let until = clock::now() + DEADLINE;
    let component = &job.plugin.component;
    let granted = granted(job)?;
    let cluster = connection.upstreams.describe_cluster().await?;
    let rows = Rows {
        audit: &guard.audit,
        order,
        principal: order.principal(),
        cluster: cluster.arn.clone(),
        caller: connection.caller.arn.clone(),
        plugin: component.digest().to_owned(),
    };
    let writes = order.mode != Mode::Plan;
    if writes {
        // Who looks for changes of what is protected by default finds them.
        rows.event(audit::Event::Asked, guard.protect.lifted().as_deref())?;
    }
    let wish = match admit(job, connection, order, guard, &granted) {
        Ok(wish) => wish,
        Err(error) => {
            if writes {
                rows.event(audit::Event::Refused, Some(&error.to_string()))?;
            }
            return Err(error);
        }
    };
    let plans = Sandboxed {
        sandbox,
        component,
        upstreams: &connection.upstreams,
        settings: job
            .settings
            .iter()
            .map(|(name, value)| Setting {
                name: name.clone(),
                value: value.clone(),
            })
            .collect(),
        observer,
    };
    let mut progress = Progress::default();
    let lock = match order.mode {
        Mode::Apply => {
            let taken = take(connection, &wish, order, guard, &cluster.arn, until).await;
            let lock = match taken {
                Ok(lock) => lock,
                Err(error) => {
                    rows.event(audit::Event::Failed, Some(&error.to_string()))?;
                    return Err(error);
                }
            };
            progress.warnings.extend(lock.warning.clone());
            Some(lock)
        }
        Mode::Plan | Mode::DryRun => None,
    };
    let ends = Ends::watch(guard.stop.clone(), until, lock.as_ref());
    let run = Run {
        cloud: &connection.upstreams,
        plans,
        order,
        wish: &wish,
        granted: &granted,
        cluster: &connection.cluster,
        rows: &rows,
        ended: ends.ended.clone(),
        progress,
    };
    let result = run.run().await;
    drop(ends);
    if let Some(lock) = lock {
        // An order is over when it is over, whatever the lease says.
        let _ = clock::timeout(Duration::from_secs(5), lock.release()).await;
    }
    result
}

/// What the connector may plan with the operator's approval.
fn granted(job: &Job) -> Result<Vec<Granted>, ProvisionError> {
    let declared = job::declared(job.plugin.component.descriptor());
    let declared = declared.map_err(|error| ProvisionError::BadPlan {
        sentence: error.to_string(),
    })?;
    Ok(job::granted(&job.plugin, &declared))
}

/// The guard: everything that is refused before anybody is asked.
fn admit(
    job: &Job,
    connection: &Connection,
    order: &Order,
    guard: &Guard,
    granted: &[Granted],
) -> Result<Wish, ProvisionError> {
    let refused = |rule, sentence: String, hint: Option<&str>| {
        Err(ProvisionError::Refused {
            rule,
            sentence,
            hint: hint.map(str::to_owned),
        })
    };
    let descriptor = job.plugin.component.descriptor();
    let name = crate::sandbox::clean(&descriptor.name, 64);
    if job.plugin.component.world() != World::Provisioning {
        return Err(ProvisionError::Connector(types::Error {
            kind: "unsupported".to_owned(),
            message: format!("{name} only reads: its component does not plan changes"),
            retry_after_ms: None,
            attributes: Vec::new(),
        }));
    }
    if !guard.enabled && order.mode != Mode::Plan {
        return refused(
            Rule::Switch,
            "provisioning is switched off, so nothing is changed".to_owned(),
            Some("switch it on with --provisioning"),
        );
    }
    let approved = granted
        .iter()
        .flat_map(|upstream| &upstream.rights)
        .any(|right| right.group == Group::Provision);
    if !approved {
        return refused(
            Rule::Approval,
            format!("the group `provision` of {name} is not approved, so it may plan no changes"),
            Some("approve it with `baton-host plugin approve FILE --allow provision`"),
        );
    }
    let wish = Wish::parse(descriptor, order)?;
    let types::Grant { on, slug, .. } = &order.wish;
    if order.entitlement != format!("{}:{}:{slug}", on.kind, on.id) {
        // The guard looks at the one and the check at the other.
        return refused(
            Rule::Entitlement,
            "the order names one entitlement and wishes for another".to_owned(),
            None,
        );
    }
    if let Some(reason) = guard.protect.forbids(order, &wish) {
        return refused(Rule::Protected, reason.sentence, reason.hint.as_deref());
    }
    if let Some(iam) = wish.iam() {
        let caller = &connection.caller.arn;
        let Some(own) = Iam::of_caller(caller) else {
            return refused(
                Rule::Own,
                format!(
                    "the host runs as {caller}, which is neither a role nor a user, so its own access cannot be told from others'"
                ),
                Some("run it with a role of its own (provisioning-role-arn)"),
            );
        };
        // Also the roles that it takes on the way, or would take to read.
        let told = [
            &job.aws.role_arn,
            &job.aws.provisioning_role_arn,
            &job.aws.global_role_arn,
        ];
        let told = told.into_iter().flatten().filter_map(|arn| Iam::parse(arn));
        if own.is(iam) || told.into_iter().any(|role| role.is(iam)) {
            return refused(
                Rule::Own,
                format!(
                    "{} is an identity that the host acts as; it never changes its own access",
                    iam.arn
                ),
                Some("let somebody else do that"),
            );
        }
        if own.partition != iam.partition {
            return refused(
                Rule::Principal,
                format!(
                    "{} is of partition {}, and the cluster is in {}",
                    iam.arn, iam.partition, own.partition
                ),
                None,
            );
        }
    }
    Ok(wish)
}

async fn take(
    connection: &Connection,
    wish: &Wish,
    order: &Order,
    guard: &Guard,
    cluster: &str,
    until: Instant,
) -> Result<Lock<crate::upstream::Upstreams>, ProvisionError> {
    let claim = Claim {
        cluster: cluster.to_owned(),
        principal: wish.key(),
        identity: format!("baton-host {}", order.operation),
        seconds: guard.lock_seconds.max(1),
        until,
    };
    let taking = lock::take(Arc::new(connection.upstreams.clone()), claim);
    let taken = tokio::select! {
        taken = taking => taken,
        () = guard.stop.stopped() => {
            return Err(rounds::failed(Cause::Stopped, "stopped while waiting for the lock"));
        }
    };
    taken.map_err(|error| match error {
        LockError::Held(by) => ProvisionError::Busy {
            sentence: format!(
                "another host changes access of the same principals ({by}) and did not end in time; nothing was changed"
            ),
        },
        LockError::Upstream(error) => ProvisionError::Upstream(error),
    })
}

/// Everything that ends an order from outside, as one signal.
struct Ends {
    ended: watch::Receiver<Ended>,
    watcher: tokio::task::JoinHandle<()>,
}

impl Ends {
    fn watch<L: lock::Leases>(stop: Stop, until: Instant, lock: Option<&Lock<L>>) -> Self {
        let (tell, ended) = watch::channel(None);
        let lost = lock.map(Lock::lost);
        let watcher = tokio::spawn(async move {
            let lost = async {
                match lost {
                    Some(lost) => lost.await,
                    None => std::future::pending().await,
                }
            };
            let reason = tokio::select! {
                () = stop.stopped() => (Cause::Stopped, "stopped".to_owned()),
                () = clock::sleep_until(until) => (
                    Cause::Deadline,
                    format!("the order was not done after {} s", DEADLINE.as_secs()),
                ),
                reason = lost => (Cause::Lock, format!("the lock is lost: {reason}")),
            };
            let _ = tell.send(Some(reason));
        });
        Self { ended, watcher }
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

#[cfg(test)]
mod tests;
