//! Two clones build one and the same plugin.

use std::path::Path;
use std::process::Command;

use e2e::guests;

use crate::harness::plugin;

/// Copies the sources to another folder and builds the connector there, with
/// intermediate files of its own. Slow: a build of std's parts and of ours.
#[test]
#[ignore = "builds the connector from scratch in another folder"]
fn another_folder_gives_the_same_digest() {
    let folder = tempfile::tempdir().unwrap();
    let clone = folder.path().join("a deeper/folder of another name");
    std::fs::create_dir_all(&clone).unwrap();
    for name in [
        "Cargo.toml",
        "Cargo.lock",
        "rust-toolchain.toml",
        "plugin",
        "host",
        "wit",
        "tests",
        "proto",
    ] {
        let from = guests::root().join(name);
        let copied = Command::new("cp")
            .arg("-R")
            .arg(from)
            .arg(&clone)
            .status()
            .unwrap();
        assert!(copied.success(), "{name}");
    }
    let core = clone.join("core.wasm");
    let built = Command::new(clone.join("plugin/build.sh"))
        .args([clone.as_path(), Path::new("baton-eks"), &core])
        .current_dir(&clone)
        .env("BATON_BUILD_DIR", folder.path().join("build"))
        .status()
        .unwrap();
    assert!(built.success());
    let component = clone.join("component.wasm");
    let encoded = Command::new(guests::program())
        .args(["plugin", "encode"])
        .arg(&core)
        .arg("-o")
        .arg(&component)
        .status()
        .unwrap();
    assert!(encoded.success());
    let digest = |path: &Path| baton_host::sandbox::digest(&std::fs::read(path).unwrap());
    assert_eq!(digest(&component), digest(&plugin()));
}
