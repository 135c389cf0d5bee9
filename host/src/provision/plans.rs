//! Plans of a connector: each from a fresh instance, so that nothing is decided
//! on what an earlier one remembers.

use std::sync::Arc;

use super::{Direction, ProvisionError};
use crate::plugin::attribute;
use crate::sandbox::contract::Plan;
use crate::sandbox::contract::types::{Change, Grant, Setting};
use crate::sandbox::{CallError, Component, Connector as _, Limits, Observer, Planner as _};
use crate::sandbox::{Sandbox, Task};
use crate::upstream::Upstreams;

/// Calls for one plan: one that needs more never ends.
const CALLS: usize = 512;
/// What a path may have, in bytes.
const PATH: usize = 8 << 10;
/// What the body of one change may have, in bytes.
const BODY: usize = 1 << 20;
/// What a sentence for people may have, in bytes.
const SENTENCE: usize = 8 << 10;
/// Sentences of one plan.
const SENTENCES: usize = 100;

/// Where plans come from; tests have their own.
pub trait Plans: Send {
    /// What it takes now.
    fn plan(
        &mut self,
        direction: Direction,
        wish: &Grant,
    ) -> impl Future<Output = Result<Plan, ProvisionError>> + Send;
}

/// Plans of a component.
pub struct Sandboxed<'a> {
    /// The engine.
    pub sandbox: &'a Sandbox,
    /// The connector.
    pub component: &'a Component,
    /// Its way out.
    pub upstreams: &'a Upstreams,
    /// Its settings.
    pub settings: Vec<Setting>,
    /// Who hears of its progress.
    pub observer: Arc<dyn Observer>,
}

impl Plans for Sandboxed<'_> {
    async fn plan(&mut self, direction: Direction, wish: &Grant) -> Result<Plan, ProvisionError> {
        // Fresh for the plugin, and for the host's own reads that follow.
        self.upstreams.forget();
        let mut task = Task::start(
            self.sandbox,
            self.component,
            Arc::new(self.upstreams.clone()),
            Limits::default(),
            self.observer.clone(),
        )
        .await
        .map_err(error)?;
        task.open(self.settings.clone()).await.map_err(error)?;
        for _ in 0..CALLS {
            let plan = match direction {
                Direction::Grant => task.plan_grant(wish.clone()).await,
                Direction::Revoke => task.plan_revoke(wish.clone()).await,
            }
            .map_err(error)?;
            if attribute(&plan.attributes, "more") != Some("true") {
                return Ok(plan);
            }
            if !plan.changes.is_empty() {
                return Err(ProvisionError::BadPlan {
                    sentence: "the connector's plan has changes and is not complete".to_owned(),
                });
            }
        }
        Err(ProvisionError::BadPlan {
            sentence: format!("the connector has no plan after {CALLS} calls"),
        })
    }
}

fn error(error: CallError) -> ProvisionError {
    match error {
        CallError::Connector(error) => ProvisionError::Connector(error),
        other => ProvisionError::Call(other),
    }
}

/// All sentences of a key, safe to print.
pub fn sentences(plan: &Plan, key: &str) -> Vec<String> {
    let found = plan.attributes.iter().filter(|(name, _)| name == key);
    found
        .take(SENTENCES)
        .map(|(_, sentence)| crate::sandbox::clean(sentence, SENTENCE))
        .collect()
}

/// Refuses a change by its size alone, and one that brings its own undo: the
/// host makes the inverse from what it read.
///
/// # Errors
/// What is wrong with it.
pub fn within_limits(change: &Change) -> Result<(), String> {
    if !change.undo.is_empty() {
        return Err("it brings steps to undo it, which are the host's to make".to_owned());
    }
    if change.path.len() > PATH || change.method.len() > 16 || change.upstream.len() > 64 {
        return Err(format!("its path is longer than {PATH} bytes"));
    }
    if change.body.as_ref().is_some_and(|body| body.len() > BODY) {
        return Err(format!("its body is larger than {BODY} bytes"));
    }
    Ok(())
}
