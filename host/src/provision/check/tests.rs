//! What passes, and every way of asking for more than the wish.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::facts::{Bound, Entry, Facts, Mapped, Mode};
use super::super::wish::{Access, Iam, Who, Wish};
use super::super::{Direction, ProvisionError};
use super::aws_auth::{Edit, edit};
use super::{Checked, Problem, people, plan};
use crate::upstream::operation::write::{Planned, Scope, Write, plan as parse};
use crate::upstream::rights::{CEILING, Granted, Kind};
use Direction::{Grant, Revoke};

const ALICE: &str = "arn:aws:iam::111122223333:user/alice";
const OPS: &str = "arn:aws:iam::111122223333:role/team/ops";
const BOB: &str = "arn:aws:iam::111122223333:user/bob";
const VIEW: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";
const ADMIN: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const GROUP: &str = "rbac.authorization.k8s.io";

// Wishes.

fn iam(arn: &str) -> Iam {
    Iam::parse(arn).unwrap()
}

fn wish(access: Access, who: Who) -> Wish {
    let principal = match &who {
        Who::Iam(iam) if iam.role => ("role".to_owned(), iam.arn.clone()),
        Who::Iam(iam) => ("iam_user".to_owned(), iam.arn.clone()),
        Who::Account { namespace, name } => {
            ("service_account".to_owned(), format!("{namespace}/{name}"))
        }
    };
    Wish {
        access,
        who,
        principal,
    }
}

fn role(namespace: Option<&str>, arn: &str) -> Wish {
    let access = Access::Role {
        kind: "ClusterRole",
        name: "view".to_owned(),
        namespace: namespace.map(str::to_owned),
    };
    wish(access, Who::Iam(iam(arn)))
}

fn policy(namespace: Option<&str>) -> Wish {
    let access = Access::Policy {
        arn: VIEW.to_owned(),
        namespace: namespace.map(str::to_owned),
    };
    wish(access, Who::Iam(iam(ALICE)))
}

fn account() -> Wish {
    let access = Access::Role {
        kind: "Role",
        name: "deployer".to_owned(),
        namespace: Some("dev".to_owned()),
    };
    let who = Who::Account {
        namespace: "ci".to_owned(),
        name: "runner".to_owned(),
    };
    wish(access, who)
}

// Facts.

fn facts(mode: Mode) -> Facts {
    Facts {
        mode,
        entry: None,
        associations: Vec::new(),
        aws_auth: None,
        bindings: BTreeMap::new(),
        others: Some(Vec::new()),
        bound: Some(Vec::new()),
    }
}

fn entry(arn: &str, groups: &[&str], ours: bool) -> Entry {
    let tags = match ours {
        true => json!({"managed-by": "baton-host"}),
        false => json!({"team": "x"}),
    };
    Entry {
        kind: "STANDARD".to_owned(),
        principal: arn.to_owned(),
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        username: Some(iam(arn).default_username()),
        tags: tags.as_object().unwrap().clone(),
    }
}

fn map(roles: &str, users: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "aws-auth", "namespace": "kube-system", "uid": "u", "resourceVersion": "7"},
        "data": {"mapRoles": roles, "mapUsers": users},
    })
}

fn binding(wish: &Wish, name: &str, ours: bool, subjects: Value) -> (super::Place, Value) {
    let (namespace, reference) = match &wish.access {
        Access::Role {
            kind,
            name,
            namespace,
        } => (
            namespace.clone(),
            json!({"apiGroup": GROUP, "kind": kind, "name": name}),
        ),
        Access::Policy { .. } => (None, Value::Null),
    };
    let mut metadata = json!({"name": name, "uid": "uid-1", "resourceVersion": "42"});
    if let Some(namespace) = &namespace {
        metadata["namespace"] = namespace.as_str().into();
    }
    if ours {
        metadata["labels"] = json!({"app.kubernetes.io/managed-by": "baton-host"});
    }
    let place = super::Place {
        namespace,
        name: name.to_owned(),
    };
    let object = json!({"metadata": metadata, "roleRef": reference, "subjects": subjects});
    (place, object)
}

fn user(name: &str) -> Value {
    json!({"apiGroup": GROUP, "kind": "User", "name": name})
}

fn group(name: &str) -> Value {
    json!({"apiGroup": GROUP, "kind": "Group", "name": name})
}

// Plans.

fn granted() -> Vec<Granted> {
    [
        ("eks", Kind::Eks),
        ("iam", Kind::Iam),
        ("kubernetes", Kind::Cluster),
    ]
    .map(|(name, kind)| Granted {
        name: name.to_owned(),
        kind,
        rights: CEILING.iter().filter(|right| right.kind == kind).collect(),
    })
    .to_vec()
}

type Change = (&'static str, &'static str, String, Option<Value>);

fn parsed(change: &Change) -> Result<Write, String> {
    let (upstream, method, path, body) = change;
    let body = body.as_ref().map(Value::to_string);
    let planned = Planned {
        upstream,
        method,
        path,
        body: body.as_deref(),
    };
    parse(&granted(), "prod", &planned).map_err(|denial| denial.sentence("the connector"))
}

fn checked(
    wish: &Wish,
    direction: Direction,
    facts: &Facts,
    changes: &[Change],
) -> Result<Vec<Checked>, Problem> {
    let writes = changes
        .iter()
        .map(parsed)
        .collect::<Result<Vec<_>, _>>()
        .map_err(Problem::Bad)?;
    plan(wish, direction, facts, writes)
}

fn passes(wish: &Wish, direction: Direction, facts: &Facts, changes: &[Change]) -> Vec<Checked> {
    match checked(wish, direction, facts, changes) {
        Ok(checked) => checked,
        Err(problem) => panic!("{problem:?}: {changes:?}"),
    }
}

/// Refused for good: no world makes this the wish.
fn bad(wish: &Wish, direction: Direction, facts: &Facts, change: Change) -> String {
    match checked(wish, direction, facts, std::slice::from_ref(&change)) {
        Err(Problem::Bad(why)) => why,
        other => panic!("{other:?}: {change:?}"),
    }
}

/// Refused because it does not fit what is there.
fn moved(wish: &Wish, direction: Direction, facts: &Facts, change: Change) -> String {
    match checked(wish, direction, facts, std::slice::from_ref(&change)) {
        Err(Problem::Moved(why)) => why,
        other => panic!("{other:?}: {change:?}"),
    }
}

fn encoded(text: &str) -> String {
    crate::upstream::operation::encode(text)
}

fn create_entry(body: Value) -> Change {
    (
        "eks",
        "POST",
        "/clusters/prod/access-entries".to_owned(),
        Some(body),
    )
}

fn entry_body(arn: &str) -> Value {
    json!({
        "principalArn": arn, "type": "STANDARD", "kubernetesGroups": [iam(arn).own_group()],
        "tags": {"managed-by": "baton-host"},
    })
}

fn of_entry(method: &'static str, arn: &str, body: Option<Value>) -> Change {
    let path = format!("/clusters/prod/access-entries/{}", encoded(arn));
    ("eks", method, path, body)
}

fn associate(arn: &str, policy: &str, scope: Value) -> Change {
    let path = format!(
        "/clusters/prod/access-entries/{}/access-policies",
        encoded(arn)
    );
    let body = json!({"policyArn": policy, "accessScope": scope});
    ("eks", "POST", path, Some(body))
}

fn namespaces(names: &[&str]) -> Value {
    json!({"type": "namespace", "namespaces": names})
}

fn disassociate(arn: &str, policy: &str) -> Change {
    let path = format!(
        "/clusters/prod/access-entries/{}/access-policies/{}",
        encoded(arn),
        encoded(policy)
    );
    ("eks", "DELETE", path, None)
}

fn binding_body(wish: &Wish, subject: Value) -> Value {
    let place = wish.place().unwrap();
    let Access::Role { kind, name, .. } = &wish.access else {
        panic!("a role")
    };
    let mut metadata = json!({
        "name": place.name,
        "labels": {"app.kubernetes.io/managed-by": "baton-host"},
        "annotations": {"baton-host/principal": wish.principal.1},
    });
    if let Some(namespace) = &place.namespace {
        metadata["namespace"] = namespace.as_str().into();
    }
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": place.kind(), "metadata": metadata,
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": name}, "subjects": [subject],
    })
}

fn create_binding(wish: &Wish, body: Value) -> Change {
    (
        "kubernetes",
        "POST",
        wish.place().unwrap().collection(),
        Some(body),
    )
}

fn delete_binding(place: &super::Place, uid: &str, version: &str) -> Change {
    let body = json!({
        "apiVersion": "v1", "kind": "DeleteOptions",
        "preconditions": {"uid": uid, "resourceVersion": version},
    });
    ("kubernetes", "DELETE", place.path(), Some(body))
}

fn patch_binding(place: &super::Place, patch: Value) -> Change {
    ("kubernetes", "PATCH", place.path(), Some(patch))
}

const MAP: &str = "/api/v1/namespaces/kube-system/configmaps/aws-auth";

fn put_map(object: &Value) -> Change {
    ("kubernetes", "PUT", MAP.to_owned(), Some(object.clone()))
}

fn with(object: &Value, pointer: &str, value: impl Into<Value>) -> Value {
    let mut object = object.clone();
    *object.pointer_mut(pointer).unwrap() = value.into();
    object
}

fn plus(object: &Value, pointer: &str, key: &str, value: impl Into<Value>) -> Value {
    let mut object = object.clone();
    let members = object
        .pointer_mut(pointer)
        .unwrap()
        .as_object_mut()
        .unwrap();
    members.insert(key.to_owned(), value.into());
    object
}

// Requests.

#[test]
fn a_change_is_parsed_to_the_last_member_or_not_at_all() {
    let body = entry_body(ALICE);
    let good = create_entry(body.clone());
    assert!(parsed(&good).is_ok());
    for (change, why) in [
        (create_entry(plus(&body, "", "extra", 1)), "member `extra`"),
        (
            create_entry(plus(&body, "", "clientRequestToken", "x")),
            "member `clientRequestToken`",
        ),
        (
            create_entry(with(&body, "/type", "EC2_LINUX")),
            "another type",
        ),
        (
            create_entry(with(&body, "/kubernetesGroups", "x")),
            "no list",
        ),
        (
            (
                "eks",
                "POST",
                "/clusters/other/access-entries".to_owned(),
                Some(body.clone()),
            ),
            "not for this session's cluster",
        ),
        (
            (
                "eks",
                "POST",
                "/clusters/prod/access-entries?x=1".to_owned(),
                Some(body.clone()),
            ),
            "query",
        ),
        (
            (
                "eks",
                "POST",
                "/clusters/prod/access-entries#x".to_owned(),
                Some(body.clone()),
            ),
            "query",
        ),
        (
            (
                "eks",
                "POST",
                "/clusters/prod/update-config".to_owned(),
                None,
            ),
            "not among the rights",
        ),
        (
            ("eks", "GET", "/clusters/prod".to_owned(), None),
            "changes nothing",
        ),
        (
            (
                "eks",
                "POST",
                format!("/tags/{}", encoded(ALICE)),
                Some(json!({"tags": {}})),
            ),
            "no part of any plan",
        ),
        (("iam", "POST", "/".to_owned(), None), "content type"),
        (("sts", "POST", "/".to_owned(), None), "no upstream"),
        (
            (
                "kubernetes",
                "POST",
                "/api/v1/namespaces/dev/secrets".to_owned(),
                Some(json!({})),
            ),
            "not among the rights",
        ),
        (
            (
                "kubernetes",
                "POST",
                "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases".to_owned(),
                Some(json!({})),
            ),
            "not among the rights",
        ),
        (
            (
                "kubernetes",
                "DELETE",
                format!("{RBAC}/clusterrolebindings"),
                None,
            ),
            "not among the rights",
        ),
        (
            (
                "kubernetes",
                "PUT",
                format!("{RBAC}/clusterrolebindings/x"),
                Some(json!({})),
            ),
            "not among the rights",
        ),
        (
            (
                "kubernetes",
                "DELETE",
                format!("{RBAC}/clusterrolebindings/x"),
                None,
            ),
            "no JSON object",
        ),
        (
            (
                "kubernetes",
                "PUT",
                "/api/v1/namespaces/dev/configmaps/aws-auth".to_owned(),
                Some(json!({})),
            ),
            "not among the rights",
        ),
        (
            (
                "kubernetes",
                "PATCH",
                format!("{RBAC}/clusterrolebindings/x"),
                Some(json!([{"op": "add", "path": "/subjects/-", "value": {}}])),
            ),
            "`add`",
        ),
        (
            (
                "kubernetes",
                "PATCH",
                format!("{RBAC}/clusterrolebindings/x"),
                Some(json!([{"op": "replace", "path": "/roleRef", "value": {}}])),
            ),
            "`replace`",
        ),
        (of_entry("DELETE", ALICE, Some(json!({}))), "has no body"),
        (
            associate(
                ALICE,
                VIEW,
                json!({"type": "cluster", "namespaces": ["dev"]}),
            ),
            "access scope",
        ),
        (
            associate(ALICE, VIEW, json!({"type": "namespace", "namespaces": []})),
            "access scope",
        ),
        (
            associate(ALICE, VIEW, json!({"type": "cluster", "x": 1})),
            "member `x`",
        ),
    ] {
        let Err(error) = parsed(&change) else {
            panic!("{change:?}")
        };
        assert!(
            error.contains(why),
            "{error}\n  wanted: {why}\n  {change:?}"
        );
    }
    let huge = create_entry(plus(&body, "", "x", "y".repeat(2 << 20)));
    assert!(parsed(&huge).unwrap_err().contains("larger than"));
    let odd = (
        "eks",
        "POST",
        "/clusters/prod/access-entries".to_owned(),
        Some(Value::Null),
    );
    assert!(parsed(&odd).is_err());
}

#[test]
fn rights_that_are_not_approved_are_not_planned_with() {
    let mut reads = granted();
    for upstream in &mut reads {
        upstream.rights.retain(|right| !right.writes());
    }
    let body = entry_body(ALICE).to_string();
    let planned = Planned {
        upstream: "eks",
        method: "POST",
        path: "/clusters/prod/access-entries",
        body: Some(&body),
    };
    let denial = parse(&reads, "prod", &planned).unwrap_err();
    assert!(
        denial
            .sentence("x")
            .contains("`eks:CreateAccessEntry` is not among the rights")
    );
}

#[test]
fn no_more_than_so_many_changes() {
    let wish = role(None, ALICE);
    let many: Vec<Change> = (0..1000).map(|_| create_entry(entry_body(ALICE))).collect();
    let problem = checked(&wish, Grant, &facts(Mode::Api), &many).unwrap_err();
    assert!(matches!(problem, Problem::Bad(why) if why.contains("more than 32")));
}

// Access entries.

#[test]
fn an_entry_is_made_for_the_principal_alone() {
    let (wish, facts) = (role(None, ALICE), facts(Mode::Api));
    let body = entry_body(ALICE);
    let made = passes(&wish, Grant, &facts, &[create_entry(body.clone())]);
    let sent = made[0].write.body("token").unwrap();
    assert_eq!(sent, plus(&body, "", "clientRequestToken", "token"));
    for other in [
        entry_body(BOB),
        with(&body, "/principalArn", BOB),
        with(
            &body,
            "/principalArn",
            "arn:aws:iam::999999999999:user/alice",
        ),
        with(&body, "/kubernetesGroups", json!([])),
        with(&body, "/kubernetesGroups", json!([iam(BOB).own_group()])),
        with(
            &body,
            "/kubernetesGroups",
            json!([iam(ALICE).own_group(), "admins"]),
        ),
        with(&body, "/kubernetesGroups", json!(["system:masters"])),
        with(&body, "/tags", json!({})),
        with(
            &body,
            "/tags",
            json!({"managed-by": "baton-host", "x": "y"}),
        ),
        plus(&body, "", "username", "bob"),
    ] {
        bad(&wish, Grant, &facts, create_entry(other));
    }
    bad(&wish, Revoke, &facts, create_entry(body.clone()));
    bad(&account(), Grant, &facts, create_entry(body.clone()));
    let mut there = facts.clone();
    there.entry = Some(entry(ALICE, &[], false));
    moved(&wish, Grant, &there, create_entry(body.clone()));
    // Twice in one plan.
    let twice = [create_entry(body.clone()), create_entry(body)];
    assert!(matches!(
        checked(&wish, Grant, &facts, &twice),
        Err(Problem::Moved(_))
    ));
}

#[test]
fn a_new_entry_takes_nothing_away_that_aws_auth_gave() {
    let line = |username: &str, groups: &str| {
        format!("- userarn: {ALICE}\n  username: {username}\n  groups: {groups}\n")
    };
    let own = iam(ALICE).own_group();
    let mut both = facts(Mode::Both);
    both.aws_auth = Some(map("", &line("alice", "[devs, ops]")));
    let body = plus(
        &with(
            &entry_body(ALICE),
            "/kubernetesGroups",
            json!([own, "devs", "ops"]),
        ),
        "",
        "username",
        "alice",
    );
    passes(
        &policy(None),
        Grant,
        &both,
        &[
            create_entry(body.clone()),
            associate(ALICE, VIEW, json!({"type": "cluster", "namespaces": []})),
        ],
    );
    moved(&policy(None), Grant, &both, create_entry(entry_body(ALICE)));
    moved(
        &policy(None),
        Grant,
        &both,
        create_entry(with(&body, "/username", "bob")),
    );
    moved(
        &policy(None),
        Grant,
        &both,
        create_entry(with(
            &body,
            "/kubernetesGroups",
            json!([own, "devs", "ops", "more"]),
        )),
    );
    // For a role there is no need to take the line's place.
    moved(&role(None, ALICE), Grant, &both, create_entry(body.clone()));
    both.aws_auth = Some(map("", &line("alice", "[\"system:masters\"]")));
    let masters = with(&body, "/kubernetesGroups", json!([own, "system:masters"]));
    moved(&policy(None), Grant, &both, create_entry(masters));
    both.aws_auth = Some(map("", &line("system:admin", "[devs]")));
    let system = with(
        &with(&body, "/username", "system:admin"),
        "/kubernetesGroups",
        json!([own, "devs"]),
    );
    moved(&policy(None), Grant, &both, create_entry(system));
    // Where aws-auth does not count, it is not copied.
    bad(&policy(None), Grant, &facts(Mode::Api), create_entry(body));
}

#[test]
fn of_a_foreign_entry_only_the_own_group_is_added() {
    let wish = role(None, ALICE);
    let own = iam(ALICE).own_group();
    let mut facts = facts(Mode::Api);
    facts.entry = Some(entry(ALICE, &["devs"], false));
    let groups = |groups: Value| of_entry("POST", ALICE, Some(json!({"kubernetesGroups": groups})));
    passes(&wish, Grant, &facts, &[groups(json!(["devs", own]))]);
    bad(&wish, Grant, &facts, groups(json!(["devs", own, "admins"])));
    bad(&wish, Grant, &facts, groups(json!(["devs"])));
    bad(&wish, Grant, &facts, groups(json!([])));
    bad(&wish, Grant, &facts, groups(json!([own, "devs"])));
    moved(&wish, Grant, &facts, groups(json!([own])));
    moved(&wish, Grant, &facts, groups(json!(["admins", "devs", own])));
    bad(&wish, Revoke, &facts, groups(json!(["devs", own])));
    bad(&policy(None), Grant, &facts, groups(json!(["devs", own])));
    bad(
        &wish,
        Grant,
        &facts,
        of_entry(
            "POST",
            BOB,
            Some(json!({"kubernetesGroups": ["devs", own]})),
        ),
    );
    let more = json!({"kubernetesGroups": ["devs", own], "username": "root"});
    bad(&wish, Grant, &facts, of_entry("POST", ALICE, Some(more)));
    facts.entry = Some(entry(ALICE, &["devs", &own], false));
    moved(&wish, Grant, &facts, groups(json!(["devs", own, own])));
}

#[test]
fn only_an_entry_of_ours_that_nothing_uses_is_deleted() {
    let wish = role(None, ALICE);
    let own = iam(ALICE).own_group();
    let delete = of_entry("DELETE", ALICE, None);
    let mut good = facts(Mode::Both);
    good.entry = Some(entry(ALICE, &[&own], true));
    passes(&wish, Revoke, &good, std::slice::from_ref(&delete));
    bad(&wish, Grant, &good, delete.clone());
    bad(&wish, Revoke, &good, of_entry("DELETE", BOB, None));
    let with = |change: &dyn Fn(&mut Facts)| {
        let mut facts = good.clone();
        change(&mut facts);
        facts
    };
    let foreign = with(&|f| f.entry = Some(entry(ALICE, &[&own], false)));
    moved(&wish, Revoke, &foreign, delete.clone());
    let wide = with(&|f| f.entry = Some(entry(ALICE, &[&own, "devs"], true)));
    moved(&wish, Revoke, &wide, delete.clone());
    let line =
        with(&|f| f.aws_auth = Some(map("", &format!("- userarn: {ALICE}\n  username: a\n"))));
    moved(&wish, Revoke, &line, delete.clone());
    let policies = with(&|f| f.associations = vec![(VIEW.to_owned(), Scope::Cluster)]);
    moved(&wish, Revoke, &policies, delete.clone());
    let none = with(&|f| f.entry = None);
    moved(&wish, Revoke, &none, delete.clone());
    let unread = with(&|f| f.bound = None);
    moved(&wish, Revoke, &unread, delete.clone());
    for subject in [group(&own), user(ALICE)] {
        let place = super::Place {
            namespace: None,
            name: "x".to_owned(),
        };
        let used = with(&|f| {
            f.bound = Some(vec![Bound {
                place: place.clone(),
                role: Value::Null,
                subjects: vec![subject.clone()],
            }]);
        });
        moved(&wish, Revoke, &used, delete.clone());
    }
}

// Access policies.

#[test]
fn scopes_change_by_the_one_namespace_and_keep_their_order() {
    let mut facts = facts(Mode::Api);
    facts.entry = Some(entry(ALICE, &[], false));
    let cluster = json!({"type": "cluster", "namespaces": []});
    let dev = policy(Some("dev"));
    passes(
        &policy(None),
        Grant,
        &facts,
        &[associate(ALICE, VIEW, cluster.clone())],
    );
    passes(
        &dev,
        Grant,
        &facts,
        &[associate(ALICE, VIEW, namespaces(&["dev"]))],
    );
    bad(&dev, Grant, &facts, associate(ALICE, VIEW, cluster.clone()));
    bad(
        &dev,
        Grant,
        &facts,
        associate(ALICE, VIEW, namespaces(&["prod"])),
    );
    moved(
        &dev,
        Grant,
        &facts,
        associate(ALICE, VIEW, namespaces(&["dev", "prod"])),
    );
    bad(
        &policy(None),
        Grant,
        &facts,
        associate(ALICE, VIEW, namespaces(&["dev"])),
    );
    bad(
        &dev,
        Grant,
        &facts,
        associate(ALICE, ADMIN, namespaces(&["dev"])),
    );
    bad(
        &dev,
        Grant,
        &facts,
        associate(BOB, VIEW, namespaces(&["dev"])),
    );
    bad(&dev, Grant, &facts, disassociate(ALICE, VIEW));
    bad(
        &role(None, ALICE),
        Grant,
        &facts,
        associate(ALICE, VIEW, cluster.clone()),
    );
    facts.associations = vec![
        (ADMIN.to_owned(), Scope::Cluster),
        (
            VIEW.to_owned(),
            Scope::Namespaces(vec!["b-*".to_owned(), "a".to_owned()]),
        ),
    ];
    passes(
        &dev,
        Grant,
        &facts,
        &[associate(ALICE, VIEW, namespaces(&["b-*", "a", "dev"]))],
    );
    moved(
        &dev,
        Grant,
        &facts,
        associate(ALICE, VIEW, namespaces(&["dev"])),
    );
    moved(
        &dev,
        Grant,
        &facts,
        associate(ALICE, VIEW, namespaces(&["a", "b-*", "dev"])),
    );
    moved(
        &dev,
        Grant,
        &facts,
        associate(ALICE, VIEW, namespaces(&["a", "dev"])),
    );
    moved(
        &policy(None),
        Grant,
        &facts,
        associate(ALICE, VIEW, cluster.clone()),
    );
    let a = policy(Some("a"));
    passes(
        &a,
        Revoke,
        &facts,
        &[associate(ALICE, VIEW, namespaces(&["b-*"]))],
    );
    moved(&a, Revoke, &facts, disassociate(ALICE, VIEW));
    bad(
        &a,
        Revoke,
        &facts,
        associate(ALICE, VIEW, namespaces(&["b-*", "a"])),
    );
    moved(
        &a,
        Revoke,
        &facts,
        associate(ALICE, VIEW, namespaces(&["b-1"])),
    );
    bad(&a, Revoke, &facts, associate(ALICE, VIEW, cluster.clone()));
    bad(&a, Revoke, &facts, disassociate(ALICE, ADMIN));
    moved(&policy(None), Revoke, &facts, disassociate(ALICE, VIEW));
    facts.associations = vec![(VIEW.to_owned(), Scope::Cluster)];
    passes(&policy(None), Revoke, &facts, &[disassociate(ALICE, VIEW)]);
    moved(
        &dev,
        Grant,
        &facts,
        associate(ALICE, VIEW, namespaces(&["dev"])),
    );
    moved(&dev, Revoke, &facts, disassociate(ALICE, VIEW));
    // Without an entry, and with one of the same plan.
    facts.associations.clear();
    facts.entry = None;
    moved(
        &dev,
        Grant,
        &facts,
        associate(ALICE, VIEW, namespaces(&["dev"])),
    );
    passes(
        &dev,
        Grant,
        &facts,
        &[
            create_entry(entry_body(ALICE)),
            associate(ALICE, VIEW, namespaces(&["dev"])),
        ],
    );
    // The entry that carries nothing any more goes with the last.
    let own = iam(ALICE).own_group();
    facts.entry = Some(entry(ALICE, &[&own], true));
    facts.associations = vec![(VIEW.to_owned(), Scope::Namespaces(vec!["dev".to_owned()]))];
    let done = passes(
        &dev,
        Revoke,
        &facts,
        &[disassociate(ALICE, VIEW), of_entry("DELETE", ALICE, None)],
    );
    assert_eq!(done[1].step.name(), "cleanup");
}

// Bindings.

#[test]
fn a_binding_of_ours_is_exactly_one_object() {
    for (wish, subject) in [
        (role(None, ALICE), group(&iam(ALICE).own_group())),
        (role(Some("dev"), OPS), group(&iam(OPS).own_group())),
        (
            account(),
            json!({"kind": "ServiceAccount", "namespace": "ci", "name": "runner"}),
        ),
    ] {
        let facts = facts(Mode::Api);
        let body = binding_body(&wish, subject.clone());
        let made = passes(&wish, Grant, &facts, &[create_binding(&wish, body.clone())]);
        assert_eq!(made[0].write.body(""), Some(body.clone()));
        bad(&wish, Revoke, &facts, create_binding(&wish, body.clone()));
        bad(
            &policy(None),
            Grant,
            &facts,
            create_binding(&wish, body.clone()),
        );
        let mut others = vec![
            plus(&body, "", "extra", 1),
            plus(&body, "/metadata", "finalizers", json!(["x"])),
            plus(&body, "/metadata", "ownerReferences", json!([])),
            plus(&body, "/metadata/labels", "x", "y"),
            plus(&body, "/metadata/annotations", "x", "y"),
            plus(&body, "/roleRef", "x", "y"),
            with(&body, "/metadata/annotations/baton-host~1principal", BOB),
            with(
                &body,
                "/metadata/labels/app.kubernetes.io~1managed-by",
                "helm",
            ),
            with(&body, "/metadata/name", "x"),
            with(&body, "/roleRef/name", "cluster-admin"),
            with(&body, "/roleRef/apiGroup", "x"),
            with(&body, "/kind", "RoleBindingList"),
            with(&body, "/apiVersion", "v1"),
            with(&body, "/subjects", json!([])),
            with(&body, "/subjects", json!([subject, user("bob")])),
            with(&body, "/subjects", json!([subject, subject])),
            with(&body, "/subjects/0", group("system:masters")),
            with(&body, "/subjects/0", group("system:authenticated")),
            with(&body, "/subjects/0", group("devs")),
            with(&body, "/subjects/0", group(&iam(BOB).own_group())),
            with(
                &body,
                "/subjects/0",
                json!({"kind": "ServiceAccount", "namespace": "ci", "name": "other"}),
            ),
            with(
                &body,
                "/subjects/0",
                json!({"kind": "ServiceAccount", "namespace": "dev", "name": "runner"}),
            ),
            with(&body, "/subjects/0", plus(&subject, "", "x", 1)),
        ];
        let kind = body["roleRef"]["kind"].as_str().unwrap();
        let other = if kind == "Role" {
            "ClusterRole"
        } else {
            "Role"
        };
        others.push(with(&body, "/roleRef/kind", other));
        for other in others {
            bad(&wish, Grant, &facts, create_binding(&wish, other));
        }
        for name in ["bob", "system:admin"] {
            let named = create_binding(&wish, with(&body, "/subjects/0", user(name)));
            match wish.iam() {
                Some(_) => drop(moved(&wish, Grant, &facts, named)),
                None => drop(bad(&wish, Grant, &facts, named)),
            }
        }
        for path in [
            format!("{RBAC}/namespaces/kube-system/rolebindings"),
            format!("{RBAC}/clusterrolebindings"),
        ] {
            if path != wish.place().unwrap().collection() {
                bad(
                    &wish,
                    Grant,
                    &facts,
                    ("kubernetes", "POST", path, Some(body.clone())),
                );
            }
        }
    }
    // A namespace in a body that is not the path's.
    let wish = role(Some("dev"), ALICE);
    let body = with(
        &binding_body(&wish, group(&iam(ALICE).own_group())),
        "/metadata/namespace",
        "kube-system",
    );
    bad(&wish, Grant, &facts(Mode::Api), create_binding(&wish, body));
}

#[test]
fn a_user_name_is_bound_only_where_it_is_the_principals_alone() {
    let wish = role(None, ALICE);
    let bind = |name: &str| create_binding(&wish, binding_body(&wish, user(name)));
    let mut both = facts(Mode::Both);
    both.aws_auth = Some(map("", &format!("- userarn: {ALICE}\n  username: alice\n")));
    passes(&wish, Grant, &both, &[bind("alice")]);
    moved(&wish, Grant, &both, bind("bob"));
    let mapped = |username: &str| Mapped {
        principal: BOB.to_owned(),
        username: username.to_owned(),
        groups: Vec::new(),
    };
    for shared in ["alice", "{{SessionName}}", "al{{SessionName}}"] {
        both.others = Some(vec![mapped(shared)]);
        moved(&wish, Grant, &both, bind("alice"));
    }
    // Without having looked at the others.
    both.others = None;
    moved(&wish, Grant, &both, bind("alice"));
    both.others = Some(vec![mapped("bob")]);
    passes(&wish, Grant, &both, &[bind("alice")]);
    for name in ["system:admin", "a-{{SessionName}}"] {
        both.aws_auth = Some(map(
            "",
            &format!("- userarn: {ALICE}\n  username: \"{name}\"\n"),
        ));
        moved(&wish, Grant, &both, bind(name));
    }
    // A line that does not count in this mode.
    let mut api = facts(Mode::Api);
    api.aws_auth = both.aws_auth.clone();
    moved(&wish, Grant, &api, bind("alice"));
    api.entry = Some(entry(ALICE, &[], false));
    passes(&wish, Grant, &api, &[bind(ALICE)]);
}

#[test]
fn a_binding_is_deleted_where_it_binds_nobody_else() {
    let wish = role(Some("dev"), ALICE);
    let own = group(&iam(ALICE).own_group());
    let with_binding = |name: &str, ours: bool, subjects: Value| {
        let (place, object) = binding(&wish, name, ours, subjects);
        let mut facts = facts(Mode::Api);
        facts.entry = Some(entry(ALICE, &["solo"], false));
        facts.bindings.insert(place.clone(), Some(object));
        (facts, delete_binding(&place, "uid-1", "42"), place)
    };
    let ours = wish.place().unwrap().name;
    let (facts, delete, _) = with_binding(&ours, true, json!([own]));
    passes(&wish, Revoke, &facts, std::slice::from_ref(&delete));
    // Ours for a name that the principal no longer has: drift, also on grant.
    let (facts, delete, _) = with_binding(&ours, true, json!([user("old-name")]));
    passes(&wish, Revoke, &facts, std::slice::from_ref(&delete));
    // But never without making it anew, and never of another role.
    let create = create_binding(&wish, binding_body(&wish, own.clone()));
    passes(&wish, Grant, &facts, &[delete.clone(), create.clone()]);
    bad(&wish, Grant, &facts, delete.clone());
    let twice = checked(&wish, Grant, &facts, &[create.clone(), delete.clone()]);
    assert!(twice.is_err());
    let (mut facts, delete, place) = with_binding(&ours, true, json!([own]));
    let other = with(
        facts.bindings[&place].as_ref().unwrap(),
        "/roleRef/name",
        "edit",
    );
    facts.bindings.insert(place, Some(other));
    bad(&wish, Grant, &facts, delete.clone());
    bad(&wish, Revoke, &facts, delete);
    // To which somebody added somebody.
    let (facts, delete, _) = with_binding(&ours, true, json!([own, user("bob")]));
    bad(&wish, Revoke, &facts, delete);
    // Foreign ones.
    for (subjects, fits) in [
        (json!([own]), true),
        (json!([user(ALICE)]), true),
        (json!([user(ALICE), group("solo"), own]), true),
        (json!([user("bob")]), false),
        (json!([user(ALICE), user("bob")]), false),
        (json!([group("system:authenticated")]), false),
        (json!([]), false),
        (json!([{"kind": "ServiceAccount", "name": "alice"}]), false),
    ] {
        let (facts, delete, place) = with_binding("theirs", false, subjects.clone());
        match fits {
            true => drop(passes(&wish, Revoke, &facts, std::slice::from_ref(&delete))),
            false => drop(bad(&wish, Revoke, &facts, delete.clone())),
        }
        bad(&wish, Grant, &facts, delete);
        if fits {
            moved(&wish, Revoke, &facts, delete_binding(&place, "uid-2", "42"));
            moved(&wish, Revoke, &facts, delete_binding(&place, "uid-1", "41"));
        }
    }
    // A group that others are in, too.
    let (mut facts, delete, place) = with_binding("theirs", false, json!([group("solo")]));
    facts.others = Some(vec![Mapped {
        principal: BOB.to_owned(),
        username: "bob".to_owned(),
        groups: vec!["solo".to_owned()],
    }]);
    bad(&wish, Revoke, &facts, delete.clone());
    // Of another role, another kind of role, or elsewhere.
    for (pointer, value) in [("/roleRef/name", "edit"), ("/roleRef/kind", "Role")] {
        let (mut facts, delete, place) = with_binding("theirs", false, json!([own]));
        let other = with(facts.bindings[&place].as_ref().unwrap(), pointer, value);
        facts.bindings.insert(place, Some(other));
        bad(&wish, Revoke, &facts, delete);
    }
    let (facts, delete, _) = with_binding("theirs", false, json!([own]));
    bad(&role(None, ALICE), Revoke, &facts, delete.clone());
    bad(&role(Some("prod"), ALICE), Revoke, &facts, delete.clone());
    bad(&policy(None), Revoke, &facts, delete.clone());
    bad(&role(Some("dev"), BOB), Revoke, &facts, delete);
    facts_without(&wish, place);
}

fn facts_without(wish: &Wish, place: super::Place) {
    let mut none = facts(Mode::Api);
    none.bindings.insert(place.clone(), None);
    moved(wish, Revoke, &none, delete_binding(&place, "uid-1", "42"));
}

#[test]
fn of_a_shared_binding_only_own_subjects_go() {
    let wish = account();
    let mine = json!({"kind": "ServiceAccount", "namespace": "ci", "name": "runner"});
    let alias = user("system:serviceaccount:ci:runner");
    let theirs = json!({"kind": "ServiceAccount", "namespace": "ci", "name": "other"});
    let (place, object) = binding(&wish, "shared", false, json!([theirs, mine, alias]));
    let mut facts = facts(Mode::Api);
    facts.bindings.insert(place.clone(), Some(object));
    let version = |version: &str| json!({"op": "test", "path": "/metadata/resourceVersion", "value": version});
    let test = |at: usize, value: &Value| json!({"op": "test", "path": format!("/subjects/{at}"), "value": value});
    let remove = |at: usize| json!({"op": "remove", "path": format!("/subjects/{at}")});
    let good = json!([
        version("42"),
        test(2, &alias),
        remove(2),
        test(1, &mine),
        remove(1)
    ]);
    let made = passes(
        &wish,
        Revoke,
        &facts,
        &[patch_binding(&place, good.clone())],
    );
    assert_eq!(made[0].write.body(""), Some(good.clone()));
    bad(&wish, Grant, &facts, patch_binding(&place, good));
    for patch in [
        json!([]),
        json!([version("42")]),
        json!([test(1, &mine), remove(1)]),
        json!([version("42"), test(0, &theirs), remove(0)]),
        json!([version("42"), test(1, &mine), remove(0)]),
        json!([
            version("42"),
            test(1, &mine),
            remove(1),
            test(2, &alias),
            remove(2)
        ]),
        json!([version("42"), remove(1)]),
        json!([version("42"), test(1, &mine), test(1, &mine)]),
        json!([
            version("42"),
            test(1, &mine),
            remove(1),
            test(1, &mine),
            remove(1)
        ]),
        json!([version("42"), {"op": "test", "path": "/subjects/01", "value": mine}, {"op": "remove", "path": "/subjects/01"}]),
        json!([version("42"), {"op": "test", "path": "/subjects/1", "value": mine}, {"op": "remove", "path": "/roleRef"}]),
        json!([version("42"), test(1, &mine), remove(1), {"op": "remove", "path": "/metadata/labels"}]),
    ] {
        bad(&wish, Revoke, &facts, patch_binding(&place, patch));
    }
    moved(
        &wish,
        Revoke,
        &facts,
        patch_binding(&place, json!([version("41"), test(1, &mine), remove(1)])),
    );
    moved(
        &wish,
        Revoke,
        &facts,
        patch_binding(&place, json!([version("42"), test(0, &mine), remove(0)])),
    );
    let (_, lonely) = binding(&wish, "shared", false, json!([mine]));
    facts.bindings.insert(place.clone(), Some(lonely));
    bad(
        &wish,
        Revoke,
        &facts,
        patch_binding(&place, json!([version("42"), test(0, &mine), remove(0)])),
    );
}

// aws-auth.

fn item(arn: &str) -> String {
    let iam = iam(arn);
    let field = if iam.role { "rolearn" } else { "userarn" };
    format!(
        "- {field}: {}\n  username: {}\n  groups:\n  - {}\n",
        iam.canonical(),
        iam.own_username(),
        iam.own_group()
    )
}

const THEIRS: &str = "# nodes\n- rolearn: arn:aws:iam::111122223333:role/nodes\r\n  username: system:node:{{EC2PrivateDNSName}}\n  groups: [system:bootstrappers, system:nodes]\n";

#[test]
fn one_item_of_ours_goes_in_and_every_byte_stays() {
    let wish = role(None, OPS);
    let mut facts = facts(Mode::ConfigMap);
    let before = map(THEIRS, "[]");
    facts.aws_auth = Some(before.clone());
    let new = format!("{THEIRS}{}", item(OPS));
    let good = with(&before, "/data/mapRoles", new.clone());
    let made = passes(&wish, Grant, &facts, &[put_map(&good)]);
    assert_eq!(made[0].write.body(""), Some(good.clone()));
    assert_eq!(made[0].after, item(OPS));
    bad(&wish, Revoke, &facts, put_map(&good));
    bad(&policy(None), Grant, &facts, put_map(&good));
    bad(&account(), Grant, &facts, put_map(&good));
    bad(&role(None, ALICE), Grant, &facts, put_map(&good));
    for mode in [Mode::Api, Mode::Both] {
        let mut other = facts.clone();
        other.mode = mode;
        bad(&wish, Grant, &other, put_map(&good));
    }
    let masters = item(OPS).replace(&iam(OPS).own_group(), "system:masters");
    let touched = THEIRS.replace("system:nodes", "system:masters");
    for bytes in [
        format!("{THEIRS}{}", item(ALICE)),
        format!("{THEIRS}{masters}"),
        format!("{THEIRS}{}{}", item(OPS), item(OPS)),
        format!("{THEIRS}{}  - system:masters\n", item(OPS)),
        format!("{touched}{}", item(OPS)),
        format!("{THEIRS}# a note\n{}", item(OPS)),
        format!("{}{}", THEIRS.replace("# nodes\n", ""), item(OPS)),
        format!("{}{}", THEIRS.replace("\r\n", "\n"), item(OPS)),
        format!(
            "{THEIRS}{}",
            item(OPS).replace("username: ", "username: &x ")
        ),
        format!("{THEIRS}{}", item(OPS).replace("role/ops", "role/team/ops")),
        item(OPS),
        String::new(),
        format!("{THEIRS}- }}{{"),
    ] {
        bad(
            &wish,
            Grant,
            &facts,
            put_map(&with(&before, "/data/mapRoles", bytes)),
        );
    }
    for other in [
        with(&good, "/data/mapUsers", item(ALICE)),
        plus(&good, "/data", "mapAccounts", "[\"999999999999\"]"),
        plus(&good, "", "binaryData", json!({"x": "eA=="})),
        plus(&good, "", "immutable", true),
        plus(&good, "/metadata", "labels", json!({"x": "y"})),
        plus(&good, "/metadata", "annotations", json!({"x": "y"})),
        plus(&good, "/metadata", "finalizers", json!(["x"])),
        with(&good, "/metadata/name", "other"),
        with(&good, "/metadata/namespace", "default"),
        with(&good, "/metadata/uid", "v"),
        with(&good, "/kind", "Secret"),
        before.clone(),
    ] {
        bad(&wish, Grant, &facts, put_map(&other));
    }
    moved(
        &wish,
        Grant,
        &facts,
        put_map(&with(&good, "/metadata/resourceVersion", "6")),
    );
    let mut mapped = facts.clone();
    let line = format!(
        "{THEIRS}- rolearn: {}\n  username: x\n",
        iam(OPS).canonical()
    );
    mapped.aws_auth = Some(map(&line, ""));
    let second = with(
        &map(&line, ""),
        "/data/mapRoles",
        format!("{line}{}", item(OPS)),
    );
    moved(&wish, Grant, &mapped, put_map(&second));
    // And out again.
    let mut there = facts.clone();
    there.aws_auth = Some(good.clone());
    let out = passes(&wish, Revoke, &there, &[put_map(&before)]);
    assert_eq!(
        (out[0].step.name(), out[0].before.as_str()),
        ("cleanup", item(OPS).as_str())
    );
    bad(
        &wish,
        Revoke,
        &there,
        put_map(&with(&good, "/data/mapRoles", item(OPS))),
    );
    bad(&role(None, ALICE), Revoke, &there, put_map(&before));
    there.bound = Some(vec![Bound {
        place: super::Place {
            namespace: None,
            name: "x".to_owned(),
        },
        role: Value::Null,
        subjects: vec![group(&iam(OPS).own_group())],
    }]);
    moved(&wish, Revoke, &there, put_map(&before));
}

#[test]
fn a_plugin_does_not_see_what_kubectl_keeps_and_it_stays() {
    let wish = role(None, OPS);
    let mut facts = facts(Mode::ConfigMap);
    let kept = plus(
        &map(THEIRS, ""),
        "/metadata",
        "annotations",
        json!({"kubectl.kubernetes.io/last-applied-configuration": "{}"}),
    );
    facts.aws_auth = Some(plus(&kept, "/metadata", "managedFields", json!([{}])));
    let seen = plus(&map(THEIRS, ""), "/metadata", "annotations", json!({}));
    let new = format!("{THEIRS}{}", item(OPS));
    let made = passes(
        &wish,
        Grant,
        &facts,
        &[put_map(&with(&seen, "/data/mapRoles", new.clone()))],
    );
    assert_eq!(
        made[0].write.body(""),
        Some(with(&kept, "/data/mapRoles", new))
    );
}

#[test]
fn the_first_item_of_an_empty_or_absent_map() {
    let wish = role(None, ALICE);
    let mut facts = facts(Mode::ConfigMap);
    for empty in ["", "\n", "[]", "[]\n", "``", "\"\"", "null"] {
        let before = map(THEIRS, empty);
        facts.aws_auth = Some(before.clone());
        passes(
            &wish,
            Grant,
            &facts,
            &[put_map(&with(&before, "/data/mapUsers", item(ALICE)))],
        );
    }
    facts.aws_auth = None;
    let path = "/api/v1/namespaces/kube-system/configmaps".to_owned();
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "aws-auth", "namespace": "kube-system"},
        "data": {"mapUsers": item(ALICE)},
    });
    let create = |object: &Value| ("kubernetes", "POST", path.clone(), Some(object.clone()));
    passes(&wish, Grant, &facts, &[create(&object)]);
    for other in [
        with(&object, "/metadata/name", "other"),
        plus(&object, "/data", "mapRoles", item(OPS)),
        with(&object, "/data/mapUsers", item(BOB)),
        with(
            &object,
            "/data/mapUsers",
            format!("{}{}", item(ALICE), item(BOB)),
        ),
        plus(&object, "/metadata", "labels", json!({})),
    ] {
        bad(&wish, Grant, &facts, create(&other));
    }
    facts.aws_auth = Some(map("", ""));
    moved(&wish, Grant, &facts, create(&object));
    facts.mode = Mode::Api;
    bad(&wish, Grant, &facts, create(&object));
}

#[test]
fn the_own_group_goes_into_the_own_item_only() {
    let own = iam(ALICE).own_group();
    let principal = iam(ALICE);
    let item = |groups: &str| {
        format!(
            "- userarn: {ALICE}\n  username: team\n  groups:{groups}\n- userarn: {BOB}\n  groups: [devs]\n"
        )
    };
    let grouped =
        |old: &str, new: &str| edit(&principal, "mapUsers", old, new).map(|(edit, _)| edit);
    for (old, new) in [
        ("\n  - devs", format!("\n  - devs\n  - {own}")),
        (" [devs]", format!(" [devs, {own}]")),
        (" []", format!(" [{own}]")),
        (" null", format!("\n  - {own}")),
        (" null", format!(" [{own}]")),
    ] {
        assert_eq!(
            grouped(&item(old), &item(&new)),
            Ok(Edit::Grouped),
            "{old} {new}"
        );
    }
    let json = format!("[{{\"userarn\":\"{ALICE}\",\"username\":\"t\",\"groups\":[\"a\"]}}]");
    assert_eq!(
        grouped(&json, &json.replace("\"a\"", &format!("\"a\",\"{own}\""))),
        Ok(Edit::Grouped)
    );
    let bare = format!("- userarn: {ALICE}\n  username: team\n");
    assert_eq!(
        grouped(&bare, &format!("{bare}  groups:\n  - {own}\n")),
        Ok(Edit::Grouped)
    );
    let old = item(" [devs]");
    for new in [
        item(" [devs, system:masters]"),
        item(&format!(" [devs, {own}, system:masters]")),
        item(&format!(" [{own}]")),
        item(" [devs]").replace(
            &format!("{BOB}\n  groups: [devs]"),
            &format!("{BOB}\n  groups: [devs, {own}]"),
        ),
        item(&format!(" [devs, {own}]")).replace("team", "root"),
        item(&format!(" [devs, {own}] # note")),
        item(&format!(" [devs, {own}]")).replace(BOB, OPS),
    ] {
        assert!(grouped(&old, &new).is_err(), "{new}");
    }
    // An entry overrides the line.
    let wish = role(None, ALICE);
    let before = map("", &old);
    let change = put_map(&with(
        &before,
        "/data/mapUsers",
        item(&format!(" [devs, {own}]")),
    ));
    let mut facts = facts(Mode::Both);
    facts.aws_auth = Some(before);
    passes(&wish, Grant, &facts, std::slice::from_ref(&change));
    facts.entry = Some(entry(ALICE, &[], false));
    moved(&wish, Grant, &facts, change);
}

// Bindings that a mapping would bring to life.

fn bound(name: &str, namespace: Option<&str>, role: &str, subject: Value) -> Bound {
    Bound {
        place: super::Place {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        },
        role: json!({"apiGroup": GROUP, "kind": "ClusterRole", "name": role}),
        subjects: vec![subject],
    }
}

#[test]
fn a_grant_brings_no_old_binding_to_life() {
    let wish = role(Some("dev"), ALICE);
    let own = iam(ALICE).own_group();
    let plan = [
        create_binding(&wish, binding_body(&wish, group(&own))),
        create_entry(entry_body(ALICE)),
    ];
    let mut world = facts(Mode::Api);
    let admin = |subject: Value| bound("old", None, "cluster-admin", subject);
    for (there, fits) in [
        (admin(user(ALICE)), false),
        (admin(group(&own)), false),
        (admin(user("alice")), true),
        (admin(group("devs")), true),
        // Nor the role of the wish elsewhere, nor under the name of ours.
        (bound("old", Some("prod"), "view", user(ALICE)), false),
        (bound("old", None, "view", user(ALICE)), false),
        (bound("old", Some("dev"), "edit", user(ALICE)), false),
        // What the wish gives anyway.
        (bound("old", Some("dev"), "view", user(ALICE)), true),
    ] {
        world.bound = Some(vec![there.clone()]);
        let found = checked(&wish, Grant, &world, &plan);
        match fits {
            true => assert!(found.is_ok(), "{there:?} {found:?}"),
            false => assert!(
                matches!(&found, Err(Problem::Moved(why)) if why.contains(" old") || why.contains("/old")),
                "{there:?} {found:?}"
            ),
        }
    }
    world.bound = None;
    moved(&wish, Grant, &world, create_entry(entry_body(ALICE)));
    // A session's name.
    let ops = role(Some("dev"), OPS);
    let session = "arn:aws:sts::111122223333:assumed-role/ops/carol";
    world.bound = Some(vec![admin(user(session))]);
    moved(&ops, Grant, &world, create_entry(entry_body(OPS)));
    // The own group in an entry, or in a line.
    world.bound = Some(vec![admin(user(ALICE))]);
    world.entry = Some(entry(ALICE, &["devs"], false));
    let groups = of_entry(
        "POST",
        ALICE,
        Some(json!({"kubernetesGroups": ["devs", own]})),
    );
    passes(&wish, Grant, &world, std::slice::from_ref(&groups));
    world.bound = Some(vec![admin(group(&own))]);
    moved(&wish, Grant, &world, groups);
    let line = format!("- userarn: {ALICE}\n  username: team\n  groups: [devs]\n");
    let before = map("", &line);
    let grouped = line.replace("[devs]", &format!("[devs, {own}]"));
    let grouped = put_map(&with(&before, "/data/mapUsers", grouped));
    world.entry = None;
    world.mode = Mode::ConfigMap;
    world.aws_auth = Some(before);
    moved(&wish, Grant, &world, grouped.clone());
    world.bound = Some(vec![admin(group("devs"))]);
    passes(&wish, Grant, &world, &[grouped]);
    // A line of ours.
    let before = map("", "");
    let added = put_map(&with(&before, "/data/mapUsers", item(ALICE)));
    world.aws_auth = Some(before);
    passes(&wish, Grant, &world, std::slice::from_ref(&added));
    for subject in [group(&own), user(&iam(ALICE).own_username())] {
        world.bound = Some(vec![admin(subject)]);
        moved(&wish, Grant, &world, added.clone());
    }
}

#[test]
fn names_that_a_line_gave_are_nothing_new_in_an_entry() {
    let own = iam(ALICE).own_group();
    let mut both = facts(Mode::Both);
    let line = format!("- userarn: {ALICE}\n  username: alice\n  groups: [devs]\n");
    both.aws_auth = Some(map("", &line));
    both.bound = Some(vec![
        bound("one", None, "edit", user("alice")),
        bound("two", None, "edit", group("devs")),
        bound("three", None, "edit", user(ALICE)),
    ]);
    let body = plus(
        &with(
            &entry_body(ALICE),
            "/kubernetesGroups",
            json!([own, "devs"]),
        ),
        "",
        "username",
        "alice",
    );
    passes(&policy(None), Grant, &both, &[create_entry(body)]);
}

#[test]
fn no_entry_is_made_where_none_counts() {
    let wish = role(None, ALICE);
    bad(
        &wish,
        Grant,
        &facts(Mode::ConfigMap),
        create_entry(entry_body(ALICE)),
    );
}

#[test]
fn names_of_mappings_that_do_not_count_are_not_bound() {
    let wish = role(None, ALICE);
    let bind = |name: &str| create_binding(&wish, binding_body(&wish, user(name)));
    let mut both = facts(Mode::Both);
    let line = |name: &str| format!("- userarn: {ALICE}\n  username: {name}\n");
    both.aws_auth = Some(map("", &format!("{}{}", line("bob"), line("alice"))));
    passes(&wish, Grant, &both, &[bind("alice")]);
    // Overridden by the last.
    moved(&wish, Grant, &both, bind("bob"));
    // Overridden by an entry.
    both.entry = Some(entry(ALICE, &[], false));
    moved(&wish, Grant, &both, bind("alice"));
    passes(&wish, Grant, &both, &[bind(ALICE)]);
    // Everybody of a mapped account has their ARN.
    let mapped = |line: &str| {
        plus(
            &map("", line),
            "/data",
            "mapAccounts",
            "- \"111122223333\"\n",
        )
    };
    both.entry = None;
    both.aws_auth = Some(mapped(""));
    passes(&wish, Grant, &both, &[bind(ALICE)]);
    moved(&wish, Grant, &both, bind(BOB));
    both.aws_auth = Some(mapped(&line(BOB)));
    moved(&wish, Grant, &both, bind(BOB));
    both.aws_auth = Some(map("", &line(BOB)));
    passes(&wish, Grant, &both, &[bind(BOB)]);
    both.aws_auth = Some(mapped(&line("alice")));
    moved(&wish, Grant, &both, bind(ALICE));
}

// Nodes.

#[test]
fn nodes_are_nobody_to_be_granted_anything() {
    let wish = role(None, OPS);
    let mut node = facts(Mode::Both);
    assert!(people(&wish, &node).is_ok());
    node.entry = Some(Entry {
        kind: "EC2_LINUX".to_owned(),
        ..entry(OPS, &[], false)
    });
    assert!(matches!(
        people(&wish, &node),
        Err(ProvisionError::Refused { .. })
    ));
    node.entry = None;
    let line = format!(
        "- rolearn: {}\n  groups: [system:nodes]\n",
        iam(OPS).canonical()
    );
    node.aws_auth = Some(map(&line, ""));
    assert!(matches!(
        people(&wish, &node),
        Err(ProvisionError::Refused { .. })
    ));
    node.mode = Mode::Api;
    assert!(people(&wish, &node).is_ok());
}
