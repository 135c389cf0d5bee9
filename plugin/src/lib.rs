//! `baton_eks.wasm`: who can do what in an Amazon EKS cluster.
//!
//! The connector reads three upstreams by name (`eks`, `iam`, `kubernetes`),
//! joins them in memory and answers pages. All of its logic is plain Rust that
//! also builds and tests natively against canned answers; only `guest.rs` knows
//! that it runs as a WebAssembly component. The price of one instance per task
//! is that nothing survives it: a failed sync begins again.

pub mod aws;
#[allow(missing_docs, unsafe_code, clippy::all)]
pub mod bindings;
pub mod evidence;
#[cfg(target_arch = "wasm32")]
mod guest;
pub mod identity;
pub mod kinds;
pub mod kubernetes;
pub mod page;
pub mod plan;
pub mod session;
pub mod sources;
pub mod text;
pub mod upstream;
pub mod world;

#[cfg(test)]
mod tests;
