//! The audit log: one JSON line for each thing that provisioning did or
//! refused, with the hash of the line before, so that a gap shows.
//!
//! The file is opened for appending only, belongs to its owner alone, and is
//! locked for the moment of a row, so that several hosts share one chain. A row
//! is on disk before the request that it announces is sent. The chain has no
//! key: who may write the file can write all of it anew, so copy it away, or
//! note the last hash elsewhere.

mod chain;

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::Direction;

pub use chain::{Broken, Verified, verify};

/// What stands where no line is before.
pub(super) const BEGINNING: &str =
    "0000000000000000000000000000000000000000000000000000000000000000";

/// Where rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditTarget {
    /// A file, made where it is not there.
    File(PathBuf),
    /// Standard output: a chain for each process.
    Stdout,
}

impl AuditTarget {
    /// A value of `--audit-log`.
    #[must_use]
    pub fn parse(text: &str) -> AuditTarget {
        match text {
            "-" => AuditTarget::Stdout,
            path => AuditTarget::File(path.into()),
        }
    }

    /// The file beside an access file: `sync.audit.jsonl` for `sync.c1z`.
    #[must_use]
    pub fn beside(access_file: &Path) -> AuditTarget {
        AuditTarget::File(access_file.with_extension("audit.jsonl"))
    }
}

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// Somebody asked for it.
    Asked,
    /// The host did not let it happen; nothing was sent.
    Refused,
    /// A request: before it is sent without a status, then with the answer's.
    Request,
    /// The same for a request that takes one back.
    Undo,
    /// It is as it was asked for.
    Done,
    /// It is not; the message says what was left.
    Failed,
}

/// One row, without what the log itself adds: time, sequence and chain.
#[derive(Debug, Clone, Serialize)]
pub struct Row<'a> {
    /// The id of the operation, on all of its rows.
    pub operation: &'a str,
    /// What the row is about.
    pub event: Event,
    /// Who asked.
    pub asked_by: &'a str,
    /// The cluster's ARN.
    pub cluster: &'a str,
    /// Who we are, as STS says.
    pub caller: &'a str,
    /// The id of the entitlement.
    pub entitlement: &'a str,
    /// `kind:id`.
    pub principal: &'a str,
    /// Grant or revoke.
    pub direction: Direction,
    /// The digest of the plugin.
    pub plugin: &'a str,
    /// The upstream of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<&'a str>,
    /// The method of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'a str>,
    /// Path and query of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'a str>,
    /// The body as it is sent; credentials are in headers, and so never here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<&'a Value>,
    /// The status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// One sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<&'a str>,
}

/// A row as it is written.
#[derive(Serialize)]
struct Line<'a> {
    sequence: u64,
    time: String,
    #[serde(flatten)]
    row: &'a Row<'a>,
    previous: String,
}

/// Why nothing can be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// It cannot be opened.
    #[error("cannot open the audit log {path}: {source}")]
    Open {
        /// The log.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not what an audit log may be.
    #[error("the audit log {path} {reason}")]
    Unfit {
        /// The log.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: &'static str,
    },
    /// Its last row cannot be understood, so there is nothing to chain to.
    #[error(
        "the last row of the audit log {path} is none of ours: {reason}; move the file away to begin a new one"
    )]
    Tail {
        /// The log.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A row cannot be written.
    #[error("cannot write to the audit log {target}: {source}")]
    Write {
        /// The log.
        target: String,
        /// What the system said.
        source: std::io::Error,
    },
}

enum Out {
    File {
        path: PathBuf,
        file: File,
    },
    /// Standard output, whose last line nobody can read back.
    Stdout,
    /// Nothing: nothing is sent.
    Nowhere,
    /// Rows for a test.
    #[cfg(test)]
    Memory(std::sync::Arc<Mutex<Vec<u8>>>),
}

/// Where the chain of a stream stands.
struct Standing {
    sequence: u64,
    previous: String,
}

/// An open audit log.
pub struct Audit {
    out: Out,
    standing: Mutex<Standing>,
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Audit")
    }
}

impl Audit {
    /// Opens the log. A file that others may write, a link or anything else
    /// that is no file of our own is refused.
    ///
    /// # Errors
    /// See [`AuditError`].
    pub fn open(target: &AuditTarget) -> Result<Audit, AuditError> {
        let out = match target {
            AuditTarget::Stdout => Out::Stdout,
            AuditTarget::File(path) => Out::File {
                file: open(path)?,
                path: path.clone(),
            },
        };
        Ok(Audit::over(out))
    }

    /// No log, for orders that only look: a plan sends nothing. Rows fail, as
    /// nothing may happen that they would tell of.
    #[must_use]
    pub fn nowhere() -> Audit {
        Audit::over(Out::Nowhere)
    }

    /// A log that a test reads.
    #[cfg(test)]
    pub(crate) fn memory() -> (Audit, std::sync::Arc<Mutex<Vec<u8>>>) {
        let rows = std::sync::Arc::default();
        (Audit::over(Out::Memory(std::sync::Arc::clone(&rows))), rows)
    }

    fn over(out: Out) -> Audit {
        Audit {
            out,
            standing: Mutex::new(Standing {
                sequence: 0,
                previous: BEGINNING.to_owned(),
            }),
        }
    }

    /// Writes a row. Where it fails, nothing may be sent.
    ///
    /// # Errors
    /// See [`AuditError`].
    pub fn row(&self, row: &Row<'_>) -> Result<(), AuditError> {
        // One row at a time, also within the process: file locks are the file's.
        let mut standing = self
            .standing
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let write = |source: std::io::Error| AuditError::Write {
            target: match &self.out {
                Out::File { path, .. } => path.display().to_string(),
                Out::Nowhere => "of a plan".to_owned(),
                _ => "standard output".to_owned(),
            },
            source,
        };
        match &self.out {
            Out::File { path, file } => {
                file.lock().map_err(write)?;
                let result = append(path, file, row);
                let unlocked = file.unlock().map_err(write);
                result.and(unlocked)
            }
            Out::Stdout => {
                let line = standing.next(row).map_err(write)?;
                let mut out = std::io::stdout().lock();
                out.write_all(line.as_bytes())
                    .and_then(|()| out.flush())
                    .map_err(write)
            }
            Out::Nowhere => Err(write(std::io::ErrorKind::Unsupported.into())),
            #[cfg(test)]
            Out::Memory(rows) => {
                let line = standing.next(row).map_err(write)?;
                rows.lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .extend_from_slice(line.as_bytes());
                Ok(())
            }
        }
    }
}

impl Standing {
    /// The next line, with its end.
    fn next(&mut self, row: &Row<'_>) -> std::io::Result<String> {
        self.sequence += 1;
        let line = Line {
            sequence: self.sequence,
            time: format!("{:.3}", jiff::Timestamp::now()),
            row,
            previous: std::mem::take(&mut self.previous),
        };
        let mut text = ascii(&serde_json::to_string(&line)?);
        self.previous = hash(text.as_bytes());
        text.push('\n');
        Ok(text)
    }
}

/// What stands for a line in the one after it: SHA-256 without the end of line.
pub(super) fn hash(line: &[u8]) -> String {
    hex::encode(Sha256::digest(line))
}

/// JSON in ASCII: outside of strings it is so anyway, and inside of them an
/// escape is the same. A log is looked at in terminals.
fn ascii(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            safe.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    safe
}

fn open(path: &Path) -> Result<File, AuditError> {
    let unfit = |reason| AuditError::Unfit {
        path: path.to_owned(),
        reason,
    };
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = File::options()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
        .open(path)
        .map_err(|source| match rustix::io::Errno::from_io_error(&source) {
            Some(rustix::io::Errno::LOOP) => {
                unfit("is a symbolic link, and somebody else may turn it; name the file itself")
            }
            _ => AuditError::Open {
                path: path.to_owned(),
                source,
            },
        })?;
    let about = file.metadata().map_err(|source| AuditError::Open {
        path: path.to_owned(),
        source,
    })?;
    if !about.is_file() {
        return Err(unfit("is no file; `-` is standard output"));
    }
    if about.uid() != rustix::process::geteuid().as_raw() {
        return Err(unfit("belongs to another user, who could change it"));
    }
    if about.mode() & 0o022 != 0 {
        return Err(unfit(
            "can be written by others than its owner; `chmod go-w` ends that",
        ));
    }
    Ok(file)
}

/// Appends a row to a file that is locked, after whatever others wrote.
fn append(path: &Path, file: &File, row: &Row<'_>) -> Result<(), AuditError> {
    let write = |source: std::io::Error| AuditError::Write {
        target: path.display().to_string(),
        source,
    };
    let tail = chain::tail(file).map_err(|error| match error {
        chain::TailError::Io(source) => write(source),
        chain::TailError::Strange(reason) => AuditError::Tail {
            path: path.to_owned(),
            reason,
        },
    })?;
    let mut standing = Standing {
        sequence: tail.sequence,
        previous: tail.hash,
    };
    let mut line = standing.next(row).map_err(write)?;
    if tail.torn {
        line.insert(0, '\n');
    }
    let mut file = file;
    file.write_all(line.as_bytes())
        .and_then(|()| file.sync_data())
        .map_err(write)
}

#[cfg(test)]
mod tests;
