//! Namespaces: containers of service accounts, and the row that stands for all.

use super::walk::Lazy;
use super::{Walk, attribute, id};
use crate::bindings::Object;

pub fn objects() -> Box<dyn Walk<Object>> {
    Lazy::boxed(
        |store, calls| store.namespaces.ensure(calls, &mut store.notes),
        |store| {
            let names = store.namespaces.read();
            let names: Vec<String> = names.iter().cloned().collect();
            Box::new(names.into_iter().map(row).chain([all()]))
        },
    )
}

fn row(name: String) -> Object {
    Object {
        id: id("namespace", name.clone()),
        parent: None,
        display_name: name,
        profile: None,
        attributes: vec![attribute("child-kind", "service_account")],
    }
}

fn all() -> Object {
    Object {
        id: id("namespace", "*"),
        parent: None,
        display_name: "All Namespace".into(),
        profile: None,
        attributes: vec![attribute(
            "description",
            "Represents all resources of type Namespace",
        )],
    }
}
