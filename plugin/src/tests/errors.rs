//! Bad settings, refusals, and answers that make no sense.

use serde_json::json;

use super::cloud::*;
use crate::bindings::Setting;
use crate::kubernetes::aws_auth;
use crate::session::Session;
use crate::upstream::Response;

struct Nobody;
impl crate::upstream::Host for Nobody {
    fn start(&mut self, _: &crate::upstream::Request) -> u32 {
        0
    }
    fn finish(&mut self, _: u32) -> Result<Response, crate::upstream::Failure> {
        Err(crate::upstream::Failure::Denied)
    }
    fn log(&mut self, _: &str, _: &str) {}
    fn progress(&mut self, _: u64, _: Option<u64>, _: &str) {}
}

#[test]
fn all_wrong_settings_are_named_at_once() {
    let setting = |n: &str, v: &str| Setting {
        name: n.into(),
        value: v.into(),
    };
    let error = Session::open(
        &[
            setting("eks-region", "Mars"),
            setting("namespace-entitlements", "some"),
            setting("colour", "red"),
            setting("cluster-creator-arn", "me"),
        ],
        Box::new(Nobody),
    )
    .err()
    .unwrap();
    assert_eq!(error.kind, "invalid-config");
    for word in [
        "eks-region",
        "namespace-entitlements",
        "colour",
        "cluster-creator-arn",
        "eks-cluster-name",
    ] {
        assert!(error.message.contains(word), "{word}: {}", error.message);
    }
}

#[test]
fn a_host_that_refuses_is_not_permitted() {
    let settings =
        [("eks-region", "eu-west-1"), ("eks-cluster-name", "prod")].map(|(n, v)| Setting {
            name: n.into(),
            value: v.into(),
        });
    let error = Session::open(&settings, Box::new(Nobody))
        .unwrap()
        .validate()
        .err()
        .unwrap();
    assert!(error.kind == "not-permitted" && error.message.contains("eks:DescribeCluster"));
}

#[test]
fn refusals_name_verb_resource_and_the_rule_to_add() {
    for (operation, group, resource) in [
        ("list namespaces", "", "namespaces"),
        ("list serviceaccounts", "", "serviceaccounts"),
        (
            "list rbac.authorization.k8s.io/clusterroles",
            "rbac.authorization.k8s.io",
            "clusterroles",
        ),
        (
            "list rbac.authorization.k8s.io/rolebindings",
            "rbac.authorization.k8s.io",
            "rolebindings",
        ),
    ] {
        let mut cloud = Cloud::default();
        cloud
            .faults
            .push((operation, "", status(403, "Forbidden", "no")));
        let error = try_sync(cloud, &[]).err().unwrap();
        assert_eq!(error.kind, "not-permitted");
        assert!(error.message.contains(operation));
        assert_eq!(
            attribute(&error.attributes, "hint").unwrap(),
            format!(
                "add to a ClusterRole: {{apiGroups: [\"{group}\"], resources: [\"{resource}\"], verbs: [\"list\"]}}"
            )
        );
        assert_eq!(
            (
                attribute(&error.attributes, "upstream"),
                attribute(&error.attributes, "code")
            ),
            (Some("kubernetes"), Some("Forbidden"))
        );
    }
}

#[test]
fn optional_parts_that_are_forbidden_are_said_and_skipped() {
    let mut cloud = Cloud::default().bound("a", "view", &["User:x"]);
    cloud.pods = (0..200).map(|n| json!({"associationId": format!("a-{n}"), "namespace": "dev", "serviceAccount": "ci", "roleArn": role("r")})).collect();
    cloud
        .faults
        .push(("list configmaps", "", status(403, "Forbidden", "no")));
    cloud.faults.push((
        "eks:ListPodIdentityAssociations",
        "",
        aws_error(403, "AccessDeniedException", "no"),
    ));
    let file = sync(cloud);
    assert_eq!(file.skipped, ["configmap"]);
    assert_eq!(
        file.evidence_of("unread")[0]["source"],
        "pod identity associations"
    );
    assert!(file.warnings.iter().any(|w| w.contains("Pod Identity")));
    assert_eq!(file.grants.len(), 1);
    // The list may be allowed and the description not; nothing stays in flight.
    let mut cloud = Cloud::default();
    cloud.pods = (0..200).map(|n| json!({"associationId": format!("a-{n}"), "namespace": "dev", "serviceAccount": "ci", "roleArn": role("r")})).collect();
    cloud.faults.push((
        "eks:DescribePodIdentityAssociation",
        "a-7",
        aws_error(403, "AccessDeniedException", "no"),
    ));
    assert_eq!(sync(cloud).evidence_of("unread").len(), 1);
}

#[test]
fn other_statuses_become_their_kinds() {
    for (answer, kind) in [
        (
            aws_error(
                404,
                "ResourceNotFoundException",
                "No cluster found for name: prod.",
            ),
            "not-found",
        ),
        (
            aws_error(403, "ExpiredTokenException", "expired"),
            "unauthenticated",
        ),
        (
            aws_error(400, "ThrottlingException", "slow"),
            "rate-limited",
        ),
        (aws_error(503, "ServiceUnavailable", "later"), "unavailable"),
        (
            aws_error(400, "InvalidRequestException", "what"),
            "upstream",
        ),
        (
            Response {
                status: 502,
                body: b"<html>proxy</html>".to_vec(),
                retry_after_ms: None,
            },
            "unavailable",
        ),
        (
            Response {
                status: 200,
                body: b"not json".to_vec(),
                retry_after_ms: None,
            },
            "upstream",
        ),
        (
            Response {
                status: 200,
                body: b"{\"cluster\":{\"arn\":\"x\"}}".to_vec(),
                retry_after_ms: None,
            },
            "upstream",
        ),
    ] {
        let mut cloud = Cloud::default();
        cloud.faults.push(("eks:DescribeCluster", "", answer));
        assert_eq!(try_sync(cloud, &[]).err().unwrap().kind, kind);
    }
    let mut cloud = Cloud::default();
    cloud.faults.push((
        "list namespaces",
        "",
        Response {
            status: 429,
            body: Vec::new(),
            retry_after_ms: Some(3000),
        },
    ));
    let error = try_sync(cloud, &[]).err().unwrap();
    assert_eq!(
        (error.kind.as_str(), error.retry_after_ms),
        ("rate-limited", Some(3000))
    );
    let cloud = Cloud {
        status: "CREATING",
        ..Cloud::default()
    };
    let error = try_sync(cloud, &[]).err().unwrap();
    assert!(error.kind == "unavailable" && error.message.contains("CREATING"));
}

#[test]
fn a_policy_catalogue_that_is_not_there_falls_back_to_the_known_ones() {
    let mut cloud = Cloud::default();
    cloud.entries.push(entry(&user("bob"), "bob", &[]));
    cloud.associations.push((
        user("bob"),
        "AmazonEKSViewPolicy".into(),
        json!({"type": "cluster"}),
    ));
    cloud.faults.push((
        "eks:ListAccessPolicies",
        "",
        aws_error(400, "InvalidRequestException", "No route"),
    ));
    let file = sync(cloud);
    assert_eq!(file.grants.len(), 1);
    assert_eq!(file.evidence_of("unread")[0]["source"], "access policies");
}

#[test]
fn an_entry_that_vanishes_between_calls_is_evidence() {
    let mut cloud = Cloud::default();
    cloud.entries = vec![
        entry(&user("bob"), "bob", &[]),
        entry(&user("eve"), "eve", &[]),
    ];
    cloud.faults.push((
        "eks:DescribeAccessEntry",
        "bob",
        aws_error(404, "ResourceNotFoundException", "gone"),
    ));
    let file = sync(cloud.bound("b", "view", &["User:eve"]));
    assert_eq!(file.grants.len(), 1);
    assert_eq!(
        file.evidence_of("vanished-entry")[0]["principal"],
        user("bob")
    );
}

#[test]
fn a_token_of_another_listing_or_an_old_one_is_refused() {
    let (mut session, _) = open(Cloud::default(), &[]);
    for bad in ["", "1", "99", "x"] {
        assert_eq!(
            session
                .list_objects("namespace", None, Some(bad.into()))
                .err()
                .unwrap()
                .kind,
            "invalid-request"
        );
    }
    assert_eq!(
        session
            .list_objects("nonsense", None, None)
            .err()
            .unwrap()
            .kind,
        "invalid-request"
    );
    assert_eq!(
        session.list_grants("user", None).err().unwrap().kind,
        "invalid-request"
    );
}

#[test]
fn lists_with_nulls_and_strange_members_are_read() {
    let mut cloud = Cloud::default();
    cloud.service_accounts = vec![
        json!({"metadata": {"name": "x", "namespace": "dev", "labels": null, "annotations": null, "new": [1]}, "secrets": null}),
    ];
    cloud.cluster_role_bindings = vec![
        json!({"metadata": {"name": "n"}, "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": null}),
        json!({"metadata": {"name": "odd"}, "roleRef": null, "subjects": [{"kind": "Robot", "name": "r"}, {"kind": "User"}, {"kind": "ServiceAccount", "name": "nowhere"}]}),
    ];
    cloud.faults.push((
        "list configmaps",
        "",
        Response {
            status: 200,
            body: b"{\"items\":null}".to_vec(),
            retry_after_ms: None,
        },
    ));
    let file = sync(cloud);
    assert!(file.has("service_account", "dev/x") && file.grants.is_empty());
}

/// A small generator of noise: deterministic, no clock.
fn noise(seed: &mut u64) -> usize {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) as usize
}

fn mutate(text: &str, seed: &mut u64) -> String {
    let mut bytes = text.as_bytes().to_vec();
    const BITS: &[u8] = b"{}[]:-,'\"&*!|>%@`#\n\t \\~?0aZ\xc3\xa9";
    for _ in 0..=noise(seed) % 6 {
        let at = noise(seed) % (bytes.len() + 1);
        match noise(seed) % 4 {
            0 if at < bytes.len() => {
                bytes.remove(at);
            }
            1 if at < bytes.len() => bytes[at] = BITS[noise(seed) % BITS.len()],
            2 => bytes.truncate(at),
            _ => bytes.insert(at, BITS[noise(seed) % BITS.len()]),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn no_aws_auth_and_no_trust_policy_makes_the_reader_panic() {
    let yaml = format!(
        "# people\n- rolearn: {}\n  username: &u 'a:{{{{SessionName}}}}'\n  groups: [\"system:masters\", 'x']\n- {{rolearn: x, username: *u}}\n- ? a\n  : |\n    b\n",
        role("dev")
    );
    let policy = trust(
        json!([{"Effect": "Allow", "Principal": {"AWS": [user("bob"), "*"], "Federated": format!("arn:aws:iam::{ACCOUNT}:oidc-provider/{ISSUER}")}, "Action": "sts:*", "Condition": {"StringLike": {format!("{ISSUER}:sub"): "system:serviceaccount:*:x"}}}]),
    );
    let mut seed = 7;
    let mut readable = 0;
    for _ in 0..4000 {
        let data = [
            ("mapRoles".to_string(), mutate(&yaml, &mut seed)),
            (
                "mapAccounts".to_string(),
                mutate("- '111122223333'\n", &mut seed),
            ),
        ]
        .into();
        let read = aws_auth::read(&data);
        readable += usize::from(!read.lines.is_empty());
        if let Ok(trust) = crate::aws::trust::Trust::parse(&mutate(&policy, &mut seed)) {
            let _ = (
                trust.trusted(ACCOUNT),
                trust.others(),
                trust.workloads(ISSUER, ACCOUNT),
                trust.pod_identity(true),
            );
        }
        let _ = crate::aws::iam::list_roles(mutate("<ListRolesResponse><ListRolesResult><Roles><member><Arn>a</Arn></member></Roles></ListRolesResult></ListRolesResponse>", &mut seed).as_bytes());
        let _ = crate::aws::arn::Arn::parse(&mutate(&role("a/b"), &mut seed));
    }
    assert!(readable > 500, "{readable}");
}

#[test]
fn yaml_bombs_are_an_error_and_not_a_gigabyte() {
    let mut bomb = String::from("- &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..12 {
        let before = format!("*a{}, ", n - 1).repeat(10);
        bomb.push_str(&format!("- &a{n} [{before}]\n"));
    }
    for text in [
        bomb,
        "[".repeat(5000),
        "- ".repeat(5000),
        "{a: ".repeat(5000),
    ] {
        let read = aws_auth::read(&[("mapRoles".to_string(), text)].into());
        assert!(
            read.lines.is_empty() && !read.problems.is_empty(),
            "{:?}",
            read.problems
        );
    }
}

#[test]
fn rows_that_no_page_may_hold_are_left_out_with_a_warning() {
    let mut cloud = Cloud::default();
    for name in [String::new(), "x".repeat(9000)] {
        cloud
            .cluster_roles
            .push(json!({"metadata": {"name": name}}));
        cloud = cloud.bound(
            &format!("b{}", name.len()),
            &name,
            &["User:jane", &format!("User:{name}x")],
        );
    }
    let file = sync(cloud);
    assert_eq!(
        file.objects
            .iter()
            .filter(|o| o.id.kind == "cluster_role")
            .count(),
        2
    );
    assert!(file.grants.is_empty());
    assert!(
        file.warnings
            .iter()
            .filter(|w| w.contains("left out"))
            .count()
            >= 4
    );
}
