//! Who is who, where names are treacherous. Each test is a disagreement that the
//! plain evaluator of `oracle` found once, or a neighbour of one.

use serde_json::json;

use super::cloud::*;

const VIEW: &str = "cluster_role:view:all:member";

fn certainty(file: &File, who: &str) -> String {
    file.metadata(&format!("{VIEW}:{who}"))["certainty"]
        .as_str()
        .unwrap()
        .to_string()
}

#[test]
fn a_mapped_account_gives_rows_to_roles_that_nothing_else_names() {
    let far = format!("arn:aws:iam::{OTHER}:role/far");
    let file = sync(
        Cloud::default()
            .aws_auth("mapAccounts", &format!("- '{ACCOUNT}'\n- '{OTHER}'\n"))
            .bound(
                "b",
                "view",
                &[&format!("User:{far}"), &format!("User:{}", role("gone"))],
            ),
    );
    assert_eq!(file.profile("role", &far)["external"], true);
    assert_eq!(certainty(&file, &format!("role:{far}")), "certain");
    assert_eq!(
        certainty(&file, &format!("role:{}", role("gone"))),
        "latent"
    );
}

#[test]
fn a_mapped_account_compares_the_user_name_as_it_is_spelt() {
    let mut cloud = Cloud::default()
        .with_role("dev", &no_trust())
        .aws_auth("mapAccounts", &format!("- '{ACCOUNT}'\n"));
    cloud
        .iam
        .push((role("team/ops"), "2023-01-01T00:00:00Z".into(), no_trust()));
    let file = sync(cloud.bound(
        "b",
        "view",
        &[
            &format!("User:{}", role("DEV")),
            &format!("User:{}", role("team/ops")),
            &format!("User:arn:aws-cn:iam::{ACCOUNT}:user/bob"),
            &format!("User:ARN:aws:iam::{ACCOUNT}:user/bob"),
            &format!("User:{}", role("ops")),
        ],
    ));
    let people: Vec<String> = file
        .holders(VIEW)
        .into_iter()
        .filter(|h| !h.starts_with("kube_user:"))
        .collect();
    assert_eq!(people, [format!("role:{}", role("team/ops"))]);
    assert_eq!(file.holders(VIEW).len(), 5);
}

#[test]
fn a_mapped_account_does_not_yield_to_somebody_elses_user_name() {
    let file = sync(
        Cloud::default()
            .aws_auth("mapAccounts", &format!("- '{ACCOUNT}'\n"))
            .aws_auth(
                "mapUsers",
                &format!(
                    "- {{userarn: '{}', username: '{}'}}\n",
                    user("eve"),
                    user("bob")
                ),
            )
            .bound("b", "view", &[&format!("User:{}", user("bob"))]),
    );
    assert_eq!(
        file.holders(VIEW),
        [
            format!("iam_user:{}", user("bob")),
            format!("iam_user:{}", user("eve"))
        ]
    );
}

#[test]
fn a_mapped_account_is_doubtful_behind_an_entry_that_could_not_be_described() {
    let mut cloud = Cloud::default()
        .aws_auth("mapAccounts", &format!("- '{ACCOUNT}'\n"))
        .bound("b", "view", &[&format!("User:{}", user("bob"))]);
    cloud.entries.push(entry(&user("bob"), "other", &[]));
    cloud.faults.push((
        "eks:DescribeAccessEntry",
        "bob",
        aws_error(500, "ServerException", "it broke"),
    ));
    let file = sync(cloud);
    assert_eq!(
        certainty(&file, &format!("iam_user:{}", user("bob"))),
        "conditional"
    );
}

#[test]
fn a_principal_with_a_service_accounts_user_name_has_what_is_bound_to_it() {
    let lines = format!(
        "- {{rolearn: '{}', username: 'system:serviceaccount:dev:ci'}}\n- {{rolearn: '{}', username: 'system:serviceaccount:dev:{{{{SessionName}}}}'}}\n",
        role("exact"),
        role("any")
    );
    let mut cloud = Cloud::default()
        .with_role("exact", &no_trust())
        .with_role("any", &no_trust())
        .aws_auth("mapRoles", &lines)
        .bound_in("dev", "b", "view", &["ServiceAccount:/ci"]);
    cloud.service_accounts = vec![account("dev", "ci")];
    let file = sync(cloud);
    let on = "cluster_role:view:dev:member";
    assert_eq!(
        file.holders(on),
        [
            format!("role:{}", role("any")),
            format!("role:{}", role("exact")),
            "service_account:dev/ci".into()
        ]
    );
    assert_eq!(
        file.metadata(&format!("{on}:role:{}", role("any")))["certainty"],
        "session"
    );
}

#[test]
fn rivals_in_map_users_do_not_cloud_the_line_of_map_roles() {
    let file = sync(
        Cloud::default()
            .aws_auth(
                "mapRoles",
                &format!("- {{rolearn: '{}', username: bob}}\n", user("bob")),
            )
            .aws_auth(
                "mapUsers",
                &format!(
                    "- {{userarn: '{}', username: x}}\n- {{userarn: '{}', username: y}}\n",
                    user("bob"),
                    user("BOB")
                ),
            )
            .bound("b", "view", &["User:bob", "User:x", "User:y"]),
    );
    assert_eq!(
        certainty(&file, &format!("iam_user:{}", user("bob"))),
        "certain"
    );
    assert_eq!(file.evidence_of("shadowed-line").len(), 2);
    assert!(file.evidence_of("ambiguous-line").is_empty());
}

#[test]
fn a_line_of_another_partition_is_dead() {
    let file = sync(
        Cloud {
            partition: "aws-us-gov",
            ..Cloud::default()
        }
        .aws_auth(
            "mapUsers",
            &format!("- {{userarn: '{}', username: bob}}\n", user("bob")),
        )
        .bound("b", "view", &["User:bob"]),
    );
    assert_eq!(file.holders(VIEW), ["kube_user:bob"]);
    assert!(
        file.evidence_of("dead-line")[0]["reason"]
            .as_str()
            .unwrap()
            .contains("aws-us-gov")
    );
}

#[test]
fn a_template_that_nobody_can_fill_denies_and_does_not_fall_through() {
    let file = sync(
        Cloud::default()
            .aws_auth(
                "mapUsers",
                &format!(
                    "- {{userarn: '{}', username: bob, groups: [devs, 'n:{{{{EC2PrivateDNSName}}}}']}}\n",
                    user("bob")
                ),
            )
            .aws_auth("mapAccounts", &format!("- '{ACCOUNT}'\n"))
            .bound(
                "b",
                "view",
                &["User:bob", "Group:devs", &format!("User:{}", user("bob"))],
            ),
    );
    assert!(file.holders(VIEW).iter().all(|h| h.starts_with("kube_")));
    assert_eq!(file.evidence_of("dead-line").len(), 1);
}

#[test]
fn a_mapping_for_instances_is_of_no_use_in_other_sessions() {
    let file = sync(
        Cloud::default()
            .with_role("node", &no_trust())
            .aws_auth(
                "mapRoles",
                &format!(
                    "- {{rolearn: '{}', username: 'n:{{{{SessionName}}}}', groups: ['h:{{{{EC2PrivateDNSName}}}}']}}\n",
                    role("node")
                ),
            )
            .bound("b", "view", &["User:n:alice", "User:n:i-0abc", "Group:h:ip-10-0-0-1"]),
    );
    let node = file.metadata(&format!("{VIEW}:role:{}", role("node")));
    assert_eq!(
        (node["certainty"].as_str(), node["path_count"].as_u64()),
        (Some("session"), Some(2))
    );
    assert_eq!(certainty(&file, "kube_user:n:alice"), "latent");
}

#[test]
fn the_session_of_a_federated_user_is_its_name() {
    let arn = format!("arn:aws:sts::{ACCOUNT}:federated-user/fed@x");
    let file = sync(
        Cloud::default()
            .aws_auth(
                "mapUsers",
                &format!("- {{userarn: '{arn}', username: 'f:{{{{SessionName}}}}'}}\n"),
            )
            .bound("b", "view", &["User:f:fed-x", "User:f:other"]),
    );
    assert_eq!(certainty(&file, &format!("iam_user:{arn}")), "certain");
    assert_eq!(file.holders(VIEW).len(), 2);
}

#[test]
fn bindings_to_a_cluster_admin_that_is_not_there_give_nothing() {
    let mut cloud = Cloud::default()
        .aws_auth(
            "mapUsers",
            &format!(
                "- {{userarn: '{}', groups: ['system:masters']}}\n- {{userarn: '{}', username: bob}}\n",
                user("root"),
                user("bob")
            ),
        )
        .bound("b", "cluster-admin", &["User:bob"])
        .bound_in("dev", "b", "cluster-admin", &["User:bob"]);
    cloud.cluster_roles.clear();
    let file = sync(cloud);
    assert_eq!(
        file.ids(),
        [format!(
            "cluster_role:cluster-admin:all:member:iam_user:{}",
            user("root")
        )]
    );
    assert_eq!(file.evidence_of("dangling-role").len(), 1);
}

#[test]
fn a_policy_for_people_on_a_node_entry_is_a_grant() {
    let mut cloud = Cloud::default().with_role("node", &no_trust());
    let mut node = entry(&role("node"), "", &[]);
    node["type"] = "EC2".into();
    cloud.entries.push(node);
    for policy in ["AmazonEKSAutoNodePolicy", "AmazonEKSClusterAdminPolicy"] {
        cloud
            .associations
            .push((role("node"), policy.into(), json!({"type": "cluster"})));
    }
    let file = sync(cloud);
    assert_eq!(
        file.ids(),
        [format!(
            "access_policy:arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy:assigned:cluster:role:{}",
            role("node")
        )]
    );
    let meta = file.metadata(&file.ids()[0]);
    assert_eq!(meta["certainty"], "certain");
    assert_eq!(file.evidence_of("dead-policy").len(), 1);
}

#[test]
fn a_scope_reaches_a_namespace_that_only_bindings_know_yet() {
    let mut cloud = Cloud::default().bound_in("brand-new", "b", "view", &["User:x"]);
    cloud.entries.push(entry(&user("bob"), "bob", &[]));
    cloud.associations.push((
        user("bob"),
        "AmazonEKSViewPolicy".into(),
        json!({"type": "namespace", "namespaces": ["brand-*"]}),
    ));
    let file = sync(cloud);
    let on =
        "access_policy:arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy:assigned:brand-";
    for slug in ["*", "new"] {
        let id = format!("{on}{slug}:iam_user:{}", user("bob"));
        assert_eq!(file.metadata(&id)["certainty"], "certain");
    }
}

#[test]
fn a_policy_of_an_entry_that_was_not_there_is_evidence() {
    let mut cloud = Cloud::default();
    cloud.associations.push((
        user("late"),
        "AmazonEKSViewPolicy".into(),
        json!({"type": "cluster"}),
    ));
    let file = sync(cloud);
    assert!(file.grants.is_empty());
    assert_eq!(
        file.evidence_of("dead-policy")[0]["principal"],
        user("late")
    );
}

#[test]
fn a_service_account_that_is_not_there_holds_what_names_it_only_latently() {
    let file = sync(Cloud::default().bound(
        "b",
        "view",
        &[
            "ServiceAccount:dev/none",
            "User:system:serviceaccount:dev:nor",
            "Group:system:serviceaccounts:dev",
        ],
    ));
    for who in [
        "service_account:dev/none",
        "service_account:dev/nor",
        "kube_group:system:serviceaccounts:dev",
    ] {
        assert_eq!(certainty(&file, who), "latent", "{who}");
    }
    assert_eq!(file.holders(VIEW).len(), 3);
    assert_eq!(file.profile("service_account", "dev/nor")["exists"], false);
}
