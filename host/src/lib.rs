//! `baton-host`: loads access-governance connectors as sandboxed WebAssembly
//! components and turns what they list into access files.
//!
//! A connector gets named upstreams and nothing else; what it may say to them
//! is decided here, and no credential ever enters its sandbox. The tree is the
//! map: `docs/architecture.md` has one line for each module.
//!
//! The `baton-host` command uses only what is public here. A program of your
//! own does the same in four steps (`examples/embed.rs` is a complete one):
//!
//! ```no_run
//! use baton_host::{job, plugin::{Lock, Plugin}, sandbox::{Sandbox, SandboxConfig}};
//! # async fn example(job: job::Job) -> anyhow::Result<()> {
//! let sandbox = Sandbox::new(SandboxConfig::default())?;
//! let lock = Lock::read("baton.lock".as_ref())?;
//! let plugin = Plugin::load(&sandbox, "baton_eks.wasm".as_ref(), &lock, &[]).await?;
//! let connection = job::connect(&job::Job { plugin, ..job }).await?;
//! println!("reading as {}", connection.caller.arn);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod c1z;
pub mod cli;
mod clock;
pub mod credentials;
mod exit;
pub mod fleet;
mod html;
pub mod job;
mod nearest;
pub mod people;
pub mod plugin;
pub mod provision;
pub mod review;
pub mod sandbox;
pub mod sync;
pub mod upstream;
