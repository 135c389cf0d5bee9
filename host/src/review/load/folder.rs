//! Folders of files, such as those of a fleet: `ACCOUNT/REGION/CLUSTER.c1z`.

use std::path::{Path, PathBuf};

use super::{LoadError, Source};

/// Names of other files that a note gives.
const NAMED: usize = 3;

/// Files and folders as files: of a folder, every `.c1z` file in it and in the
/// folders below, in the order of their names. Returns notes on what was passed
/// over. Links to folders are not followed.
///
/// # Errors
/// A folder cannot be read or holds no access file.
pub fn expand(paths: &[PathBuf]) -> Result<(Vec<Source>, Vec<String>), LoadError> {
    let (mut sources, mut notes) = (Vec::new(), Vec::new());
    for path in paths {
        if !path.is_dir() {
            sources.push(Source::from(path.as_path()));
            continue;
        }
        let (mut files, mut others) = (Vec::new(), Vec::new());
        let mut folders = vec![path.clone()];
        while let Some(folder) = folders.pop() {
            list(&folder, &mut folders, &mut files, &mut others).map_err(|error| {
                LoadError::Folder {
                    path: folder,
                    error,
                }
            })?;
        }
        if files.is_empty() {
            return Err(LoadError::NoFiles { path: path.clone() });
        }
        files.sort();
        others.sort();
        if !others.is_empty() {
            let names: Vec<String> = others
                .iter()
                .take(NAMED)
                .map(|other| {
                    other
                        .strip_prefix(path)
                        .unwrap_or(other)
                        .display()
                        .to_string()
                })
                .collect();
            let more = match others.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            notes.push(format!(
                "{}: not access files, passed over: {}{more}",
                path.display(),
                names.join(", ")
            ));
        }
        sources.extend(files.into_iter().map(|path| Source {
            path,
            sync: None,
            found: true,
        }));
    }
    Ok((sources, notes))
}

/// Whether a fleet writes it beside its access files.
fn beside(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.ends_with(".status.json"))
}

fn list(
    folder: &Path,
    folders: &mut Vec<PathBuf>,
    files: &mut Vec<PathBuf>,
    others: &mut Vec<PathBuf>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            folders.push(path);
        } else if path.extension().is_some_and(|ending| ending == "c1z") && path.is_file() {
            files.push(path);
        } else if !beside(&path) {
            others.push(path);
        }
    }
    Ok(())
}
