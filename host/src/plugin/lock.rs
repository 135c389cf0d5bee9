//! `baton.lock`: which digests may run, and what each was approved for.
//!
//! Written by `plugin approve` after it has shown the list. With a lock, a
//! digest that it does not name does not run; without one, the built-in `read`
//! profile applies to whatever file is given.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Why a lock file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not a lock file.
    #[error("{path} is not a lock file: {message}")]
    Parse {
        /// The lock file.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
    /// It cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What an operator approved for one digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Groups of rights: `read`, `identities`, `provision`.
    pub groups: BTreeSet<String>,
    /// The rights as they were shown; absent for the built-in profile, which
    /// takes whatever the ceiling has in `read`.
    pub rights: Option<BTreeSet<String>>,
}

impl Approval {
    /// The profile that applies without a lock.
    #[must_use]
    pub fn built_in() -> Approval {
        Approval {
            groups: BTreeSet::from(["read".to_owned()]),
            rights: None,
        }
    }

    /// Whether a right of an upstream in a group was approved.
    #[must_use]
    pub fn allows(&self, upstream: &str, group: &str, right: &str) -> bool {
        self.groups.contains(group)
            && self
                .rights
                .as_ref()
                .is_none_or(|rights| rights.contains(&format!("{upstream}: {right}")))
    }
}

/// One approved plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPlugin {
    /// The connector's name.
    pub name: String,
    /// Its version, for people.
    pub version: String,
    /// `sha256:` and 64 hex digits.
    pub digest: String,
    /// Approved groups.
    pub groups: BTreeSet<String>,
    /// Approved rights, `<upstream>: <right>`.
    pub rights: BTreeSet<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    #[serde(default)]
    plugin: Vec<LockedPlugin>,
}

/// The lock file, or its absence.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    content: Option<Content>,
}

impl Lock {
    /// Reads the lock file, if there is one.
    ///
    /// # Errors
    /// When there is one and it cannot be read or understood.
    pub fn read(path: &Path) -> Result<Lock, LockError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Lock {
                    path: path.to_owned(),
                    content: None,
                });
            }
            Err(source) => {
                return Err(LockError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let parse = |message: String| LockError::Parse {
            path: path.to_owned(),
            message,
        };
        let content: Content = toml::from_str(&text)
            .map_err(|error| parse(error.to_string().trim().replace('\n', " ")))?;
        if content.version != 1 {
            return Err(parse(format!(
                "it has version {}, this host reads version 1",
                content.version
            )));
        }
        Ok(Lock {
            path: path.to_owned(),
            content: Some(content),
        })
    }

    /// No lock: the built-in profile is all that is approved.
    #[must_use]
    pub fn none() -> Lock {
        Lock {
            path: PathBuf::from("baton.lock"),
            content: None,
        }
    }

    /// Whether there is one.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.content.is_some()
    }

    /// Where it is, or would be.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn find(&self, digest: &str) -> Option<&LockedPlugin> {
        self.content
            .as_ref()?
            .plugin
            .iter()
            .find(|plugin| plugin.digest == digest)
    }

    /// Whether this digest was approved before, and so has been compiled.
    #[must_use]
    pub fn knows(&self, digest: &str) -> bool {
        self.find(digest).is_some()
    }

    /// What a digest may do: `None` when there is a lock that does not name it.
    #[must_use]
    pub fn approval(&self, digest: &str) -> Option<Approval> {
        if self.content.is_none() {
            return Some(Approval::built_in());
        }
        self.find(digest).map(|plugin| Approval {
            groups: plugin.groups.clone(),
            rights: Some(plugin.rights.clone()),
        })
    }

    /// Rights of `plugin` that no approved digest of the same name has: what
    /// an upgrade would add.
    #[must_use]
    pub fn added(&self, plugin: &LockedPlugin) -> BTreeSet<String> {
        let before: BTreeSet<&String> = self
            .content
            .iter()
            .flat_map(|content| &content.plugin)
            .filter(|other| other.name == plugin.name)
            .flat_map(|other| &other.rights)
            .collect();
        plugin
            .rights
            .iter()
            .filter(|right| !before.contains(right))
            .cloned()
            .collect()
    }

    /// Approves a plugin in place of all others of its name, and writes the
    /// file through a temporary one.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn approve(&mut self, plugin: LockedPlugin) -> Result<(), LockError> {
        let content = self.content.get_or_insert_with(|| Content {
            version: 1,
            plugin: Vec::new(),
        });
        content.plugin.retain(|other| other.name != plugin.name);
        content.plugin.push(plugin);
        content.plugin.sort_by(|a, b| a.name.cmp(&b.name));
        let write = |source: std::io::Error| LockError::Write {
            path: self.path.clone(),
            source,
        };
        let text = toml::to_string(content)
            .map_err(|error| write(std::io::Error::other(error.to_string())))?;
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(write)?;
        file.write_all(
            b"# Written by `baton-host plugin approve`: digests that may run, and what for.\n",
        )
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| file.as_file().sync_all())
        .map_err(write)?;
        file.persist(&self.path)
            .map_err(|error| write(error.error))?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn plugin(digest: &str, rights: &[&str]) -> LockedPlugin {
        LockedPlugin {
            name: "baton-eks".into(),
            version: "0.1.0".into(),
            digest: digest.into(),
            groups: BTreeSet::from(["read".into()]),
            rights: rights.iter().map(|r| (*r).to_owned()).collect(),
        }
    }

    #[test]
    fn without_a_lock_the_read_profile_applies() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::read(&folder.path().join("baton.lock")).unwrap();
        let approval = lock.approval("sha256:00").unwrap();
        assert!(approval.allows("eks", "read", "eks:DescribeCluster"));
        assert!(!approval.allows("iam", "identities", "iam:GetAccountAuthorizationDetails"));
        assert!(!approval.allows("eks", "provision", "eks:CreateAccessEntry"));
    }

    #[test]
    fn a_lock_names_digests_and_their_rights() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("baton.lock");
        let mut lock = Lock::read(&path).unwrap();
        lock.approve(plugin("sha256:aa", &["eks: eks:DescribeCluster"]))
            .unwrap();

        let lock = Lock::read(&path).unwrap();
        assert_eq!(lock.approval("sha256:bb"), None);
        let approval = lock.approval("sha256:aa").unwrap();
        assert!(approval.allows("eks", "read", "eks:DescribeCluster"));
        assert!(!approval.allows("eks", "read", "eks:ListAccessEntries"));
    }

    #[test]
    fn an_upgrade_shows_what_it_adds_and_replaces_the_old_digest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("baton.lock");
        let mut lock = Lock::read(&path).unwrap();
        lock.approve(plugin("sha256:aa", &["eks: a"])).unwrap();
        let newer = plugin("sha256:bb", &["eks: a", "eks: b"]);
        assert_eq!(lock.added(&newer), BTreeSet::from(["eks: b".to_owned()]));
        lock.approve(newer).unwrap();
        assert_eq!(lock.approval("sha256:aa"), None);
    }

    #[test]
    fn a_broken_lock_is_an_error_not_an_absence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("baton.lock");
        std::fs::write(&path, "plugin = 3").unwrap();
        assert!(matches!(Lock::read(&path), Err(LockError::Parse { .. })));
        std::fs::write(&path, "version = 2").unwrap();
        assert!(matches!(Lock::read(&path), Err(LockError::Parse { .. })));
    }
}
