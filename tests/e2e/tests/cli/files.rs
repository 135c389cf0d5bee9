//! The access file: what stands in its way, and what survives when a sync does
//! not end.

use std::process::Command;

use cloud_sim::{Effect, Fault, SimHandle};

use crate::harness::*;

#[test]
fn a_folder_that_cannot_be_written() {
    let sim = lab(|_| {});
    let host = Host::reading(&sim, "lab");
    std::fs::write(host.folder.path().join("plain"), "").unwrap();
    host.run(&["--file", "plain/out.c1z"]).fails(1, &["plain"]);
    host.run(&["--file", "nowhere/out.c1z"])
        .fails(1, &["nowhere"]);
    host.run(&["--file", "."])
        .fails(2, &["is not an access file"]);
    host.run(&["--c1z-temp-dir", "nowhere"])
        .fails(1, &["nowhere"]);
    assert!(
        !sim.calls()
            .keys()
            .any(|call| call.starts_with("kubernetes:")),
        "it is said before the cluster is read"
    );
}

#[test]
fn an_existing_file_that_is_no_access_file_is_left_alone() {
    let sim = lab(|_| {});
    let host = Host::reading(&sim, "lab");
    let mut pebble = b"C1Z3\0".to_vec();
    pebble.extend([0; 64]);
    let mut damaged = b"C1ZF\0".to_vec();
    damaged.extend([7; 64]);
    for (content, words) in [
        (
            b"a letter to my mother".to_vec(),
            "is not an access file (.c1z): give another path",
        ),
        (pebble, "Pebble"),
        (damaged, "is damaged"),
    ] {
        std::fs::write(host.file(), &content).unwrap();
        host.run(&[]).fails(2, &[words]);
        assert_eq!(std::fs::read(host.file()).unwrap(), content);
    }
}

/// Another tool was interrupted in this file; its sync is not ours to finish.
#[test]
fn an_unfinished_sync_of_another_tool_stays() {
    let sim = lab(|_| {});
    let host = Host::reading(&sim, "lab");
    host.run(&["-q"]).ok();
    let bytes = std::fs::read(host.file()).unwrap();
    let database = host.folder.path().join("edit.db");
    std::fs::write(&database, zstd::decode_all(&bytes[5..]).unwrap()).unwrap();
    let edit = rusqlite::Connection::open(&database).unwrap();
    edit.execute(
        "insert into v1_sync_runs (sync_id, started_at, sync_token, sync_type, parent_sync_id)
         values ('2zzzzzzzzzzzzzzzzzzzzzzzzzz', datetime('now'), '{\"state\": 1}', 'full', '')",
        [],
    )
    .unwrap();
    drop(edit);
    let mut bytes = bytes[..5].to_vec();
    bytes.extend(zstd::encode_all(std::fs::read(&database).unwrap().as_slice(), 3).unwrap());
    std::fs::write(host.file(), bytes).unwrap();

    host.run(&["-q"]).ok();
    let syncs = Access::read(&host.file()).syncs;
    let theirs = syncs
        .iter()
        .find(|sync| sync.sync_id.starts_with("2zzz"))
        .unwrap();
    assert_eq!(
        (theirs.ended_at.as_ref(), theirs.sync_token.as_str()),
        (None, "{\"state\": 1}")
    );
    assert_eq!(
        syncs.iter().filter(|sync| sync.ended_at.is_some()).count(),
        2
    );
}

/// Starts a sync over a finished file, waits until it is amid its reads, and
/// sends it a signal.
fn stopped_by(signal: &str) {
    let sim: SimHandle = lab(|_| {});
    let host = Host::reading(&sim, "lab");
    host.run(&["-q"]).ok();
    let before = (host.files(), std::fs::read(host.file()).unwrap());
    sim.forget();
    sim.inject(Fault::always(
        "kubernetes:list serviceaccounts",
        Effect::Latency(120_000),
    ));
    let child = host.start(&["-q"]);
    wait_until("the list", || {
        sim.calls().contains_key("kubernetes:list serviceaccounts")
    });
    let kill = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(kill.success());
    let run = host.done(child.wait_with_output().unwrap());
    run.fails(
        130,
        &["error: stopped; the access file is as it was before"],
    );
    assert_eq!(before.0, host.files(), "a work file is left");
    assert!(
        before.1 == std::fs::read(host.file()).unwrap(),
        "the file has changed"
    );
}

#[test]
fn ctrl_c_keeps_the_last_complete_file() {
    stopped_by("-INT");
}

#[test]
fn sigterm_keeps_the_last_complete_file() {
    stopped_by("-TERM");
}

#[test]
fn a_failing_sync_keeps_the_last_complete_file() {
    let sim = lab(|_| {});
    let host = Host::reading(&sim, "lab");
    host.run(&["-q"]).ok();
    let before = (host.files(), std::fs::read(host.file()).unwrap());
    let page = Effect::Answer {
        status: 200,
        content_type: "text/plain".into(),
        body: "no".into(),
    };
    sim.inject(Fault::always(
        "kubernetes:list rbac.authorization.k8s.io/clusterrolebindings",
        page,
    ));
    host.run(&["-q"]).fails(5, &["clusterrolebindings"]);
    assert_eq!(before.0, host.files(), "a work file is left");
    assert!(
        before.1 == std::fs::read(host.file()).unwrap(),
        "the file has changed"
    );
}

/// `baton-host ... | head -0`: nobody reads what we print.
#[test]
fn closed_pipes_are_no_failure() {
    let sim = lab(|_| {});
    let host = Host::reading(&sim, "lab");
    for args in [
        &["sync"][..],
        &["completion", "bash"],
        &["capabilities"],
        &["--help"],
    ] {
        let mut child = host.start(args);
        drop(child.stdout.take());
        let run = host.done(child.wait_with_output().unwrap());
        assert_eq!(run.code, Some(0), "{args:?}: {}", run.err);
        assert!(!run.err.contains("panicked"), "{}", run.err);
    }
    assert!(host.file().exists());
    // Nor is it one when nobody reads the errors.
    let mut child = host.start(&["--plugin", "nowhere.wasm"]);
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(2));
}
