//! EKS access policies, per namespace and for the whole cluster.

use std::rc::Rc;

use serde_json::{Map, Value};

use super::walk::{Lazy, world};
use super::{Walk, attribute, embedded, entitlement, id};
use crate::aws::policies;
use crate::bindings::{Entitlement, Grant, Object};
use crate::evidence::Holders;
use crate::world::PolicyRow;

/// The slug of a scope; the namespace that would read like the cluster is spelt out.
fn slug(scope: Option<&str>) -> String {
    match scope {
        None => "assigned:cluster".into(),
        Some("cluster") => "assigned:namespace/cluster".into(),
        Some(namespace) => format!("assigned:{namespace}"),
    }
}

pub fn objects() -> Box<dyn Walk<Object>> {
    Lazy::boxed(world, |store| {
        let Some(world) = store.world.clone() else {
            return Box::new(std::iter::empty());
        };
        let rows: Vec<Object> = world.policies.iter().map(row).collect();
        Box::new(rows.into_iter())
    })
}

fn row(policy: &PolicyRow) -> Object {
    let mut profile = Map::new();
    profile.insert("display_name".into(), policy.name.clone().into());
    profile.insert("policy_arn".into(), policy.arn.clone().into());
    profile.insert(
        "description".into(),
        policies::description(&policy.name)
            .unwrap_or("A policy for a service of AWS")
            .into(),
    );
    Object {
        id: id("access_policy", policy.arn.clone()),
        parent: None,
        display_name: policy.name.clone(),
        profile: Some(Value::Object(profile.clone()).to_string()),
        attributes: embedded(&profile),
    }
}

pub fn entitlements() -> Box<dyn Walk<Entitlement>> {
    Lazy::boxed(world, |store| {
        let Some(world) = store.world.clone() else {
            return Box::new(std::iter::empty());
        };
        let bound = store.options.bound;
        let count = world.policies.len();
        Box::new((0..count).flat_map(move |at| {
            let Some(policy) = world.policies.get(at) else {
                return Vec::new();
            };
            let scopes = world.policy_scopes(policy, bound);
            scopes
                .iter()
                .map(|s| Some(s.as_str()))
                .chain([None])
                .map(|scope| one(policy, scope))
                .collect()
        }))
    })
}

fn one(policy: &PolicyRow, scope: Option<&str>) -> Entitlement {
    let name = &policy.name;
    let (title, text) = match scope {
        Some(ns) => (
            format!("{name} access policy scoped to '{ns}' namespace"),
            format!("Grants assignment to the {name} access policy in namespace '{ns}'."),
        ),
        None => (
            format!("{name} access policy (cluster scope)"),
            format!("Grants assignment to the {name} access policy for the entire cluster."),
        ),
    };
    let mut one = entitlement(
        id("access_policy", policy.arn.clone()),
        slug(scope),
        title,
        text,
        "assignment",
        &["iam_user", "role"],
    );
    if !policy.grantable {
        one.attributes.push(attribute("immutable", "true"));
    }
    one
}

pub fn grants() -> Box<dyn Walk<Grant>> {
    Lazy::boxed(world, |store| {
        let Some(world) = store.world.clone() else {
            return Box::new(std::iter::empty());
        };
        let count = world.policies.len();
        Box::new((0..count).flat_map(move |at| {
            let world = Rc::clone(&world);
            let scopes: Vec<Option<String>> = match world.policies.get(at) {
                Some(policy) => world
                    .policy_scopes(policy, true)
                    .into_iter()
                    .map(Some)
                    .chain([None])
                    .collect(),
                None => Vec::new(),
            };
            scopes.into_iter().flat_map(move |scope| {
                let Some(policy) = world.policies.get(at) else {
                    return Vec::new();
                };
                let mut holders = Holders::default();
                world.policy_holders(policy, scope.as_deref(), &mut holders);
                holders.grants(
                    &id("access_policy", policy.arn.clone()),
                    &slug(scope.as_deref()),
                )
            })
        }))
    })
}
