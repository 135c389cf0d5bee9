//! What EKS access policies allow: the guide's tables, in short.
//!
//! AWS serves names only, the rules are documentation. This is a transcription
//! for authorising callers of the simulator; it is on purpose not shared with
//! anything that it could then agree with by construction.

use super::identity::Subject;
use super::rbac::Attributes;
use crate::text::glob;

const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];
const WORKLOADS: [&str; 20] = [
    "configmaps",
    "endpoints",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "serviceaccounts",
    "services",
    "namespaces",
    "events",
    "limitranges",
    "pods/log",
    "pods/status",
    "resourcequotas",
    "deployments",
    "daemonsets",
    "replicasets",
    "statefulsets",
    "cronjobs",
    "jobs",
    "ingresses",
];
const EDITABLE: [&str; 16] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "secrets",
    "serviceaccounts",
    "services",
    "deployments",
    "daemonsets",
    "replicasets",
    "statefulsets",
    "cronjobs",
    "jobs",
    "ingresses",
    "pods/exec",
    "pods/portforward",
];

pub(crate) fn allow(who: &Subject, want: &Attributes) -> bool {
    who.policies
        .iter()
        .any(|(policy, scope)| in_scope(scope.as_deref(), want) && rule(policy, want))
}

fn in_scope(scope: Option<&[String]>, want: &Attributes) -> bool {
    match scope {
        None => true,
        Some(patterns) => {
            want.path.is_none()
                && !want.namespace.is_empty()
                && patterns.iter().any(|p| glob(p, &want.namespace))
        }
    }
}

fn rule(policy: &str, want: &Attributes) -> bool {
    let verb = want.verb.as_str();
    if want.path.is_some() {
        return policy == "AmazonEKSClusterAdminPolicy";
    }
    let rbac = want.group == super::store::RBAC;
    let view = !rbac && READ.contains(&verb) && WORKLOADS.contains(&want.resource.as_str());
    let edit = view
        || (!rbac
            && EDITABLE.contains(&want.resource.as_str())
            && (WRITE.contains(&verb) || READ.contains(&verb)))
        || (want.resource == "serviceaccounts" && verb == "impersonate");
    match policy {
        "AmazonEKSClusterAdminPolicy" => true,
        "AmazonEKSAdminViewPolicy" => READ.contains(&verb),
        "AmazonEKSAdminPolicy" => {
            edit || (rbac
                && ["roles", "rolebindings"].contains(&want.resource.as_str())
                && (WRITE.contains(&verb) || READ.contains(&verb)))
        }
        "AmazonEKSEditPolicy" => edit,
        "AmazonEKSViewPolicy" => view,
        "AmazonEKSSecretReaderPolicy" => {
            want.group.is_empty() && want.resource == "secrets" && READ.contains(&verb)
        }
        "AmazonEKSSecretAdminPolicy" => want.group.is_empty() && want.resource == "secrets",
        _ => false,
    }
}
