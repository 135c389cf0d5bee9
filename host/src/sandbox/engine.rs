//! The engine, its pool of stores, its clock and the guests' threads.
//!
//! Epochs count guest CPU: a thread ticks every 10 ms, each tick that a guest
//! sees is one slice, and the guest yields. The pool reserves address space,
//! not memory; where even that is not to be had, stores are made on demand.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Length of one slice of guest CPU.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// How an unknown component is tried before this process compiles it.
#[derive(Debug, Clone, Default)]
pub enum Precompile {
    /// Compile right away. For tests and for embedders who trust their files.
    #[default]
    Trusted,
    /// First compile in a child with limits: this program, called with the
    /// hidden subcommand of `baton-host`. A small component can make a
    /// compiler allocate gigabytes.
    Child(PathBuf),
}

/// What a sandbox is made of.
#[derive(Debug, Clone, Default)]
pub struct SandboxConfig {
    /// Stores at once; 0 means twice the number of cores, at most 64.
    pub slots: u32,
    /// How unknown components are tried.
    pub precompile: Precompile,
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// wasmtime refused the configuration of the machine.
    #[error("cannot set up the WebAssembly engine: {0}")]
    Engine(String),
    /// No thread or runtime could be made.
    #[error("cannot start the threads of the sandbox: {0}")]
    Threads(#[from] std::io::Error),
}

/// One per process: the engine and the threads that guests run on.
#[derive(Clone)]
pub struct Sandbox {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) engine: Engine,
    pub(super) precompile: Precompile,
    /// Where guests run. Taken on drop: a runtime must not be dropped inside
    /// another one's thread.
    guests: Option<tokio::runtime::Runtime>,
    stop: Arc<AtomicBool>,
    /// One permit a store: the pool errs when it is empty, a semaphore waits.
    pub(super) slots: Arc<tokio::sync::Semaphore>,
    /// How many there are.
    all: usize,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(guests) = self.guests.take() {
            guests.shutdown_background();
        }
    }
}

impl Inner {
    pub(super) fn guests(&self) -> Option<&tokio::runtime::Handle> {
        self.guests.as_ref().map(tokio::runtime::Runtime::handle)
    }
}

impl Sandbox {
    /// Sets up engine, clock and threads.
    ///
    /// # Errors
    /// When the machine gives no threads, or wasmtime does not run on it.
    pub fn new(config: SandboxConfig) -> Result<Sandbox, SandboxError> {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let slots = match config.slots {
            0 => u32::try_from(2 * cores).unwrap_or(64).min(64),
            n => n,
        };
        let engine = Engine::new(&engine_config(Some(slots)))
            .or_else(|error| {
                tracing::warn!(%error, "no address space for a pool of stores; they are made on demand");
                Engine::new(&engine_config(None))
            })
            .map_err(|error| SandboxError::Engine(format!("{error:#}")))?;

        let stop = Arc::new(AtomicBool::new(false));
        let (weak, stopped) = (engine.weak(), stop.clone());
        std::thread::Builder::new()
            .name("epoch".into())
            .spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    std::thread::sleep(TICK);
                    match weak.upgrade() {
                        Some(engine) => engine.increment_epoch(),
                        None => return,
                    }
                }
            })?;
        let guests = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(cores)
            .thread_name("guest")
            .enable_all()
            .build()?;
        Ok(Sandbox {
            inner: Arc::new(Inner {
                engine,
                precompile: config.precompile,
                guests: Some(guests),
                stop,
                slots: Arc::new(tokio::sync::Semaphore::new(slots as usize)),
                all: slots as usize,
            }),
        })
    }

    /// How many stores there can be at once; one more task waits.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.inner.all
    }
}

/// The one engine configuration. `slots`: with a pool of that many stores.
pub(super) fn engine_config(slots: Option<u32>) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .wasm_component_model(true)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .concurrency_support(false)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(32));
    if let Some(slots) = slots {
        let mut pool = PoolingAllocationConfig::new();
        // A component is a few core instances (the module and its adapters).
        pool.total_component_instances(slots)
            .total_core_instances(slots * 4)
            .max_core_instances_per_component(4)
            .max_memories_per_component(1)
            .max_tables_per_component(4)
            .total_memories(slots)
            .total_tables(slots * 4)
            .total_stacks(slots)
            .max_memory_size(super::Limits::default().memory)
            .linear_memory_keep_resident(1 << 20)
            .table_keep_resident(64 << 10);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}
