//! What a guest can do to its host with requests alone.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use baton_host::sandbox::{CallError, Connector as _, Observer};
use baton_host::upstream::Refusal;
use bytes::Bytes;
use e2e::guests::Probe;
use e2e::ways_out::{Gate, Through, ok};
use serde_json::json;

use crate::soon;

/// Opens a gate as soon as the guest reports progress.
struct OpensOnProgress(Arc<Gate>);

impl Observer for OpensOnProgress {
    fn progress(&self, _done: u64, _total: Option<u64>, _what: &str) {
        self.0.open();
    }
}

/// A burst of requests whose answers all wait until the last one is sent.
async fn burst(n: usize) -> (Vec<String>, Arc<Gate>) {
    let gate = Gate::closed();
    let warnings = soon(
        Probe::behaves(&format!("burst:{n}"))
            .through_shared(gate.clone())
            .heard_by(OpensOnProgress(gate.clone()))
            .warnings(),
    )
    .await;
    (warnings, gate)
}

#[tokio::test]
async fn the_129th_request_in_flight_is_refused_and_not_trapped() {
    let (warnings, gate) = burst(200).await;
    assert_eq!(
        warnings,
        ["72 ConnectionLimitReached", "128 status 200 through"]
    );
    assert_eq!(gate.begun(), 128);
}

#[tokio::test]
async fn ten_thousand_requests_at_once_are_ten_thousand_answers() {
    let (warnings, gate) = burst(10_000).await;
    assert_eq!(
        warnings,
        ["9872 ConnectionLimitReached", "128 status 200 through"]
    );
    assert_eq!(gate.begun(), 128);
}

#[tokio::test]
async fn requests_one_after_another_have_no_limit() {
    let warnings = Probe::behaves("sequence:300")
        .through(Through(|_| async { ok("fine") }))
        .warnings()
        .await;
    assert_eq!(warnings, ["300 status 200 fine"]);
}

/// The host owns time: a guest can neither wait for ever nor make the host
/// give up at once.
#[tokio::test]
async fn timeouts_that_a_guest_sets_mean_nothing() {
    let warnings = Probe::behaves("impatient")
        .through(Through(|_| async { ok("anyway") }))
        .warnings()
        .await;
    assert_eq!(warnings, ["status 200 anyway"]);
}

#[tokio::test]
async fn a_request_that_the_guest_drops_is_stopped() {
    let gate = Gate::closed();
    let mut task = Probe::behaves("abandon:100")
        .through_shared(gate.clone())
        .open()
        .await;
    soon(task.list_objects("thing", None, None)).await.unwrap();
    // The task lives; the gate stays closed.
    soon(gate.until_all_ended()).await;
}

#[tokio::test]
async fn requests_in_flight_end_with_their_task() {
    let gate = Gate::closed();
    let mut task = Probe::behaves("burst:3")
        .through_shared(gate.clone())
        .open()
        .await;
    {
        let call = task.list_objects("thing", None, None);
        tokio::pin!(call);
        tokio::select! {
            biased;
            () = soon(gate.until_begun(3)) => {}
            answer = &mut call => panic!("an answer through a closed gate: {answer:?}"),
        }
    }
    drop(task);
    soon(gate.until_all_ended()).await;
    assert_eq!(gate.begun(), 3);
}

#[tokio::test]
async fn a_body_up_to_the_limit_arrives_whole() {
    let warnings = Probe::behaves("post:1048576")
        .through(Through(|request: http::Request<Bytes>| async move {
            ok(request.body().len().to_string())
        }))
        .warnings()
        .await;
    assert_eq!(warnings, ["status 200 1048576"]);
}

/// A refusal that left the body unread once looked like a broken stream.
#[tokio::test]
async fn a_body_of_3_mb_gets_a_code_and_not_a_closed_stream() {
    let warnings = Probe::behaves("post:3000000")
        .through(Through(|_| async { panic!("it was sent") }))
        .warnings()
        .await;
    assert_eq!(warnings, ["HttpRequestBodySize(Some(1048576))"]);
}

#[tokio::test]
async fn a_refused_request_with_a_body_gets_a_code_too() {
    let warnings = Probe::behaves("post:1000000")
        .through(Through(|_| async { Err(Refusal::Denied("no".into())) }))
        .warnings()
        .await;
    assert_eq!(warnings, ["HttpRequestDenied"]);
}

#[tokio::test]
async fn a_body_without_end_costs_the_guest_its_call() {
    let probe = Probe::behaves("endless-post")
        .limited(|limits| limits.call = Duration::from_secs(1))
        .through(Through(|_| async { panic!("it was sent") }));
    let error = soon(probe.list()).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout(1)), "{error:?}");
}

#[tokio::test]
async fn a_body_that_is_given_up_is_never_sent() {
    let warnings = Probe::behaves("broken-post")
        .through(Through(|_| async { panic!("it was sent") }))
        .warnings()
        .await;
    assert_eq!(warnings, ["HttpRequestDenied"]);
}

#[tokio::test]
async fn answers_that_a_guest_leaves_unread_have_a_sum() {
    let eight = Bytes::from(vec![b'x'; 8 << 20]);
    for behaviour in ["hoard:20", "forget:20"] {
        let eight = eight.clone();
        let warnings = soon(
            Probe::behaves(behaviour)
                .through(Through(move |_| {
                    let eight = eight.clone();
                    async move { ok(eight) }
                }))
                .warnings(),
        )
        .await;
        let refused = "HttpResponseBodySize(Some(67108864))";
        if behaviour == "hoard:20" {
            assert_eq!(
                warnings,
                [format!("12 {refused}"), "8 status 200".to_owned()]
            );
        } else {
            assert_eq!(warnings, [refused]);
        }
    }
}

#[tokio::test]
async fn answers_that_a_guest_reads_have_no_sum() {
    let eight = Bytes::from(vec![b'x'; 8 << 20]);
    let warnings = soon(
        Probe::behaves("sequence:20")
            .through(Through(move |_| {
                let eight = eight.clone();
                async move { ok(eight) }
            }))
            .warnings(),
    )
    .await;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].starts_with("20 status 200 xxx"), "{warnings:?}");
}

/// 4,096 requests with 2 MiB each, none of them sent, once were 8 GiB of the
/// host's memory.
#[tokio::test]
async fn the_host_holds_little_of_a_request_that_is_not_sent() {
    let held: usize = Probe::behaves("unsent").warnings().await[0]
        .parse()
        .unwrap();
    assert!((1..=16 << 10).contains(&held), "{held} bytes");
}

#[tokio::test]
async fn the_parts_of_a_request_have_limits() {
    let parts = Probe::behaves("long-parts:20000").warnings().await;
    assert!(parts.is_empty(), "accepted: {parts:?}");
    let parts = Probe::behaves("long-parts:200").warnings().await;
    assert_eq!(parts, ["1 authority", "1 method", "1 path"]);
}

#[tokio::test]
async fn a_way_out_sees_what_the_guest_wrote_byte_for_byte() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = seen.clone();
    let outcomes = Probe::sends(&json!([
        { "authority": "kubernetes", "path": "/api" },
        { "authority": "user@ok:80", "path": "/%2e%2e/x?a=1&a=2" },
        { "authority": "KUBERNETES", "path": "/" },
        { "authority": "kubernetes.", "path": "?watch=true" },
        { "method": "CONNECT", "authority": "kubernetes", "path": "/" },
        { "method": "TRACE", "authority": "kubernetes", "path": "/" },
        { "method": "PROPFIND", "authority": "kubernetes", "path": "/" },
        { "scheme": "https", "authority": "kubernetes", "path": "/" },
        { "authority": "169.254.169.254", "path": "/latest/meta-data/" },
    ]))
    .through(Through(move |request: http::Request<Bytes>| {
        let line = format!("{} {}", request.method(), request.uri());
        record.lock().unwrap().push(line);
        async { Err(Refusal::Denied("not decided here".into())) }
    }))
    .outcomes()
    .await;
    assert_eq!(outcomes, vec!["HttpRequestDenied"; 9]);
    assert_eq!(
        *seen.lock().unwrap(),
        [
            "GET http://kubernetes/api",
            "GET http://user@ok:80/%2e%2e/x?a=1&a=2",
            "GET http://KUBERNETES/",
            "GET http://kubernetes./?watch=true",
            "CONNECT http://kubernetes/",
            "TRACE http://kubernetes/",
            "PROPFIND http://kubernetes/",
            "GET https://kubernetes/",
            "GET http://169.254.169.254/latest/meta-data/",
        ]
    );
}

#[tokio::test]
async fn what_is_no_request_never_leaves_the_guest() {
    let header =
        |name: &str| json!({ "authority": "kubernetes", "path": "/", "headers": [[name, "x"]] });
    let outcomes = Probe::sends(&json!([
        header("host"),
        header("connection"),
        header("upgrade"),
        header("transfer-encoding"),
        header("a b"),
        { "scheme": "ftp", "authority": "kubernetes", "path": "/" },
        { "method": "GET /x HTTP/1.1\r\n", "authority": "kubernetes", "path": "/" },
        { "authority": "kubernetes/x", "path": "/" },
        { "authority": "kubernetes", "path": "/a b" },
        { "authority": "kubernetes", "path": "http://other/" },
    ]))
    .through(Through(|_| async { panic!("it was sent") }))
    .outcomes()
    .await;
    assert_eq!(
        outcomes,
        [
            "header host: Forbidden",
            "header connection: Forbidden",
            "header upgrade: Forbidden",
            "header transfer-encoding: Forbidden",
            "header a b: InvalidSyntax",
            "HttpProtocolError",
            "method refused",
            "authority refused",
            "path refused",
            "path refused",
        ]
    );
}

#[tokio::test]
async fn a_way_out_that_panics_is_an_error_of_one_request() {
    let warnings = Probe::behaves("sequence:2")
        .through(Through(|_| async { panic!("as asked") }))
        .warnings()
        .await;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].starts_with("2 InternalError"), "{warnings:?}");
}

#[tokio::test]
async fn the_reason_of_a_refusal_is_kept_for_the_host_and_not_for_the_guest() {
    let mut task = Probe::behaves("sequence:1")
        .through(Through(|_| async {
            Err(Refusal::Denied(
                "`list secrets` is not among the rights".into(),
            ))
        }))
        .open()
        .await;
    let page = task.list_objects("thing", None, None).await.unwrap();
    assert_eq!(e2e::guests::warnings(&page), ["1 HttpRequestDenied"]);
    let reason = task.refusal().unwrap().to_string();
    assert_eq!(reason, "`list secrets` is not among the rights");
}
