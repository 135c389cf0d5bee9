//! What can be wrong between the host and an upstream, one clear sentence
//! each.

use super::Refusal;
use super::auth::AuthError;

/// Why an upstream gave no usable answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpstreamError {
    /// DescribeCluster: 404.
    #[error(
        "there is no cluster `{cluster}` in region {region} of this account; check the cluster's name, the region and the role"
    )]
    NoCluster {
        /// Its name.
        cluster: String,
        /// Where it was looked for.
        region: String,
    },
    /// The cluster is being created, deleted, or failed.
    #[error("the cluster `{cluster}` is {status}; run again when it is ACTIVE")]
    NotReady {
        /// Its name.
        cluster: String,
        /// `CREATING`, …
        status: String,
    },
    /// A cluster that is only registered with EKS.
    #[error(
        "the cluster `{0}` has no API endpoint of its own in EKS: it is connected from elsewhere and cannot be read"
    )]
    NoEndpoint(String),
    /// TLS: the certificate is not of the expected CA.
    #[error("the certificate of {what} at {address} is not trusted: {reason}")]
    Trust {
        /// Whose.
        what: String,
        /// Host and port.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No connection.
    #[error("{what} at {address} cannot be reached: {reason}")]
    Unreachable {
        /// Whose.
        what: String,
        /// Host and port.
        address: String,
        /// The cause.
        reason: String,
    },
    /// No answer in time, retries included.
    #[error("{what} at {address} gave no answer in time")]
    Timeout {
        /// Whose.
        what: String,
        /// Host and port.
        address: String,
    },
    /// Signatures are refused because of the time.
    #[error(
        "this machine's clock is {} s {} AWS's; set it (for instance with NTP) and run again", seconds.unsigned_abs(), if *seconds > 0 { "ahead of" } else { "behind" }
    )]
    Clock {
        /// Ahead of AWS if positive.
        seconds: i64,
    },
    /// The upstream does not know who we are.
    #[error("{what} does not know this identity{}", hint(hint_line))]
    Unauthenticated {
        /// Whose.
        what: String,
        /// What to do.
        hint_line: String,
    },
    /// The upstream knows us and refuses.
    #[error("{what} refuses `{right}`{}", hint(hint_line))]
    NotPermitted {
        /// Whose.
        what: String,
        /// What was asked for.
        right: String,
        /// What to do, or the upstream's own words.
        hint_line: String,
    },
    /// An answer that is none.
    #[error("{what} answered with {reason}")]
    Answer {
        /// Whose.
        what: String,
        /// What it was.
        reason: String,
    },
    /// Larger than the limit.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// `answer`, or `sum of the answers in flight`.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// An answer that must not reach the plugin.
    #[error("{0}")]
    Withheld(String),
    /// No signature.
    #[error(transparent)]
    Credentials(#[from] AuthError),
}

fn hint(line: &str) -> String {
    if line.is_empty() {
        String::new()
    } else {
        format!(": {line}")
    }
}

impl From<UpstreamError> for Refusal {
    fn from(error: UpstreamError) -> Self {
        match error {
            UpstreamError::TooLarge { what, limit } => Self::TooLarge { what, limit },
            UpstreamError::Timeout { .. } => Self::Timeout(error.to_string()),
            other => Self::Unreachable(other.to_string()),
        }
    }
}
