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

pub mod audit;
pub mod protect;

use std::future::Future;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use crate::sandbox::CallError;
use crate::sandbox::contract::types;
use crate::upstream::UpstreamError;

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
