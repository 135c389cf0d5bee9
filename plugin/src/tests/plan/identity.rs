//! Who the principal is in the cluster, rule by rule.

use serde_json::json;

use super::apply::{carry_out, plan};
use super::asked::{VIEW, api, asked, body, config_map, refused, steps, told};
use crate::plan::Direction::{Grant as Give, Revoke as Take};
use crate::tests::cloud::*;

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
