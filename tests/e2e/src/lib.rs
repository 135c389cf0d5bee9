//! End-to-end tests of `baton-host`: what they share. The tests themselves are
//! in the `tests` folder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

pub mod bombs;
pub mod guests;
pub mod harness;
pub mod logs;
pub mod ways_out;
