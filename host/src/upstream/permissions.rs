//! What a set of rights needs in AWS and in Kubernetes, in the words of each.
//!
//! All of it is derived from the same list as the filter at the boundary: the
//! session policy that narrows every assumed role, the documents that
//! `baton-host permissions` prints, and `docs/permissions.md` (a test compares).
//! Pure functions; who may see which account is the caller's business.

use std::collections::BTreeMap;

use serde::Serialize;

use super::rights::{On, Right, Shape};

/// Where the rights are used.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// `aws`, `aws-cn`, `aws-us-gov`, …
    pub partition: &'a str,
    /// The cluster's region.
    pub region: &'a str,
    /// The cluster's account, 12 digits.
    pub account: &'a str,
    /// The cluster's name.
    pub cluster: &'a str,
}

impl Scope<'_> {
    fn resource(&self, on: On) -> String {
        let Self {
            partition,
            region,
            account,
            cluster,
        } = self;
        let prefix = format!("arn:{partition}:eks:{region}:{account}");
        match on {
            On::Account => "*".to_owned(),
            On::Cluster => format!("{prefix}:cluster/{cluster}"),
            On::AccessEntry => format!("{prefix}:access-entry/{cluster}/*"),
            On::PodIdentity => format!("{prefix}:podidentityassociation/{cluster}/*"),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    version: &'static str,
    statement: Vec<Statement>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'static str>,
    effect: &'static str,
    action: Vec<&'static str>,
    resource: String,
}

/// AWS statements, one per resource that the rights name. What the host itself
/// needs to find the cluster is always among them.
fn statements(rights: &[&'static Right], scope: &Scope<'_>, named: bool) -> Vec<Statement> {
    let mut found = Vec::new();
    for (on, sid) in [
        (On::Cluster, "Cluster"),
        (On::AccessEntry, "AccessEntries"),
        (On::PodIdentity, "PodIdentity"),
        (On::Account, "Account"),
    ] {
        let mut action: Vec<_> = rights
            .iter()
            .filter(|right| right.shape == Shape::Action(on))
            .map(|right| right.words)
            .collect();
        if on == On::Cluster && !action.contains(&"eks:DescribeCluster") {
            action.insert(0, "eks:DescribeCluster");
        }
        if !action.is_empty() {
            found.push(Statement {
                sid: named.then_some(sid),
                effect: "Allow",
                action,
                resource: scope.resource(on),
            });
        }
    }
    found
}

/// The inline session policy of every assumed role: AWS itself then refuses
/// what the rights do not name. At most 2,048 characters are allowed; the
/// longest cluster name and all rights stay below (a test says so).
pub fn session_policy(rights: &[&'static Right], scope: &Scope<'_>) -> String {
    let document = Document {
        version: "2012-10-17",
        statement: statements(rights, scope, false),
    };
    serde_json::to_string(&document).unwrap_or_default()
}

/// The IAM policy to attach to the role, for people.
pub fn iam_policy(rights: &[&'static Right], scope: &Scope<'_>) -> String {
    let document = Document {
        version: "2012-10-17",
        statement: statements(rights, scope, true),
    };
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

/// Who may assume the role.
#[derive(Debug, Clone, Copy)]
pub enum Trusted<'a> {
    /// Another role or user, with the external id that it must give.
    Principal {
        /// Its ARN.
        arn: &'a str,
        /// What it says when it assumes the role.
        external_id: Option<&'a str>,
    },
    /// A service account of the cluster that the host runs in (IRSA).
    ServiceAccount {
        /// The ARN of the account's OIDC provider.
        provider: &'a str,
        /// The issuer without `https://`.
        issuer: &'a str,
        /// Its namespace.
        namespace: &'a str,
        /// Its name.
        name: &'a str,
    },
    /// EKS Pod Identity.
    PodIdentity,
}

/// The trust policy of the role, for people.
pub fn trust_policy(trusted: Trusted<'_>) -> String {
    let statement = match trusted {
        Trusted::Principal {
            arn,
            external_id: None,
        } => serde_json::json!({
            "Effect": "Allow", "Principal": {"AWS": arn}, "Action": "sts:AssumeRole",
        }),
        Trusted::Principal {
            arn,
            external_id: Some(id),
        } => serde_json::json!({
            "Effect": "Allow", "Principal": {"AWS": arn}, "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": id}},
        }),
        Trusted::ServiceAccount {
            provider,
            issuer,
            namespace,
            name,
        } => {
            let (subject, audience) = (format!("{issuer}:sub"), format!("{issuer}:aud"));
            serde_json::json!({
                "Effect": "Allow", "Principal": {"Federated": provider}, "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {"StringEquals": {
                    subject: format!("system:serviceaccount:{namespace}:{name}"),
                    audience: "sts.amazonaws.com",
                }},
            })
        }
        Trusted::PodIdentity => serde_json::json!({
            "Effect": "Allow", "Principal": {"Service": "pods.eks.amazonaws.com"},
            "Action": ["sts:AssumeRole", "sts:TagSession"],
        }),
    };
    let document = serde_json::json!({"Version": "2012-10-17", "Statement": [statement]});
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

/// The command that makes the role known to the cluster, as a member of
/// `group` and nothing else: no access policy.
pub fn access_entry_command(scope: &Scope<'_>, principal_arn: &str, group: &str) -> String {
    format!(
        "aws eks create-access-entry --region {} --cluster-name {} \\\n  --principal-arn {} \\\n  --type STANDARD --kubernetes-groups {}",
        quoted(scope.region),
        quoted(scope.cluster),
        quoted(principal_arn),
        quoted(group),
    )
}

/// A word of a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@+=,".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The roles and bindings that give `group` these rights in the cluster.
/// Without `config_maps` the names of config maps stay unread: listing them
/// takes a right with which the identity could read their data too.
///
/// Provisioning adds `bind` on the roles named in `grantable`: Kubernetes asks
/// for it when a binding is made.
pub fn manifest(
    rights: &[&'static Right],
    config_maps: bool,
    group: &str,
    grantable: &[&str],
) -> String {
    let mut wide: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    let mut aws_auth = Vec::new();
    for right in rights {
        let Shape::Rule {
            verb,
            group,
            resource,
            object,
            ..
        } = right.shape
        else {
            continue;
        };
        if object.is_some() {
            aws_auth.push(verb);
        } else if resource != "configmaps" || config_maps {
            wide.entry((group, resource)).or_default().push(verb);
        }
    }
    let mut rules = String::new();
    let mut grouped: Vec<(&str, Vec<&str>, Vec<&str>)> = Vec::new();
    for ((api, resource), verbs) in wide {
        match grouped
            .iter_mut()
            .find(|(known, _, same)| *known == api && *same == verbs)
        {
            Some((_, resources, _)) => resources.push(resource),
            None => grouped.push((api, vec![resource], verbs)),
        }
    }
    for (api, resources, verbs) in &grouped {
        rules.push_str(&yaml_rule(api, resources, verbs, &[]));
    }
    if !grantable.is_empty() && rights.iter().any(|right| right.writes()) {
        rules.push_str(&yaml_rule(
            "rbac.authorization.k8s.io",
            &["clusterroles", "roles"],
            &["bind"],
            grantable,
        ));
    }
    let mut all = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: {group}\nrules:\n{rules}---\n{}",
        yaml_binding("ClusterRoleBinding", "ClusterRole", group, None)
    );
    if !aws_auth.is_empty() {
        let (create, named): (Vec<_>, Vec<_>) =
            aws_auth.into_iter().partition(|verb| *verb == "create");
        let mut rules = String::new();
        for (verbs, names) in [(named, &["aws-auth"][..]), (create, &[])] {
            if !verbs.is_empty() {
                rules.push_str(&yaml_rule("", &["configmaps"], &verbs, names));
            }
        }
        all.push_str(&format!(
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata:\n  name: {group}\n  namespace: kube-system\nrules:\n{rules}---\n{}",
            yaml_binding("RoleBinding", "Role", group, Some("kube-system"))
        ));
    }
    all
}

fn yaml_rule(api: &str, resources: &[&str], verbs: &[&str], names: &[&str]) -> String {
    let mut rule = format!(
        "  - apiGroups: [\"{api}\"]\n    resources: [{}]\n    verbs: [{}]\n",
        resources.join(", "),
        verbs.join(", ")
    );
    if !names.is_empty() {
        rule.push_str(&format!("    resourceNames: [{}]\n", names.join(", ")));
    }
    rule
}

fn yaml_binding(kind: &str, role: &str, group: &str, namespace: Option<&str>) -> String {
    let namespace = namespace
        .map(|namespace| format!("\n  namespace: {namespace}"))
        .unwrap_or_default();
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata:\n  name: {group}{namespace}\nroleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: {role}\n  name: {group}\nsubjects:\n  - apiGroup: rbac.authorization.k8s.io\n    kind: Group\n    name: {group}\n"
    )
}

#[cfg(test)]
mod tests;
