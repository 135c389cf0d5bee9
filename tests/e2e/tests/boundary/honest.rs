//! What is allowed arrives: a boundary that refuses everything proves nothing.

use std::collections::BTreeSet;

use baton_host::sandbox::{CallError, Connector as _};
use cloud_sim::CONFIG_MAP_CANARY;
use e2e::guests::Probe;
use serde_json::json;

use crate::lab::{Lab, get, iam};

#[tokio::test]
async fn what_the_rights_name_arrives() {
    let lab = Lab::reader().await;
    let outcomes = lab
        .outcomes(&[
            get("eks", "/clusters/lab"),
            get("eks", "/clusters/lab/access-entries"),
            get(
                "eks",
                "/clusters/lab/access-entries/arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fteam%2Fdevelopers",
            ),
            iam("Action=ListRoles&Version=2010-05-08"),
            get("kubernetes", "/api/v1/namespaces"),
            get(
                "kubernetes",
                "/apis/rbac.authorization.k8s.io/v1/clusterroles?limit=2",
            ),
        ])
        .await;
    for outcome in &outcomes {
        assert!(outcome.starts_with("status 200 "), "{outcomes:?}");
    }
    let asked: BTreeSet<String> = lab
        .sim
        .requests()
        .into_iter()
        .filter(|request| request.service != "sts")
        .map(|request| request.operation)
        .collect();
    let expected = [
        "eks:DescribeAccessEntry",
        "eks:DescribeCluster",
        "eks:ListAccessEntries",
        "iam:ListRoles",
        "kubernetes:list namespaces",
        "kubernetes:list rbac.authorization.k8s.io/clusterroles",
    ];
    assert_eq!(asked, expected.map(str::to_owned).into());
}

#[tokio::test]
async fn what_is_declared_arrives_when_it_is_approved() {
    let approved = Lab::new(&["read", "identities"]).await;
    let details = iam("Action=GetAccountAuthorizationDetails&Version=2010-05-08");
    approved.outcomes(&[details]).await;
    assert!(
        approved
            .sim
            .calls()
            .contains_key("iam:GetAccountAuthorizationDetails")
    );
}

#[tokio::test]
async fn config_maps_arrive_as_names() {
    let lab = Lab::reader().await;
    let outcome = lab.outcome(&get("kubernetes", "/api/v1/configmaps")).await;
    assert!(outcome.contains("kube-root-ca.crt"), "{outcome}");
    let canary: String = CONFIG_MAP_CANARY.chars().rev().collect();
    let hits = Probe::sends(&json!([get("kubernetes", "/api/v1/configmaps")]))
        .set("canary", &canary)
        .through(lab.connection.upstreams.clone())
        .found()
        .await;
    assert_eq!(hits, 0, "data of a config map is in the guest's memory");
}

/// A burst of ten thousand allowed requests is not a burst at the upstream.
#[tokio::test]
async fn a_flood_of_allowed_requests_is_no_flood_at_the_upstream() {
    let lab = Lab::reader().await;
    let mut task = Probe::behaves("burst:10000")
        .through(lab.connection.upstreams.clone())
        .open()
        .await;
    let page = task.list_objects("thing", None, None).await;
    assert!(
        !matches!(page, Err(CallError::Trap(_) | CallError::Limit(_))),
        "{page:?}"
    );
    let peak = lab.sim.peak_concurrency();
    assert!(peak["kubernetes"] <= 128, "{peak:?}");
}
