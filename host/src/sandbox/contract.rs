//! The contract `baton:connector@0.1.0` as Rust types, generated from `wit/`.
#![expect(missing_docs, reason = "generated; documented in wit/connector.wit")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "core",
    exports: { default: async },
});

/// The world of connectors that also plan changes.
pub mod provisioning {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "provisioning-core",
        exports: { default: async },
        with: {
            "baton:connector/types": super::baton::connector::types,
        },
    });
}

pub use baton::connector::types;
pub use exports::baton::connector::sync::{EntitlementPage, GrantPage, ObjectPage};
pub use provisioning::exports::baton::connector::provision::Plan;
