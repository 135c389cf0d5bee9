//! One run over all clusters.

use std::os::unix::fs::PermissionsExt as _;

use cloud_sim::{Effect, Fault};
use e2e::harness::Access;

use crate::town::*;

/// Forty clusters of three accounts; one is down, one is throttled, one is
/// broken in the file, one belongs to an account that the credentials do not
/// lead to. The other thirty-seven cost what one costs, times thirty-seven.
#[test]
fn forty_clusters_and_each_failure_is_its_own() {
    let mut clusters: Vec<(&str, String)> = Vec::new();
    for (account, prefix, count) in [(A, "a", 20), (B, "b", 12), (C, "c", 8)] {
        clusters.extend((0..count).map(|n| (account, format!("{prefix}-{n:02}"))));
    }
    let placed: Vec<(&str, &str, &str)> = clusters
        .iter()
        .map(|(account, name)| (*account, REGION, name.as_str()))
        .collect();
    let mut scenario = scenario(&placed);
    for cluster in &mut scenario.clusters {
        cluster.unreachable = cluster.name == "a-03";
    }
    let town = Town::new(scenario);
    town.sim.inject_at(
        "b-05",
        Fault::times("kubernetes:list *", Effect::Throttle(1), 3),
    );
    let tables: String = clusters
        .iter()
        .map(|(account, name)| match name.as_str() {
            "c-02" => table(account, name, "limits = { memory = 0 }"),
            "c-03" => {
                // The defaults' keys stand beside it, and exclude each other.
                let role = format!("credentials = {{ profile = \"absent\", role-arn = \"arn:aws:iam::{account}:role/eks-reader\" }}");
                table(account, name, &role)
            }
            _ => table(account, name, ""),
        })
        .collect();
    town.file(&format!("{}{tables}", defaults(&town.host)));

    let run = town.fleet(&["sync", "--attempts", "1", "--format", "json"]);
    assert_eq!(run.code, Some(7), "{run:?}");
    let summary = run.json();
    assert_eq!(summary["succeeded"], "some");
    assert_eq!(
        (&summary["good"], &summary["failed"]),
        (&37.into(), &3.into())
    );

    let down = row(&summary, A, "a-03");
    assert_eq!(down["result"], "failed");
    assert_eq!(down["last_failure"]["kind"], "unavailable", "{down}");
    let broken = row(&summary, C, "c-02");
    assert_eq!(broken["state"]["is"], "disabled");
    assert!(
        broken["state"]["why"]
            .as_str()
            .unwrap()
            .contains("a limit of zero"),
        "{broken}"
    );
    let excluded = row(&summary, C, "c-03");
    assert!(
        excluded["state"]["why"]
            .as_str()
            .unwrap()
            .contains("exclude each other"),
        "{excluded}"
    );
    assert_eq!(row(&summary, B, "b-05")["result"], "good");
    assert!(
        summary["totals"]["upstreams"]["kubernetes"]["throttled"]
            .as_u64()
            .unwrap()
            >= 3
    );

    let good: Vec<&(&str, String)> = clusters
        .iter()
        .filter(|(_, name)| !["a-03", "c-02", "c-03"].contains(&name.as_str()))
        .collect();
    let files = town.files();
    let expected = good
        .iter()
        .map(|(account, name)| format!("{account}/{REGION}/{name}.c1z"))
        .collect();
    assert_eq!(files, expected);
    for (account, name) in &good {
        let file = town.output(account, name);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
        assert!(!Access::read(&file).grants.is_empty());
    }

    // Every good one asks the same, and nothing is asked for two.
    let calls = town.sim.calls();
    let of = |operation: &str| calls.get(operation).copied().unwrap_or_default();
    assert_eq!(of("sts:AssumeRole"), 38, "and the one that is down");
    assert_eq!(of("sts:GetCallerIdentity"), 38);
    assert_eq!(of("eks:DescribeCluster"), 38);
    assert_eq!(of("iam:ListRoles"), 37);
    assert_eq!(of("eks:ListAccessPolicies"), 37);
    assert_eq!(of("kubernetes:get /version"), 37);
    let one = town.calls_of("a-00");
    assert!(one.len() >= 5, "{one:?}");
    for (_, name) in &good {
        if name != "b-05" {
            assert_eq!(town.calls_of(name), one, "{name}");
        }
    }
}

/// EKS does not let us.
fn refusal() -> Fault {
    Fault::always(
        "eks:DescribeCluster",
        Effect::Answer {
            status: 403,
            content_type: "application/json".into(),
            body: r#"{"message":"no"}"#.into(),
        },
    )
}

#[test]
fn all_some_and_none_end_differently() {
    let town = Town::of(&[(A, "one", ""), (B, "two", "")]);
    town.fleet(&["sync"]).ok().says(&[
        "111122223333/eu-west-1/one  synced",
        "444455556666/eu-west-1/two  synced",
        "2 of 2 clusters were synced",
    ]);
    let before = std::fs::read(town.output(A, "one")).unwrap();

    town.sim.inject_at("one", refusal());
    let some = town.fleet(&["sync"]);
    assert_eq!(some.code, Some(7), "{some:?}");
    assert!(
        some.out.contains("1 of 2 clusters were synced, 1 failed"),
        "{some:?}"
    );
    assert!(
        some.out.contains("failed: 111122223333/eu-west-1/one: "),
        "{some:?}"
    );
    assert_eq!(
        std::fs::read(town.output(A, "one")).unwrap(),
        before,
        "as it was"
    );

    town.sim.inject_at("two", refusal());
    let none = town.fleet(&["sync"]);
    assert_eq!(none.code, Some(8), "{none:?}");
    assert!(none.out.contains("0 of 2 clusters were synced"), "{none:?}");
}

/// What does not answer for a moment is there at the next attempt.
#[test]
fn an_outage_that_ends_is_none_in_the_end() {
    let town = Town::of(&[(A, "one", "")]);
    // More often than the client of one attempt tries.
    town.sim.inject_at(
        "one",
        Fault::times(
            "eks:DescribeCluster",
            Effect::Answer {
                status: 503,
                content_type: "application/json".into(),
                body: "{}".into(),
            },
            6,
        ),
    );
    let run = town.fleet(&["sync"]).ok();
    assert!(run.out.contains("1 of 1 clusters were synced"), "{run:?}");
}

#[test]
fn credentials_of_another_account_fail_the_cluster() {
    let town = Town::of(&[(A, "one", ""), (B, "two", "")]);
    let own = format!(
        "{}{}{}",
        defaults(&town.host),
        table(A, "one", ""),
        table(B, "two", "credentials = \"ambient\""),
    );
    town.file(&own);
    let host_key = town.sim.access_key().to_owned();
    let secret = town.sim.secret_key().to_owned();
    let town = Town {
        sim: town.sim,
        host: town
            .host
            .set("AWS_ACCESS_KEY_ID", host_key)
            .set("AWS_SECRET_ACCESS_KEY", secret),
    };
    let run = town.fleet(&["sync"]);
    assert_eq!(run.code, Some(7), "{run:?}");
    let words = "the credentials belong to account 111122223333, and two is in 444455556666";
    assert!(run.out.contains(words), "{run:?}");
    assert_eq!(town.calls_of("two").len(), 0, "nothing is asked of it");
}

#[test]
fn only_what_is_named_is_synced() {
    let town = Town::of(&[(A, "one", ""), (B, "two", ""), (C, "three", "")]);
    town.fleet(&["sync", "--only", "two,777788889999/eu-west-1/three"])
        .ok();
    assert_eq!(town.files().len(), 2);
    town.fleet(&["sync", "--only", "444455556666/eu-west-1/twoo"])
        .fails(
            4,
            &[
                "no cluster `444455556666/eu-west-1/twoo`",
                "did you mean `444455556666/eu-west-1/two`?",
            ],
        );
}

/// `-f` is the fleet file wherever it stands; the access file's variable is not.
#[test]
fn the_fleet_file_has_a_flag_and_a_variable_of_its_own() {
    let town = Town::of(&[(A, "one", "")]);
    std::fs::rename(
        town.folder().join("fleet.toml"),
        town.folder().join("other.toml"),
    )
    .unwrap();
    let absent = town.fleet(&["sync"]);
    absent.fails(2, &["fleet.toml:1:1: there is no such file"]);
    for args in [
        &["fleet", "status", "-f", "other.toml"][..],
        &["fleet", "status", "--file=other.toml"],
        &["-f", "other.toml", "fleet", "status"],
    ] {
        town.host
            .run(args)
            .ok()
            .says(&["111122223333/eu-west-1/one"]);
    }
    let named = Town {
        host: town.host.set("BATON_FLEET_FILE", "other.toml"),
        sim: town.sim,
    };
    named
        .fleet(&["status"])
        .ok()
        .says(&["111122223333/eu-west-1/one"]);
    named
        .fleet(&["status", "-f", "third.toml"])
        .fails(2, &["third.toml:1:1: there is no such file"]);
}
