//! What EKS access policies allow. EKS tells their names and ARNs only, so the
//! rules are a table here, made from the user guide: [`SOURCE`], [`AS_OF`].
//!
//! Policies that are not in the table are for AWS's own services; the guide
//! describes them in words, and a review says that their rules are not known.

use super::rules::Rule;

/// Where the rules are published.
pub const SOURCE: &str =
    "https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html";

/// The date of the last change to a policy that the guide listed when the
/// table was made.
pub const AS_OF: &str = "2025-11-06";

/// What a policy allows, and how we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its rules.
    pub rules: Vec<Rule>,
    /// Whether the guide publishes them; else they are taken from the
    /// policy's name.
    pub published: bool,
}

/// The rules of a policy by its name or its ARN in any partition; `None` where
/// they are not known.
#[must_use]
pub fn policy(name_or_arn: &str) -> Option<Policy> {
    let name = match name_or_arn.split_once(":cluster-access-policy/") {
        Some((arn, name)) if arn.starts_with("arn:") => name,
        _ => name_or_arn,
    };
    let published = |rules| {
        Some(Policy {
            rules,
            published: true,
        })
    };
    match name {
        "AmazonEKSClusterAdminPolicy" => published(everything()),
        "AmazonEKSAdminPolicy" => published([view(), edit(), admin()].concat()),
        "AmazonEKSEditPolicy" => published([view(), edit()].concat()),
        "AmazonEKSViewPolicy" => published(view()),
        "AmazonEKSAdminViewPolicy" => published(vec![rule(&["*"], &["*"], READ)]),
        "AmazonEKSSecretReaderPolicy" => published(vec![rule(&[""], &["secrets"], READ)]),
        "AmazonEKSSecretAdminPolicy" => Some(Policy {
            rules: vec![
                rule(&[""], &["secrets"], READ),
                rule(&[""], &["secrets"], WRITE),
            ],
            published: false,
        }),
        _ => None,
    }
}

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Rule {
    let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    Rule {
        verbs: own(verbs),
        api_groups: own(groups),
        resources: own(resources),
        ..Rule::default()
    }
}

/// The rules that everything is allowed by, as cluster-admin has them too.
#[must_use]
pub fn everything() -> Vec<Rule> {
    vec![
        rule(&["*"], &["*"], &["*"]),
        Rule {
            verbs: vec!["*".to_owned()],
            non_resource_urls: vec!["*".to_owned()],
            ..Rule::default()
        },
    ]
}

fn view() -> Vec<Rule> {
    vec![
        rule(
            &[""],
            &[
                "bindings",
                "configmaps",
                "endpoints",
                "events",
                "limitranges",
                "namespaces",
                "namespaces/status",
                "persistentvolumeclaims",
                "persistentvolumeclaims/status",
                "pods",
                "pods/log",
                "pods/status",
                "replicationcontrollers",
                "replicationcontrollers/scale",
                "replicationcontrollers/status",
                "resourcequotas",
                "resourcequotas/status",
                "serviceaccounts",
                "services",
                "services/status",
            ],
            READ,
        ),
        rule(
            &["apps"],
            &[
                "controllerrevisions",
                "daemonsets",
                "daemonsets/status",
                "deployments",
                "deployments/scale",
                "deployments/status",
                "replicasets",
                "replicasets/scale",
                "replicasets/status",
                "statefulsets",
                "statefulsets/scale",
                "statefulsets/status",
            ],
            READ,
        ),
        rule(
            &["autoscaling"],
            &[
                "horizontalpodautoscalers",
                "horizontalpodautoscalers/status",
            ],
            READ,
        ),
        rule(
            &["batch"],
            &["cronjobs", "cronjobs/status", "jobs", "jobs/status"],
            READ,
        ),
        rule(&["discovery.k8s.io"], &["endpointslices"], READ),
        rule(
            &["extensions"],
            &[
                "daemonsets",
                "daemonsets/status",
                "deployments",
                "deployments/scale",
                "deployments/status",
                "ingresses",
                "ingresses/status",
                "networkpolicies",
                "replicasets",
                "replicasets/scale",
                "replicasets/status",
                "replicationcontrollers/scale",
            ],
            READ,
        ),
        rule(
            &["networking.k8s.io"],
            &["ingresses", "ingresses/status", "networkpolicies"],
            READ,
        ),
        rule(
            &["policy"],
            &["poddisruptionbudgets", "poddisruptionbudgets/status"],
            READ,
        ),
    ]
}

/// What the edit policy has beyond the view policy.
fn edit() -> Vec<Rule> {
    vec![
        rule(
            &[""],
            &[
                "pods/attach",
                "pods/exec",
                "pods/portforward",
                "pods/proxy",
                "secrets",
                "services/proxy",
            ],
            READ,
        ),
        rule(
            &[""],
            &[
                "configmaps",
                "events",
                "persistentvolumeclaims",
                "pods",
                "pods/attach",
                "pods/exec",
                "pods/portforward",
                "pods/proxy",
                "replicationcontrollers",
                "replicationcontrollers/scale",
                "secrets",
                "serviceaccounts",
                "services",
                "services/proxy",
            ],
            WRITE,
        ),
        rule(&[""], &["serviceaccounts"], &["impersonate"]),
        rule(
            &["apps"],
            &[
                "daemonsets",
                "deployments",
                "deployments/rollback",
                "deployments/scale",
                "replicasets",
                "replicasets/scale",
                "statefulsets",
                "statefulsets/scale",
            ],
            WRITE,
        ),
        rule(&["autoscaling"], &["horizontalpodautoscalers"], WRITE),
        rule(&["batch"], &["cronjobs", "jobs"], WRITE),
        rule(
            &["extensions"],
            &[
                "daemonsets",
                "deployments",
                "deployments/rollback",
                "deployments/scale",
                "ingresses",
                "networkpolicies",
                "replicasets",
                "replicasets/scale",
                "replicationcontrollers/scale",
            ],
            WRITE,
        ),
        rule(
            &["networking.k8s.io"],
            &["ingresses", "networkpolicies"],
            WRITE,
        ),
        rule(&["policy"], &["poddisruptionbudgets"], WRITE),
    ]
}

/// What the admin policy has beyond the edit policy.
fn admin() -> Vec<Rule> {
    vec![
        rule(
            &["authorization.k8s.io"],
            &["localsubjectaccessreviews"],
            &["create"],
        ),
        rule(
            &["rbac.authorization.k8s.io"],
            &["rolebindings", "roles"],
            READ,
        ),
        rule(
            &["rbac.authorization.k8s.io"],
            &["rolebindings", "roles"],
            WRITE,
        ),
    ]
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::review::rules::{Given, Wish, gives};

    #[test]
    fn policies_allow_what_the_guide_says() {
        let can = |name: &str, verb: &str, resource: &str| {
            gives(&policy(name).unwrap().rules, &Wish::new(verb, resource)) == Given::Yes
        };
        for (verb, resource, view, edit, admin, admin_view) in [
            ("get", "pods", true, true, true, true),
            ("get", "pods/log", true, true, true, true),
            ("get", "secrets", false, true, true, true),
            ("create", "secrets", false, true, true, false),
            ("create", "pods/exec", false, true, true, false),
            ("impersonate", "serviceaccounts", false, true, true, false),
            ("impersonate", "users", false, false, false, false),
            ("create", "rolebindings", false, false, true, false),
            ("get", "roles", false, false, true, true),
            ("create", "clusterrolebindings", false, false, false, false),
            ("get", "nodes", false, false, false, true),
            ("escalate", "roles", false, false, false, false),
            (
                "create",
                "serviceaccounts/token",
                false,
                false,
                false,
                false,
            ),
            ("update", "deployments/scale", false, true, true, false),
        ] {
            let seen = [
                "AmazonEKSViewPolicy",
                "AmazonEKSEditPolicy",
                "AmazonEKSAdminPolicy",
                "AmazonEKSAdminViewPolicy",
            ]
            .map(|name| can(name, verb, resource));
            assert_eq!(seen, [view, edit, admin, admin_view], "{verb} {resource}");
            assert!(can("AmazonEKSClusterAdminPolicy", verb, resource));
        }
        assert!(can("AmazonEKSSecretReaderPolicy", "list", "secrets"));
        assert!(!can("AmazonEKSSecretReaderPolicy", "list", "configmaps"));
    }

    #[test]
    fn policies_are_found_by_their_arn_in_any_partition() {
        let arn = "arn:aws-us-gov:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";
        assert_eq!(policy(arn), policy("AmazonEKSViewPolicy"));
        assert!(policy(arn).unwrap().published);
        assert!(!policy("AmazonEKSSecretAdminPolicy").unwrap().published);
        assert_eq!(policy("AmazonEKSComputePolicy"), None);
        assert_eq!(policy("arn:aws:iam::aws:policy/AmazonEKSViewPolicy"), None);
    }

    #[test]
    fn everything_is_allowed_by_the_cluster_administrator() {
        assert_eq!(
            policy("AmazonEKSClusterAdminPolicy").unwrap().rules,
            everything()
        );
    }
}
