//! One task: a fresh store that lives on the guests' runtime behind a channel,
//! and the calls of the contract, each with its deadline.
//!
//! The caller's clock decides: when a call takes too long the actor is
//! aborted, and with it the store and everything it had in flight.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use wasmtime::Store;

use super::component::Component;
use super::connector::{CallError, Connector, Planner};
use super::contract::provisioning::ProvisioningCore;
use super::contract::types::{Attributes, Descriptor, Error, Grant, ObjectId, Setting};
use super::contract::{Core, EntitlementPage, GrantPage, ObjectPage, Plan};
use super::engine::Sandbox;
use super::guest::{State, store};
use super::http::Hooks;
use super::imports::{Observer, clean};
use super::limits::Limits;
use crate::upstream::{Egress, Refusal};

type Reply<T> = oneshot::Sender<Result<T, CallError>>;

enum Call {
    Describe(Reply<Descriptor>),
    Open(Vec<Setting>, Reply<()>),
    Validate(Reply<Attributes>),
    Objects(String, Option<ObjectId>, Option<String>, Reply<ObjectPage>),
    Entitlements(String, Option<String>, Reply<EntitlementPage>),
    Grants(String, Option<String>, Reply<GrantPage>),
    PlanGrant(Grant, Reply<Plan>),
    PlanRevoke(Grant, Reply<Plan>),
}

/// What one instance exports.
struct Exports {
    core: Core,
    /// Nothing where the component does not plan changes.
    planner: Option<ProvisioningCore>,
}

impl Exports {
    async fn of(component: &Component, store: &mut Store<State>) -> wasmtime::Result<Self> {
        let pre = component.inner.pre.instance_pre();
        let instance = pre.instantiate_async(&mut *store).await?;
        let planner = component.inner.planner.is_some();
        Ok(Self {
            core: Core::new(&mut *store, &instance)?,
            planner: planner
                .then(|| ProvisioningCore::new(&mut *store, &instance))
                .transpose()?,
        })
    }
}

/// What a task used, when it is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The most linear memory, in bytes.
    pub memory: usize,
    /// Guest CPU, in slices of 10 ms.
    pub slices: u64,
}

/// A connector in its store. Dropping it drops the store.
pub struct Task {
    calls: mpsc::Sender<Call>,
    actor: tokio::task::AbortHandle,
    limits: Limits,
    ends: Instant,
    refused: Arc<Mutex<Option<Refusal>>>,
    usage: Arc<Mutex<Usage>>,
    /// A call has cost the instance its life.
    over: bool,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.actor.abort();
    }
}

impl Task {
    /// Waits for a slot and instantiates the component in a fresh store.
    ///
    /// Must be called on the I/O runtime: it is there that `egress` runs.
    ///
    /// # Errors
    /// [`CallError::Trap`] when the component does not instantiate.
    pub async fn start(
        sandbox: &Sandbox,
        component: &Component,
        egress: Arc<dyn Egress>,
        limits: Limits,
        observer: Arc<dyn Observer>,
    ) -> Result<Task, CallError> {
        let slot = sandbox
            .inner
            .slots
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| CallError::Cancelled)?;
        let guests = sandbox.inner.guests().ok_or(CallError::Cancelled)?;
        let refused = Arc::new(Mutex::new(None));
        let usage = Arc::new(Mutex::new(Usage::default()));
        let hooks = Hooks {
            egress,
            io: tokio::runtime::Handle::current(),
            limit: limits.in_flight,
            request_body: limits.request_body,
            in_flight: Arc::new(AtomicUsize::new(0)),
            held: Arc::new(AtomicUsize::new(0)),
            refused: refused.clone(),
        };
        let store = store(
            &sandbox.inner.engine,
            &limits,
            hooks,
            &component.descriptor().name,
            observer,
        );
        let component = component.clone();
        let (calls, mut inbox) = mpsc::channel::<Call>(1);
        let (ready, started) = oneshot::channel();
        let (slices, meter) = (limits.slices, usage.clone());
        let actor = guests.spawn(async move {
            // In this order: a slot is free when its store is gone from the pool.
            let _slot = slot;
            let mut store = store;
            let instance = match Exports::of(&component, &mut store).await {
                Ok(instance) => instance,
                Err(error) => {
                    let _ = ready.send(Err(explain(&store, &error)));
                    return;
                }
            };
            let _ = ready.send(Ok(()));
            while let Some(call) = inbox.recv().await {
                store.data_mut().slices = slices;
                store.set_epoch_deadline(1);
                if !answer(&mut store, &instance, call, &meter).await {
                    return;
                }
            }
        });
        let task = Task {
            calls,
            actor: actor.abort_handle(),
            ends: Instant::now() + limits.task,
            limits,
            refused,
            usage,
            over: false,
        };
        match tokio::time::timeout(task.limits.call, started).await {
            Ok(Ok(result)) => result.map(|()| task),
            Ok(Err(_)) => Err(CallError::Cancelled),
            Err(_) => Err(CallError::Timeout(task.limits.call.as_secs())),
        }
    }

    /// `metadata.describe`.
    ///
    /// # Errors
    /// When the guest traps or takes too long.
    pub async fn describe(&mut self) -> Result<Descriptor, CallError> {
        self.call(Call::Describe).await
    }

    /// What the task has used so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage.lock().map(|usage| *usage).unwrap_or_default()
    }

    /// The latest request that was refused, if any: usually the reason behind
    /// a connector's error.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        self.refused.lock().ok().and_then(|last| last.clone())
    }

    async fn call<T>(&mut self, call: impl FnOnce(Reply<T>) -> Call) -> Result<T, CallError> {
        if self.over {
            return Err(CallError::Trap(
                "an earlier call has ended this task".into(),
            ));
        }
        let result = self.send(call).await;
        self.over = !matches!(result, Ok(_) | Err(CallError::Connector(_)));
        result
    }

    async fn send<T>(&self, call: impl FnOnce(Reply<T>) -> Call) -> Result<T, CallError> {
        let now = Instant::now();
        let left = self.ends.saturating_duration_since(now);
        let wall = left.min(self.limits.call);
        let (reply, answer) = oneshot::channel();
        self.calls
            .send(call(reply))
            .await
            .map_err(|_| CallError::Cancelled)?;
        match tokio::time::timeout(wall, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(CallError::Cancelled),
            Err(_) => {
                self.actor.abort();
                let whole = if left < self.limits.call {
                    self.limits.task
                } else {
                    self.limits.call
                };
                Err(CallError::Timeout(whole.as_secs()))
            }
        }
    }
}

/// Runs one call. False when the store must not be used again.
async fn answer(
    store: &mut Store<State>,
    instance: &Exports,
    call: Call,
    meter: &Mutex<Usage>,
) -> bool {
    match call {
        Call::Describe(reply) => {
            let result = instance
                .core
                .baton_connector_metadata()
                .call_describe(&mut *store)
                .await;
            finish(store, result.map(Ok), reply, meter)
        }
        Call::Open(settings, reply) => {
            let result = instance
                .core
                .baton_connector_session()
                .call_open(&mut *store, &settings)
                .await;
            finish(store, result, reply, meter)
        }
        Call::Validate(reply) => {
            let result = instance
                .core
                .baton_connector_sync()
                .call_validate(&mut *store)
                .await;
            finish(store, result, reply, meter)
        }
        Call::Objects(kind, parent, page, reply) => {
            let result = instance
                .core
                .baton_connector_sync()
                .call_list_objects(&mut *store, &kind, parent.as_ref(), page.as_deref())
                .await;
            finish(store, result, reply, meter)
        }
        Call::Entitlements(kind, page, reply) => {
            let result = instance
                .core
                .baton_connector_sync()
                .call_list_entitlements(&mut *store, &kind, page.as_deref())
                .await;
            finish(store, result, reply, meter)
        }
        Call::Grants(kind, page, reply) => {
            let result = instance
                .core
                .baton_connector_sync()
                .call_list_grants(&mut *store, &kind, page.as_deref())
                .await;
            finish(store, result, reply, meter)
        }
        Call::PlanGrant(wish, reply) => {
            let result = match &instance.planner {
                Some(planner) => {
                    planner
                        .baton_connector_provision()
                        .call_plan_grant(&mut *store, &wish)
                        .await
                }
                None => Ok(Err(unsupported())),
            };
            finish(store, result, reply, meter)
        }
        Call::PlanRevoke(wish, reply) => {
            let result = match &instance.planner {
                Some(planner) => {
                    planner
                        .baton_connector_provision()
                        .call_plan_revoke(&mut *store, &wish)
                        .await
                }
                None => Ok(Err(unsupported())),
            };
            finish(store, result, reply, meter)
        }
    }
}

/// Of a component that does not export `provision`.
fn unsupported() -> Error {
    Error {
        kind: "unsupported".to_owned(),
        message: "this connector only reads: its component does not plan changes".to_owned(),
        retry_after_ms: None,
        attributes: Vec::new(),
    }
}

fn finish<T>(
    store: &Store<State>,
    result: wasmtime::Result<Result<T, Error>>,
    reply: Reply<T>,
    meter: &Mutex<Usage>,
) -> bool {
    // Before the reply: whoever has the answer asks for the usage next.
    if let Ok(mut usage) = meter.lock() {
        *usage = Usage {
            memory: store.data().memory.peak,
            slices: store.data().used,
        };
    }
    let (answer, alive) = match result {
        Ok(Ok(value)) => (Ok(value), true),
        Ok(Err(error)) => (Err(CallError::Connector(cleaned(error))), true),
        Err(error) => (Err(explain(store, &error)), false),
    };
    let _ = reply.send(answer);
    alive
}

/// An error of a stranger, safe to print.
fn cleaned(mut error: Error) -> Error {
    error.kind = clean(&error.kind, 64);
    error.message = clean(&error.message, 8 << 10);
    for (key, value) in &mut error.attributes {
        *key = clean(key, 64);
        *value = clean(value, 8 << 10);
    }
    error
}

fn explain(store: &Store<State>, error: &wasmtime::Error) -> CallError {
    let state = store.data();
    if state.memory.refused {
        return CallError::Limit("memory".into());
    }
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::Interrupt) => CallError::Limit("CPU time of one call".into()),
        Some(trap) => CallError::Trap(trap.to_string()),
        None => {
            let text = format!("{error:#}");
            if text.contains("fuel allocated for hostcalls") {
                CallError::Limit("8 MiB for what one call passes".into())
            } else {
                // Without the guest's backtrace, which has no names in it.
                CallError::Trap(clean(&error.root_cause().to_string(), 500))
            }
        }
    }
}

impl Connector for Task {
    async fn open(&mut self, settings: Vec<Setting>) -> Result<(), CallError> {
        self.call(|reply| Call::Open(settings, reply)).await
    }

    async fn validate(&mut self) -> Result<Attributes, CallError> {
        self.call(Call::Validate).await
    }

    async fn list_objects(
        &mut self,
        kind: &str,
        parent: Option<ObjectId>,
        page: Option<&str>,
    ) -> Result<ObjectPage, CallError> {
        let (kind, page) = (kind.to_owned(), page.map(str::to_owned));
        self.call(|reply| Call::Objects(kind, parent, page, reply))
            .await
    }

    async fn list_entitlements(
        &mut self,
        kind: &str,
        page: Option<&str>,
    ) -> Result<EntitlementPage, CallError> {
        let (kind, page) = (kind.to_owned(), page.map(str::to_owned));
        self.call(|reply| Call::Entitlements(kind, page, reply))
            .await
    }

    async fn list_grants(
        &mut self,
        kind: &str,
        page: Option<&str>,
    ) -> Result<GrantPage, CallError> {
        let (kind, page) = (kind.to_owned(), page.map(str::to_owned));
        self.call(|reply| Call::Grants(kind, page, reply)).await
    }
}

impl Planner for Task {
    async fn plan_grant(&mut self, wish: Grant) -> Result<Plan, CallError> {
        self.call(|reply| Call::PlanGrant(wish, reply)).await
    }

    async fn plan_revoke(&mut self, wish: Grant) -> Result<Plan, CallError> {
        self.call(|reply| Call::PlanRevoke(wish, reply)).await
    }
}
