//! Bindings and namespaces with what only a plan needs of them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::aws::eks::or_default;
use crate::kubernetes::{Binding, Meta, RoleRef, Subject};

/// A binding with all that a change of it needs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Whole {
    #[serde(deserialize_with = "or_default")]
    pub metadata: WholeMeta,
    #[serde(deserialize_with = "or_default")]
    pub role_ref: RoleRef,
    /// As they stand there: a JSON patch tests them word for word.
    #[serde(deserialize_with = "or_default")]
    pub subjects: Vec<Value>,
}

/// The metadata of such a binding.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct WholeMeta {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub namespace: String,
    #[serde(deserialize_with = "or_default")]
    pub uid: String,
    #[serde(deserialize_with = "or_default")]
    pub resource_version: String,
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
}

impl Whole {
    /// As a sync keeps it.
    pub fn plain(&self) -> Binding {
        Binding {
            metadata: Meta {
                name: self.metadata.name.clone(),
                namespace: self.metadata.namespace.clone(),
                ..Meta::default()
            },
            role_ref: RoleRef {
                kind: self.role_ref.kind.clone(),
                name: self.role_ref.name.clone(),
            },
            subjects: self.subjects.iter().map(subject).collect(),
        }
    }
}

/// A subject as RBAC reads it.
pub fn subject(value: &Value) -> Subject {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

/// A namespace.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Place {
    #[serde(deserialize_with = "or_default")]
    metadata: PlaceMeta,
    #[serde(deserialize_with = "or_default")]
    status: PlaceStatus,
}
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PlaceMeta {
    #[serde(deserialize_with = "or_default")]
    name: String,
    deletion_timestamp: Option<Value>,
}
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PlaceStatus {
    #[serde(deserialize_with = "or_default")]
    phase: String,
}

impl Place {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Whether it is being deleted.
    pub fn is_leaving(&self) -> bool {
        self.metadata.deletion_timestamp.is_some() || self.status.phase == "Terminating"
    }
}
