//! What is known of a cluster, beside its access file: for whoever looks
//! without a process, and for the process that comes next.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::board::{ClusterStatus, Failure, Good, State};
use super::cluster::{Cluster, ClusterId};

/// The file's version.
const VERSION: u32 = 1;
/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;
/// How many warnings are kept.
const WARNINGS: usize = 50;
/// How deep status files are looked for below an output folder.
const DEPTH: usize = 6;

/// `{cluster}.status.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusFile {
    /// 1.
    pub version: u32,
    /// The cluster.
    pub id: ClusterId,
    /// Its ARN.
    pub arn: String,
    /// The rule that found it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found_by: Option<String>,
    /// Since when that rule does not find it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Timestamp>,
    /// The last sync that went well.
    pub last_good: Option<Good>,
    /// The last sync that failed, if none went well since then.
    pub last_failure: Option<Failure>,
    /// Failures in a row.
    #[serde(default)]
    pub failures: u32,
    /// What the last good sync warned of.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl StatusFile {
    /// Of a cluster of which nothing is known.
    #[must_use]
    pub fn new(cluster: &Cluster) -> StatusFile {
        StatusFile {
            version: VERSION,
            id: cluster.id.clone(),
            arn: cluster.arn(),
            found_by: cluster.found_by.clone(),
            gone: None,
            last_good: None,
            last_failure: None,
            failures: 0,
            warnings: Vec::new(),
        }
    }

    /// What is known of a cluster. A file that is not there, is damaged or is
    /// another cluster's says nothing.
    #[must_use]
    pub fn of(cluster: &Cluster) -> StatusFile {
        match StatusFile::read(&cluster.status_file()) {
            Some(status) if status.arn == cluster.arn() => StatusFile {
                id: cluster.id.clone(),
                found_by: cluster.found_by.clone(),
                gone: None,
                ..status
            },
            _ => StatusFile::new(cluster),
        }
    }

    /// Reads a file, if it is one.
    #[must_use]
    pub fn read(path: &Path) -> Option<StatusFile> {
        let mut text = String::new();
        super::files::regular(path, false)
            .and_then(|file| file.take(LARGEST).read_to_string(&mut text))
            .ok()?;
        let status: StatusFile = serde_json::from_str(&text).ok()?;
        (status.version == VERSION).then_some(status)
    }

    /// Replaces the file, for its owner only.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        super::files::folders(folder)?;
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        // Made with mode 0600.
        let mut file = tempfile::Builder::new()
            .prefix(".status-")
            .tempfile_in(folder)?;
        file.write_all(&text)?;
        file.persist(path)?;
        Ok(())
    }

    /// What a board shows of it.
    #[must_use]
    pub fn shown(&self, cluster: &Cluster) -> ClusterStatus {
        ClusterStatus {
            id: cluster.id.clone(),
            account: Some(cluster.account.clone()),
            region: cluster.region.clone(),
            name: cluster.name.clone(),
            state: State::Waiting,
            last_good: self.last_good.clone(),
            last_failure: self.last_failure.clone(),
            warnings: self.warnings.clone(),
            next: None,
            found_by_rule: cluster.found_by.is_some(),
        }
    }

    /// A sync went well.
    pub fn succeeded(&mut self, good: Good, mut warnings: Vec<String>) {
        let more = warnings.len().saturating_sub(WARNINGS);
        warnings.truncate(WARNINGS);
        if more > 0 {
            warnings.push(format!("and {more} more warnings, which the log has"));
        }
        self.last_good = Some(good);
        self.last_failure = None;
        self.failures = 0;
        self.warnings = warnings;
    }

    /// A sync failed.
    pub fn failed(&mut self, failure: Failure) {
        self.last_failure = Some(failure);
        self.failures = self.failures.saturating_add(1);
    }
}

/// Status files of clusters that a rule found, below a folder. Links are not
/// followed.
#[must_use]
pub fn found_in(folder: &Path, rule: &str) -> BTreeMap<PathBuf, StatusFile> {
    let mut found = BTreeMap::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            let path = entry.path();
            if kind.is_dir() && depth < DEPTH {
                folders.push((path, depth + 1));
                continue;
            }
            let is_status = entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.ends_with(".status.json"));
            if kind.is_file()
                && is_status
                && let Some(status) = StatusFile::read(&path)
                && status.found_by.as_deref() == Some(rule)
            {
                found.insert(path, status);
            }
        }
    }
    found
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::fleet::testing::cluster;

    #[test]
    fn a_status_is_its_owners_and_outlives_damage() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = cluster(folder.path(), "111122223333", "lab");
        let mut status = StatusFile::of(&cluster);
        assert_eq!(status, StatusFile::new(&cluster));
        let good = Good {
            at: Timestamp::now(),
            seconds: 1.5,
            objects: 1,
            entitlements: 2,
            grants: 3,
            bytes: 4,
            file: cluster.output.clone(),
        };
        status.succeeded(good, (0..60).map(|n| format!("warning {n}")).collect());
        let path = cluster.status_file();
        status.write(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(StatusFile::of(&cluster), status);
        assert_eq!(status.warnings.len(), 51);
        assert_eq!(
            status.warnings.last().unwrap(),
            "and 10 more warnings, which the log has"
        );

        std::fs::write(&path, "{").unwrap();
        assert_eq!(StatusFile::of(&cluster), StatusFile::new(&cluster));
        let other = StatusFile {
            arn: "arn:aws:eks:eu-west-1:444455556666:cluster/lab".into(),
            ..status
        };
        other.write(&path).unwrap();
        assert_eq!(StatusFile::of(&cluster), StatusFile::new(&cluster));
    }

    #[test]
    fn what_a_rule_found_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        for (name, rule) in [("a", Some("all")), ("b", Some("other")), ("c", None)] {
            let mut cluster = cluster(folder.path(), "111122223333", name);
            cluster.found_by = rule.map(str::to_owned);
            StatusFile::new(&cluster)
                .write(&cluster.status_file())
                .unwrap();
        }
        std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
        let found = found_in(folder.path(), "all");
        let ids: Vec<&str> = found.values().map(|status| status.id.as_str()).collect();
        assert_eq!(ids, ["111122223333/eu-west-1/a"]);
    }
}
