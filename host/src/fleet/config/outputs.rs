//! Where access files go: within their folder, each in one place.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// Whether a path is within a folder wherever links lead. What is not there
/// yet is where its nearest parent is.
///
/// # Errors
/// One sentence: where it leads, or why that cannot be told.
pub fn inside(folder: &Path, path: &Path) -> Result<(), String> {
    let cannot = |path: &Path, error: &std::io::Error| match error.kind() {
        ErrorKind::PermissionDenied => {
            format!("cannot look where {} leads: {error}", path.display())
        }
        _ => format!(
            "the access file would escape its folder: cannot tell where {} leads: {error}",
            path.display()
        ),
    };
    let home = real(folder).map_err(|error| cannot(folder, &error))?;
    let real = real(path).map_err(|error| cannot(path, &error))?;
    if real.starts_with(&home) && real != home {
        return Ok(());
    }
    Err(format!(
        "the access file would escape its folder: {} leads to {}, outside of {}",
        path.display(),
        real.display(),
        folder.display()
    ))
}

/// A path without links. Only what is there can be a link; the rest stands as
/// it is written, and a link that leads nowhere is an error.
pub(super) fn real(path: &Path) -> std::io::Result<PathBuf> {
    let mut missing: Vec<OsString> = Vec::new();
    let mut there = std::path::absolute(path)?;
    loop {
        match std::fs::symlink_metadata(&there) {
            Ok(_) => {
                let mut real = std::fs::canonicalize(&there)?;
                real.extend(missing.iter().rev());
                return Ok(real);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let Some(name) = there.file_name().map(ToOwned::to_owned) else {
            return Err(std::io::Error::from(std::io::ErrorKind::InvalidInput));
        };
        missing.push(name);
        there.pop();
    }
}

/// The access file that a table names, within its folder.
pub(super) fn named(
    template: &str,
    account: &str,
    region: &str,
    name: &str,
) -> Result<PathBuf, String> {
    let text = template
        .replace("{account}", account)
        .replace("{region}", region)
        .replace("{cluster}", name);
    if text.contains(['{', '}']) || text.chars().any(char::is_control) {
        return Err("it takes {account}, {region} and {cluster} only".to_owned());
    }
    let path = PathBuf::from(&text);
    if !text.ends_with(".c1z") || path.file_stem().is_none() {
        return Err("an access file ends with .c1z".to_owned());
    }
    let within = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !within {
        return Err("it leaves the output folder".to_owned());
    }
    Ok(path)
}
