//! The program with the connector approved for changes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use cloud_sim::Sim;
use e2e::guests;
use e2e::harness::{Host, Quick, plugin};
use serde_json::Value;
use tempfile::TempDir;

use crate::town::LAB;

/// A lock file that approves a plugin for reading and for changes.
fn approved(plugin: &Path, lock: &Path) {
    let output = Command::new(guests::program())
        .args([
            "plugin",
            "approve",
            "--yes",
            "--group",
            "read",
            "--group",
            "provision",
            "--lock",
        ])
        .arg(lock)
        .arg(plugin)
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn lock() -> &'static Path {
    static LOCK: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("baton.lock");
        approved(&plugin(), &lock);
        (folder, lock)
    });
    &LOCK.1
}

/// A host that may change the cluster, and has read it once.
pub fn provisioner(sim: &Sim) -> Host {
    let host = Host::reading(sim, LAB)
        .set("BATON_LOCK", lock().to_str().unwrap())
        .set("BATON_PROVISIONING", "true")
        .set("BATON_ASKED_BY", "ana");
    if let Err(error) = Quick::into_file(sim.env(LAB), &host.file()) {
        panic!("{error:?}");
    }
    sim.forget();
    host
}

/// Whether a sync shows a grant.
pub fn shows(sim: &Sim, id: &str) -> bool {
    let access = Quick::sync(sim, LAB).access;
    access.grants.iter().any(|row| row.grant.id == id)
}

/// Requests that change something if they are let: no reads, no locks, no STS.
pub fn writes(sim: &Sim) -> Vec<String> {
    sim.requests()
        .iter()
        .filter(|r| ["eks", "kubernetes"].contains(&r.service.as_str()) && r.method != "GET")
        .filter(|r| !r.operation.contains("leases") && !r.operation.contains("reviews"))
        .map(|r| format!("{} {}?{}", r.method, r.path, r.query))
        .collect()
}

/// Rows of a host's audit log.
pub fn audit(host: &Host) -> Vec<Value> {
    let file = host.file().with_extension("audit.jsonl");
    std::fs::read_to_string(file)
        .unwrap_or_default()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
