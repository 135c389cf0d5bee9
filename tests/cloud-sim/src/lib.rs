//! AWS (STS, IAM, EKS) and Kubernetes as one simulated cloud.
//!
//! No emulator covers access entries with paging, real signatures, EKS tokens
//! and throttling together, so tests of a host that speaks to all four get one
//! process that does. It is a judge: it verifies signatures with code of its
//! own, evaluates trust and session policies, maps callers and applies RBAC,
//! and answers in the services' own error forms. What it does not do is in
//! `docs/cloud-sim.md`.
//!
//! ```
//! # fn main() -> anyhow::Result<()> {
//! use cloud_sim::{Effect, Fault, Scenario, SimHandle};
//!
//! let sim = SimHandle::start_blocking(Scenario::minimal()?)?;
//! sim.inject(Fault::times("iam:ListRoles", Effect::Throttle(100), 2));
//! let _env = sim.env("lab");
//! assert!(sim.calls().is_empty());
//! # Ok(())
//! # }
//! ```

mod arn;
mod auth;
mod aws;
mod echo;
mod eks;
mod faults;
mod generate;
mod http;
mod iam;
mod judge;
mod kubernetes;
mod metadata;
mod policy;
mod scenario;
mod shared;
mod sigv4;
mod sim;
mod sts;
#[cfg(test)]
mod tests;
mod text;
mod world;

pub use echo::EchoPlace;
pub use faults::{Effect, Fault};
pub use generate::{Size, generate};
pub use judge::{Action, Snapshot};
pub use kubernetes::bootstrap::{CONFIG_MAP_CANARY, SECRET_CANARY};
pub use scenario::*;
pub use shared::Logged;
pub use sim::{ClusterInfo, Sim, SimHandle};
