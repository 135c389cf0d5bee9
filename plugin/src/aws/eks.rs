//! EKS's REST/JSON shapes, only the members that are used. Unknown members are
//! ignored, `null` counts as absent, times are JSON numbers with a fraction.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::arn::is_account;

/// Reads `null` as the default.
pub fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    d: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// The token of a next page: an empty one is none.
fn token<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    let token = Option::<String>::deserialize(d)?;
    Ok(token.filter(|token| !token.is_empty()))
}

/// How a cluster decides who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only `aws-auth`.
    ConfigMap,
    /// Access entries first, then `aws-auth`.
    Both,
    /// Only access entries.
    Api,
}

impl Mode {
    /// The name that EKS uses.
    pub fn name(self) -> &'static str {
        match self {
            Mode::ConfigMap => "CONFIG_MAP",
            Mode::Both => "API_AND_CONFIG_MAP",
            Mode::Api => "API",
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[allow(missing_docs)]
pub struct DescribeCluster {
    pub cluster: ClusterAnswer,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct ClusterAnswer {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub arn: String,
    #[serde(deserialize_with = "or_default")]
    pub version: String,
    #[serde(deserialize_with = "or_default")]
    pub status: String,
    #[serde(deserialize_with = "or_default")]
    pub access_config: AccessConfig,
    #[serde(deserialize_with = "or_default")]
    pub identity: Identity,
    pub resources_vpc_config: Option<VpcConfig>,
    pub logging: Option<Logging>,
}

/// How the API server is reached.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct VpcConfig {
    pub endpoint_public_access: Option<bool>,
    pub endpoint_private_access: Option<bool>,
    #[serde(deserialize_with = "or_default")]
    pub public_access_cidrs: Vec<String>,
}

/// Which logs of the control plane are kept.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Logging {
    #[serde(deserialize_with = "or_default")]
    pub cluster_logging: Vec<LogSetup>,
}

/// Some logs, and whether they are kept.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct LogSetup {
    #[serde(deserialize_with = "or_default")]
    pub types: Vec<String>,
    pub enabled: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct AccessConfig {
    pub authentication_mode: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Identity {
    #[serde(deserialize_with = "or_default")]
    pub oidc: Oidc,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Oidc {
    pub issuer: Option<String>,
}

/// The cluster that is being read.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its ARN.
    pub arn: String,
    /// The ARN's partition.
    pub partition: String,
    /// The ARN's account.
    pub account: String,
    /// Kubernetes' version.
    pub version: String,
    /// `ACTIVE`, `UPDATING`, ...
    pub status: String,
    /// The authentication mode; absent means `CONFIG_MAP`.
    pub mode: Mode,
    /// Set where the mode has a name that is not known here.
    pub odd_mode: Option<String>,
    /// The IRSA issuer without its scheme.
    pub issuer: Option<String>,
    /// From where the API server can be reached.
    pub endpoint: Endpoint,
    /// Whether the audit log is kept; `None` where EKS does not say.
    pub audit_log: Option<bool>,
}

/// From where the API server can be reached, as far as EKS says.
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    /// From the internet.
    pub public: Option<bool>,
    /// From its own network.
    pub private: Option<bool>,
    /// From where in the internet; at most 100.
    pub cidrs: Vec<String>,
}

impl ClusterAnswer {
    /// Checks the answer; the error says what is wrong with it.
    pub fn cluster(self) -> Result<Cluster, String> {
        let parts: Vec<&str> = self.arn.splitn(6, ':').collect();
        let (partition, account) = match (parts.first(), parts.get(1), parts.get(2), parts.get(4)) {
            (Some(&"arn"), Some(partition), Some(&"eks"), Some(account)) if is_account(account) => {
                (partition, account)
            }
            _ => return Err(format!("`{}` is not the ARN of an EKS cluster", self.arn)),
        };
        let (mode, odd_mode) = match self.access_config.authentication_mode.as_deref() {
            None | Some("" | "CONFIG_MAP") => (Mode::ConfigMap, None),
            Some("API") => (Mode::Api, None),
            Some("API_AND_CONFIG_MAP") => (Mode::Both, None),
            Some(odd) => (Mode::Both, Some(odd.to_string())),
        };
        let issuer = self.identity.oidc.issuer.map(|i| {
            i.trim_start_matches("https://")
                .trim_end_matches('/')
                .to_string()
        });
        let vpc = self.resources_vpc_config.unwrap_or_default();
        let audit_log = self.logging.map(|logging| {
            let audit = |setup: &LogSetup| {
                setup.enabled == Some(true) && setup.types.iter().any(|t| t == "audit")
            };
            logging.cluster_logging.iter().any(audit)
        });
        Ok(Cluster {
            endpoint: Endpoint {
                public: vpc.endpoint_public_access,
                private: vpc.endpoint_private_access,
                cidrs: vpc.public_access_cidrs.into_iter().take(100).collect(),
            },
            audit_log,
            partition: (*partition).to_string(),
            account: (*account).to_string(),
            arn: self.arn,
            version: self.version,
            status: self.status,
            mode,
            odd_mode,
            issuer: issuer.filter(|i| !i.is_empty()),
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct EntryList {
    #[serde(deserialize_with = "or_default")]
    pub access_entries: Vec<String>,
    #[serde(deserialize_with = "token")]
    pub next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct DescribeEntry {
    pub access_entry: Entry,
}

/// An access entry.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Entry {
    #[serde(deserialize_with = "or_default")]
    pub principal_arn: String,
    #[serde(deserialize_with = "or_default")]
    pub kubernetes_groups: Vec<String>,
    pub created_at: Option<f64>,
    pub modified_at: Option<f64>,
    #[serde(deserialize_with = "or_default")]
    pub username: String,
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    #[serde(deserialize_with = "or_default")]
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct PolicyList {
    #[serde(deserialize_with = "or_default")]
    pub access_policies: Vec<Policy>,
    #[serde(deserialize_with = "token")]
    pub next_token: Option<String>,
}

/// An access policy of EKS's catalogue.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Policy {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub arn: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct AssociationList {
    #[serde(deserialize_with = "or_default")]
    pub associated_access_policies: Vec<Association>,
    #[serde(deserialize_with = "token")]
    pub next_token: Option<String>,
}

/// A policy on an entry, with its scope.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Association {
    #[serde(deserialize_with = "or_default")]
    pub policy_arn: String,
    #[serde(deserialize_with = "or_default")]
    pub access_scope: Scope,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Scope {
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    #[serde(deserialize_with = "or_default")]
    pub namespaces: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct PodList {
    #[serde(deserialize_with = "or_default")]
    pub associations: Vec<PodSummary>,
    #[serde(deserialize_with = "token")]
    pub next_token: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct PodSummary {
    #[serde(deserialize_with = "or_default")]
    pub association_id: String,
}

#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct DescribePod {
    pub association: Pod,
}

/// An EKS Pod Identity association.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Pod {
    #[serde(deserialize_with = "or_default")]
    pub association_id: String,
    #[serde(deserialize_with = "or_default")]
    pub namespace: String,
    #[serde(deserialize_with = "or_default")]
    pub service_account: String,
    #[serde(deserialize_with = "or_default")]
    pub role_arn: String,
    pub target_role_arn: Option<String>,
    pub disable_session_tags: Option<bool>,
}
