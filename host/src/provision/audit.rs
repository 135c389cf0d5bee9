//! The audit log of changes: JSON lines, each with the hash of the last.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::Direction;

/// Where rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditTarget {
    /// A file that is only appended to.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

/// A row that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("the audit log cannot be written: {0}; nothing is changed without it")]
pub struct AuditError(pub String);

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// An order arrived.
    Asked,
    /// The guard or the check refused it.
    Refused,
    /// A request was sent, or is about to be (then it has no status).
    Request,
    /// A request that takes another back.
    Undo,
    /// The order ended well.
    Done,
    /// The order failed.
    Failed,
}

/// One row, without what the log adds: time, sequence, previous.
#[derive(Debug, Clone, Serialize)]
pub struct Row<'a> {
    /// The operation's id.
    pub operation: &'a str,
    /// What happened.
    pub event: Event,
    /// Who asked.
    pub asked_by: &'a str,
    /// The cluster's ARN.
    pub cluster: &'a str,
    /// Who the host is.
    pub caller: &'a str,
    /// The entitlement's id.
    pub entitlement: &'a str,
    /// `kind:id`.
    pub principal: &'a str,
    /// Grant or revoke.
    pub direction: Direction,
    /// The plugin's digest.
    pub plugin: &'a str,
    /// The upstream, of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<&'a str>,
    /// Method, of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'a str>,
    /// Path and query, of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'a str>,
    /// Body as it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<&'a Value>,
    /// Status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// One sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<&'a str>,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    sequence: u64,
    #[serde(flatten)]
    row: &'a Row<'a>,
    previous: String,
}

/// An open log.
#[derive(Debug)]
pub struct Audit {
    file: Option<File>,
    state: Mutex<(u64, String)>,
}

impl Audit {
    /// Opens the log.
    ///
    /// # Errors
    /// When it cannot be opened for appending, or others may write it.
    pub fn open(target: &AuditTarget) -> Result<Self, AuditError> {
        let file = match target {
            AuditTarget::Stdout => None,
            AuditTarget::File(path) => {
                let wrong = |why: String| AuditError(format!("{}: {why}", path.display()));
                let file = std::fs::OpenOptions::new()
                    .append(true)
                    .read(true)
                    .create(true)
                    .mode(0o600)
                    .custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0))
                    .open(path)
                    .map_err(|error| wrong(error.to_string()))?;
                let mode = file
                    .metadata()
                    .map_err(|error| wrong(error.to_string()))?
                    .permissions()
                    .mode();
                if mode & 0o022 != 0 {
                    return Err(wrong("others may write it; chmod it to 600".to_owned()));
                }
                Some(file)
            }
        };
        Ok(Self {
            file,
            state: Mutex::new((0, String::new())),
        })
    }

    /// Writes a row.
    ///
    /// # Errors
    /// When it is not on its way to the disk.
    pub fn row(&self, row: &Row<'_>) -> Result<(), AuditError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = |error: &dyn std::fmt::Display| AuditError(error.to_string());
        let previous = match &self.file {
            Some(file) => {
                flock(file, FlockOperation::LockExclusive).map_err(|error| wrong(&error))?;
                last_line(file).map_err(|error| wrong(&error))?
            }
            None => std::mem::take(&mut state.1),
        };
        let line = Line {
            time: jiff::Timestamp::now().to_string(),
            sequence: state.0,
            row,
            previous: if previous.is_empty() {
                String::new()
            } else {
                hex::encode(Sha256::digest(previous.as_bytes()))
            },
        };
        let text = serde_json::to_string(&line).map_err(|error| wrong(&error))?;
        let bytes = format!("{text}\n");
        let written = match &self.file {
            Some(file) => {
                let mut out = file;
                let written = out.write_all(bytes.as_bytes());
                let _ = flock(file, FlockOperation::Unlock);
                written
            }
            None => std::io::stdout().lock().write_all(bytes.as_bytes()),
        };
        written.map_err(|error| wrong(&error))?;
        *state = (state.0 + 1, text);
        Ok(())
    }
}

fn last_line(mut file: &File) -> std::io::Result<String> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(4 << 20)))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().last().unwrap_or_default().to_owned())
}
