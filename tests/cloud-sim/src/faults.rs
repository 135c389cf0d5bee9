//! Faults on demand: what an upstream does on its bad days.
//!
//! A fault names operations by a glob over the names that calls are counted
//! under (`eks:*`, `kubernetes:list *`), skips some calls, then bites a number
//! of times. There is no chance in it: a test that fails must fail again.

use serde::Deserialize;

use crate::echo::EchoPlace;
use crate::text::glob;

/// One thing that goes wrong.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fault {
    /// Glob over operation names, `eks:DescribeAccessEntry`, `kubernetes:*`.
    pub on: String,
    /// What happens.
    pub effect: Effect,
    /// Matching calls that pass first.
    #[serde(default)]
    pub after: u32,
    /// How often it bites; always if absent.
    #[serde(default)]
    pub times: Option<u32>,
    /// Bites only every n-th matching call; 0 and 1 mean each.
    #[serde(default)]
    pub every: u32,
}

/// What a fault does to a call.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Effect {
    /// The answer comes late by milliseconds.
    Latency(u64),
    /// Throttled in the service's own form; the value is the retry delay in milliseconds, 0 for no header.
    Throttle(u64),
    /// The service's own error body with this status (500, 503, ...).
    ServerError(u16),
    /// Any answer: status, content type, body.
    Answer {
        /// HTTP status.
        status: u16,
        /// Content type.
        content_type: String,
        /// Body.
        body: String,
    },
    /// The connection is reset and nothing has been done.
    Reset,
    /// The request is carried out, then the connection is reset: the answer is lost.
    ResetAfter,
    /// Nothing is done and nothing is answered; the connection stays open.
    Hang,
    /// The request is carried out and never answered; the connection stays open.
    HangAfter,
    /// Kubernetes: somebody else writes the object first, and its `resourceVersion` moves.
    Touch,
    /// The connection is reset in the middle of the body.
    Truncate,
    /// The body stops half way and the connection stays open.
    Stall,
    /// Kubernetes: the continue token of this call has expired.
    ExpireContinue,
    /// The request's own credentials come back in a header and in front of the body.
    Echo,
    /// The request's own credential comes back, in this place.
    EchoIn(EchoPlace),
    /// 307 to this location.
    Redirect(String),
    /// A body of so many bytes.
    Huge(usize),
    /// A small gzip body that inflates to so many bytes.
    GzipBomb(usize),
}

impl Fault {
    /// A fault that bites on every matching call.
    pub fn always(on: &str, effect: Effect) -> Fault {
        Fault {
            on: on.into(),
            effect,
            after: 0,
            times: None,
            every: 0,
        }
    }

    /// A fault that bites on the first `times` matching calls.
    pub fn times(on: &str, effect: Effect, times: u32) -> Fault {
        Fault {
            on: on.into(),
            effect,
            after: 0,
            times: Some(times),
            every: 0,
        }
    }

    /// A fault that bites once, on the n-th request from now, whatever it is.
    pub fn nth(n: u32, effect: Effect) -> Fault {
        Fault {
            on: "*".into(),
            effect,
            after: n.saturating_sub(1),
            times: Some(1),
            every: 0,
        }
    }
}

#[derive(Debug)]
struct Active {
    /// Bites for this cluster only.
    cluster: Option<String>,
    fault: Fault,
    seen: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Faults {
    active: Vec<Active>,
}

impl Faults {
    pub(crate) fn add(&mut self, cluster: Option<&str>, fault: Fault) {
        self.active.push(Active {
            cluster: cluster.map(str::to_owned),
            fault,
            seen: 0,
        });
    }

    pub(crate) fn clear(&mut self) {
        self.active.clear();
    }

    /// The effects that this call meets.
    pub(crate) fn meet(&mut self, operation: &str, cluster: Option<&str>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for active in &mut self.active {
            let Active {
                cluster: only,
                fault,
                seen,
            } = active;
            if only.is_some() && only.as_deref() != cluster || !glob(&fault.on, operation) {
                continue;
            }
            *seen += 1;
            let Some(nth) = seen.checked_sub(fault.after + 1) else {
                continue;
            };
            let every = fault.every.max(1);
            if nth % every == 0 && fault.times.is_none_or(|times| nth / every < times) {
                effects.push(fault.effect.clone());
            }
        }
        effects
    }
}
