//! One cluster and a host that grants and revokes in it, in this process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use baton_host::credentials::{AwsSettings, Env};
use baton_host::job::{self, Connection, Job};
use baton_host::plugin::{Approval, Lock, Plugin};
use baton_host::provision::{
    self, Audit, AuditTarget, Direction, Done, Guard, Mode, Order, Protect, ProvisionError, Stop,
};
use baton_host::sandbox::contract::types::{Grant, ObjectId};
use baton_host::sandbox::{Precompile, Sandbox, SandboxConfig};
use cloud_sim::{EntrySpec, PolicySpec, Scenario, SimHandle};
use e2e::guests;
use e2e::harness::{self, Access, Quick};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::town::*;

/// Kind, id and slug of an entitlement.
pub type Wish<'a> = (&'a str, &'a str, &'a str);

/// One runtime for all tests: what waits in one must not hold up another.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .unwrap()
    });
    &RUNTIME
}

fn sandbox() -> &'static Sandbox {
    static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| {
        Sandbox::new(SandboxConfig {
            slots: 16,
            precompile: Precompile::Trusted,
        })
        .unwrap()
    });
    &SANDBOX
}

/// A plugin, compiled once, with everything approved.
fn plugin(name: &str) -> Plugin {
    static CONNECTOR: LazyLock<Plugin> = LazyLock::new(|| load("baton_eks.wasm"));
    static PLANNER: LazyLock<Plugin> = LazyLock::new(|| load("planner.wasm"));
    match name {
        "baton_eks.wasm" => CONNECTOR.clone(),
        _ => PLANNER.clone(),
    }
}

fn load(name: &str) -> Plugin {
    let path = guests::path(name);
    let loaded = std::thread::spawn(move || {
        runtime().block_on(async {
            let lock = Lock::read(Path::new("/nonexistent/baton.lock")).unwrap();
            Plugin::load(sandbox(), &path, &lock, &[]).await.unwrap()
        })
    });
    Plugin {
        approval: Approval {
            groups: ["read", "provision"].map(str::to_owned).into(),
            rights: None,
        },
        ..loaded.join().unwrap()
    }
}

/// A host: where it signs in, what it runs, what it lets happen.
pub struct Hosted {
    variables: Vec<(String, String)>,
    folder: TempDir,
    plugin: Plugin,
    settings: BTreeMap<String, String>,
    pub protect: Protect,
    pub enabled: bool,
    pub lock_seconds: u64,
}

impl Hosted {
    /// A host with the variables that a cloud gives.
    pub fn new(variables: Vec<(String, String)>) -> Hosted {
        Hosted {
            variables,
            folder: tempfile::tempdir().unwrap(),
            plugin: plugin("baton_eks.wasm"),
            settings: BTreeMap::new(),
            protect: Protect::new(&[], &[]).unwrap(),
            enabled: true,
            lock_seconds: 15,
        }
    }

    fn job(&self) -> Job {
        let value = |name: &str| {
            let found = self.variables.iter().find(|(variable, _)| variable == name);
            found.unwrap().1.clone()
        };
        let mut settings = self.settings.clone();
        settings.insert("eks-region".to_owned(), value("BATON_EKS_REGION"));
        settings.insert(
            "eks-cluster-name".to_owned(),
            value("BATON_EKS_CLUSTER_NAME"),
        );
        let env = Env::from_pairs(self.variables.clone());
        Job {
            plugin: self.plugin.clone(),
            settings,
            aws: AwsSettings::from_env(&env).unwrap(),
            env,
            rates: Arc::default(),
            http: baton_host::credentials::HttpClients::new(),
            limits: baton_host::sandbox::Limits::default(),
        }
    }

    /// Where the audit log is.
    pub fn audit_file(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    fn guard(&self) -> Guard {
        Guard {
            enabled: self.enabled,
            protect: self.protect.clone(),
            audit: Audit::open(&AuditTarget::File(self.audit_file())).unwrap(),
            lock_seconds: self.lock_seconds,
            stop: Stop::new(),
        }
    }

    /// Signs in, with an operation's id.
    pub async fn connected(&self) -> Ready<'_> {
        let job = self.job();
        let operation = Order::new_id().unwrap();
        let connection = job::connect_to_provision(&job, &operation).await;
        Ready {
            host: self,
            connection: connection.unwrap_or_else(|error| panic!("{error}")),
            job,
            operation,
        }
    }

    /// The whole of one order, as a process does it.
    pub async fn carry_out(
        &self,
        direction: Direction,
        wish: Wish<'_>,
        principal: (&str, &str),
        mode: Mode,
    ) -> Result<Done, ProvisionError> {
        let ready = self.connected().await;
        ready.carry_out(direction, wish, principal, mode).await
    }
}

/// A host that has signed in, for one order.
pub struct Ready<'h> {
    host: &'h Hosted,
    connection: Connection,
    job: Job,
    operation: String,
}

impl Ready<'_> {
    /// The order.
    pub async fn carry_out(
        self,
        direction: Direction,
        wish: Wish<'_>,
        principal: (&str, &str),
        mode: Mode,
    ) -> Result<Done, ProvisionError> {
        let order = Order {
            direction,
            wish: Grant {
                on: ObjectId {
                    kind: wish.0.to_owned(),
                    id: wish.1.to_owned(),
                },
                slug: wish.2.to_owned(),
                principal: ObjectId {
                    kind: principal.0.to_owned(),
                    id: principal.1.to_owned(),
                },
                attributes: Vec::new(),
            },
            entitlement: format!("{}:{}:{}", wish.0, wish.1, wish.2),
            asked_by: "tests".to_owned(),
            operation: self.operation,
            mode,
        };
        let guard = self.host.guard();
        let observer = Arc::new(());
        provision::provision(
            sandbox(),
            &self.job,
            &self.connection,
            &order,
            &guard,
            observer,
        )
        .await
    }
}

/// One cluster and its host.
pub struct Lab {
    pub sim: SimHandle,
    pub host: Hosted,
    delay: Duration,
}

impl Lab {
    /// In a region of its own: locks within a process go by the cluster's ARN.
    pub fn new(mut scenario: Scenario) -> Lab {
        static REGION: AtomicU32 = AtomicU32::new(1);
        scenario.region = format!("eu-west-{}", REGION.fetch_add(1, Ordering::Relaxed));
        let delay = Duration::from_millis(scenario.consistency_delay_ms.unsigned_abs());
        let sim = harness::cloud(scenario);
        let host = Hosted::new(sim.env(LAB));
        Lab { sim, host, delay }
    }

    /// Another plugin.
    pub fn plugin(mut self, name: &str) -> Lab {
        self.host.plugin = plugin(name);
        self
    }

    /// A setting of the plugin.
    pub fn set(mut self, name: &str, value: &str) -> Lab {
        self.host.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// One order.
    pub async fn carry_out(
        &self,
        direction: Direction,
        wish: Wish<'_>,
        principal: (&str, &str),
        mode: Mode,
    ) -> Result<Done, ProvisionError> {
        self.host.carry_out(direction, wish, principal, mode).await
    }

    /// The same for tests that are not asynchronous.
    pub fn order(
        &self,
        direction: Direction,
        wish: Wish<'_>,
        principal: (&str, &str),
    ) -> Result<Done, ProvisionError> {
        runtime().block_on(self.carry_out(direction, wish, principal, Mode::Apply))
    }

    /// What a sync shows now.
    pub fn sync(&self) -> Access {
        Quick::sync(&self.sim, LAB).access
    }

    /// Waits until the cloud shows what was changed.
    pub fn settle(&self) {
        let start = Instant::now();
        while start.elapsed() < self.delay {
            std::thread::yield_now();
        }
    }

    /// Requests that changed something, without locks, as they were counted.
    pub fn changes(&self) -> Vec<String> {
        let mut all = self.sim.mutations();
        all.retain(|operation| !operation.contains("leases"));
        all
    }

    /// How many there were.
    pub fn writes(&self) -> usize {
        self.changes().len()
    }

    /// Rows of the audit log.
    pub fn audit(&self) -> Vec<Value> {
        std::fs::read_to_string(self.host.audit_file())
            .unwrap_or_default()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Runs jobs on threads, so many at once, and answers what each came to.
pub fn all<T: Send>(at_once: usize, jobs: Vec<Box<dyn FnOnce() -> T + Send + '_>>) -> Vec<T> {
    let jobs = Mutex::new(jobs);
    let next = || jobs.lock().unwrap().pop();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once)
            .map(|_| {
                scope.spawn(|| {
                    let mut done = Vec::new();
                    while let Some(job) = next() {
                        done.push(job());
                    }
                    done
                })
            })
            .collect();
        let ends = workers.into_iter().map(|worker| worker.join());
        ends.flat_map(|end| end.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// An access entry with groups, and policies with the namespaces of their scope.
pub fn entry_spec(arn: &str, groups: &[&str], policies: &[(&str, Option<&[&str]>)]) -> EntrySpec {
    let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    EntrySpec {
        principal: arn.to_owned(),
        kind: "STANDARD".to_owned(),
        username: None,
        groups: owned(groups),
        created: "2025-01-01T00:00:00Z".to_owned(),
        tags: BTreeMap::new(),
        policies: policies
            .iter()
            .map(|(policy, namespaces)| PolicySpec {
                policy: (*policy).to_owned(),
                namespaces: namespaces.map(owned),
            })
            .collect(),
    }
}
