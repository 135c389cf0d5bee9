//! One cluster with everything resolved that a sync needs, and no secret.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::schedule::Schedule;
use crate::credentials::endpoints::partition;
use crate::people::External;
use crate::sandbox::Limits;

/// Names a cluster in the fleet: `account/region/cluster`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(String);

impl ClusterId {
    /// The id of a cluster.
    #[must_use]
    pub fn new(account: &str, region: &str, name: &str) -> ClusterId {
        ClusterId(format!("{account}/{region}/{name}"))
    }

    /// Of what has no place in AWS yet: its name in the file.
    #[must_use]
    pub fn named(name: &str) -> ClusterId {
        ClusterId(name.to_owned())
    }

    /// `account/region/cluster`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a secret is: never the secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reference {
    /// In this environment variable.
    Env(String),
    /// In this file; blanks around it do not count.
    File(PathBuf),
}

/// The credentials of one cluster, by reference.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Credentials {
    /// A profile of the AWS configuration; else the ambient chain of the machine.
    pub profile: Option<String>,
    /// Settings of the kind `aws` that are no secrets, by their names
    /// (`docs/credentials.md`): `role-arn` and others.
    pub plain: BTreeMap<String, String>,
    /// Those that are, by their names.
    pub secret: BTreeMap<String, Reference>,
}

/// Everything to sync one cluster. Equal ones compare equal, so that a reload
/// restarts only what changed.
#[derive(Clone, PartialEq, Debug)]
pub struct Cluster {
    /// Its name in the fleet.
    pub id: ClusterId,
    /// The connector's file.
    pub plugin: PathBuf,
    /// Which plugins are approved for what; nothing: the `read` profile for all.
    pub lock: Option<PathBuf>,
    /// Settings of the connector but for region and cluster, which it gets too.
    pub settings: BTreeMap<String, String>,
    /// Where its credentials are.
    pub credentials: Credentials,
    /// The account that the credentials must lead to, and the cluster is in.
    pub account: String,
    /// Its region.
    pub region: String,
    /// Its name in EKS.
    pub name: String,
    /// How often.
    pub schedule: Schedule,
    /// What a sync of it may use.
    pub limits: Limits,
    /// The folder of all access files.
    pub folder: PathBuf,
    /// Its access file: `{folder}/{account}/{region}/{cluster}.c1z`.
    pub output: PathBuf,
    /// Where work files are kept; nothing: the system's temporary folder.
    pub work_folder: Option<PathBuf>,
    /// Another connector's access file, to take accounts and groups from.
    pub external: Option<External>,
    /// The rule by which it was found, if it was.
    pub found_by: Option<String>,
}

impl Cluster {
    /// `arn:aws:eks:eu-west-1:111122223333:cluster/prod`.
    #[must_use]
    pub fn arn(&self) -> String {
        format!(
            "arn:{}:eks:{}:{}:cluster/{}",
            partition(&self.region).name,
            self.region,
            self.account,
            self.name
        )
    }

    /// What is known of the cluster, for who looks without a process:
    /// `prod.status.json` beside the access file `prod.c1z`.
    #[must_use]
    pub fn status_file(&self) -> PathBuf {
        let file = self.output.file_name().unwrap_or_default();
        let file = file.to_string_lossy();
        let stem = file.strip_suffix(".c1z").unwrap_or(&file);
        self.output.with_file_name(format!("{stem}.status.json"))
    }

    /// The access file of a cluster in a folder.
    #[must_use]
    pub fn output_in(folder: &Path, account: &str, region: &str, name: &str) -> PathBuf {
        folder
            .join(account)
            .join(region)
            .join(format!("{name}.c1z"))
    }
}
