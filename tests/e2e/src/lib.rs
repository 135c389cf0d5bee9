//! End-to-end tests of `baton-host`: what they share. The tests themselves are
//! in the `tests` folder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests"
)]

pub mod bombs;
pub mod browser;
pub mod guests;
pub mod harness;
pub mod logs;
pub mod ways_out;
