//! One room per kind of object: its rows, its entitlements, its grants.

mod access_policy;
mod cluster_role;
mod configmap;
mod kube;
mod namespace;
mod namespace_role;
mod people;
mod role;
mod service_account;
pub mod walk;

pub use walk::{Walk, nothing};

use serde_json::{Map, Value};

use crate::aws::arn::Arn;
use crate::bindings::{Entitlement, Grant, Object, ObjectId};
use crate::evidence::{MAX_TEXT, Notes};
use crate::kubernetes::Role;
use crate::text::rfc3339;
use crate::world::World;

/// The rows of a kind; `None` for a kind that is not listed.
pub fn objects(kind: &str, parent: Option<ObjectId>) -> Option<Box<dyn Walk<Object>>> {
    let rows: Box<dyn Walk<Object>> = match kind {
        "namespace" => namespace::objects(),
        "service_account" => service_account::objects(parent.clone()),
        "configmap" => configmap::objects(parent.clone()),
        "cluster_role" => cluster_role::objects(parent.clone()),
        "namespace_role" => namespace_role::objects(parent.clone()),
        "role" => role::objects(),
        "access_policy" => access_policy::objects(),
        "kube_group" | "kube_user" => kube::objects(kind == "kube_group"),
        "iam_user" => people::users(),
        "group" => people::groups(),
        _ => return None,
    };
    // Kinds whose objects have no parent hold nothing below one.
    let homeless = !matches!(kind, "service_account" | "configmap" | "namespace_role");
    Some(if parent.is_some() && homeless {
        nothing()
    } else {
        rows
    })
}

/// The entitlements of a kind.
pub fn entitlements(kind: &str) -> Option<Box<dyn Walk<Entitlement>>> {
    Some(match kind {
        "service_account" => service_account::entitlements(),
        "configmap" => configmap::entitlements(),
        "cluster_role" => cluster_role::entitlements(),
        "namespace_role" => namespace_role::entitlements(),
        "role" => role::entitlements(),
        "access_policy" => access_policy::entitlements(),
        "group" => people::memberships(),
        "namespace" | "kube_group" | "kube_user" | "iam_user" => nothing(),
        _ => return None,
    })
}

/// The grants of a kind.
pub fn grants(kind: &str) -> Option<Box<dyn Walk<Grant>>> {
    Some(match kind {
        "cluster_role" => cluster_role::grants(),
        "namespace_role" => namespace_role::grants(),
        "role" => role::grants(),
        "access_policy" => access_policy::grants(),
        "group" => people::members(),
        "namespace" | "service_account" | "configmap" | "kube_group" | "kube_user" | "iam_user" => {
            nothing()
        }
        _ => return None,
    })
}

fn id(kind: &str, id: impl Into<String>) -> ObjectId {
    ObjectId {
        kind: kind.into(),
        id: id.into(),
    }
}

fn attribute(key: &str, value: impl Into<String>) -> (String, String) {
    (key.into(), value.into())
}

/// The profile that copies of the object carry, if it is short enough.
fn embedded(profile: &Map<String, Value>) -> Vec<(String, String)> {
    let text = Value::Object(profile.clone()).to_string();
    if text.len() <= MAX_TEXT {
        vec![attribute("embedded-profile", text)]
    } else {
        Vec::new()
    }
}

fn entitlement(
    on: ObjectId,
    slug: String,
    name: String,
    description: String,
    purpose: &str,
    to: &[&str],
) -> Entitlement {
    Entitlement {
        on,
        slug,
        display_name: name,
        purpose: purpose.into(),
        grantable_to: to.iter().map(|k| (*k).to_string()).collect(),
        attributes: vec![attribute("description", description)],
    }
}

/// Tags as a profile keeps them: not all where there are very many.
fn tags<'a>(tags: impl Iterator<Item = (&'a String, &'a String)>) -> Value {
    let short = |text: &str| crate::text::cut(text, 256);
    let kept = tags.take(50);
    let map: Map<String, Value> = kept.map(|(k, v)| (short(k), short(v).into())).collect();
    Value::Object(map)
}

/// What is known of a principal's access entry: its age and its tags.
fn entry(world: &World, arn: &Arn) -> Option<Value> {
    let facts = world.entries.get(&arn.key())?;
    let mut map = Map::new();
    for (key, time) in [("created", facts.created), ("modified", facts.modified)] {
        if let Some(time) = time {
            map.insert(key.into(), rfc3339(time).into());
        }
    }
    if !facts.tags.is_empty() {
        map.insert("tags".into(), tags(facts.tags.iter()));
    }
    (!map.is_empty()).then_some(Value::Object(map))
}

/// Room that a profile may take; the contract allows 64 KiB.
const MAX_PROFILE: usize = 60_000;

/// The profile of a Role or ClusterRole with its rules. What does not fit is
/// left out with a marker and a warning: rules first, then annotations.
fn role_profile(role: &Role, cluster: bool, notes: &mut Notes) -> String {
    let mut profile = role.metadata.long(cluster);
    if let (true, Some(rule)) = (cluster, &role.aggregation_rule) {
        profile.insert("aggregationRule".into(), rule.clone());
    }
    let what = if cluster {
        role.metadata.name.clone()
    } else {
        role.metadata.path()
    };
    let mut size = Value::Object(profile.clone()).to_string().len();
    if size > MAX_PROFILE {
        for key in ["annotations", "labels", "aggregationRule"] {
            profile.remove(key);
        }
        profile.insert("metadata_truncated".into(), true.into());
        notes.warn(format!(
            "labels and annotations of role {what} are too long and were left out"
        ));
        size = Value::Object(profile.clone()).to_string().len();
    }
    let mut rules: Vec<Value> = Vec::new();
    for rule in &role.rules {
        let rule = serde_json::to_value(rule).unwrap_or_default();
        size += rule.to_string().len() + 1;
        if size > MAX_PROFILE {
            break;
        }
        rules.push(rule);
    }
    if rules.len() < role.rules.len() {
        profile.insert("rules_truncated".into(), true.into());
        profile.insert("rules_count".into(), role.rules.len().into());
        notes.warn(format!(
            "role {what} has {} rules, of which the file keeps the first {}",
            role.rules.len(),
            rules.len()
        ));
    }
    profile.insert("rules".into(), rules.into());
    Value::Object(profile).to_string()
}
