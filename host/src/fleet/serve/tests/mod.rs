//! Answers over a board that is filled by hand.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod exposition;
mod metrics;
mod page;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::BodyExt as _;
use jiff::ToSpan as _;

use super::health::Phase;
use super::*;
use crate::fleet::board::{ClusterStatus, Failure, FailureKind, Good, State};
use crate::fleet::cluster::ClusterId;

pub(super) const ACCOUNT: &str = "111122223333";
pub(super) const HOSTILE: &str =
    "</script><img src=x onerror=alert(1)>\"'&\u{1b}[2J\u{202e}\u{2028}{} = \n# TYPE x counter\\";

pub(super) fn now() -> Timestamp {
    "2026-05-04T10:00:00Z".parse().unwrap()
}

pub(super) fn ago(seconds: i64) -> Timestamp {
    now() - seconds.seconds()
}

pub(super) fn cluster(name: &str) -> ClusterStatus {
    ClusterStatus {
        id: ClusterId::new(ACCOUNT, "eu-west-1", name),
        account: Some(ACCOUNT.into()),
        region: "eu-west-1".into(),
        name: name.into(),
        state: State::Waiting,
        last_good: None,
        last_failure: None,
        warnings: Vec::new(),
        next: None,
        found_by_rule: false,
    }
}

pub(super) fn good(mut cluster: ClusterStatus, at: Timestamp) -> ClusterStatus {
    cluster.last_good = Some(Good {
        at,
        seconds: 2.5,
        objects: 1_200,
        entitlements: 3_400,
        grants: 56_000,
        bytes: 70_000,
        file: "out/a.c1z".into(),
    });
    cluster
}

pub(super) fn failed(mut cluster: ClusterStatus, at: Timestamp, message: &str) -> ClusterStatus {
    cluster.last_failure = Some(Failure {
        at,
        kind: FailureKind::Denied,
        message: message.into(),
        hint: Some("look at the access entry".into()),
    });
    cluster
}

pub(super) fn disabled(mut cluster: ClusterStatus, why: &str) -> ClusterStatus {
    cluster.state = State::Disabled { why: why.into() };
    cluster
}

pub(super) fn site(clusters: Vec<ClusterStatus>) -> Site {
    let board = Board::new();
    board.set_clusters(clusters);
    board.update_configuration(|configuration| {
        configuration.path = "fleet.toml".into();
        configuration.loaded_at = Some(ago(60));
    });
    let life = Life::new();
    life.enter(Phase::Serving);
    life.set_patience(std::time::Duration::from_secs(3_600));
    Site {
        board: Arc::new(board),
        life: Arc::new(life),
        loopback: true,
    }
}

pub(super) struct Got {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

fn request(site: &Site, method: &Method, uri: &str, host: Option<&str>) -> Got {
    let mut headers = HeaderMap::new();
    if let Some(host) = host {
        headers.insert("host", HeaderValue::from_str(host).unwrap());
    }
    let uri: Uri = uri.parse().unwrap();
    let (parts, body) = answer::answer(site, method, &uri, &headers, now()).into_parts();
    let body = futures_util::FutureExt::now_or_never(body.collect()).unwrap();
    Got {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap(),
    }
}

pub(super) fn get(site: &Site, uri: &str) -> Got {
    request(site, &Method::GET, uri, Some("localhost:8081"))
}

const PATHS: [&str; 6] = [
    "/",
    "/status.json",
    "/metrics",
    "/live",
    "/ready",
    "/health",
];

#[test]
fn every_answer_is_for_the_asker_only() {
    let site = site(vec![good(cluster("a"), ago(60))]);
    for path in PATHS.into_iter().chain(["/favicon.ico", "/nothing"]) {
        let got = get(&site, path);
        let policy = got.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        assert!(
            policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(got.header(name), value, "{path}");
        }
        assert!(got.headers.get("access-control-allow-origin").is_none());
    }
    for path in PATHS {
        assert_eq!(get(&site, path).status, StatusCode::OK, "{path}");
    }
    assert_eq!(get(&site, "/nothing").status, StatusCode::NOT_FOUND);
    assert_eq!(get(&site, "/../etc/passwd").status, StatusCode::NOT_FOUND);
}

#[test]
fn there_is_nothing_to_change() {
    let site = site(vec![]);
    for method in [
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::CONNECT,
        Method::TRACE,
        Method::PATCH,
    ] {
        let got = request(&site, &method, "/", Some("localhost"));
        assert_eq!(got.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(got.header("allow"), "GET, HEAD");
    }
    let got = request(&site, &Method::HEAD, "/live", Some("localhost"));
    assert_eq!(got.status, StatusCode::OK);
}

/// A web page may let its own name point to 127.0.0.1; its requests then say
/// that name.
#[test]
fn on_loopback_only_its_own_names_are_answered() {
    let mut site = site(vec![]);
    let status = |site: &Site, uri: &str, host| request(site, &Method::GET, uri, host).status;
    let ours = [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1",
        "127.0.0.1:8081",
        "127.9.9.9",
        "[::1]",
        "[::1]:8081",
    ];
    for host in ours {
        assert_eq!(status(&site, "/", Some(host)), StatusCode::OK, "{host}");
    }
    let theirs = [
        "evil.example",
        "evil.example:8081",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "[::1].evil.example",
        "[::1]evil",
        "10.0.0.1",
        "0.0.0.0",
        "",
        "[",
    ];
    for host in theirs {
        let got = request(&site, &Method::GET, "/status.json", Some(host));
        assert_eq!(got.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
        assert!(!got.body.contains("clusters"), "{host}");
    }
    // What a proxy would send counts before the header.
    let forged = status(&site, "http://evil.example/", Some("localhost"));
    assert_eq!(forged, StatusCode::MISDIRECTED_REQUEST);
    // No browser sends none.
    assert_eq!(status(&site, "/", None), StatusCode::OK);
    // Elsewhere names are those of services and pods.
    site.loopback = false;
    assert_eq!(
        status(&site, "/", Some("fleet.default.svc")),
        StatusCode::OK
    );
}

#[test]
fn two_hosts_are_none() {
    let site = site(vec![]);
    let mut headers = HeaderMap::new();
    for host in ["localhost", "evil.example"] {
        headers.append("host", HeaderValue::from_static(host));
    }
    let got = answer::answer(&site, &Method::GET, &Uri::from_static("/"), &headers, now());
    assert_eq!(got.status(), StatusCode::MISDIRECTED_REQUEST);
}

#[test]
fn a_process_that_runs_is_alive_whatever_its_clusters_do() {
    let site = site(vec![disabled(cluster("a"), "x")]);
    site.life.beat();
    let got = get(&site, "/live");
    assert_eq!(got.status, StatusCode::OK);
    assert_eq!(
        got.json(),
        serde_json::json!({ "status": "alive", "timestamp": "2026-05-04T10:00:00Z" })
    );
}

#[test]
fn a_process_whose_threads_hang_is_not() {
    let mut site = site(vec![]);
    site.life = Arc::new(Life::hanging_for(std::time::Duration::from_secs(599)));
    assert_eq!(get(&site, "/live").status, StatusCode::OK);
    site.life = Arc::new(Life::hanging_for(std::time::Duration::from_secs(601)));
    let got = get(&site, "/live");
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(got.json()["status"], "stalled");
    site.life.beat();
    assert_eq!(get(&site, "/live").status, StatusCode::OK);
}

#[test]
fn ready_is_between_the_start_and_the_end() {
    let mut site = site(vec![]);
    site.life = Arc::new(Life::new());
    for (phase, status, word) in [
        (Phase::Starting, 503, "not_ready"),
        (Phase::Serving, 200, "ready"),
        (Phase::Stopping, 503, "not_ready"),
    ] {
        site.life.enter(phase);
        let got = get(&site, "/ready");
        assert_eq!(
            (got.status.as_u16(), got.json()["status"].as_str()),
            (status, Some(word))
        );
        assert_eq!(get(&site, "/live").status, StatusCode::OK);
    }
    // What was still being compiled does not bring it back.
    site.life.enter(Phase::Serving);
    assert_eq!(get(&site, "/ready").status, StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn health_is_whether_the_fleet_does_its_work() {
    let check = |clusters: Vec<ClusterStatus>| {
        let site = site(clusters);
        let mut board = site.board.snapshot();
        board.since = ago(2 * 3_600);
        health::of(&board, 3_600, now())
    };
    let recent = || good(cluster("a"), ago(60));
    let old = || good(cluster("a"), ago(3_601));
    for (clusters, reason) in [
        (vec![], None),
        (vec![recent()], None),
        (vec![good(cluster("a"), ago(3_600))], None),
        (vec![old()], Some("longer than the schedules")),
        (vec![old(), good(cluster("b"), ago(5))], None),
        // One that fails is no matter for a restart; all are.
        (vec![recent(), failed(cluster("b"), ago(5), "x")], None),
        (vec![failed(cluster("b"), ago(5), "x")], Some("every")),
        (vec![failed(recent(), ago(5), "x")], Some("every")),
        (vec![failed(recent(), ago(90), "x")], None),
        (vec![disabled(recent(), "x")], Some("every")),
        (
            vec![disabled(recent(), "x"), failed(cluster("b"), ago(5), "x")],
            Some("every"),
        ),
        // Nothing was ever synced, and there was time enough.
        (vec![cluster("a")], Some("longer than the schedules")),
    ] {
        let shown = format!("{clusters:?}");
        let (good, status, details) = check(clusters);
        let details = details.unwrap();
        assert_eq!(good, reason.is_none(), "{shown}: {details}");
        assert_eq!(status, if good { "healthy" } else { "unhealthy" });
        let said = details["reason"].as_str();
        match reason {
            Some(reason) => assert!(said.unwrap().contains(reason), "{shown}: {details}"),
            None => assert_eq!(said, None, "{shown}"),
        }
    }
}

/// A file of last week, found at the start, is not the fault of the process
/// that has just begun.
#[test]
fn a_process_has_its_time_to_begin() {
    let site = site(vec![good(cluster("a"), ago(7 * 86_400)), cluster("b")]);
    let mut board = site.board.snapshot();
    board.since = ago(3_600);
    assert!(health::of(&board, 3_600, now()).0);
    board.since = ago(3_601);
    assert!(!health::of(&board, 3_600, now()).0);
}

#[test]
fn probes_tell_nobody_what_a_cluster_said() {
    let site = site(vec![failed(
        disabled(cluster("a"), HOSTILE),
        ago(5),
        HOSTILE,
    )]);
    for path in ["/live", "/ready", "/health"] {
        let got = get(&site, path);
        assert!(!got.body.contains("img"), "{}", got.body);
        assert_eq!(got.header("content-type"), "application/json");
    }
    assert_eq!(get(&site, "/health").json()["details"]["failing"], 1);
}

#[test]
fn the_status_is_json_that_a_terminal_can_show() {
    let site = site(vec![failed(cluster(HOSTILE), ago(5), HOSTILE)]);
    let got = get(&site, "/status.json");
    for c in ['\u{1b}', '\u{202e}', '\u{2028}'] {
        assert!(!got.body.contains(c), "{}", got.body);
    }
    assert_eq!(got.body.lines().count(), 1);
    let value = got.json();
    assert_eq!(value["clusters"][0]["name"], HOSTILE);
    assert_eq!(value["clusters"][0]["state"]["is"], "waiting");
    assert_eq!(value["phase"], "serving");
    let before = value["generation"].as_u64().unwrap();
    site.board.count(|totals| totals.cpu_slices += 1);
    let value = get(&site, "/status.json").json();
    assert_eq!(value["generation"].as_u64().unwrap(), before + 1);
    assert_eq!(value["totals"]["cpu_slices"], 1);
}
