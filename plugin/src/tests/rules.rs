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
fn rule_19_rules_and_long_annotations_stay_in_the_row() {
    let mut cloud = Cloud::default();
    let mut big = json!({"metadata": meta("", "big"), "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["x"]}, {"verbs": ["get"], "nonResourceURLs": ["/healthz"]}]});
    big["metadata"]["labels"] = json!({"team": "a"});
    big["metadata"]["annotations"] = json!({"long": "x".repeat(5000)});
    let huge = json!({"metadata": meta("", "huge"), "rules": (0..5000).map(|n| json!({"verbs": ["get"], "resources": [format!("r{n}")]})).collect::<Vec<_>>()});
    cloud.cluster_roles.extend([big, huge]);
    let file = sync(cloud);
    let profile = file.profile("cluster_role", "big");
    assert_eq!(
        (
            profile["rules"][0]["resourceNames"][0].as_str(),
            profile["rules"][1]["nonResourceURLs"][0].as_str()
        ),
        (Some("x"), Some("/healthz"))
    );
    assert_eq!(
        profile["aggregationRule"]["clusterRoleSelectors"][0]["matchLabels"]["a"],
        "b"
    );
    assert_eq!(
        profile["creationTimestamp"],
        "2024-01-15 12:00:00 +0000 UTC"
    );
    let annotation = profile["annotations"]["long"].as_str().unwrap();
    assert!(annotation.len() < 1100 && annotation.ends_with("(5000 bytes)"));
    let copy: serde_json::Value = serde_json::from_str(
        attribute(
            &file.object("cluster_role", "big").attributes,
            "embedded-profile",
        )
        .unwrap(),
    )
    .unwrap();
    assert_eq!(
        copy,
        json!({"name": "big", "uid": "uid-big", "creationTimestamp": "2024-01-15 12:00:00 +0000 UTC"})
    );
    let huge = file.profile("cluster_role", "huge");
    assert!(huge["rules_truncated"] == true && huge["rules_count"] == 5000);
    assert!(
        file.warnings
            .iter()
            .any(|w| w.contains("huge") && w.contains("5000 rules"))
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

#[test]
fn rows_texts_and_order_are_those_that_tenants_know() {
    let mut cloud = Cloud::default();
    cloud.namespaces = vec!["dev".into()];
    cloud.cluster_roles = vec![json!({"metadata": meta("", "view")})];
    cloud.roles = vec![json!({"metadata": meta("dev", "r")})];
    cloud.service_accounts = vec![account("dev", "ci")];
    cloud.config_maps = vec![account("dev", "cfg")];
    let file = sync(cloud.with_role("app", &no_trust()));
    let rows: Vec<String> = file
        .objects
        .iter()
        .filter(|o| o.id.kind != "access_policy")
        .map(|o| {
            format!(
                "{}|{}|{}|{}",
                o.id.kind,
                o.id.id,
                o.display_name,
                o.parent.as_ref().map_or("", |p| &p.id)
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            "namespace|dev|dev|".to_string(),
            "namespace|*|All Namespace|".into(),
            "service_account|dev/ci|ci|dev".into(),
            "service_account|*|All Service Account|".into(),
            "configmap|dev/cfg|cfg|dev".into(),
            "configmap|*|All Config Map|".into(),
            "cluster_role|view|view|".into(),
            "namespace_role|dev/r|r|dev".into(),
            format!("role|{}|app|", role("app")),
        ]
    );
    assert!(file.object("namespace", "dev").profile.is_none());
    assert_eq!(
        attribute(&file.object("namespace", "dev").attributes, "child-kind"),
        Some("service_account")
    );
    assert_eq!(
        attribute(
            &file.object("configmap", "dev/cfg").attributes,
            "external-id"
        ),
        Some("uid-cfg")
    );
    assert_eq!(
        file.profile("service_account", "*"),
        json!({"name": "All Service Account", "uid": "wildcard-service_account"})
    );
    assert_eq!(
        file.profile("service_account", "dev/ci"),
        json!({"name": "ci", "namespace": "dev", "uid": "uid-ci", "creationTimestamp": "2024-01-15 12:00:00 +0000 UTC", "labels": {}, "annotations": {}})
    );
    assert_eq!(
        file.profile("namespace_role", "dev/r"),
        json!({"name": "r", "namespace": "dev", "uid": "uid-r", "creationTimestamp": "2024-01-15 12:00:00 +0000 UTC", "rules": []})
    );
    let texts: Vec<String> = file
        .entitlements
        .iter()
        .filter(|e| !e.on.id.contains("AmazonEKS") || e.on.id.ends_with("/AmazonEKSViewPolicy"))
        .map(|e| {
            format!(
                "{}:{}|{}|{}|{}|{}",
                e.on.id.rsplit('/').next().unwrap(),
                e.slug,
                e.display_name,
                attribute(&e.attributes, "description").unwrap(),
                e.purpose,
                e.grantable_to.join(",")
            )
        })
        .collect();
    for text in [
        "ci:impersonate|Impersonate ci|Grants the ability to impersonate the ci service account|permission|role,cluster_role",
        "*:impersonate|Impersonate All Service Account|Grants the ability to impersonate the All Service Account service account|permission|role,cluster_role",
        "cfg:patch|patch cfg|Grants patch permission on the cfg configmap|permission|role,cluster_role",
        "*:get|get All Config Map|Grants get permission on the All Config Map configmap|permission|role,cluster_role",
        "view:all:member|view Cluster Role Member|Grants membership to the view cluster role|assignment|service_account,group,user,role",
        "view:dev:member|view Cluster Role Member in dev namespace|Grants membership to the view cluster role in namespace dev|assignment|service_account,group,user,role",
        "r:member|r Role Member|Grants membership to the r role|assignment|user,group",
        "app:assignment|app Role|Can assume the app role in AWS|assignment|iam_user",
        "AmazonEKSViewPolicy:assigned:dev|AmazonEKSViewPolicy access policy scoped to 'dev' namespace|Grants assignment to the AmazonEKSViewPolicy access policy in namespace 'dev'.|assignment|iam_user,role",
        "AmazonEKSViewPolicy:assigned:cluster|AmazonEKSViewPolicy access policy (cluster scope)|Grants assignment to the AmazonEKSViewPolicy access policy for the entire cluster.|assignment|iam_user,role",
    ] {
        assert!(texts.iter().any(|t| t == text), "{text}\n{texts:#?}");
    }
    let verbs: Vec<&str> = file
        .entitlements
        .iter()
        .filter(|e| e.on.id == "dev/cfg")
        .map(|e| e.slug.as_str())
        .collect();
    assert_eq!(
        verbs,
        [
            "get", "list", "watch", "create", "update", "patch", "delete"
        ]
    );
    let slugs: Vec<&str> = file
        .entitlements
        .iter()
        .filter(|e| e.on.kind == "cluster_role" || e.on.id.ends_with("/AmazonEKSViewPolicy"))
        .map(|e| e.slug.as_str())
        .collect();
    assert_eq!(
        slugs,
        [
            "all:member",
            "dev:member",
            "assigned:dev",
            "assigned:cluster"
        ]
    );
}

#[test]
fn the_descriptor_has_kinds_settings_and_rights_in_order() {
    let d = crate::session::describe();
    let kinds: Vec<&str> = d.kinds.iter().map(|k| k.name.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "namespace",
            "service_account",
            "configmap",
            "cluster_role",
            "namespace_role",
            "role",
            "access_policy",
            "kube_group",
            "kube_user",
            "iam_user",
            "user",
            "group"
        ]
    );
    assert!(d.settings.iter().all(|s| {
        ["secret", "token", "password", "key", "credential"]
            .iter()
            .all(|w| !s.name.contains(w))
    }));
    assert_eq!(
        d.upstreams
            .iter()
            .map(|u| u.rights.len())
            .collect::<Vec<_>>(),
        [7, 1, 8]
    );
    assert!(
        d.upstreams
            .iter()
            .flat_map(|u| &u.rights)
            .all(|r| r.group == "read")
    );
}

#[test]
fn only_used_namespaces_have_entitlements_if_asked_so() {
    let mut cloud = Cloud::default()
        .bound_in("dev", "b", "view", &["User:x"])
        .bound_in("default", "empty", "view", &[]);
    cloud.namespaces = vec![
        "dev".into(),
        "default".into(),
        "team-1".into(),
        "team-2".into(),
    ];
    cloud.entries.push(entry(&user("bob"), "bob", &[]));
    cloud.associations.push((
        user("bob"),
        "AmazonEKSViewPolicy".into(),
        json!({"type": "namespace", "namespaces": ["team-*"]}),
    ));
    let file = try_sync(cloud, &[("namespace-entitlements", "bound")]).unwrap();
    let of = |end: &str| {
        file.entitlements
            .iter()
            .filter(|e| e.on.id.ends_with(end))
            .map(|e| e.slug.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("view"), ["all:member", "dev:member"]);
    assert_eq!(
        of("EKSViewPolicy"),
        [
            "assigned:team-*",
            "assigned:team-1",
            "assigned:team-2",
            "assigned:cluster"
        ]
    );
    assert_eq!(of("EKSEditPolicy"), ["assigned:cluster"]);
}

#[test]
fn a_namespace_that_lists_race_with_keeps_its_grants() {
    let file = sync(Cloud::default().bound_in("brand-new", "b", "view", &["User:x"]));
    assert_eq!(
        file.holders("cluster_role:view:brand-new:member"),
        ["kube_user:x"]
    );
}
