//! The chain of an audit log: where it ends, and whether it holds.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, Read as _, Seek as _, SeekFrom};

use serde::{Deserialize, Serialize};

use super::{BEGINNING, Event, hash};

/// The end of a log.
pub(super) struct Tail {
    pub(super) sequence: u64,
    pub(super) hash: String,
    /// Whether the last row was cut off, so that a new line must begin first.
    pub(super) torn: bool,
}

pub(super) enum TailError {
    Io(std::io::Error),
    Strange(String),
}

impl From<std::io::Error> for TailError {
    fn from(error: std::io::Error) -> Self {
        TailError::Io(error)
    }
}

/// Bytes that are read at once from the end. A row is rarely longer.
const STEP: u64 = 64 << 10;

/// Finds the end of the chain. A row that a crash cut off counts as one: the
/// next one names its hash, and `verify` reports it.
pub(super) fn tail(file: &File) -> Result<Tail, TailError> {
    let mut file = file;
    let mut from = file.seek(SeekFrom::End(0))?;
    let mut end: Vec<u8> = Vec::new();
    // Enough is read when a whole row is there and what a crash left after it.
    while from > 0 && end.iter().filter(|byte| **byte == b'\n').count() < 2 {
        let step = STEP.min(from);
        from -= step;
        file.seek(SeekFrom::Start(from))?;
        let mut more = Vec::new();
        std::io::Read::take(file, step).read_to_end(&mut more)?;
        more.extend_from_slice(&end);
        end = more;
    }
    if end.is_empty() {
        return Ok(Tail {
            sequence: 0,
            hash: BEGINNING.to_owned(),
            torn: false,
        });
    }
    let torn = end.last() != Some(&b'\n');
    let mut lines = end
        .strip_suffix(b"\n")
        .unwrap_or(&end)
        .rsplit(|byte| *byte == b'\n');
    let last = lines.next().unwrap_or_default();
    if !torn {
        return Ok(Tail {
            sequence: sequence(last).map_err(TailError::Strange)?,
            hash: hash(last),
            torn,
        });
    }
    let before = match lines.next() {
        Some(line) => sequence(line).map_err(TailError::Strange)?,
        None => 0,
    };
    Ok(Tail {
        sequence: before + 1,
        hash: hash(last),
        torn,
    })
}

fn sequence(line: &[u8]) -> Result<u64, String> {
    #[derive(Deserialize)]
    struct Numbered {
        sequence: u64,
    }
    serde_json::from_slice::<Numbered>(line)
        .map(|line| line.sequence)
        .map_err(|error| error.to_string())
}

/// What following the chain takes of a row.
#[derive(Deserialize)]
struct Link {
    sequence: u64,
    time: String,
    operation: String,
    event: Event,
    previous: String,
}

/// A log whose chain holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// How many rows it has.
    pub rows: u64,
    /// The hash of the last one: what to note elsewhere.
    pub last: String,
    /// When the first was written.
    pub from: Option<String>,
    /// When the last was written.
    pub until: Option<String>,
    /// Rows that were cut off while they were written, by a crash or a full
    /// disk. The chain goes on after them; only the last row of
    /// the log is not known to another yet.
    pub torn: Vec<u64>,
    /// Operations that began and never ended: the host was killed.
    pub unfinished: Vec<String>,
}

/// The first row that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row {row} is broken: {reason}")]
pub struct Broken {
    /// Its number, from 1.
    pub row: u64,
    /// Why.
    pub reason: String,
}

/// Follows the chain from the first row to the last.
///
/// # Errors
/// The first row that was changed, or before which something was taken out or
/// put in; and what cannot be read.
pub fn verify(mut log: impl BufRead) -> Result<Verified, Broken> {
    let mut found = Verified {
        rows: 0,
        last: BEGINNING.to_owned(),
        from: None,
        until: None,
        torn: Vec::new(),
        unfinished: Vec::new(),
    };
    let mut open: BTreeMap<String, u64> = BTreeMap::new();
    // A row that cannot be read is forgiven if the next one knows it.
    let mut strange: Option<Broken> = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        let row = found.rows + 1;
        let broken = |reason: String| Broken { row, reason };
        log.read_until(b'\n', &mut line)
            .map_err(|error| broken(format!("the log cannot be read: {error}")))?;
        if line.is_empty() {
            break;
        }
        let ended = line.last() == Some(&b'\n');
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        match serde_json::from_slice::<Link>(text) {
            // The last one, half written: as if a crash did that, and the next
            // row goes on after it. That rows are missing at the end cannot be
            // proven here anyway.
            Err(_) if !ended && strange.is_none() => found.torn.push(row),
            Err(error) => {
                let cut = broken(format!("it is no row of an audit log: {error}"));
                if let Some(first) = strange {
                    return Err(first);
                }
                strange = Some(cut);
            }
            Ok(read) => {
                if read.previous != found.last {
                    return Err(strange.unwrap_or_else(|| {
                        broken(if found.rows == 0 {
                            "it is not the first row of a log: rows before it are gone".into()
                        } else {
                            format!(
                                "it does not follow row {}: a row was changed, taken out or put in",
                                row - 1
                            )
                        })
                    }));
                }
                if read.sequence != row {
                    return Err(broken(format!("it has number {}", read.sequence)));
                }
                if strange.take().is_some() {
                    found.torn.push(row - 1);
                }
                if !ended {
                    found.torn.push(row);
                }
                if found.from.is_none() {
                    found.from = Some(read.time.clone());
                }
                found.until = Some(read.time);
                match read.event {
                    Event::Done | Event::Failed | Event::Refused => {
                        open.remove(&read.operation);
                    }
                    _ => {
                        open.entry(read.operation).or_insert(row);
                    }
                }
            }
        }
        found.rows = row;
        found.last = hash(text);
    }
    if let Some(cut) = strange {
        return Err(cut);
    }
    let mut unfinished: Vec<(u64, String)> = open.into_iter().map(|(id, row)| (row, id)).collect();
    unfinished.sort();
    found.unfinished = unfinished.into_iter().map(|(_, id)| id).collect();
    Ok(found)
}
