//! `review` on what the connector reads of the demonstration's cluster.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use e2e::harness::{Host, demo};

/// The program with a file of the cluster `prod`, and nothing else.
fn synced() -> Host {
    let sim = demo();
    let host = Host::reading(&sim, "prod");
    host.run(&["--quiet"]).ok();
    host
}

#[test]
fn a_review_needs_a_file_and_nothing_else() {
    let host = synced();
    let file = host.file();
    // No cloud, no plugin.
    let host = Host::new()
        .unset("BATON_PLUGIN")
        .unset("BATON_LOCK")
        .set("BATON_FILE", file.to_str().unwrap());
    host.run(&["review", "access", "--principal", "bob"]).ok().says(&[
        "prod: ",
        "mode API_AND_CONFIG_MAP",
        "user bob (arn:aws:iam::111122223333:user/people/bob)",
        "bob -> access entry -> group developers -> binding payments/developers-edit -> edit in namespace payments",
        "bob -> role legacy-ops (trust) -> aws-auth mapRoles line 32 -> group developers -> binding \
         payments/developers-edit -> edit in namespace payments",
    ]);
    let who = [
        "review",
        "who-can",
        "--verb",
        "get",
        "--resource",
        "secrets",
        "-n",
        "payments",
    ];
    let run = host.run(&who).ok().says(&[
        "Who can get secrets in namespace payments",
        "erin -> role platform-admin (trust) -> access entry -> AmazonEKSClusterAdminPolicy in the whole cluster",
        "people behind it: not available, Identity Center",
    ]);
    assert!(!run.out.contains("carol"), "{}", run.out);
    host.run(&["review", "who-can", "--role", "cluster-admin"])
        .ok()
        .says(&["mallory", "break-glass"]);
    host.run(&["review", "findings"]).ok().says(&[
        "critical  Administrators of the whole cluster  [cluster-admin]  prod",
        "[system-masters]",
        "role break-glass: past every check of the API server",
        "[dead-mapping]",
    ]);
    let value = host
        .run(&[
            "review",
            "findings",
            "--severity",
            "critical",
            "--format",
            "json",
        ])
        .ok()
        .json();
    let rules: Vec<&str> = value["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["rule"].as_str().unwrap())
        .collect();
    assert_eq!(rules, ["cluster-admin", "system-masters"]);
}

#[test]
fn two_syncs_of_one_file_are_compared() {
    let sim = demo();
    let host = Host::reading(&sim, "prod");
    host.run(&["--quiet"]).ok();
    host.run(&["review", "diff"])
        .fails(4, &["does not hold two finished syncs", "hint"]);
    host.run(&["--quiet"]).ok();
    host.run(&["review", "diff"])
        .ok()
        .says(&["nothing changed"]);
    let other = Host::reading(&sim, "dev");
    other.run(&["--quiet"]).ok();
    let (a, b) = (host.file(), other.file());
    host.run(&["review", "diff", a.to_str().unwrap(), b.to_str().unwrap()])
        .fails(2, &["the files are of two clusters"]);
    host.run(&[
        "review",
        "findings",
        a.to_str().unwrap(),
        b.to_str().unwrap(),
    ])
    .ok()
    .says(&["prod: ", "dev: "]);
    host.run(&[
        "review",
        "findings",
        a.to_str().unwrap(),
        a.to_str().unwrap(),
    ])
    .fails(2, &["are both of"]);
}

#[test]
fn reports_are_written_whole_and_for_their_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let host = synced();
    let run = host
        .run(&[
            "review", "report", "--html", "r.html", "--csv", "r.csv", "--json", "r.json",
        ])
        .ok();
    assert!(run.err.contains("wrote r.html, r.csv, r.json"), "{run:?}");
    for name in ["r.html", "r.csv", "r.json"] {
        let file = host.folder.path().join(name);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let page = std::fs::read_to_string(host.folder.path().join("r.html")).unwrap();
    assert!(page.contains("<h1>Access review of prod</h1>"));
    let value = host.run(&["review", "report", "--json", "-"]).ok().json();
    assert_eq!(value["version"], 1);
    host.run(&["review", "report", "--html", "no/such/folder.html"])
        .fails(1, &["cannot write no/such/folder.html", "hint"]);
}

#[test]
fn mistakes_have_an_answer() {
    let host = synced();
    host.run(&["review", "access", "--principal", "bo"])
        .fails(4, &["no principal is called bo; did you mean bob?"]);
    host.run(&["review", "findings", "nowhere.c1z"])
        .fails(4, &["nowhere.c1z does not exist", "hint"]);
    std::fs::write(host.folder.path().join("empty.c1z"), "").unwrap();
    host.run(&["review", "findings", "empty.c1z"])
        .fails(4, &["empty.c1z holds no finished sync"]);
    std::fs::write(host.folder.path().join("text.c1z"), "text").unwrap();
    host.run(&["review", "findings", "text.c1z"])
        .fails(2, &["text.c1z is not an access file"]);
    host.run(&["review", "who-can", "--verb", "get"])
        .fails(2, &["--resource"]);
    host.run(&["review", "who-can"]).fails(2, &["required"]);
    let run = host
        .run(&[
            "review",
            "who-can",
            "--verb",
            "get",
            "--resource",
            "secrets",
            "-n",
            "nowhere",
        ])
        .ok();
    assert!(
        !run.out.contains("nobody"),
        "administrators of the cluster may: {}",
        run.out
    );
}
