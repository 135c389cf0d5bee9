//! `review` on what the connector reads of the demonstration's cluster.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use cloud_sim::{GroupSpec, RoleSpec};
use e2e::harness::{Host, cluster, demo, lab, plugin};
use serde_json::json;

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

/// Policies that lead into the cluster, and a role that leaves it to its
/// account who may assume it.
#[test]
fn rights_in_iam_are_a_way_into_the_cluster() {
    let sim = lab(|scenario| {
        let account = scenario.accounts.first_mut().unwrap();
        for user in &mut account.users {
            if user.name == "alice" {
                user.allow = Some(Vec::new());
            }
        }
        for role in &mut account.roles {
            role.allow = Some(vec![
                "eks:Describe*".into(),
                "eks:List*".into(),
                "iam:Get*".into(),
            ]);
        }
        let ops: RoleSpec = serde_json::from_value(json!({
            "name": "ops", "allow": [], "last-used": "2024-03-01T00:00:00Z",
            "trust": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
                "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "sts:AssumeRole"}]},
        }))
        .unwrap();
        account.roles.push(ops);
        account.groups.push(GroupSpec {
            name: "platform".into(),
            path: "/".into(),
            members: vec!["alice".into()],
            policy: Some(json!({"Version": "2012-10-17", "Statement": [
                {"Sid": "Ops", "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "arn:aws:iam::*:role/ops"},
                {"Sid": "Entries", "Effect": "Allow", "Resource": "*",
                 "Action": ["eks:CreateAccessEntry", "eks:AssociateAccessPolicy"]},
            ]})),
        });
        let entry = json!({"principal": "arn:aws:iam::111122223333:role/ops", "tags": {"team": "ops"},
            "policies": [{"policy": "AmazonEKSEditPolicy", "namespaces": ["web"]}]});
        cluster(scenario, "lab")
            .entries
            .push(serde_json::from_value(entry).unwrap());
    });
    let host = Host::reading(&sim, "lab");
    let lock = host.folder.path().join("people.lock");
    let host = host.set("BATON_LOCK", lock.to_str().unwrap());
    let file = plugin();
    host.run(&[
        "plugin",
        "approve",
        "--yes",
        "--group",
        "read",
        "--group",
        "identities",
        file.to_str().unwrap(),
    ])
    .ok();
    host.run(&["-q", "--identities", "aws"]).ok();
    let run = host.run(&["review", "findings"]).ok().says(&[
        "critical  Can make themselves administrators through AWS  [shadow-admin]  lab",
        "group platform: may give itself an access entry with AmazonEKSClusterAdminPolicy",
        "eks:AssociateAccessPolicy, eks:CreateAccessEntry by inline policy rights, statement Entries",
        "[open-endpoint]",
        "[no-audit-log]",
        "role ops: used last 2024-03-01",
    ]);
    // The member is covered by her group; the administrator who reads is one too.
    assert_eq!(run.out.matches("may give itself").count(), 2, "{}", run.out);
    assert!(!run.out.contains("[take-over]"), "{}", run.out);
    host.run(&["review", "access", "--principal", "alice"]).ok().says(&[
        "alice -> group platform -> role ops (by inline policy rights, statement Ops; unless a service control policy forbids it)",
        "AmazonEKSEditPolicy in namespace web  [conditional]",
    ]);
    host.run(&["review", "access", "--principal", "ops"])
        .ok()
        .says(&["last used 2024-03-01", "access entry tags team=ops"]);
    // The file was expanded by the same grants.
    let access = e2e::harness::Access::read(&host.file());
    let edit =
        access.metadata("access_policy:AmazonEKSEditPolicy:assigned:web | iam_user:@user/alice");
    assert_eq!(edit["certainty"], "conditional");
}

#[test]
fn a_folder_of_files_is_one_review() {
    let sim = demo();
    let host = Host::new().unset("BATON_PLUGIN").unset("BATON_LOCK");
    let fleet = host.folder.path().join("fleet");
    let place = fleet.join("111122223333").join("eu-west-1");
    std::fs::create_dir_all(&place).unwrap();
    host.run(&["review", "findings", "fleet"])
        .fails(4, &["the folder fleet holds no access file", "hint"]);
    for cluster in ["prod", "dev"] {
        let one = Host::reading(&sim, cluster);
        one.run(&["--quiet"]).ok();
        std::fs::copy(one.file(), place.join(format!("{cluster}.c1z"))).unwrap();
    }
    std::fs::write(fleet.join("fleet.json"), "{}").unwrap();
    std::fs::write(place.join("prod.status.json"), "{}").unwrap();
    std::fs::write(place.join("broken.c1z"), "no access file").unwrap();
    let run = host.run(&["review", "findings", "fleet"]).ok().says(&[
        "prod: ",
        "dev: ",
        "note: fleet: not access files, passed over: fleet.json",
        "broken.c1z was left out: ",
    ]);
    assert!(run.out.contains("[cluster-admin]  dev"), "{}", run.out);
    host.run(&["review", "report", "fleet", "--json", "r.json"])
        .ok();
    let text = std::fs::read_to_string(host.folder.path().join("r.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["read"].as_array().unwrap().len(), 2);
    assert_eq!(report["notes"].as_array().unwrap().len(), 2);
    // A file that is named must be one.
    host.run(&[
        "review",
        "findings",
        "fleet/111122223333/eu-west-1/broken.c1z",
    ])
    .fails(2, &["broken.c1z"]);
    host.run(&["review", "diff", "fleet"])
        .fails(2, &["fleet is a folder", "hint"]);
    std::fs::copy(place.join("dev.c1z"), fleet.join("copy.c1z")).unwrap();
    host.run(&["review", "findings", "fleet"])
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
