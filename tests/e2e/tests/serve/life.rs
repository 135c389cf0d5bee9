//! From the start to the end.

use cloud_sim::{Effect, Fault};
use e2e::harness::{Access, wait_until};

use super::running::{Serve, cloud, file, fleet, host, probe};

#[test]
fn a_fleet_is_synced_and_told_about() {
    let sim = cloud(&["lab", "shop"]);
    let host = host(&sim);
    std::fs::write(file(&host), fleet(&[("lab", ""), ("shop", "")])).unwrap();
    let serve = Serve::start(&host, &[]);
    serve.synced(&["lab", "shop"]);

    let access = host
        .folder
        .path()
        .join("out/111122223333/eu-west-1/lab.c1z");
    assert!(!Access::read(&access).grants.is_empty());
    for path in ["/live", "/ready", "/health"] {
        wait_until(path, || serve.get(path).status == 200);
    }
    assert!(serve.metric("baton_syncs_total{result=\"succeeded\"}") >= 2.0);
    assert!(serve.metric("baton_upstream_calls_total{upstream=\"kubernetes\"}") > 0.0);
    assert!(serve.metric("baton_guest_cpu_slices_total") > 0.0);
    assert!(serve.metric("baton_guest_memory_peak_bytes") > 0.0);
    assert!(serve.metric("baton_pool_slots ") > 0.0);
    assert!(serve.metric("baton_sync_duration_seconds_count") >= 2.0);
    let up = "baton_cluster_up{cluster=\"111122223333/eu-west-1/shop\"}";
    assert!((serve.metric(up) - 1.0).abs() < 1e-9);
    let page = serve.get("/").body;
    assert!(
        page.contains("Nothing is wrong with the 2 clusters."),
        "{page}"
    );

    // Asking asks nobody else.
    let before = sim.request_count();
    for path in [
        "/",
        "/status.json",
        "/metrics",
        "/live",
        "/ready",
        "/health",
    ] {
        assert_eq!(serve.get(path).status, 200, "{path}");
    }
    assert_eq!(sim.request_count(), before);

    let at = serve.at.to_string();
    let run = host.run(&["health-check", "--listen", &at]).ok();
    assert_eq!(run.out, "healthy\n");

    serve.signal("-TERM");
    let run = serve.end().ok();
    assert!(run.err.contains("stopped"), "{}", run.err);
    assert_eq!(run.out, "", "standard output is for data");
}

/// One that fails does not make the fleet unhealthy, and all do.
#[test]
fn health_is_of_the_fleet_and_metrics_are_of_a_cluster() {
    let sim = cloud(&["lab"]);
    let host = host(&sim);
    std::fs::write(file(&host), fleet(&[("lab", ""), ("absent", "")])).unwrap();
    let serve = Serve::start(&host, &[]);
    serve.synced(&["lab"]);
    serve.wait_for("absent", "a failure", |now| now["last_failure"].is_object());
    assert_eq!(serve.get("/health").status, 200);
    let up = "baton_cluster_up{cluster=\"111122223333/eu-west-1/absent\"}";
    assert!(serve.metric(up).abs() < 1e-9);
    assert!(
        serve
            .get("/")
            .body
            .contains("1 of 2 clusters needs a look.")
    );

    std::fs::write(file(&host), fleet(&[("absent", "")])).unwrap();
    serve.signal("-HUP");
    wait_until("an unhealthy fleet", || serve.get("/health").status == 503);
    let body = serve.get("/health").body;
    assert!(body.contains("every cluster fails"), "{body}");
    assert!(!body.contains("absent"), "{body}");
    assert_eq!(serve.get("/live").status, 200);
}

#[test]
fn a_stop_waits_for_what_runs_and_then_gives_it_up() {
    let sim = cloud(&["lab"]);
    sim.inject(Fault::always("kubernetes:list *", Effect::Hang));
    let host = host(&sim);
    std::fs::write(file(&host), fleet(&[("lab", "")])).unwrap();
    for grace in ["0", "300ms"] {
        let serve = Serve::start(&host, &["--grace", grace]);
        serve.wait_for("lab", "a sync", |now| now["state"]["is"] == "syncing");
        serve.signal("-TERM");
        let run = serve.end().ok();
        assert!(run.err.contains("\"given_up\":1"), "{}", run.err);
        let out = host.folder.path().join("out/111122223333/eu-west-1");
        assert!(!out.join("lab.c1z").exists());
    }

    // With time enough it ends by itself.
    sim.clear_faults();
    sim.inject(Fault::times("kubernetes:list *", Effect::Latency(300), 1));
    let serve = Serve::start(&host, &["--grace", "60s"]);
    serve.wait_for("lab", "a sync", |now| now["state"]["is"] == "syncing");
    serve.signal("-TERM");
    serve.end().ok();
    let out = host.folder.path().join("out/111122223333/eu-west-1");
    assert!(!Access::read(&out.join("lab.c1z")).grants.is_empty());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let sim = cloud(&["lab"]);
    sim.inject(Fault::always("kubernetes:list *", Effect::Hang));
    let host = host(&sim);
    std::fs::write(file(&host), fleet(&[("lab", "")])).unwrap();
    let serve = Serve::start(&host, &["--grace", "1h"]);
    serve.wait_for("lab", "a sync", |now| now["state"]["is"] == "syncing");
    serve.signal("-INT");
    wait_until("the end of readiness", || serve.get("/ready").status == 503);
    assert!(serve.get("/").body.contains("It was asked to stop"));
    assert_eq!(serve.get("/live").status, 200);
    serve.signal("-INT");
    let run = serve.end();
    assert_eq!(run.code, Some(130), "{}", run.err);
    assert!(run.err.contains("stopped at once"), "{}", run.err);
}

/// As many guests spin as there are threads for guests.
#[test]
fn guests_that_spin_keep_no_answer_and_no_other_cluster() {
    let threads = std::thread::available_parallelism().unwrap().get();
    let names: Vec<String> = (0..threads).map(|n| format!("spin-{n}")).collect();
    let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
    all.push("lab");
    let sim = cloud(&all);
    // The probe is in no lock, and needs none.
    let host = host(&sim);
    std::fs::remove_file(host.folder.path().join("baton.lock")).unwrap();
    let spin = probe("spin");
    let mut clusters: Vec<(&str, &str)> = names.iter().map(|name| (&**name, &*spin)).collect();
    std::fs::write(file(&host), fleet(&clusters)).unwrap();
    let serve = Serve::start(&host, &["--grace", "0"]);
    for name in &names {
        serve.wait_for(name, "a guest that spins", |now| {
            now["state"]["phase"] == "resources"
        });
    }
    for path in ["/live", "/ready", "/health", "/metrics", "/"] {
        wait_until(path, || serve.get(path).status == 200);
    }
    // One that works is synced beside them.
    clusters.push(("lab", ""));
    std::fs::write(file(&host), fleet(&clusters)).unwrap();
    serve.signal("-HUP");
    serve.synced(&["lab"]);
    for name in &names {
        assert_eq!(
            serve.cluster(name)["state"]["is"],
            "syncing",
            "{name} spins still"
        );
    }
    assert_eq!(serve.get("/live").status, 200);
    serve.signal("-TERM");
    serve.end().ok();
}

#[test]
fn what_cannot_be_served_is_one_clear_error() {
    let sim = cloud(&["lab"]);
    let host = host(&sim);
    let at = |name: &str| host.folder.path().join(name).display().to_string();
    std::fs::write(file(&host), fleet(&[("lab", "")])).unwrap();

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    host.run(&["serve", "--listen", &address]).fails(
        4,
        &[
            &format!("{address} is in use by another program"),
            "--listen",
        ],
    );
    for (args, words) in [
        (&["--listen", ":8081"][..], "say 127.0.0.1:8081"),
        (
            &["--listen", "192.0.2.1:8081"],
            "no address of this machine",
        ),
        (&["--grace", "soon"], "write it as 30s or 2m"),
        (&["--grace", "2d"], "no time up to a day"),
        (&["--shard", "9/8"], "there is no shard 9"),
        (&["--shard", "three"], "3/8"),
        (&["--shards", "x"], "number"),
        (&["-f", &at("none.toml")], "there is no such file"),
    ] {
        host.run(&[&["serve"], args].concat()).fails(2, &[words]);
    }
    std::fs::write(at("broken.toml"), "[[clusters]\n").unwrap();
    host.run(&["serve", "-f", &at("broken.toml")])
        .fails(2, &["broken.toml", "no TOML"]);
}

/// Each process of a fleet has its part, and both together have all.
#[test]
fn shards_share_a_fleet() {
    let names = ["lab", "a", "b", "c", "d", "e"];
    let sim = cloud(&names);
    let clusters: Vec<(&str, &str)> = names.iter().map(|name| (*name, "")).collect();
    let mut seen = Vec::new();
    for (ordinal, hosted) in [("0", "fleet-7"), ("1", "fleet-9")] {
        let host = host(&sim)
            .set("JOB_COMPLETION_INDEX", ordinal)
            .set("HOSTNAME", hosted);
        std::fs::write(file(&host), fleet(&clusters)).unwrap();
        let serve = Serve::start(&host, &["--grace", "0", "--shards", "2"]);
        wait_until("its clusters", || serve.get("/ready").status == 200);
        let status = serve.status();
        for cluster in status["clusters"].as_array().unwrap() {
            seen.push(cluster["name"].as_str().unwrap().to_owned());
        }
    }
    seen.sort();
    let mut all: Vec<String> = names.map(str::to_owned).to_vec();
    all.sort();
    assert_eq!(seen, all);
}
