//! Why a sync failed.

use crate::c1z;
use crate::people::PeopleError;
use crate::sandbox::CallError;

/// What ended a sync, as one sentence. The file on disk is as it was before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// A call gave no answer, or an error of the contract; the latter's kind
    /// and hint are in `source`.
    #[error("{doing}: {source}")]
    Call {
        /// What was asked, `listing objects of role`.
        doing: String,
        /// Why there is no answer.
        source: CallError,
    },
    /// The connector answered what the contract forbids.
    #[error("{doing}: the connector broke the contract: {reason}")]
    Contract {
        /// What was asked.
        doing: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The choice of kinds names one that the connector does not list.
    #[error("there is no resource type {name}; the connector lists {}", .known.join(", "))]
    UnknownKind {
        /// The name given.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// The access file could not be read or written.
    #[error(transparent)]
    File(#[from] c1z::Error),
    /// What was listed could not be carried on to people.
    #[error(transparent)]
    People(PeopleError),
    /// The sync was stopped from outside.
    #[error("stopped")]
    Cancelled,
}

impl From<PeopleError> for SyncError {
    fn from(error: PeopleError) -> Self {
        match error {
            PeopleError::File(error) => Self::File(error),
            PeopleError::Cancelled => Self::Cancelled,
            error => Self::People(error),
        }
    }
}
