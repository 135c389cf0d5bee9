//! With every right there is, approved, a sandbox still writes nothing.

use serde_json::{Value, json};

use crate::lab::{COLUMNS, Lab, send};
use crate::page::Room;

pub async fn room() -> Room {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let entry = "/clusters/lab/access-entries/arn%3Aaws%3Aiam%3A%3A111122223333%3Auser%2Falice";
    let aws = |method: &str, path: &str, body: &str| send(method, "eks", path, body);
    let cluster = |method: &str, path: &str, body: &str| send(method, "kubernetes", path, body);
    let binding = format!("{rbac}/namespaces/web/rolebindings/developers");
    let ideas: Vec<(&'static str, Vec<Value>)> = vec![
        (
            "Access given at EKS, with all of the group `provision` approved",
            vec![
                aws(
                    "POST",
                    "/clusters/lab/access-entries",
                    r#"{"principalArn":"arn:aws:iam::111122223333:user/alice"}"#,
                ),
                aws("POST", entry, r#"{"kubernetesGroups":["system:masters"]}"#),
                aws("DELETE", entry, ""),
                aws(
                    "POST",
                    &format!("{entry}/access-policies"),
                    r#"{"policyArn":"arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy","accessScope":{"type":"cluster"}}"#,
                ),
            ],
        ),
        (
            "Access given in the cluster, likewise",
            vec![
                cluster(
                    "POST",
                    &format!("{rbac}/clusterrolebindings"),
                    r#"{"roleRef":{"name":"cluster-admin"}}"#,
                ),
                cluster("POST", &format!("{rbac}/clusterrolebindings?dryRun=All"), "{}"),
                cluster("POST", &format!("{rbac}/clusterroles"), "{}"),
                cluster("PUT", &binding, "{}"),
                cluster("PATCH", &binding, "{}"),
                cluster("DELETE", &binding, "{}"),
                cluster(
                    "PUT",
                    "/api/v1/namespaces/kube-system/configmaps/aws-auth",
                    "{}",
                ),
                cluster(
                    "POST",
                    "/api/v1/namespaces/kube-system/configmaps",
                    r#"{"metadata":{"name":"aws-auth"}}"#,
                ),
                cluster("DELETE", "/api/v1/namespaces", ""),
            ],
        ),
        (
            "Methods that nobody thinks of",
            ["HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "WATCH"]
                .into_iter()
                .flat_map(|method| {
                    ["kubernetes", "eks", "iam"].map(|authority| {
                        json!({ "method": method, "authority": authority, "path": "/api/v1/namespaces" })
                    })
                })
                .collect(),
        ),
    ];
    Room {
        title: "A sandbox never writes (R1, R3, R4)",
        about: "A plugin plans changes as data, and the host makes them. A request that would change something is refused whatever was approved, and the session of a sync could not make it at AWS either.",
        columns: COLUMNS,
        groups: Lab::everything().await.refuses(ideas).await,
    }
}

/// The role of a session that reads is narrowed to reading, even for a plugin
/// that was approved for more: AWS has the last word.
#[tokio::test]
async fn a_session_that_reads_cannot_write_whatever_is_approved() {
    for groups in [&["read"][..], &["read", "identities", "provision"]] {
        let lab = Lab::new(groups).await;
        let policy = &lab.assumed;
        assert!(
            policy.contains("Policy=") && policy.contains("ListAccessEntries"),
            "{policy}"
        );
        for write in [
            "Create",
            "Update",
            "Delete",
            "Associate",
            "Disassociate",
            "TagResource",
        ] {
            assert!(
                !policy.contains(&format!("eks%3A{write}")),
                "{write}: {policy}"
            );
        }
    }
    let approved = Lab::everything().await.assumed.clone();
    assert!(
        approved.contains("GetAccountAuthorizationDetails"),
        "{approved}"
    );
}
