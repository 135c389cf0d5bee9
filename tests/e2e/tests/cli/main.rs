//! The command line against a simulated cloud: what a user is promised.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod bad_input;
mod calls;
mod commands;
mod credentials;
mod faults;
mod files;
mod main_job;
mod people;
mod reproducible;
mod secrets;

use e2e::harness;
