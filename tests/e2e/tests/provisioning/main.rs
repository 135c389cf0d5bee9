//! Grant and revoke against a simulated cloud: what an operator is promised.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests"
)]

mod bad_input;
mod commands;
mod concurrency;
mod faults;
mod hostile;
mod kinds;
mod orders;
mod permissions;
mod program;
mod property;
mod random_town;
mod town;
