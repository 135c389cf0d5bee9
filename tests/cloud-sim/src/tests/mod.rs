//! The simulator from outside: real sockets, real signatures.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod aws;
mod client;
mod eks;
mod faults;
mod kubernetes;
mod mapping;
mod provisioning;
