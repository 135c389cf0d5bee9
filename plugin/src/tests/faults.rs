//! One test per read fault of the connector that this one replaces.

use serde_json::json;

use super::cloud::*;

#[test]
fn fault_01_a_service_account_bound_in_a_namespace_has_the_role_there_only() {
    let mut cloud = Cloud::default().bound_in(
        "dev",
        "b",
        "view",
        &["ServiceAccount:dev/ci", "ServiceAccount:/bare"],
    );
    cloud.service_accounts = vec![account("dev", "ci"), account("dev", "bare")];
    let file = sync(cloud);
    assert_eq!(
        file.holders("cluster_role:view:dev:member"),
        ["service_account:dev/bare", "service_account:dev/ci"]
    );
    assert!(file.holders("cluster_role:view:all:member").is_empty());
}

#[test]
fn fault_02_people_in_system_masters_are_shown() {
    let file = sync(Cloud::default().with_role("admin", &no_trust()).aws_auth(
        "mapRoles",
        &format!(
            "- rolearn: {}\n  username: a\n  groups: [system:masters]\n",
            role("admin")
        ),
    ));
    let id = format!(
        "cluster_role:cluster-admin:all:member:role:{}",
        role("admin")
    );
    assert_eq!(
        attribute(&file.grant(&id).attributes, "immutable"),
        Some("true")
    );
    let path = &file.metadata(&id)["paths"][0];
    assert_eq!(
        (
            path["via"].as_str(),
            path["group"].as_str(),
            path["bypasses_rbac"].as_bool()
        ),
        (Some("aws-auth"), Some("system:masters"), Some(true))
    );
}

#[test]
fn fault_03_system_authenticated_is_one_row() {
    let mut cloud = Cloud::default().bound(
        "disc",
        "view",
        &[
            "Group:system:authenticated",
            "Group:system:unauthenticated",
            "User:system:anonymous",
        ],
    );
    cloud.entries = (0..300)
        .map(|n| entry(&user(&format!("u{n}")), "", &[]))
        .collect();
    let file = sync(cloud);
    assert_eq!(
        file.holders("cluster_role:view:all:member"),
        [
            "kube_group:system:authenticated",
            "kube_group:system:unauthenticated",
            "kube_user:system:anonymous"
        ]
    );
    assert_eq!(
        file.profile("kube_group", "system:authenticated"),
        json!({"name": "system:authenticated"})
    );
    assert!(
        file.grants
            .iter()
            .all(|g| attribute(&g.attributes, "immutable") == Some("true"))
    );
}

#[test]
fn fault_04_all_partitions_work() {
    for partition in ["aws-cn", "aws-us-gov", "aws-iso"] {
        let arn = format!("arn:{partition}:iam::{ACCOUNT}:role/dev");
        let mut cloud = Cloud {
            partition,
            ..Cloud::default()
        };
        cloud
            .iam
            .push((arn.clone(), "2023-01-01T00:00:00Z".into(), no_trust()));
        cloud.entries.push(entry(&arn, "", &["devs"]));
        cloud.associations.push((
            arn.clone(),
            "AmazonEKSViewPolicy".into(),
            json!({"type": "cluster", "namespaces": []}),
        ));
        let file = sync(cloud.bound("b", "view", &["Group:devs"]));
        assert_eq!(
            file.holders("cluster_role:view:all:member"),
            [format!("role:{arn}")]
        );
        let policy = format!(
            "access_policy:arn:{partition}:eks::aws:cluster-access-policy/AmazonEKSViewPolicy:assigned:cluster"
        );
        assert_eq!(file.holders(&policy), [format!("role:{arn}")]);
        assert!(
            file.objects
                .iter()
                .filter(|o| o.id.kind == "access_policy")
                .all(|o| o.id.id.starts_with(&format!("arn:{partition}:")))
        );
    }
}

#[test]
fn fault_05_every_user_grant_can_be_matched_and_no_role_grant_is() {
    let mut cloud = Cloud::default()
        .with_role("dev", &trust(json!([{"Effect": "Allow", "Principal": {"AWS": [user("bob"), role("ops")]}, "Action": "sts:AssumeRole"}])))
        .with_role("ops", &no_trust());
    cloud.entries.push(entry(&user("bob"), "bob", &[]));
    cloud.associations.push((
        user("bob"),
        "AmazonEKSViewPolicy".into(),
        json!({"type": "cluster"}),
    ));
    let file = sync(cloud.bound("b", "view", &["User:bob"]));
    let users: Vec<_> = file
        .grants
        .iter()
        .filter(|g| g.principal.kind == "iam_user")
        .collect();
    assert_eq!(users.len(), 3);
    assert!(
        users
            .iter()
            .all(|g| attribute(&g.attributes, "external-match-id") == Some(user("bob").as_str()))
    );
    let chained = file.grant(&format!(
        "role:{}:assignment:role:{}",
        role("dev"),
        role("ops")
    ));
    assert_eq!(
        attribute(&chained.attributes, "expandable"),
        Some(format!("role:{}:assignment", role("ops")).as_str())
    );
}

#[test]
fn fault_06_patterns_of_scopes_keep_their_id_and_are_expanded() {
    let mut cloud = Cloud::default();
    cloud.namespaces = ["dev-1", "dev-2", "prod"].map(String::from).to_vec();
    cloud.entries.push(entry(&user("bob"), "bob", &[]));
    cloud.associations.push((
        user("bob"),
        "AmazonEKSViewPolicy".into(),
        json!({"type": "namespace", "namespaces": ["dev-*", "ghost", "none-*"]}),
    ));
    let file = sync(cloud);
    let p = "access_policy:arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy:assigned:";
    let bob = format!("iam_user:{}", user("bob"));
    for scope in ["dev-*", "dev-1", "dev-2", "ghost", "none-*"] {
        assert_eq!(
            file.holders(&format!("{p}{scope}")),
            [bob.clone()],
            "{scope}"
        );
    }
    assert!(
        file.holders(&format!("{p}prod")).is_empty()
            && file.holders(&format!("{p}cluster")).is_empty()
    );
    let immutable = |scope: &str| {
        attribute(
            &file.grant(&format!("{p}{scope}:{bob}")).attributes,
            "immutable",
        )
        .is_some()
    };
    assert!(immutable("dev-1") && !immutable("dev-*") && !immutable("ghost"));
    assert_eq!(
        file.metadata(&format!("{p}dev-1:{bob}"))["paths"][0]["scope"],
        "dev-*"
    );
    assert_eq!(
        file.metadata(&format!("{p}ghost:{bob}"))["certainty"],
        "latent"
    );
    assert_eq!(
        file.metadata(&format!("{p}none-*:{bob}"))["certainty"],
        "latent"
    );
}

#[test]
fn fault_07_policies_come_from_the_api() {
    let mut cloud = Cloud::default();
    cloud
        .policies
        .extend(["AmazonEKSSecretReaderPolicy", "AmazonEKSNewPolicy"].map(String::from));
    cloud.entries.push(entry(&user("bob"), "bob", &[]));
    cloud.associations.push((
        user("bob"),
        "AmazonEKSNewPolicy".into(),
        json!({"type": "cluster"}),
    ));
    let file = sync(cloud);
    let policies: Vec<&str> = file
        .objects
        .iter()
        .filter(|o| o.id.kind == "access_policy")
        .map(|o| o.display_name.as_str())
        .collect();
    assert_eq!(
        policies,
        [
            "AmazonEKSAdminPolicy",
            "AmazonEKSAdminViewPolicy",
            "AmazonEKSClusterAdminPolicy",
            "AmazonEKSEditPolicy",
            "AmazonEKSNewPolicy",
            "AmazonEKSSecretReaderPolicy",
            "AmazonEKSViewPolicy"
        ]
    );
    for e in file
        .entitlements
        .iter()
        .filter(|e| e.on.kind == "access_policy")
    {
        assert_eq!(
            attribute(&e.attributes, "immutable").is_some(),
            e.on.id.ends_with("AmazonEKSNewPolicy")
        );
    }
}

#[test]
fn fault_09_a_role_with_a_path_in_aws_auth_is_dead_and_said_to_be() {
    let with_path = format!("arn:aws:iam::{ACCOUNT}:role/team/dev");
    let mut cloud = Cloud::default()
        .aws_auth(
            "mapRoles",
            &format!("- rolearn: {with_path}\n  groups: [devs]\n"),
        )
        .bound("b", "view", &["Group:devs"]);
    cloud
        .iam
        .push((with_path.clone(), "2023-01-01T00:00:00Z".into(), no_trust()));
    let file = sync(cloud);
    assert_eq!(
        file.holders("cluster_role:view:all:member"),
        ["kube_group:devs"]
    );
    let dead = file.evidence_of("dead-line");
    assert_eq!(
        (dead[0]["principal"].as_str(), dead[0]["mapping"].as_str()),
        (Some(with_path.as_str()), Some("mapRoles line 1"))
    );
}

#[test]
fn fault_09_malformed_yaml_loses_its_own_list_only_and_says_where() {
    let file = sync(
        Cloud::default()
            .aws_auth("mapRoles", "- rolearn: x\n  groups: [a\n- oops: {\n")
            .aws_auth(
                "mapUsers",
                &format!("- userarn: {}\n  username: bob\n", user("bob")),
            )
            .bound("b", "view", &["User:bob"]),
    );
    assert_eq!(
        file.holders("cluster_role:view:all:member"),
        [format!("iam_user:{}", user("bob"))]
    );
    let bad = file.evidence_of("malformed-line");
    assert!(
        bad[0]["mapping"]
            .as_str()
            .unwrap()
            .starts_with("mapRoles line "),
        "{bad:?}"
    );
    assert!(
        file.warnings
            .iter()
            .any(|w| w.contains("mapRoles") && w.contains("not YAML")),
        "{:?}",
        file.warnings
    );
}

#[test]
fn fault_09_user_name_templates_are_patterns_of_their_role() {
    let mut cloud = Cloud::default().with_role("dev", &no_trust()).with_role("acct", &no_trust())
        .aws_auth("mapRoles", &format!("- {{rolearn: '{}', username: 'acct:{{{{AccountID}}}}', groups: ['g:{{{{SessionName}}}}']}}\n", role("acct")));
    cloud.entries.push(entry(
        &role("dev"),
        &format!("arn:aws:sts::{ACCOUNT}:assumed-role/dev/{{{{SessionName}}}}"),
        &[],
    ));
    let file = sync(cloud.bound(
        "b",
        "view",
        &[
            &format!("User:arn:aws:sts::{ACCOUNT}:assumed-role/dev/alice"),
            &format!("User:acct:{ACCOUNT}"),
            "Group:g:x",
        ],
    ));
    assert_eq!(
        file.holders("cluster_role:view:all:member"),
        [
            format!("role:{}", role("acct")),
            format!("role:{}", role("dev"))
        ]
    );
    let dev = file.metadata(&format!(
        "cluster_role:view:all:member:role:{}",
        role("dev")
    ));
    assert_eq!(
        (
            dev["certainty"].as_str(),
            dev["paths"][0]["session"].as_str()
        ),
        (Some("session"), Some("alice"))
    );
    let acct = file.metadata(&format!(
        "cluster_role:view:all:member:role:{}",
        role("acct")
    ));
    assert_eq!(
        (acct["certainty"].as_str(), acct["path_count"].as_u64()),
        (Some("certain"), Some(2))
    );
}

#[test]
fn fault_09_mapped_accounts_make_user_names_live() {
    let file = sync(
        Cloud::default()
            .with_role("dev", &no_trust())
            .aws_auth("mapAccounts", &format!("- \"{ACCOUNT}\"\n- 444455556666\n"))
            .aws_auth(
                "mapUsers",
                &format!("- userarn: {}\n  username: other\n", user("mapped")),
            )
            .bound(
                "b",
                "view",
                &[
                    &format!("User:{}", user("bob")),
                    &format!("User:{}", role("dev")),
                    &format!("User:{}", user("mapped")),
                ],
            ),
    );
    assert_eq!(
        file.holders("cluster_role:view:all:member"),
        [
            format!("iam_user:{}", user("bob")),
            format!("kube_user:{}", user("mapped")),
            format!("role:{}", role("dev"))
        ]
    );
    assert_eq!(
        file.metadata(&format!(
            "cluster_role:view:all:member:iam_user:{}",
            user("bob")
        ))["paths"][0]["via"],
        "mapAccounts"
    );
    assert!(
        file.evidence_of("malformed-line")[0]["reason"]
            .as_str()
            .unwrap()
            .contains("quoted")
    );
}

#[test]
fn fault_10_an_entry_that_cannot_be_described_is_named_with_its_error() {
    let mut cloud = Cloud::default();
    cloud.entries = vec![
        entry(&user("bob"), "bob", &[]),
        entry(&user("eve"), "eve", &[]),
    ];
    cloud.faults.push((
        "eks:DescribeAccessEntry",
        "eve",
        aws_error(500, "ServerException", "it broke"),
    ));
    let file = sync(cloud.bound("b", "view", &["User:bob", "User:eve"]));
    assert_eq!(
        file.holders("cluster_role:view:all:member"),
        [format!("iam_user:{}", user("bob")), "kube_user:eve".into()]
    );
    let bad = file.evidence_of("undescribed-entry");
    assert!(
        bad[0]["principal"] == user("eve")
            && bad[0]["reason"].as_str().unwrap().contains("it broke")
    );
    assert!(file.warnings.iter().any(|w| w.contains("eve")));
}

#[test]
fn fault_10_one_source_that_is_forbidden_is_an_error_and_not_half_the_people() {
    for (operation, answer) in [
        (
            "get configmaps kube-system/aws-auth",
            status(403, "Forbidden", "configmaps \"aws-auth\" is forbidden"),
        ),
        (
            "eks:ListAccessEntries",
            aws_error(403, "AccessDeniedException", "not authorized"),
        ),
        (
            "eks:DescribeAccessEntry",
            aws_error(403, "AccessDeniedException", "not authorized"),
        ),
        (
            "iam:ListRoles",
            aws_error(403, "AccessDenied", "not authorized"),
        ),
    ] {
        let mut cloud = Cloud::default();
        cloud.entries.push(entry(&user("bob"), "bob", &[]));
        cloud.faults.push((operation, "", answer));
        let error = try_sync(cloud, &[]).err().unwrap();
        assert_eq!(error.kind, "not-permitted", "{operation}");
        assert_eq!(attribute(&error.attributes, "operation"), Some(operation));
        assert!(
            attribute(&error.attributes, "hint").is_some()
                && attribute(&error.attributes, "status") == Some("403")
        );
    }
}

#[test]
fn fault_28_service_accounts_with_secrets_are_listed() {
    let mut cloud = Cloud::default();
    let mut old = account("dev", "old");
    old["secrets"] = json!([{"name": "old-token-x"}]);
    old["imagePullSecrets"] = json!([{"name": "registry"}]);
    cloud.service_accounts = vec![old];
    let profile = sync(cloud).profile("service_account", "dev/old");
    assert_eq!(
        (
            profile["secrets"].clone(),
            profile["imagePullSecrets"].clone()
        ),
        (json!(["old-token-x"]), json!(["registry"]))
    );
}

#[test]
fn fault_26_namespaces_named_all_cluster_and_small_keep_their_own_ids() {
    let mut cloud = Cloud::default()
        .bound_in("all", "b", "view", &["User:a"])
        .bound_in("small", "b", "view", &["User:s"])
        .bound("c", "view", &["User:c"]);
    cloud.namespaces = ["all", "cluster", "small"].map(String::from).to_vec();
    cloud.entries.push(entry(&user("bob"), "bob", &[]));
    cloud.associations.push((
        user("bob"),
        "AmazonEKSViewPolicy".into(),
        json!({"type": "namespace", "namespaces": ["cluster"]}),
    ));
    let file = sync(cloud);
    assert_eq!(
        file.holders("cluster_role:view:namespace/all:member"),
        ["kube_user:a"]
    );
    assert_eq!(
        file.holders("cluster_role:view:small:member"),
        ["kube_user:s"]
    );
    assert_eq!(
        file.holders("cluster_role:view:all:member"),
        ["kube_user:c"]
    );
    let p = "access_policy:arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy:assigned:";
    assert_eq!(file.holders(&format!("{p}namespace/cluster")).len(), 1);
    assert!(file.holders(&format!("{p}cluster")).is_empty());
}

#[test]
fn fault_29_a_config_map_cluster_is_read_without_access_entry_calls() {
    for mode in [json!("CONFIG_MAP"), json!(null)] {
        let mut cloud = Cloud {
            mode,
            ..Cloud::default()
        }
        .with_role("dev", &no_trust())
        .aws_auth(
            "mapRoles",
            &format!("- rolearn: {}\n  groups: [devs]\n", role("dev")),
        )
        .bound("b", "view", &["Group:devs"]);
        cloud.entries.push(entry(&role("dev"), "", &[]));
        let file = try_sync(cloud, &[("cluster-creator-arn", &role("creator"))]).unwrap();
        assert_eq!(
            file.holders("cluster_role:view:all:member"),
            [format!("role:{}", role("dev"))]
        );
        assert!(
            file.seen
                .borrow()
                .calls
                .keys()
                .all(|c| !c.contains("Access")),
            "{:?}",
            file.seen.borrow().calls
        );
        assert_eq!(
            file.evidence_of("hidden-creator")[0]["principal"],
            role("creator")
        );
        assert!(
            file.entitlements
                .iter()
                .filter(|e| e.on.kind == "access_policy")
                .all(|e| attribute(&e.attributes, "immutable").is_some())
        );
    }
}

#[test]
fn fault_30_in_mode_api_aws_auth_counts_for_nothing() {
    let cloud = Cloud {
        mode: json!("API"),
        ..Cloud::default()
    }
    .with_role("dev", &no_trust())
    .aws_auth(
        "mapRoles",
        &format!(
            "- rolearn: {}\n  groups: [devs, 'system:masters']\n",
            role("dev")
        ),
    )
    .bound("b", "view", &["Group:devs"]);
    let file = sync(cloud);
    assert_eq!(
        file.holders("cluster_role:view:all:member"),
        ["kube_group:devs"]
    );
    assert!(
        file.holders("cluster_role:cluster-admin:all:member")
            .is_empty()
    );
    assert!(
        !file
            .seen
            .borrow()
            .calls
            .contains_key("get configmaps kube-system/aws-auth")
    );
    assert_eq!(file.evidence_of("ignored-source")[0]["source"], "aws-auth");
}

#[test]
fn fault_31_an_entry_replaces_the_line_of_its_principal() {
    let with_path = format!("arn:aws:iam::{ACCOUNT}:role/team/Dev");
    let mut cloud = Cloud::default()
        .aws_auth(
            "mapRoles",
            &format!("- rolearn: arn:aws:iam::{ACCOUNT}:role/dev\n  groups: [admins]\n"),
        )
        .bound("a", "cluster-admin", &["Group:admins"])
        .bound("b", "view", &["Group:devs"]);
    cloud
        .iam
        .push((with_path.clone(), "2023-01-01T00:00:00Z".into(), no_trust()));
    cloud.entries.push(entry(&with_path, "", &["devs"]));
    let file = sync(cloud);
    assert_eq!(
        file.holders("cluster_role:cluster-admin:all:member"),
        ["kube_group:admins"]
    );
    assert_eq!(
        file.holders("cluster_role:view:all:member"),
        [format!("role:{with_path}")]
    );
    let shadowed = file.evidence_of("shadowed-line");
    assert!(
        shadowed[0]["reason"]
            .as_str()
            .unwrap()
            .contains("returns if the entry is deleted")
            && shadowed[0]["groups"] == json!(["admins"])
    );
}

#[test]
fn fault_36_one_bad_item_loses_itself_only() {
    let text = format!(
        "- {{rolearn: '{}', groups: 'system:masters', username: a}}\n- just text\n- {{username: nobody}}\n- {{RoleARN: '{}', Groups: [devs, 7], UserName: null}}\n",
        role("a"),
        role("b")
    );
    let file = sync(
        Cloud::default()
            .with_role("a", &no_trust())
            .with_role("b", &no_trust())
            .aws_auth("mapRoles", &text)
            .bound("b", "view", &["Group:devs", "User:a"]),
    );
    assert_eq!(
        file.holders("cluster_role:view:all:member"),
        [format!("role:{}", role("a")), format!("role:{}", role("b"))]
    );
    assert!(
        file.holders("cluster_role:cluster-admin:all:member")
            .is_empty()
    );
    let places: Vec<&str> = file
        .evidence_of("malformed-line")
        .iter()
        .map(|e| e["mapping"].as_str().unwrap())
        .collect();
    assert_eq!(
        places,
        [
            "mapRoles line 1",
            "mapRoles line 2",
            "mapRoles line 3",
            "mapRoles line 4"
        ]
    );
}

#[test]
fn aws_auth_is_read_as_the_authenticator_reads_it() {
    // JSON as CDK writes it, CRLF, anchors and merge keys, YAML 1.1 words.
    let json = json!([{"rolearn": role("a"), "username": "a", "groups": ["devs"]}]).to_string();
    let yaml = format!(
        "- &base\r\n  userarn: {}\r\n  groups: [devs]\r\n- <<: *base\r\n  userarn: {}\r\n- userarn: {}\r\n  username: yes\r\n  groups:\r\n",
        user("one"),
        user("two"),
        user("three")
    );
    let file = sync(
        Cloud::default()
            .with_role("a", &no_trust())
            .aws_auth("mapRoles", &json)
            .aws_auth("mapUsers", &yaml)
            .aws_auth("mapAccounts", "\"\"")
            .bound("b", "view", &["Group:devs", "User:yes"]),
    );
    assert_eq!(
        file.holders("cluster_role:view:all:member"),
        [
            format!("iam_user:{}", user("one")),
            format!("iam_user:{}", user("two")),
            "kube_user:yes".into(),
            format!("role:{}", role("a"))
        ]
    );
    assert_eq!(file.evidence_of("malformed-line").len(), 1);
}
