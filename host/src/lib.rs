//! `baton-host`: loads access-governance connectors as sandboxed WebAssembly
//! components and turns what they list into access files.
//!
//! A connector gets named upstreams and nothing else; what it may say to them
//! is decided here, and no credential ever enters its sandbox. The tree is the
//! map: `docs/architecture.md` has one line for each module.

pub mod c1z;
pub mod cli;
pub mod credentials;
pub mod job;
pub mod plugin;
pub mod sandbox;
pub mod sync;
pub mod upstream;
