//! The sandbox: one engine per process, one compiled component per digest, one
//! fresh store per task.

pub mod connector;
pub mod contract;

pub use connector::{CallError, Connector};
