//! What is known of a fleet without a process.

use cloud_sim::{Effect, Fault};

use crate::town::*;

#[test]
fn the_status_is_read_from_the_files_alone() {
    let town = Town::of(&[
        (A, "one", ""),
        (B, "two", ""),
        (C, "three", "limits = { call = \"0s\" }"),
    ]);
    town.sim.inject_at(
        "two",
        Fault::always(
            "kubernetes:*",
            Effect::Answer {
                status: 403,
                content_type: "application/json".into(),
                body: r#"{"kind":"Status","message":"no \u001b[2J way"}"#.into(),
            },
        ),
    );
    assert_eq!(town.fleet(&["sync"]).code, Some(7));
    town.sim.forget();
    let run = town.fleet(&["status"]).ok().says(&[
        "111122223333/eu-west-1/one",
        "good",
        "444455556666/eu-west-1/two    never",
        "refuses `get /version`",
        "cannot be synced: line",
        "a limit of zero",
    ]);
    assert!(!run.out.contains('\u{1b}'), "{run:?}");
    assert_eq!(town.sim.request_count(), 0);
    let value = town.fleet(&["status", "--format", "json"]).ok().json();
    let one = row(&value, A, "one");
    assert_eq!(one["file"], true);
    assert!(one["last_good"]["grants"].as_u64().unwrap() > 0);
    assert_eq!(row(&value, B, "two")["last_failure"]["kind"], "denied");
    assert_eq!(row(&value, C, "three")["state"]["is"], "disabled");
    for (account, name, result) in [
        (A, "one", "fine"),
        (B, "two", "failing"),
        (C, "three", "disabled"),
    ] {
        assert_eq!(row(&value, account, name)["result"], result, "{value}");
    }

    std::fs::remove_file(town.output(A, "one")).unwrap();
    town.fleet(&["status", "--only", "one"])
        .ok()
        .says(&["its access file is missing"]);
    std::fs::write(town.output(B, "two"), "x").unwrap();
    std::fs::remove_file(town.output(B, "two").with_extension("status.json")).unwrap();
    town.fleet(&["status", "--only", "two"])
        .ok()
        .says(&["its access file was written by no fleet"]);
}
