//! Upstreams on their bad days: what passes is waited for, what does not is
//! said, and nothing of it reaches the file.

use cloud_sim::{Effect, Fault, SimHandle};

use crate::harness::*;
use crate::main_job::{PROD, grants_are};

/// A sync of `prod` that meets faults and must come to the right end.
#[track_caller]
fn survives(faults: Vec<Fault>) -> (SimHandle, Quick) {
    let sim = demo();
    for fault in faults {
        sim.inject(fault);
    }
    let quick = Quick::sync(&sim, "prod");
    grants_are(&quick.access, PROD);
    (sim, quick)
}

/// A sync of `prod` that meets a fault and must fail with this exit code.
#[track_caller]
fn gives_up(fault: Fault, exit: u8, words: &[&str]) -> SimHandle {
    let sim = demo();
    sim.inject(fault);
    let error = Quick::fail(&sim, "prod");
    let said = format!(
        "{} | {}",
        error.message,
        error.hint.clone().unwrap_or_default()
    );
    assert_eq!(error.exit as u8, exit, "{said}");
    for words in words {
        assert!(said.contains(words), "no `{words}` in {said}");
    }
    sim
}

#[test]
fn throttled_calls_are_asked_again() {
    let (_sim, quick) = survives(vec![
        Fault::times("eks:DescribeAccessEntry", Effect::Throttle(20), 4),
        Fault::times("iam:ListRoles", Effect::Throttle(0), 1),
        Fault::times("kubernetes:list *", Effect::Throttle(1), 1),
        Fault::times("sts:AssumeRole", Effect::Throttle(0), 1),
    ]);
    let counts = |upstream| quick.outcome.upstreams.of(upstream);
    assert_eq!(
        (
            counts("eks").throttled,
            counts("iam").throttled,
            counts("kubernetes").throttled
        ),
        (4, 1, 1)
    );
    assert_eq!(counts("eks").calls, 51, "a retry is no call more");
}

#[test]
fn server_errors_are_asked_again() {
    let (sim, quick) = survives(vec![
        Fault::times("eks:*", Effect::ServerError(500), 3),
        Fault::times("iam:ListRoles", Effect::ServerError(503), 2),
        Fault::times("kubernetes:*", Effect::ServerError(503), 3),
        Fault::times("sts:*", Effect::ServerError(500), 1),
    ]);
    let retries: u64 = ["iam", "kubernetes"]
        .iter()
        .map(|u| quick.outcome.upstreams.of(u).retries)
        .sum();
    assert_eq!(retries, 5);
    assert_eq!(sim.calls()["iam:ListRoles"], 3);
}

#[test]
fn resets_and_answers_cut_short_are_asked_again() {
    survives(vec![
        Fault::times("eks:DescribeAccessEntry", Effect::Reset, 2),
        Fault::times("eks:ListAccessPolicies", Effect::Truncate, 1),
        Fault::times("iam:ListRoles", Effect::Truncate, 2),
        Fault::times("kubernetes:list namespaces", Effect::Reset, 1),
        Fault::times(
            "kubernetes:list rbac.authorization.k8s.io/rolebindings",
            Effect::Truncate,
            2,
        ),
    ]);
}

#[test]
fn an_expired_continue_token_starts_the_list_again() {
    let mut scenario = cloud_sim::Scenario::demo().unwrap();
    scenario.pages.kubernetes = 3;
    let sim = cloud(scenario);
    let bindings = "kubernetes:list rbac.authorization.k8s.io/rolebindings";
    sim.inject(Fault {
        after: 1,
        ..Fault::times(bindings, Effect::ExpireContinue, 2)
    });
    let quick = Quick::sync(&sim, "prod");
    grants_are(&quick.access, PROD);
    let snapshot = quick.access.evidence["evidence"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["source"] == "rolebindings")
        .unwrap();
    assert!(snapshot["restarts"].as_u64().unwrap() >= 1, "{snapshot}");
    assert!(sim.calls()[bindings] > 4, "{:?}", sim.calls());
}

#[test]
fn a_fault_that_stays_is_named_with_its_call() {
    gives_up(
        Fault::always("eks:ListAccessPolicies", Effect::ServerError(500)),
        5,
        &["eks:ListAccessPolicies", "500"],
    );
    gives_up(
        Fault::always("kubernetes:list serviceaccounts", Effect::Reset),
        5,
        &["list serviceaccounts"],
    );
}

#[test]
fn large_answers_and_bombs_are_not_taken() {
    gives_up(
        Fault::always("kubernetes:list namespaces", Effect::GzipBomb(64 << 20)),
        5,
        &["larger than 33554432 bytes"],
    );
    gives_up(
        Fault::always("eks:ListAccessPolicies", Effect::Huge(40 << 20)),
        5,
        &["larger than 33554432 bytes"],
    );
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = lab(|_| {});
    let target = Effect::Redirect(format!("{}/?Action=ListRoles", elsewhere.aws_url()));
    gives_up(
        Fault::always("iam:ListRoles", target.clone()),
        5,
        &["redirect, which is never followed"],
    );
    gives_up(
        Fault::always("kubernetes:list *", target.clone()),
        5,
        &["redirect, which is never followed"],
    );
    gives_up(Fault::always("sts:AssumeRole", target), 1, &["307"]);
    assert!(elsewhere.calls().is_empty(), "{:?}", elsewhere.calls());
}

#[test]
fn an_answer_that_is_a_page_of_a_proxy_is_said_to_be_one() {
    let page = Effect::Answer {
        status: 200,
        content_type: "text/html".into(),
        body: "<html>Please log in</html>".into(),
    };
    gives_up(
        Fault::always("eks:DescribeCluster", page.clone()),
        5,
        &["EKS"],
    );
    gives_up(
        Fault::always("iam:ListRoles", page.clone()),
        5,
        &["iam:ListRoles", "cannot be read"],
    );
    gives_up(
        Fault::always("kubernetes:list namespaces", page.clone()),
        5,
        &[
            "gave no answer to list namespaces: the API server of `prod` answered with something that is not JSON",
        ],
    );
    gives_up(Fault::always("sts:*", page), 1, &["127.0.0.1"]);
}

/// The upstream sends back what it was sent, credentials included. The call
/// fails, and nobody sees them.
#[test]
fn an_echo_of_credentials_reaches_nobody() {
    for operation in [
        "eks:DescribeAccessEntry",
        "iam:ListRoles",
        "kubernetes:list namespaces",
    ] {
        let sim = demo();
        sim.inject(Fault::always(operation, Effect::Echo));
        let host = Host::reading(&sim, "prod")
            .set("BATON_LOG_LEVEL", "debug")
            .set("BATON_LOG_FORMAT", "json");
        let run = host.run(&[]).fails(
            5,
            &[
                "error: ",
                "holds a credential of this session and is withheld",
            ],
        );
        assert_eq!(
            sim.calls()[operation],
            if operation.starts_with("eks") { 14 } else { 1 },
            "it is not asked again"
        );
        let tokens: Vec<String> = sim
            .requests()
            .iter()
            .flat_map(|request| request.headers.clone())
            .filter(|(name, _)| name == "x-amz-security-token" || name == "authorization")
            .map(|(_, value)| value)
            .collect();
        assert!(!tokens.is_empty());
        for token in tokens {
            assert!(
                !run.err.contains(&token) && !run.out.contains(&token),
                "{operation}: {}",
                run.err
            );
        }
        assert!(!host.file().exists());
    }
}

/// Even where the kind may be missing: this is no lack of rights.
#[test]
fn an_echo_in_an_optional_kind_fails_the_sync_too() {
    gives_up(
        Fault::always("kubernetes:list configmaps", Effect::Echo),
        5,
        &["holds a credential of this session and is withheld"],
    );
    gives_up(
        Fault::always("eks:ListPodIdentityAssociations", Effect::Echo),
        5,
        &["holds a credential of this session and is withheld"],
    );
}
