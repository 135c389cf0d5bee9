//! Everything a plugin says to the world passes through here: parse, decide,
//! rebuild, sign, send, and clean the answer.

pub mod auth;
pub mod error;
pub mod operation;
pub mod permissions;
mod rate;
mod retry;
pub mod rights;
mod stats;

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

/// A request of a plugin that gets no answer of an upstream. The guest sees
/// one of the error codes of `wasi:http`; the reason goes to the host's log
/// and audit.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// Not an operation that this plugin may make.
    #[error("{0}")]
    Denied(String),
    /// The request or the answer is larger than the limit, in bytes.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// `request` or `answer`.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// Too many requests of this instance are in flight.
    #[error("more than {0} requests in flight")]
    TooMany(usize),
    /// The upstream gave no answer in time, retries included.
    #[error("no answer in time: {0}")]
    Timeout(String),
    /// The upstream cannot be reached, or trust in it fails.
    #[error("{0}")]
    Unreachable(String),
}

/// The way out of one task's sandbox. The authority of the request is the name
/// of an upstream.
pub trait Egress: Send + Sync + 'static {
    /// Decides on a request and, if it may be made, returns the upstream's
    /// cleaned answer. Runs on the I/O runtime.
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, Refusal>> + Send + 'static>>;
}
