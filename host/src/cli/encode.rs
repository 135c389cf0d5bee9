//! `plugin encode`: from a core module to a component.

use std::io::Write as _;
use std::path::Path;

use super::exit::{CliError, Exit};

pub(super) fn encode(module: &Path, output: &Path) -> Result<Exit, CliError> {
    let usage = |text: String| CliError::new(Exit::Usage, text);
    let bytes = std::fs::read(module)
        .map_err(|error| usage(format!("cannot read {}: {error}", module.display())))?;
    let component = crate::plugin::encode(&bytes)
        .map_err(|error| usage(format!("{}: {error:#}", module.display())))?;
    let write = |error: std::io::Error| {
        CliError::new(
            Exit::Failure,
            format!("cannot write {}: {error}", output.display()),
        )
    };
    let folder = match output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(write)?;
    file.write_all(&component).map_err(write)?;
    file.persist(output).map_err(|error| write(error.error))?;
    Ok(Exit::Success)
}
