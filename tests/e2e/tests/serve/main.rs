//! `serve`: what it answers, and what it does when it is told to read its file
//! again or to end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod http;
mod interop;
mod life;
mod page;
mod reload;
mod running;
