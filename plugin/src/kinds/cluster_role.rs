//! ClusterRoles: one entitlement for the whole cluster and one per namespace.
//!
//! A RoleBinding to a ClusterRole gives it in the binding's namespace only.
//! `system:masters` shows as cluster-admin whatever the bindings are. There are
//! roles times namespaces entitlements, so they exist only while their page does.

use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::{Value, json};

use super::walk::{Lazy, Stream, world};
use super::{Walk, attribute, embedded, entitlement, id, role_profile};
use crate::bindings::{Entitlement, Error, Grant, Object, ObjectId};
use crate::evidence::{Holders, Notes};
use crate::kubernetes::Role;
use crate::sources::Store;
use crate::upstream::Calls;
use crate::world::World;

const ADMIN: &str = "cluster-admin";

/// The slug of a namespace; the one that would read like the cluster's is spelt out.
fn slug(namespace: &str) -> String {
    match namespace {
        "" => "all:member".into(),
        "all" => "namespace/all:member".into(),
        other => format!("{other}:member"),
    }
}

fn ready(store: &mut Store, calls: &mut Calls) -> Result<bool, Error> {
    Ok(store.cluster_roles.ensure(calls, &mut store.notes)? && world(store, calls)?)
}

pub fn objects(parent: Option<ObjectId>) -> Box<dyn Walk<Object>> {
    Stream::boxed(|store| &mut store.cluster_roles, row, world, rest, parent)
}

fn row(role: &Role, notes: &mut Notes) -> Object {
    Object {
        id: id("cluster_role", role.metadata.name.clone()),
        parent: None,
        display_name: role.metadata.name.clone(),
        profile: Some(role_profile(role, true, notes)),
        attributes: embedded(&role.metadata.short()),
    }
}

/// cluster-admin, where somebody has it through `system:masters` and no such role is listed.
fn rest(store: &Store) -> Vec<Object> {
    let masters = store.world.as_ref().is_some_and(|w| w.has_masters);
    if !masters || store.cluster_roles.read().contains(ADMIN) {
        return Vec::new();
    }
    let profile = json!({"name": ADMIN, "exists": false}).to_string();
    vec![Object {
        id: id("cluster_role", ADMIN),
        parent: None,
        display_name: ADMIN.into(),
        profile: Some(profile.clone()),
        attributes: vec![attribute("embedded-profile", profile)],
    }]
}

/// The listed roles, and cluster-admin where it is needed.
fn names(store: &Store, world: &World) -> Rc<Vec<String>> {
    let mut names: BTreeSet<String> = store.cluster_roles.read().iter().cloned().collect();
    if world.has_masters {
        names.insert(ADMIN.into());
    }
    Rc::new(names.into_iter().collect())
}

pub fn entitlements() -> Box<dyn Walk<Entitlement>> {
    Lazy::boxed(ready, |store| {
        let Some(world) = store.world.clone() else {
            return Box::new(std::iter::empty());
        };
        let roles = names(store, &world);
        let bound = store.options.bound;
        let every: Rc<Vec<String>> = Rc::new(world.places.iter().cloned().collect());
        let count = roles.len();
        Box::new((0..count).flat_map(move |at| {
            let role = roles.get(at).cloned().unwrap_or_default();
            let scopes = if bound {
                Rc::new(
                    world
                        .bindings
                        .scopes(true, &role)
                        .into_iter()
                        .filter(|s| !s.is_empty())
                        .collect(),
                )
            } else {
                every.clone()
            };
            let scoped = (0..scopes.len()).filter_map({
                let role = role.clone();
                move |at| scopes.get(at).map(|ns| one(&role, ns))
            });
            [one(&role, "")].into_iter().chain(scoped)
        }))
    })
}

fn one(role: &str, namespace: &str) -> Entitlement {
    let (name, description) = match namespace {
        "" => (
            format!("{role} Cluster Role Member"),
            format!("Grants membership to the {role} cluster role"),
        ),
        ns => (
            format!("{role} Cluster Role Member in {ns} namespace"),
            format!("Grants membership to the {role} cluster role in namespace {ns}"),
        ),
    };
    entitlement(
        id("cluster_role", role),
        slug(namespace),
        name,
        description,
        "assignment",
        &["service_account", "group", "user", "role", "iam_user"],
    )
}

pub fn grants() -> Box<dyn Walk<Grant>> {
    Lazy::boxed(ready, |store| {
        let Some(world) = store.world.clone() else {
            return Box::new(std::iter::empty());
        };
        let roles = names(store, &world);
        let count = roles.len();
        let listed = store.cluster_roles.read();
        Box::new((0..count).flat_map(move |at| {
            let role = roles.get(at).cloned().unwrap_or_default();
            // A role that does not exist gives nothing by a binding.
            let exists = listed.contains(&role);
            let mut scopes = Vec::new();
            if exists {
                scopes = world.bindings.scopes(true, &role);
            }
            if role == ADMIN && world.has_masters && scopes.first().is_none_or(|s| !s.is_empty()) {
                scopes.insert(0, String::new());
            }
            let world = world.clone();
            scopes.into_iter().flat_map(move |scope| {
                let mut holders = Holders::default();
                for binding in world.bindings.of(true, &role, &scope).filter(|_| exists) {
                    let path = binding.path();
                    for subject in binding.subjects() {
                        world.holders(subject, &path, &mut holders);
                    }
                }
                if role == ADMIN && scope.is_empty() {
                    world.masters(&mut holders);
                }
                holders.grants(&id("cluster_role", role.clone()), &slug(&scope))
            })
        }))
    })
}

/// Bindings whose role does not exist give nothing now; they are evidence.
pub fn dangling(
    world: &World,
    cluster_roles: &BTreeSet<String>,
    roles: &BTreeSet<String>,
) -> Vec<Value> {
    let mut out = Vec::new();
    for (cluster, name, namespace) in world.bindings.bound_roles() {
        let exists = if cluster {
            cluster_roles.contains(&name)
        } else {
            roles.contains(&format!("{namespace}/{name}"))
        };
        if !exists {
            let kind = if cluster { "ClusterRole" } else { "Role" };
            out.push(json!({"type": "dangling-role", "kind": kind, "name": name, "namespace": namespace, "reason": "bindings name a role that does not exist; whoever makes it gives it to their subjects"}));
        }
    }
    out
}
