//! Two host processes at once: nothing that one of them did is lost.

use std::process::{Child, Command, Stdio};

use baton_host::provision::{Direction, Mode, State};
use e2e::harness::cluster;

use crate::orders::*;
use crate::town::*;

/// What a worker does, in its environment.
const WORK: &str = "BATON_TEST_WORK";

/// This program again, doing only what `worker` does, with the variables of a cloud.
fn start(lab: &Lab, work: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["concurrency::worker", "--exact", "--ignored", "--nocapture"])
        .env_clear()
        .envs(lab.sim.env(LAB))
        .env(WORK, work)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[track_caller]
fn worked(child: Child) {
    let output = child.wait_with_output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}",
        said(&output.stdout),
        said(&output.stderr)
    );
}

/// Grants and revokes by turns, and ends granted.
#[test]
#[ignore = "the other tests here start it as a process of its own"]
fn worker() {
    let work = std::env::var(WORK).unwrap();
    let parts: Vec<&str> = work.split('|').collect();
    let [kind, id, slug, principal_kind, principal, times] = parts[..] else {
        panic!("{work}");
    };
    let host = Hosted::new(std::env::vars().collect());
    let turns: usize = times.parse().unwrap();
    for turn in 0..turns {
        let direction = if turn % 2 == 0 {
            Direction::Grant
        } else {
            Direction::Revoke
        };
        let order = host.carry_out(
            direction,
            (kind, id, slug),
            (principal_kind, principal),
            Mode::Apply,
        );
        let done = runtime()
            .block_on(order)
            .unwrap_or_else(|error| panic!("turn {turn} of {work}: {error}"));
        assert_eq!(done.state, State::Changed, "turn {turn} of {work}");
    }
}

/// Every request says all namespaces of the association, and none says which
/// state it is based on: only the lock keeps one host from undoing the other.
#[test]
fn namespaces_of_one_association_are_not_lost() {
    let lab = Lab::new(town(API));
    lab.sim
        .put_entry(
            LAB,
            &entry_spec(
                OPS,
                &["team"],
                &[("AmazonEKSViewPolicy", Some(&["small", "web"]))],
            ),
        )
        .unwrap();
    let work = |namespace: &str| format!("access_policy|{VIEW}|assigned:{namespace}|role|{OPS}|25");
    let children = [start(&lab, &work("dev")), start(&lab, &work("firewall"))];
    children.into_iter().for_each(worked);
    let name = format!("association {OPS} {VIEW}");
    let mut left = lab.sim.snapshot(LAB).unwrap().0[&name]["namespaces"].clone();
    let list = left.as_array_mut().unwrap();
    assert_eq!(list[..2], ["small", "web"]);
    list.sort_by_key(ToString::to_string);
    assert_eq!(*list, ["dev", "firewall", "small", "web"]);
}

/// One config map for all principals, each with a lock of its own: only its
/// version keeps one host from undoing the other.
#[test]
fn lines_of_aws_auth_are_not_lost() {
    let lab = Lab::new(town(CONFIG_MAP));
    let work = |kind: &str, principal: &str| {
        format!("cluster_role|reports|dev:member|{kind}|{principal}|11")
    };
    let children = [
        start(&lab, &work("iam_user", ALICE)),
        start(&lab, &work("iam_user", BOB)),
        start(&lab, &work("role", DEV)),
    ];
    children.into_iter().for_each(worked);
    for (kind, id) in [("iam_user", ALICE), ("iam_user", BOB), ("role", DEV)] {
        assert!(holds(&lab.sim, kind, id, "reports", "dev"), "{id}");
        assert!(!holds(&lab.sim, kind, id, "reports", ""), "{id}");
    }
    let data = aws_auth(&lab.sim).unwrap();
    let roles = data["mapRoles"].as_str().unwrap();
    assert!(roles.starts_with(MAP_ROLES), "{roles}");
}

/// Many orders in one process, for one principal, with slow consistency.
#[test]
fn orders_of_one_process_wait_for_each_other() {
    let mut scenario = town(API);
    scenario.consistency_delay_ms = 300;
    cluster(&mut scenario, LAB).entries.push(entry_spec(
        OPS,
        &["team"],
        &[("AmazonEKSViewPolicy", Some(&["web"]))],
    ));
    let lab = Lab::new(scenario);
    runtime().block_on(async {
        let order = |slug: &'static str| {
            lab.carry_out(
                Direction::Grant,
                ("access_policy", VIEW, slug),
                ("role", OPS),
                Mode::Apply,
            )
        };
        let ends = tokio::join!(
            order("assigned:dev"),
            order("assigned:firewall"),
            order("assigned:all"),
            order("assigned:namespace/cluster")
        );
        for end in [ends.0, ends.1, ends.2, ends.3] {
            assert_eq!(end.unwrap().state, State::Changed);
        }
    });
    let name = format!("association {OPS} {VIEW}");
    let left = lab.sim.snapshot(LAB).unwrap().0[&name]["namespaces"].clone();
    assert_eq!(left.as_array().unwrap().len(), 5, "{left}");
}
