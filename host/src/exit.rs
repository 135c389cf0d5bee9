//! How a command ends: a typed exit code, one sentence, and the next step.

use std::process::ExitCode;

/// Exit codes; documented in `docs/cli.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Success = 0,
    /// A failure of ours, or of the machine.
    Failure = 1,
    /// A mistake in the command, a setting or a file.
    Usage = 2,
    /// The upstream does not know us or does not let us.
    Denied = 3,
    /// Something that was named is not there, or stands in the way.
    NotFound = 4,
    /// The upstream cannot be reached or asks to wait; trying later may help.
    Unavailable = 5,
    /// The plugin is not approved, or did what it may not.
    Plugin = 6,
    /// Of several clusters some were done, and some were not.
    Some = 7,
    /// Of several clusters none was done.
    None = 8,
    /// Stopped by a signal.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub struct CliError {
    /// The exit code.
    pub exit: Exit,
    /// The fact: what was wrong, where.
    pub message: String,
    /// What to do; often the next command.
    pub hint: Option<String>,
}

impl CliError {
    /// An error without a hint.
    pub fn new(exit: Exit, message: impl Into<String>) -> CliError {
        CliError {
            exit,
            message: message.into(),
            hint: None,
        }
    }

    /// The same with the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> CliError {
        self.hint = Some(hint.into());
        self
    }
}

impl From<crate::plugin::PluginError> for CliError {
    fn from(error: crate::plugin::PluginError) -> CliError {
        use crate::plugin::PluginError;
        let message = error.to_string();
        match error {
            PluginError::NotApproved { .. } => CliError::new(Exit::Plugin, message)
                .hint("look at it with `baton-host plugin inspect FILE`, then `baton-host plugin approve FILE`"),
            PluginError::Descriptor { .. } => CliError::new(Exit::Plugin, message),
            PluginError::Read { .. } => CliError::new(Exit::Usage, message)
                .hint("name the file with --plugin or BATON_PLUGIN"),
            PluginError::Component { .. } | PluginError::Lock(_) => {
                CliError::new(Exit::Usage, message)
            }
        }
    }
}

impl From<crate::plugin::LockError> for CliError {
    fn from(error: crate::plugin::LockError) -> CliError {
        CliError::new(Exit::Usage, error.to_string())
    }
}

impl From<crate::sandbox::SandboxError> for CliError {
    fn from(error: crate::sandbox::SandboxError) -> CliError {
        CliError::new(Exit::Failure, error.to_string())
    }
}

impl From<crate::credentials::error::CredentialError> for CliError {
    fn from(error: crate::credentials::error::CredentialError) -> CliError {
        use crate::upstream::auth::AuthErrorKind as Kind;
        let exit = match error.kind() {
            Kind::Config => Exit::Usage,
            Kind::Unreachable => Exit::Unavailable,
            Kind::Other => Exit::Failure,
            Kind::Missing
            | Kind::Expired
            | Kind::Unauthenticated
            | Kind::Denied
            | Kind::ClockSkew => Exit::Denied,
        };
        let hint = error.hint();
        CliError {
            exit,
            message: error.to_string(),
            hint,
        }
    }
}

impl From<crate::upstream::UpstreamError> for CliError {
    fn from(error: crate::upstream::UpstreamError) -> CliError {
        use crate::upstream::UpstreamError as Error;
        let exit = match &error {
            Error::NoCluster { .. } | Error::NoEndpoint(_) => Exit::NotFound,
            Error::Unauthenticated { .. }
            | Error::NotPermitted { .. }
            | Error::Clock { .. }
            | Error::Credentials(_) => Exit::Denied,
            _ => Exit::Unavailable,
        };
        CliError::new(exit, error.to_string())
    }
}

/// What to do where a disk is full or a folder is missing.
fn room(error: &crate::c1z::Error) -> Option<String> {
    use crate::c1z::Error;
    use std::io::ErrorKind;
    let hint = match error {
        Error::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
            "make the folder, or name another one"
        }
        Error::Io { source, .. } if source.kind() == ErrorKind::StorageFull => FULL,
        Error::Database {
            source: rusqlite::Error::SqliteFailure(failure, _),
            ..
        } if failure.code == rusqlite::ErrorCode::DiskFull => FULL,
        _ => return None,
    };
    Some(hint.to_owned())
}

const FULL: &str = "make room: the folder of the access file needs it for the file, that of work files \
                    (--c1z-temp-dir; in a fleet `work-folder`) for the same unpacked \
                    (docs/access-file.md, \"Writing\")";

/// The exit code of an error of the contract (`docs/contract.md`, "Errors").
fn of_connector(error: &crate::sandbox::contract::types::Error) -> Exit {
    match error.kind.as_str() {
        "invalid-config" | "invalid-request" | "unsupported" => Exit::Usage,
        "unauthenticated" | "not-permitted" => Exit::Denied,
        "not-found" | "conflict" => Exit::NotFound,
        "rate-limited" | "unavailable" | "upstream" => Exit::Unavailable,
        "cancelled" => Exit::Interrupted,
        _ => Exit::Failure,
    }
}

impl From<crate::provision::ProvisionError> for CliError {
    fn from(error: crate::provision::ProvisionError) -> CliError {
        use crate::provision::{Cause, ProvisionError as Error, Rule};
        use crate::sandbox::CallError;
        let message = error.to_string();
        match error {
            Error::Refused { rule, hint, .. } => {
                let exit = match rule {
                    Rule::Switch | Rule::Entitlement | Rule::Principal => Exit::Usage,
                    Rule::Approval => Exit::Plugin,
                    Rule::Protected | Rule::Own | Rule::Node => Exit::NotFound,
                };
                CliError {
                    exit,
                    message,
                    hint,
                }
            }
            Error::Connector(error) | Error::Call(CallError::Connector(error)) => CliError {
                exit: of_connector(&error),
                message,
                hint: crate::plugin::attribute(&error.attributes, "hint").map(str::to_owned),
            },
            Error::Call(CallError::Cancelled) => CliError::new(Exit::Interrupted, message),
            Error::Call(_) | Error::BadPlan { .. } => CliError::new(Exit::Plugin, message),
            Error::Upstream(error) => error.into(),
            Error::Audit(_) => CliError::new(Exit::Failure, message).hint(
                "nothing is changed that cannot be written down; --audit-log names another place",
            ),
            Error::Busy { .. } => CliError::new(Exit::Unavailable, message).hint(
                "try again; a lock that a killed host left behind ends after its --lock-seconds",
            ),
            Error::Failed {
                cause, hint, left, ..
            } => {
                let exit = match cause {
                    Cause::NotPermitted => Exit::Denied,
                    Cause::Refused => Exit::NotFound,
                    Cause::Unavailable | Cause::Conflict | Cause::Deadline | Cause::Lock => {
                        Exit::Unavailable
                    }
                    Cause::Connector => Exit::Plugin,
                    Cause::Stopped => Exit::Interrupted,
                    Cause::Audit => Exit::Failure,
                };
                let again = (!left.is_empty()).then(|| {
                    "the same command again completes it, or the opposite takes it back; each request is in the audit log"
                        .to_owned()
                });
                CliError {
                    exit,
                    message,
                    hint: hint.or(again),
                }
            }
        }
    }
}

impl From<crate::sync::SyncError> for CliError {
    fn from(error: crate::sync::SyncError) -> CliError {
        use crate::sandbox::CallError;
        use crate::sync::SyncError;
        let message = error.to_string();
        match error {
            SyncError::Call {
                source: CallError::Connector(error),
                ..
            } => CliError {
                exit: of_connector(&error),
                message,
                hint: crate::plugin::attribute(&error.attributes, "hint").map(str::to_owned),
            },
            SyncError::Call { .. } | SyncError::Contract { .. } => {
                CliError::new(Exit::Plugin, message)
            }
            SyncError::UnknownKind { .. } | SyncError::People(_) => {
                CliError::new(Exit::Usage, message)
            }
            SyncError::Cancelled => CliError::new(Exit::Interrupted, message),
            SyncError::File(error) => {
                use crate::c1z::Error;
                let exit = match &error {
                    Error::NotAnAccessFile { .. }
                    | Error::Pebble { .. }
                    | Error::Damaged { .. }
                    | Error::TooLarge { .. } => Exit::Usage,
                    Error::Expansions { .. } => Exit::Plugin,
                    _ => Exit::Failure,
                };
                CliError {
                    exit,
                    message,
                    hint: room(&error),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_where_room_is_needed() {
        let full = |source| crate::c1z::Error::Io {
            doing: "writing",
            path: "x.c1z".into(),
            source,
        };
        let error = full(std::io::ErrorKind::StorageFull.into());
        let error = CliError::from(crate::sync::SyncError::File(error));
        assert_eq!(error.exit, Exit::Failure);
        assert_eq!(error.hint.as_deref(), Some(FULL));
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        let error = crate::c1z::Error::Database {
            doing: "writing a row",
            source: rusqlite::Error::SqliteFailure(code, None),
        };
        assert_eq!(room(&error).as_deref(), Some(FULL));
        let denied = full(std::io::ErrorKind::PermissionDenied.into());
        assert_eq!(room(&denied), None);
    }
}
