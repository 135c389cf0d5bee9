//! What the host says in its own name while it provisions: fresh reads of what
//! a plan is about, the changes themselves, and leases.
//!
//! The same wires as for plugins: signatures, rates and answers are one code.
//! No request of a sandbox gets here. Reads show whole objects, because the
//! host writes them back; changes are sent again only where they cannot have
//! arrived.

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use super::answer::Clean;
use super::error::UpstreamError;
use super::exchange::{Outgoing, Sent};
use super::operation::write::{Place, Write};
use super::operation::{View, encode};
use super::rights::Kind;
use super::{Upstreams, Wire};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const AWS_AUTH: &str = "/api/v1/namespaces/kube-system/configmaps/aws-auth";
const PAGE: u32 = 500;

/// Something that the host reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// DescribeAccessEntry.
    Entry(String),
    /// ListAssociatedAccessPolicies, from a token on.
    Associations(String, Option<String>),
    /// ListAccessEntries, from a token on.
    Entries(Option<String>),
    /// `aws-auth`.
    AwsAuth,
    /// One binding.
    Binding(Place),
    /// RoleBindings (`true`: ClusterRoleBindings), from a token on.
    Bindings(bool, Option<String>),
    /// A lease in `kube-system`.
    Lease(String),
}

/// What an upstream answered, errors included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// The object, a Status of Kubernetes, or an error of AWS as plugins get it.
    pub body: Value,
}

impl Reply {
    /// Whether it was done.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The upstream's own code or reason.
    pub fn code(&self) -> &str {
        let field = |name: &str| self.body.get(name).and_then(Value::as_str);
        // `code` is a number in a Status.
        field("code")
            .or_else(|| field("reason"))
            .unwrap_or_default()
    }

    /// The upstream's own words.
    pub fn message(&self) -> &str {
        let message = self.body.get("message").and_then(Value::as_str);
        message.unwrap_or_default()
    }
}

impl From<Clean> for Reply {
    fn from(answer: Clean) -> Self {
        Self {
            status: answer.status().as_u16(),
            body: serde_json::from_slice(answer.body()).unwrap_or_default(),
        }
    }
}

/// What became of a change.
#[derive(Debug)]
pub enum Outcome {
    /// The upstream answered.
    Answered(Reply),
    /// It may have been made, or not.
    Unknown(UpstreamError),
}

impl From<Sent> for Outcome {
    fn from(sent: Sent) -> Self {
        match sent {
            Sent::Answered(answer) => Self::Answered(answer.into()),
            Sent::Unknown(error) => Self::Unknown(error),
        }
    }
}

impl Read {
    fn kind(&self) -> Kind {
        match self {
            Self::Entry(_) | Self::Associations(..) | Self::Entries(_) => Kind::Eks,
            _ => Kind::Cluster,
        }
    }

    /// In the words of rights, for people.
    pub fn words(&self) -> &'static str {
        match self {
            Self::Entry(_) => "eks:DescribeAccessEntry",
            Self::Associations(..) => "eks:ListAssociatedAccessPolicies",
            Self::Entries(_) => "eks:ListAccessEntries",
            Self::AwsAuth => "get configmaps kube-system/aws-auth",
            Self::Binding(Place {
                namespace: None, ..
            }) => "get rbac.authorization.k8s.io/clusterrolebindings",
            Self::Binding(_) => "get rbac.authorization.k8s.io/rolebindings",
            Self::Bindings(true, _) => "list rbac.authorization.k8s.io/clusterrolebindings",
            Self::Bindings(false, _) => "list rbac.authorization.k8s.io/rolebindings",
            Self::Lease(_) => "get coordination.k8s.io/leases",
        }
    }

    fn path_and_query(&self, cluster: &str) -> String {
        let entries = format!("/clusters/{}/access-entries", encode(cluster));
        let paged = |path: String, key: &str, token: &Option<String>| match token {
            Some(token) => {
                let join = if path.contains('?') { '&' } else { '?' };
                format!("{path}{join}{key}={}", encode(token))
            }
            None => path,
        };
        match self {
            Self::Entry(principal) => format!("{entries}/{}", encode(principal)),
            Self::Associations(principal, token) => {
                let path = format!("{entries}/{}/access-policies", encode(principal));
                paged(path, "nextToken", token)
            }
            Self::Entries(token) => paged(entries, "nextToken", token),
            Self::AwsAuth => AWS_AUTH.to_owned(),
            Self::Binding(place) => place.path(),
            Self::Bindings(wide, token) => {
                let plural = if *wide {
                    "clusterrolebindings"
                } else {
                    "rolebindings"
                };
                paged(format!("{RBAC}/{plural}?limit={PAGE}"), "continue", token)
            }
            Self::Lease(name) => format!("{LEASES}/{}", encode(name)),
        }
    }
}

impl Upstreams {
    /// Forgets where the cluster is and how it is, so that whoever asks next
    /// gets it fresh. Connections stay.
    pub fn forget(&self) {
        let mut described = self
            .0
            .described
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *described = std::sync::Arc::default();
    }

    /// Reads something now.
    ///
    /// # Errors
    /// Why there is no answer. An error of the upstream is an answer.
    pub(crate) async fn read(&self, read: &Read) -> Result<Reply, UpstreamError> {
        let out = Outgoing {
            label: read.words().to_owned(),
            method: Method::GET,
            path_and_query: read.path_and_query(&self.0.cluster),
            accept: "application/json",
            content_type: None,
            body: Bytes::new(),
            view: View::Whole,
            once: false,
        };
        let answer = match read.kind() {
            Kind::Eks => self.0.eks.call(&self.0.shared, &out).await?,
            _ => self.0.api().await?.call(&self.0.shared, &out).await?,
        };
        Ok(answer.into())
    }

    /// Makes a change, or has Kubernetes try it.
    ///
    /// # Errors
    /// Why it cannot have been made.
    pub(crate) async fn change(
        &self,
        write: &Write,
        token: &str,
        dry_run: bool,
    ) -> Result<Outcome, UpstreamError> {
        let body = write.body(token);
        let mut path = write.path(&self.0.cluster);
        if dry_run {
            path.push_str("?dryRun=All");
        }
        self.send(
            write.kind(),
            write.words(),
            write.method(),
            path,
            body,
            write.content_type(),
        )
        .await
    }

    /// Creates a lease in `kube-system`.
    ///
    /// # Errors
    /// Why it cannot have been made.
    pub(crate) async fn create_lease(&self, lease: Value) -> Result<Outcome, UpstreamError> {
        let words = "create coordination.k8s.io/leases";
        let path = LEASES.to_owned();
        let kind = "application/json";
        self.send(Kind::Cluster, words, Method::POST, path, Some(lease), kind)
            .await
    }

    /// Replaces a lease in `kube-system`, by its version.
    ///
    /// # Errors
    /// Why it cannot have been made.
    pub(crate) async fn replace_lease(
        &self,
        name: &str,
        lease: Value,
    ) -> Result<Outcome, UpstreamError> {
        let words = "update coordination.k8s.io/leases";
        let path = format!("{LEASES}/{}", encode(name));
        let kind = "application/json";
        self.send(Kind::Cluster, words, Method::PUT, path, Some(lease), kind)
            .await
    }

    async fn send(
        &self,
        kind: Kind,
        words: &str,
        method: Method,
        path_and_query: String,
        body: Option<Value>,
        content_type: &'static str,
    ) -> Result<Outcome, UpstreamError> {
        let out = Outgoing {
            label: words.to_owned(),
            method,
            path_and_query,
            accept: "application/json",
            content_type: body.as_ref().map(|_| content_type),
            body: body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string())),
            view: View::Whole,
            once: true,
        };
        let found;
        let wire: &Wire = match kind {
            Kind::Eks => &self.0.eks,
            Kind::Iam => &self.0.iam,
            Kind::Cluster => {
                found = self.0.api().await?;
                &found
            }
        };
        Ok(wire.change(&self.0.shared, &out).await?.into())
    }
}
