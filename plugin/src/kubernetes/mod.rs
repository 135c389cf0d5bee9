//! Kubernetes' answers: paged lists, RBAC objects, service accounts, `aws-auth`.

pub mod aws_auth;
pub mod edit;
pub mod list;
pub mod rbac;
pub mod spans;
pub mod yaml;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::aws::eks::or_default;
use crate::text::{cut, go_time};

/// The part of an object's metadata that is used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Meta {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub namespace: String,
    #[serde(deserialize_with = "or_default")]
    pub uid: String,
    #[serde(deserialize_with = "or_default")]
    pub creation_timestamp: String,
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
}

impl Meta {
    /// `<namespace>/<name>`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The profile fields that stay in every copy of the object.
    pub fn short(&self) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("name".into(), self.name.clone().into());
        if !self.namespace.is_empty() {
            map.insert("namespace".into(), self.namespace.clone().into());
        }
        map.insert("uid".into(), self.uid.clone().into());
        map.insert(
            "creationTimestamp".into(),
            go_time(&self.creation_timestamp).into(),
        );
        map
    }

    /// [`Meta::short`] with labels and annotations; `empty` says whether these
    /// two appear where there are none. Annotation values are cut at 1 KiB.
    pub fn long(&self, empty: bool) -> Map<String, Value> {
        let mut map = self.short();
        let object = |m: &BTreeMap<String, String>, max: usize| {
            Value::Object(
                m.iter()
                    .map(|(k, v)| (k.clone(), cut(v, max).into()))
                    .collect(),
            )
        };
        if empty || !self.labels.is_empty() {
            map.insert("labels".into(), object(&self.labels, usize::MAX));
        }
        if empty || !self.annotations.is_empty() {
            map.insert("annotations".into(), object(&self.annotations, 1024));
        }
        map
    }
}

/// Anything of which only the metadata is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Bare {
    #[serde(deserialize_with = "or_default")]
    pub metadata: Meta,
}

/// A service account.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct ServiceAccount {
    #[serde(deserialize_with = "or_default")]
    pub metadata: Meta,
    #[serde(deserialize_with = "or_default")]
    pub secrets: Vec<Reference>,
    #[serde(deserialize_with = "or_default")]
    pub image_pull_secrets: Vec<Reference>,
}

/// A reference to another object by name.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Reference {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
}

/// A Role or a ClusterRole.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Role {
    #[serde(deserialize_with = "or_default")]
    pub metadata: Meta,
    #[serde(deserialize_with = "or_default")]
    pub rules: Vec<Rule>,
    pub aggregation_rule: Option<Value>,
}

/// One rule of a role. Typed, because a tree of JSON values takes ten times the
/// text's size and a page may hold five hundred roles.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Rule {
    #[serde(deserialize_with = "or_default")]
    pub verbs: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    #[serde(
        rename = "nonResourceURLs",
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub non_resource_urls: Vec<String>,
}

/// A RoleBinding or a ClusterRoleBinding.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Binding {
    #[serde(deserialize_with = "or_default")]
    pub metadata: Meta,
    #[serde(deserialize_with = "or_default")]
    pub role_ref: RoleRef,
    #[serde(deserialize_with = "or_default")]
    pub subjects: Vec<Subject>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct RoleRef {
    #[serde(deserialize_with = "or_default")]
    pub kind: String,
    #[serde(deserialize_with = "or_default")]
    pub name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Subject {
    #[serde(deserialize_with = "or_default")]
    pub kind: String,
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub namespace: String,
}

/// The `aws-auth` ConfigMap.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ConfigMap {
    #[serde(deserialize_with = "or_default")]
    pub metadata: Meta,
    #[serde(deserialize_with = "or_default")]
    pub data: BTreeMap<String, String>,
}
