//! Fleet files that are wrong, and what becomes of the rest.

use e2e::harness::plugin;

use crate::town::*;

#[test]
fn validate_finds_everything_at_once_and_sends_nothing() {
    let town = Town::of(&[(A, "one", "")]);
    let text = format!(
        "{}{}{}{}{}",
        defaults(&town.host),
        table(A, "one", "settings = { namespace-entitlments = \"all\" }"),
        table(A, "two", "settings = { namespace-entitlements = \"some\" }"),
        table(
            A,
            "three",
            "settings = { eks-region = \"us-east-1\" }\nschedule = \"0 3 * * *\""
        ),
        table(A, "four", "plugin = \"absent.wasm\""),
    );
    town.file(&text);
    let line = |words: &str| 1 + text.lines().position(|line| line.contains(words)).unwrap();
    let run = town.fleet(&["validate"]);
    run.fails(
        2,
        &[
            &format!("fleet.toml:{}:", line("entitlments")),
            "has no setting `namespace-entitlments`; did you mean `namespace-entitlements`?",
            "`namespace-entitlements` cannot be `some`; it can be",
            &format!(
                "fleet.toml:{}:12: `0 3 * * *` is no schedule",
                line("0 3 *")
            ),
            &format!(
                "fleet.toml:{}:10: cannot read the plugin",
                line("absent.wasm")
            ),
            "fleet.toml has 4 mistakes",
        ],
    );
    let value = town.fleet(&["validate", "--format", "json"]).json();
    assert_eq!(value["mistakes"].as_array().unwrap().len(), 4, "{value}");
    // Without its other mistake the third has one of the plugin's.
    town.file(&text.replace("schedule = \"0 3 * * *\"", ""));
    town.fleet(&["validate"]).fails(
        2,
        &["`eks-region` is filled in from the cluster's `region`"],
    );
    assert_eq!(town.sim.request_count(), 0);
}

#[test]
fn a_good_file_is_said_to_be_one_with_its_warnings() {
    let town = Town::of(&[(A, "prod", "")]);
    let text = format!(
        "{}{}{}",
        defaults(&town.host),
        table(A, "prod", ""),
        table(A, "prod", "region = \"us-east-1\"").replace(
            "account",
            "credentials = { external-id = { env = \"NOT_SET\" } }\naccount"
        ),
    );
    town.file(&text);
    let run = town
        .fleet(&["validate"])
        .ok()
        .says(&["2 clusters, 0 rules, no mistake, 2 warnings"]);
    let words =
        "warning: arn:aws:iam::111122223333:role/eks-reader reads this `prod` and the one in line";
    assert!(run.err.contains(words), "{run:?}");
    assert!(
        run.err
            .contains("warning: `external-id` is in the variable NOT_SET, which is not set"),
        "{run:?}"
    );
}

#[test]
fn a_file_that_is_wrong_as_a_whole_syncs_nothing() {
    let town = Town::of(&[(A, "one", "")]);
    for (text, words) in [
        ("[defaults\n", "this is no TOML"),
        ("[[cluster]]\nname = \"a\"\n", "did you mean `clusters`?"),
        ("", "names no cluster and no rule"),
        (
            "[defaults]\nschedule = \"x\"\n[[clusters]]\nname = \"a\"\n",
            "`x` is no schedule",
        ),
    ] {
        town.file(text);
        for command in ["sync", "status", "validate"] {
            town.fleet(&[command]).fails(2, &[words]);
        }
    }
    assert_eq!(town.sim.request_count(), 0);
}

#[test]
fn clusters_that_share_an_id_or_a_file_are_not_synced_and_the_others_are() {
    let town = Town::of(&[
        (A, "one", ""),
        (A, "two", ""),
        (B, "three", ""),
        (C, "four", ""),
    ]);
    let text = format!(
        "{}{}{}{}{}{}",
        defaults(&town.host),
        table(A, "one", ""),
        table(A, "one", ""),
        table(A, "two", "file = \"shared.c1z\""),
        table(B, "three", "file = \"shared.c1z\""),
        table(C, "four", ""),
    );
    town.file(&text);
    let run = town.fleet(&["sync"]);
    assert_eq!(run.code, Some(7), "{run:?}");
    assert!(
        run.err
            .contains("111122223333/eu-west-1/one is here and in line"),
        "{run:?}"
    );
    assert!(
        run.err.contains("is also that of the cluster in line"),
        "{run:?}"
    );
    assert_eq!(
        town.files().into_iter().collect::<Vec<_>>(),
        ["777788889999/eu-west-1/four.c1z"]
    );
}

/// A link that is put in the way after the file was read leads nowhere either.
#[test]
fn an_access_file_never_leaves_its_folder() {
    let town = Town::of(&[(A, "one", ""), (B, "two", "")]);
    let outside = tempfile::tempdir().unwrap();
    let access = town.folder().join("access");
    std::fs::create_dir(&access).unwrap();
    std::os::unix::fs::symlink(outside.path(), access.join(A)).unwrap();
    let run = town.fleet(&["sync"]);
    assert_eq!(run.code, Some(7), "{run:?}");
    assert!(run.out.contains("would escape its folder"), "{run:?}");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    let text = format!(
        "{}{}",
        defaults(&town.host),
        table(A, "one", "file = \"../one.c1z\"")
    );
    town.file(&text);
    town.fleet(&["validate"])
        .fails(2, &["`file` cannot be used: it leaves the output folder"]);
}

#[test]
fn a_secret_in_the_file_is_refused_and_shown_nowhere() {
    let town = Town::of(&[(A, "one", "")]);
    let secret = town.sim.secret_key().to_owned();
    let text = defaults(&town.host).replace("{ file = \"secret\" }", &format!("\"{secret}\""));
    town.file(&format!("{text}{}", table(A, "one", "")));
    // That it is not shown is looked at in `fleet`.
    for args in [
        &["sync"][..],
        &["validate"],
        &["validate", "--format", "json"],
        &["status"],
    ] {
        let run = town.fleet(args);
        assert_eq!(run.code, Some(2), "{run:?}");
        let said = format!("{}{}", run.out, run.err);
        assert!(
            said.contains("`eks-secret-access-key` is a secret"),
            "{said}"
        );
    }
}

/// Who may see how a cluster is need not know where its secrets are.
#[test]
fn a_secret_that_is_not_there_fails_its_cluster_and_no_path_is_told() {
    let town = Town::of(&[(A, "one", "")]);
    std::fs::remove_file(town.folder().join("secret")).unwrap();
    let run = town.fleet(&["sync", "--format", "json"]);
    assert_eq!(run.code, Some(8), "{run:?}");
    let message = row(&run.json(), A, "one")["last_failure"]["message"].to_string();
    let words = "`eks-secret-access-key` is in the file that is named for it, which cannot be read";
    assert!(message.contains(words), "{message}");
    assert!(
        !message.contains(town.folder().to_str().unwrap()),
        "{message}"
    );
    assert_eq!(town.sim.request_count(), 0);
}

#[test]
fn a_plugin_that_is_not_approved_stops_only_its_clusters() {
    let town = Town::of(&[(A, "one", ""), (B, "two", "")]);
    let other = format!(
        "version = 1\n\n[[plugin]]\nname = \"baton-eks\"\nversion = \"0.1.0\"\ndigest = \"sha256:{}\"\ngroups = [\"read\"]\nrights = []\n",
        "0".repeat(64)
    );
    std::fs::write(town.folder().join("other.lock"), other).unwrap();
    let text = format!(
        "{}{}{}",
        defaults(&town.host),
        table(A, "one", ""),
        table(B, "two", "lock = \"other.lock\""),
    );
    town.file(&text);
    let run = town.fleet(&["sync", "--format", "json"]);
    assert_eq!(run.code, Some(7), "{run:?}");
    let summary = run.json();
    assert_eq!(row(&summary, A, "one")["result"], "good");
    let two = row(&summary, B, "two");
    assert_eq!(two["state"]["is"], "disabled", "{two}");
    assert_eq!(two["last_failure"]["kind"], "plugin");
    assert!(
        two["state"]["why"]
            .as_str()
            .unwrap()
            .contains("does not approve"),
        "{two}"
    );
    assert!(town.calls_of("two").is_empty());
}

#[test]
fn the_schema_is_the_one_of_the_documentation() {
    let town = Town::of(&[(A, "one", "")]);
    let run = town.fleet(&["schema"]).ok();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/fleet.schema.json");
    assert_eq!(run.out, std::fs::read_to_string(page).unwrap());
    assert!(plugin().is_file());
}

/// A lock that somebody names and nobody heeds would be worse than none.
#[test]
fn a_lock_on_the_command_line_is_refused() {
    let town = Town::of(&[(A, "one", "")]);
    for command in ["sync", "validate", "status"] {
        town.fleet(&[command, "--lock", "strict.lock"]).fails(
            2,
            &[
                "--lock does not count for a fleet",
                "write `lock = ",
                "fleet file",
            ],
        );
    }
    town.host
        .run(&["serve", "--lock", "strict.lock"])
        .fails(2, &["--lock does not count for a fleet"]);
    assert_eq!(town.sim.request_count(), 0);
}
