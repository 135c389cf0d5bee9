//! Each rule has its case.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::review::testing::{Sketch, company, iam, policy_arn, user};

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
        .evidence(json!({"type": "snapshot", "point_in_time": false}));
    let found = items(&s, "not-read");
    assert_eq!(found.len(), 2);
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
        );
    assert_eq!(
        items(&s, "before-access-entries"),
        [
            "medium user bob: mapUsers line 2 gives the group system:masters, which an entry cannot give"
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
