//! The seam to the credentials of one session.
//!
//! What is sent is built here; what proves who sends it comes from
//! `credentials`, which no request of a plugin reaches. The price of a trait
//! is one allocation per signature; the gain is that both sides are tested
//! without the other.

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub use crate::credentials::Secret;

/// Why a request could not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthErrorKind {
    /// There are no credentials to begin with.
    Missing,
    /// A setting contradicts another or makes no sense.
    Config,
    /// The credentials ran out and nothing renews them.
    Expired,
    /// AWS does not know the credentials.
    Unauthenticated,
    /// AWS refuses the role: trust policy, external id, or no such role.
    Denied,
    /// This machine's clock is off by more than AWS takes.
    ClockSkew,
    /// STS, or whatever gives the credentials, does not answer.
    Unreachable,
    /// Anything else.
    Other,
}

/// Credentials that could not be had; one sentence for people, no secret in
/// it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct AuthError {
    /// What kind of failure.
    pub kind: AuthErrorKind,
    /// What was wrong, where, what to do.
    pub message: String,
}

impl AuthError {
    /// A failure of a kind.
    pub fn new(kind: AuthErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

/// Signs and authorises on behalf of one session.
pub trait Auth: Send + Sync + 'static {
    /// SigV4 in headers: adds `authorization`, `x-amz-date` and, for a
    /// session, `x-amz-security-token`. The request is final: nothing changes
    /// it afterwards.
    fn sign<'a>(
        &'a self,
        service: &'a str,
        region: &'a str,
        request: &'a mut http::Request<Bytes>,
    ) -> BoxFuture<'a, Result<(), AuthError>>;

    /// The bearer token for a cluster's API server. `fresh` discards the one
    /// that is kept.
    fn eks_token<'a>(
        &'a self,
        cluster: &'a str,
        region: &'a str,
        fresh: bool,
    ) -> BoxFuture<'a, Result<Secret, AuthError>>;

    /// What must never appear in an answer: the current session token and
    /// secret key and the tokens given out last.
    fn canaries(&self) -> Vec<Secret>;
}
