//! Why there are no credentials, in one sentence that a person can act on.
//!
//! STS's own messages are never passed on: they name the caller (in a two-hop
//! session that is the operator's role, which the customer must not see), and
//! for a wrong signature they hold the canonical request. What is kept is the
//! error code, from which these sentences are made.

use super::endpoints::EndpointError;
use super::sign::SignError;
use crate::upstream::auth::{AuthError, AuthErrorKind};

/// Settings that are missing or contradict each other: all of them at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.join("; "))]
pub struct SettingsError {
    /// One sentence for each.
    pub problems: Vec<String>,
}

/// Credentials that could not be had, or a caller that must not go on.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// Settings that are missing or contradict each other.
    #[error(transparent)]
    Settings(#[from] SettingsError),

    /// Endpoint variables that make no sense.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),

    /// A request could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),

    /// The ambient chain came to its end.
    #[error("no AWS credentials were found; looked at {}", .looked.join(", "))]
    NoCredentials {
        /// Each source, with why it gave nothing.
        looked: Vec<String>,
    },

    /// `AWS_PROFILE` names a profile that is not in the files.
    #[error("the profile `{profile}` named by AWS_PROFILE is not in the AWS config files")]
    UnknownProfile {
        /// Its name.
        profile: String,
    },

    /// A source that is configured gave no credentials.
    #[error("{origin} gave no credentials: {reason}")]
    Source {
        /// Which source.
        origin: String,
        /// What went wrong, without secrets.
        reason: String,
    },

    /// AWS does not know the access key.
    #[error("AWS does not know the access key of {origin}")]
    UnknownKey {
        /// Where the key is from.
        origin: String,
    },

    /// The secret does not belong to the access key.
    #[error("AWS refuses the signature of {origin}: the secret does not belong to the access key")]
    WrongSecret {
        /// Where the key is from.
        origin: String,
    },

    /// Temporary credentials ran out before they were used.
    #[error("the credentials of {origin} have expired")]
    ExpiredKeys {
        /// Where they are from.
        origin: String,
    },

    /// A role refuses us, or does not exist: AWS does not tell which.
    #[error(
        "{origin} may not assume {role}: it does not exist, its trust policy does not name the caller, {}",
        if *.external_id { "or it asks for another external id than the one given" } else { "or it asks for an external id and none was given" }
    )]
    RoleDenied {
        /// The role.
        role: String,
        /// Who wanted to assume it.
        origin: String,
        /// Whether an external id was sent.
        external_id: bool,
    },

    /// The identity provider's token was refused.
    #[error("{role} cannot be assumed with the token of {file}: STS answers {code}")]
    WebIdentity {
        /// The role.
        role: String,
        /// The token's file.
        file: String,
        /// The code of STS.
        code: String,
    },

    /// The first hop of a two-hop session failed. Whose fault and why is the
    /// operator's business; the debug log has the error code.
    #[error("internal binding error")]
    InternalBinding,

    /// STS does not take the session policy.
    #[error("STS refuses the session policy of this host for {role} with {code}")]
    SessionPolicy {
        /// The role.
        role: String,
        /// The code of STS.
        code: String,
    },

    /// This machine's clock is too far from AWS's.
    #[error("{}", skew_sentence(*.seconds))]
    Clock {
        /// This machine's time minus AWS's, in seconds.
        seconds: i64,
    },

    /// STS is switched off for the region in the account.
    #[error("STS is not active in {region} for this account")]
    RegionDisabled {
        /// The region.
        region: String,
    },

    /// STS asks for patience, retries included.
    #[error("STS at {host} answers that there are too many requests")]
    Throttled {
        /// The host.
        host: String,
    },

    /// No answer, retries included.
    #[error("{host} gives no answer: {reason}")]
    Unreachable {
        /// The host.
        host: String,
        /// Why, without secrets.
        reason: String,
    },

    /// An answer that none of the above explains.
    #[error("{host} answers {call} with status {status}{}", code_suffix(.code))]
    Unexpected {
        /// The host.
        host: String,
        /// The call.
        call: &'static str,
        /// The HTTP status.
        status: u16,
        /// The code of AWS, if there was one.
        code: String,
    },

    /// The caller's account is not one of the allowed ones.
    #[error("the credentials belong to account {account}, which is not among allowed-account-ids ({})", .allowed.join(", "))]
    AccountNotAllowed {
        /// The caller's account.
        account: String,
        /// The allowed ones.
        allowed: Vec<String>,
    },

    /// The session ran out and could not be renewed.
    #[error("the session has expired and cannot be renewed: {cause}")]
    Expired {
        /// Why the renewal failed.
        cause: Box<CredentialError>,
    },
}

impl CredentialError {
    /// What to do about it, as a line of its own.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoCredentials { .. } => {
                "set eks-access-key and eks-secret-access-key, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a pod identity or an instance profile is given".to_owned()
            }
            Self::UnknownProfile { profile } => format!(
                "`aws configure list-profiles` lists them; `aws configure --profile {profile}` makes it"
            ),
            Self::UnknownKey { .. } => {
                "check the access key for typing errors, and whether it is active and of this partition".to_owned()
            }
            Self::WrongSecret { .. } => {
                "set key and secret again, both from the same access key".to_owned()
            }
            Self::ExpiredKeys { .. } => {
                "get new temporary credentials, or use a source that renews itself".to_owned()
            }
            Self::RoleDenied { role, .. } => format!(
                "`baton-host permissions` prints the trust policy that {role} needs, external id included"
            ),
            Self::WebIdentity { .. } => {
                "check the role's trust policy for the cluster's OIDC provider, audience sts.amazonaws.com and this service account".to_owned()
            }
            Self::InternalBinding => "this is for the operator of the host to repair".to_owned(),
            Self::SessionPolicy { .. } => {
                "this is a fault of baton-host, please report it".to_owned()
            }
            Self::Clock { .. } => "set the clock, for example with chrony or systemd-timesyncd".to_owned(),
            Self::RegionDisabled { region } => {
                format!("activate {region} under account settings of IAM")
            }
            Self::Throttled { .. } => "try again later".to_owned(),
            Self::Unreachable { .. } => {
                "check network, proxy (HTTPS_PROXY, NO_PROXY) and endpoint variables (AWS_ENDPOINT_URL_STS)".to_owned()
            }
            Self::AccountNotAllowed { .. } => {
                "use credentials of an allowed account, or change allowed-account-ids".to_owned()
            }
            Self::Expired { cause } => return cause.hint(),
            Self::Settings(_)
            | Self::Endpoint(_)
            | Self::Sign(_)
            | Self::Source { .. }
            | Self::Unexpected { .. } => return None,
        };
        Some(hint)
    }

    /// The kind that the callers of a session tell apart.
    pub fn kind(&self) -> AuthErrorKind {
        match self {
            Self::NoCredentials { .. } => AuthErrorKind::Missing,
            Self::Settings(_)
            | Self::Endpoint(_)
            | Self::UnknownProfile { .. }
            | Self::RegionDisabled { .. }
            | Self::AccountNotAllowed { .. } => AuthErrorKind::Config,
            Self::ExpiredKeys { .. } | Self::Expired { .. } => AuthErrorKind::Expired,
            Self::UnknownKey { .. } | Self::WrongSecret { .. } | Self::Source { .. } => {
                AuthErrorKind::Unauthenticated
            }
            Self::RoleDenied { .. } | Self::WebIdentity { .. } | Self::InternalBinding => {
                AuthErrorKind::Denied
            }
            Self::Clock { .. } => AuthErrorKind::ClockSkew,
            Self::Throttled { .. } | Self::Unreachable { .. } => AuthErrorKind::Unreachable,
            Self::Sign(_) | Self::SessionPolicy { .. } | Self::Unexpected { .. } => {
                AuthErrorKind::Other
            }
        }
    }
}

impl From<CredentialError> for AuthError {
    fn from(error: CredentialError) -> AuthError {
        let message = match error.hint() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        };
        AuthError::new(error.kind(), message)
    }
}

fn code_suffix(code: &str) -> String {
    if code.is_empty() {
        String::new()
    } else {
        format!(" and code {code}")
    }
}

/// A clock that is off, in words: `this machine's clock is 12 minutes ahead of
/// AWS's`. `seconds` is this machine's time minus AWS's.
pub fn skew_sentence(seconds: i64) -> String {
    let direction = if seconds < 0 { "behind" } else { "ahead of" };
    let off = seconds.unsigned_abs();
    let amount = match off {
        0..=119 => format!("{off} seconds"),
        120..=7199 => format!("{} minutes", off / 60),
        7200..=172_799 => format!("{} hours", off / 3600),
        _ => format!("{} days", off / 86_400),
    };
    format!("this machine's clock is {amount} {direction} AWS's, which takes at most five minutes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_said_in_words() {
        for (seconds, words) in [
            (90, "90 seconds ahead of"),
            (-720, "12 minutes behind"),
            (3 * 3600, "3 hours ahead of"),
            (-40 * 86_400, "40 days behind"),
        ] {
            assert_eq!(
                CredentialError::Clock { seconds }.to_string(),
                format!("this machine's clock is {words} AWS's, which takes at most five minutes")
            );
        }
    }
}
