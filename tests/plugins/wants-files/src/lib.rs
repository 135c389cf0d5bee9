//! A connector that also wants the host's files.

mod extra {
    wit_bindgen::generate!({
        inline: "
            package test:extra@1.0.0;
            world extra { import wasi:filesystem/preopens@0.2.2; }
            package wasi:filesystem@0.2.2 {
              interface preopens {
                get-directories: func() -> list<tuple<u32, string>>;
              }
            }
        ",
        generate_all,
    });
}

use guest::{Descriptor, Plugin};

struct WantsFiles;

guest::export!(WantsFiles with_types_in guest);

impl Plugin for WantsFiles {
    fn describe() -> Descriptor {
        let mut descriptor = guest::descriptor("wants-files");
        descriptor.attributes = extra::wasi::filesystem::preopens::get_directories()
            .into_iter()
            .map(|(number, name)| (number.to_string(), name))
            .collect();
        descriptor
    }
}
