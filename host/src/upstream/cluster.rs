//! What the host itself asks: where the cluster is, and who we are there.
//!
//! The same wires as for plugins, without a plugin. The cluster's endpoint and
//! CA come from DescribeCluster once per task.

use base64::Engine as _;
use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use url::Url;

use super::error::UpstreamError;
use super::exchange::Outgoing;
use super::operation::{View, encode};

/// What DescribeCluster says that the host needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterInfo {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// `ACTIVE`, `CREATING`, …
    pub status: String,
    /// Kubernetes version, `1.34`.
    pub version: String,
    /// `API`, `API_AND_CONFIG_MAP` or `CONFIG_MAP`.
    pub authentication_mode: String,
    /// Of its OIDC provider, if it has one.
    pub issuer: Option<String>,
    /// Of its API server; none before it is created.
    pub endpoint: Option<Url>,
    /// Of its API server, in PEM.
    pub ca: Vec<u8>,
}

#[derive(Deserialize)]
struct Described {
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cluster {
    #[serde(default)]
    arn: String,
    name: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    version: Option<String>,
    endpoint: Option<String>,
    certificate_authority: Option<Authority>,
    identity: Option<Identity>,
    access_config: Option<AccessConfig>,
}

#[derive(Deserialize)]
struct Authority {
    data: Option<String>,
}

#[derive(Deserialize)]
struct Identity {
    oidc: Option<Oidc>,
}

#[derive(Deserialize)]
struct Oidc {
    issuer: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccessConfig {
    authentication_mode: Option<String>,
}

/// The request that finds a cluster.
pub fn describe(cluster: &str) -> Outgoing {
    Outgoing {
        label: "eks:DescribeCluster".to_owned(),
        method: Method::GET,
        path_and_query: format!("/clusters/{}", encode(cluster)),
        accept: "application/json",
        content_type: None,
        body: Bytes::new(),
        view: View::Full,
        once: false,
    }
}

/// Reads the answer.
///
/// # Errors
/// When it is not what EKS answers.
pub fn info(body: &[u8]) -> Result<ClusterInfo, UpstreamError> {
    let wrong = |reason: String| UpstreamError::Answer {
        what: "EKS".to_owned(),
        reason,
    };
    let Described { cluster } = serde_json::from_slice(body).map_err(|error| {
        wrong(format!(
            "a description of the cluster that cannot be read: {error}"
        ))
    })?;
    let endpoint = cluster.endpoint.filter(|endpoint| !endpoint.is_empty());
    let endpoint = endpoint
        .map(|endpoint| match Url::parse(&endpoint) {
            Ok(url) if url.scheme() == "https" && url.username().is_empty() => Ok(url),
            _ => Err(wrong(
                "an endpoint of the cluster that is no https URL".to_owned(),
            )),
        })
        .transpose()?;
    let ca = cluster
        .certificate_authority
        .and_then(|ca| ca.data)
        .unwrap_or_default();
    let ca = base64::engine::general_purpose::STANDARD
        .decode(ca.trim())
        .map_err(|_| wrong("a CA of the cluster that is not base64".to_owned()))?;
    Ok(ClusterInfo {
        arn: cluster.arn,
        name: cluster.name,
        status: cluster.status,
        version: cluster.version.unwrap_or_default(),
        // Absent on clusters older than access entries.
        authentication_mode: cluster
            .access_config
            .and_then(|config| config.authentication_mode)
            .unwrap_or_else(|| "CONFIG_MAP".to_owned()),
        issuer: cluster
            .identity
            .and_then(|identity| identity.oidc)
            .and_then(|oidc| oidc.issuer),
        endpoint,
        ca,
    })
}

/// The request for the server's version.
pub fn version() -> Outgoing {
    Outgoing {
        label: "get /version".to_owned(),
        method: Method::GET,
        path_and_query: "/version".to_owned(),
        accept: "application/json",
        content_type: None,
        body: Bytes::new(),
        view: View::Full,
        once: false,
    }
}

/// What a self subject access review is asked.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// `list`.
    pub verb: &'a str,
    /// API group; empty for the core group.
    pub group: &'a str,
    /// Plural name.
    pub resource: &'a str,
    /// Namespace; empty for all.
    pub namespace: &'a str,
    /// Name; empty for all.
    pub name: &'a str,
}

/// The request whether we may do something. Creates nothing; open to all who
/// are known. Rights that come from EKS access policies are counted too.
pub fn review(access: &Access<'_>) -> Outgoing {
    let body = serde_json::json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {
            "verb": access.verb, "group": access.group, "resource": access.resource,
            "namespace": access.namespace, "name": access.name,
        }},
    });
    Outgoing {
        label: "create authorization.k8s.io/selfsubjectaccessreviews".to_owned(),
        method: Method::POST,
        path_and_query: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(),
        accept: "application/json",
        content_type: Some("application/json"),
        body: Bytes::from(body.to_string()),
        view: View::Full,
        once: false,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn descriptions_of_all_ages_are_read() {
        let full = br#"{"cluster":{"name":"prod","arn":"arn:aws:eks:eu-central-1:111122223333:cluster/prod","createdAt":1.5,
            "version":"1.34","endpoint":"https://x.eks.amazonaws.com","status":"ACTIVE","certificateAuthority":{"data":"eA=="},
            "identity":{"oidc":{"issuer":"https://oidc"}},"accessConfig":{"authenticationMode":"API"},"new":{"a":1}}}"#;
        let cluster = info(full).unwrap();
        assert_eq!(
            (cluster.ca.as_slice(), cluster.authentication_mode.as_str()),
            (&b"x"[..], "API")
        );
        let creating =
            br#"{"cluster":{"name":"prod","status":"CREATING","certificateAuthority":{}}}"#;
        let cluster = info(creating).unwrap();
        assert_eq!(
            (cluster.endpoint, cluster.authentication_mode.as_str()),
            (None, "CONFIG_MAP")
        );
        for endpoint in ["http://x", "https://user@x", "x", "file:///etc"] {
            assert!(
                info(format!(r#"{{"cluster":{{"name":"a","endpoint":"{endpoint}"}}}}"#).as_bytes())
                    .is_err()
            );
        }
        assert!(info(b"<html>").is_err());
    }
}
