//! Fleets against a simulated cloud: many clusters, three accounts, and what
//! can go wrong with one of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod bad_input;
mod discovery;
mod shards;
mod signals;
mod status;
mod sync;
mod town;
