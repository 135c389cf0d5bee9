//! The sandbox: one engine per process, one compiled component per digest, one
//! fresh store per task.
//!
//! Guests run on threads of their own, so that a guest that spins stalls
//! nobody's sockets and timers: whatever leaves a store is handed to the I/O
//! runtime. A store lives as long as its task and is dropped after a trap or a
//! timeout; nothing is shared between two stores but compiled code.

mod component;
pub mod connector;
pub mod contract;
mod engine;
mod guest;
mod http;
mod imports;
mod limits;
mod task;

pub use component::SIZE as COMPONENT_SIZE;
pub use component::{CONTRACT, Component, ComponentError, Trial, World, compile_trial, digest};
pub use connector::{CallError, Connector, Planner};
pub use engine::{Precompile, Sandbox, SandboxConfig, SandboxError};
pub use imports::Observer;
pub(crate) use imports::{clean, obeyed};
pub use limits::{Limits, slices};
pub use task::{Task, Usage};

/// Refuses everything: the way out of a store that may say nothing.
pub struct NoEgress;

impl crate::upstream::Egress for NoEgress {
    fn send(
        &self,
        _request: ::http::Request<bytes::Bytes>,
    ) -> std::pin::Pin<
        Box<
            dyn Future<Output = Result<::http::Response<bytes::Bytes>, crate::upstream::Refusal>>
                + Send
                + 'static,
        >,
    > {
        Box::pin(async {
            Err(crate::upstream::Refusal::Denied(
                "a connector may not send requests while it describes itself".into(),
            ))
        })
    }
}
