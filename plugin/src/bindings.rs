//! The contract's types, generated from `wit/connector.wit`. Native builds leave
//! out `wasi:http`: their upstream is a trait object that tests supply.

#[cfg(not(target_arch = "wasm32"))]
wit_bindgen::generate!({ path: "../wit", world: "provisioning-core", pub_export_macro: true });

#[cfg(target_arch = "wasm32")]
wit_bindgen::generate!({
    path: "../wit",
    world: "provisioning-connector",
    pub_export_macro: true,
    with: {
        "wasi:io/poll@0.2.2": waki::bindings::wasi::io::poll,
        "wasi:io/error@0.2.2": waki::bindings::wasi::io::error,
        "wasi:io/streams@0.2.2": waki::bindings::wasi::io::streams,
        "wasi:clocks/monotonic-clock@0.2.2": waki::bindings::wasi::clocks::monotonic_clock,
        "wasi:http/types@0.2.2": waki::bindings::wasi::http::types,
        "wasi:http/outgoing-handler@0.2.2": waki::bindings::wasi::http::outgoing_handler,
    },
});

pub use baton::connector::types::{
    Change, Descriptor, Entitlement, Error, Grant, KindSpec, Object, ObjectId, Right, Setting,
    SettingSpec,
};
pub use exports::baton::connector::provision::Plan;
pub use exports::baton::connector::sync::{EntitlementPage, GrantPage, ObjectPage};

/// A declared upstream.
pub type UpstreamSpec = baton::connector::types::Upstream;
