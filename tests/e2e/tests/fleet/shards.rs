//! Several processes that share a fleet.

use std::collections::BTreeSet;

use crate::town::*;

fn town() -> Town {
    let names: Vec<String> = (0..12).map(|n| format!("c-{n:02}")).collect();
    let clusters: Vec<(&str, &str, &str)> =
        names.iter().map(|name| (A, name.as_str(), "")).collect();
    Town::of(&clusters)
}

#[test]
fn shards_have_all_clusters_between_them_and_none_twice() {
    let town = town();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for shard in 1..=3 {
        // What others wrote is not even looked at.
        for file in &seen {
            let path = town.folder().join("access").join(file);
            std::fs::write(path, "not an access file").unwrap();
        }
        town.fleet(&["sync", "--shard", &format!("{shard}/3")]).ok();
        let all = town.files();
        let own: BTreeSet<String> = all.difference(&seen).cloned().collect();
        assert!(!own.is_empty() && own.len() < 12, "{shard}: {own:?}");
        for file in &seen {
            let path = town.folder().join("access").join(file);
            assert_eq!(std::fs::read(path).unwrap(), b"not an access file");
        }
        seen.extend(own);
    }
    assert_eq!(seen.len(), 12);
}

#[test]
fn kubernetes_says_which_shard_it_is() {
    let town = town();
    let ids = |run: e2e::harness::Run| -> Vec<String> {
        let value = run.ok().json();
        let rows = value["clusters"].as_array().unwrap();
        rows.iter().map(|row| row["id"].to_string()).collect()
    };
    let second = ids(town.fleet(&["status", "--shard", "2/3", "--format", "json"]));
    let of = |town: &Town| ids(town.fleet(&["status", "--shards", "3", "--format", "json"]));
    let Town { sim, host } = town;
    let town = Town {
        sim,
        host: host.set("HOSTNAME", "baton-host-1"),
    };
    assert_eq!(of(&town), second);
    let Town { sim, host } = town;
    let town = Town {
        sim,
        host: host.set("JOB_COMPLETION_INDEX", "2"),
    };
    let third = of(&town);
    assert_ne!(third, second);
    let Town { sim, host } = town;
    let town = Town {
        sim,
        host: host.set("JOB_COMPLETION_INDEX", "3"),
    };
    town.fleet(&["status", "--shards", "3"]).fails(
        2,
        &["JOB_COMPLETION_INDEX says number 3", "there are 3 shards"],
    );
    town.fleet(&["status", "--shard", "4/3"])
        .fails(2, &["no shard 4"]);
    town.fleet(&["status", "--shard", "x"]).fails(2, &["`3/8`"]);
}
