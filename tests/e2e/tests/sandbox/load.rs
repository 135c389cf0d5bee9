//! Files that are no connectors.

use std::path::Path;
use std::time::{Duration, Instant};

use baton_host::plugin::{Lock, Plugin, PluginError};
use baton_host::sandbox::{
    CallError, Component, ComponentError, Precompile, Sandbox, SandboxConfig, World,
};
use e2e::{bombs, guests, logs};

use crate::soon;

async fn refusal(bytes: Vec<u8>) -> ComponentError {
    let (sandbox, _) = guests::shared().await;
    Component::load(sandbox, bytes, |_| false)
        .await
        .expect_err("it loaded")
}

/// What `Plugin::component` says about a file, with the flags of the host.
async fn plugin(bytes: &[u8]) -> Result<Component, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plugin.wasm");
    std::fs::write(&path, bytes).unwrap();
    let lock = Lock::read(&folder.path().join("baton.lock")).unwrap();
    let (sandbox, _) = guests::shared().await;
    let reserved = ["file", "provisioning"].map(str::to_owned);
    Plugin::component(sandbox, &path, &lock, &reserved)
        .await
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn an_empty_file_and_a_text_are_not_webassembly() {
    for bytes in [vec![], b"\0".to_vec(), b"#!/bin/sh\n".to_vec()] {
        assert!(matches!(refusal(bytes).await, ComponentError::NotWasm));
    }
}

#[tokio::test]
async fn a_core_module_is_told_how_to_become_a_component() {
    let error = refusal(b"\0asm\x01\0\0\0".to_vec()).await;
    assert!(matches!(error, ComponentError::CoreModule));
    assert!(error.to_string().contains("baton-host plugin encode"));
}

#[tokio::test]
async fn a_truncated_component_is_invalid_wherever_it_ends() {
    let whole = guests::bytes("probe");
    for part in 1..32 {
        let cut = whole[..whole.len() * part / 32].to_vec();
        let error = refusal(cut).await;
        assert!(
            matches!(
                error,
                ComponentError::Invalid(_) | ComponentError::OtherWorld { .. }
            ),
            "{part}/32: {error}"
        );
    }
}

#[tokio::test]
async fn a_file_of_more_than_16_mib_is_refused_by_its_size() {
    let mut bytes = guests::bytes("probe");
    bytes.resize((16 << 20) + 1, 0);
    let error = refusal(bytes).await;
    assert!(matches!(error, ComponentError::Size { size } if size == (16 << 20) + 1));
}

#[tokio::test]
async fn a_file_of_any_length_is_never_read_beyond_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.wasm");
    // Sparse: 1 TiB that no machine could read into memory.
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    let error = file_refusal(&path).await;
    assert!(
        matches!(
            error,
            PluginError::Component {
                source: ComponentError::Size { .. },
                ..
            }
        ),
        "{error}"
    );
}

async fn file_refusal(path: &Path) -> PluginError {
    let folder = tempfile::tempdir().unwrap();
    let lock = Lock::read(&folder.path().join("baton.lock")).unwrap();
    let (sandbox, _) = guests::shared().await;
    soon(Plugin::component(sandbox, path, &lock, &[]))
        .await
        .expect_err("it loaded")
}

#[tokio::test]
async fn a_folder_and_a_missing_file_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = file_refusal(folder.path()).await.to_string();
    assert!(error.contains("it is a folder"), "{error}");
    let missing = folder.path().join("missing.wasm");
    let error = file_refusal(&missing).await.to_string();
    assert!(error.contains(missing.to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn a_component_of_another_world_is_told_what_it_exports() {
    let error = refusal(guests::bytes("other-world")).await;
    assert!(matches!(error, ComponentError::OtherWorld { .. }));
    let text = error.to_string();
    assert!(text.contains("`test:greeter/greet@1.0.0`"), "{text}");
}

#[tokio::test]
async fn a_connector_of_another_contract_version_is_told_both_versions() {
    let error = refusal(guests::bytes("other-version")).await;
    assert!(matches!(&error, ComponentError::OtherVersion { found } if found == "0.2.0"));
    let text = error.to_string();
    assert!(text.contains("0.2.0") && text.contains("0.1"), "{text}");
}

#[tokio::test]
async fn an_import_that_no_connector_gets_is_named() {
    let error = refusal(guests::bytes("wants-environment")).await;
    assert!(
        matches!(&error, ComponentError::Import(name) if name == "wasi:cli/environment@0.2.2"),
        "{error}"
    );
}

#[tokio::test]
async fn a_clock_is_a_type_and_nothing_to_call() {
    let error = refusal(guests::bytes("calls-clock")).await;
    let ComponentError::Invalid(text) = error else {
        panic!("{error}");
    };
    assert!(text.contains("wasi:clocks/monotonic-clock"), "{text}");
}

#[tokio::test]
async fn a_connector_imports_exactly_what_it_may() {
    let (_, probe) = guests::shared().await;
    let mut imports = probe.imports().to_vec();
    imports.sort();
    assert_eq!(
        imports,
        [
            "baton:connector/log@0.1.0",
            "baton:connector/progress@0.1.0",
            "baton:connector/types@0.1.0",
            "wasi:clocks/monotonic-clock@0.2.2",
            "wasi:http/outgoing-handler@0.2.2",
            "wasi:http/types@0.2.2",
            "wasi:io/error@0.2.2",
            "wasi:io/poll@0.2.2",
            "wasi:io/streams@0.2.2",
        ]
    );
    assert_eq!(probe.world(), World::Connector);
}

#[tokio::test]
async fn describing_has_an_end() {
    let error = soon(refusal(guests::bytes("describe-spins"))).await;
    assert!(
        matches!(error, ComponentError::Describe(CallError::Limit(_))),
        "{error}"
    );
}

#[tokio::test]
async fn describing_is_done_without_a_way_out_and_without_a_log() {
    logs::collect();
    let (sandbox, _) = guests::shared().await;
    let component = guests::load(sandbox, "describe-sends").await;
    let attributes = &component.descriptor().attributes;
    let outcome = baton_host::plugin::attribute(attributes, "outcome");
    assert_eq!(outcome, Some("ErrorCode::HttpRequestDenied"));
    assert!(logs::lines("describe-sends was here").is_empty());
}

#[tokio::test]
async fn types_nested_without_end_crash_nobody() {
    for depth in [50, 1_000, 500_000] {
        let error = refusal(bombs::deep_types(depth)).await;
        assert!(
            matches!(
                error,
                ComponentError::Invalid(_) | ComponentError::OtherWorld { .. }
            ),
            "{depth}: {error}"
        );
    }
}

/// A sandbox that tries unknown components in a child first.
fn careful() -> Sandbox {
    let status = std::process::Command::new(guests::program())
        .arg("compile-trial")
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(!status.success(), "an empty file passed its trial");
    Sandbox::new(SandboxConfig {
        slots: 1,
        precompile: Precompile::Child(guests::program()),
    })
    .unwrap()
}

/// The most memory that this process ever had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

#[tokio::test]
async fn a_component_that_compiles_is_tried_and_then_runs() {
    let sandbox = careful();
    let component = soon(Component::load(&sandbox, guests::bytes("probe"), |_| false))
        .await
        .unwrap();
    assert_eq!(component.descriptor().name, "probe");
}

/// A function of 180 KB once made the compiler ask for 13 GB, and the process
/// was aborted with everything in it.
#[tokio::test]
async fn a_compile_bomb_is_stopped_in_the_child() {
    let bomb = bombs::with_module(guests::bytes("probe"), &bombs::loops(5_000));
    assert!(bomb.len() < 1 << 20, "a bomb is small: {}", bomb.len());
    let sandbox = careful();
    let begin = Instant::now();
    let error = soon(Component::load(&sandbox, bomb, |_| false))
        .await
        .expect_err("the bomb compiled");
    assert!(matches!(error, ComponentError::Compile(_)), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(120));
    assert!(peak() < 1 << 30, "the host itself used {} bytes", peak());
}

/// Decoding 300 KB of nested types once overflowed the stack of the host, and
/// the process was aborted before any trial.
#[tokio::test]
async fn types_that_overflow_a_decoder_end_the_child_and_not_the_host() {
    let sandbox = careful();
    for depth in [20_000, 100_000, 5_000_000] {
        let error = soon(Component::load(
            &sandbox,
            bombs::nested_types(depth),
            |_| false,
        ))
        .await
        .expect_err("it loaded");
        assert!(
            matches!(error, ComponentError::Compile(_)),
            "{depth}: {error}"
        );
    }
}

/// What the child finds to be no connector is refused in the host's words.
#[tokio::test]
async fn a_trial_does_not_blur_why_a_file_is_refused() {
    let sandbox = careful();
    for (name, is) in [
        ("other-world", "it exports"),
        ("other-version", "0.2.0"),
        ("wants-environment", "wasi:cli/environment@0.2.2"),
    ] {
        let error = soon(Component::load(&sandbox, guests::bytes(name), |_| false))
            .await
            .expect_err(name);
        assert!(
            !matches!(error, ComponentError::Compile(_)),
            "{name}: {error}"
        );
        assert!(error.to_string().contains(is), "{name}: {error}");
    }
    let cut = guests::bytes("probe")[..5_000].to_vec();
    let error = soon(Component::load(&sandbox, cut, |_| false))
        .await
        .expect_err("it loaded");
    assert!(matches!(error, ComponentError::Invalid(_)), "{error}");
}

#[tokio::test]
async fn a_digest_that_the_lock_knows_is_not_tried_again() {
    let sandbox = Sandbox::new(SandboxConfig {
        slots: 1,
        precompile: Precompile::Child("/nonexistent/program".into()),
    })
    .unwrap();
    let probe = guests::bytes("probe");
    let error = Component::load(&sandbox, probe.clone(), |_| false)
        .await
        .expect_err("nothing tried it");
    assert!(matches!(error, ComponentError::Compile(_)), "{error}");
    let digest = baton_host::sandbox::digest(&probe);
    Component::load(&sandbox, probe, |known| known == digest)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_descriptor_as_it_should_be_loads() {
    let component = plugin(&guests::declares("{}")).await.unwrap();
    assert_eq!(component.descriptor().name, "declares");
}

/// Secrets once could have been settings by a plugin's own word.
#[tokio::test]
async fn a_setting_that_asks_for_a_secret_makes_a_plugin_unloadable() {
    for name in [
        "eks-secret-access-key",
        "client-secret",
        "api-token",
        "db-password",
    ] {
        let json = serde_json::json!({ "settings": [name] }).to_string();
        let error = plugin(&guests::declares(&json)).await.unwrap_err();
        assert!(
            error.contains(name) && error.contains("secrets never enter a sandbox"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_descriptor_that_no_host_can_show_is_refused() {
    let many: Vec<String> = (0..65).map(|i| format!("kind_{i}")).collect();
    let rights: Vec<_> = (0..257).map(|i| ("read", format!("get a{i}"))).collect();
    for (json, reason) in [
        (
            serde_json::json!({ "settings": ["file"] }),
            "option of the host",
        ),
        (serde_json::json!({ "settings": ["--file"] }), "kebab case"),
        (serde_json::json!({ "settings": ["eks-region"] }), "twice"),
        (
            serde_json::json!({ "settings": ["a"], "setting_kind": "path" }),
            "of no kind",
        ),
        (serde_json::json!({ "repeat": 63 }), "65 settings"),
        (
            serde_json::json!({ "name": "Evil\u{1b}[2J" }),
            "control characters",
        ),
        (serde_json::json!({ "name": "../evil" }), "kebab case"),
        (
            serde_json::json!({ "version": "1.0 beta" }),
            "semantic version",
        ),
        (
            serde_json::json!({ "attributes": [["display-name", "a\r\nb"]] }),
            "control characters",
        ),
        (
            serde_json::json!({ "attributes": [["display-name", "x".repeat(8193)]] }),
            "8193 bytes",
        ),
        (serde_json::json!({ "kinds": [] }), "no kinds"),
        (serde_json::json!({ "kinds": ["user", "user"] }), "twice"),
        (serde_json::json!({ "kinds": ["a/b"] }), "snake case"),
        (serde_json::json!({ "kinds": many }), "65 kinds"),
        (
            serde_json::json!({ "kinds": ["user"], "traits": ["root"] }),
            "`root`",
        ),
        (
            serde_json::json!({ "upstreams": [["eks", "aws", [], []], ["eks", "aws", [], []]] }),
            "twice",
        ),
        (
            serde_json::json!({ "upstreams": [["eks", "aws", [["region-setting", "home"]], []]] }),
            "does not declare",
        ),
        (
            serde_json::json!({ "upstreams": [["eks", "aws", [], rights]] }),
            "257 rights",
        ),
    ] {
        let error = plugin(&guests::declares(&json.to_string()))
            .await
            .expect_err(reason);
        assert!(error.contains(reason), "{json}: {error}");
        assert!(!error.contains(char::is_control), "{error:?}");
    }
}
