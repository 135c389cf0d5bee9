//! Clusters for tests.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::cluster::{Cluster, ClusterId, Credentials};
use super::schedule::Schedule;
use crate::sandbox::Limits;

/// A cluster in eu-west-1 that is synced every hour.
pub(super) fn cluster(folder: &Path, account: &str, name: &str) -> Cluster {
    let region = "eu-west-1";
    Cluster {
        id: ClusterId::new(account, region, name),
        plugin: "plugin.wasm".into(),
        lock: None,
        settings: BTreeMap::new(),
        credentials: Credentials::default(),
        account: account.to_owned(),
        region: region.to_owned(),
        name: name.to_owned(),
        schedule: Schedule::every(Duration::from_secs(3_600)),
        limits: Limits::default(),
        folder: folder.to_owned(),
        output: Cluster::output_in(folder, account, region, name),
        work_folder: None,
        external: None,
        found_by: None,
    }
}
