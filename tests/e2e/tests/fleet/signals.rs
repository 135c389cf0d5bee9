//! Ctrl-C and SIGTERM while a fleet is synced.

use std::process::Command;

use cloud_sim::{Effect, Fault};
use e2e::harness::wait_until;

use crate::town::*;

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill")
        .args([name, &pid.to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

/// Once synced; then one cluster's list of roles hangs.
fn hanging() -> (Town, Vec<u8>) {
    let town = Town::of(&[(A, "one", ""), (B, "two", "")]);
    town.fleet(&["sync"]).ok();
    let before = std::fs::read(town.output(A, "one")).unwrap();
    town.sim
        .inject_at("one", Fault::always("kubernetes:list *", Effect::Hang));
    (town, before)
}

#[test]
fn the_first_signal_ends_cleanly_and_files_are_as_before() {
    for name in ["-INT", "-TERM"] {
        let (town, before) = hanging();
        let child = town.host.start(&["fleet", "sync"]);
        wait_until("a request that hangs", || town.sim.hanging() > 0);
        signal(child.id(), name);
        let run = town.host.done(child.wait_with_output().unwrap());
        assert_eq!(run.code, Some(130), "{run:?}");
        assert!(run.err.contains("stopped after"), "{run:?}");
        assert!(run.err.contains("as they were before"), "{run:?}");
        assert_eq!(std::fs::read(town.output(A, "one")).unwrap(), before);
        let left: Vec<String> = town.host.files().into_iter().collect();
        assert_eq!(
            left,
            ["access", "fleet.toml", "secret"],
            "no work files stay"
        );
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let (town, before) = hanging();
    let child = town.host.start(&["fleet", "sync"]);
    wait_until("a request that hangs", || town.sim.hanging() > 0);
    // However many it takes until one is the second that it hears.
    signal(child.id(), "-INT");
    let pid = child.id();
    let done = std::thread::spawn(move || child.wait_with_output().unwrap());
    signal(pid, "-INT");
    let run = town.host.done(done.join().unwrap());
    assert_eq!(run.code, Some(130), "{run:?}");
    assert_eq!(std::fs::read(town.output(A, "one")).unwrap(), before);
}
