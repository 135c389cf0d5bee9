//! Service accounts, the row that stands for all of them, and rows for those
//! that do not exist although bindings or roles already name them.

use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::walk::{Lazy, Stream, world};
use super::{Walk, attribute, embedded, entitlement, id};
use crate::bindings::{Entitlement, Object, ObjectId};
use crate::evidence::Notes;
use crate::kubernetes::ServiceAccount;
use crate::sources::Store;

const ALL: &str = "All Service Account";

pub fn objects(parent: Option<ObjectId>) -> Box<dyn Walk<Object>> {
    Stream::boxed(
        |store| &mut store.service_accounts,
        row,
        world,
        rest,
        parent,
    )
}

fn account(
    path: String,
    name: String,
    parent: Option<ObjectId>,
    profile: &Map<String, Value>,
    copy: &Map<String, Value>,
    status: &str,
) -> Object {
    let mut attributes = vec![
        attribute("user-status", status),
        attribute("account-type", "service"),
    ];
    attributes.extend(embedded(copy));
    Object {
        id: id("service_account", path),
        parent,
        display_name: name,
        profile: Some(Value::Object(profile.clone()).to_string()),
        attributes,
    }
}

fn row(account_read: &ServiceAccount, notes: &mut Notes) -> Object {
    let meta = &account_read.metadata;
    let mut profile = meta.long(true);
    for (key, list) in [
        ("secrets", &account_read.secrets),
        ("imagePullSecrets", &account_read.image_pull_secrets),
    ] {
        if !list.is_empty() {
            profile.insert(
                key.into(),
                list.iter().map(|r| Value::from(r.name.clone())).collect(),
            );
        }
    }
    if Value::Object(profile.clone()).to_string().len() > super::MAX_PROFILE {
        for key in ["annotations", "labels", "secrets", "imagePullSecrets"] {
            profile.remove(key);
        }
        profile.insert("metadata_truncated".into(), true.into());
        notes.warn(format!(
            "labels and annotations of service account {} are too long and were left out",
            meta.path()
        ));
    }
    account(
        meta.path(),
        meta.name.clone(),
        Some(id("namespace", meta.namespace.clone())),
        &profile,
        &meta.short(),
        "enabled",
    )
}

fn rest(store: &Store) -> Vec<Object> {
    let profile = |value: Value| value.as_object().cloned().unwrap_or_default();
    let all = profile(json!({"name": ALL, "uid": "wildcard-service_account"}));
    let mut out = vec![account("*".into(), ALL.into(), None, &all, &all, "enabled")];
    let Some(world) = &store.world else {
        return out;
    };
    for path in &world.ghosts {
        let (namespace, name) = path.split_once('/').unwrap_or(("", path));
        let parent = world
            .namespaces
            .contains(namespace)
            .then(|| id("namespace", namespace));
        let ghost = profile(json!({"name": name, "namespace": namespace, "exists": false}));
        out.push(account(
            path.clone(),
            name.into(),
            parent,
            &ghost,
            &ghost,
            "deleted",
        ));
    }
    out
}

pub fn entitlements() -> Box<dyn Walk<Entitlement>> {
    Lazy::boxed(world, |store| {
        let Some(world) = store.world.clone() else {
            return Box::new(std::iter::empty());
        };
        let names: Rc<Vec<String>> = Rc::new(
            world
                .service_accounts
                .iter()
                .chain(&world.ghosts)
                .cloned()
                .collect(),
        );
        let one = |path: &str, name: &str| {
            entitlement(
                id("service_account", path),
                "impersonate".into(),
                format!("Impersonate {name}"),
                format!("Grants the ability to impersonate the {name} service account"),
                "permission",
                &["role", "cluster_role"],
            )
        };
        let count = names.len();
        let each = (0..count).filter_map(move |at| {
            let path = names.get(at)?;
            Some(one(
                path,
                path.split_once('/').map_or(path.as_str(), |(_, name)| name),
            ))
        });
        Box::new(each.chain([one("*", ALL)]))
    })
}
