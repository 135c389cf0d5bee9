//! The objects of one cluster, with resource versions and snapshots.
//!
//! A paged list is served from the snapshot its first page saw, as etcd does;
//! maps are shared copy-on-write, so a snapshot costs a pointer until somebody
//! writes. Snapshots can be thrown away, which is what makes a continue token
//! expire.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::bootstrap;
use crate::scenario::ClusterSpec;
use crate::text::{sha256, uuid};

/// A resource the API serves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub group: &'static str,
    pub resource: &'static str,
    pub kind: &'static str,
    pub namespaced: bool,
}

pub(crate) const RBAC: &str = "rbac.authorization.k8s.io";

const fn kind(
    group: &'static str,
    resource: &'static str,
    kind: &'static str,
    namespaced: bool,
) -> Kind {
    Kind {
        group,
        resource,
        kind,
        namespaced,
    }
}

pub(crate) static KINDS: [Kind; 10] = [
    kind("", "namespaces", "Namespace", false),
    kind("", "serviceaccounts", "ServiceAccount", true),
    kind("", "configmaps", "ConfigMap", true),
    kind("", "secrets", "Secret", true),
    kind("", "pods", "Pod", true),
    kind(RBAC, "clusterroles", "ClusterRole", false),
    kind(RBAC, "clusterrolebindings", "ClusterRoleBinding", false),
    kind(RBAC, "roles", "Role", true),
    kind(RBAC, "rolebindings", "RoleBinding", true),
    kind("coordination.k8s.io", "leases", "Lease", true),
];

impl Kind {
    pub(crate) fn find(group: &str, resource: &str) -> Option<&'static Kind> {
        KINDS
            .iter()
            .find(|k| k.group == group && k.resource == resource)
    }

    pub(crate) fn named(name: &str) -> Option<&'static Kind> {
        KINDS.iter().find(|k| k.kind == name)
    }

    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            "v1".into()
        } else {
            format!("{}/v1", self.group)
        }
    }

    /// `clusterroles.rbac.authorization.k8s.io`, as messages name it.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.resource.into()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }
}

pub(crate) type Objects = BTreeMap<String, Arc<Value>>;

#[derive(Debug, Default)]
pub(crate) struct Store {
    version: u64,
    objects: BTreeMap<&'static str, Arc<Objects>>,
    snapshots: BTreeMap<(&'static str, u64), Arc<Objects>>,
    noise: bool,
    seed: String,
    /// How many objects of a key there were before: the next one has another uid.
    before: BTreeMap<String, u64>,
}

/// How many snapshots are kept before the oldest goes, as compaction does.
const SNAPSHOTS: usize = 256;

impl Store {
    pub(crate) fn new(spec: &ClusterSpec) -> Store {
        let mut store = Store {
            version: 1000,
            noise: spec.noise,
            seed: spec.name.clone(),
            ..Store::default()
        };
        let mut all = bootstrap::objects(spec);
        all.extend(spec.objects.iter().cloned());
        for object in all {
            let kind = object
                .get("kind")
                .and_then(Value::as_str)
                .and_then(Kind::named);
            if let Some(kind) = kind {
                store.put(kind, object, spec.created.as_str());
            }
        }
        store.aggregate();
        store
    }

    pub(crate) fn all(&self, kind: &Kind) -> Arc<Objects> {
        self.objects.get(kind.resource).cloned().unwrap_or_default()
    }

    pub(crate) fn get(&self, kind: &Kind, key: &str) -> Option<Arc<Value>> {
        self.objects.get(kind.resource)?.get(key).cloned()
    }

    /// The objects of a kind now, kept for the pages that follow.
    pub(crate) fn snapshot(&mut self, kind: &'static Kind) -> (u64, Arc<Objects>) {
        let (version, objects) = (self.version, self.all(kind));
        self.snapshots
            .insert((kind.resource, version), objects.clone());
        while self.snapshots.len() > SNAPSHOTS {
            self.snapshots.pop_first();
        }
        (version, objects)
    }

    pub(crate) fn at(&self, kind: &'static Kind, version: u64) -> Option<Arc<Objects>> {
        self.snapshots.get(&(kind.resource, version)).cloned()
    }

    /// Every continue token that is out there has expired.
    pub(crate) fn compact(&mut self) {
        self.snapshots.clear();
    }

    /// Stores an object as the API would return it; answers what was stored.
    pub(crate) fn put(
        &mut self,
        kind: &'static Kind,
        mut object: Value,
        created: &str,
    ) -> Arc<Value> {
        self.version += 1;
        let given = object.to_string();
        if let Some(map) = object.as_object_mut() {
            map.remove("kind");
            map.remove("apiVersion");
            complete(kind, map);
        }
        let key = key(kind, &object);
        let noise = self.noise;
        let version = self.version;
        let place = format!("{}{key}", kind.resource);
        let uid = match self.before.get(&place) {
            None => uuid(&format!("{}{place}", self.seed)),
            Some(count) => uuid(&format!("{}{place} {count}", self.seed)),
        };
        if let Some(meta) = object
            .as_object_mut()
            .map(|m| m.entry("metadata").or_insert_with(|| json!({})))
            .and_then(Value::as_object_mut)
        {
            meta.entry("uid").or_insert_with(|| uid.into());
            meta.entry("creationTimestamp")
                .or_insert_with(|| created.into());
            meta.insert("resourceVersion".into(), version.to_string().into());
            if noise {
                litter(meta, &given);
            }
        }
        let object = Arc::new(object);
        Arc::make_mut(self.objects.entry(kind.resource).or_default()).insert(key, object.clone());
        object
    }

    pub(crate) fn remove(&mut self, kind: &'static Kind, key: &str) -> bool {
        let Some(objects) = self.objects.get_mut(kind.resource) else {
            return false;
        };
        let gone = Arc::make_mut(objects).remove(key).is_some();
        if gone {
            self.version += 1;
            *self
                .before
                .entry(format!("{}{key}", kind.resource))
                .or_default() += 1;
        }
        if gone && kind.resource == "namespaces" {
            self.empty(key);
        }
        gone
    }

    /// A namespace takes all that is in it along.
    fn empty(&mut self, namespace: &str) {
        let prefix = format!("{namespace}/");
        for kind in KINDS.iter().filter(|k| k.namespaced) {
            let inside: Vec<String> = self
                .all(kind)
                .keys()
                .filter(|key| key.starts_with(&prefix))
                .cloned()
                .collect();
            for key in inside {
                self.remove(kind, &key);
            }
        }
    }

    /// What the aggregation controller does: fills the rules of aggregated cluster roles.
    pub(crate) fn aggregate(&mut self) {
        let Some(kind) = Kind::find(RBAC, "clusterroles") else {
            return;
        };
        let before = self.all(kind);
        for (name, role) in before.iter() {
            let Some(selectors) = role
                .pointer("/aggregationRule/clusterRoleSelectors")
                .and_then(Value::as_array)
            else {
                continue;
            };
            let mut rules: Vec<Value> = Vec::new();
            for other in before
                .iter()
                .filter(|(source, _)| *source != name)
                .map(|(_, other)| other)
            {
                let labels = other.pointer("/metadata/labels");
                let selected = selectors.iter().any(|s| {
                    let wanted = s.get("matchLabels").and_then(Value::as_object);
                    wanted.is_some_and(|w| {
                        w.iter()
                            .all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v))
                    })
                });
                if selected {
                    for rule in other
                        .get("rules")
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                    {
                        if !rules.contains(rule) {
                            rules.push(rule.clone());
                        }
                    }
                }
            }
            if role.get("rules").and_then(Value::as_array) != Some(&rules) {
                let mut changed = (**role).clone();
                if let Some(map) = changed.as_object_mut() {
                    map.insert("rules".into(), rules.into());
                }
                self.put(kind, changed, "");
            }
        }
    }
}

/// `namespace/name`, or `name`.
pub(crate) fn key(kind: &Kind, object: &Value) -> String {
    let field = |name: &str| {
        object
            .pointer(&format!("/metadata/{name}"))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    if kind.namespaced {
        format!("{}/{}", field("namespace"), field("name"))
    } else {
        field("name").to_owned()
    }
}

/// Defaults that the API server fills in.
fn complete(kind: &Kind, object: &mut Map<String, Value>) {
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut)
        && kind.namespaced
    {
        meta.entry("namespace").or_insert_with(|| "default".into());
    }
    if let Some(reference) = object.get_mut("roleRef").and_then(Value::as_object_mut) {
        reference.entry("apiGroup").or_insert_with(|| RBAC.into());
    }
    for subject in object
        .get_mut("subjects")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let person = matches!(
            subject.get("kind").and_then(Value::as_str),
            Some("User" | "Group")
        );
        if let (true, Some(map)) = (person, subject.as_object_mut()) {
            map.entry("apiGroup").or_insert_with(|| RBAC.into());
        }
    }
}

/// What `kubectl apply` leaves behind in metadata.
fn litter(meta: &mut Map<String, Value>, given: &str) {
    if let Some(annotations) = meta
        .entry("annotations")
        .or_insert_with(|| json!({}))
        .as_object_mut()
    {
        annotations
            .entry("kubectl.kubernetes.io/last-applied-configuration")
            .or_insert_with(|| format!("{given}\n").into());
    }
    let fields = json!({"f:metadata": {"f:annotations": {}}, "f:digest": sha256(given.as_bytes())});
    meta.insert(
        "managedFields".into(),
        json!([{"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "v1", "time": "2025-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields}]),
    );
}
