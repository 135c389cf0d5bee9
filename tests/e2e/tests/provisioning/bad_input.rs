//! What makes no sense, or must not be: one clear sentence, nothing changed.

use baton_host::provision::{Direction, Mode, Protect, State};
use e2e::harness;
use serde_json::json;

use crate::orders::*;
use crate::program::*;
use crate::town::*;

const DEV_ROLE: Wish<'static> = ("cluster_role", "reports", "dev:member");

/// It is refused with these words, and nothing was written.
#[track_caller]
fn refuses(lab: &Lab, direction: Direction, wish: Wish, principal: (&str, &str), words: &[&str]) {
    let (before, writes) = (lab.sim.snapshot(LAB).unwrap(), lab.writes());
    for mode in [Mode::Plan, Mode::Apply] {
        let order = lab.carry_out(direction, wish, principal, mode);
        let error = runtime().block_on(order).expect_err("it was accepted");
        let sentence = error.to_string();
        println!("{wish:?} {principal:?}: {sentence}");
        for word in words {
            assert!(sentence.contains(word), "no `{word}` in: {sentence}");
        }
        assert!(
            !sentence.contains('\n') && sentence.len() < 600,
            "{sentence}"
        );
    }
    assert_eq!(lab.writes(), writes);
    assert!(
        before
            .difference(&lab.sim.snapshot(LAB).unwrap())
            .is_empty()
    );
    assert!(lab.audit().iter().all(|row| row["event"] != "request"));
}

#[track_caller]
fn no_grant(lab: &Lab, wish: Wish, principal: (&str, &str), words: &[&str]) {
    refuses(lab, Direction::Grant, wish, principal, words);
}

#[test]
fn ids_that_are_none() {
    let lab = Lab::new(town(API));
    let dev = ("role", DEV);
    no_grant(
        &lab,
        ("cluster_role", "nothing", "dev:member"),
        dev,
        &["nothing"],
    );
    no_grant(
        &lab,
        ("namespace_role", "dev/nothing", "member"),
        dev,
        &["nothing", "dev"],
    );
    no_grant(
        &lab,
        ("cluster_role", "reports", "nowhere:member"),
        dev,
        &["nowhere"],
    );
    no_grant(
        &lab,
        ("cluster_role", "reports", "small:members"),
        dev,
        &["small:members"],
    );
    no_grant(
        &lab,
        ("cluster_role", "reports", ":member"),
        dev,
        &[":member"],
    );
    no_grant(
        &lab,
        ("access_policy", VIEW, "assigned"),
        dev,
        &["assigned"],
    );
    no_grant(
        &lab,
        ("access_policy", VIEW, "assigned:"),
        dev,
        &["assigned:"],
    );
    no_grant(
        &lab,
        ("access_policy", "AmazonEKSViewPolicy", "assigned:dev"),
        dev,
        &["AmazonEKSViewPolicy"],
    );
    no_grant(&lab, ("role", OPS, "assignment"), dev, &["role"]);
    no_grant(
        &lab,
        DEV_ROLE,
        ("role", "arn:aws:iam::111122223333:role/nobody"),
        &["nobody"],
    );
    no_grant(
        &lab,
        DEV_ROLE,
        ("role", "arn:aws:iam::111122223333:role/dev"),
        &["role/dev"],
    );
    no_grant(
        &lab,
        DEV_ROLE,
        ("iam_user", "arn:aws:iam:user/alice"),
        &["arn:aws:iam:user/alice", "iam_user"],
    );
    no_grant(
        &lab,
        DEV_ROLE,
        ("iam_user", "alice"),
        &["alice", "iam_user"],
    );
    no_grant(&lab, DEV_ROLE, ("iam_user", DEV), &["iam_user"]);
    no_grant(&lab, DEV_ROLE, ("role", ALICE), &["role"]);
    no_grant(
        &lab,
        DEV_ROLE,
        ("role", "arn:aws-cn:iam::111122223333:role/team/dev"),
        &["partition"],
    );
    no_grant(
        &lab,
        DEV_ROLE,
        ("role", "arn:aws:sts::111122223333:assumed-role/dev/s"),
        &["assumed-role/dev/s", "role"],
    );
    no_grant(
        &lab,
        DEV_ROLE,
        ("service_account", "dev/nobody"),
        &["dev/nobody"],
    );
    no_grant(&lab, DEV_ROLE, ("service_account", "nobody"), &["nobody"]);
    no_grant(&lab, DEV_ROLE, ("service_account", "*"), &["*"]);
    no_grant(
        &lab,
        DEV_ROLE,
        ("sso_user", "arn:aws:identitystore:::user/1"),
        &["role"],
    );
    no_grant(
        &lab,
        DEV_ROLE,
        ("group", "arn:aws:iam::111122223333:group/g"),
        &["role"],
    );
    no_grant(
        &lab,
        DEV_ROLE,
        ("kube_group", "system:authenticated"),
        &["kube_group"],
    );
    no_grant(
        &lab,
        ("access_policy", VIEW, "assigned:dev"),
        ("service_account", APP),
        &["service account"],
    );
}

/// Users are not listed without a right for that; EKS itself knows them.
#[test]
fn a_user_that_does_not_exist_is_refused_by_eks_and_undone() {
    let lab = Lab::new(town(API));
    let before = lab.sim.snapshot(LAB).unwrap();
    let nobody = ("iam_user", "arn:aws:iam::111122223333:user/nobody");
    let error = lab.order(Direction::Grant, DEV_ROLE, nobody).unwrap_err();
    assert!(error.to_string().contains("invalid principal"), "{error}");
    let left = before.difference(&lab.sim.snapshot(LAB).unwrap());
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn what_is_not_there_any_more() {
    let lab = Lab::new(town(API));
    lab.order(Direction::Grant, DEV_ROLE, ("service_account", APP))
        .unwrap();
    lab.order(Direction::Grant, DEV_ROLE, ("role", OPS))
        .unwrap();
    std::fs::remove_file(lab.host.audit_file()).unwrap();
    lab.sim.delete_role(DEV);
    no_grant(&lab, DEV_ROLE, ("role", DEV), &["dev"]);
    no_grant(
        &lab,
        ("cluster_role", "reports", "going:member"),
        ("iam_user", ALICE),
        &["going"],
    );
    lab.sim.terminate_namespace(LAB, "dev").unwrap();
    no_grant(&lab, DEV_ROLE, ("iam_user", ALICE), &["dev"]);
    lab.sim
        .remove(LAB, RBAC, "clusterroles", "reports")
        .unwrap();
    no_grant(
        &lab,
        ("cluster_role", "reports", "firewall:member"),
        ("iam_user", ALICE),
        &["reports"],
    );
    // What was granted can be taken away from all that is gone or going.
    let revoke = |principal| {
        lab.order(Direction::Revoke, DEV_ROLE, principal)
            .unwrap()
            .state
    };
    assert_eq!(revoke(("role", OPS)), State::Changed);
    lab.sim.remove(LAB, "", "serviceaccounts", APP).unwrap();
    assert_eq!(revoke(("service_account", APP)), State::Changed);
}

#[test]
fn a_role_made_again_has_a_dead_entry() {
    let lab = Lab::new(town(API));
    lab.sim
        .put_entry(LAB, &entry_spec(OPS, &["team"], &[]))
        .unwrap();
    lab.sim.recreate_role(OPS).unwrap();
    // Times of IAM are whole seconds.
    lab.sim.set_clock_offset(2);
    lab.sim.recreate_role(OPS).unwrap();
    no_grant(&lab, DEV_ROLE, ("role", OPS), &["ops"]);
}

#[test]
fn principals_that_cannot_be() {
    let lab = Lab::new(town(API));
    no_grant(&lab, DEV_ROLE, ("role", LINKED), &["ervice-linked"]);
    no_grant(&lab, DEV_ROLE, ("role", HOST), &["own"]);
    refuses(
        &lab,
        Direction::Revoke,
        ("cluster_role", "baton-provisioner", "all:member"),
        ("role", HOST),
        &["own"],
    );
    no_grant(&lab, DEV_ROLE, ("role", NODE), &["node"]);
    let lab = Lab::new(town(CONFIG_MAP));
    no_grant(&lab, DEV_ROLE, ("role", HOST), &["own"]);
    no_grant(&lab, DEV_ROLE, ("role", NODE), &["node"]);
    no_grant(
        &lab,
        ("access_policy", VIEW, "assigned:dev"),
        ("role", OPS),
        &["CONFIG_MAP"],
    );
}

#[test]
fn what_is_protected() {
    let mut lab = Lab::new(town(API));
    let dev = ("role", DEV);
    let admin = VIEW.replace("View", "ClusterAdmin");
    let wishes = [
        ("cluster_role", "cluster-admin", "all:member"),
        ("cluster_role", "cluster-admin", "dev:member"),
        ("cluster_role", "system:basic-user", "all:member"),
        ("cluster_role", "reports", "kube-system:member"),
        ("access_policy", &admin, "assigned:cluster"),
        ("access_policy", VIEW, "assigned:kube-system"),
        ("access_policy", VIEW, "assigned:kube-*"),
    ];
    for wish in wishes {
        refuses(&lab, Direction::Grant, wish, dev, &["protect"]);
        refuses(&lab, Direction::Revoke, wish, dev, &["protect"]);
    }
    lab.host.protect = Protect::new(&["cluster_role:reports:*".to_owned()], &[]).unwrap();
    no_grant(&lab, DEV_ROLE, dev, &["protect"]);
    lab.host.protect = Protect::new(&[format!("role:{DEV}")], &[]).unwrap();
    no_grant(&lab, DEV_ROLE, dev, &["protect"]);
    assert_eq!(
        lab.order(Direction::Grant, DEV_ROLE, ("role", OPS))
            .unwrap()
            .state,
        State::Changed
    );
}

#[test]
fn provisioning_that_is_switched_off() {
    let mut lab = Lab::new(town(API));
    lab.host.enabled = false;
    let order = lab
        .order(Direction::Grant, DEV_ROLE, ("role", DEV))
        .unwrap_err();
    assert!(order.to_string().contains("provisioning"), "{order}");
    assert_eq!(lab.writes(), 0);
    assert_eq!(lab.audit().last().unwrap()["event"], "refused");
}

#[test]
fn wider_access_stands_in_the_way_of_narrower() {
    let lab = Lab::new(town(API));
    lab.sim
        .put_entry(
            LAB,
            &entry_spec(OPS, &["team"], &[("AmazonEKSViewPolicy", None)]),
        )
        .unwrap();
    lab.sim
        .put_entry(
            LAB,
            &entry_spec(DEV, &["team"], &[("AmazonEKSViewPolicy", Some(&["d*"]))]),
        )
        .unwrap();
    lab.sim
        .apply(LAB, json!({"kind": "RoleBinding", "metadata": {"name": "shared", "namespace": "dev"},
            "roleRef": {"kind": "ClusterRole", "name": "reports"}, "subjects": [{"kind": "Group", "name": "team"}]}))
        .unwrap();
    let policy = |slug| ("access_policy", VIEW, slug);
    no_grant(&lab, policy("assigned:dev"), ("role", OPS), &["cluster"]);
    no_grant(&lab, policy("assigned:cluster"), ("role", DEV), &["d*"]);
    refuses(
        &lab,
        Direction::Revoke,
        policy("assigned:dev"),
        ("role", DEV),
        &["d*"],
    );
    // Narrower access that is not there is revoked already: the wider stays.
    let done = lab
        .order(Direction::Revoke, policy("assigned:dev"), ("role", OPS))
        .unwrap();
    assert_eq!(done.state, State::AlreadyRevoked);
    assert!(!done.remaining.is_empty());
    // Both are in the group: neither can be taken out of it alone.
    refuses(
        &lab,
        Direction::Revoke,
        DEV_ROLE,
        ("role", DEV),
        &["team", "shared"],
    );
}

/// The command line adds the file of the last sync: what it does not list is
/// said before anything is sent.
#[test]
fn ids_that_the_file_does_not_have() {
    let sim = harness::cloud(town(API));
    let host = provisioner(&sim);
    host.run(&[
        "grant",
        "cluster_role:reports:devv:member",
        "--principal",
        DEV,
    ])
    .fails(4, &["is no entitlement", "did you mean"]);
    // The id of a grant that is not there (any more) is judged by the cluster.
    let gone = format!("cluster_role:reports:dev:member:role:{DEV}");
    let run = host.run(&["revoke", &gone]).ok();
    assert!(run.out.contains("does not hold"), "{}", run.out);
    let run = host.run(&["--revoke-grant", &gone]).ok();
    assert!(run.out.contains("does not hold"), "{}", run.out);
    let typo = format!("cluster_role:reports:devv:member:role:{DEV}");
    host.run(&["revoke", &typo]).fails(4, &["is no grant"]);
    assert!(writes(&sim).is_empty());
}
