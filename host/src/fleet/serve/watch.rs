//! Notices that the configuration on disk is another one.
//!
//! It looks every second instead of asking the system for events: the files
//! of a Kubernetes ConfigMap are links to links that are swapped together,
//! and network file systems send no events at all. The configuration itself
//! is read and hashed each time, so that neither a coarse clock nor a link
//! hides a change; of plugins and locks, which are larger, it looks at what
//! the file system says of them. A change counts when two looks in a row agree,
//! so that a file which is just being written is not taken for a broken one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::fleet::config::LARGEST;
use crate::fleet::files::regular;

/// Device, inode, size and time of change of a file; none where it is not.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// What one look saw.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    /// Digest of the configuration; none where it cannot be read.
    file: Option<[u8; 32]>,
    /// Of plugins and locks.
    beside: BTreeMap<PathBuf, Stamp>,
}

/// The files of a configuration, and how they were when it was loaded.
#[derive(Debug)]
pub(crate) struct Watch {
    file: PathBuf,
    beside: BTreeSet<PathBuf>,
    loaded: Look,
    last: Look,
}

impl Watch {
    /// Begins before the configuration is read: what changes while it is read
    /// is a change.
    pub(crate) fn new(file: &Path) -> Watch {
        let look = look(file, &BTreeSet::new());
        Watch {
            file: file.to_owned(),
            beside: BTreeSet::new(),
            loaded: look.clone(),
            last: look,
        }
    }

    /// The plugins and locks that the configuration names now.
    pub(crate) fn beside(&mut self, files: impl IntoIterator<Item = PathBuf>) {
        self.beside = files.into_iter().collect();
        let look = look(&self.file, &self.beside);
        // Of what was watched already it is known how it was.
        for (path, stamp) in &look.beside {
            let known = self.loaded.beside.get(path).copied();
            self.loaded
                .beside
                .insert(path.clone(), known.unwrap_or(*stamp));
        }
        self.loaded
            .beside
            .retain(|path, _| self.beside.contains(path));
        self.last = look;
    }

    /// Whether it has changed since this last said so, and is written; and
    /// which of the files beside it are others now.
    pub(crate) fn changed(&mut self) -> Option<Vec<PathBuf>> {
        let now = look(&self.file, &self.beside);
        let settled = now == self.last;
        self.last = now;
        (settled && self.last != self.loaded).then(|| self.load())
    }

    /// The same where somebody asked to load it anyway.
    pub(crate) fn reloading(&mut self) -> Vec<PathBuf> {
        self.last = look(&self.file, &self.beside);
        self.load()
    }

    /// From here on the last look is what is loaded.
    fn load(&mut self) -> Vec<PathBuf> {
        let before = std::mem::replace(&mut self.loaded, self.last.clone());
        let others = self.last.beside.iter().filter(|(path, stamp)| {
            before
                .beside
                .get(*path)
                .is_some_and(|before| before != *stamp)
        });
        others.map(|(path, _)| path.clone()).collect()
    }
}

/// As much of the file as a fleet file may have, and a byte more.
fn content(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    regular(file, true)?
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn look(file: &Path, beside: &BTreeSet<PathBuf>) -> Look {
    Look {
        file: content(file).ok().map(|bytes| Sha256::digest(bytes).into()),
        beside: beside
            .iter()
            .map(|path| {
                let stamp = std::fs::metadata(path).ok().map(|data| {
                    (
                        data.dev(),
                        data.ino(),
                        data.size(),
                        data.ctime(),
                        data.ctime_nsec(),
                    )
                });
                (path.clone(), stamp)
            })
            .collect(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Whether the next looks find a change, and then no other.
    fn found(watch: &mut Watch) -> bool {
        let found = (0..3).filter(|_| watch.changed().is_some()).count();
        assert!(found < 2, "one change is told once");
        found == 1
    }

    #[test]
    fn a_change_is_one_of_content() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fleet.toml");
        std::fs::write(&file, "one").unwrap();
        let mut watch = Watch::new(&file);
        assert!(!found(&mut watch));
        std::fs::write(&file, "one").unwrap();
        assert!(!found(&mut watch), "the same again");
        std::fs::write(&file, "two").unwrap();
        assert!(found(&mut watch));
        std::fs::remove_file(&file).unwrap();
        assert!(found(&mut watch), "it vanished");
        std::fs::write(&file, "two").unwrap();
        assert!(found(&mut watch), "it is back");
    }

    #[test]
    fn a_file_that_is_being_written_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fleet.toml");
        std::fs::write(&file, "one").unwrap();
        let mut watch = Watch::new(&file);
        for half in ["", "t", "tw"] {
            std::fs::write(&file, half).unwrap();
            assert_eq!(watch.changed(), None, "{half}");
        }
        std::fs::write(&file, "two").unwrap();
        assert_eq!(watch.changed(), None);
        assert_eq!(watch.changed(), Some(vec![]));
    }

    /// As the kubelet does it: `fleet.toml` is a link to `..data/fleet.toml`,
    /// and `..data` is a link that is renamed over.
    #[test]
    fn links_of_a_config_map_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (version, text) in [("..1", "one"), ("..2", "two")] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("fleet.toml"), text).unwrap();
            std::fs::write(at(version).join("baton.lock"), "same").unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/fleet.toml", at("fleet.toml")).unwrap();
        symlink("..data/baton.lock", at("baton.lock")).unwrap();
        let mut watch = Watch::new(&at("fleet.toml"));
        watch.beside([at("baton.lock")]);
        assert!(!found(&mut watch));
        symlink("..2", at("..data_tmp")).unwrap();
        std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(found(&mut watch));
    }

    #[test]
    fn a_plugin_that_is_replaced_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("fleet.toml"), "one").unwrap();
        std::fs::write(at("a.wasm"), "a").unwrap();
        let mut watch = Watch::new(&at("fleet.toml"));
        watch.beside([at("a.wasm"), at("b.wasm")]);
        assert!(!found(&mut watch));
        std::fs::write(at("new"), "b").unwrap();
        std::fs::rename(at("new"), at("a.wasm")).unwrap();
        assert_eq!(watch.changed(), None);
        assert_eq!(watch.changed(), Some(vec![at("a.wasm")]));
        assert!(!found(&mut watch));
        std::fs::write(at("new"), "c").unwrap();
        std::fs::rename(at("new"), at("a.wasm")).unwrap();
        assert_eq!(watch.reloading(), [at("a.wasm")]);
        assert!(!found(&mut watch), "it was loaded");
        std::fs::write(at("b.wasm"), "b").unwrap();
        assert!(found(&mut watch), "one that was missing");
        // A name that is new is no change by itself.
        std::fs::write(at("c.wasm"), "c").unwrap();
        watch.beside([at("a.wasm"), at("c.wasm")]);
        assert!(!found(&mut watch));
    }
}
