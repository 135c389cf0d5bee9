//! Kubernetes groups and users whose members nobody can enumerate: everybody,
//! all service accounts, users of an OIDC provider, groups nobody is mapped to.
//! One row each instead of one grant per principal.

use serde_json::json;

use super::walk::{Lazy, world};
use super::{Walk, attribute, id};
use crate::bindings::Object;

pub fn objects(groups: bool) -> Box<dyn Walk<Object>> {
    if groups {
        Lazy::boxed(world, |store| {
            let names: Vec<String> = store
                .world
                .iter()
                .flat_map(|w| w.kube_groups.iter().cloned())
                .collect();
            Box::new(names.into_iter().map(|name| row("kube_group", name)))
        })
    } else {
        Lazy::boxed(world, |store| {
            let names: Vec<String> = store
                .world
                .iter()
                .flat_map(|w| w.kube_users.iter().cloned())
                .collect();
            Box::new(names.into_iter().map(|name| row("kube_user", name)))
        })
    }
}

fn row(kind: &str, name: String) -> Object {
    let profile = json!({"name": name}).to_string();
    let mut attributes = vec![attribute("embedded-profile", profile.clone())];
    if kind == "kube_user" {
        let account = if name.starts_with("system:") || name.starts_with("eks:") {
            "system"
        } else {
            "human"
        };
        attributes.extend([
            attribute("user-status", "enabled"),
            attribute("account-type", account),
        ]);
    }
    Object {
        id: id(kind, name.clone()),
        parent: None,
        display_name: name,
        profile: Some(profile),
        attributes,
    }
}
