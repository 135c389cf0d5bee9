//! The file changes, breaks, vanishes and comes back while it is served.

use std::os::unix::fs::symlink;

use e2e::harness::wait_until;

use super::running::{Serve, another_plugin, cloud, file, fleet, host, replace};

#[test]
fn a_hangup_restarts_only_what_changed() {
    let sim = cloud(&["lab", "shop", "mill"]);
    let host = host(&sim);
    std::fs::write(file(&host), fleet(&[("lab", ""), ("shop", "")])).unwrap();
    let serve = Serve::start(&host, &[]);
    serve.synced(&["lab", "shop"]);
    let before = (serve.good_at("lab"), serve.good_at("shop"));

    // One comes, one changes, one stays.
    let changed = "settings = { namespace-entitlements = \"bound\" }";
    let clusters = [("lab", ""), ("mill", ""), ("shop", changed)];
    replace(&file(&host), fleet(&clusters));
    serve.signal("-HUP");
    serve.synced(&["mill"]);
    serve.wait_for("shop", "a sync as it is wanted now", |now| {
        let at = now["last_good"]["at"].as_str();
        at.is_some_and(|at| at != before.1)
    });
    assert_eq!(serve.good_at("lab"), before.0, "it kept its place");
    // Another schedule is no reason to read again; and one goes.
    let later = "schedule = \"1d\"";
    replace(&file(&host), fleet(&[("lab", later), ("mill", "")]));
    serve.signal("-HUP");
    wait_until("one cluster less", || serve.cluster("shop").is_null());
    assert_eq!(serve.good_at("lab"), before.0, "it kept its place");
    assert_eq!(serve.cluster("lab")["state"]["is"], "waiting");
    assert!(serve.metric("baton_configuration_reloads_total{result=\"succeeded\"}") >= 3.0);
    // Files of those that are gone stay.
    let out = host.folder.path().join("out/111122223333/eu-west-1");
    assert!(out.join("shop.c1z").is_file());
}

/// No signal: as the kubelet swaps the files of a ConfigMap.
#[test]
fn a_config_map_is_noticed() {
    let sim = cloud(&["lab", "shop"]);
    let host = host(&sim);
    let at = |name: &str| host.folder.path().join(name);
    for (version, clusters) in [
        ("..1", &[("lab", "")][..]),
        ("..2", &[("lab", ""), ("shop", "")]),
    ] {
        std::fs::create_dir(at(version)).unwrap();
        std::fs::write(at(version).join("fleet.toml"), fleet(clusters)).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/fleet.toml", file(&host)).unwrap();
    let serve = Serve::start(&host, &[]);
    serve.synced(&["lab"]);
    symlink("..2", at("..tmp")).unwrap();
    std::fs::rename(at("..tmp"), at("..data")).unwrap();
    serve.synced(&["shop"]);
}

#[test]
fn a_broken_file_changes_nothing_and_is_told_everywhere() {
    let sim = cloud(&["lab", "shop"]);
    let host = host(&sim);
    std::fs::write(file(&host), fleet(&[("lab", "")])).unwrap();
    let serve = Serve::start(&host, &[]);
    serve.synced(&["lab"]);
    let before = serve.good_at("lab");
    let well = "baton_configuration_last_reload_successful";
    let problem = |serve: &Serve<'_>| serve.status()["configuration"]["last_error"].clone();
    assert!(problem(&serve).is_null());

    let misspelled = fleet(&[("lab", ""), ("shop", "shedule = \"6h\"")]);
    for (broken, said) in [
        (Some("[[clusters]\n".to_owned()), "no TOML"),
        (Some(misspelled), "shedule"),
        (Some(String::new()), "names no cluster"),
        (None, "there is no such file"),
    ] {
        match &broken {
            Some(text) => replace(&file(&host), text),
            None => std::fs::remove_file(file(&host)).unwrap(),
        }
        wait_until(said, || {
            problem(&serve)
                .as_str()
                .is_some_and(|text| text.contains(said))
        });
        assert!(serve.metric(well).abs() < 1e-9);
        assert!(serve.metric("baton_configuration_reloads_total{result=\"failed\"}") >= 1.0);
        assert!(
            serve
                .get("/")
                .body
                .contains("The configuration on disk is broken")
        );
        wait_until("the log", || {
            serve.log().contains("the configuration goes on as it was")
        });
        for path in ["/live", "/ready", "/health"] {
            assert_eq!(serve.get(path).status, 200, "{path}: {said}");
        }
        assert!(serve.cluster("shop").is_null());
        assert_eq!(serve.good_at("lab"), before);
    }

    replace(&file(&host), fleet(&[("lab", ""), ("shop", "")]));
    serve.synced(&["shop"]);
    assert!(problem(&serve).is_null());
    assert!((serve.metric(well) - 1.0).abs() < 1e-9);
    assert_eq!(serve.good_at("lab"), before);
}

/// Another file in a plugin's place stops the clusters that use it, and no
/// others, until somebody approves it.
#[test]
fn a_new_digest_needs_its_approval() {
    let sim = cloud(&["lab", "shop"]);
    let host = host(&sim);
    let copy = host.folder.path().join("copy.wasm");
    std::fs::copy(e2e::harness::plugin(), &copy).unwrap();
    let theirs = format!("plugin = {copy:?}");
    std::fs::write(file(&host), fleet(&[("lab", ""), ("shop", &theirs)])).unwrap();
    let serve = Serve::start(&host, &[]);
    serve.synced(&["lab", "shop"]);

    replace(&copy, another_plugin());
    serve.wait_for("shop", "a refusal", |now| now["state"]["is"] == "disabled");
    let why = serve.cluster("shop")["state"]["why"].clone();
    assert!(why.as_str().unwrap().contains("does not approve"), "{why}");
    assert_ne!(serve.cluster("lab")["state"]["is"], "disabled");
    assert_eq!(serve.get("/health").status, 200);
    assert!(serve.get("/").body.contains("does not approve"));
    let before = serve.good_at("shop");

    let lock = host.folder.path().join("baton.lock").display().to_string();
    host.run(&[
        "plugin",
        "approve",
        "--yes",
        "--lock",
        &lock,
        copy.to_str().unwrap(),
    ])
    .ok();
    serve.wait_for("shop", "a sync with it", |now| {
        now["state"]["is"] != "disabled" && now["last_good"]["at"].as_str() != Some(&before)
    });

    // The lock that came into force stays so, though nobody names it.
    std::fs::remove_file(&lock).unwrap();
    wait_until("the lock is missed", || {
        serve.status()["configuration"]["last_error"]
            .as_str()
            .is_some_and(|text| text.contains("baton.lock is gone"))
    });
    assert_ne!(serve.cluster("shop")["state"]["is"], "disabled");
}
