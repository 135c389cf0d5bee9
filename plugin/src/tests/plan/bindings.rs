//! Which bindings a grant makes and a revoke ends, rule by rule.

use serde_json::json;

use super::apply::{carry_out, plan};
use super::asked::{VIEW, accounts, api, asked, body, config_map, refused, steps, told};
use crate::plan::Direction::{Grant as Give, Revoke as Take};
use crate::tests::cloud::*;

#[test]
fn rule_01_a_scope_is_what_the_slug_says_and_nothing_wider() {
    let mut cloud = api();
    cloud
        .namespaces
        .extend(["all", "cluster", "small", "firewall"].map(String::from));
    accounts(&mut cloud);
    for (slug, namespace) in [
        ("all", ""),
        ("namespace/all", "all"),
        ("cluster", "cluster"),
        ("small", "small"),
        ("firewall", "firewall"),
    ] {
        let wish = asked(&format!("cluster_role:view:{slug}:member"), "dev/ci");
        let plan = plan(&cloud, Give, &wish).unwrap();
        let path = &plan.changes[0].path;
        if namespace.is_empty() {
            assert!(path.ends_with("/v1/clusterrolebindings"), "{path}");
        } else {
            assert!(
                path.ends_with(&format!("/namespaces/{namespace}/rolebindings")),
                "{path}"
            );
        }
        assert_eq!(plan.changes.len(), 1);
    }
    for (slug, scope) in [
        ("cluster", json!({"type": "cluster", "namespaces": []})),
        (
            "namespace/cluster",
            json!({"type": "namespace", "namespaces": ["cluster"]}),
        ),
        ("all", json!({"type": "namespace", "namespaces": ["all"]})),
    ] {
        let wish = asked(
            &format!("access_policy:{VIEW}:assigned:{slug}"),
            &role("dev"),
        );
        let plan = plan(&cloud, Give, &wish).unwrap();
        assert_eq!(body(plan.changes.last().unwrap())["accessScope"], scope);
    }
    let odd = asked("cluster_role:view:ALL:member", "dev/ci");
    assert_eq!(refused(&cloud, Give, &odd).0, "invalid-request");
    assert_eq!(refused(&cloud, Take, &odd).0, "invalid-request");
}

#[test]
fn rule_06_every_way_is_removed_or_none() {
    let ways = |cloud: Cloud| {
        let mut cloud = cloud
            .bound_in("dev", "a", "view", &["User:bob", "User:jane"])
            .bound_in("dev", "b", "view", &["User:bob", "Group:bobs", "User:bob"])
            .bound_in("dev", "c", "view", &["Group:bobs"])
            .bound_in("dev", "other", "cluster-admin", &["User:bob"])
            .bound("wide", "view", &["Group:bobs"]);
        cloud.entries.push(entry(&user("bob"), "bob", &["bobs"]));
        cloud
    };
    let wish = asked("cluster_role:view:dev:member", &user("bob"));
    let mut cloud = ways(api());
    let taken = carry_out(&mut cloud, Take, &wish).unwrap();
    assert_eq!(
        steps(&taken),
        [
            "PATCH rolebindings/a",
            "DELETE rolebindings/b",
            "DELETE rolebindings/c"
        ]
    );
    let patch = body(&taken.changes[0]);
    assert_eq!(patch[0]["path"], "/metadata/resourceVersion");
    assert_eq!(
        (patch[1]["op"].as_str(), patch[2]["path"].as_str()),
        (Some("test"), Some("/subjects/0"))
    );
    let left = told(&taken, "remaining");
    assert!(
        left.len() == 2
            && left[0].contains("cluster-admin in namespace dev")
            && left[1].contains("binding wide"),
        "{left:?}"
    );
    assert_eq!(cloud.entries.len(), 1);
    // One more member of the group, and nothing is touched.
    let mut cloud = ways(api());
    cloud.entries.push(entry(&user("eve"), "eve", &["bobs"]));
    let (kind, why) = refused(&cloud, Take, &wish);
    assert!(
        kind == "conflict"
            && why.contains("RoleBinding dev/b")
            && why.contains("RoleBinding dev/c")
            && why.contains("user/eve"),
        "{why}"
    );
    // A way that only one session has is told as that.
    let alice = format!("User:arn:aws:sts::{ACCOUNT}:assumed-role/dev/alice");
    let mut cloud = api().bound("some", "view", &[&alice]);
    cloud.entries.push(entry(&role("dev"), "", &[]));
    let narrow = asked("cluster_role:view:dev:member", &role("dev"));
    let none = plan(&cloud, Take, &narrow).unwrap();
    assert!(told(&none, "remaining")[0].ends_with("binding some, in sessions of one name"));
    // And asked again when nothing is held: nothing, but what remains.
    let mut cloud = ways(api());
    carry_out(&mut cloud, Take, &wish).unwrap();
    let again = plan(&cloud, Take, &wish).unwrap();
    assert!(again.changes.is_empty() && told(&again, "remaining").len() == 2);
}

#[test]
fn rule_06_many_ways_take_more_than_one_plan() {
    let mut cloud = api();
    cloud.entries.push(entry(&user("bob"), "bob", &[]));
    for at in 0..70 {
        cloud = cloud.bound(&format!("b{at}"), "view", &["User:bob", "User:jane"]);
    }
    let wish = asked("cluster_role:view:all:member", &user("bob"));
    let first = carry_out(&mut cloud, Take, &wish).unwrap();
    assert_eq!(first.changes.len(), 30);
    let left = cloud.cluster_role_bindings.iter();
    assert!(
        left.map(|b| &b["subjects"])
            .all(|s| s.as_array().unwrap().len() == 1)
    );
}

#[test]
fn rule_06_bindings_that_others_write_are_named() {
    let mut cloud = api().bound("eks:odd", "view", &["User:bob"]);
    cloud.entries.push(entry(&user("bob"), "bob", &[]));
    let wish = asked("cluster_role:view:all:member", &user("bob"));
    assert!(refused(&cloud, Take, &wish).1.contains("EKS keeps"));
    cloud.cluster_role_bindings[0]["metadata"]["name"] = "mine".into();
    cloud.cluster_role_bindings[0]["metadata"]["labels"] =
        json!({"app.kubernetes.io/managed-by": "Helm"});
    assert!(told(&plan(&cloud, Take, &wish).unwrap(), "warning")[0].contains("Helm"));
}

#[test]
fn rule_07_a_name_that_others_can_have_is_not_bound() {
    let wish = asked("cluster_role:view:dev:member", &user("bob"));
    let subject = |cloud: &Cloud| {
        let plan = plan(cloud, Give, &wish).unwrap();
        body(&plan.changes[0])["subjects"][0].clone()
    };
    let mut cloud = api();
    cloud.entries.push(entry(&user("bob"), "bob", &[]));
    assert_eq!(
        subject(&cloud),
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"})
    );
    for username in ["bob", "{{SessionName}}", "b{{SessionName}}"] {
        let mut cloud = cloud.clone();
        cloud.entries.push(entry(&role("dev"), username, &[]));
        assert_eq!(subject(&cloud)["kind"], "Group", "{username}");
    }
    // Not even one that an entry only hides.
    let mut hidden = cloud.clone().aws_auth(
        "mapRoles",
        &format!("- {{rolearn: '{}', username: bob}}", role("dev")),
    );
    hidden.mode = json!("API_AND_CONFIG_MAP");
    hidden.entries.push(entry(&role("dev"), "dev", &[]));
    assert_eq!(subject(&hidden)["kind"], "Group");
    // A placeholder can be any session, but no session is an ARN.
    let mut cloud = Cloud::default().with_role("dev", &no_trust());
    cloud.entries.push(entry(&user("bob"), &user("bob"), &[]));
    cloud = cloud.aws_auth(
        "mapRoles",
        &format!(
            "- {{rolearn: '{}', username: '{{{{SessionName}}}}'}}",
            role("dev")
        ),
    );
    assert_eq!(subject(&cloud)["name"], user("bob"));
    cloud.entries[0]["username"] = "bob".into();
    assert_eq!(subject(&cloud)["kind"], "Group");
    // And one that aws-auth gives to a role is not bound to the service account either.
    let mut cloud = config_map().aws_auth(
        "mapRoles",
        &format!(
            "- {{rolearn: '{}', username: 'system:serviceaccount:dev:ci'}}",
            role("dev")
        ),
    );
    accounts(&mut cloud);
    let wish = asked("cluster_role:view:dev:member", "dev/ci");
    let (kind, why) = refused(&cloud, Give, &wish);
    assert!(kind == "conflict" && why.contains("role/dev"), "{why}");
    cloud = cloud.bound_in("dev", "b", "view", &["ServiceAccount:dev/ci"]);
    assert_eq!(refused(&cloud, Take, &wish).0, "conflict");
}

#[test]
fn rule_24_a_name_that_is_taken_and_a_subject_that_drifted() {
    let mut cloud = api();
    accounts(&mut cloud);
    let wish = asked("cluster_role:view:dev:member", "dev/ci");
    carry_out(&mut cloud, Give, &wish).unwrap();
    let ours = cloud.role_bindings[0].clone();
    assert_eq!(
        ours["metadata"]["labels"],
        json!({"app.kubernetes.io/managed-by": "baton-host"})
    );
    assert_eq!(
        ours["metadata"]["annotations"],
        json!({"baton-host/principal": "dev/ci"})
    );
    cloud.role_bindings[0]["subjects"][0]["name"] = "web".into();
    let mut drifted = cloud.clone();
    let again = carry_out(&mut drifted, Give, &wish).unwrap();
    assert_eq!(
        again
            .changes
            .iter()
            .map(|c| c.method.as_str())
            .collect::<Vec<_>>(),
        ["DELETE", "POST"]
    );
    assert_eq!(drifted.role_bindings[0]["subjects"], ours["subjects"]);
    let taken = carry_out(&mut cloud.clone(), Take, &wish).unwrap();
    assert_eq!(taken.changes.len(), 1);
    for (path, value) in [
        ("/metadata/labels", json!({})),
        ("/roleRef/name", json!("cluster-admin")),
        (
            "/subjects",
            json!([{"kind": "User", "name": "a"}, {"kind": "User", "name": "b"}]),
        ),
    ] {
        let mut cloud = cloud.clone();
        *cloud.role_bindings[0].pointer_mut(path).unwrap() = value;
        let (kind, why) = refused(&cloud, Give, &wish);
        assert!(kind == "conflict" && why.contains("has the name"), "{why}");
    }
}

#[test]
fn rule_08_service_accounts_are_reached_by_three_names() {
    let mut cloud = api()
        .bound_in("dev", "a", "view", &["User:system:serviceaccount:dev:ci"])
        .bound_in(
            "dev",
            "b",
            "view",
            &["ServiceAccount:/ci", "ServiceAccount:dev/web"],
        );
    accounts(&mut cloud);
    let wish = asked("cluster_role:view:dev:member", "dev/ci");
    assert!(plan(&cloud, Give, &wish).unwrap().changes.is_empty());
    let taken = carry_out(&mut cloud, Take, &wish).unwrap();
    assert_eq!(
        steps(&taken),
        ["DELETE rolebindings/a", "PATCH rolebindings/b"]
    );
    let cloud = cloud.bound_in("dev", "c", "view", &["Group:system:serviceaccounts:dev"]);
    let (kind, why) = refused(&cloud, Take, &wish);
    assert!(
        kind == "conflict" && why.contains("every service account"),
        "{why}"
    );
    let everybody = api().bound(
        "d",
        "view",
        &["Group:system:serviceaccounts", "Group:system:authenticated"],
    );
    let none = plan(&everybody, Take, &wish).unwrap();
    assert!(none.changes.is_empty() && !told(&none, "remaining").is_empty());
}
