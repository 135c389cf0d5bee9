//! The messages of `proto/` as Rust types. Generated: see `proto/README.md`.
#![allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    reason = "generated; documented in proto/"
)]

include!("c1.connector.v2.rs");
