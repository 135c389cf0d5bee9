//! Roles of namespaces.

use std::rc::Rc;

use super::walk::{Lazy, Stream, world};
use super::{Walk, cluster_role, embedded, entitlement, id, role_profile};
use crate::bindings::{Entitlement, Error, Grant, Object, ObjectId};
use crate::evidence::{Holders, Notes};
use crate::kubernetes::Role;
use crate::sources::Store;
use crate::upstream::Calls;

fn ready(store: &mut Store, calls: &mut Calls) -> Result<bool, Error> {
    Ok(store.roles.ensure(calls, &mut store.notes)? && world(store, calls)?)
}

pub fn objects(parent: Option<ObjectId>) -> Box<dyn Walk<Object>> {
    Stream::boxed(
        |store| &mut store.roles,
        row,
        |_, _| Ok(true),
        |_| Vec::new(),
        parent,
    )
}

fn row(role: &Role, notes: &mut Notes) -> Object {
    Object {
        id: id("namespace_role", role.metadata.path()),
        parent: Some(id("namespace", role.metadata.namespace.clone())),
        display_name: role.metadata.name.clone(),
        profile: Some(role_profile(role, false, notes)),
        attributes: embedded(&role.metadata.short()),
    }
}

pub fn entitlements() -> Box<dyn Walk<Entitlement>> {
    Lazy::boxed(
        |store, calls| store.roles.ensure(calls, &mut store.notes),
        |store| {
            let names: Vec<String> = store.roles.read().iter().cloned().collect();
            Box::new(names.into_iter().map(|path| {
                let name = path.split_once('/').map_or(path.as_str(), |(_, n)| n);
                let (title, text) = (
                    format!("{name} Role Member"),
                    format!("Grants membership to the {name} role"),
                );
                entitlement(
                    id("namespace_role", path.clone()),
                    "member".into(),
                    title,
                    text,
                    "assignment",
                    &["user", "group", "service_account", "role", "iam_user"],
                )
            }))
        },
    )
}

pub fn grants() -> Box<dyn Walk<Grant>> {
    Lazy::boxed(
        |store, calls| {
            let ready =
                ready(store, calls)? && store.cluster_roles.ensure(calls, &mut store.notes)?;
            if let (true, Some(world)) = (ready, store.world.clone()) {
                for fact in
                    cluster_role::dangling(&world, &store.cluster_roles.read(), &store.roles.read())
                {
                    store.notes.evidence(fact);
                }
            }
            Ok(ready)
        },
        |store| {
            let Some(world) = store.world.clone() else {
                return Box::new(std::iter::empty());
            };
            let names: Rc<Vec<String>> = Rc::new(store.roles.read().iter().cloned().collect());
            let count = names.len();
            Box::new((0..count).flat_map(move |at| {
                let mut holders = Holders::default();
                let path = names.get(at).cloned().unwrap_or_default();
                if let Some((namespace, name)) = path.split_once('/') {
                    for binding in world.bindings.of(false, name, namespace) {
                        let place = binding.path();
                        for subject in binding.subjects() {
                            world.holders(subject, &place, &mut holders);
                        }
                    }
                }
                holders.grants(&id("namespace_role", path), "member")
            }))
        },
    )
}
