//! A connector that also wants the host's environment.

mod extra {
    wit_bindgen::generate!({
        inline: "
            package test:extra@1.0.0;
            world extra { import wasi:cli/environment@0.2.2; }
            package wasi:cli@0.2.2 {
              interface environment {
                get-environment: func() -> list<tuple<string, string>>;
              }
            }
        ",
        generate_all,
    });
}

use guest::{Descriptor, Plugin};

struct WantsEnvironment;

guest::export!(WantsEnvironment with_types_in guest);

impl Plugin for WantsEnvironment {
    fn describe() -> Descriptor {
        let mut descriptor = guest::descriptor("wants-environment");
        descriptor.attributes = extra::wasi::cli::environment::get_environment();
        descriptor
    }
}
