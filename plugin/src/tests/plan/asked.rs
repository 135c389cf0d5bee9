//! How the tests of plans ask, and what they look at.

use serde_json::{Value, json};

use super::apply::{plan, wish};
use crate::bindings::{Change, Grant, Plan};
use crate::tests::cloud::*;

pub const VIEW: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";
pub const ADMIN: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy";

/// `cluster_role:view:dev:member` and `role:ARN` or `dev/ci`.
pub fn asked(entitlement: &str, principal: &str) -> Grant {
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

pub fn body(change: &Change) -> Value {
    serde_json::from_str(change.body.as_deref().unwrap()).unwrap()
}

/// `POST rolebindings`, `DELETE access-entries/ARN`.
pub fn steps(plan: &Plan) -> Vec<String> {
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

pub fn refused(cloud: &Cloud, direction: crate::plan::Direction, wish: &Grant) -> (String, String) {
    let error = plan(cloud, direction, wish).unwrap_err();
    (error.kind, error.message)
}

pub fn told<'a>(plan: &'a Plan, key: &str) -> Vec<&'a str> {
    let all = plan.attributes.iter().filter(|(k, _)| k == key);
    all.map(|(_, v)| v.as_str()).collect()
}

pub fn api() -> Cloud {
    Cloud {
        mode: json!("API"),
        ..Cloud::default()
    }
    .with_role("dev", &no_trust())
}

pub fn config_map() -> Cloud {
    Cloud {
        mode: json!("CONFIG_MAP"),
        ..Cloud::default()
    }
    .with_role("dev", &no_trust())
}

pub fn accounts(cloud: &mut Cloud) {
    cloud.service_accounts = vec![account("dev", "ci"), account("dev", "web")];
}
