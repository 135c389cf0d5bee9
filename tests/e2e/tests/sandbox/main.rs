//! The sandbox against components that attack it (`tests/plugins`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod limits;
mod load;
mod requests;
mod tasks;
mod text;

use std::future::Future;
use std::time::Duration;

/// Fails a test that would hang. Generous: it decides nothing but that.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), work)
        .await
        .expect("no end within two minutes")
}
