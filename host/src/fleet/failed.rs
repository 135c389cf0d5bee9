//! Why a cluster's sync failed, for people and for the scheduler.

use jiff::Timestamp;

use super::board::{Failure, FailureKind};
use crate::exit::{CliError, Exit};
use crate::job::JobError;
use crate::plugin::PluginError;

/// A sync that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) kind: FailureKind,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// Nothing but another configuration helps, an approval for example: it is
    /// not tried again by itself.
    pub(super) disables: bool,
    /// Stopped from outside.
    pub(super) cancelled: bool,
}

impl Failed {
    fn new(kind: FailureKind, message: String) -> Failed {
        Failed {
            kind,
            message,
            hint: None,
            disables: false,
            cancelled: false,
        }
    }

    pub(super) fn configuration(message: String) -> Failed {
        Failed::new(FailureKind::Configuration, message)
    }

    pub(super) fn host(message: String) -> Failed {
        Failed::new(FailureKind::Host, message)
    }

    pub(super) fn unapproved(message: String) -> Failed {
        Failed {
            disables: true,
            ..Failed::new(FailureKind::Plugin, message)
        }
        .hint("look at it with `baton-host plugin inspect FILE`, then `baton-host plugin approve FILE --lock LOCK`")
    }

    pub(super) fn cancelled() -> Failed {
        Failed {
            cancelled: true,
            ..Failed::new(FailureKind::Host, "stopped".to_owned())
        }
    }

    pub(super) fn plugin(error: PluginError) -> Failed {
        let kind = match &error {
            PluginError::Read { .. } | PluginError::Lock(_) => FailureKind::Configuration,
            _ => FailureKind::Plugin,
        };
        Failed::new(kind, error.to_string())
    }

    /// A connector may say that it was stopped; where nobody did that, it is
    /// a failure like others.
    #[must_use]
    pub(super) fn unasked(self) -> Failed {
        let message = format!("{}; nobody asked for that", self.message);
        Failed::new(FailureKind::Plugin, message)
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Failed {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn at(&self, at: Timestamp) -> Failure {
        Failure {
            at,
            kind: self.kind,
            message: self.message.clone(),
            hint: self.hint.clone(),
        }
    }

    /// Whether the next moment may be better than this one.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self.kind, FailureKind::Unavailable | FailureKind::Host)
    }
}

impl From<CliError> for Failed {
    fn from(error: CliError) -> Failed {
        let kind = match error.exit {
            Exit::Usage => FailureKind::Configuration,
            Exit::Denied => FailureKind::Denied,
            Exit::NotFound => FailureKind::NotFound,
            Exit::Unavailable => FailureKind::Unavailable,
            Exit::Plugin => FailureKind::Plugin,
            _ => FailureKind::Host,
        };
        Failed {
            hint: error.hint,
            cancelled: error.exit == Exit::Interrupted,
            ..Failed::new(kind, error.message)
        }
    }
}

impl From<JobError> for Failed {
    fn from(error: JobError) -> Failed {
        match error {
            // Its hint is about flags, of which a fleet has none.
            JobError::Settings(_) => Failed::configuration(error.to_string()),
            error => CliError::from(error).into(),
        }
    }
}
