//! The program as its users run it: a clean environment, a simulated cloud, an
//! access file that is read back.
//!
//! Most tests approve the connector in a lock file first: an approved digest
//! is compiled once and not tried in a child before, which halves the time.
//! Where neither arguments nor exit codes matter, [`Quick`] runs the same job
//! in this process, over a component that all tests share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use baton_host::c1z::{FileOptions, GrantRow, Reader, SyncRun, View, annotations, pb};
use baton_host::cli::CliError;
use baton_host::credentials::{AwsSettings, Env};
use baton_host::job::{self, Job, Outcome};
use baton_host::plugin::{Approval, Lock, Plugin};
use baton_host::sandbox::{Precompile, Sandbox, SandboxConfig};
use baton_host::sync::{EVIDENCE_ASSET, Options, Phase, Progress};
use cloud_sim::{ClusterSpec, Scenario, Sim, SimHandle};
use serde_json::Value;
use tempfile::TempDir;

use crate::guests;

/// The connector.
pub fn plugin() -> PathBuf {
    guests::path("baton_eks.wasm")
}

/// A lock file that approves the connector, written by `plugin approve`.
fn approved() -> &'static Path {
    static LOCK: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("baton.lock");
        let output = Command::new(guests::program())
            .args(["plugin", "approve", "--yes", "--lock"])
            .arg(&lock)
            .arg(plugin())
            .env_clear()
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        (folder, lock)
    });
    &LOCK.1
}

/// A running cloud.
pub fn cloud(scenario: Scenario) -> SimHandle {
    SimHandle::start_blocking(scenario).unwrap()
}

/// The demonstration's cloud.
pub fn demo() -> SimHandle {
    cloud(Scenario::demo().unwrap())
}

/// The smallest cloud, changed; its cluster is `lab`.
pub fn lab(change: impl FnOnce(&mut Scenario)) -> SimHandle {
    let mut scenario = Scenario::minimal().unwrap();
    change(&mut scenario);
    cloud(scenario)
}

/// The cluster of a scenario.
pub fn cluster<'s>(scenario: &'s mut Scenario, name: &str) -> &'s mut ClusterSpec {
    scenario
        .clusters
        .iter_mut()
        .find(|cluster| cluster.name == name)
        .unwrap()
}

/// The program, its folder and its environment.
pub struct Host {
    /// Where its files are, and where it is started.
    pub folder: TempDir,
    env: BTreeMap<String, String>,
}

impl Default for Host {
    fn default() -> Host {
        Host::new()
    }
}

impl Host {
    /// With the approved connector and nothing to read.
    pub fn new() -> Host {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &Path| path.to_str().unwrap().to_owned();
        let env = BTreeMap::from([
            ("BATON_PLUGIN".to_owned(), at(&plugin())),
            ("BATON_LOCK".to_owned(), at(approved())),
            ("BATON_FILE".to_owned(), at(&folder.path().join("out.c1z"))),
            ("BATON_LOG_LEVEL".to_owned(), "warn".to_owned()),
            ("TMPDIR".to_owned(), at(folder.path())),
        ]);
        Host { folder, env }
    }

    /// Reads a cluster of a cloud as the scenario says.
    pub fn reading(sim: &Sim, cluster: &str) -> Host {
        let mut host = Host::new();
        host.env.extend(sim.env(cluster));
        host
    }

    /// With a variable.
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Host {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    /// Without one.
    pub fn unset(mut self, name: &str) -> Host {
        assert!(self.env.remove(name).is_some(), "{name} is not set anyway");
        self
    }

    /// The value of a variable.
    pub fn value(&self, name: &str) -> &str {
        &self.env[name]
    }

    /// The access file.
    pub fn file(&self) -> PathBuf {
        PathBuf::from(self.value("BATON_FILE"))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(guests::program());
        command
            .args(args)
            .env_clear()
            .envs(&self.env)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts it and does not wait.
    pub fn start(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }

    /// What a finished child did. No value of a secret variable is in what it
    /// said, whatever the test is about.
    pub fn done(&self, output: Output) -> Run {
        let run = Run {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        for secret in self.secrets() {
            assert!(!run.out.contains(secret.as_str()), "a secret in {run:?}");
            assert!(!run.err.contains(secret.as_str()), "a secret in {run:?}");
        }
        run
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Run {
        self.done(self.command(args).output().unwrap())
    }

    /// Values of the environment that nobody may see, and what every token
    /// begins with.
    pub fn secrets(&self) -> Vec<String> {
        let names = [
            "SECRET",
            "EXTERNAL_ID",
            "SESSION_TOKEN",
            "AUTHORIZATION_TOKEN",
        ];
        self.env
            .iter()
            .filter(|(name, value)| names.iter().any(|n| name.contains(n)) && !value.is_empty())
            .map(|(_, value)| value.clone())
            .chain(["k8s-aws-v1.".to_owned()])
            .collect()
    }

    /// Files in its folder, work files included.
    pub fn files(&self) -> BTreeSet<String> {
        std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

/// What a run said and how it ended.
#[derive(Debug)]
pub struct Run {
    /// Its exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Run {
    /// It must have done its job.
    #[track_caller]
    pub fn ok(self) -> Run {
        assert_eq!(self.code, Some(0), "{}\n{}", self.out, self.err);
        self
    }

    /// It must have failed with this code and these words on standard error.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) -> Run {
        let Run { out, err, .. } = &self;
        assert_eq!(self.code, Some(code), "{out}\n{err}");
        for words in words {
            assert!(err.contains(words), "no `{words}` in:\n{out}\n{err}");
        }
        assert!(err.contains("error"), "{err}");
        assert!(!err.contains("panicked"), "{err}");
        self
    }

    /// Standard output, which must be one JSON value and nothing else.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// It must have printed these words on standard output.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Run {
        for words in words {
            assert!(self.out.contains(words), "no `{words}` in:\n{}", self.out);
        }
        self
    }
}

/// Waits for a condition; fails rather than hangs.
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "waited for {what}"
        );
        std::thread::yield_now();
    }
}

/// The newest sync of an access file, decoded.
pub struct Access {
    /// All syncs of the file.
    pub syncs: Vec<SyncRun>,
    /// Kinds.
    pub types: Vec<pb::ResourceType>,
    /// Resources.
    pub resources: Vec<pb::Resource>,
    /// Entitlements.
    pub entitlements: Vec<pb::Entitlement>,
    /// Grants.
    pub grants: Vec<GrantRow>,
    /// What is kept beside.
    pub evidence: Value,
}

impl Access {
    /// Of a file.
    pub fn read(file: &Path) -> Access {
        let reader = Reader::open(file, &FileOptions::default()).unwrap();
        let view = reader.latest().unwrap();
        Access::of(&reader, &view)
    }

    /// One sync of a file.
    pub fn of(reader: &Reader, view: &View) -> Access {
        let evidence = reader
            .assets(view)
            .map(Result::unwrap)
            .find(|asset| asset.id == EVIDENCE_ASSET)
            .map(|asset| serde_json::from_slice(&asset.data).unwrap())
            .unwrap_or_default();
        Access {
            syncs: reader.syncs().unwrap(),
            types: reader.resource_types(view).map(Result::unwrap).collect(),
            resources: reader.resources(view).map(Result::unwrap).collect(),
            entitlements: reader.entitlements(view).map(Result::unwrap).collect(),
            grants: reader.grants(view).map(Result::unwrap).collect(),
            evidence,
        }
    }

    /// `entitlement | principal | certainty | immutable | expands to`, sorted;
    /// instead of `immutable` it is `inherited` where it comes through others only.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.grants.iter().map(line).collect();
        lines.sort();
        lines
    }

    /// Resources as `kind:id`, sorted.
    pub fn objects(&self, kind: &str) -> Vec<String> {
        let mut ids: Vec<String> = self
            .resources
            .iter()
            .filter_map(|resource| resource.id.as_ref())
            .filter(|id| id.resource_type == kind)
            .map(|id| id.resource.clone())
            .collect();
        ids.sort();
        ids
    }

    /// The metadata of a grant by the beginning of its line.
    #[track_caller]
    pub fn metadata(&self, beginning: &str) -> Value {
        let row = self
            .grants
            .iter()
            .find(|row| line(row).starts_with(beginning))
            .unwrap_or_else(|| panic!("no grant `{beginning}` among\n{}", self.lines().join("\n")));
        metadata(&row.grant)
    }
}

/// The evidence of a grant.
pub fn metadata(grant: &pb::Grant) -> Value {
    annotations::find::<pb::GrantMetadata>(&grant.annotations)
        .and_then(|metadata| metadata.metadata)
        .map(|metadata| Value::Object(annotations::json(&metadata)))
        .unwrap_or_default()
}

fn line(row: &GrantRow) -> String {
    let principal = row.grant.principal.as_ref().unwrap().id.as_ref().unwrap();
    let metadata = metadata(&row.grant);
    let immutable = row
        .grant
        .annotations
        .iter()
        .any(annotations::is::<pb::GrantImmutable>);
    let mut line = format!(
        "{} | {}:{} | {}",
        row.grant.entitlement.as_ref().unwrap().id,
        principal.resource_type,
        principal.resource,
        metadata["certainty"].as_str().unwrap_or("-"),
    );
    if baton_host::people::is_inherited(&row.grant) {
        assert!(
            immutable,
            "{line}: an inherited grant that is not immutable"
        );
        line.push_str(" | inherited");
    } else if immutable {
        line.push_str(" | immutable");
    }
    if let Some(expansion) = &row.expansion {
        line.push_str(&format!(
            " | expands {}",
            expansion.entitlement_ids.join(" ")
        ));
    }
    line.replace("arn:aws:iam::111122223333:", "@")
        .replace("arn:aws:eks::aws:cluster-access-policy/", "")
}

/// One sandbox and one compiled connector for all tests.
fn shared() -> &'static (Sandbox, Plugin) {
    static SHARED: LazyLock<(Sandbox, Plugin)> = LazyLock::new(|| {
        let sandbox = Sandbox::new(SandboxConfig {
            slots: 8,
            precompile: Precompile::Trusted,
        })
        .unwrap();
        let plugin = runtime().block_on(async {
            let lock = Lock::read(Path::new("/nonexistent/baton.lock")).unwrap();
            Plugin::load(&sandbox, &plugin(), &lock, &[]).await.unwrap()
        });
        assert_eq!(plugin.approval, Approval::built_in());
        (sandbox, plugin)
    });
    &SHARED
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

struct Silent;

impl Progress for Silent {
    fn phase(&mut self, _phase: Phase) {}
    fn found(&mut self, _phase: Phase, _kind: &str, _count: u64) {}
}

/// A sync in this process.
pub struct Quick {
    /// What the sync says of itself.
    pub outcome: Outcome,
    /// What it wrote.
    pub access: Access,
}

impl Quick {
    /// Syncs a cluster with the environment that the cloud gives.
    pub fn try_sync(sim: &Sim, cluster: &str) -> Result<Quick, CliError> {
        Quick::with(sim.env(cluster))
    }

    /// It must work.
    #[track_caller]
    pub fn sync(sim: &Sim, cluster: &str) -> Quick {
        Quick::try_sync(sim, cluster).unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// It must fail.
    #[track_caller]
    pub fn fail(sim: &Sim, cluster: &str) -> CliError {
        match Quick::try_sync(sim, cluster) {
            Ok(quick) => panic!("it worked: {:?}", quick.outcome),
            Err(error) => error,
        }
    }

    /// Syncs with an environment.
    pub fn with(variables: Vec<(String, String)>) -> Result<Quick, CliError> {
        let folder = tempfile::tempdir().unwrap();
        Quick::into_file(variables, &folder.path().join("out.c1z"))
    }

    /// Syncs with an environment into a file that is not there yet.
    pub fn into_file(variables: Vec<(String, String)>, file: &Path) -> Result<Quick, CliError> {
        let (sandbox, plugin) = shared();
        let settings = plugin
            .component
            .descriptor()
            .settings
            .iter()
            .filter_map(|setting| {
                let variable = setting.name.to_ascii_uppercase().replace('-', "_");
                let value = variables
                    .iter()
                    .find(|(name, _)| *name == format!("BATON_{variable}"))?;
                Some((setting.name.clone(), value.1.clone()))
            })
            .collect();
        let env = Env::from_pairs(variables);
        let job = Job {
            plugin: plugin.clone(),
            settings,
            aws: AwsSettings::from_env(&env).unwrap(),
            env,
            rates: Arc::default(),
            http: baton_host::credentials::HttpClients::new(),
            limits: baton_host::sandbox::Limits::default(),
        };
        let outcome = runtime().block_on(async {
            let connection = job::connect(&job).await?;
            job::sync(
                sandbox,
                &job,
                &connection,
                &Options::default(),
                file,
                &FileOptions::default(),
                Arc::new(()),
                &mut Silent,
            )
            .await
        });
        let outcome = outcome.map_err(|error| {
            assert!(!file.exists(), "a failed sync left a file");
            CliError::from(error)
        })?;
        Ok(Quick {
            outcome,
            access: Access::read(file),
        })
    }
}
