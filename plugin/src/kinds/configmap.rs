//! Config maps by name; the host hands over no data. The kind is optional: to
//! list it, an identity must be allowed to read all of them.

use super::walk::{Lazy, Stream};
use super::{Walk, attribute, entitlement, id};
use crate::bindings::{Entitlement, Object, ObjectId};
use crate::kubernetes::Bare;

const ALL: &str = "All Config Map";
const VERBS: [&str; 7] = [
    "get", "list", "watch", "create", "update", "patch", "delete",
];

pub fn objects(parent: Option<ObjectId>) -> Box<dyn Walk<Object>> {
    Stream::<Bare>::boxed(
        |store| &mut store.config_maps,
        |map, _| {
            let meta = &map.metadata;
            Object {
                id: id("configmap", meta.path()),
                parent: Some(id("namespace", meta.namespace.clone())),
                display_name: meta.name.clone(),
                profile: None,
                attributes: vec![
                    attribute(
                        "description",
                        format!("ConfigMap in namespace {}", meta.namespace),
                    ),
                    attribute("external-id", meta.uid.clone()),
                ],
            }
        },
        |_, _| Ok(true),
        |_| {
            vec![Object {
                id: id("configmap", "*"),
                parent: None,
                display_name: ALL.into(),
                profile: None,
                attributes: vec![attribute(
                    "description",
                    "Represents all resources of type Config Map",
                )],
            }]
        },
        parent,
    )
}

pub fn entitlements() -> Box<dyn Walk<Entitlement>> {
    Lazy::boxed(
        |store, calls| store.config_maps.ensure(calls, &mut store.notes),
        |store| {
            let names: Vec<String> = store
                .config_maps
                .read()
                .iter()
                .cloned()
                .chain(["*".to_string()])
                .collect();
            Box::new(names.into_iter().flat_map(|path| {
                VERBS
                    .iter()
                    .map(move |verb| {
                        let name = if path == "*" {
                            ALL
                        } else {
                            path.split_once('/').map_or(path.as_str(), |(_, n)| n)
                        };
                        entitlement(
                            id("configmap", path.clone()),
                            (*verb).into(),
                            format!("{verb} {name}"),
                            format!("Grants {verb} permission on the {name} configmap"),
                            "permission",
                            &["role", "cluster_role"],
                        )
                    })
                    .collect::<Vec<_>>()
            }))
        },
    )
}
