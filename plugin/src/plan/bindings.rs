//! Bindings: what is there, and the changes that make and unmake them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::lines;
use super::objects::{Whole, subject};
use super::wish::{Access, Who, Wish, role_kind};
use super::{ANNOTATION, LABEL, Told, View, change};
use crate::bindings::Change;
use crate::evidence::{Certainty, Holders};
use crate::identity::template::{Template, might_be};
use crate::kubernetes::rbac::{Subject, SubjectKind};
use crate::text::encode;

const GROUP: &str = "rbac.authorization.k8s.io";

/// A subject with names of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What kind.
    pub kind: SubjectKind,
    /// Service accounts only.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Named {
    /// A group.
    pub fn group(name: impl Into<String>) -> Named {
        Named {
            kind: SubjectKind::Group,
            namespace: String::new(),
            name: name.into(),
        }
    }

    /// A user.
    pub fn user(name: impl Into<String>) -> Named {
        Named {
            kind: SubjectKind::User,
            ..Named::group(name)
        }
    }

    /// A service account.
    pub fn account(namespace: &str, name: &str) -> Named {
        Named {
            kind: SubjectKind::ServiceAccount,
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The subject of a binding in namespace `home`, as RBAC understands it; `None`
    /// for one that names nobody.
    pub fn read(value: &Value, home: &str) -> Option<Named> {
        let subject = subject(value);
        if subject.name.is_empty() {
            return None;
        }
        match subject.kind.as_str() {
            "User" => Some(Named::user(subject.name)),
            "Group" => Some(Named::group(subject.name)),
            "ServiceAccount" => {
                let namespace = if subject.namespace.is_empty() {
                    home
                } else {
                    &subject.namespace
                };
                (!namespace.is_empty()).then(|| Named::account(namespace, &subject.name))
            }
            _ => None,
        }
    }

    /// As the index knows it.
    pub fn as_subject(&self) -> Subject<'_> {
        Subject {
            kind: self.kind,
            namespace: &self.namespace,
            name: &self.name,
        }
    }

    fn json(&self) -> Value {
        match self.kind {
            SubjectKind::User => json!({"apiGroup": GROUP, "kind": "User", "name": self.name}),
            SubjectKind::Group => json!({"apiGroup": GROUP, "kind": "Group", "name": self.name}),
            SubjectKind::ServiceAccount => {
                json!({"kind": "ServiceAccount", "name": self.name, "namespace": self.namespace})
            }
        }
    }

    /// For people.
    pub fn words(&self) -> String {
        match self.kind {
            SubjectKind::User => format!("User {}", self.name),
            SubjectKind::Group => format!("Group {}", self.name),
            SubjectKind::ServiceAccount => {
                format!("ServiceAccount {}/{}", self.namespace, self.name)
            }
        }
    }
}

/// The role of a wish for bindings: whether a ClusterRole, its name, the scope.
pub fn role_of(wish: &Wish) -> (bool, &str, &str) {
    match &wish.access {
        Access::Role {
            cluster_role,
            name,
            namespace,
        } => (*cluster_role, name, namespace),
        Access::Policy { .. } => (true, "", ""),
    }
}

/// `RoleBinding dev/readers`, `ClusterRoleBinding readers`.
pub fn called(namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        format!("ClusterRoleBinding {name}")
    } else {
        format!("RoleBinding {namespace}/{name}")
    }
}

fn path(namespace: &str, name: Option<&str>) -> String {
    let mut path = format!("/apis/{GROUP}/v1");
    if namespace.is_empty() {
        path.push_str("/clusterrolebindings");
    } else {
        path.push_str(&format!("/namespaces/{}/rolebindings", encode(namespace)));
    }
    if let Some(name) = name {
        path.push('/');
        path.push_str(&encode(name));
    }
    path
}

impl Whole {
    /// `RoleBinding dev/readers`.
    pub fn called(&self) -> String {
        called(&self.metadata.namespace, &self.metadata.name)
    }

    /// As the index calls it.
    pub fn path(&self) -> String {
        match self.metadata.namespace.as_str() {
            "" => self.metadata.name.clone(),
            namespace => format!("{namespace}/{}", self.metadata.name),
        }
    }

    /// Whether it carries our label.
    pub fn is_labelled(&self) -> bool {
        self.metadata.labels.get(LABEL.0).map(String::as_str) == Some(LABEL.1)
    }

    /// Whether it binds the role of the wish. One that has our name may not.
    pub fn binds(&self, wish: &Wish) -> bool {
        let (cluster_role, name, _) = role_of(wish);
        self.role_ref.kind == role_kind(cluster_role) && self.role_ref.name == name
    }

    fn subjects_text(&self) -> String {
        Value::from(self.subjects.clone()).to_string()
    }
}

impl View<'_> {
    /// Who holds the wished role because of a subject.
    pub fn by_subject(&self, named: &Named, binding: &str) -> Holders {
        let mut holders = Holders::default();
        self.world
            .holders(named.as_subject(), binding, &mut holders);
        holders
    }

    /// Everybody besides the principal who is behind a subject. A stand-in for a
    /// name that nobody has is nobody.
    pub fn sharers(&self, named: &Named) -> Vec<String> {
        self.by_subject(named, "")
            .principals()
            .filter(|(kind, id, certainty)| {
                let own = *kind == self.wish.kind && *id == self.wish.id;
                let nobody = kind.starts_with("kube_") && *certainty == Certainty::Latent;
                !own && !nobody
            })
            .map(|(kind, id, _)| format!("{kind} {id}"))
            .collect()
    }

    /// Others who might be behind a subject by any mapping that stands somewhere,
    /// also one that does not count now: a line that an entry replaces, an entry of
    /// a role that is gone.
    pub fn rivals(&self, named: &Named) -> Vec<String> {
        let Some(arn) = self.wish.arn() else {
            return Vec::new();
        };
        let own = lines::canonical(arn).to_lowercase();
        let might = |username: &str, groups: &[String]| match named.kind {
            SubjectKind::User => might_be(username, &named.name),
            SubjectKind::Group => groups.iter().any(|g| might_be(g, &named.name)),
            SubjectKind::ServiceAccount => false,
        };
        let mut out = Vec::new();
        for line in self.reads.auth.iter().flat_map(|auth| &auth.lines) {
            if line.arn.to_lowercase() != own && might(&line.username, &line.groups) {
                out.push(format!("{} ({})", line.arn, line.place));
            }
        }
        for read in self.reads.entries.iter().filter(|e| e.arn != self.wish.id) {
            if let Ok(entry) = &read.entry
                && might(&entry.username, &entry.kubernetes_groups)
            {
                out.push(format!("{} (access entry)", read.arn));
            }
        }
        out
    }

    /// A binding that still needs one of the names, once those of `changed` have
    /// the subjects that are told there.
    pub fn user_of(
        &self,
        names: &[(SubjectKind, String)],
        changed: &BTreeMap<String, Vec<Named>>,
    ) -> Option<String> {
        let needs = |kind: SubjectKind, name: &str| {
            names
                .iter()
                .any(|(k, template)| *k == kind && might_be(template, name))
        };
        for (.., bound) in self.world.bindings.all() {
            let path = bound.path();
            let used = match changed.get(&path) {
                Some(left) => left.iter().any(|n| needs(n.kind, &n.name)),
                None => bound.subjects().any(|s| needs(s.kind, s.name)),
            };
            if used {
                return Some(path);
            }
        }
        None
    }

    /// How sure it is that the principal holds the wished role now.
    pub fn holds_role(&self) -> Option<Certainty> {
        let (cluster_role, name, namespace) = role_of(self.wish);
        let mut holders = Holders::default();
        if self.reads.role_exists {
            for binding in self.world.bindings.of(cluster_role, name, namespace) {
                let path = binding.path();
                for subject in binding.subjects() {
                    self.world.holders(subject, &path, &mut holders);
                }
            }
        }
        if cluster_role && name == "cluster-admin" && namespace.is_empty() {
            self.world.masters(&mut holders);
        }
        self.among(&holders)
    }

    /// Bindings, other than of the wished role in its scope, whose subjects are
    /// among names that the principal would get: what else it would gain by them.
    pub fn gains(&self, names: &[(SubjectKind, Template)]) -> Vec<String> {
        let wished = role_of(self.wish);
        let mut out = Vec::new();
        for (cluster_role, role, namespace, bound) in self.world.bindings.all() {
            if (cluster_role, role, namespace) == wished {
                continue;
            }
            for subject in bound.subjects() {
                let named = names
                    .iter()
                    .any(|(kind, template)| *kind == subject.kind && template.covers(subject.name));
                if named {
                    let path = bound.path();
                    let kind = if namespace.is_empty() {
                        "ClusterRoleBinding"
                    } else {
                        "RoleBinding"
                    };
                    let role_kind = role_kind(cluster_role);
                    out.push(format!("{kind} {path} ({role_kind} {role})"));
                    break;
                }
            }
        }
        out
    }
}

/// Makes our binding of a subject.
pub fn create(wish: &Wish, named: &Named) -> Change {
    let (cluster_role, role, namespace) = role_of(wish);
    let name = wish.binding_name();
    let mut metadata = json!({
        "name": name,
        "labels": {LABEL.0: LABEL.1},
        "annotations": {ANNOTATION: wish.id},
    });
    let kind = if namespace.is_empty() {
        "ClusterRoleBinding"
    } else {
        metadata["namespace"] = namespace.into();
        "RoleBinding"
    };
    let role_kind = role_kind(cluster_role);
    let body = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": kind,
        "metadata": metadata,
        "roleRef": {"apiGroup": GROUP, "kind": role_kind, "name": role},
        "subjects": [named.json()],
    });
    let told = Told {
        step: "access",
        object: called(namespace, &name),
        before: "",
        after: &Value::from(vec![named.json()]).to_string(),
        summary: format!(
            "create {} that binds {role_kind} {role} to {} for {}",
            called(namespace, &name),
            named.words(),
            wish.principal()
        ),
    };
    change(
        "kubernetes",
        "POST",
        path(namespace, None),
        Some(body),
        told,
    )
}

/// Deletes a binding, if it is still the one that was read.
pub fn delete(binding: &Whole, why: &str) -> Change {
    let meta = &binding.metadata;
    let body = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": meta.uid, "resourceVersion": meta.resource_version},
    });
    let told = Told {
        step: "access",
        object: binding.called(),
        before: &binding.subjects_text(),
        after: "",
        summary: format!("delete {}: {why}", binding.called()),
    };
    let path = path(&meta.namespace, Some(&meta.name));
    change("kubernetes", "DELETE", path, Some(body), told)
}

/// Takes some subjects out of a binding, if it is still as it was read.
pub fn without(binding: &Whole, subjects: &[usize]) -> Change {
    let meta = &binding.metadata;
    let mut patch = vec![
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": meta.resource_version}),
    ];
    let mut left = binding.clone();
    let mut words = Vec::new();
    for at in subjects.iter().rev() {
        if let Some(value) = binding.subjects.get(*at) {
            let place = format!("/subjects/{at}");
            patch.push(json!({"op": "test", "path": place, "value": value}));
            patch.push(json!({"op": "remove", "path": place}));
            left.subjects.remove(*at);
            words.extend(Named::read(value, &meta.namespace).map(|n| n.words()));
        }
    }
    let told = Told {
        step: "access",
        object: binding.called(),
        before: &binding.subjects_text(),
        after: &left.subjects_text(),
        summary: format!("take {} out of {}", words.join(" and "), binding.called()),
    };
    let path = path(&meta.namespace, Some(&meta.name));
    change("kubernetes", "PATCH", path, Some(patch.into()), told)
}

/// The subject that a service account is bound by.
pub fn of_account(who: &Who) -> Option<Named> {
    match who {
        Who::Account { namespace, name } => Some(Named::account(namespace, name)),
        Who::Iam(_) => None,
    }
}
