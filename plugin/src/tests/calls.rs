//! Calls are counted: their number is part of the design.

use serde_json::json;

use super::cloud::*;

fn generated() -> Cloud {
    let mut cloud = Cloud {
        page: 500,
        ..Cloud::default()
    };
    cloud.namespaces = (0..1001).map(|n| format!("ns-{n:04}")).collect();
    cloud.service_accounts = (0..1200)
        .map(|n| account(&format!("ns-{n:04}"), "default"))
        .collect();
    cloud.config_maps = (0..501)
        .map(|n| account("ns-0000", &format!("cm-{n}")))
        .collect();
    cloud.cluster_roles = (0..20)
        .map(|n| json!({"metadata": meta("", &format!("cr-{n:02}"))}))
        .collect();
    cloud.roles = (0..500)
        .map(|n| json!({"metadata": meta("ns-0000", &format!("r-{n:03}"))}))
        .collect();
    cloud.role_bindings = (0..1500)
        .map(|n| {
            binding(
                &format!("ns-{:04}", n % 1001),
                &format!("b-{n}"),
                "cr-00",
                &["Group:devs"],
            )
        })
        .collect();
    cloud.cluster_role_bindings = (0..3)
        .map(|n| binding("", &format!("b-{n}"), "cr-01", &["Group:devs"]))
        .collect();
    for n in 0..2500 {
        cloud.iam.push((
            role(&format!("r{n:04}")),
            "2023-01-01T00:00:00Z".into(),
            no_trust(),
        ));
    }
    cloud.entries = (0..250)
        .map(|n| entry(&role(&format!("r{n:04}")), "", &["devs"]))
        .collect();
    cloud.policies = (0..120).map(|n| format!("AmazonEKSPolicy{n:03}")).collect();
    cloud.associations = (0..130)
        .map(|n| {
            (
                role(&format!("r{n:04}")),
                "AmazonEKSPolicy007".into(),
                json!({"type": "cluster"}),
            )
        })
        .collect();
    cloud.associations.push((
        role("r0000"),
        "AmazonEKSPolicy008".into(),
        json!({"type": "cluster"}),
    ));
    cloud.pods = (0..210).map(|n| json!({"associationId": format!("a-{n}"), "namespace": "ns-0000", "serviceAccount": "default", "roleArn": role("r0000")})).collect();
    cloud
}

#[test]
fn a_generated_cluster_costs_exactly_these_calls() {
    let file = try_sync(generated(), &[("namespace-entitlements", "bound")]).unwrap();
    let seen = file.seen.borrow();
    let expected: Vec<(&str, u32)> = vec![
        ("eks:DescribeAccessEntry", 250),
        ("eks:DescribeCluster", 1),
        ("eks:DescribePodIdentityAssociation", 210),
        // 3 pages of entries; one list per policy, and a second page for the one with 130.
        ("eks:ListAccessEntries", 3 + 120 + 1),
        ("eks:ListAccessPolicies", 2),
        ("eks:ListAssociatedAccessPolicies", 130),
        ("eks:ListPodIdentityAssociations", 3),
        ("get configmaps kube-system/aws-auth", 1),
        ("iam:ListRoles", 3),
        ("list configmaps", 2),
        ("list namespaces", 3),
        ("list rbac.authorization.k8s.io/clusterrolebindings", 1),
        ("list rbac.authorization.k8s.io/clusterroles", 1),
        ("list rbac.authorization.k8s.io/rolebindings", 3),
        ("list rbac.authorization.k8s.io/roles", 1),
        ("list serviceaccounts", 3),
    ];
    let calls: Vec<(&str, u32)> = seen.calls.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    assert_eq!(calls, expected);
    let mut paths = seen.paths.clone();
    paths.retain(|p| p != "/");
    let all = paths.len();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), all, "something was asked twice");
    assert_eq!(seen.most_in_flight, 64);
    assert!(seen.most_between_returns <= 128);
}

#[test]
fn validation_costs_nothing_twice() {
    let (mut session, seen) = open(Cloud::default(), &[]);
    let facts = session.validate().unwrap();
    assert_eq!(
        attribute(&facts, "authentication-mode"),
        Some("API_AND_CONFIG_MAP")
    );
    assert_eq!(
        attribute(&facts, "cluster-arn"),
        Some(format!("arn:aws:eks:eu-west-1:{ACCOUNT}:cluster/prod").as_str())
    );
    for kind in ["namespace", "service_account", "role"] {
        let mut token = None;
        loop {
            let page = session.list_objects(kind, None, token).unwrap();
            token = page.next;
            if token.is_none() {
                break;
            }
        }
    }
    assert!(
        seen.borrow().calls.values().all(|n| *n == 1 || *n == 4),
        "{:?}",
        seen.borrow().calls
    );
    assert_eq!(seen.borrow().calls["list namespaces"], 1);
    assert_eq!(seen.borrow().calls["eks:DescribeCluster"], 1);
}

#[test]
fn a_type_that_is_left_out_is_not_read_for_itself() {
    let (mut session, seen) = open(Cloud::default(), &[]);
    let page = session.list_objects("namespace", None, None).unwrap();
    assert_eq!(page.items.len(), 4);
    assert_eq!(
        seen.borrow().calls.keys().collect::<Vec<_>>(),
        ["list namespaces"]
    );
}

#[test]
fn a_parent_limits_rows_to_one_container() {
    let mut cloud = Cloud::default();
    cloud.service_accounts = vec![account("dev", "ci"), account("default", "x")];
    let (mut session, _) = open(cloud, &[]);
    let parent = crate::bindings::ObjectId {
        kind: "namespace".into(),
        id: "dev".into(),
    };
    let page = session
        .list_objects("service_account", Some(parent), None)
        .unwrap();
    assert_eq!(
        page.items
            .iter()
            .map(|o| o.id.id.as_str())
            .collect::<Vec<_>>(),
        ["dev/ci"]
    );
}

#[test]
fn an_expired_list_starts_again_and_nothing_is_listed_twice() {
    for (part, restarts, offer, point_in_time) in [
        ("serviceaccounts", 1, false, false),
        ("rolebindings", 2, false, true),
        ("rolebindings", 3, true, false),
    ] {
        let mut cloud = Cloud {
            page: 2,
            gone: Some((part, restarts, offer)),
            ..Cloud::default()
        };
        cloud.service_accounts = (0..5).map(|n| account("dev", &format!("sa{n}"))).collect();
        for n in 0..5 {
            cloud = cloud.bound_in("dev", &format!("b{n}"), "view", &["ServiceAccount:dev/sa0"]);
        }
        let file = sync(cloud);
        assert_eq!(
            file.objects
                .iter()
                .filter(|o| o.id.kind == "service_account")
                .count(),
            6
        );
        assert_eq!(
            file.metadata("cluster_role:view:dev:member:service_account:dev/sa0")["path_count"],
            5
        );
        let snapshot = file
            .evidence_of("snapshot")
            .into_iter()
            .find(|e| e["source"] == part)
            .unwrap();
        assert_eq!(
            snapshot["point_in_time"], point_in_time,
            "{part} {restarts}"
        );
        assert_eq!(snapshot["restarts"], restarts.min(2));
    }
    let mut cloud = Cloud {
        page: 2,
        gone: Some(("rolebindings", 9, false)),
        ..Cloud::default()
    };
    for n in 0..5 {
        cloud = cloud.bound_in("dev", &format!("b{n}"), "view", &["User:x"]);
    }
    let error = try_sync(cloud, &[]).err().unwrap();
    assert_eq!(error.kind, "unavailable");
    assert!(error.message.contains("three times"));
}
