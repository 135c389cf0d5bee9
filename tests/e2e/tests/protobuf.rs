//! The committed code in `host/src/c1z/pb/` is what `proto/` generates.
//!
//! `BLESS=1 cargo test -p e2e --test protobuf` writes it anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;

const FILE: &str = "c1.connector.v2.rs";

#[test]
fn generated_messages_match_the_proto_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let protos = root.join("proto");
    let mut files: Vec<_> = std::fs::read_dir(protos.join("c1/connector/v2"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "proto")
        })
        .collect();
    files.sort();
    assert!(files.len() >= 5, "found only {files:?}");

    let descriptors = protox::compile(&files, [&protos]).unwrap();
    let out = tempfile::tempdir().unwrap();
    prost_build::Config::new()
        // Ordered maps: two syncs of the same facts give the same bytes.
        .btree_map(["."])
        .enable_type_names()
        .type_name_domain(["."], "type.googleapis.com")
        .out_dir(out.path())
        .compile_fds(descriptors)
        .unwrap();
    let generated = std::fs::read_to_string(out.path().join(FILE)).unwrap();

    let committed = root.join("host/src/c1z/pb").join(FILE);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&committed, &generated).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&committed).unwrap_or_default();
    if committed != generated {
        let line = committed
            .lines()
            .zip(generated.lines())
            .position(|(a, b)| a != b);
        panic!(
            "host/src/c1z/pb/{FILE} differs from what proto/ generates, first at line {:?}; run BLESS=1 cargo test -p e2e --test protobuf",
            line.map(|line| line + 1)
        );
    }
}
