//! What a set of rights needs in AWS and in Kubernetes, in the words of each.
//!
//! All of it is derived from the same list as the filter at the boundary: the
//! session policy that narrows every assumed role, the documents that
//! `baton-host permissions` prints, and `docs/permissions.md` (a test compares).
//! Pure functions; who may see which account is the caller's business.

mod cluster;

use serde::Serialize;
use serde_json::{Value, json};

use super::rights::{Kind, On, Right, Shape};

pub use cluster::{Grantable, LEASES, Manifest, Need, manifest, needs};

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
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<Value>,
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
                condition: None,
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
    document(statements(rights, scope, true))
}

fn document(statement: Vec<Statement>) -> String {
    let document = Document {
        version: "2012-10-17",
        statement,
    };
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

/// The access policy that is the administrator of a cluster.
const ADMINISTRATOR: &str = "AmazonEKSClusterAdminPolicy";

/// The IAM policy of a role that grants and revokes: what the rights need, and
/// what AWS is to refuse even if the host did not. `own` are the roles of the
/// host, whose entries it has no business with; unless `administrators`, it
/// cannot make anybody administrator of the cluster by an access policy.
pub fn provisioning_policy(
    rights: &[&'static Right],
    scope: &Scope<'_>,
    own: &[&str],
    administrators: bool,
) -> String {
    const CREATE: &str = "eks:CreateAccessEntry";
    const ASSOCIATE: &str = "eks:AssociateAccessPolicy";
    let has = |words: &str| rights.iter().any(|right| right.words == words);
    let others: Vec<&'static Right> = rights
        .iter()
        .copied()
        .filter(|right| right.words != CREATE)
        .collect();
    let mut all = statements(&others, scope, true);
    if has(CREATE) {
        // Entries of nodes are none of ours, and would need iam:PassRole.
        all.push(Statement {
            sid: Some("CreateStandardEntries"),
            effect: "Allow",
            action: vec![CREATE],
            resource: scope.resource(On::Cluster),
            condition: Some(json!({"StringEquals": {"eks:accessEntryType": "STANDARD"}})),
        });
    }
    let on_entries: Vec<&'static str> = rights
        .iter()
        .filter(|right| right.kind == Kind::Eks && right.writes())
        .filter(|right| right.words != "eks:TagResource")
        .map(|right| right.words)
        .collect();
    if !on_entries.is_empty() {
        all.push(Statement {
            sid: Some("NeverSelf"),
            effect: "Deny",
            action: on_entries,
            resource: "*".to_owned(),
            condition: Some(json!({"ArnEquals": {"eks:principalArn": own}})),
        });
    }
    if has(ASSOCIATE) && !administrators {
        let partition = scope.partition;
        let policy = format!("arn:{partition}:eks::aws:cluster-access-policy/{ADMINISTRATOR}");
        all.push(Statement {
            sid: Some("NeverAdministrator"),
            effect: "Deny",
            action: vec![ASSOCIATE],
            resource: "*".to_owned(),
            condition: Some(json!({"ArnEquals": {"eks:policyArn": policy}})),
        });
    }
    document(all)
}

/// The authentication mode of a cluster, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Not known: whatever any mode needs.
    Any,
    /// Access entries only.
    Api,
    /// Access entries, and `aws-auth` for whom they do not name.
    Both,
    /// `aws-auth` only.
    ConfigMap,
}

impl Mode {
    /// As EKS writes it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Mode> {
        match text {
            "API" => Some(Mode::Api),
            "API_AND_CONFIG_MAP" => Some(Mode::Both),
            "CONFIG_MAP" => Some(Mode::ConfigMap),
            _ => None,
        }
    }

    /// Whether a right is of use in this mode. Without access entries there is
    /// nothing to read or change there; without `aws-auth` no mapping; and where
    /// both count, `aws-auth` is changed for those only who stand there
    /// already, so it is never made.
    #[must_use]
    pub fn needs(self, right: &Right) -> bool {
        let mapping = matches!(
            right.shape,
            Shape::Rule {
                object: Some(_),
                ..
            }
        );
        let entries = right.shape == Shape::Action(On::AccessEntry)
            || ["eks:ListAccessEntries", "eks:CreateAccessEntry"].contains(&right.words);
        match self {
            Mode::Any => true,
            Mode::Api => !mapping,
            Mode::Both => right.words != "create configmaps kube-system/aws-auth",
            Mode::ConfigMap => !entries,
        }
    }
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

#[cfg(test)]
mod tests;
