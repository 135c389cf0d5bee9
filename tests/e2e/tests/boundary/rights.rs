//! A component whose descriptor names more than the ceiling is not even shown
//! a cluster.

use baton_host::job;
use baton_host::sandbox::Component;
use e2e::guests;
use serde_json::{Value, json};

use crate::page::{Room, code, plain};

async fn refused(what: &str, upstream: Value) -> Vec<String> {
    let (sandbox, _) = guests::shared().await;
    let json = json!({ "upstreams": [upstream] });
    let bytes = guests::declares(&json.to_string());
    let component = Component::load(sandbox, bytes, |_| false).await.unwrap();
    let error = job::declared(component.descriptor()).expect_err(what);
    assert!(error.to_string().contains(what), "{error}");
    vec![
        code(&upstream_words(&upstream)),
        "at load, before it is given anything".to_owned(),
        format!("no row; the sentence is: {}", plain(&error.to_string())),
    ]
}

fn upstream_words(upstream: &Value) -> String {
    let service = upstream[2][0][1].as_str();
    let kind = upstream[1].as_str().unwrap();
    let right = upstream[3][0][1].as_str();
    let group = upstream[3][0][0].as_str();
    let mut words = kind.to_owned();
    for word in [service, group, right].into_iter().flatten() {
        words.push(' ');
        words.push_str(word);
    }
    words
}

pub async fn room() -> Room {
    let aws = |service: &str| json!([["service", service]]);
    let mut services = Vec::new();
    for service in ["sts", "s3", "sqs", "sns", "ssm", "secretsmanager", "EKS"] {
        services.push(refused(service, json!(["up", "aws", aws(service), []])).await);
    }
    let mut rights = Vec::new();
    for (kind, attributes, group, right) in [
        ("aws", aws("eks"), "read", "eks:ListClusters"),
        ("aws", aws("eks"), "read", "sts:AssumeRole"),
        ("aws", aws("eks"), "provision", "eks:UpdateClusterConfig"),
        (
            "aws",
            aws("eks"),
            "provision",
            "eks:AssociateIdentityProviderConfig",
        ),
        ("aws", aws("iam"), "provision", "iam:AttachRolePolicy"),
        ("aws", aws("iam"), "read", "iam:*"),
        // A right of another group than the host's.
        (
            "aws",
            aws("iam"),
            "read",
            "iam:GetAccountAuthorizationDetails",
        ),
        ("eks-cluster", json!([]), "read", "list secrets"),
        ("eks-cluster", json!([]), "read", "get pods/log"),
        ("eks-cluster", json!([]), "read", "get nodes/proxy"),
        ("eks-cluster", json!([]), "read", "watch namespaces"),
        ("eks-cluster", json!([]), "read", "list *"),
        ("eks-cluster", json!([]), "provision", "impersonate users"),
        (
            "eks-cluster",
            json!([]),
            "provision",
            "escalate rbac.authorization.k8s.io/clusterroles",
        ),
    ] {
        rights.push(refused(right, json!(["up", kind, attributes, [[group, right]]])).await);
    }
    Room {
        title: "Rights that no plugin gets (R1, R3, R7)",
        about: "What the host does not know does not exist: the ceiling is host code, and a plugin that declares more does not load. Approving it is not possible.",
        columns: crate::lab::COLUMNS,
        groups: vec![
            ("Services outside the closed list", services),
            ("Rights above the ceiling", rights),
        ],
    }
}
