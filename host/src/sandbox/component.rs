//! From bytes to a compiled component, suspicious all the way: size, digest,
//! kind of file, a trial in a limited child that reads and compiles it, and
//! only then world, imports and compilation here. Reading is part of the
//! trial: types nested deeply enough overflow the stack of whoever decodes
//! them, which ends a process. There is no cache on disk: compiling takes a
//! fraction of a second, and native code that somebody else may write is not
//! worth it.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wit_component::DecodedWasm;
use wit_parser::{IndexMap, WorldItem, WorldKey};

use super::contract::CorePre;
use super::contract::provisioning::ProvisioningCorePre;
use super::contract::types::Descriptor;
use super::engine::{Precompile, Sandbox, engine_config};
use super::guest::{State, linker};
use super::limits::Limits;
use super::task::Task;
use super::{CallError, NoEgress};

/// Largest component file, in bytes.
pub const SIZE: u64 = 16 << 20;
/// Address space of the trial compilation, in bytes: what the host itself can
/// spare.
const CHILD_MEMORY: u64 = 1 << 30;
/// CPU seconds of the trial compilation.
const CHILD_CPU: u64 = 60;
/// Stack of the trial, in bytes: half of what the same work has in the host.
const CHILD_STACK: usize = 1 << 20;
/// Wall time of the trial compilation.
const CHILD_WALL: Duration = Duration::from_secs(120);
/// The contract that this host speaks; types never change within 0.1.x.
pub const CONTRACT: &str = "0.1";

/// All that a component may import.
const IMPORTS: &[&str] = &[
    "wasi:io/error@0.2",
    "wasi:io/poll@0.2",
    "wasi:io/streams@0.2",
    "wasi:clocks/monotonic-clock@0.2",
    "wasi:http/types@0.2",
    "wasi:http/outgoing-handler@0.2",
    "baton:connector/types@0.1",
    "baton:connector/log@0.1",
    "baton:connector/progress@0.1",
];

/// What a component can do by its type alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    /// Lists; provably cannot plan changes.
    Connector,
    /// Lists and plans changes.
    Provisioning,
}

/// Why a file is not a connector that this host runs.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// Larger than the limit.
    #[error("the file has {size} bytes; a connector has at most {SIZE}")]
    Size {
        /// Its size in bytes.
        size: u64,
    },
    /// Not WebAssembly.
    #[error("the file is not a WebAssembly component")]
    NotWasm,
    /// A core module.
    #[error(
        "the file is a WebAssembly core module, not a component; encode it with `baton-host plugin encode`"
    )]
    CoreModule,
    /// Broken.
    #[error("the file is not a valid component: {0}")]
    Invalid(String),
    /// A component of something else.
    #[error(
        "the component is not a connector: it exports {exports}, not `baton:connector/sync@{CONTRACT}`"
    )]
    OtherWorld {
        /// What it exports.
        exports: String,
    },
    /// A connector of another contract version.
    #[error(
        "the connector was built for baton:connector {found}; this host (baton-host {}) runs {CONTRACT}.x: install a connector built for {CONTRACT}, or a host that runs {found}",
        env!("CARGO_PKG_VERSION")
    )]
    OtherVersion {
        /// The version it was built for.
        found: String,
    },
    /// Wants more than a connector gets.
    #[error(
        "the component imports `{0}`, which no connector gets; build it for wasm32-unknown-unknown (docs/plugins.md, \"Imports\")"
    )]
    Import(String),
    /// The trial compilation failed.
    #[error("compiling the component was stopped: {0}")]
    Compile(String),
    /// `describe` failed.
    #[error("the connector cannot describe itself: {0}")]
    Describe(#[source] CallError),
}

/// A connector, compiled once and shared by all its tasks.
#[derive(Clone)]
pub struct Component {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) pre: CorePre<State>,
    /// The part that plans changes, where the component has it.
    pub(super) planner: Option<ProvisioningCorePre<State>>,
    digest: String,
    world: World,
    imports: Vec<String>,
    size: u64,
    descriptor: Descriptor,
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component")
            .field("name", &self.inner.descriptor.name)
            .field("digest", &self.inner.digest)
            .finish_non_exhaustive()
    }
}

impl Component {
    /// Checks, compiles and describes a component.
    ///
    /// `known` says that this digest has passed the trial compilation before.
    ///
    /// # Errors
    /// One sentence per way in which a file can be wrong.
    pub async fn load(
        sandbox: &Sandbox,
        bytes: Vec<u8>,
        known: impl FnOnce(&str) -> bool,
    ) -> Result<Component, ComponentError> {
        let size = bytes.len() as u64;
        let digest = digest(&bytes);
        kind_of_file(&bytes)?;
        let mut trial = Trial::Compiles;
        if let Precompile::Child(program) = &sandbox.inner.precompile
            && !known(&digest)
        {
            trial = try_in_child(program, &bytes).await?;
        }
        let (bytes, inspected) = tokio::task::spawn_blocking(move || {
            let inspected = inspect(&bytes);
            (bytes, inspected)
        })
        .await
        .map_err(|error| ComponentError::Compile(error.to_string()))?;
        let (world, imports) = inspected?;
        if trial == Trial::NoConnector {
            return Err(ComponentError::Compile(
                "its trial found that it is no connector".into(),
            ));
        }
        let engine = sandbox.inner.engine.clone();
        let (pre, planner) = tokio::task::spawn_blocking(move || {
            let component = wasmtime::component::Component::from_binary(&engine, &bytes)?;
            let pre = linker(&engine)?.instantiate_pre(&component)?;
            let planner = match world {
                World::Provisioning => Some(ProvisioningCorePre::new(pre.clone())?),
                World::Connector => None,
            };
            Ok::<_, wasmtime::Error>((CorePre::new(pre)?, planner))
        })
        .await
        .map_err(|error| ComponentError::Compile(error.to_string()))?
        .map_err(|error| ComponentError::Invalid(format!("{error:#}")))?;

        let mut inner = Inner {
            pre,
            planner,
            digest,
            world,
            imports,
            size,
            descriptor: Descriptor {
                name: String::new(),
                version: String::new(),
                settings: Vec::new(),
                kinds: Vec::new(),
                upstreams: Vec::new(),
                attributes: Vec::new(),
            },
        };
        let limits = Limits {
            call: Duration::from_secs(10),
            slices: 500,
            log_records: 0,
            memory: 64 << 20,
            ..Limits::default()
        };
        let undescribed = Component {
            inner: Arc::new(inner),
        };
        let mut task = Task::start(
            sandbox,
            &undescribed,
            Arc::new(NoEgress),
            limits,
            Arc::new(()),
        )
        .await
        .map_err(ComponentError::Describe)?;
        let descriptor = task.describe().await.map_err(ComponentError::Describe)?;
        drop(task);
        // The task's clone may live on until its actor has stopped.
        inner = Inner {
            pre: undescribed.inner.pre.clone(),
            planner: undescribed.inner.planner.clone(),
            digest: undescribed.inner.digest.clone(),
            world,
            imports: undescribed.inner.imports.clone(),
            size,
            descriptor,
        };
        Ok(Component {
            inner: Arc::new(inner),
        })
    }

    /// `sha256:` and 64 hex digits of the file.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.inner.digest
    }

    /// Bytes of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.inner.size
    }

    /// What the type of the component says that it can do.
    #[must_use]
    pub fn world(&self) -> World {
        self.inner.world
    }

    /// Imports by name, in file order.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.inner.imports
    }

    /// What the connector says that it is.
    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        &self.inner.descriptor
    }
}

/// `sha256:` and the hex digest.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// What can be told without reading further than the header.
fn kind_of_file(bytes: &[u8]) -> Result<(), ComponentError> {
    if bytes.len() as u64 > SIZE {
        return Err(ComponentError::Size {
            size: bytes.len() as u64,
        });
    }
    match bytes.get(..8) {
        Some(b"\0asm\x01\0\0\0") => Err(ComponentError::CoreModule),
        Some(header) if header.starts_with(b"\0asm") => Ok(()),
        _ => Err(ComponentError::NotWasm),
    }
}

/// World and imports, from the type of the component, without compiling it.
fn inspect(bytes: &[u8]) -> Result<(World, Vec<String>), ComponentError> {
    kind_of_file(bytes)?;
    let decoded = wit_component::decode(bytes)
        .map_err(|error| ComponentError::Invalid(format!("{error:#}")))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err(ComponentError::Invalid("it is a WIT package".into()));
    };
    let Some(world) = resolve.worlds.get(world) else {
        return Err(ComponentError::Invalid("it has no world".into()));
    };
    let names = |items: &IndexMap<WorldKey, WorldItem>| -> Vec<String> {
        items
            .keys()
            .map(|key| resolve.name_world_key(key))
            .collect()
    };
    let (imports, exports) = (names(&world.imports), names(&world.exports));
    check_world(&exports)?;
    for import in &imports {
        let known = IMPORTS.iter().any(|allowed| {
            import
                .strip_prefix(allowed)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        if !known {
            return Err(ComponentError::Import(super::imports::clean(import, 200)));
        }
    }
    let provisions = exports
        .iter()
        .any(|name| name.starts_with("baton:connector/provision@"));
    let world = if provisions {
        World::Provisioning
    } else {
        World::Connector
    };
    Ok((world, imports))
}

fn check_world(exports: &[String]) -> Result<(), ComponentError> {
    let version = exports
        .iter()
        .find_map(|name| name.strip_prefix("baton:connector/sync@"));
    match version {
        Some(version)
            if version
                .strip_prefix(CONTRACT)
                .is_some_and(|rest| rest.starts_with('.')) =>
        {
            Ok(())
        }
        Some(version) => Err(ComponentError::OtherVersion {
            found: version.to_owned(),
        }),
        None if exports.is_empty() => Err(ComponentError::OtherWorld {
            exports: "nothing".into(),
        }),
        None => Err(ComponentError::OtherWorld {
            exports: super::imports::clean(&format!("`{}`", exports.join("`, `")), 300),
        }),
    }
}

/// How a trial ends that ends well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// The component can be read and compiled.
    Compiles,
    /// It can be read, and is not what this host runs.
    NoConnector,
}

impl Trial {
    /// The child's exit status.
    #[must_use]
    pub fn status(self) -> u8 {
        match self {
            Trial::Compiles => 0,
            Trial::NoConnector => 3,
        }
    }
}

/// The body of the hidden subcommand: limits itself, then reads and compiles
/// what comes on standard input and throws the result away.
///
/// # Errors
/// When the limits cannot be set or the component does not compile.
pub fn compile_trial() -> anyhow::Result<Trial> {
    use anyhow::Context as _;
    use rustix::process::{Resource, Rlimit, setrlimit};
    use std::io::Read as _;
    let limit = |n| Rlimit {
        current: Some(n),
        maximum: Some(n),
    };
    setrlimit(Resource::As, limit(CHILD_MEMORY)).context("cannot limit memory")?;
    setrlimit(Resource::Cpu, limit(CHILD_CPU)).context("cannot limit CPU time")?;
    setrlimit(Resource::Core, limit(0)).context("cannot forbid core files")?;
    let mut bytes = Vec::new();
    std::io::stdin().take(SIZE + 1).read_to_end(&mut bytes)?;
    let work = move || {
        if inspect(&bytes).is_err() {
            // The host says in its own words why.
            return Ok(Trial::NoConnector);
        }
        let engine = wasmtime::Engine::new(&engine_config(None))?;
        wasmtime::component::Component::from_binary(&engine, &bytes)?;
        Ok(Trial::Compiles)
    };
    std::thread::Builder::new()
        .stack_size(CHILD_STACK)
        .spawn(work)
        .context("cannot start a thread")?
        .join()
        .unwrap_or_else(|_| Err(anyhow::anyhow!("the component breaks whoever reads it")))
}

async fn try_in_child(program: &std::path::Path, bytes: &[u8]) -> Result<Trial, ComponentError> {
    let stopped = |reason: String| ComponentError::Compile(reason);
    let mut child = tokio::process::Command::new(program)
        .arg("compile-trial")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| stopped(format!("cannot start {}: {error}", program.display())))?;
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let work = async {
        if let Some(mut stdin) = stdin {
            // A child that dies early closes the pipe; its status says why.
            let _ = stdin.write_all(bytes).await;
        }
        let mut said = Vec::new();
        if let Some(stderr) = stderr {
            let _ = stderr.take(4096).read_to_end(&mut said).await;
        }
        (child.wait().await, said)
    };
    let Ok((status, said)) = tokio::time::timeout(CHILD_WALL, work).await else {
        return Err(stopped(format!(
            "it took longer than {} s",
            CHILD_WALL.as_secs()
        )));
    };
    match status {
        Ok(status) if status.success() => Ok(Trial::Compiles),
        Ok(status) if status.code() == Some(Trial::NoConnector.status().into()) => {
            Ok(Trial::NoConnector)
        }
        Ok(status) => {
            let said = super::imports::clean(String::from_utf8_lossy(&said).trim(), 300);
            if status.code().is_some() && !said.is_empty() && !said.contains("memory allocation") {
                Err(ComponentError::Invalid(said))
            } else {
                Err(stopped(format!(
                    "it needed more than {} MiB of memory, {} MiB of stack or {CHILD_CPU} s of CPU time",
                    CHILD_MEMORY >> 20,
                    CHILD_STACK >> 20
                )))
            }
        }
        Err(error) => Err(stopped(error.to_string())),
    }
}
