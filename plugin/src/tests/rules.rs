//! One test per rule of meaning that is no fault of another connector.

use serde_json::json;

use super::cloud::*;

#[test]
fn rule_03_roles_of_identity_center_say_that_their_people_are_not_here() {
    let arn = format!(
        "arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Power_User_0123456789abcdef"
    );
    let mut cloud = Cloud::default();
    let saml = json!([{"Effect": "Allow", "Principal": {"Federated": format!("arn:aws:iam::{ACCOUNT}:saml-provider/AWSSSO_x")}, "Action": ["sts:AssumeRoleWithSAML", "sts:TagSession"], "Condition": {"StringEquals": {"SAML:aud": "https://signin.aws.amazon.com/saml"}}}]);
    cloud
        .iam
        .push((arn.clone(), "2023-01-01T00:00:00Z".into(), trust(saml)));
    let file = sync(cloud);
    let profile = file.profile("role", &arn);
    assert_eq!(
        (
            profile["permission_set"].as_str(),
            profile["people_behind"].as_str()
        ),
        (Some("Power_User"), Some("not available, Identity Center"))
    );
    assert!(
        profile["trusted_by"][0]
            .as_str()
            .unwrap()
            .contains("saml-provider")
    );
    assert!(file.grants.is_empty());
}

#[test]
fn rule_08_the_index_decides_what_a_system_name_means() {
    let lines = format!(
        "- {{rolearn: '{}', username: 'system:kube-controller-manager', groups: ['system:nodes']}}\n- {{rolearn: '{}', username: 'system:node:{{{{EC2PrivateDNSName}}}}', groups: ['system:nodes', 'system:bootstrappers', devs]}}\n",
        role("sneaky"),
        role("node")
    );
    let mut cloud = Cloud::default()
        .with_role("sneaky", &no_trust())
        .with_role("node", &no_trust())
        .aws_auth("mapRoles", &lines)
        .bound(
            "a",
            "view",
            &[
                "User:system:kube-controller-manager",
                "User:system:kube-scheduler",
            ],
        )
        .bound("n", "node", &["Group:system:nodes", "Group:devs"])
        .bound(
            "s",
            "sa",
            &[
                "User:system:serviceaccount:dev:ci",
                "Group:system:serviceaccounts:dev",
                "Group:system:serviceaccounts",
                "Group:system:monitoring",
            ],
        );
    cloud
        .cluster_roles
        .extend(["node", "sa"].map(|n| json!({"metadata": meta("", n)})));
    cloud.service_accounts = vec![
        account("dev", "ci"),
        account("dev", "web"),
        account("default", "x"),
    ];
    let file = sync(cloud);
    assert_eq!(
        file.holders("cluster_role:view:all:member"),
        [format!("role:{}", role("sneaky"))]
    );
    assert_eq!(
        file.holders("cluster_role:node:all:member"),
        [
            format!("role:{}", role("node")),
            format!("role:{}", role("sneaky"))
        ]
    );
    let node = file.metadata(&format!(
        "cluster_role:node:all:member:role:{}",
        role("node")
    ));
    assert_eq!(
        (
            node["path_count"].as_u64(),
            node["paths"][0]["group"].as_str()
        ),
        (Some(1), Some("devs"))
    );
    assert_eq!(
        file.holders("cluster_role:sa:all:member"),
        [
            "kube_group:system:monitoring",
            "kube_group:system:serviceaccounts",
            "service_account:dev/ci",
            "service_account:dev/web"
        ]
    );
    assert_eq!(
        attribute(
            &file
                .grant("cluster_role:sa:all:member:service_account:dev/web")
                .attributes,
            "immutable"
        ),
        Some("true")
    );
    assert_eq!(
        file.evidence_of("platform-user")[0]["user"],
        "system:kube-scheduler"
    );
    assert_eq!(file.evidence_of("node-mapping").len(), 1);
}

#[test]
fn rule_08_node_entries_are_plumbing() {
    let mut cloud =
        Cloud::default()
            .with_role("node", &no_trust())
            .bound("n", "view", &["Group:system:nodes"]);
    let mut node = entry(
        &role("node"),
        "system:node:{{EC2PrivateDNSName}}",
        &["system:nodes"],
    );
    node["type"] = "EC2_LINUX".into();
    cloud.entries.push(node);
    cloud.associations.push((
        role("node"),
        "AmazonEKSAutoNodePolicy".into(),
        json!({"type": "cluster"}),
    ));
    let file = sync(cloud);
    assert!(
        file.grants.is_empty()
            && file.evidence_of("node-mapping").len() == 1
            && file.evidence_of("dead-policy").len() == 1
    );
}

#[test]
fn rule_10_groups_and_users_that_nobody_can_enumerate_get_one_row_each() {
    let mut cloud = Cloud::default()
        .bound("a", "view", &["Group:oidc:admins", "User:jane@example.com"])
        .bound_in("dev", "b", "Role:r", &["Group:oidc:admins"]);
    cloud.roles = vec![json!({"metadata": meta("dev", "r")})];
    let file = sync(cloud);
    assert_eq!(
        file.holders("namespace_role:dev/r:member"),
        ["kube_group:oidc:admins"]
    );
    assert_eq!(
        file.metadata("cluster_role:view:all:member:kube_user:jane@example.com")["certainty"],
        "latent"
    );
    assert_eq!(
        file.objects
            .iter()
            .filter(|o| o.id.kind.starts_with("kube_"))
            .count(),
        2
    );
    assert_eq!(
        attribute(
            &file.object("kube_user", "jane@example.com").attributes,
            "account-type"
        ),
        Some("human")
    );
}

#[test]
fn rule_11_masters_hold_cluster_admin_even_if_the_role_is_not_listed() {
    let mut cloud = Cloud::default().with_role("m", &no_trust()).aws_auth(
        "mapRoles",
        &format!("- rolearn: {}\n  groups: [system:masters]\n", role("m")),
    );
    cloud.cluster_roles.clear();
    let file = sync(cloud);
    assert_eq!(
        file.holders("cluster_role:cluster-admin:all:member"),
        [format!("role:{}", role("m"))]
    );
    assert_eq!(
        file.profile("cluster_role", "cluster-admin"),
        json!({"name": "cluster-admin", "exists": false})
    );
    // With the default binding the two ways are one grant with two paths.
    let file = sync(
        Cloud::default()
            .with_role("m", &no_trust())
            .aws_auth(
                "mapRoles",
                &format!("- rolearn: {}\n  groups: [system:masters]\n", role("m")),
            )
            .bound("cluster-admin", "cluster-admin", &["Group:system:masters"]),
    );
    assert_eq!(
        file.metadata(&format!(
            "cluster_role:cluster-admin:all:member:role:{}",
            role("m")
        ))["path_count"],
        2
    );
}

#[test]
fn rule_17_dead_entries_give_nothing_and_shadow_nothing() {
    let mut cloud = Cloud::default()
        .aws_auth(
            "mapRoles",
            &format!("- {{rolearn: '{}', groups: [legacy]}}\n", role("again")),
        )
        .bound("a", "view", &["Group:legacy", "Group:devs"]);
    cloud
        .iam
        .push((role("again"), "2025-01-01T00:00:00Z".into(), no_trust()));
    cloud.entries = vec![
        entry(&role("again"), "", &["devs"]),
        entry(&role("gone"), "", &["devs"]),
        entry(&format!("arn:aws:iam::{OTHER}:role/x"), "", &["devs"]),
    ];
    cloud.associations = vec![(
        role("gone"),
        "AmazonEKSViewPolicy".into(),
        json!({"type": "cluster"}),
    )];
    let file = sync(cloud);
    assert_eq!(
        file.holders("cluster_role:view:all:member"),
        [
            format!("role:{}", role("again")),
            format!("role:arn:aws:iam::{OTHER}:role/x")
        ]
    );
    assert_eq!(
        file.metadata(&format!(
            "cluster_role:view:all:member:role:{}",
            role("again")
        ))["paths"][0]["group"],
        "legacy"
    );
    assert_eq!(file.evidence_of("dead-entry").len(), 2);
    assert_eq!(file.evidence_of("dead-policy").len(), 1);
    assert_eq!(file.evidence_of("unverified-entry").len(), 1);
}

#[test]
fn rule_18_roles_join_by_name_and_missing_ones_get_rows() {
    let full = format!(
        "arn:aws:iam::{ACCOUNT}:role/aws-service-role/emr-containers.amazonaws.com/AWSServiceRoleForAmazonEMRContainers"
    );
    let lines = format!(
        "- {{rolearn: 'arn:aws:iam::{ACCOUNT}:role/AWSServiceRoleForAmazonEMRContainers', username: emr}}\n- {{rolearn: 'arn:aws:iam::{OTHER}:role/ext', username: ext}}\n- {{rolearn: '{}', username: gone}}\n",
        role("gone")
    );
    let mut cloud = Cloud::default().aws_auth("mapRoles", &lines).bound(
        "a",
        "view",
        &["User:emr", "User:ext", "User:gone"],
    );
    cloud
        .iam
        .push((full.clone(), "2023-01-01T00:00:00Z".into(), no_trust()));
    let file = sync(cloud);
    let emr = file.grant(&format!("cluster_role:view:all:member:role:{full}"));
    assert_eq!(
        attribute(&emr.attributes, "expandable"),
        Some(format!("role:{full}:assignment").as_str())
    );
    assert_eq!(
        attribute(&file.object("role", &full).attributes, "alias"),
        Some(format!("arn:aws:iam::{ACCOUNT}:role/AWSServiceRoleForAmazonEMRContainers").as_str())
    );
    assert_eq!(
        file.profile("role", &format!("arn:aws:iam::{OTHER}:role/ext"))["external"],
        true
    );
    assert_eq!(file.profile("role", &role("gone"))["exists"], false);
    assert_eq!(
        file.metadata(&format!(
            "cluster_role:view:all:member:role:{}",
            role("gone")
        ))["certainty"],
        "latent"
    );
}

#[test]
fn rule_20_many_bindings_make_one_grant_with_at_most_twenty_paths() {
    let mut cloud = Cloud::default();
    cloud.service_accounts = vec![account("dev", "ci")];
    for n in 0..30 {
        cloud = cloud.bound(
            &format!("b{n:02}"),
            "view",
            &["ServiceAccount:dev/ci", "ServiceAccount:dev/ci"],
        );
    }
    let file = sync(cloud);
    assert_eq!(file.grants.len(), 1);
    let metadata = file.metadata("cluster_role:view:all:member:service_account:dev/ci");
    assert_eq!(
        (
            metadata["paths"].as_array().unwrap().len(),
            metadata["path_count"].as_u64()
        ),
        (20, Some(30))
    );
    assert_eq!(
        metadata["paths"][0],
        json!({"via": "binding", "binding": "b00"})
    );
}

#[test]
fn rule_20_a_binding_to_a_role_that_does_not_exist_is_evidence() {
    let file = sync(Cloud::default().bound("a", "nosuch", &["User:x"]).bound_in(
        "dev",
        "b",
        "Role:nosuch",
        &["User:x"],
    ));
    assert!(file.grants.is_empty());
    let found: Vec<_> = file
        .evidence_of("dangling-role")
        .iter()
        .map(|e| {
            (
                e["kind"].as_str().unwrap(),
                e["namespace"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(found, [("Role", "dev"), ("ClusterRole", "")]);
}

#[test]
fn rule_21_an_empty_namespace_scope_is_not_the_cluster() {
    let mut cloud = Cloud::default();
    cloud.entries.push(entry(&user("bob"), "bob", &[]));
    cloud.associations = vec![
        (
            user("bob"),
            "AmazonEKSViewPolicy".into(),
            json!({"type": "namespace", "namespaces": []}),
        ),
        (
            user("bob"),
            "AmazonEKSClusterAdminPolicy".into(),
            json!({"type": "galaxy"}),
        ),
    ];
    let file = sync(cloud);
    assert!(file.grants.is_empty());
    assert_eq!(file.evidence_of("dead-policy").len(), 2);
    assert!(file.warnings.iter().any(|w| w.contains("galaxy")));
}

#[test]
fn rule_29_rivals_duplicates_and_sso_items() {
    let roles = format!(
        "- {{rolearn: '{0}', groups: [old]}}\n- {{rolearn: '{0}', groups: [new]}}\n- {{sso: {{permissionSetName: Admin, accountID: '{ACCOUNT}'}}, groups: [sso]}}\n- {{rolearn: 'arn:aws:sts::{ACCOUNT}:assumed-role/x/y', groups: [sts]}}\n",
        role("dev")
    );
    let users = format!(
        "- {{userarn: '{}', groups: [one]}}\n- {{userarn: '{}', groups: [two]}}\n- {{userarn: 'arn:aws:iam::{ACCOUNT}:group/g', groups: [g]}}\n- {{userarn: '{}', groups: [late]}}\n",
        user("bob"),
        user("BOB"),
        role("dev")
    );
    let file = sync(
        Cloud::default()
            .with_role("dev", &no_trust())
            .aws_auth("mapRoles", &roles)
            .aws_auth("mapUsers", &users)
            .bound(
                "a",
                "view",
                &[
                    "Group:old",
                    "Group:new",
                    "Group:sso",
                    "Group:sts",
                    "Group:one",
                    "Group:two",
                    "Group:g",
                    "Group:late",
                ],
            ),
    );
    let held: Vec<String> = file
        .holders("cluster_role:view:all:member")
        .into_iter()
        .filter(|h| !h.starts_with("kube_group"))
        .collect();
    assert_eq!(
        held,
        [
            format!("iam_user:{}", user("BOB")),
            format!("iam_user:{}", user("bob")),
            format!("role:{}", role("dev"))
        ]
    );
    assert_eq!(
        file.metadata(&format!(
            "cluster_role:view:all:member:iam_user:{}",
            user("bob")
        ))["certainty"],
        "conditional"
    );
    assert_eq!(
        file.metadata(&format!(
            "cluster_role:view:all:member:role:{}",
            role("dev")
        ))["paths"][0]["group"],
        "new"
    );
    assert_eq!(file.evidence_of("ambiguous-line").len(), 2);
    assert_eq!(file.evidence_of("uncertain-line").len(), 1);
    assert_eq!(file.evidence_of("shadowed-line").len(), 2);
    assert_eq!(file.evidence_of("dead-line").len(), 2);
}

#[test]
fn an_entry_of_an_unknown_type_is_kept_and_marked() {
    let mut cloud =
        Cloud::default()
            .with_role("x", &no_trust())
            .bound("a", "view", &["Group:devs"]);
    let mut odd = entry(&role("x"), "", &["devs"]);
    odd["type"] = "QUANTUM".into();
    cloud.entries.push(odd);
    let file = sync(cloud);
    assert_eq!(
        file.metadata(&format!("cluster_role:view:all:member:role:{}", role("x")))["certainty"],
        "conditional"
    );
    assert_eq!(file.evidence_of("unknown-entry-type").len(), 1);
}
