//! Each rule has its case.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::review::testing::{Sketch, company, iam, load, policy_arn, user};

/// Items of a rule, as `severity subject: what`.
fn items(sketch: &Sketch, rule: &str) -> Vec<String> {
    findings(&sketch.load())
        .into_iter()
        .filter(|finding| finding.rule == rule)
        .flat_map(|finding| finding.items)
        .map(|item| format!("{} {}: {}", item.severity.name(), item.subject, item.what))
        .collect()
}

/// A cluster in which bob holds a role with one rule, in a scope.
fn with_rule(slug: &str, verbs: &[&str], resources: &[&str], groups: &[&str]) -> Sketch {
    let mut s = Sketch::cluster("prod");
    s.row("iam_user", &user("bob"), json!({})).row(
        "cluster_role",
        "r",
        json!({"rules": [{"apiGroups": groups, "resources": resources, "verbs": verbs}]}),
    );
    s.grant(
        ("cluster_role", "r"),
        slug,
        ("iam_user", &user("bob")),
        certain(json!({"via": "access-entry"})),
    );
    s
}

fn certain(path: Value) -> Value {
    json!({"certainty": "certain", "paths": [path], "path_count": 1})
}

#[test]
fn rights_that_lead_further_are_found_by_the_rules_of_roles() {
    let rbac = "rbac.authorization.k8s.io";
    let admission = "admissionregistration.k8s.io";
    for (rule, verbs, resource, group, wide, narrow) in [
        (
            "escalate",
            "escalate",
            "clusterroles",
            rbac,
            Some("critical"),
            None,
        ),
        (
            "escalate",
            "bind",
            "roles",
            rbac,
            Some("critical"),
            Some("high"),
        ),
        (
            "impersonate",
            "impersonate",
            "groups",
            "",
            Some("critical"),
            None,
        ),
        (
            "impersonate",
            "impersonate",
            "serviceaccounts",
            "",
            Some("critical"),
            Some("medium"),
        ),
        (
            "read-secrets",
            "list",
            "secrets",
            "",
            Some("high"),
            Some("medium"),
        ),
        (
            "exec-in-pods",
            "create",
            "pods/exec",
            "",
            Some("high"),
            Some("medium"),
        ),
        (
            "exec-in-pods",
            "patch",
            "pods/ephemeralcontainers",
            "",
            Some("high"),
            Some("medium"),
        ),
        ("node-proxy", "get", "nodes/proxy", "", Some("high"), None),
        (
            "make-tokens",
            "create",
            "serviceaccounts/token",
            "",
            Some("high"),
            Some("medium"),
        ),
        (
            "approve-certificates",
            "update",
            "certificatesigningrequests/approval",
            "certificates.k8s.io",
            Some("high"),
            None,
        ),
        (
            "change-admission",
            "patch",
            "mutatingwebhookconfigurations",
            admission,
            Some("high"),
            None,
        ),
        (
            "change-bindings",
            "create",
            "rolebindings",
            rbac,
            Some("medium"),
            Some("low"),
        ),
    ] {
        for (slug, severity, place) in [
            ("all:member", wide, "the whole cluster"),
            ("dev:member", narrow, "namespace dev"),
        ] {
            let found = items(&with_rule(slug, &[verbs], &[resource], &[group]), rule);
            let expected: Vec<String> = severity
                .iter()
                .map(|severity| format!("{severity} user bob: r in {place}: {verbs} {resource}"))
                .collect();
            assert_eq!(found, expected, "{rule} {slug}");
        }
        let harmless = items(&with_rule("all:member", &["get"], &["pods"], &[""]), rule);
        assert!(harmless.is_empty(), "{rule}: {harmless:?}");
    }
}

#[test]
fn wildcards_and_administrators() {
    let all = with_rule("all:member", &["*"], &["*"], &["*"]);
    assert_eq!(
        items(&all, "cluster-admin"),
        ["critical user bob: r in the whole cluster"]
    );
    assert!(
        items(&all, "read-secrets").is_empty(),
        "everything includes everything else"
    );
    let here = with_rule("dev:member", &["*"], &["*"], &["*"]);
    assert_eq!(
        items(&here, "wildcard-rules"),
        ["medium user bob: r in namespace dev: every verb on every resource"]
    );
    assert!(items(&here, "cluster-admin").is_empty());
    let some = with_rule("all:member", &["*"], &["pods"], &[""]);
    assert_eq!(
        items(&some, "wildcard-rules"),
        ["high user bob: r in the whole cluster: every verb on pods"]
    );
    let mut policy = Sketch::cluster("prod");
    let arn = policy_arn("AmazonEKSClusterAdminPolicy");
    policy.row("access_policy", &arn, json!({}));
    policy.grant(
        ("access_policy", &arn),
        "assigned:cluster",
        ("iam_user", &user("bob")),
        certain(json!({"via": "access-policy"})),
    );
    assert_eq!(
        items(&policy, "cluster-admin"),
        ["critical user bob: AmazonEKSClusterAdminPolicy in the whole cluster"]
    );
}

#[test]
fn the_platform_is_told_apart() {
    let mut s = Sketch::cluster("prod");
    s.row(
        "cluster_role",
        "system:controller:x",
        json!({"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}]}),
    );
    for account in ["kube-system/x", "dev/x"] {
        s.grant(
            ("cluster_role", "system:controller:x"),
            "all:member",
            ("service_account", account),
            certain(json!({"via": "binding"})),
        );
    }
    let found = findings(&s.load());
    let secrets = found
        .iter()
        .find(|finding| finding.rule == "read-secrets")
        .unwrap();
    let shown: Vec<&str> = secrets.shown().map(|item| item.subject.as_str()).collect();
    assert_eq!(shown, ["service account dev/x"]);
    assert_eq!(secrets.items.len(), 2);
}

#[test]
fn the_group_that_passes_every_check() {
    let mut s = company();
    let masters = json!({"via": "aws-auth", "mapping": "mapRoles line 3", "group": "system:masters", "bypasses_rbac": true});
    s.bind_role(
        ("cluster_role", "cluster-admin"),
        "all:member",
        &iam("deploy"),
        certain(masters),
    );
    assert_eq!(
        items(&s, "system-masters"),
        ["critical role deploy: past every check of the API server"]
    );
    let found = findings(&s.load());
    let masters = found
        .iter()
        .find(|finding| finding.rule == "system-masters")
        .unwrap();
    assert_eq!(masters.items[0].people, ["bob", "eve"]);
    assert!(
        masters.items[0]
            .evidence
            .contains("aws-auth mapRoles line 3"),
        "{:?}",
        masters.items[0]
    );
}

#[test]
fn everybody_and_anybody() {
    let mut s = company();
    s.row("cluster_role", "system:discovery", json!({"rules": []}))
        .row("kube_user", "system:anonymous", json!({}));
    let way = || certain(json!({"via": "binding", "binding": "x"}));
    s.grant(
        ("cluster_role", "system:discovery"),
        "all:member",
        ("kube_group", "system:authenticated"),
        way(),
    )
    .grant(
        ("cluster_role", "cluster-admin"),
        "all:member",
        ("kube_user", "system:anonymous"),
        way(),
    );
    assert_eq!(
        items(&s, "open-to-everyone"),
        ["medium group system:authenticated: view in the whole cluster"]
    );
    let anonymous = items(&s, "open-to-anonymous");
    assert_eq!(anonymous.len(), 1);
    assert!(
        anonymous[0].starts_with("critical user system:anonymous"),
        "{anonymous:?}"
    );
}

#[test]
fn workloads_that_lead_out_and_in() {
    let s = company();
    assert_eq!(
        items(&s, "workload-to-cluster"),
        [
            "high service account dev/ci: assume deploy: AmazonEKSEditPolicy in namespace dev, view in namespace dev"
        ]
    );
    let pods = items(&s, "pods-beside-strong-accounts");
    assert_eq!(
        pods.len(),
        0,
        "the account is the way to the role that may start pods: {pods:?}"
    );
    let mut every = company();
    every.grant(
        ("role", &iam("deploy")),
        "assignment",
        ("service_account", "*"),
        certain(json!({"via": "irsa"})),
    );
    assert_eq!(
        items(&every, "every-workload-role"),
        ["high every service account: assume deploy"]
    );
    let mut beside = with_rule("dev:member", &["create"], &["pods"], &[""]);
    beside
        .row("service_account", "dev/ci", json!({}))
        .row("role", &iam("deploy"), json!({}))
        .grant(
            ("role", &iam("deploy")),
            "assignment",
            ("service_account", "dev/ci"),
            certain(json!({"via": "irsa"})),
        );
    assert_eq!(
        items(&beside, "pods-beside-strong-accounts"),
        ["medium user bob: r in namespace dev: as dev/ci"]
    );
}

#[test]
fn aws_auth_and_who_may_write_it() {
    let mut s = with_rule("kube-system:member", &["update"], &["configmaps"], &[""]);
    assert!(
        items(&s, "write-aws-auth").is_empty(),
        "mode API does not look at it"
    );
    s.evidence(json!({"type": "cluster", "arn": "arn:aws:eks:eu-west-1:111122223333:cluster/x", "authentication_mode": "CONFIG_MAP"}));
    assert_eq!(
        items(&s, "write-aws-auth"),
        ["critical user bob: r in namespace kube-system"]
    );
    let mut other = with_rule("dev:member", &["update"], &["configmaps"], &[""]);
    other.evidence(json!({"type": "cluster", "arn": "arn:aws:eks:eu-west-1:111122223333:cluster/x", "authentication_mode": "CONFIG_MAP"}));
    assert!(items(&other, "write-aws-auth").is_empty());
}

#[test]
fn evidence_becomes_findings() {
    for (kind, rule, severity) in [
        ("mapped-account", "mapped-account", "high"),
        ("hidden-creator", "hidden-creator", "medium"),
        ("dangling-role", "dangling-role", "medium"),
        ("dead-line", "dead-mapping", "low"),
        ("dead-entry", "dead-mapping", "low"),
        ("dead-policy", "dead-mapping", "low"),
        ("dead-association", "dead-mapping", "low"),
        ("shadowed-line", "shadowed-line", "high"),
        ("malformed-line", "malformed", "low"),
        ("malformed-trust", "malformed", "low"),
        ("ambiguous-line", "malformed", "low"),
        ("uncertain-line", "malformed", "low"),
        ("unmatched-trust", "unmatched-trust", "low"),
        ("unverified-entry", "not-checked", "info"),
        ("unknown-entry-type", "not-checked", "info"),
    ] {
        let mut s = Sketch::cluster("prod");
        s.evidence(json!({"type": kind, "principal": "arn:x", "reason": "because", "groups": ["system:masters"]}));
        let found = items(&s, rule);
        assert_eq!(found.len(), 1, "{kind}");
        assert!(
            found[0].starts_with(severity) && found[0].contains("because"),
            "{found:?}"
        );
    }
    let mut s = Sketch::cluster("prod");
    s.evidence(json!({"type": "unread", "source": "access policies", "reason": "not permitted"}))
        .evidence(json!({"type": "not-asked", "source": "IAM policies", "reason": "nobody asked"}))
        .evidence(json!({"type": "snapshot", "point_in_time": false}));
    let found = items(&s, "not-read");
    assert_eq!(found.len(), 3);
    assert!(found.contains(&"info IAM policies: nobody asked".to_owned()));
    assert!(
        found.contains(&"info access policies: not permitted".to_owned()),
        "{found:?}"
    );
}

#[test]
fn trust_policies_that_are_open() {
    let mut s = company();
    let open = iam("open");
    s.row(
        "role",
        &open,
        json!({"trusted_by": ["everyone if x", "account 9"]}),
    );
    assert_eq!(
        items(&s, "trust-everyone"),
        ["high role open: trusts everyone if x"]
    );
    assert!(
        items(&s, "trust-account").is_empty(),
        "it has no access to a cluster"
    );
    s.bind_role(
        ("cluster_role", "view"),
        "all:member",
        &open,
        certain(json!({"via": "access-entry"})),
    );
    assert_eq!(
        items(&s, "trust-everyone"),
        ["critical role open: trusts everyone if x"]
    );
    assert_eq!(
        items(&s, "trust-account"),
        ["medium role open: trusts account 9"]
    );
}

#[test]
fn people_and_rules_that_are_not_known() {
    let mut s = company();
    let hidden = iam("AWSReservedSSO_Dev_0123456789abcdef");
    s.row(
        "role",
        &hidden,
        json!({"people_behind": "not available, Identity Center"}),
    );
    s.bind_role(
        ("cluster_role", "view"),
        "all:member",
        &hidden,
        certain(json!({"via": "access-entry"})),
    );
    assert_eq!(
        items(&s, "unknown-people"),
        ["info role AWSReservedSSO_Dev_0123456789abcdef: not available, Identity Center"]
    );
    assert_eq!(
        items(&s, "unknown-rules"),
        ["info mystery: its rules are not in the file"]
    );
}

#[test]
fn what_waits_and_what_grows() {
    let mut s = company();
    let arn = policy_arn("AmazonEKSViewPolicy");
    s.row("access_policy", &arn, json!({}));
    s.bind_role(
        ("access_policy", &arn),
        "assigned:dev-*",
        &iam("deploy"),
        certain(json!({"via": "access-policy", "scope": "dev-*"})),
    );
    s.bind_role(
        ("access_policy", &arn),
        "assigned:gone",
        &iam("deploy"),
        json!({"certainty": "latent", "paths": [{"via": "access-policy"}]}),
    );
    assert_eq!(
        items(&s, "pattern-scope"),
        ["low role deploy: AmazonEKSViewPolicy in namespaces dev-*"]
    );
    assert_eq!(
        items(&s, "latent"),
        ["low role deploy: AmazonEKSViewPolicy in namespace gone"]
    );
    s.bind_role(
        ("access_policy", &arn),
        "assigned:old-*",
        &iam("deploy"),
        json!({"certainty": "latent", "paths": [{"via": "access-policy", "conditions": "no namespace matches"}]}),
    );
    assert_eq!(
        items(&s, "unused-pattern"),
        ["low role deploy: AmazonEKSViewPolicy in namespaces old-*"]
    );
    assert_eq!(items(&s, "pattern-scope").len(), 1);
    assert_eq!(items(&s, "latent").len(), 1);
}

/// What the connector keeps of an IAM policy: actions, and what they are on.
fn iam_rights(kind: &str, principal: &str, conditions: &str, does: Value) -> Value {
    let does: Vec<Value> = does
        .as_object()
        .unwrap()
        .iter()
        .map(|(action, on)| match on {
            Value::Array(targets) => {
                json!({"action": action, "on": "these", "targets": targets, "count": targets.len()})
            }
            on => json!({"action": action, "on": on}),
        })
        .collect();
    json!({"type": "iam-rights", "kind": kind, "principal": principal,
        "rights": [{"by": "policy P, statement 1", "conditions": conditions, "does": does}]})
}

/// A cluster of which `admin` has everything and `reader` something, and a
/// principal with rights in IAM.
fn town(kind: &str, principal: &str, conditions: &str, does: Value) -> Sketch {
    let mut s = Sketch::cluster("prod");
    let everything = json!({"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]});
    s.row("role", &iam("admin"), json!({}))
        .row("role", &iam("reader"), json!({}))
        .row("role", &iam("ci"), json!({}))
        .row("iam_user", &user("bob"), json!({}))
        .row("iam_user", &user("eve"), json!({}))
        .row("group", GROUP, json!({}))
        .row("cluster_role", "cluster-admin", everything)
        .row("cluster_role", "view", json!({"rules": []}));
    let entry = || certain(json!({"via": "access-entry"}));
    s.bind_role(
        ("cluster_role", "cluster-admin"),
        "all:member",
        &iam("admin"),
        entry(),
    )
    .bind_role(
        ("cluster_role", "view"),
        "all:member",
        &iam("reader"),
        entry(),
    )
    .grant(
        ("cluster_role", "view"),
        "all:member",
        ("iam_user", &user("eve")),
        entry(),
    )
    .grant(
        ("group", GROUP),
        "member",
        ("iam_user", &user("bob")),
        json!({}),
    );
    s.evidence(iam_rights(kind, principal, conditions, does));
    s
}

const GROUP: &str = "arn:aws:iam::111122223333:group/platform";

#[test]
fn who_makes_access_entries_makes_himself_administrator() {
    let both = json!({"eks:CreateAccessEntry": "cluster", "eks:AssociateAccessPolicy": "entries"});
    let s = town("group", GROUP, "", both.clone());
    assert_eq!(
        items(&s, "shadow-admin"),
        [
            "critical group platform: may give itself an access entry with AmazonEKSClusterAdminPolicy"
        ]
    );
    let found = findings(&s.load());
    let shadow = found.iter().find(|f| f.rule == "shadow-admin").unwrap();
    assert_eq!(shadow.items[0].people, ["bob"]);
    assert_eq!(
        shadow.items[0].evidence,
        "eks:AssociateAccessPolicy, eks:CreateAccessEntry by policy P, statement 1"
    );
    assert_eq!(shadow.items[0].certainty, Certainty::Certain);
    assert!(items(&s, "change-access").is_empty());
    // A condition makes it uncertain, and says why.
    let s = town(
        "iam_user",
        &user("bob"),
        "with MFA (Bool x = true)",
        both.clone(),
    );
    let found = findings(&s.load());
    let shadow = found.iter().find(|f| f.rule == "shadow-admin").unwrap();
    assert_eq!(shadow.severity, Severity::High);
    assert_eq!(shadow.items[0].certainty, Certainty::Conditional);
    assert!(
        shadow.items[0]
            .evidence
            .ends_with("(with MFA (Bool x = true))")
    );
    // An administrator would keep it this way.
    let s = town("role", &iam("admin"), "", both.clone());
    assert_eq!(items(&s, "shadow-admin").len(), 1);
    assert!(items(&s, "shadow-admin")[0].starts_with("medium role admin"));
    // Entries do not count in every mode.
    let config_map = json!({"type": "cluster", "arn": "arn:aws:eks:eu-west-1:111122223333:cluster/x", "authentication_mode": "CONFIG_MAP"});
    let mut s = town("iam_user", &user("bob"), "", both.clone());
    s.evidence(config_map.clone());
    assert!(items(&s, "shadow-admin").is_empty());
    let mut all = both;
    all["eks:UpdateClusterConfig"] = json!("cluster");
    let mut s = town("iam_user", &user("bob"), "", all);
    s.evidence(config_map);
    assert_eq!(items(&s, "shadow-admin").len(), 1);
}

#[test]
fn a_part_of_the_rights_is_a_part_of_the_way() {
    let one = |kind: &str, who: &str, action: &str, on: &str, rule: &str| {
        items(&town(kind, who, "", json!({action: on})), rule)
    };
    assert_eq!(
        one(
            "iam_user",
            &user("eve"),
            "eks:AssociateAccessPolicy",
            "entries",
            "shadow-admin"
        ),
        ["critical user eve: may give its own access entry AmazonEKSClusterAdminPolicy"]
    );
    for (action, on, expected) in [
        (
            "eks:AssociateAccessPolicy",
            "entries",
            "high user bob: may give AmazonEKSClusterAdminPolicy to whoever has an access entry",
        ),
        (
            "eks:CreateAccessEntry",
            "cluster",
            "high user bob: may give itself an access entry with any group that is not of system:",
        ),
        (
            "eks:UpdateAccessEntry",
            "entries",
            "high user bob: may put access entries into any group that is not of system:",
        ),
        (
            "eks:AssociateIdentityProviderConfig",
            "cluster",
            "high user bob: may have an identity provider of its own name users and groups",
        ),
        (
            "eks:UpdateClusterConfig",
            "cluster",
            "medium user bob: may change the authentication mode, the endpoint and the audit log",
        ),
        (
            "eks:CreatePodIdentityAssociation",
            "cluster",
            "medium user bob: may give IAM roles to service accounts",
        ),
    ] {
        assert_eq!(
            one("iam_user", &user("bob"), action, on, "change-access"),
            [expected]
        );
        assert!(one("iam_user", &user("bob"), action, on, "shadow-admin").is_empty());
    }
    assert_eq!(
        one(
            "iam_user",
            &user("bob"),
            "ssm:StartSession",
            "instances",
            "node-role"
        ),
        ["medium user bob: may run commands on machines of the account, nodes included"]
    );
}

#[test]
fn who_takes_over_an_administrator_is_one() {
    let of = |does: Value, rule: &str| items(&town("iam_user", &user("bob"), "", does), rule);
    assert_eq!(
        of(
            json!({"iam:UpdateAssumeRolePolicy": "every role"}),
            "shadow-admin"
        ),
        [
            "critical user bob: may let itself assume role admin, which is or can become an administrator"
        ]
    );
    assert_eq!(
        of(json!({"iam:PassRole": [iam("reader")]}), "take-over"),
        ["high user bob: may start something as role reader"]
    );
    assert_eq!(
        of(json!({"iam:CreateAccessKey": "every user"}), "take-over"),
        ["high user bob: may make an access key of user eve"]
    );
    assert_eq!(
        of(json!({"iam:PutUserPolicy": "itself"}), "shadow-admin"),
        ["critical user bob: may give itself every right in IAM, and with it an access entry"]
    );
    assert_eq!(
        of(
            json!({"iam:AttachRolePolicy": [iam("reader")]}),
            "take-over"
        ),
        ["medium user bob: may give role reader every right in IAM"]
    );
    let mut s = town(
        "iam_user",
        &user("bob"),
        "",
        json!({"iam:AttachRolePolicy": "every role"}),
    );
    s.grant(
        ("role", &iam("ci")),
        "assignment",
        ("iam_user", &user("bob")),
        certain(json!({"via": "trust"})),
    );
    assert_eq!(
        items(&s, "shadow-admin"),
        ["critical user bob: may give role ci, which it may assume, every right in IAM"]
    );
    // Through another who could: bob takes over ci, and ci makes entries.
    let mut s = town(
        "iam_user",
        &user("bob"),
        "",
        json!({"iam:UpdateAssumeRolePolicy": [iam("ci")]}),
    );
    assert!(items(&s, "shadow-admin").is_empty());
    s.evidence(iam_rights(
        "role",
        &iam("ci"),
        "",
        json!({"iam:PutRolePolicy": "itself"}),
    ));
    s.grant(
        ("role", &iam("ci")),
        "assignment",
        ("service_account", "dev/ci"),
        certain(json!({"via": "irsa"})),
    );
    assert_eq!(items(&s, "shadow-admin").len(), 2);
    assert_eq!(
        items(&s, "workload-to-cluster"),
        ["high service account dev/ci: assume ci: can make itself administrator"]
    );
}

#[test]
fn the_api_server_from_everywhere_and_no_log_of_it() {
    let with = |more: Value| {
        let mut s = Sketch::default();
        let mut piece = json!({"type": "cluster", "authentication_mode": "API", "arn": "arn:aws:eks:eu-west-1:111122223333:cluster/prod"});
        piece
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        s.evidence(piece);
        s
    };
    let open = with(
        json!({"endpoint_public": true, "public_cidrs": ["10.0.0.0/8", "::/0"], "audit_log": false}),
    );
    assert_eq!(
        items(&open, "open-endpoint"),
        ["medium API server: public, from ::/0"]
    );
    assert_eq!(items(&open, "no-audit-log").len(), 1);
    let all = with(json!({"endpoint_public": true, "public_cidrs": []}));
    assert_eq!(
        items(&all, "open-endpoint"),
        ["medium API server: public, from everywhere"]
    );
    for closed in [
        json!({"endpoint_public": true, "public_cidrs": ["10.0.0.0/8"], "audit_log": true}),
        json!({"endpoint_public": false, "public_cidrs": ["0.0.0.0/0"]}),
        json!({}),
    ] {
        let s = with(closed);
        assert!(items(&s, "open-endpoint").is_empty() && items(&s, "no-audit-log").is_empty());
    }
}

#[test]
fn roles_that_nobody_uses() {
    // The sketch was read on 2026-01-02.
    let with = |profile: Value| {
        let mut s = company();
        s.row("role", &iam("old"), profile).bind_role(
            ("cluster_role", "view"),
            "all:member",
            &iam("old"),
            certain(json!({"via": "access-entry"})),
        );
        items(&s, "unused-role")
    };
    assert_eq!(
        with(json!({"create_date": "2020-01-01T00:00:00Z", "last_used": "2025-06-01T00:00:00Z"})),
        ["low role old: used last 2025-06-01"]
    );
    let never = with(json!({"create_date": "2020-01-01T00:00:00Z", "last_used": "never"}));
    assert!(never[0].starts_with("low role old: made 2020-01-01, and not used since"));
    for used in [
        json!({"create_date": "2020-01-01T00:00:00Z", "last_used": "2025-12-24T00:00:00Z"}),
        json!({"create_date": "2025-12-24T00:00:00Z", "last_used": "never"}),
        json!({"create_date": "2020-01-01T00:00:00Z"}),
    ] {
        assert!(with(used).is_empty());
    }
}

#[test]
fn nodes_moves_and_disabled_people() {
    let mut s = company();
    s.evidence(json!({"type": "node-mapping", "principal": iam("deploy")}));
    assert_eq!(
        items(&s, "node-role").len(),
        3,
        "eve, the group and the workload"
    );
    let mut s = Sketch::cluster("prod");
    s.evidence(json!({"type": "cluster", "arn": "arn:aws:eks:eu-west-1:111122223333:cluster/x", "authentication_mode": "API_AND_CONFIG_MAP"}))
        .row("cluster_role", "cluster-admin", json!({}))
        .grant(
            ("cluster_role", "cluster-admin"),
            "all:member",
            ("iam_user", &user("bob")),
            certain(json!({"via": "aws-auth", "mapping": "mapUsers line 2", "group": "system:masters"})),
        )
        .row("cluster_role", "view", json!({"rules": []}))
        .grant(
            ("cluster_role", "view"),
            "all:member",
            ("iam_user", &user("eve")),
            certain(json!({"via": "aws-auth", "mapping": "mapUsers line 5", "group": "devs"})),
        )
        .evidence(json!({"type": "node-mapping", "principal": iam("node"), "mapping": "mapRoles line 1"}));
    assert_eq!(
        items(&s, "before-access-entries"),
        [
            format!("medium {}: mapRoles line 1: nodes need an entry of their type; EKS makes it for managed nodes and Fargate only", iam("node")),
            "medium user bob: mapUsers line 2 gives the group system:masters, which an entry cannot give".to_owned(),
            "low user eve: mapUsers line 5 stops to count: an entry with groups devs takes its place".to_owned(),
        ]
    );
    let mut s = company();
    s.disabled("iam_user", &user("old"));
    s.grant(
        ("cluster_role", "view"),
        "dev:member",
        ("iam_user", &user("old")),
        certain(json!({"via": "access-entry"})),
    );
    assert_eq!(
        items(&s, "disabled-account"),
        ["high user old: its account is disabled: view in namespace dev"]
    );
}

#[test]
fn ids_stay_and_are_one_an_item() {
    let ids = |sketch: &Sketch| -> BTreeSet<String> {
        findings(&sketch.load())
            .into_iter()
            .flat_map(|finding| finding.items)
            .map(|item| item.id)
            .collect()
    };
    let once = ids(&company());
    let mut more = company();
    more.row("iam_user", &user("zoe"), json!({}));
    assert_eq!(
        once,
        ids(&more),
        "what it is about makes an id, and not its place"
    );
    let count: usize = findings(&company().load())
        .iter()
        .map(|finding| finding.items.len())
        .sum();
    assert_eq!(once.len(), count);
    assert!(once.iter().all(|id| {
        id.rsplit('-')
            .next()
            .is_some_and(|digest| digest.len() == 12)
    }));
}

/// With `UPDATE_DOCS=1` it writes the table.
#[test]
fn the_documented_rules_are_those_that_there_are() {
    let mut table = "| rule | severity | finding | mend |\n|---|---|---|---|\n".to_owned();
    let mut seen = BTreeSet::new();
    for rule in RULES {
        assert!(seen.insert(rule.id), "{} twice", rule.id);
        let (id, severity) = (rule.id, rule.severity.name());
        table.push_str(&format!(
            "| `{id}` | {severity} | **{}.** {} | {} |\n",
            rule.title, rule.why, rule.mend
        ));
    }
    assert!(
        RULES.is_sorted_by_key(|rule| rule.severity),
        "the worst first"
    );
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/review.md");
    let page = std::fs::read_to_string(path).unwrap();
    let begin = "<!-- generated: rules -->\n";
    let (before, rest) = page.split_once(begin).unwrap();
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    let expected = format!("{before}{begin}{table}<!-- end -->{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &expected).unwrap();
    }
    assert_eq!(page, expected, "docs/review.md is out of date");
}

/// What else is read must not give a finding another id: tickets name it.
#[test]
fn ids_do_not_depend_on_clusters_of_the_same_name() {
    let ids = |sketches: &[&Sketch]| -> BTreeSet<String> {
        findings(&load(sketches))
            .into_iter()
            .flat_map(|finding| finding.items)
            .map(|item| item.id)
            .collect()
    };
    let own = with_rule("all:member", &["*"], &["*"], &["*"]);
    let mut other = Sketch::cluster_of("444455556666", "prod");
    other.row("cluster_role", "quiet", json!({"rules": []}));
    let alone = ids(&[&own]);
    assert!(!alone.is_empty());
    let together = ids(&[&own, &other]);
    assert!(alone.is_subset(&together), "{alone:?} {together:?}");
}
