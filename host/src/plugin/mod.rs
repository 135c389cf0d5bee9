//! Plugin files: read, verify, describe, and what the operator approved.
//!
//! What a plugin may do is ceiling ∩ declared ∩ approved. The ceiling is host
//! code (`upstream`), the declaration comes from `describe`, and approval is
//! the operator's, by digest, in `baton.lock`; without a lock it is the
//! built-in `read` profile.

mod descriptor;
mod encode;
mod lock;

use std::path::{Path, PathBuf};

pub use descriptor::{DescriptorError, attribute, attributes};
pub use encode::encode;
pub use lock::{Approval, Lock, LockError, LockedPlugin};

use crate::sandbox::{Component, ComponentError, Sandbox};

/// Why a plugin does not run.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The file cannot be read.
    #[error("cannot read the plugin {path}: {source}")]
    Read {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a connector.
    #[error("{path}: {source}")]
    Component {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ComponentError,
    },
    /// The connector declares something that no host runs.
    #[error("{path}: {source}")]
    Descriptor {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: DescriptorError,
    },
    /// The lock file does not name this digest.
    #[error("{lock} does not approve {name} {version} ({digest})")]
    NotApproved {
        /// The lock file.
        lock: PathBuf,
        /// The connector's name.
        name: String,
        /// Its version.
        version: String,
        /// Its digest.
        digest: String,
    },
    /// The lock file cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// A plugin that may run.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// Where it was read from.
    pub path: PathBuf,
    /// The compiled component.
    pub component: Component,
    /// What the operator approved.
    pub approval: Approval,
}

impl Plugin {
    /// Reads, checks, compiles and describes a plugin, and looks its approval
    /// up. `reserved` are the flag names that no setting may take.
    ///
    /// # Errors
    /// See [`PluginError`]; nothing of the plugin but `describe` has run.
    pub async fn load(
        sandbox: &Sandbox,
        path: &Path,
        lock: &Lock,
        reserved: &[String],
    ) -> Result<Plugin, PluginError> {
        let component = Self::component(sandbox, path, lock, reserved).await?;
        let approval = lock.approval(component.digest()).ok_or_else(|| {
            let descriptor = component.descriptor();
            PluginError::NotApproved {
                lock: lock.path().to_owned(),
                name: descriptor.name.clone(),
                version: descriptor.version.clone(),
                digest: component.digest().to_owned(),
            }
        })?;
        Ok(Plugin {
            path: path.to_owned(),
            component,
            approval,
        })
    }

    /// The same without asking for an approval: for looking at a plugin.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn component(
        sandbox: &Sandbox,
        path: &Path,
        lock: &Lock,
        reserved: &[String],
    ) -> Result<Component, PluginError> {
        let bytes = Self::bytes(path).await?;
        Self::component_of(sandbox, path, bytes, lock, reserved).await
    }

    /// The bytes of a plugin's file, at most one more than a component may have.
    ///
    /// # Errors
    /// [`PluginError::Read`].
    pub async fn bytes(path: &Path) -> Result<Vec<u8>, PluginError> {
        read(path).await.map_err(|source| PluginError::Read {
            path: path.to_owned(),
            source,
        })
    }

    /// The component that these bytes of a file are.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn component_of(
        sandbox: &Sandbox,
        path: &Path,
        bytes: Vec<u8>,
        lock: &Lock,
        reserved: &[String],
    ) -> Result<Component, PluginError> {
        let component = Component::load(sandbox, bytes, |digest| lock.knows(digest))
            .await
            .map_err(|source| PluginError::Component {
                path: path.to_owned(),
                source,
            })?;
        descriptor::check(component.descriptor(), reserved).map_err(|source| {
            PluginError::Descriptor {
                path: path.to_owned(),
                source,
            }
        })?;
        Ok(component)
    }
}

/// Reads at most one byte more than a component may have.
async fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use tokio::io::AsyncReadExt as _;
    let file = tokio::fs::File::open(path).await?;
    if file.metadata().await?.is_dir() {
        return Err(std::io::Error::new(
            std::io::ErrorKind::IsADirectory,
            "it is a folder",
        ));
    }
    let mut bytes = Vec::new();
    file.take(crate::sandbox::COMPONENT_SIZE + 1)
        .read_to_end(&mut bytes)
        .await?;
    Ok(bytes)
}
