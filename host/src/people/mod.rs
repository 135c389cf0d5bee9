//! From what a connector lists to people: what is done to the rows of a sync
//! between its last listing and its end.
//!
//! `external` takes accounts and groups from another connector's file,
//! `identity_center` finds the people behind roles of Identity Center in it,
//! `expand` carries access through roles and groups to those who hold them.

mod expand;
mod external;
mod identity_center;
mod metadata;

pub use expand::{Expanded, expand};
pub use external::{External, Imported};

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;

use crate::c1z::{Error, FileOptions, Writer, pb};

/// Grants that only some people behind their role have, by their rows: the ids
/// of the accounts of Identity Center (`sso_user`).
pub type Sessions = HashMap<i64, Vec<String>>;

/// Who watches a step, may end it, and hears its warnings.
pub struct Watch<'w> {
    /// Set from outside to end the step.
    pub cancelled: &'w AtomicBool,
    /// Called with the number of rows written so far; must return at once.
    pub found: &'w mut dyn FnMut(u64),
    /// Called with a fixed word, a sentence and an example.
    pub warn: &'w mut dyn FnMut(&'static str, &str, Option<&str>),
}

impl Watch<'_> {
    fn stop(&self) -> Result<(), PeopleError> {
        if self.cancelled.load(Ordering::Relaxed) {
            Err(PeopleError::Cancelled)
        } else {
            Ok(())
        }
    }

    fn found(&mut self, count: u64) {
        (self.found)(count);
    }

    fn warn(&mut self, reason: &'static str, message: &str, example: Option<&str>) {
        (self.warn)(reason, message, example);
    }
}

/// Takes accounts and groups from another connector's file and gives grants to
/// them; what it returns besides is for [`expand`]. `own` is the file that the
/// sync will replace.
///
/// # Errors
/// One of the files cannot be read or written, the filter names nothing, or it
/// is stopped.
pub fn import(
    writer: &mut Writer,
    external: &External,
    own: &Path,
    options: &FileOptions,
    watch: &mut Watch<'_>,
) -> Result<(Imported, Sessions), PeopleError> {
    let source = external::Source::open(external, own, options, watch)?;
    let mut imported = external::import(writer, &source, external, watch)?;
    let sessions = identity_center::run(writer, &source, &mut imported, watch)?;
    Ok((imported, sessions))
}

/// Whether a grant is there through others only. It names where it comes from
/// and not itself.
#[must_use]
pub fn is_inherited(grant: &pb::Grant) -> bool {
    let own = grant
        .entitlement
        .as_ref()
        .map(|entitlement| entitlement.id.as_str());
    grant.sources.as_ref().is_some_and(|from| {
        !from.sources.is_empty() && !own.is_some_and(|own| from.sources.contains_key(own))
    })
}

/// A database for one step, in a folder that does not outlive the sync: what
/// a step knows about millions of grants does not fit into memory.
fn scratch(path: &Path) -> Result<Connection, rusqlite::Error> {
    let db = Connection::open(path)?;
    db.execute_batch(
        "pragma journal_mode = off; pragma synchronous = off; pragma locking_mode = exclusive;
         pragma temp_store = file; pragma cache_size = -32768",
    )?;
    Ok(db)
}

/// How a step ends early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeopleError {
    /// The access file could not be read or written.
    #[error(transparent)]
    File(#[from] Error),
    /// The external file cannot be used.
    #[error("the external file {}: {reason}", .path.display())]
    External {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        reason: String,
    },
    /// More expansions than are followed.
    #[error(
        "the grants expand {0} times, which is more than is followed; sync fewer kinds at once (--sync-resource-types)"
    )]
    TooManyExpansions(usize),
    /// Stopped from outside.
    #[error("stopped")]
    Cancelled,
}
