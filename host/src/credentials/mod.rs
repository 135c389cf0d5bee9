//! AWS credentials, signatures and EKS tokens. None of it is reachable by a
//! plugin.
//!
//! The host alone talks to STS, with a client that no guest request reaches;
//! the other modules get a [`Secret`] or a signed request, never a key. Paths,
//! lives and errors for people: `docs/credentials.md`.

mod ambient;
mod client;
pub mod endpoints;
pub mod env;
pub mod error;
mod renew;
pub mod secret;
pub mod session;
pub mod settings;
pub mod sign;
pub mod sts;
pub mod token;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use client::HttpClients;
pub use endpoints::{Endpoints, Service};
pub use env::{Clock, Env};
pub use error::{CredentialError, SettingsError};
pub use secret::Secret;
pub use session::{Purpose, Session, SessionConfig};
pub use settings::AwsSettings;
pub use sts::CallerIdentity;

/// Log targets of the AWS crates that must never be shown below `warn`: they
/// trace canonical requests, STS answers and role names. A log filter appends
/// `TARGET=warn` for each, whatever level the user asked for.
pub const QUIET_LOG_TARGETS: &[&str] = &[
    "aws_config",
    "aws_credential_types",
    "aws_runtime",
    "aws_sdk_sso",
    "aws_sdk_ssooidc",
    "aws_sdk_sts",
    "aws_sigv4",
    "aws_smithy_http_client",
    "aws_smithy_runtime",
    "aws_smithy_runtime_api",
];
