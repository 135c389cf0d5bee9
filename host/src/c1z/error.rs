//! Why an access file could not be read or written.

use std::io;
use std::path::{Path, PathBuf};

/// What went wrong with an access file, as one sentence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file does not begin with the magic bytes of an access file.
    #[error("{path} is not an access file (.c1z): give another path, or move it away")]
    NotAnAccessFile {
        /// The file.
        path: PathBuf,
    },
    /// The file has the format of newer SDKs, which only they read.
    #[error(
        "{path} has the newer Pebble format (C1Z3), which is not read here: \
         make it again with `--storage-engine sqlite`, or give another path"
    )]
    Pebble {
        /// The file.
        path: PathBuf,
    },
    /// The file ends early or its content cannot be decoded.
    #[error("{path} is damaged ({reason}): move it away, and the next sync makes a new one")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// The decoded content is larger than allowed.
    #[error("{path} holds more than {limit} bytes when decoded, which is more than is accepted")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// A grant, listed once or often, expands through too many entitlements.
    #[error("the grant {id} expands through more than {limit} entitlements")]
    Expansions {
        /// The grant.
        id: String,
        /// The limit.
        limit: usize,
    },
    /// What grants expand to would not fit into a file.
    #[error(
        "the grants expand to more than {limit} ways of access, which is more than a file can hold: \
         sync fewer kinds at once (--sync-resource-types)"
    )]
    TooManyWays {
        /// The limit.
        limit: u64,
    },
    /// The operating system refused.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was tried, as a participle.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database refused.
    #[error("{doing}: {source}")]
    Database {
        /// What was tried, as a participle.
        doing: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A row holds bytes that are not the message they should be.
    #[error("row {row} of {table} cannot be decoded: {source}")]
    Row {
        /// The table.
        table: &'static str,
        /// The row's id.
        row: i64,
        /// What the decoder said.
        source: prost::DecodeError,
    },
    /// The sync that was asked for is not in the file.
    #[error("{path} holds no sync {id}")]
    NoSuchSync {
        /// The file.
        path: PathBuf,
        /// The id asked for.
        id: String,
    },
    /// A message lacks what its row needs.
    #[error("cannot write {what}: it lacks {missing}")]
    Incomplete {
        /// The message.
        what: &'static str,
        /// The field.
        missing: &'static str,
    },
    /// The system has no random numbers.
    #[error("making an id for the sync: {0}")]
    Random(String),
}

impl Error {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }

    pub(super) fn database(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Database { doing, source }
    }
}
