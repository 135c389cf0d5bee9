//! Calls are counted: pages, not objects, and nothing twice.

use std::collections::BTreeMap;

use cloud_sim::{Effect, Fault, Scenario, Sim, Size, generate};

use crate::harness::*;

/// Access policies of the simulated EKS.
const POLICIES: u64 = 24;

fn pages(items: usize, page: usize) -> u64 {
    items.div_ceil(page).max(1) as u64
}

/// What a sync of a generated cluster asks, by the design: one paged list per
/// kind, one describe per entry and per pod identity, nothing per resource.
fn expected(scenario: &Scenario, sim: &Sim) -> BTreeMap<String, u64> {
    let (cluster, size) = (&scenario.clusters[0], scenario.pages);
    let (eks, kubernetes) = (size.eks.min(100), size.kubernetes.min(500));
    let entries = cluster.entries.len();
    let associated: Vec<usize> = cluster
        .entries
        .iter()
        .map(|e| e.policies.len())
        .filter(|n| *n > 0)
        .collect();
    let mut holders: BTreeMap<&str, usize> = BTreeMap::new();
    for policy in cluster.entries.iter().flat_map(|entry| &entry.policies) {
        *holders.entry(&policy.policy).or_default() += 1;
    }
    let nobody = POLICIES - holders.len() as u64;
    let held: u64 = holders.values().map(|n| pages(*n, eks)).sum();
    let rbac = "rbac.authorization.k8s.io";
    let list = |group: &str, resource: &str| {
        let prefix = if group.is_empty() {
            String::new()
        } else {
            format!("{group}/")
        };
        (
            format!("kubernetes:list {prefix}{resource}"),
            pages(sim.count(&cluster.name, group, resource), kubernetes),
        )
    };
    BTreeMap::from([
        ("sts:AssumeRole".into(), 1),
        ("sts:GetCallerIdentity".into(), 1),
        (
            "iam:ListRoles".into(),
            pages(scenario.accounts[0].roles.len(), size.iam.min(1000)),
        ),
        ("eks:DescribeCluster".into(), 1),
        (
            "eks:ListAccessEntries".into(),
            pages(entries, eks) + nobody + held,
        ),
        ("eks:DescribeAccessEntry".into(), entries as u64),
        (
            "eks:ListAccessPolicies".into(),
            pages(POLICIES as usize, eks),
        ),
        (
            "eks:ListAssociatedAccessPolicies".into(),
            associated.iter().map(|n| pages(*n, eks)).sum(),
        ),
        (
            "eks:ListPodIdentityAssociations".into(),
            pages(cluster.pod_identities.len(), eks),
        ),
        (
            "eks:DescribePodIdentityAssociation".into(),
            cluster.pod_identities.len() as u64,
        ),
        ("kubernetes:get configmaps kube-system/aws-auth".into(), 1),
        list("", "namespaces"),
        list("", "serviceaccounts"),
        list("", "configmaps"),
        list(rbac, "clusterroles"),
        list(rbac, "roles"),
        list(rbac, "rolebindings"),
        list(rbac, "clusterrolebindings"),
    ])
}

#[test]
fn a_generated_cluster_costs_exactly_the_calls_of_the_design() {
    let size = Size {
        entries: 230,
        iam_roles: 250,
        iam_users: 60,
        service_accounts: 600,
        pod_identities: 120,
        ..Size::default()
    };
    let scenario = generate(7, size);
    let sim = cloud(scenario.clone());
    let quick = Quick::sync(&sim, "generated");
    assert_eq!(sim.calls(), expected(&scenario, &sim));
    for (service, peak) in sim.peak_concurrency() {
        assert!(peak <= 64, "{service}: {peak} at once");
    }
    assert!(
        sim.peak_concurrency()["eks"] > 1,
        "calls per object run side by side"
    );
    // What was said of the calls is what the cloud saw: the host asks for the
    // cluster's address itself, once, and answers the guest from it.
    let counted = quick.outcome.upstreams;
    let calls = sim.calls();
    for upstream in ["eks", "iam", "kubernetes"] {
        let seen: u64 = calls
            .iter()
            .filter(|(name, _)| name.starts_with(&format!("{upstream}:")))
            .map(|(_, n)| n)
            .sum();
        assert_eq!(counted.of(upstream).calls, seen, "{upstream}");
    }
    assert_eq!(sim.mutations(), [""; 0]);
}

#[test]
fn small_pages_change_the_calls_and_not_the_file() {
    let size = Size {
        entries: 30,
        ..Size::default()
    };
    let whole = generate(11, size);
    let mut paged = whole.clone();
    paged.pages = cloud_sim::Pages {
        eks: 7,
        iam: 13,
        kubernetes: 10,
    };
    let (one, many) = (cloud(whole), cloud(paged.clone()));
    let quick = Quick::sync(&many, "generated");
    assert_eq!(many.calls(), expected(&paged, &many));
    let other = Quick::sync(&one, "generated");
    assert_eq!(quick.access.lines(), other.access.lines());
    for kind in [
        "namespace",
        "service_account",
        "configmap",
        "cluster_role",
        "namespace_role",
        "role",
        "access_policy",
    ] {
        assert_eq!(
            quick.access.objects(kind),
            other.access.objects(kind),
            "{kind}"
        );
    }
    assert!(
        quick.access.grants.len() > 100,
        "{}",
        quick.access.grants.len()
    );
}

#[test]
fn slow_upstreams_are_asked_side_by_side() {
    let scenario = generate(
        3,
        Size {
            entries: 60,
            ..Size::default()
        },
    );
    let sim = cloud(scenario);
    sim.inject(Fault::always(
        "eks:DescribeAccessEntry",
        Effect::Latency(250),
    ));
    let quick = Quick::sync(&sim, "generated");
    let peak = sim.peak_concurrency()["eks"];
    assert!((2..=64).contains(&peak), "{peak} at once");
    // One after the other they would take 15 s.
    assert!(
        quick.outcome.summary.seconds < 12.0,
        "{} s",
        quick.outcome.summary.seconds
    );
}
