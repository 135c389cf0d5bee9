//! Changes: what a plan asks the host to send, parsed into what it means and
//! built anew in one canonical form.
//!
//! A request of a sandbox never gets here; [`super::decide`] refuses it. This
//! takes the text of a plan, recognises the operation by the same tables, and
//! reads its body member by member: what has one member more than the
//! operation knows is no such operation. Whether the change may be made is
//! decided elsewhere, against the wish.

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Map, Value, json};

use super::super::rights::{self, Granted, Kind, Right};
use super::text::{self, encode};
use super::{Denial, MAX_BODY, Recognised, parse};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/kube-system/configmaps";

/// A change as a plan writes it.
#[derive(Debug, Clone, Copy)]
pub struct Planned<'a> {
    /// The upstream's name.
    pub upstream: &'a str,
    /// Method.
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// Body.
    pub body: Option<&'a str>,
}

/// Where a binding is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its namespace; none for a ClusterRoleBinding.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Place {
    /// Its kind.
    pub fn kind(&self) -> &'static str {
        match self.namespace {
            Some(_) => "RoleBinding",
            None => "ClusterRoleBinding",
        }
    }

    /// The path of all like it.
    pub fn collection(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{RBAC}/namespaces/{}/rolebindings", encode(namespace)),
            None => format!("{RBAC}/clusterrolebindings"),
        }
    }

    /// Its path.
    pub fn path(&self) -> String {
        format!("{}/{}", self.collection(), encode(&self.name))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "RoleBinding {namespace}/{}", self.name),
            None => write!(f, "ClusterRoleBinding {}", self.name),
        }
    }
}

/// The scope of an access policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Cluster,
    /// These namespaces or patterns, as written and in order.
    Namespaces(Vec<String>),
}

impl Scope {
    /// As EKS writes it.
    pub fn json(&self) -> Value {
        match self {
            Self::Cluster => json!({"type": "cluster", "namespaces": []}),
            Self::Namespaces(list) => json!({"type": "namespace", "namespaces": list}),
        }
    }
}

/// An access entry, as far as it is written by this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// `principalArn`.
    pub principal: String,
    /// `kubernetesGroups`.
    pub groups: Vec<String>,
    /// `username`; EKS makes one where there is none.
    pub username: Option<String>,
    /// `tags`.
    pub tags: Map<String, Value>,
}

/// One step of a JSON patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// The value at a path is this one.
    Test(String, Value),
    /// What is at a path goes.
    Remove(String),
    /// Something goes to a path. Never in a plan: only to take one back.
    Add(String, Value),
}

/// One change of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// CreateAccessEntry, of type STANDARD.
    CreateEntry(NewEntry),
    /// UpdateAccessEntry: the list of groups.
    UpdateEntry {
        /// Whose.
        principal: String,
        /// All groups from now on.
        groups: Vec<String>,
    },
    /// DeleteAccessEntry.
    DeleteEntry {
        /// Whose.
        principal: String,
    },
    /// AssociateAccessPolicy, which replaces the scope.
    Associate {
        /// Whose.
        principal: String,
        /// The policy's ARN.
        policy: String,
        /// The scope from now on.
        scope: Scope,
    },
    /// DisassociateAccessPolicy.
    Disassociate {
        /// Whose.
        principal: String,
        /// The policy's ARN.
        policy: String,
    },
    /// A new binding.
    CreateBinding {
        /// Where.
        place: Place,
        /// The object.
        object: Value,
    },
    /// A binding goes, if it is still the one that was read.
    DeleteBinding {
        /// Which.
        place: Place,
        /// Its uid.
        uid: String,
        /// Its version.
        version: String,
    },
    /// A binding changes.
    PatchBinding {
        /// Which.
        place: Place,
        /// How.
        patch: Vec<Op>,
    },
    /// `aws-auth` as a whole, with its version.
    ReplaceAwsAuth {
        /// The object.
        object: Value,
    },
    /// The first `aws-auth`.
    CreateAwsAuth {
        /// The object.
        object: Value,
    },
}

impl Write {
    /// The right that it takes, in words.
    pub fn words(&self) -> &'static str {
        let cluster = |place: &Place| place.namespace.is_none();
        match self {
            Self::CreateEntry(_) => "eks:CreateAccessEntry",
            Self::UpdateEntry { .. } => "eks:UpdateAccessEntry",
            Self::DeleteEntry { .. } => "eks:DeleteAccessEntry",
            Self::Associate { .. } => "eks:AssociateAccessPolicy",
            Self::Disassociate { .. } => "eks:DisassociateAccessPolicy",
            Self::CreateBinding { place, .. } if cluster(place) => {
                "create rbac.authorization.k8s.io/clusterrolebindings"
            }
            Self::CreateBinding { .. } => "create rbac.authorization.k8s.io/rolebindings",
            Self::DeleteBinding { place, .. } if cluster(place) => {
                "delete rbac.authorization.k8s.io/clusterrolebindings"
            }
            Self::DeleteBinding { .. } => "delete rbac.authorization.k8s.io/rolebindings",
            Self::PatchBinding { place, .. } if cluster(place) => {
                "patch rbac.authorization.k8s.io/clusterrolebindings"
            }
            Self::PatchBinding { .. } => "patch rbac.authorization.k8s.io/rolebindings",
            Self::ReplaceAwsAuth { .. } => "update configmaps kube-system/aws-auth",
            Self::CreateAwsAuth { .. } => "create configmaps kube-system/aws-auth",
        }
    }

    /// The right that it takes. Always in the ceiling: a test goes through all.
    pub fn right(&self) -> Option<&'static Right> {
        rights::find(self.kind(), self.words())
    }

    /// Whom it is sent to.
    pub fn kind(&self) -> Kind {
        match self {
            Self::CreateEntry(_)
            | Self::UpdateEntry { .. }
            | Self::DeleteEntry { .. }
            | Self::Associate { .. }
            | Self::Disassociate { .. } => Kind::Eks,
            _ => Kind::Cluster,
        }
    }

    /// Method.
    pub fn method(&self) -> Method {
        match self {
            Self::CreateEntry(_)
            | Self::UpdateEntry { .. }
            | Self::Associate { .. }
            | Self::CreateBinding { .. }
            | Self::CreateAwsAuth { .. } => Method::POST,
            Self::DeleteEntry { .. } | Self::Disassociate { .. } | Self::DeleteBinding { .. } => {
                Method::DELETE
            }
            Self::PatchBinding { .. } => Method::PATCH,
            Self::ReplaceAwsAuth { .. } => Method::PUT,
        }
    }

    /// Path, canonically encoded.
    pub fn path(&self, cluster: &str) -> String {
        let entries = format!("/clusters/{}/access-entries", encode(cluster));
        let entry = |principal: &str| format!("{entries}/{}", encode(principal));
        match self {
            Self::CreateEntry(_) => entries,
            Self::UpdateEntry { principal, .. } | Self::DeleteEntry { principal } => {
                entry(principal)
            }
            Self::Associate { principal, .. } => format!("{}/access-policies", entry(principal)),
            Self::Disassociate { principal, policy } => {
                format!("{}/access-policies/{}", entry(principal), encode(policy))
            }
            Self::CreateBinding { place, .. } => place.collection(),
            Self::DeleteBinding { place, .. } | Self::PatchBinding { place, .. } => place.path(),
            Self::ReplaceAwsAuth { .. } => format!("{MAPS}/aws-auth"),
            Self::CreateAwsAuth { .. } => MAPS.to_owned(),
        }
    }

    /// Body. `token` makes a repeated request to EKS the same request.
    pub fn body(&self, token: &str) -> Option<Value> {
        Some(match self {
            Self::CreateEntry(entry) => {
                let mut body = json!({
                    "principalArn": entry.principal, "type": "STANDARD",
                    "kubernetesGroups": entry.groups, "tags": entry.tags,
                    "clientRequestToken": token,
                });
                if let (Some(username), Some(body)) = (&entry.username, body.as_object_mut()) {
                    body.insert("username".to_owned(), username.as_str().into());
                }
                body
            }
            Self::UpdateEntry { groups, .. } => {
                json!({"kubernetesGroups": groups, "clientRequestToken": token})
            }
            Self::Associate { policy, scope, .. } => {
                json!({"policyArn": policy, "accessScope": scope.json()})
            }
            Self::DeleteEntry { .. } | Self::Disassociate { .. } => return None,
            Self::CreateBinding { object, .. }
            | Self::ReplaceAwsAuth { object }
            | Self::CreateAwsAuth { object } => object.clone(),
            Self::DeleteBinding { uid, version, .. } => json!({
                "apiVersion": "v1", "kind": "DeleteOptions",
                "preconditions": {"uid": uid, "resourceVersion": version},
            }),
            Self::PatchBinding { patch, .. } => patch
                .iter()
                .map(|op| match op {
                    Op::Test(path, value) => json!({"op": "test", "path": path, "value": value}),
                    Op::Remove(path) => json!({"op": "remove", "path": path}),
                    Op::Add(path, value) => json!({"op": "add", "path": path, "value": value}),
                })
                .collect(),
        })
    }

    /// `Content-Type` of a body.
    pub fn content_type(&self) -> &'static str {
        match self {
            Self::PatchBinding { .. } => "application/json-patch+json",
            _ => "application/json",
        }
    }
}

/// Parses a change and asks whether the connector has the right to plan it.
///
/// # Errors
/// Why it is no change that this host makes.
pub fn plan(granted: &[Granted], cluster: &str, planned: &Planned<'_>) -> Result<Write, Denial> {
    let malformed = Denial::Malformed;
    let granted = granted
        .iter()
        .find(|granted| granted.name == planned.upstream)
        .ok_or_else(|| {
            malformed(format!(
                "`{}` is no upstream of this connector",
                planned.upstream.escape_debug()
            ))
        })?;
    let body = planned.body.unwrap_or_default();
    if body.len() > MAX_BODY {
        return Err(malformed(format!(
            "the body of a change is larger than {MAX_BODY} bytes"
        )));
    }
    let request = Request::builder()
        .method(planned.method)
        .uri(format!("http://{}{}", granted.name, planned.path))
        .body(Bytes::new())
        .map_err(|_| malformed("a change has a method or path that is none".to_owned()))?;
    if planned.path.contains(['?', '#']) {
        return Err(malformed("the path of a change has a query".to_owned()));
    }
    let operation = match parse(granted, cluster, &request).map_err(malformed)? {
        Recognised::Known(operation) => operation,
        Recognised::Unknown(words) => return Err(Denial::Missing(words)),
    };
    if !granted.allows(operation.right) {
        return Err(Denial::Missing(operation.right.words.to_owned()));
    }
    if !operation.right.writes() {
        return Err(malformed(format!(
            "`{}` changes nothing, so it is no change",
            operation.right.words
        )));
    }
    let segments = text::segments(&operation.path).map_err(malformed)?;
    let named: Vec<&str> = segments.iter().map(text::Segment::text).collect();
    let object = match (body, operation.right.kind) {
        ("", _) => Value::Null,
        _ => serde_json::from_str(body)
            .map_err(|error| malformed(format!("the body of a change cannot be read: {error}")))?,
    };
    let write = read(&operation, &named, object).map_err(malformed)?;
    // What was understood is what is sent: method, path and right come out the same.
    if write.path(cluster) != operation.path
        || write.method() != operation.method
        || write.right() != Some(operation.right)
    {
        return Err(malformed(
            "a change that reads differently when it is written again".to_owned(),
        ));
    }
    Ok(write)
}

fn read(operation: &super::Operation, named: &[&str], body: Value) -> Result<Write, String> {
    let words = operation.right.words;
    let at = |index: usize| named.get(index).map(|&text| text.to_owned());
    let missing = || format!("`{words}` in a path that does not name what it changes");
    let principal = || at(3).ok_or_else(missing);
    Ok(match words {
        "eks:CreateAccessEntry" => {
            let mut body = Members::of(body, words)?;
            let entry = NewEntry {
                principal: body.text("principalArn")?,
                groups: body.texts("kubernetesGroups")?,
                username: body.optional_text("username")?,
                tags: body.object("tags")?,
            };
            if body.text("type")? != "STANDARD" {
                return Err("an access entry of another type than STANDARD".to_owned());
            }
            body.end()?;
            Write::CreateEntry(entry)
        }
        "eks:UpdateAccessEntry" => {
            let mut body = Members::of(body, words)?;
            let groups = body.texts("kubernetesGroups")?;
            body.end()?;
            Write::UpdateEntry {
                principal: principal()?,
                groups,
            }
        }
        "eks:DeleteAccessEntry" => {
            nothing(&body, words)?;
            Write::DeleteEntry {
                principal: principal()?,
            }
        }
        "eks:AssociateAccessPolicy" => {
            let mut body = Members::of(body, words)?;
            let policy = body.text("policyArn")?;
            let mut scope = Members::of(body.take("accessScope")?, words)?;
            body.end()?;
            let kind = scope.text("type")?;
            let namespaces = match scope.0.contains_key("namespaces") {
                true => scope.texts("namespaces")?,
                false => Vec::new(),
            };
            scope.end()?;
            let scope = match (kind.as_str(), namespaces.is_empty()) {
                ("cluster", true) => Scope::Cluster,
                ("namespace", false) => Scope::Namespaces(namespaces),
                _ => return Err("an access scope that is none".to_owned()),
            };
            Write::Associate {
                principal: principal()?,
                policy,
                scope,
            }
        }
        "eks:DisassociateAccessPolicy" => {
            nothing(&body, words)?;
            Write::Disassociate {
                principal: principal()?,
                policy: at(5).ok_or_else(missing)?,
            }
        }
        "create rbac.authorization.k8s.io/rolebindings"
        | "create rbac.authorization.k8s.io/clusterrolebindings" => {
            let name = body.pointer("/metadata/name").and_then(Value::as_str);
            let place = Place {
                name: name.ok_or("a binding without a name")?.to_owned(),
                namespace: place_of(named, None)?,
            };
            Write::CreateBinding {
                place,
                object: body,
            }
        }
        "delete rbac.authorization.k8s.io/rolebindings"
        | "delete rbac.authorization.k8s.io/clusterrolebindings" => {
            let mut options = Members::of(body, words)?;
            if options.text("apiVersion")? != "v1" || options.text("kind")? != "DeleteOptions" {
                return Err("the body of a DELETE is no DeleteOptions".to_owned());
            }
            let mut preconditions = Members::of(options.take("preconditions")?, words)?;
            options.end()?;
            let (uid, version) = (
                preconditions.text("uid")?,
                preconditions.text("resourceVersion")?,
            );
            preconditions.end()?;
            Write::DeleteBinding {
                place: one(named)?,
                uid,
                version,
            }
        }
        "patch rbac.authorization.k8s.io/rolebindings"
        | "patch rbac.authorization.k8s.io/clusterrolebindings" => {
            let Value::Array(ops) = body else {
                return Err("a patch that is no list of JSON patch operations".to_owned());
            };
            let patch = ops.into_iter().map(op).collect::<Result<_, _>>()?;
            Write::PatchBinding {
                place: one(named)?,
                patch,
            }
        }
        "update configmaps kube-system/aws-auth" => Write::ReplaceAwsAuth { object: body },
        "create configmaps kube-system/aws-auth" => Write::CreateAwsAuth { object: body },
        _ => return Err(format!("`{words}` is no part of any plan")),
    })
}

fn op(value: Value) -> Result<Op, String> {
    let mut members = Members::of(value, "a patch")?;
    let (kind, path) = (members.text("op")?, members.text("path")?);
    let op = match kind.as_str() {
        "test" => Op::Test(path, members.take("value")?),
        "remove" => Op::Remove(path),
        _ => {
            return Err(format!(
                "a patch with the operation `{}`",
                kind.escape_debug()
            ));
        }
    };
    members.end()?;
    Ok(op)
}

/// The namespace in the path of a binding, after `apis`, group and version.
fn place_of(named: &[&str], name: Option<&str>) -> Result<Option<String>, String> {
    match (named.get(3..), name) {
        (Some(["namespaces", namespace, "rolebindings"]), None) => {
            Ok(Some((*namespace).to_owned()))
        }
        (Some(["clusterrolebindings"]), None) => Ok(None),
        (Some(["namespaces", namespace, "rolebindings", last]), Some(name)) if *last == name => {
            Ok(Some((*namespace).to_owned()))
        }
        (Some(["clusterrolebindings", last]), Some(name)) if *last == name => Ok(None),
        _ => Err("a path that names no binding in its place".to_owned()),
    }
}

fn one(named: &[&str]) -> Result<Place, String> {
    let name = named.last().copied().unwrap_or_default();
    Ok(Place {
        namespace: place_of(named, Some(name))?,
        name: name.to_owned(),
    })
}

fn nothing(body: &Value, words: &str) -> Result<(), String> {
    match body {
        Value::Null => Ok(()),
        _ => Err(format!("`{words}` has no body")),
    }
}

/// The members of a JSON object, each taken once; what is left at the end is
/// one too many.
pub(crate) struct Members(pub(crate) Map<String, Value>, String);

impl Members {
    pub(crate) fn of(value: Value, what: &str) -> Result<Self, String> {
        match value {
            Value::Object(members) => Ok(Self(members, what.to_owned())),
            _ => Err(format!("{what} holds no JSON object where one is expected")),
        }
    }

    pub(crate) fn take(&mut self, name: &str) -> Result<Value, String> {
        self.0
            .remove(name)
            .ok_or_else(|| format!("{} has no member `{name}`", self.1))
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<String, String> {
        match self.take(name)? {
            Value::String(text) => Ok(text),
            _ => Err(format!("`{name}` of {} is no text", self.1)),
        }
    }

    pub(crate) fn optional_text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.0.contains_key(name) {
            true => self.text(name).map(Some),
            false => Ok(None),
        }
    }

    pub(crate) fn texts(&mut self, name: &str) -> Result<Vec<String>, String> {
        let wrong = format!("`{name}` of {} is no list of texts", self.1);
        let Value::Array(items) = self.take(name)? else {
            return Err(wrong);
        };
        items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                _ => Err(wrong.clone()),
            })
            .collect()
    }

    pub(crate) fn object(&mut self, name: &str) -> Result<Map<String, Value>, String> {
        match self.take(name)? {
            Value::Object(members) => Ok(members),
            _ => Err(format!("`{name}` of {} is no object", self.1)),
        }
    }

    pub(crate) fn end(self) -> Result<(), String> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!(
                "{} has the member `{}`, which is no part of it",
                self.1,
                name.escape_debug()
            )),
        }
    }
}
