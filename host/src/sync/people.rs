//! What is done to the rows between the last listing and the end of a sync, on
//! a thread that may wait for the disk.

use std::collections::BTreeMap;
use std::path::Path;

use super::engine::{Options, blocking};
use super::error::SyncError;
use super::progress::{Phase, Progress};
use super::summary::Notes;
use crate::c1z::{FileOptions, Which, Writer};
use crate::people::{self, Expanded, Imported, PeopleError, Watch};

/// Rows between two looks at the progress.
const STEP: u64 = 1_000;

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) expanded: Expanded,
    pub(super) imported: Option<Imported>,
    /// Grants in the file.
    pub(super) grants: u64,
    /// Counted anew where principals came over from another file.
    pub(super) without_row: Option<BTreeMap<String, u64>>,
}

/// Carries what was listed on to people.
pub(super) async fn run<P: Progress>(
    mut writer: Writer,
    mut notes: Notes,
    options: &Options,
    file: &Path,
    file_options: &FileOptions,
    progress: &mut P,
) -> Result<(Writer, Notes, Done), SyncError> {
    if options.skip_grants || options.skip_entitlements_and_grants {
        if options.external.is_some() {
            notes.warn(
                "external-skipped",
                "accounts and groups are imported by a sync of everything only",
                None,
            );
        }
        return Ok((writer, notes, Done::default()));
    }
    let cancelled = options.cancelled.clone();
    let external = options.external.clone();
    let (file, file_options) = (file.to_owned(), file_options.clone());
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let work = blocking(move || {
        let mut done = Done::default();
        let mut warn = |reason: &'static str, message: &str, example: Option<&str>| {
            notes.warn(reason, message, example);
        };
        // Nobody may be listening any more.
        let tell = |phase, count| {
            let _ = told.send((phase, count));
        };
        let counter = |phase| {
            let (told, mut next) = (told.clone(), STEP);
            move |count| {
                if count >= next {
                    next = count + STEP;
                    let _ = told.send((phase, Some(count)));
                }
            }
        };
        let mut sessions = people::Sessions::new();
        if let Some(external) = &external {
            tell(Phase::Importing, None);
            let mut watch = Watch {
                cancelled: &cancelled,
                found: &mut counter(Phase::Importing),
                warn: &mut warn,
            };
            let (imported, those) =
                people::import(&mut writer, external, &file, &file_options, &mut watch)?;
            sessions = those;
            tell(Phase::Importing, Some(imported.resources + imported.grants));
            done.imported = Some(imported);
        }
        tell(Phase::Expanding, None);
        let mut watch = Watch {
            cancelled: &cancelled,
            found: &mut counter(Phase::Expanding),
            warn: &mut warn,
        };
        done.expanded = people::expand(&mut writer, &sessions, &mut watch)?;
        tell(Phase::Expanding, Some(done.expanded.grants));
        done.grants = writer.tally().grants;
        if external.is_some() {
            done.without_row = Some(without_row(&writer)?);
        }
        Ok::<_, PeopleError>((writer, notes, done))
    });
    let mut work = std::pin::pin!(work);
    let mut show = |said| match said {
        (phase, None) => progress.phase(phase),
        (phase, Some(count)) => progress.found(phase, "", count),
    };
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            Some(said) = heard.recv() => show(said),
        }
    };
    while let Ok(said) = heard.try_recv() {
        show(said);
    }
    Ok(done??)
}

/// Grants whose principal has no row, by the principal's kind.
fn without_row(writer: &Writer) -> Result<BTreeMap<String, u64>, PeopleError> {
    let mut counts = BTreeMap::new();
    let mut after = 0;
    loop {
        let chunk = writer.grants_after(after, Which::All)?;
        let Some(last) = chunk.last() else {
            return Ok(counts);
        };
        after = last.row;
        for grant in chunk {
            if !writer.has_resource(&grant.principal_type, &grant.principal) {
                super::summary::count_kind(&mut counts, &grant.principal_type);
            }
        }
    }
}
