//! Each fault, seen by a client.

use std::io::Read as _;
use std::time::{Duration, Instant};

use super::client::*;
use crate::{Effect, Fault, Scenario, Sim, SimHandle};

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";

async fn lab() -> (Sim, Keys) {
    let sim = Sim::start(Scenario::minimal().unwrap()).await.unwrap();
    let keys = assume(
        &sim,
        &static_keys(&sim),
        "arn:aws:iam::111122223333:role/eks-reader",
        &[],
    )
    .await;
    (sim, keys)
}

#[tokio::test]
async fn throttling_speaks_each_services_language() {
    let (sim, keys) = lab().await;
    sim.inject(Fault::times("*", Effect::Throttle(1500), 4));
    let answer = eks(&keys, "GET", "/clusters/lab", "").send(&sim).await;
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (429, "ThrottlingException")
    );
    assert_eq!(answer.header("x-amz-retry-after"), "1500");
    let answer = query("iam", &keys, &[("Action", "ListRoles")])
        .send(&sim)
        .await;
    assert_eq!(
        (
            answer.status,
            answer.xml("Code").as_str(),
            answer.xml("Message").as_str()
        ),
        (400, "Throttling", "Rate exceeded")
    );
    assert_eq!(
        query("sts", &keys, &[("Action", "GetCallerIdentity")])
            .send(&sim)
            .await
            .xml("Code"),
        "Throttling"
    );
    let answer = Kube::new(&sim, "lab", &keys).get(ROLES).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "2"));
    assert_eq!(answer.json()["details"]["retryAfterSeconds"], 2);
    // The fifth call passes.
    assert_eq!(
        eks(&keys, "GET", "/clusters/lab", "")
            .send(&sim)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn servers_break_in_their_own_form() {
    let (sim, keys) = lab().await;
    sim.inject(Fault::always("*", Effect::ServerError(503)));
    assert_eq!(
        eks(&keys, "GET", "/clusters/lab", "")
            .send(&sim)
            .await
            .header("x-amzn-errortype"),
        "ServiceUnavailableException"
    );
    assert_eq!(
        query("iam", &keys, &[("Action", "ListRoles")])
            .send(&sim)
            .await
            .xml("Code"),
        "ServiceUnavailable"
    );
    assert_eq!(
        Kube::new(&sim, "lab", &keys).get(ROLES).await.json()["reason"],
        "ServiceUnavailable"
    );
    sim.clear_faults();
    assert_eq!(
        eks(&keys, "GET", "/clusters/lab", "")
            .send(&sim)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn faults_choose_operations_and_count() {
    let (sim, keys) = lab().await;
    sim.inject(Fault {
        after: 1,
        times: Some(1),
        ..Fault::always("eks:Describe*", Effect::ServerError(500))
    });
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(
            eks(&keys, "GET", "/clusters/lab", "")
                .send(&sim)
                .await
                .status,
        );
        assert_eq!(
            eks(&keys, "GET", "/clusters", "").send(&sim).await.status,
            200
        );
    }
    assert_eq!(seen, [200, 500, 200]);
    sim.clear_faults();
    sim.inject(Fault {
        every: 2,
        ..Fault::always("eks:DescribeCluster", Effect::ServerError(500))
    });
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(
            eks(&keys, "GET", "/clusters/lab", "")
                .send(&sim)
                .await
                .status,
        );
    }
    assert_eq!(seen, [500, 200, 500, 200]);
}

#[tokio::test]
async fn connections_are_reset_before_an_answer() {
    let (sim, keys) = lab().await;
    sim.inject(Fault::always("*", Effect::Reset));
    assert!(
        eks(&keys, "GET", "/clusters/lab", "")
            .try_send(&sim)
            .await
            .is_err()
    );
    let kube = Kube::new(&sim, "lab", &keys);
    for alpn in [&b"h2"[..], b"http/1.1"] {
        assert!(kube.over(alpn, "GET", ROLES, &[], "").await.is_err());
    }
    assert_eq!(sim.requests().last().unwrap().status, 0);
}

#[tokio::test]
async fn bodies_break_off() {
    let (sim, keys) = lab().await;
    sim.inject(Fault::always("*", Effect::Truncate));
    let error = eks(&keys, "GET", "/clusters/lab", "")
        .try_send(&sim)
        .await
        .unwrap_err();
    assert!(error.starts_with("body:"), "{error}");
    let kube = Kube::new(&sim, "lab", &keys);
    for alpn in [&b"h2"[..], b"http/1.1"] {
        let error = kube.over(alpn, "GET", ROLES, &[], "").await.unwrap_err();
        assert!(error.starts_with("body:"), "{error}");
    }
}

#[tokio::test]
async fn bodies_stall() {
    let (sim, keys) = lab().await;
    sim.inject(Fault::always("*", Effect::Stall));
    let call = eks(&keys, "GET", "/clusters/lab", "");
    let waited = tokio::time::timeout(Duration::from_millis(200), call.try_send(&sim)).await;
    assert!(waited.is_err(), "the body must not end");
}

#[tokio::test]
async fn latency_runs_side_by_side_and_the_peak_is_seen() {
    let (sim, keys) = lab().await;
    sim.inject(Fault::always("eks:*", Effect::Latency(300)));
    let begun = Instant::now();
    let calls: Vec<_> = (0..8)
        .map(|_| eks(&keys, "GET", "/clusters/lab", ""))
        .collect();
    let all = futures_util::future::join_all(calls.iter().map(|c| c.send(&sim))).await;
    assert!(all.iter().all(|a| a.status == 200));
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let peak = sim.peak_concurrency()["eks"];
    assert!((2..=8).contains(&peak), "{peak}");
}

#[tokio::test]
async fn continue_tokens_expire_on_demand() {
    let (sim, keys) = lab().await;
    sim.inject(Fault {
        after: 1,
        times: Some(1),
        ..Fault::always("kubernetes:list *clusterroles", Effect::ExpireContinue)
    });
    let kube = Kube::new(&sim, "lab", &keys);
    let page = kube.get(&format!("{ROLES}?limit=2")).await.json();
    let token = page["metadata"]["continue"].as_str().unwrap();
    assert_eq!(
        kube.get(&format!("{ROLES}?limit=2&continue={token}"))
            .await
            .status,
        410
    );
}

#[tokio::test]
async fn credentials_are_echoed() {
    let (sim, keys) = lab().await;
    sim.inject(Fault::always("*", Effect::Echo));
    let answer = eks(&keys, "GET", "/clusters/lab", "").send(&sim).await;
    let token = keys.token.clone().unwrap();
    assert_eq!(answer.header("x-echo-x-amz-security-token"), token);
    assert!(answer.text().contains(&token));
    let kube = Kube::new(&sim, "lab", &keys);
    assert!(kube.get(ROLES).await.text().contains(&kube.bearer));
}

#[tokio::test]
async fn redirects_huge_bodies_bombs_and_strange_pages() {
    let (sim, keys) = lab().await;
    sim.inject(Fault::times(
        "eks:*",
        Effect::Redirect("http://169.254.169.254/".into()),
        1,
    ));
    let answer = eks(&keys, "GET", "/clusters/lab", "").send(&sim).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (307, "http://169.254.169.254/")
    );
    sim.inject(Fault::times("eks:*", Effect::Huge(3 << 20), 1));
    assert_eq!(
        eks(&keys, "GET", "/clusters/lab", "")
            .send(&sim)
            .await
            .body
            .len(),
        3 << 20
    );
    sim.inject(Fault::times("eks:*", Effect::GzipBomb(64 << 20), 1));
    let bomb = eks(&keys, "GET", "/clusters/lab", "").send(&sim).await;
    assert!(bomb.body.len() < 1 << 20 && bomb.header("content-encoding") == "gzip");
    let mut inflated = 0;
    let mut decoder = flate2::read::GzDecoder::new(&bomb.body[..]);
    let mut buffer = [0u8; 65536];
    while let Ok(n @ 1..) = decoder.read(&mut buffer) {
        inflated += n;
    }
    assert_eq!(inflated, 64 << 20);
    let page = Effect::Answer {
        status: 502,
        content_type: "text/html".into(),
        body: "<h1>Bad Gateway</h1>".into(),
    };
    sim.inject(Fault::times("eks:*", page, 1));
    assert_eq!(
        eks(&keys, "GET", "/clusters/lab", "")
            .send(&sim)
            .await
            .text(),
        "<h1>Bad Gateway</h1>"
    );
}

#[tokio::test]
async fn faults_come_from_scenarios_too() {
    let text = format!(
        "{}\nfaults:\n- {{on: \"iam:ListRoles\", effect: {{throttle: 200}}, times: 1}}\n- {{on: \"eks:*\", effect: reset, after: 5}}\n- {{on: \"sts:*\", effect: {{answer: {{status: 500, content-type: text/plain, body: x}}}}, after: 9}}\n",
        crate::MINIMAL
    );
    let sim = Sim::start(Scenario::from_yaml(&text).unwrap())
        .await
        .unwrap();
    let answer = query("iam", &static_keys(&sim), &[("Action", "ListRoles")])
        .send(&sim)
        .await;
    assert_eq!(answer.xml("Code"), "Throttling");
}

#[test]
fn scenarios_that_make_no_sense_are_refused() {
    for (text, part) in [
        ("accounts: []", "needs an account"),
        ("accounts: [{id: \"12\"}]", "twelve digits"),
        ("accounts: [{id: \"111122223333\", rolls: []}]", "rolls"),
        (
            "accounts: [{id: \"111122223333\"}]\nclusters: [{name: x, mode: MAGIC}]",
            "MAGIC",
        ),
        (
            "accounts: [{id: \"111122223333\"}]\nclusters: [{name: x, account: \"999999999999\"}]",
            "999999999999",
        ),
    ] {
        let error = format!("{:#}", Scenario::from_yaml(text).unwrap_err());
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_blocking_cloud_ends_with_its_handle() {
    let sim = SimHandle::start_blocking(Scenario::minimal().unwrap()).unwrap();
    let address = sim.aws_url().trim_start_matches("http://").to_owned();
    // The port may be another test's a moment later; this connection is ours.
    let mut open = std::net::TcpStream::connect(&address).unwrap();
    open.set_read_timeout(Some(std::time::Duration::from_secs(30)))
        .unwrap();
    drop(sim);
    match std::io::Read::read(&mut open, &mut [0; 1]) {
        Ok(read) => assert_eq!(read, 0),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}
