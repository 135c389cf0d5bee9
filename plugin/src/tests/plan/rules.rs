//! One test per rule of what a grant and a revoke mean.

use serde_json::{Value, json};

use super::apply::{carry_out, plan, wish};
use crate::bindings::{Change, Grant, Plan};
use crate::plan::Direction::{Grant as Give, Revoke as Take};
use crate::tests::cloud::*;

const VIEW: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";
const ADMIN: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy";

/// `cluster_role:view:dev:member` and `role:ARN` or `dev/ci`.
fn asked(entitlement: &str, principal: &str) -> Grant {
    let (kind, rest) = entitlement.split_once(':').unwrap();
    let at = match kind {
        "access_policy" => rest.find(":assigned:").unwrap(),
        _ => rest.find(':').unwrap(),
    };
    let principal = match principal {
        arn if arn.contains(":role/") => ("role", arn),
        arn if arn.starts_with("arn:") => ("iam_user", arn),
        path => ("service_account", path),
    };
    wish((kind, &rest[..at], &rest[at + 1..]), principal)
}

fn body(change: &Change) -> Value {
    serde_json::from_str(change.body.as_deref().unwrap()).unwrap()
}

/// `POST rolebindings`, `DELETE access-entries/ARN`.
fn steps(plan: &Plan) -> Vec<String> {
    let tail = |path: &str| {
        let from = [
            "rolebindings",
            "clusterrolebindings",
            "access-entries",
            "configmaps",
        ]
        .iter()
        .filter_map(|p| path.rfind(&format!("/{p}")))
        .max()
        .unwrap();
        crate::text::decode(&path[from + 1..])
    };
    let changes = plan.changes.iter();
    changes
        .map(|c| format!("{} {}", c.method, tail(&c.path)))
        .collect()
}

fn refused(cloud: &Cloud, direction: crate::plan::Direction, wish: &Grant) -> (String, String) {
    let error = plan(cloud, direction, wish).unwrap_err();
    (error.kind, error.message)
}

fn told<'a>(plan: &'a Plan, key: &str) -> Vec<&'a str> {
    let all = plan.attributes.iter().filter(|(k, _)| k == key);
    all.map(|(_, v)| v.as_str()).collect()
}

fn api() -> Cloud {
    Cloud {
        mode: json!("API"),
        ..Cloud::default()
    }
    .with_role("dev", &no_trust())
}

fn config_map() -> Cloud {
    Cloud {
        mode: json!("CONFIG_MAP"),
        ..Cloud::default()
    }
    .with_role("dev", &no_trust())
}

fn accounts(cloud: &mut Cloud) {
    cloud.service_accounts = vec![account("dev", "ci"), account("dev", "web")];
}

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
fn rule_02_an_entry_never_takes_what_a_line_gave() {
    let line = |groups: &str, username: &str| {
        let lines = format!(
            "- rolearn: {}\n  username: {username}\n  groups: [{groups}]\n",
            role("dev")
        );
        Cloud::default()
            .with_role("dev", &no_trust())
            .aws_auth("mapRoles", &lines)
    };
    let member = asked("cluster_role:view:dev:member", &role("dev"));
    let policy = asked(&format!("access_policy:{VIEW}:assigned:dev"), &role("dev"));
    // A role is granted through the line that counts, and no entry is made.
    let mut cloud = line("'system:masters'", "boss");
    let made = carry_out(&mut cloud, Give, &member).unwrap();
    assert_eq!(steps(&made), ["POST rolebindings"]);
    assert_eq!(body(&made.changes[0])["subjects"][0]["name"], "boss");
    let (kind, why) = refused(&cloud, Give, &policy);
    assert!(
        kind == "conflict" && why.contains("mapRoles line 1") && why.contains("system:masters"),
        "{why}"
    );
    for (groups, username) in [
        ("devs", "'system:x'"),
        ("devs", "'{{AccountID}}'"),
        ("'g:{{SessionName}}'", "a"),
        ("devs", "'{{SessionName}}'"),
    ] {
        assert_eq!(
            refused(&line(groups, username), Give, &policy).0,
            "conflict",
            "{username}"
        );
    }
    // What EKS takes is copied.
    let mut cloud = line("devs", "'dev:{{SessionName}}'");
    let before = cloud.clone();
    let made = carry_out(&mut cloud, Give, &policy).unwrap();
    let entry = body(&made.changes[0]);
    assert_eq!(
        (
            entry["username"].as_str(),
            entry["kubernetesGroups"][1].as_str()
        ),
        (Some("dev:{{SessionName}}"), Some("devs"))
    );
    assert_eq!(entry["tags"], json!({"managed-by": "baton-host"}));
    // And the entry stays, emptied, because without it the line would count again.
    let taken = carry_out(&mut cloud, Take, &policy).unwrap();
    assert_eq!(taken.changes.len(), 1);
    assert_eq!((cloud.entries.len(), cloud.aws_auth), (1, before.aws_auth));
}

#[test]
fn rule_02_a_mapped_account_keeps_its_user_names() {
    let mapped = |cloud: Cloud| cloud.aws_auth("mapAccounts", &format!("- \"{ACCOUNT}\"\n"));
    let member = asked("cluster_role:view:dev:member", &role("dev"));
    let mut plain = mapped(config_map());
    assert_eq!(
        steps(&carry_out(&mut plain, Give, &member).unwrap()),
        ["POST rolebindings", "PUT configmaps/aws-auth"]
    );
    let mut used =
        mapped(config_map()).bound("b", "cluster-admin", &[&format!("User:{}", role("dev"))]);
    let made = carry_out(&mut used, Give, &member).unwrap();
    assert_eq!(steps(&made), ["POST rolebindings"]);
    assert_eq!(body(&made.changes[0])["subjects"][0]["name"], role("dev"));
    let used = mapped(Cloud::default().with_role("dev", &no_trust())).bound(
        "b",
        "view",
        &[&format!("User:{}", role("dev"))],
    );
    let policy = asked(&format!("access_policy:{VIEW}:assigned:dev"), &role("dev"));
    assert_eq!(refused(&used, Give, &policy).0, "conflict");
}

#[test]
fn rule_05_the_own_group_is_set_once_and_left() {
    let mut cloud = api();
    cloud
        .entries
        .push(entry(&role("dev"), "dev:{{SessionName}}", &["devs"]));
    let first = asked("cluster_role:view:dev:member", &role("dev"));
    let second = asked("cluster_role:view:default:member", &role("dev"));
    let made = carry_out(&mut cloud, Give, &first).unwrap();
    assert_eq!(
        steps(&made),
        [
            "POST rolebindings".into(),
            format!("POST access-entries/{}", role("dev"))
        ]
    );
    let groups = body(&made.changes[1])["kubernetesGroups"].clone();
    assert_eq!(groups[0], "devs");
    assert_eq!(
        steps(&carry_out(&mut cloud, Give, &second).unwrap()),
        ["POST rolebindings"]
    );
    for wish in [&first, &second] {
        assert_eq!(carry_out(&mut cloud, Take, wish).unwrap().changes.len(), 1);
    }
    assert_eq!(cloud.entries[0]["kubernetesGroups"], groups);
}

#[test]
fn rule_05_what_we_made_goes_with_the_last_that_uses_it() {
    for mut cloud in [api(), config_map()] {
        let before = cloud.clone();
        let wishes = ["dev", "default", "all"]
            .map(|s| asked(&format!("cluster_role:view:{s}:member"), &role("dev")));
        for (at, wish) in wishes.iter().enumerate() {
            let made = carry_out(&mut cloud, Give, wish).unwrap();
            assert_eq!(made.changes.len(), if at == 0 { 2 } else { 1 }, "{made:?}");
            assert!(plan(&cloud, Give, wish).unwrap().changes.is_empty());
        }
        for (at, wish) in wishes.iter().enumerate() {
            let taken = carry_out(&mut cloud, Take, wish).unwrap();
            assert_eq!(
                taken.changes.len(),
                if at == 2 { 2 } else { 1 },
                "{taken:?}"
            );
        }
        assert!(cloud.entries.is_empty() && cloud.role_bindings == before.role_bindings);
        let text = cloud.aws_auth.unwrap();
        assert!(text.values().all(String::is_empty));
    }
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
fn rule_07_a_mapping_gives_the_wish_and_nothing_else() {
    let mut cloud = api().bound("old", "cluster-admin", &[&format!("User:{}", user("bob"))]);
    let wish = asked("cluster_role:view:dev:member", &user("bob"));
    let (kind, why) = refused(&cloud, Give, &wish);
    assert!(
        kind == "conflict" && why.contains("ClusterRoleBinding old"),
        "{why}"
    );
    // A grant whose mapping somebody took away is not given back along with another.
    cloud.cluster_role_bindings.clear();
    carry_out(&mut cloud, Give, &wish).unwrap();
    cloud.entries.clear();
    let other = asked("cluster_role:view:default:member", &user("bob"));
    assert_eq!(refused(&cloud, Give, &other).0, "conflict");
    assert_eq!(carry_out(&mut cloud, Take, &wish).unwrap().changes.len(), 1);
    assert_eq!(
        carry_out(&mut cloud, Give, &other).unwrap().changes.len(),
        2
    );
}

#[test]
fn rule_11_masters_are_neither_made_nor_ended_here() {
    let cloud = config_map().aws_auth(
        "mapRoles",
        &format!(
            "- {{rolearn: '{}', username: x, groups: ['system:masters']}}",
            role("dev")
        ),
    );
    let wish = asked("cluster_role:cluster-admin:all:member", &role("dev"));
    assert!(plan(&cloud, Give, &wish).unwrap().changes.is_empty());
    let (kind, why) = refused(&cloud, Take, &wish);
    assert!(
        kind == "conflict" && why.contains("system:masters in mapRoles line 1"),
        "{why}"
    );
    let narrow = plan(
        &cloud,
        Take,
        &asked("cluster_role:view:dev:member", &role("dev")),
    )
    .unwrap();
    assert!(told(&narrow, "remaining")[0].contains("system:masters"));
}

#[test]
fn rule_17_dead_entries_and_service_linked_roles() {
    let wish = asked("cluster_role:view:dev:member", &role("dev"));
    let mut cloud = api();
    cloud.iam[0].1 = "2025-01-01T00:00:00Z".into();
    cloud.entries.push(entry(&role("dev"), "", &[]));
    let (kind, why) = refused(&cloud, Give, &wish);
    assert!(kind == "conflict" && why.contains("made again"), "{why}");
    // A line is live again behind a dead entry, and is used.
    cloud.mode = json!("API_AND_CONFIG_MAP");
    let cloud = cloud.aws_auth(
        "mapRoles",
        &format!("- {{rolearn: '{}', username: dev}}", role("dev")),
    );
    let made = plan(&cloud, Give, &wish).unwrap();
    assert_eq!(steps(&made), ["POST rolebindings"]);
    let linked = role("aws-service-role/x.amazonaws.com/AWSServiceRoleForX");
    let mut cloud = api();
    cloud
        .iam
        .push((linked.clone(), "2023-01-01T00:00:00Z".into(), no_trust()));
    let wish = asked("cluster_role:view:dev:member", &linked);
    let (kind, why) = refused(&cloud, Give, &wish);
    assert!(
        kind == "unsupported" && why.contains("service-linked"),
        "{why}"
    );
    cloud.mode = json!("CONFIG_MAP");
    assert_eq!(carry_out(&mut cloud, Give, &wish).unwrap().changes.len(), 2);
}

#[test]
fn rule_21_namespaces_are_added_and_taken_one_by_one() {
    let policy = |scope: &str| {
        asked(
            &format!("access_policy:{VIEW}:assigned:{scope}"),
            &role("dev"),
        )
    };
    let with = |scope: Value| {
        let mut cloud = api();
        cloud.entries.push(entry(&role("dev"), "", &[]));
        cloud
            .associations
            .push((role("dev"), "AmazonEKSViewPolicy".into(), scope));
        cloud
    };
    let of = |list: &[&str]| json!({"type": "namespace", "namespaces": list});
    let scope = |plan: &Plan| body(&plan.changes[0])["accessScope"]["namespaces"].clone();
    let whole = with(json!({"type": "cluster"}));
    assert!(
        plan(&whole, Give, &policy("cluster"))
            .unwrap()
            .changes
            .is_empty()
    );
    assert_eq!(refused(&whole, Give, &policy("dev")).0, "conflict");
    let narrow = plan(&whole, Take, &policy("dev")).unwrap();
    assert!(narrow.changes.is_empty() && told(&narrow, "remaining")[0].contains("whole cluster"));
    let taken = plan(&whole, Take, &policy("cluster")).unwrap();
    assert_eq!(
        steps(&taken),
        [format!(
            "DELETE access-entries/{}/access-policies/{VIEW}",
            role("dev")
        )]
    );

    let some = with(of(&["z", "dev", "odd"]));
    assert_eq!(
        scope(&plan(&some, Give, &policy("default")).unwrap()),
        json!(["z", "dev", "odd", "default"])
    );
    assert!(
        plan(&some, Give, &policy("dev"))
            .unwrap()
            .changes
            .is_empty()
    );
    assert_eq!(refused(&some, Give, &policy("cluster")).0, "conflict");
    assert_eq!(
        scope(&plan(&some, Take, &policy("dev")).unwrap()),
        json!(["z", "odd"])
    );
    assert!(
        plan(&some, Take, &policy("cluster"))
            .unwrap()
            .changes
            .is_empty()
    );
    assert_eq!(
        scope(&plan(&some, Take, &policy("z")).unwrap()),
        json!(["dev", "odd"])
    );
    assert_eq!(
        steps(&plan(&with(of(&["dev"])), Take, &policy("dev")).unwrap()),
        steps(&taken)
    );

    // A pattern covers what exists, is never rewritten, and is an entitlement itself.
    let pattern = with(of(&["d*", "dev"]));
    assert!(
        plan(&pattern, Give, &policy("default"))
            .unwrap()
            .changes
            .is_empty()
    );
    let (kind, why) = refused(&pattern, Take, &policy("dev"));
    assert!(kind == "conflict" && why.contains("d*"), "{why}");
    assert_eq!(
        refused(&with(of(&["d*"])), Take, &policy("dev")).0,
        "conflict"
    );
    assert_eq!(
        scope(&plan(&pattern, Take, &policy("d*")).unwrap()),
        json!(["dev"])
    );
    assert_eq!(
        scope(&plan(&some, Give, &policy("d*")).unwrap()),
        json!(["z", "dev", "odd", "d*"])
    );

    // The entry that was made for it goes with the last of it.
    let mut cloud = api();
    let made = carry_out(&mut cloud, Give, &policy("dev")).unwrap();
    assert_eq!(made.changes.len(), 2);
    carry_out(&mut cloud, Give, &policy("default")).unwrap();
    assert_eq!(
        carry_out(&mut cloud, Take, &policy("dev"))
            .unwrap()
            .changes
            .len(),
        1
    );
    assert_eq!(
        carry_out(&mut cloud, Take, &policy("default"))
            .unwrap()
            .changes
            .len(),
        2
    );
    assert!(cloud.entries.is_empty());
}

#[test]
fn rule_23_aws_auth_changes_by_one_item() {
    let wish = asked("cluster_role:view:dev:member", &role("dev"));
    let person = asked("cluster_role:view:dev:member", &user("team/eve"));
    for (cloud, key) in [
        (
            Cloud {
                aws_auth: None,
                ..config_map()
            },
            "POST configmaps",
        ),
        (config_map(), "PUT configmaps/aws-auth"),
        (
            config_map().aws_auth("mapUsers", "[]"),
            "PUT configmaps/aws-auth",
        ),
    ] {
        for wish in [&wish, &person] {
            let mut cloud = cloud.clone();
            let made = carry_out(&mut cloud, Give, wish).unwrap();
            assert_eq!(steps(&made), ["POST rolebindings", key]);
            let taken = carry_out(&mut cloud, Take, wish).unwrap();
            assert_eq!(taken.changes.len(), 2);
            assert!(
                taken.changes[1]
                    .attributes
                    .contains(&("step".into(), "cleanup".into()))
            );
        }
    }
    // Users with their path, roles without.
    let mut cloud = config_map();
    cloud
        .iam
        .push((role("team/Ops"), "2023-01-01T00:00:00Z".into(), no_trust()));
    carry_out(&mut cloud, Give, &person).unwrap();
    carry_out(
        &mut cloud,
        Give,
        &asked("cluster_role:view:dev:member", &role("team/Ops")),
    )
    .unwrap();
    let data = cloud.aws_auth.clone().unwrap();
    assert!(data["mapUsers"].contains("user/team/eve") && data["mapRoles"].contains("role/Ops\n"));
    // A second item would replace a templated one: the group goes into that.
    let json = format!(
        "[{{\"rolearn\":\"{}\",\"username\":\"dev:{{{{SessionName}}}}\",\"groups\":[\"devs\"]}},{{\"rolearn\":\"x\"}}]",
        role("DEV")
    );
    let mut cloud = config_map().aws_auth("mapRoles", &json);
    let made = carry_out(&mut cloud, Give, &wish).unwrap();
    assert_eq!(
        steps(&made),
        ["POST rolebindings", "PUT configmaps/aws-auth"]
    );
    let now = &cloud.aws_auth.as_ref().unwrap()["mapRoles"];
    assert!(
        now.contains("[\"devs\",\"baton-host:") && now.ends_with(",{\"rolearn\":\"x\"}]"),
        "{now}"
    );
    let left = cloud.aws_auth.clone();
    assert_eq!(carry_out(&mut cloud, Take, &wish).unwrap().changes.len(), 1);
    assert_eq!(cloud.aws_auth, left);
    // What does not parse is not edited, and neither is what chance decides.
    let broken = config_map().aws_auth("mapRoles", "- {oops");
    assert!(refused(&broken, Give, &wish).1.contains("YAML"));
    let twice = format!(
        "- {{userarn: '{}', username: a}}\n- {{userarn: '{}', username: b}}\n",
        user("bob"),
        user("BOB")
    );
    let rivals = config_map().aws_auth("mapUsers", &twice);
    assert_eq!(
        refused(
            &rivals,
            Give,
            &asked("cluster_role:view:dev:member", &user("bob"))
        )
        .0,
        "conflict"
    );
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

#[test]
fn a_plan_reads_what_concerns_its_principal() {
    let mut cloud = api();
    for at in 0..400 {
        let arn = user(&format!("u{at}"));
        cloud.entries.push(entry(&arn, &arn, &[]));
    }
    cloud.entries.push(entry(&user("bob"), &user("bob"), &[]));
    let calls = |cloud: &Cloud, direction, wish: &Grant| {
        let (mut session, seen) = open(cloud.clone(), &[]);
        let mut rounds = 1;
        while attribute(&session.plan(direction, wish).unwrap().attributes, "more").is_some() {
            rounds += 1;
            seen.borrow_mut().returned();
        }
        let seen = seen.borrow();
        (
            rounds,
            seen.calls
                .get("eks:DescribeAccessEntry")
                .copied()
                .unwrap_or_default(),
        )
    };
    let wish = asked("cluster_role:view:dev:member", &user("bob"));
    // Many: the own group, without asking who else is there.
    assert_eq!(calls(&cloud, Give, &wish), (1, 1));
    let group = body(&plan(&cloud, Give, &wish).unwrap().changes[0])["subjects"][0]["kind"].clone();
    assert_eq!(group, "Group");
    // A foreign subject has to be judged, whoever is there.
    let bound = cloud
        .clone()
        .bound_in("dev", "b", "view", &[&format!("User:{}", user("bob"))]);
    assert_eq!(calls(&bound, Take, &wish), (4, 401));
    // Few: read, to leave the entry as it is.
    cloud.entries.drain(..200);
    assert_eq!(calls(&cloud, Give, &wish), (2, 201));
}

#[test]
fn bad_input_is_one_sentence_and_nothing_else() {
    let mut cloud = api();
    accounts(&mut cloud);
    cloud.entries.push(entry(&role("node"), "", &[]));
    cloud.entries[0]["type"] = "EC2_LINUX".into();
    let mut cloud = cloud.with_role("node", &no_trust());
    cloud
        .iam
        .push((role("team/Ops"), "2023-01-01T00:00:00Z".into(), no_trust()));
    let view = "cluster_role:view:dev:member";
    for (entitlement, principal, kind) in [
        ("cluster_role:nope:dev:member", role("dev"), "not-found"),
        ("cluster_role:view:gone:member", role("dev"), "not-found"),
        ("namespace_role:dev/nope:member", role("dev"), "not-found"),
        (
            &format!("access_policy:{VIEW}:assigned:gone"),
            role("dev"),
            "not-found",
        ),
        (
            &format!("access_policy:{VIEW}x:assigned:dev"),
            role("dev"),
            "not-found",
        ),
        (
            &format!(
                "access_policy:{}:assigned:dev",
                VIEW.replace("aws:eks", "aws-cn:eks")
            ),
            role("dev"),
            "invalid-request",
        ),
        (
            "access_policy:arn:aws:eks::aws:cluster-access-policy/AmazonEKSAutoNodePolicy:assigned:dev",
            role("dev"),
            "unsupported",
        ),
        (
            &format!("access_policy:{VIEW}:assigned:dev"),
            "dev/ci".into(),
            "unsupported",
        ),
        (view, role("nope"), "not-found"),
        (view, role("Ops"), "invalid-request"),
        (view, role("DEV"), "invalid-request"),
        (view, role("node"), "unsupported"),
        (
            view,
            "arn:aws-cn:iam::111122223333:role/dev".into(),
            "invalid-request",
        ),
        (
            view,
            "arn:aws:iam::111122223333:group/x".into(),
            "invalid-request",
        ),
        (view, "dev/none".into(), "not-found"),
        (view, "*".into(), "invalid-request"),
        (
            &format!("role:{}:assignment", role("dev")),
            user("bob"),
            "unsupported",
        ),
    ] {
        let wish = if entitlement.starts_with("role:") {
            wish(
                ("role", &role("dev"), "assignment"),
                ("iam_user", &principal),
            )
        } else {
            asked(entitlement, &principal)
        };
        let (found, why) = refused(&cloud, Give, &wish);
        assert_eq!(found, kind, "{entitlement} {principal}: {why}");
        assert!(!why.is_empty() && !why.contains('\n'));
    }
    let sso = wish(
        ("cluster_role", "view", "dev:member"),
        ("sso_user", "arn:aws:identitystore:::user/x"),
    );
    assert!(refused(&cloud, Give, &sso).1.contains("name that role"));
    cloud.mode = json!("QUANTUM");
    assert_eq!(
        refused(&cloud, Take, &asked(view, &role("dev"))).0,
        "unsupported"
    );
    cloud.mode = json!("CONFIG_MAP");
    let policy = asked(&format!("access_policy:{ADMIN}:assigned:dev"), &role("dev"));
    assert_eq!(refused(&cloud, Give, &policy).0, "unsupported");
    assert!(plan(&cloud, Take, &policy).unwrap().changes.is_empty());
}
