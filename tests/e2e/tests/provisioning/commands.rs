//! `grant`, `revoke`, and Baton's flags for the same.

use std::os::unix::fs::PermissionsExt as _;

use cloud_sim::{Effect, Fault};
use e2e::harness::{self, Host, wait_until};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::program::*;
use crate::town::*;

const DEV_ROLE: &str = "cluster_role:reports:dev:member";

#[test]
fn there_and_back() {
    let sim = harness::cloud(town(BOTH));
    let host = provisioner(&sim);
    let grant = format!("{DEV_ROLE}:role:{DEV}");
    let run = host.run(&["grant", DEV_ROLE, "--principal", DEV]).ok();
    run.says(&["granted", DEV_ROLE, DEV, "the next sync shows it"]);
    assert!(holds(&sim, "role", DEV, "reports", "dev"));
    assert!(shows(&sim, &grant));
    sim.forget();
    let run = host
        .run(&["grant", DEV_ROLE, "--principal", DEV, "--format", "json"])
        .ok();
    assert_eq!(run.json()["state"], "already-granted");
    assert_eq!(writes(&sim), Vec::<String>::new());
    // By the grant's id, which a sync has shown.
    host.run(&["sync"]).ok();
    let run = host.run(&["revoke", &grant, "--format", "json"]).ok();
    assert_eq!(run.json()["state"], "changed");
    assert!(!holds(&sim, "role", DEV, "reports", "dev"));
    assert!(!shows(&sim, &grant));
    let run = host
        .run(&["revoke", DEV_ROLE, "--principal", DEV, "--format", "json"])
        .ok();
    assert_eq!(run.json()["state"], "already-revoked");
    chained(&host);
}

#[test]
fn batons_own_flags_do_the_same() {
    let sim = harness::cloud(town(API));
    let host = provisioner(&sim);
    host.run(&[
        "--grant-entitlement",
        DEV_ROLE,
        "--grant-principal",
        APP,
        "--grant-principal-type",
        "service_account",
    ])
    .ok();
    assert!(holds(&sim, "service_account", APP, "reports", "dev"));
    let grant = format!("{DEV_ROLE}:service_account:{APP}");
    assert!(shows(&sim, &grant));
    host.run(&["sync"]).ok();
    host.run(&["--revoke-grant", &grant]).ok();
    assert!(!holds(&sim, "service_account", APP, "reports", "dev"));
    // The same by environment, as a scheduler sets it.
    let host = host
        .set("BATON_GRANT_ENTITLEMENT", DEV_ROLE)
        .set("BATON_GRANT_PRINCIPAL", ALICE)
        .set("BATON_GRANT_PRINCIPAL_TYPE", "iam_user");
    host.run(&[]).ok();
    assert!(holds(&sim, "iam_user", ALICE, "reports", "dev"));
}

/// Upstream, method, path and body of each change, without the token of its operation.
fn essence(changes: &Value) -> Vec<Value> {
    let changes = changes.as_array().unwrap().iter();
    changes
        .map(|change| {
            let mut body = change["body"].clone();
            if let Some(map) = body.as_object_mut() {
                map.remove("clientRequestToken");
            }
            json!([
                change["upstream"],
                change["method"],
                change["url_path"],
                body
            ])
        })
        .collect()
}

#[test]
fn a_plan_is_shown_to_the_last_byte_and_sends_nothing() {
    let sim = harness::cloud(town(API));
    let host = provisioner(&sim);
    let run = host
        .run(&["grant", DEV_ROLE, "--principal", DEV, "--plan"])
        .ok();
    let planned = host
        .run(&[
            "grant",
            DEV_ROLE,
            "--principal",
            DEV,
            "--plan",
            "--format",
            "json",
        ])
        .ok()
        .json();
    assert_eq!(writes(&sim), Vec::<String>::new());
    assert!(sim.mutations().is_empty(), "a plan takes no lock");
    assert_eq!(planned["state"], "planned");
    for change in planned["changes"].as_array().unwrap() {
        for shown in ["url_path", "object", "method"] {
            assert!(
                run.out.contains(change[shown].as_str().unwrap()),
                "{}",
                run.out
            );
        }
        let body = serde_json::to_string_pretty(&change["body"]).unwrap();
        for line in body.lines() {
            assert!(run.out.contains(line.trim()), "no {line} in {}", run.out);
        }
    }
    // What was planned is what is sent.
    let done = host
        .run(&["grant", DEV_ROLE, "--principal", DEV, "--format", "json"])
        .ok()
        .json();
    assert_eq!(essence(&planned["changes"]), essence(&done["changes"]));
}

#[test]
fn a_dry_run_sends_dry_runs_only() {
    let sim = harness::cloud(town(BOTH));
    let host = provisioner(&sim);
    let before = sim.snapshot(LAB).unwrap();
    let run = host
        .run(&["grant", DEV_ROLE, "--principal", DEV, "--dry-run"])
        .ok();
    let sent = writes(&sim);
    assert!(!sent.is_empty(), "{}", run.out);
    for request in &sent {
        assert!(request.contains("dryRun=All"), "{request}");
    }
    assert!(before.difference(&sim.snapshot(LAB).unwrap()).is_empty());
    assert!(run.out.contains("not tried"), "{}", run.out);
}

#[test]
fn nothing_is_sent_unless_it_is_switched_on_and_approved() {
    let sim = harness::cloud(town(API));
    let host = provisioner(&sim).unset("BATON_PROVISIONING");
    host.run(&["grant", DEV_ROLE, "--principal", DEV])
        .fails(2, &["--provisioning"]);
    assert!(writes(&sim).is_empty());
    // The lock of the other tests approves `read` alone.
    let reading = Host::reading(&sim, LAB);
    let lock = reading.value("BATON_LOCK").to_owned();
    let host = host
        .set("BATON_PROVISIONING", "true")
        .set("BATON_LOCK", lock);
    host.run(&["grant", DEV_ROLE, "--principal", DEV])
        .fails(6, &["approve", "provision"]);
    assert!(writes(&sim).is_empty());
    let rows = audit(&host);
    assert!(
        rows.iter().all(|row| row["event"] != "request"),
        "{rows:#?}"
    );
    assert!(
        rows.iter().any(|row| row["event"] == "refused"),
        "{rows:#?}"
    );
}

/// The chain holds, the file is its owner's, and no secret is in it.
fn chained(host: &Host) {
    let file = host.file().with_extension("audit.jsonl");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    let mut previous = "0".repeat(64);
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        assert_eq!(row["previous"], previous, "{line}");
        previous = Sha256::digest(line.as_bytes())
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
    }
    for secret in host.secrets() {
        assert!(!text.contains(&secret));
    }
    host.run(&["audit", "verify", file.to_str().unwrap()]).ok();
}

#[test]
fn every_request_is_in_the_audit_log_before_and_after_it_is_sent() {
    let sim = harness::cloud(town(CONFIG_MAP));
    let host = provisioner(&sim);
    host.run(&["grant", DEV_ROLE, "--principal", ALICE]).ok();
    host.run(&["revoke", DEV_ROLE, "--principal", ALICE]).ok();
    host.run(&[
        "grant",
        "cluster_role:cluster-admin:all:member",
        "--principal",
        ALICE,
    ])
    .fails(4, &["protect"]);
    chained(&host);
    let rows = audit(&host);
    let of = |event: &str| {
        rows.iter()
            .filter(|r| r["event"] == event)
            .collect::<Vec<_>>()
    };
    assert_eq!(of("asked").len(), 3, "{rows:#?}");
    assert_eq!(of("done").len(), 2);
    assert_eq!(of("refused").len(), 1);
    for row in &rows {
        assert_eq!(row["asked_by"], "ana");
        assert!(!row["operation"].as_str().unwrap().is_empty());
        assert!(row["plugin"].as_str().unwrap().starts_with("sha256:"));
        assert!(row["cluster"].as_str().unwrap().ends_with(":cluster/lab"));
        assert!(
            row["caller"]
                .as_str()
                .unwrap()
                .contains("assumed-role/baton-host/")
        );
    }
    // Each request that changed something stands there twice: as it goes, and as it came back.
    let sent: Vec<String> = sim
        .requests()
        .iter()
        .filter(|r| r.service == "kubernetes" && r.method != "GET" && !r.path.contains("leases"))
        .map(|r| format!("{} {}", r.method, r.path))
        .collect();
    assert!(!sent.is_empty());
    let rows = of("request");
    for request in sent {
        let rows: Vec<_> = rows
            .iter()
            .filter(|r| {
                let path = r["path"].as_str().unwrap().split('?').next().unwrap();
                format!("{} {path}", r["method"].as_str().unwrap()) == request
            })
            .collect();
        assert!(rows.iter().any(|r| r.get("status").is_none()), "{request}");
        assert!(rows.iter().any(|r| r["status"].is_number()), "{request}");
    }
    let file = host.file().with_extension("audit.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    for secret in sim.secrets() {
        assert!(!text.contains(&secret), "a secret in the audit log");
    }
    // A row that was changed shows.
    std::fs::write(&file, text.replacen("\"ana\"", "\"bob\"", 1)).unwrap();
    let run = host.run(&["audit", "verify", file.to_str().unwrap()]);
    assert_ne!(run.code, Some(0));
}

#[test]
fn a_log_that_cannot_be_kept_stops_everything() {
    let sim = harness::cloud(town(API));
    let host = provisioner(&sim);
    let log = host.folder.path().join("log");
    std::fs::write(&log, "").unwrap();
    std::fs::set_permissions(&log, std::fs::Permissions::from_mode(0o666)).unwrap();
    let link = host.folder.path().join("link");
    std::os::unix::fs::symlink(host.folder.path().join("elsewhere"), &link).unwrap();
    for path in [&log, &link, &host.folder.path().join("no/folder/log")] {
        let run = host.run(&[
            "grant",
            DEV_ROLE,
            "--principal",
            DEV,
            "--audit-log",
            path.to_str().unwrap(),
        ]);
        assert_ne!(run.code, Some(0), "{run:?}");
        assert!(run.err.contains("audit"), "{run:?}");
        assert!(writes(&sim).is_empty());
    }
    let run = host
        .run(&["grant", DEV_ROLE, "--principal", DEV, "--audit-log", "-"])
        .ok();
    for line in run.out.lines() {
        let row: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(row["asked_by"], "ana");
    }
}

/// Killed between two changes: no undo, the lock still taken, a row without its answer.
#[test]
fn a_program_that_is_killed_is_mended_by_the_same_command() {
    let sim = harness::cloud(town(API));
    let host = provisioner(&sim).set("BATON_LOCK_SECONDS", "3");
    sim.inject(Fault::times("eks:CreateAccessEntry", Effect::HangAfter, 1));
    let args = ["grant", DEV_ROLE, "--principal", DEV];
    let mut child = host.start(&args);
    wait_until("the program to create an entry", || sim.hanging() > 0);
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        holds(&sim, "role", DEV, "reports", "dev"),
        "the request was carried out"
    );
    host.run(&args).ok();
    assert!(shows(&sim, &format!("{DEV_ROLE}:role:{DEV}")));
    let rows = audit(&host);
    let asked = rows.iter().filter(|row| row["event"] == "asked").count();
    let done = rows.iter().filter(|row| row["event"] == "done").count();
    assert_eq!((asked, done), (2, 1), "{rows:#?}");
    chained(&host);
}
