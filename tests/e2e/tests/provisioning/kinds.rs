//! Every kind of access, for every kind of principal, in every authentication
//! mode: granted, shown, allowed, granted again, revoked, gone.

use baton_host::provision::{Direction, State};
use cloud_sim::Snapshot;

use crate::orders::*;
use crate::town::*;

/// Kind, id and slug; whether the judge sees it; in which namespace.
fn accesses() -> [(Wish<'static>, &'static str, &'static str); 8] {
    [
        (("cluster_role", "reports", "all:member"), "reports", ""),
        (("cluster_role", "reports", "dev:member"), "reports", "dev"),
        (
            ("cluster_role", "ops:on-call", "firewall:member"),
            "ops:on-call",
            "firewall",
        ),
        (
            ("cluster_role", "reports", "namespace/all:member"),
            "reports",
            "all",
        ),
        (("namespace_role", "dev/deploy", "member"), "deploy", "dev"),
        (("access_policy", VIEW, "assigned:cluster"), "pods", ""),
        (("access_policy", VIEW, "assigned:dev"), "pods", "dev"),
        (
            ("access_policy", VIEW, "assigned:namespace/cluster"),
            "pods",
            "cluster",
        ),
    ]
}

const PRINCIPALS: [(&str, &str); 5] = [
    ("iam_user", ALICE),
    ("iam_user", BOB),
    ("role", DEV),
    ("role", OPS),
    ("service_account", APP),
];

fn allowed(lab: &Lab, principal: (&str, &str), right: &str, namespace: &str) -> bool {
    if right == "pods" {
        views(&lab.sim, principal.0, principal.1, namespace)
    } else {
        holds(&lab.sim, principal.0, principal.1, right, namespace)
    }
}

/// Elsewhere than in `namespace` nothing is allowed.
fn elsewhere(
    lab: &Lab,
    principal: (&str, &str),
    right: &str,
    namespace: &str,
) -> Vec<&'static str> {
    ["", "dev", "firewall", "all", "cluster", "default"]
        .into_iter()
        .filter(|other| *other != namespace && allowed(lab, principal, right, other))
        .collect()
}

fn there_and_back(mode: &str) {
    let lab = Lab::new(town(mode));
    let clean = lab.sim.snapshot(LAB).unwrap();
    for (wish, right, namespace) in accesses() {
        for principal in PRINCIPALS {
            let policy = wish.0 == "access_policy";
            if policy && (mode == CONFIG_MAP || principal.0 == "service_account") {
                continue;
            }
            let story = format!("{mode}: {wish:?} and {principal:?}");
            let id = format!("{}:{}:{}", wish.0, wish.1, wish.2);
            let order = |direction| {
                lab.order(direction, wish, principal)
                    .unwrap_or_else(|error| panic!("{story}: {error}"))
            };
            let shown = || {
                lab.sync().lines().iter().any(|line| {
                    line.starts_with(&short(&format!(
                        "{id} | {}:{} | certain",
                        principal.0, principal.1
                    )))
                })
            };
            assert_eq!(order(Direction::Grant).state, State::Changed, "{story}");
            assert!(allowed(&lab, principal, right, namespace), "{story}");
            if !namespace.is_empty() {
                assert_eq!(
                    elsewhere(&lab, principal, right, namespace),
                    Vec::<&str>::new(),
                    "{story}"
                );
            }
            assert!(shown(), "{story}: {:#?}", lab.sync().lines());
            let writes = lab.writes();
            assert_eq!(
                order(Direction::Grant).state,
                State::AlreadyGranted,
                "{story}"
            );
            assert_eq!(lab.writes(), writes, "{story}");
            let done = order(Direction::Revoke);
            assert_eq!(done.state, State::Changed, "{story}");
            assert!(done.remaining.is_empty(), "{story}: {:?}", done.remaining);
            assert!(!allowed(&lab, principal, right, namespace), "{story}");
            assert!(!shown(), "{story}");
            let writes = lab.writes();
            assert_eq!(
                order(Direction::Revoke).state,
                State::AlreadyRevoked,
                "{story}"
            );
            assert_eq!(lab.writes(), writes, "{story}");
            let left = clean.difference(&without_empty_lists(lab.sim.snapshot(LAB).unwrap()));
            assert!(left.is_empty(), "{story}: {left:#?}");
        }
    }
}

/// A list of `aws-auth` that was made for a line stays behind as an empty text:
/// keys are not the host's to remove.
fn without_empty_lists(mut snapshot: Snapshot) -> Snapshot {
    if let Some(map) = snapshot.0.get_mut("configmaps kube-system/aws-auth") {
        map.as_object_mut().unwrap().retain(|_, text| text != "");
    }
    snapshot
}

/// As [`e2e::harness::Access::lines`] shortens ARNs.
fn short(line: &str) -> String {
    line.replace("arn:aws:iam::111122223333:", "@")
        .replace("arn:aws:eks::aws:cluster-access-policy/", "")
}

#[test]
fn in_mode_api() {
    there_and_back(API);
}

#[test]
fn in_mode_api_and_config_map() {
    there_and_back(BOTH);
}

#[test]
fn in_mode_config_map() {
    there_and_back(CONFIG_MAP);
}
