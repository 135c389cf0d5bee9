//! Rows, texts and their order: what stands in the file before anybody holds
//! anything.

use serde_json::json;

use super::cloud::*;

/// A small cluster with something of everything, row by row. `golden.txt` was
/// checked by eye against what tenants know from the connector that this one
/// replaces; a difference here is a difference for every tenant.
#[test]
fn a_complete_small_cluster_reads_line_by_line_as_it_always_did() {
    let full = role("team/Dev");
    let mut cloud = Cloud::default();
    cloud.namespaces = ["all", "dev-1"].map(String::from).to_vec();
    cloud.service_accounts = vec![account("dev-1", "ci")];
    cloud.config_maps = vec![account("dev-1", "cfg")];
    let mut view = json!({"metadata": meta("", "view"), "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}], "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"view": "true"}}]}});
    view["metadata"]["labels"] = json!({"team": "a"});
    cloud.cluster_roles = vec![json!({"metadata": meta("", "cluster-admin")}), view];
    cloud.roles = vec![json!({"metadata": meta("dev-1", "r")})];
    cloud.iam.push((
        full.clone(),
        "2023-01-01T00:00:00Z".into(),
        trust(json!([{"Effect": "Allow", "Principal": {"AWS": user("bob")}, "Action": "sts:AssumeRole"}])),
    ));
    cloud.policies = vec!["AmazonEKSViewPolicy".into()];
    cloud.entries = vec![entry(&full, "", &["devs"]), entry(&user("bob"), "bob", &[])];
    cloud.associations = vec![
        (
            full.clone(),
            "AmazonEKSViewPolicy".into(),
            json!({"type": "namespace", "namespaces": ["dev-*"]}),
        ),
        (
            user("bob"),
            "AmazonEKSViewPolicy".into(),
            json!({"type": "cluster", "namespaces": []}),
        ),
    ];
    let file = sync(
        cloud
            .aws_auth(
                "mapUsers",
                &format!("- userarn: {}\n  groups: [system:masters]\n", user("ops")),
            )
            .bound("devs", "view", &["Group:devs", "User:bob"])
            .bound_in("dev-1", "ci", "view", &["ServiceAccount:/ci"])
            .bound_in(
                "dev-1",
                "r",
                "Role:r",
                &["Group:devs", "Group:system:authenticated", "User:jane@oidc"],
            ),
    );
    let told = |list: &[(String, String)]| -> String {
        list.iter()
            .map(|(k, v)| format!("\n    {k}: {v}"))
            .collect()
    };
    let mut lines = Vec::new();
    for o in &file.objects {
        let parent = o
            .parent
            .as_ref()
            .map_or(String::new(), |p| format!(" in {}:{}", p.kind, p.id));
        let profile = o
            .profile
            .as_ref()
            .map_or(String::new(), |p| format!("\n    profile: {p}"));
        lines.push(format!(
            "object {}:{} \"{}\"{parent}{profile}{}",
            o.id.kind,
            o.id.id,
            o.display_name,
            told(&o.attributes)
        ));
    }
    for e in &file.entitlements {
        lines.push(format!(
            "entitlement {}:{}:{} \"{}\"\n    {} to {}{}",
            e.on.kind,
            e.on.id,
            e.slug,
            e.display_name,
            e.purpose,
            e.grantable_to.join(" "),
            told(&e.attributes)
        ));
    }
    for g in &file.grants {
        lines.push(format!("grant {}{}", grant_id(g), told(&g.attributes)));
    }
    let text = format!("{}\n", lines.join("\n"));
    let golden = include_str!("golden.txt");
    for (at, (now, then)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(now, then, "line {} of golden.txt", at + 1);
    }
    assert_eq!(text, golden);
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
        "view:all:member|view Cluster Role Member|Grants membership to the view cluster role|assignment|service_account,group,user,role,iam_user",
        "view:dev:member|view Cluster Role Member in dev namespace|Grants membership to the view cluster role in namespace dev|assignment|service_account,group,user,role,iam_user",
        "r:member|r Role Member|Grants membership to the r role|assignment|user,group,service_account,role,iam_user",
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
    let rights = |group: &str| -> Vec<usize> {
        let of = |u: &crate::bindings::UpstreamSpec| {
            u.rights.iter().filter(|r| r.group == group).count()
        };
        d.upstreams.iter().map(of).collect()
    };
    assert_eq!(rights("read"), [7, 1, 8]);
    assert_eq!(rights("provision"), [6, 0, 10]);
    assert!(
        d.upstreams
            .iter()
            .flat_map(|u| &u.rights)
            .all(|r| !r.allow.contains("leases"))
    );
    let with = |capability: &str| -> Vec<&str> {
        let kinds = d
            .kinds
            .iter()
            .filter(|k| k.capabilities.iter().any(|c| c == capability));
        kinds.map(|k| k.name.as_str()).collect()
    };
    assert_eq!(
        with("provision"),
        ["cluster_role", "namespace_role", "access_policy"]
    );
    assert_eq!(with("sync"), kinds[..9]);
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
