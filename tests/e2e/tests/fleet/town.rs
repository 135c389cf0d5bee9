//! A cloud of many small clusters, and the program with a fleet file for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cloud_sim::{ClusterSpec, Scenario, SimHandle};
use e2e::harness::{self, Host, Run, plugin};
use serde_json::Value;

pub const A: &str = "111122223333";
pub const B: &str = "444455556666";
pub const C: &str = "777788889999";
pub const REGION: &str = "eu-west-1";

/// A scenario of accounts and clusters that `baton` of the first account reads
/// through the role `eks-reader` of each.
pub fn scenario(clusters: &[(&str, &str, &str)]) -> Scenario {
    let mut scenario = Scenario::minimal().unwrap();
    let account = scenario.accounts[0].clone();
    let lab = scenario.clusters.remove(0);
    for id in [B, C] {
        let mut other = account.clone();
        id.clone_into(&mut other.id);
        for user in &mut other.users {
            user.keys.clear();
        }
        scenario.accounts.push(other);
    }
    for (account, region, name) in clusters {
        scenario.clusters.push(ClusterSpec {
            name: (*name).to_owned(),
            account: Some((*account).to_owned()),
            region: Some((*region).to_owned()),
            connect: None,
            entries: lab
                .entries
                .iter()
                .cloned()
                .map(|mut entry| {
                    entry.principal = entry.principal.replace(A, account);
                    entry
                })
                .collect(),
            ..lab.clone()
        });
    }
    scenario
}

/// The program, its fleet file and the cloud.
pub struct Town {
    pub sim: SimHandle,
    pub host: Host,
}

/// What every cluster of a fleet file has in common: keys that lead to the
/// role of its account, and an approved connector.
pub fn defaults(host: &Host) -> String {
    format!(
        r#"[defaults]
plugin = "{}"
lock = "{}"
region = "{REGION}"
output = "access"

[defaults.credentials]
role-arn = "arn:aws:iam::{{account}}:role/eks-reader"
eks-access-key = {{ env = "FLEET_KEY" }}
eks-secret-access-key = {{ file = "secret" }}
"#,
        plugin().display(),
        host.value("BATON_LOCK"),
    )
}

/// A `[[clusters]]` table.
pub fn table(account: &str, name: &str, lines: &str) -> String {
    format!("\n[[clusters]]\nname = \"{name}\"\naccount = \"{account}\"\n{lines}\n")
}

impl Town {
    pub fn new(scenario: Scenario) -> Town {
        let sim = harness::cloud(scenario);
        let host = Host::new()
            .set("AWS_ENDPOINT_URL", sim.aws_url())
            .set("AWS_EC2_METADATA_DISABLED", "true")
            .set("FLEET_KEY", sim.access_key());
        std::fs::write(
            host.folder.path().join("secret"),
            format!("{}\n", sim.secret_key()),
        )
        .unwrap();
        Town { sim, host }
    }

    /// Clusters of one region, each in the fleet file with these further lines.
    pub fn of(clusters: &[(&str, &str, &str)]) -> Town {
        let placed: Vec<(&str, &str, &str)> = clusters
            .iter()
            .map(|(account, name, _)| (*account, REGION, *name))
            .collect();
        let town = Town::new(scenario(&placed));
        let tables: String = clusters
            .iter()
            .map(|(account, name, lines)| table(account, name, lines))
            .collect();
        town.file(&format!("{}{tables}", defaults(&town.host)));
        town
    }

    pub fn folder(&self) -> &Path {
        self.host.folder.path()
    }

    /// Writes the fleet file.
    pub fn file(&self, text: &str) {
        std::fs::write(self.folder().join("fleet.toml"), text).unwrap();
    }

    /// `fleet ARGS`. The secret in the file is in nothing that is said.
    pub fn fleet(&self, args: &[&str]) -> Run {
        let run = self.host.run(&[&["fleet"], args].concat());
        for said in [&run.out, &run.err] {
            assert!(!said.contains(self.sim.secret_key()), "a secret in {run:?}");
        }
        run
    }

    pub fn output(&self, account: &str, name: &str) -> PathBuf {
        self.folder()
            .join("access")
            .join(account)
            .join(REGION)
            .join(format!("{name}.c1z"))
    }

    /// All access files, relative to their folder.
    pub fn files(&self) -> BTreeSet<String> {
        fn walk(home: &Path, folder: &Path, all: &mut BTreeSet<String>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    walk(home, &path, all);
                } else if path.extension().is_some_and(|end| end == "c1z") {
                    let path = path.strip_prefix(home).unwrap();
                    all.insert(path.to_str().unwrap().to_owned());
                }
            }
        }
        let home = self.folder().join("access");
        let mut all = BTreeSet::new();
        walk(&home, &home, &mut all);
        all
    }

    /// Calls to one cluster's API, by operation.
    pub fn calls_of(&self, cluster: &str) -> BTreeMap<String, u64> {
        let mut calls = BTreeMap::new();
        for request in self.sim.requests() {
            if request.cluster.as_deref() == Some(cluster) {
                *calls.entry(request.operation).or_default() += 1;
            }
        }
        calls
    }
}

/// The row of a cluster in a summary or a status.
#[track_caller]
pub fn row<'v>(value: &'v Value, account: &str, name: &str) -> &'v Value {
    let id = format!("{account}/{REGION}/{name}");
    value["clusters"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["id"] == id.as_str())
        .unwrap_or_else(|| panic!("no {id} in {value}"))
}
