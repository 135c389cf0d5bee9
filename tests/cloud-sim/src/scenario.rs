//! What a simulated cloud holds, as people write it down.
//!
//! A scenario is facts only: accounts, trust, clusters, entries, `aws-auth` text
//! and Kubernetes objects. Nothing here says who *may* do what; that follows
//! from the facts in the running simulator, as it does in AWS. Names are
//! kebab-case in YAML, unknown names are refused, because a misspelt fact in a
//! test scenario is a test that cannot fail.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::faults::Fault;

/// A company with people, roles and two clusters that shows everything.
pub const DEMO: &str = include_str!("../scenarios/demo.yaml");
/// One account, one user, one role, one cluster in mode API.
pub const MINIMAL: &str = include_str!("../scenarios/minimal.yaml");

/// A simulated cloud before it runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scenario {
    /// The AWS partition: `aws`, `aws-cn`, `aws-us-gov`, ...
    #[serde(default = "partition")]
    pub partition: String,
    /// The region of clusters that name none.
    #[serde(default = "region")]
    pub region: String,
    /// The accounts of the cloud.
    pub accounts: Vec<Account>,
    /// The clusters of the cloud.
    #[serde(default)]
    pub clusters: Vec<ClusterSpec>,
    /// Tokens that `AssumeRoleWithWebIdentity` takes.
    #[serde(default)]
    pub web_identity_tokens: Vec<WebIdentity>,
    /// What the container credentials endpoint and the instance metadata serve.
    #[serde(default)]
    pub container: Option<Container>,
    /// Faults from the first request on.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// Milliseconds until a change to access entries is seen.
    #[serde(default)]
    pub consistency_delay_ms: i64,
    /// Ceilings for pages, to make small clouds page.
    #[serde(default)]
    pub pages: Pages,
}

/// The largest page each service answers with, whatever was asked.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Pages {
    /// EKS; the service's own limit is 100.
    pub eks: usize,
    /// IAM; the service's own limit is 1000.
    pub iam: usize,
    /// Kubernetes; the service has no limit of its own.
    pub kubernetes: usize,
}

impl Default for Pages {
    fn default() -> Self {
        Pages {
            eks: 100,
            iam: 1000,
            kubernetes: usize::MAX,
        }
    }
}

/// One AWS account.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    /// IAM users.
    #[serde(default)]
    pub users: Vec<UserSpec>,
    /// IAM groups.
    #[serde(default)]
    pub groups: Vec<GroupSpec>,
    /// IAM roles.
    #[serde(default)]
    pub roles: Vec<RoleSpec>,
}

/// One IAM user.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UserSpec {
    /// Name, unique in the account.
    pub name: String,
    /// Path, `/` if absent.
    #[serde(default = "slash")]
    pub path: String,
    /// When it was created, RFC 3339.
    #[serde(default = "created")]
    pub created: String,
    /// Static access keys.
    #[serde(default)]
    pub keys: Vec<AccessKey>,
    /// Actions its identity policies allow; all if absent.
    #[serde(default)]
    pub allow: Option<Vec<String>>,
    /// Actions they deny.
    #[serde(default)]
    pub deny: Vec<String>,
    /// A policy document that decides in place of `allow`, with resources and conditions.
    #[serde(default)]
    pub policy: Option<Value>,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// A static access key.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AccessKey {
    /// The id, `AKIA...`.
    pub id: String,
    /// The secret.
    pub secret: String,
}

/// One IAM group.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GroupSpec {
    /// Name, unique in the account.
    pub name: String,
    /// Path, `/` if absent.
    #[serde(default = "slash")]
    pub path: String,
    /// Names of users.
    #[serde(default)]
    pub members: Vec<String>,
    /// A policy document that its members have besides their own.
    #[serde(default)]
    pub policy: Option<Value>,
}

/// One IAM role.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RoleSpec {
    /// Name, unique in the account whatever the path.
    pub name: String,
    /// Path, `/` if absent.
    #[serde(default = "slash")]
    pub path: String,
    /// The trust policy: a document, or a text that is handed out as it is.
    pub trust: Value,
    /// When it was created, RFC 3339.
    #[serde(default = "created")]
    pub created: String,
    /// Description.
    #[serde(default)]
    pub description: String,
    /// Longest session in seconds.
    #[serde(default = "hour")]
    pub max_session: i64,
    /// Actions its identity policies allow; all if absent.
    #[serde(default)]
    pub allow: Option<Vec<String>>,
    /// Actions they deny.
    #[serde(default)]
    pub deny: Vec<String>,
    /// A policy document that decides in place of `allow`, with resources and conditions.
    #[serde(default)]
    pub policy: Option<Value>,
    /// When it was used last, RFC 3339; never if absent.
    #[serde(default)]
    pub last_used: Option<String>,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// One EKS cluster with its Kubernetes API.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ClusterSpec {
    /// Name, unique in account and region.
    pub name: String,
    /// Its account; the first one if absent.
    #[serde(default)]
    pub account: Option<String>,
    /// Its region; the scenario's if absent.
    #[serde(default)]
    pub region: Option<String>,
    /// Kubernetes version.
    #[serde(default = "version")]
    pub version: String,
    /// `API`, `API_AND_CONFIG_MAP`, `CONFIG_MAP`, or `absent` for an answer without `accessConfig`.
    #[serde(default = "mode")]
    pub mode: String,
    /// `ACTIVE`, `CREATING`, ...
    #[serde(default = "active")]
    pub status: String,
    /// The IRSA issuer; made from the name if absent.
    #[serde(default)]
    pub issuer: Option<String>,
    /// When it was created, RFC 3339.
    #[serde(default = "created")]
    pub created: String,
    /// The ARN that created it: `system:masters` without a trace in modes with a config map.
    #[serde(default)]
    pub creator: Option<String>,
    /// `DescribeCluster` answers a CA that did not sign the server's certificate.
    #[serde(default)]
    pub wrong_ca: bool,
    /// `DescribeCluster` answers an endpoint where nobody listens.
    #[serde(default)]
    pub unreachable: bool,
    /// How `env()` connects to it.
    #[serde(default)]
    pub connect: Option<Connect>,
    /// Access entries.
    #[serde(default)]
    pub entries: Vec<EntrySpec>,
    /// Pod identity associations.
    #[serde(default)]
    pub pod_identities: Vec<PodIdentitySpec>,
    /// OIDC identity provider configurations.
    #[serde(default)]
    pub identity_providers: Vec<IdentityProvider>,
    /// The config map `kube-system/aws-auth`: its data, byte for byte.
    #[serde(default)]
    pub aws_auth: Option<BTreeMap<String, String>>,
    /// The webhook that newer clusters have is there: a malformed `aws-auth` is denied.
    #[serde(default)]
    pub aws_auth_webhook: bool,
    /// Namespaces beside those every cluster has.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Namespaces that are being deleted: nothing new is created in them.
    #[serde(default)]
    pub terminating: Vec<String>,
    /// Service accounts as `namespace/name`, beside each namespace's `default`.
    #[serde(default)]
    pub service_accounts: Vec<String>,
    /// Any further objects, as one would apply them.
    #[serde(default)]
    pub objects: Vec<Value>,
    /// Objects carry `managedFields` and the last-applied annotation.
    #[serde(default)]
    pub noise: bool,
}

/// The roles a host assumes to read a cluster.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Connect {
    /// Role in the cluster's account.
    #[serde(default)]
    pub role_arn: Option<String>,
    /// The external id that role's trust policy asks for.
    #[serde(default)]
    pub external_id: Option<String>,
    /// First hop: the role in the binding account.
    #[serde(default)]
    pub global_role_arn: Option<String>,
    /// The external id of the first hop.
    #[serde(default)]
    pub global_external_id: Option<String>,
}

/// One access entry.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EntrySpec {
    /// Full ARN of a role or user, path kept.
    pub principal: String,
    /// `STANDARD`, `EC2_LINUX`, ...
    #[serde(default = "standard", rename = "type")]
    pub kind: String,
    /// Kubernetes user name; the service's default if absent.
    #[serde(default)]
    pub username: Option<String>,
    /// Kubernetes groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// When it was created, RFC 3339. A role that is younger makes the entry dead.
    #[serde(default = "entry_created")]
    pub created: String,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Associated access policies.
    #[serde(default)]
    pub policies: Vec<PolicySpec>,
}

/// One associated access policy.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PolicySpec {
    /// The policy's name, `AmazonEKSViewPolicy`.
    pub policy: String,
    /// The scope's namespaces; absent for cluster scope.
    #[serde(default)]
    pub namespaces: Option<Vec<String>>,
}

/// One pod identity association.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PodIdentitySpec {
    /// Namespace, exact.
    pub namespace: String,
    /// Service account, exact.
    pub service_account: String,
    /// Role in the cluster's account.
    pub role_arn: String,
    /// Role that the first one assumes in turn.
    #[serde(default)]
    pub target_role_arn: Option<String>,
}

/// One OIDC provider that the cluster takes identities from.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct IdentityProvider {
    /// Name.
    pub name: String,
    /// Issuer URL.
    pub issuer: String,
    /// Client id.
    pub client_id: String,
    /// Prefix of its user names.
    #[serde(default)]
    pub username_prefix: Option<String>,
    /// Prefix of its groups.
    #[serde(default)]
    pub groups_prefix: Option<String>,
}

/// A token that `AssumeRoleWithWebIdentity` takes.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WebIdentity {
    /// The token, opaque to us.
    pub token: String,
    /// Its issuer, with or without `https://`.
    pub issuer: String,
    /// Its subject, `system:serviceaccount:ns:name`.
    pub subject: String,
    /// Its audience.
    #[serde(default = "sts_audience")]
    pub audience: String,
    /// It is refused as expired.
    #[serde(default)]
    pub expired: bool,
}

/// Ambient credentials of a container or an instance.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Container {
    /// The role whose credentials are served.
    pub role_arn: String,
    /// The `Authorization` header that is asked for.
    pub token: String,
}

impl Scenario {
    /// Reads a scenario from YAML (or JSON).
    ///
    /// # Errors
    /// Where the text is no scenario, or names something that it does not hold.
    pub fn from_yaml(text: &str) -> Result<Scenario> {
        let scenario: Scenario =
            serde_saphyr::from_str(text).context("the scenario cannot be read")?;
        scenario.check()?;
        Ok(scenario)
    }

    /// The scenario of the demonstration.
    ///
    /// # Errors
    /// Never in a build whose tests pass.
    pub fn demo() -> Result<Scenario> {
        Scenario::from_yaml(DEMO)
    }

    /// The smallest useful scenario.
    ///
    /// # Errors
    /// Never in a build whose tests pass.
    pub fn minimal() -> Result<Scenario> {
        Scenario::from_yaml(MINIMAL)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let Some(first) = self.accounts.first() else {
            bail!("a scenario needs an account")
        };
        for account in &self.accounts {
            if account.id.len() != 12 || !account.id.bytes().all(|b| b.is_ascii_digit()) {
                bail!("account id {:?} is not twelve digits", account.id);
            }
        }
        for cluster in &self.clusters {
            let account = cluster.account.as_ref().unwrap_or(&first.id);
            if !self.accounts.iter().any(|a| a.id == *account) {
                bail!(
                    "cluster {} is in account {account}, which the scenario does not hold",
                    cluster.name
                );
            }
            if !["API", "API_AND_CONFIG_MAP", "CONFIG_MAP", "absent"]
                .contains(&cluster.mode.as_str())
            {
                bail!(
                    "cluster {}: {:?} is no authentication mode",
                    cluster.name,
                    cluster.mode
                );
            }
        }
        Ok(())
    }
}

fn partition() -> String {
    "aws".into()
}
fn region() -> String {
    "eu-west-1".into()
}
fn slash() -> String {
    "/".into()
}
fn created() -> String {
    "2024-01-01T00:00:00Z".into()
}
fn entry_created() -> String {
    "2025-01-01T00:00:00Z".into()
}
fn hour() -> i64 {
    3600
}
fn version() -> String {
    "1.34".into()
}
fn mode() -> String {
    "API".into()
}
fn active() -> String {
    "ACTIVE".into()
}
fn standard() -> String {
    "STANDARD".into()
}
fn sts_audience() -> String {
    "sts.amazonaws.com".into()
}
