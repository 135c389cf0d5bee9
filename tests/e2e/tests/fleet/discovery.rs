//! Clusters by rule.

use cloud_sim::{Effect, Fault};

use crate::town::*;

fn rule(town: &Town, lines: &str) -> String {
    format!(
        "{}\n[[discover]]\nname = \"all\"\nregions = [\"eu-west-1\", \"us-east-1\"]\n{lines}\n",
        defaults(&town.host)
    )
}

fn town() -> Town {
    let town = Town::new(scenario(&[
        (A, "eu-west-1", "listed"),
        (A, "eu-west-1", "one"),
        (A, "us-east-1", "two"),
        (A, "ap-south-1", "elsewhere"),
        (B, "eu-west-1", "others"),
    ]));
    let text = format!(
        "{}{}",
        rule(
            &town,
            "role-arn = \"arn:aws:iam::111122223333:role/eks-reader\""
        ),
        table(A, "listed", "schedule = \"1h\"")
    );
    town.file(&text);
    town
}

#[test]
fn found_clusters_are_shown_before_they_are_synced() {
    let town = town();
    town.fleet(&["status"]).ok().says(&[
        "listed  never",
        "rule all in eu-west-1, us-east-1 of 111122223333: has found nothing yet",
    ]);
    assert_eq!(town.sim.request_count(), 0, "it looks at files only");

    let looked = town.fleet(&["status", "--discover"]).ok().says(&[
        "111122223333/eu-west-1/one     never",
        "111122223333/us-east-1/two     never",
        "found, not synced yet",
        "found 3 clusters now",
    ]);
    for not in ["elsewhere", "others"] {
        assert!(!looked.out.contains(not), "{looked:?}");
    }
    let calls = town.sim.calls();
    assert_eq!(calls.get("eks:ListClusters"), Some(&2), "{calls:?}");
    assert_eq!(calls.get("eks:DescribeCluster"), None, "nothing was read");
    assert!(town.files().is_empty());
    // From the files, and after that without a look.
    town.fleet(&["status"])
        .ok()
        .says(&["us-east-1/two", "found, not synced yet"]);
    let value = town.fleet(&["status", "--format", "json"]).json();
    assert_eq!(row(&value, A, "one")["found_by_rule"], true);
    assert_eq!(row(&value, A, "listed")["found_by_rule"], false);

    let run = town.fleet(&["sync"]).ok();
    assert!(
        run.err
            .contains("found   111122223333/us-east-1/two  by all"),
        "{run:?}"
    );
    assert!(run.out.contains("3 of 3 clusters were synced"), "{run:?}");
    let files: Vec<String> = town.files().into_iter().collect();
    assert_eq!(
        files,
        [
            "111122223333/eu-west-1/listed.c1z",
            "111122223333/eu-west-1/one.c1z",
            "111122223333/us-east-1/two.c1z",
        ]
    );
}

/// The session that looks may list clusters and nothing else.
#[test]
fn the_session_that_looks_is_narrowed_to_it() {
    let town = town();
    town.fleet(&["status", "--discover"]).ok();
    let assumed: Vec<String> = town
        .sim
        .requests()
        .iter()
        .filter(|request| request.operation == "sts:AssumeRole")
        .map(|request| String::from_utf8_lossy(&request.body).into_owned())
        .collect();
    assert_eq!(assumed.len(), 2);
    for body in assumed {
        let policy = url::form_urlencoded::parse(body.as_bytes())
            .find(|(key, _)| key == "Policy")
            .unwrap()
            .1
            .into_owned();
        let policy: serde_json::Value = serde_json::from_str(&policy).unwrap();
        let statements = policy["Statement"].as_array().unwrap();
        assert_eq!(statements.len(), 1);
        assert_eq!(
            statements[0]["Action"],
            serde_json::json!(["eks:ListClusters"])
        );
    }
}

#[test]
fn a_region_that_does_not_answer_hides_nothing_else() {
    let town = town();
    town.fleet(&["sync"]).ok();
    town.sim.inject(Fault::always(
        "eks:ListClusters",
        Effect::Answer {
            status: 403,
            content_type: "application/json".into(),
            body: r#"{"message":"not today"}"#.into(),
        },
    ));
    let run = town.fleet(&["sync", "--format", "json"]);
    assert_eq!(run.code, Some(7), "{run:?}");
    let summary = run.json();
    assert_eq!(row(&summary, A, "listed")["result"], "good");
    assert_eq!(summary["good"], 3, "and what was found earlier: {summary}");
    let failure = &summary["rules"][0]["last_failure"];
    assert!(
        failure["message"]
            .as_str()
            .unwrap()
            .contains("eu-west-1: EKS"),
        "{failure}"
    );
    // Nobody said that they are gone.
    town.fleet(&["status"]).ok().says(&["us-east-1/two"]);
}

#[test]
fn what_a_rule_finds_no_more_is_not_shown_and_its_file_stays() {
    let town = town();
    town.fleet(&["sync"]).ok();
    let answer = |names: &str| Effect::Answer {
        status: 200,
        content_type: "application/json".into(),
        body: format!("{{\"clusters\":[{names}],\"nextToken\":null}}"),
    };
    town.sim
        .inject(Fault::always("eks:ListClusters", answer("\"listed\"")));
    let run = town.fleet(&["status", "--discover"]).ok();
    assert!(!run.out.contains("us-east-1/two"), "{run:?}");
    assert!(!town.fleet(&["status"]).ok().out.contains("eu-west-1/one"));
    assert_eq!(town.files().len(), 3);
    // Names that are none are not even tried.
    town.sim.clear_faults();
    town.sim.inject(Fault::always(
        "eks:ListClusters",
        answer("\"../../x\", \"a\\u001b[2Jb\""),
    ));
    let run = town.fleet(&["status", "--discover"]).ok();
    assert!(run.err.contains("which is no name of a cluster"), "{run:?}");
    assert!(!run.err.contains('\u{1b}'), "{run:?}");
}

#[test]
fn a_rule_for_another_account_finds_nothing() {
    let town = town();
    town.file(&rule(
        &town,
        "account = \"444455556666\"\ncredentials = \"ambient\"",
    ));
    let (key, secret) = (
        town.sim.access_key().to_owned(),
        town.sim.secret_key().to_owned(),
    );
    let town = Town {
        host: town
            .host
            .set("AWS_ACCESS_KEY_ID", key)
            .set("AWS_SECRET_ACCESS_KEY", secret),
        sim: town.sim,
    };
    let run = town.fleet(&["sync"]);
    assert_eq!(run.code, Some(8), "{run:?}");
    let words = "the credentials belong to account 111122223333, and the rule is for 444455556666";
    assert!(run.out.contains(words), "{run:?}");
    assert_eq!(town.sim.calls().get("eks:ListClusters"), None);
}

#[test]
fn namesakes_that_one_role_reads_are_a_warning() {
    let town = Town::new(scenario(&[
        (A, "eu-west-1", "prod"),
        (A, "us-east-1", "prod"),
    ]));
    town.file(&rule(
        &town,
        "role-arn = \"arn:aws:iam::111122223333:role/eks-reader\"",
    ));
    let run = town.fleet(&["status", "--discover"]).ok();
    let words = "warning: arn:aws:iam::111122223333:role/eks-reader reads 111122223333/eu-west-1/prod and 111122223333/us-east-1/prod";
    assert!(run.err.contains(words), "{run:?}");
}
