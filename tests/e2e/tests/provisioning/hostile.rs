//! Plans that ask for more than the wish: each is refused as a whole, written
//! down, and nothing of it is sent.

use baton_host::provision::{Direction, ProvisionError, State};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::orders::*;
use crate::town::*;

const ENTRIES: &str = "/clusters/lab/access-entries";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/dev/rolebindings";
const CLUSTER_BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
const AWS_AUTH: &str = "/api/v1/namespaces/kube-system/configmaps/aws-auth";
const ROLE: Wish = ("cluster_role", "reports", "dev:member");
const POLICY: Wish = ("access_policy", VIEW, "assigned:dev");

fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A principal's own group.
fn own_group(arn: &str) -> String {
    let mut parts = arn.splitn(6, ':');
    let (partition, account) = (parts.nth(1).unwrap(), parts.nth(2).unwrap());
    let (kind, name) = parts.next().unwrap().split_once('/').unwrap();
    let key = hex(&format!("{partition}|{account}|{kind}|{name}"));
    format!("baton-host:{}", &key[..32])
}

fn encoded(arn: &str) -> String {
    arn.replace(':', "%3A").replace('/', "%2F")
}

fn entry_of(arn: &str) -> String {
    format!("{ENTRIES}/{}", encoded(arn))
}

fn change(upstream: &str, method: &str, path: &str, body: Value) -> Value {
    let body = if body.is_null() {
        Value::Null
    } else {
        body.to_string().into()
    };
    json!({"upstream": upstream, "method": method, "path": path, "body": body, "summary": "a change",
        "attributes": [["step", "access"], ["object", "something"]]})
}

/// The binding that the wish needs.
fn binding() -> Value {
    let name = hex(&format!("ClusterRole|reports|dev|role|{DEV}"));
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": format!("baton-host-{}", &name[..40]), "namespace": "dev",
            "labels": {"app.kubernetes.io/managed-by": "baton-host"}, "annotations": {"baton-host/principal": DEV}},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "reports"},
        "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": own_group(DEV)}]})
}

/// The entry that the wish needs.
fn entry() -> Value {
    json!({"principalArn": DEV, "type": "STANDARD", "kubernetesGroups": [own_group(DEV)], "tags": {"managed-by": "baton-host"}})
}

fn post_binding(body: Value) -> Value {
    change("kubernetes", "POST", BINDINGS, body)
}

fn post_entry(body: Value) -> Value {
    change("eks", "POST", ENTRIES, body)
}

/// A value with one member changed.
fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(list) => list[last.parse::<usize>().unwrap()] = new,
        _ => parent[last] = new,
    }
    value
}

/// A lab whose planner answers the wish with these plans.
fn planning(mode: &str, plans: Value) -> Lab {
    Lab::new(town(mode))
        .plugin("planner.wasm")
        .set("plans", &plans.to_string())
}

/// The plan is refused: nothing was written, and the audit says so.
#[track_caller]
fn refused(
    lab: &Lab,
    direction: Direction,
    wish: Wish,
    principal: (&'static str, &'static str),
) -> String {
    let before = lab.sim.snapshot(LAB).unwrap();
    let error = lab
        .order(direction, wish, principal)
        .expect_err("the plan was accepted");
    assert_eq!(lab.changes(), Vec::<String>::new(), "{error}");
    assert!(
        before
            .difference(&lab.sim.snapshot(LAB).unwrap())
            .is_empty(),
        "{error}"
    );
    let rows = lab.audit();
    assert_eq!(
        rows.last().unwrap()["event"],
        "refused",
        "{error}: {rows:#?}"
    );
    assert!(
        rows.iter().all(|row| row["event"] != "request"),
        "{rows:#?}"
    );
    error.to_string()
}

#[test]
fn a_plan_that_is_the_wish_is_carried_out() {
    let there = json!(["eks", entry_of(DEV), 404]);
    let lab = planning(
        API,
        json!([{"when": there, "changes": [post_binding(binding()), post_entry(entry())]}]),
    );
    let done = lab.order(Direction::Grant, ROLE, ("role", DEV)).unwrap();
    assert_eq!(done.state, State::Changed);
    assert!(holds(&lab.sim, "role", DEV, "reports", "dev"));
    assert_eq!(lab.changes().len(), 2);
}

#[test]
fn nothing_beyond_the_wish_gets_through() {
    let other = own_group(OPS);
    let foreign = format!("{BINDINGS}/foreign");
    let both = || json!([post_binding(binding()), post_entry(entry())]);
    let one = |change: Value| json!([change]);
    let cases: Vec<(&str, Value)> = vec![
        (
            "another principal's entry",
            one(post_entry(with(entry(), "/principalArn", json!(OPS)))),
        ),
        (
            "the host's own entry",
            one(post_entry(with(entry(), "/principalArn", json!(HOST)))),
        ),
        (
            "another principal's group",
            one(post_entry(with(
                entry(),
                "/kubernetesGroups",
                json!([other]),
            ))),
        ),
        (
            "a second group",
            one(post_entry(with(
                entry(),
                "/kubernetesGroups",
                json!([own_group(DEV), "admins"]),
            ))),
        ),
        (
            "a system group",
            one(post_entry(with(
                entry(),
                "/kubernetesGroups",
                json!(["system:masters"]),
            ))),
        ),
        (
            "no group",
            one(post_entry(with(entry(), "/kubernetesGroups", json!([])))),
        ),
        (
            "a node's entry",
            one(post_entry(with(entry(), "/type", json!("EC2_LINUX")))),
        ),
        (
            "a username",
            one(post_entry(with(entry(), "/username", json!("root")))),
        ),
        (
            "other tags",
            one(post_entry(with(
                entry(),
                "/tags",
                json!({"managed-by": "terraform"}),
            ))),
        ),
        (
            "a member that EKS does not know",
            one(post_entry(with(entry(), "/more", json!(1)))),
        ),
        (
            "a token of its own",
            one(post_entry(with(entry(), "/clientRequestToken", json!("t")))),
        ),
        (
            "another cluster",
            one(change(
                "eks",
                "POST",
                "/clusters/prod/access-entries",
                entry(),
            )),
        ),
        (
            "a policy for a role",
            one(change(
                "eks",
                "POST",
                &format!("{}/access-policies", entry_of(DEV)),
                json!({"policyArn": VIEW, "accessScope": {"type": "namespace", "namespaces": ["dev"]}}),
            )),
        ),
        (
            "a second subject",
            one(post_binding(with(
                binding(),
                "/subjects",
                json!([
            {"apiGroup": RBAC, "kind": "Group", "name": own_group(DEV)}, {"apiGroup": RBAC, "kind": "User", "name": "eve"}]),
            ))),
        ),
        (
            "no subject",
            one(post_binding(with(binding(), "/subjects", json!([])))),
        ),
        (
            "another subject",
            one(post_binding(with(
                binding(),
                "/subjects/0",
                json!({"apiGroup": RBAC, "kind": "User", "name": "eve"}),
            ))),
        ),
        (
            "everybody",
            one(post_binding(with(
                binding(),
                "/subjects/0/name",
                json!("system:authenticated"),
            ))),
        ),
        (
            "another's group",
            one(post_binding(with(
                binding(),
                "/subjects/0/name",
                json!(other),
            ))),
        ),
        (
            "a service account",
            one(post_binding(with(
                binding(),
                "/subjects/0",
                json!({"kind": "ServiceAccount", "name": "app", "namespace": "dev"}),
            ))),
        ),
        (
            "another role",
            one(post_binding(with(
                binding(),
                "/roleRef/name",
                json!("cluster-admin"),
            ))),
        ),
        (
            "a role of another kind",
            one(post_binding(with(
                binding(),
                "/roleRef/kind",
                json!("Role"),
            ))),
        ),
        (
            "another namespace",
            one(change(
                "kubernetes",
                "POST",
                &BINDINGS.replace("dev", "firewall"),
                with(binding(), "/metadata/namespace", json!("firewall")),
            )),
        ),
        (
            "another namespace in the body",
            one(post_binding(with(
                binding(),
                "/metadata/namespace",
                json!("firewall"),
            ))),
        ),
        (
            "a namespace through a decoded path",
            one(change(
                "kubernetes",
                "POST",
                &BINDINGS.replace("namespaces/dev", "namespaces/dev%2F..%2Ffirewall"),
                binding(),
            )),
        ),
        (
            "the whole cluster",
            one(change(
                "kubernetes",
                "POST",
                CLUSTER_BINDINGS,
                with(binding(), "/kind", json!("ClusterRoleBinding")),
            )),
        ),
        (
            "another name",
            one(post_binding(with(
                binding(),
                "/metadata/name",
                json!("admin"),
            ))),
        ),
        (
            "no label",
            one(post_binding(with(binding(), "/metadata/labels", json!({})))),
        ),
        (
            "an owner",
            one(post_binding(with(
                binding(),
                "/metadata/ownerReferences",
                json!([{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "y"}]),
            ))),
        ),
        (
            "a forced apply",
            one(change(
                "kubernetes",
                "PATCH",
                &format!("{BINDINGS}/x?fieldManager=x&force=true"),
                binding(),
            )),
        ),
        (
            "a foreign binding",
            one(change("kubernetes", "PUT", &foreign, binding())),
        ),
        (
            "a foreign binding's end",
            one(change(
                "kubernetes",
                "DELETE",
                &foreign,
                json!({"apiVersion": "v1", "kind": "DeleteOptions"}),
            )),
        ),
        (
            "a subject for a foreign binding",
            one(change(
                "kubernetes",
                "PATCH",
                &foreign,
                json!([{"op": "add", "path": "/subjects/-", "value": {"apiGroup": RBAC, "kind": "Group", "name": own_group(DEV)}}]),
            )),
        ),
        (
            "a role",
            one(change(
                "kubernetes",
                "POST",
                "/apis/rbac.authorization.k8s.io/v1/clusterroles",
                json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "x"}, "rules": []}),
            )),
        ),
        (
            "a lease",
            one(change(
                "kubernetes",
                "POST",
                "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases",
                json!({"metadata": {"name": "baton-host-0"}}),
            )),
        ),
        (
            "a secret",
            one(change(
                "kubernetes",
                "GET",
                "/api/v1/namespaces/dev/secrets",
                Value::Null,
            )),
        ),
        (
            "aws-auth where there is none",
            one(change(
                "kubernetes",
                "PUT",
                AWS_AUTH,
                json!({"metadata": {"name": "aws-auth", "namespace": "kube-system"}, "data": {}}),
            )),
        ),
        (
            "a tag",
            one(change(
                "eks",
                "POST",
                "/tags/arn",
                json!({"tags": {"a": "b"}}),
            )),
        ),
        (
            "the cluster's mode",
            one(change(
                "eks",
                "POST",
                "/clusters/lab/update-config",
                json!({"accessConfig": {"authenticationMode": "API"}}),
            )),
        ),
        ("IAM", one(change("iam", "POST", "/", Value::Null))),
        (
            "an upstream that nobody declared",
            one(change("vault", "POST", "/", Value::Null)),
        ),
        (
            "an undo of its own",
            one(with(
                post_binding(binding()),
                "/undo",
                json!([["DELETE", format!("{BINDINGS}/x"), null]]),
            )),
        ),
        (
            "no JSON",
            one(with(post_binding(binding()), "/body", json!("{"))),
        ),
        ("no body", one(post_binding(Value::Null))),
        ("the right changes, twice", {
            let mut all = both();
            let twice = all[0].clone();
            all.as_array_mut().unwrap().push(twice);
            all
        }),
        ("one wrong change behind two right ones", {
            let mut all = both();
            all.as_array_mut().unwrap().push(post_binding(with(
                binding(),
                "/roleRef/name",
                json!("cluster-admin"),
            )));
            all
        }),
    ];
    for (what, changes) in cases {
        let lab = planning(API, json!([{"changes": changes}]));
        lab.sim
            .apply(LAB, json!({"kind": "RoleBinding", "metadata": {"name": "foreign", "namespace": "dev"},
                "roleRef": {"kind": "ClusterRole", "name": "reports"}, "subjects": [{"kind": "User", "name": "joe"}]}))
            .unwrap();
        let sentence = refused(&lab, Direction::Grant, ROLE, ("role", DEV));
        println!("{what}: {sentence}");
    }
}

#[test]
fn policies_stay_within_the_wish() {
    let policies = format!("{}/access-policies", entry_of(OPS));
    let associate = |policy: &str, scope: Value| {
        json!([change(
            "eks",
            "POST",
            &policies,
            json!({"policyArn": policy, "accessScope": scope})
        )])
    };
    let namespaces = |all: &[&str]| json!({"type": "namespace", "namespaces": all});
    let admin = VIEW.replace("View", "ClusterAdmin");
    let cases: Vec<(&str, Value)> = vec![
        ("another policy", associate(&admin, namespaces(&["dev"]))),
        (
            "the whole cluster",
            associate(VIEW, json!({"type": "cluster", "namespaces": []})),
        ),
        (
            "another namespace",
            associate(VIEW, namespaces(&["small", "firewall"])),
        ),
        (
            "one namespace more",
            associate(VIEW, namespaces(&["small", "dev", "firewall"])),
        ),
        ("a pattern", associate(VIEW, namespaces(&["small", "*"]))),
        ("one namespace less", associate(VIEW, namespaces(&["dev"]))),
        (
            "another order",
            associate(VIEW, namespaces(&["dev", "small"])),
        ),
        (
            "the association's end",
            json!([change(
                "eks",
                "DELETE",
                &format!("{policies}/{}", encoded(VIEW)),
                Value::Null
            )]),
        ),
        (
            "the entry's end",
            json!([change("eks", "DELETE", &entry_of(OPS), Value::Null)]),
        ),
        (
            "the entry's groups",
            json!([change(
                "eks",
                "POST",
                &entry_of(OPS),
                json!({"kubernetesGroups": []})
            )]),
        ),
        (
            "a group more",
            json!([change(
                "eks",
                "POST",
                &entry_of(OPS),
                json!({"kubernetesGroups": ["team", "system:masters"]})
            )]),
        ),
        (
            "another principal",
            json!([change(
                "eks",
                "POST",
                &format!("{}/access-policies", entry_of(HOST)),
                json!({"policyArn": VIEW, "accessScope": namespaces(&["dev"])})
            )]),
        ),
    ];
    for (what, changes) in cases {
        let lab = planning(API, json!([{"changes": changes}]));
        lab.sim
            .put_entry(
                LAB,
                &entry_spec(OPS, &["team"], &[("AmazonEKSViewPolicy", Some(&["small"]))]),
            )
            .unwrap();
        let sentence = refused(&lab, Direction::Grant, POLICY, ("role", OPS));
        println!("{what}: {sentence}");
    }
}

#[test]
fn a_revoke_takes_nothing_from_others() {
    let foreign = format!("{BINDINGS}/foreign");
    let remove = |steps: Value| json!([change("kubernetes", "PATCH", &foreign, steps)]);
    for (what, changes) in [
        (
            "a binding of others",
            json!([change(
                "kubernetes",
                "DELETE",
                &foreign,
                json!({"apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": {"uid": "UID", "resourceVersion": "VERSION"}})
            )]),
        ),
        (
            "a subject of others",
            remove(
                json!([{"op": "test", "path": "/metadata/resourceVersion", "value": "VERSION"},
            {"op": "test", "path": "/subjects/0", "value": {"apiGroup": RBAC, "kind": "User", "name": "joe"}}, {"op": "remove", "path": "/subjects/0"}]),
            ),
        ),
        (
            "all subjects",
            remove(
                json!([{"op": "test", "path": "/metadata/resourceVersion", "value": "VERSION"},
            {"op": "remove", "path": "/subjects"}]),
            ),
        ),
        (
            "a subject in place of another",
            remove(json!([{"op": "replace", "path": "/subjects/0/name", "value": "eve"}])),
        ),
        (
            "an unversioned removal",
            remove(json!([{"op": "remove", "path": "/subjects/1"}])),
        ),
        (
            "the foreign entry",
            json!([change("eks", "DELETE", &entry_of(OPS), Value::Null)]),
        ),
        (
            "the role behind it",
            json!([change(
                "kubernetes",
                "DELETE",
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/reports",
                Value::Null
            )]),
        ),
    ] {
        let lab = Lab::new(town(API)).plugin("planner.wasm");
        lab.sim
            .put_entry(LAB, &entry_spec(OPS, &["team"], &[]))
            .unwrap();
        lab.sim
            .apply(LAB, json!({"kind": "RoleBinding", "metadata": {"name": "foreign", "namespace": "dev"}, "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "reports"},
                "subjects": [{"apiGroup": RBAC, "kind": "User", "name": "joe"}, {"apiGroup": RBAC, "kind": "Group", "name": "team"}]}))
            .unwrap();
        let object = lab
            .sim
            .object(LAB, RBAC, "rolebindings", "dev/foreign")
            .unwrap();
        let meta = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
        let plans = json!([{"changes": changes}])
            .to_string()
            .replace("VERSION", &meta("resourceVersion"))
            .replace("UID", &meta("uid"));
        let lab = lab.set("plans", &plans);
        let sentence = refused(&lab, Direction::Revoke, ROLE, ("role", OPS));
        println!("{what}: {sentence}");
    }
}

#[test]
fn aws_auth_is_edited_by_one_item() {
    let line = |arn: &str, group: &str| {
        format!(
            "- userarn: {arn}\n  username: {}\n  groups:\n  - {group}\n",
            group.replace(':', "-")
        )
    };
    let roles = MAP_ROLES;
    for (what, map_roles, map_users) in [
        (
            "another user",
            roles.to_owned(),
            line(BOB, &own_group(ALICE)),
        ),
        ("another group", roles.to_owned(), line(ALICE, "team")),
        (
            "system:masters",
            roles.to_owned(),
            line(ALICE, "system:masters"),
        ),
        (
            "two users",
            roles.to_owned(),
            line(ALICE, &own_group(ALICE)) + &line(BOB, &own_group(BOB)),
        ),
        (
            "a comment lost",
            roles.replace("   # the host", ""),
            line(ALICE, &own_group(ALICE)),
        ),
        (
            "the host's own line",
            roles.replace("baton-provisioners", "system:masters"),
            line(ALICE, &own_group(ALICE)),
        ),
        (
            "a node lost",
            roles.lines().take(5).collect::<Vec<_>>().join("\n") + "\n",
            line(ALICE, &own_group(ALICE)),
        ),
        ("no YAML", roles.to_owned(), "- [".to_owned()),
    ] {
        let lab = Lab::new(town(CONFIG_MAP)).plugin("planner.wasm");
        let mut map = lab
            .sim
            .object(LAB, "", "configmaps", "kube-system/aws-auth")
            .unwrap();
        map["kind"] = json!("ConfigMap");
        map["apiVersion"] = json!("v1");
        map["data"] = json!({"mapRoles": map_roles, "mapUsers": map_users});
        let plans = json!([{"changes": [change("kubernetes", "PUT", AWS_AUTH, map)]}]);
        let lab = lab.set("plans", &plans.to_string());
        let sentence = refused(&lab, Direction::Grant, ROLE, ("iam_user", ALICE));
        println!("{what}: {sentence}");
    }
}

#[test]
fn a_planner_that_never_decides_is_given_up() {
    let lab = Lab::new(town(API))
        .plugin("planner.wasm")
        .set("behaviour", "more");
    refused(&lab, Direction::Grant, ROLE, ("role", DEV));
}

#[test]
fn ten_thousand_changes_are_too_many() {
    let small =
        json!({"upstream": "kubernetes", "method": "DELETE", "path": BINDINGS, "body": null});
    let lab = planning(API, json!([{"changes": [small]}])).set("behaviour", "many:10000");
    refused(&lab, Direction::Grant, ROLE, ("role", DEV));
}

#[test]
fn a_planner_that_traps_sends_nothing() {
    let lab = Lab::new(town(API))
        .plugin("planner.wasm")
        .set("behaviour", "trap");
    let error = lab
        .order(Direction::Grant, ROLE, ("role", DEV))
        .unwrap_err();
    assert!(matches!(error, ProvisionError::Call(_)), "{error:?}");
    assert!(lab.changes().is_empty());
}

/// A name that stands twice in JSON means two things to two readers; what is
/// sent is what the host read, built anew.
#[test]
fn what_is_sent_is_built_anew() {
    let twice = binding().to_string().replacen(
        "\"kind\":",
        "\"subjects\":[{\"kind\":\"Group\",\"name\":\"system:masters\"}],\"kind\":",
        1,
    );
    let change = with(post_binding(binding()), "/body", json!(twice));
    let there = json!(["eks", entry_of(DEV), 404]);
    let lab = planning(
        API,
        json!([{"when": there, "changes": [change, post_entry(entry())]}]),
    );
    // Refused or carried out as the host read it: both are right.
    let _ = lab.order(Direction::Grant, ROLE, ("role", DEV));
    for request in lab.sim.requests() {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        assert!(!body.contains("system:masters"), "{body}");
    }
    assert!(
        !lab.sim
            .snapshot(LAB)
            .unwrap()
            .0
            .values()
            .any(|v| v.to_string().contains("masters") && v.to_string().contains("baton-host:"))
    );
}

/// The binding is made, found, taken away, missed, made again: rounds end.
#[test]
fn a_plan_that_is_never_done_ends_and_leaves_nothing() {
    let there = json!(["eks", entry_of(DEV), 200]);
    let lab = planning(
        API,
        json!([
            {"when": there, "changes": [change("eks", "DELETE", &entry_of(DEV), Value::Null)]},
            {"changes": [post_entry(entry())]},
        ]),
    );
    let before = lab.sim.snapshot(LAB).unwrap();
    let error = lab
        .order(Direction::Grant, ROLE, ("role", DEV))
        .unwrap_err();
    println!("{error}");
    let left = before.difference(&lab.sim.snapshot(LAB).unwrap());
    assert!(
        left.is_empty() || error.to_string().contains("LEFT"),
        "{error}: {left:?}"
    );
    assert!(lab.changes().len() <= 12, "{:?}", lab.changes());
}

#[test]
fn the_host_is_never_granted_or_revoked_to_itself() {
    for direction in [Direction::Grant, Direction::Revoke] {
        let lab = planning(API, json!([{"changes": [post_binding(binding())]}]));
        let sentence = refused(&lab, direction, ROLE, ("role", HOST));
        assert!(sentence.contains("own"), "{sentence}");
        let lab = planning(API, json!([{"changes": [post_binding(binding())]}]));
        refused(&lab, direction, ROLE, ("role", NODE));
    }
}
