//! RBAC as the API server evaluates it, and the escalation check on writing it.

use std::sync::Arc;

use serde_json::Value;

use super::access_policies;
use super::identity::Subject;
use super::store::{Kind, RBAC, Store};
use crate::policy::strings;

/// What a request wants to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attributes {
    pub verb: String,
    pub group: String,
    /// With its subresource, `pods/log`.
    pub resource: String,
    pub namespace: String,
    pub name: String,
    /// For requests that are about no resource.
    pub path: Option<String>,
}

/// RBAC or an access policy lets it pass.
pub(crate) fn allowed(store: &Store, who: &Subject, want: &Attributes) -> bool {
    who.is_master() || by_rbac(store, who, want) || access_policies::allow(who, want)
}

fn by_rbac(store: &Store, who: &Subject, want: &Attributes) -> bool {
    held(store, who, &want.namespace)
        .iter()
        .any(|(rule, cluster_wide)| {
            (want.path.is_none() || *cluster_wide) && rule_allows(rule, want)
        })
}

/// The rules a subject holds in a namespace; the flag says that they hold everywhere.
pub(crate) fn held(store: &Store, who: &Subject, namespace: &str) -> Vec<(Value, bool)> {
    let mut rules = Vec::new();
    let mut add = |role: Option<Arc<Value>>, everywhere: bool| {
        for rule in role
            .as_deref()
            .and_then(|r| r.get("rules"))
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            rules.push((rule.clone(), everywhere));
        }
    };
    for binding in objects(store, "clusterrolebindings", "")
        .iter()
        .filter(|b| bound(b, who, ""))
    {
        add(role_of(store, binding, ""), true);
    }
    if !namespace.is_empty() {
        for binding in objects(store, "rolebindings", namespace)
            .iter()
            .filter(|b| bound(b, who, namespace))
        {
            add(role_of(store, binding, namespace), false);
        }
    }
    rules
}

fn objects(store: &Store, resource: &str, namespace: &str) -> Vec<Arc<Value>> {
    let Some(kind) = Kind::find(RBAC, resource) else {
        return Vec::new();
    };
    let prefix = if namespace.is_empty() {
        String::new()
    } else {
        format!("{namespace}/")
    };
    let all = store.all(kind);
    all.range(prefix.clone()..)
        .take_while(|(key, _)| key.starts_with(&prefix))
        .map(|(_, v)| v.clone())
        .collect()
}

/// The role a binding refers to; `None` where it dangles.
pub(crate) fn role_of(store: &Store, binding: &Value, namespace: &str) -> Option<Arc<Value>> {
    let name = binding.pointer("/roleRef/name")?.as_str()?;
    match binding.pointer("/roleRef/kind")?.as_str()? {
        "ClusterRole" => store.get(Kind::find(RBAC, "clusterroles")?, name),
        _ => store.get(Kind::find(RBAC, "roles")?, &format!("{namespace}/{name}")),
    }
}

fn bound(binding: &Value, who: &Subject, namespace: &str) -> bool {
    let subjects = binding.get("subjects").and_then(Value::as_array);
    subjects.into_iter().flatten().any(|subject| {
        let field = |name: &str| {
            subject
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        match field("kind") {
            "User" => field("name") == who.name,
            "Group" => who.groups.iter().any(|g| g == field("name")),
            "ServiceAccount" => {
                let own = if field("namespace").is_empty() {
                    namespace
                } else {
                    field("namespace")
                };
                who.name == format!("system:serviceaccount:{own}:{}", field("name"))
            }
            _ => false,
        }
    })
}

pub(crate) fn rule_allows(rule: &Value, want: &Attributes) -> bool {
    let has = |field: &str, test: &dyn Fn(&str) -> bool| {
        strings(rule.get(field)).iter().any(|v| v == "*" || test(v))
    };
    if !has("verbs", &|v| v == want.verb) {
        return false;
    }
    if let Some(path) = &want.path {
        return has("nonResourceURLs", &|u| {
            u == path || u.strip_suffix('*').is_some_and(|p| path.starts_with(p))
        });
    }
    let subresource = want.resource.split_once('/').map(|(_, s)| format!("*/{s}"));
    let names = strings(rule.get("resourceNames"));
    has("apiGroups", &|g| g == want.group)
        && has("resources", &|r| {
            r == want.resource || subresource.as_deref() == Some(r)
        })
        && (names.is_empty() || names.contains(&want.name))
}

/// Rules of a role that the subject does not hold itself: writing it would escalate.
/// Only RBAC counts here; access policies do not.
pub(crate) fn missing(
    store: &Store,
    who: &Subject,
    role: Option<&Value>,
    namespace: &str,
) -> Vec<String> {
    if who.is_master() {
        return Vec::new();
    }
    let held = held(store, who, namespace);
    let mut lacking = Vec::new();
    for rule in role
        .and_then(|r| r.get("rules"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        if !single(rule)
            .iter()
            .all(|want| held.iter().any(|(have, _)| rule_allows(have, want)))
        {
            lacking.push(describe(rule));
        }
    }
    lacking
}

/// A rule as single wishes. A `*` in it is only covered by a `*`, which `rule_allows` gives by equality.
fn single(rule: &Value) -> Vec<Attributes> {
    let list = |field: &str| {
        let values = strings(rule.get(field));
        if values.is_empty() {
            vec![String::new()]
        } else {
            values
        }
    };
    let mut all = Vec::new();
    for verb in strings(rule.get("verbs")) {
        for url in strings(rule.get("nonResourceURLs")) {
            all.push(Attributes {
                verb: verb.clone(),
                path: Some(url),
                ..Attributes::default()
            });
        }
        for group in strings(rule.get("apiGroups")) {
            for resource in strings(rule.get("resources")) {
                for name in list("resourceNames") {
                    all.push(Attributes {
                        verb: verb.clone(),
                        group: group.clone(),
                        resource: resource.clone(),
                        name,
                        ..Attributes::default()
                    });
                }
            }
        }
    }
    all
}

fn describe(rule: &Value) -> String {
    let mut parts = Vec::new();
    for (label, field) in [
        ("APIGroups", "apiGroups"),
        ("Resources", "resources"),
        ("ResourceNames", "resourceNames"),
        ("NonResourceURLs", "nonResourceURLs"),
        ("Verbs", "verbs"),
    ] {
        let values = strings(rule.get(field));
        if !values.is_empty() {
            let quoted: Vec<String> = values.iter().map(|v| format!("{v:?}")).collect();
            parts.push(format!("{label}:[{}]", quoted.join(" ")));
        }
    }
    format!("{{{}}}", parts.join(", "))
}
