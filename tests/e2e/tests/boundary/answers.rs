//! What an upstream sends back: credentials, redirects, and more than anybody
//! wants to hold.

use cloud_sim::{EchoPlace, Effect, Fault};
use serde_json::Value;

use crate::lab::{Lab, get, iam};
use crate::page::{Room, code, plain};

/// One operation of each upstream.
fn asks() -> [(&'static str, Value); 3] {
    [
        (
            "kubernetes:list namespaces",
            get("kubernetes", "/api/v1/namespaces"),
        ),
        (
            "eks:ListAccessEntries",
            get("eks", "/clusters/lab/access-entries"),
        ),
        ("iam:ListRoles", iam("Action=ListRoles&Version=2010-05-08")),
    ]
}

const PLACES: [(EchoPlace, &str); 6] = [
    (EchoPlace::Header, "in a header that a plugin is shown"),
    (EchoPlace::Body, "in a field of the answer"),
    (EchoPlace::Escapes, "in JSON escapes"),
    (EchoPlace::Gzip, "in a compressed answer"),
    (EchoPlace::Pieces, "across the border of two pieces"),
    (EchoPlace::Error, "in the text of an error"),
];

/// The credentials that have been sent since the last time.
fn sent(lab: &Lab) -> Vec<String> {
    let mut secrets = Vec::new();
    for (name, value) in lab.sim.requests().into_iter().flat_map(|r| r.headers) {
        match name.as_str() {
            "x-amz-security-token" => secrets.push(value),
            "authorization" => secrets.extend(value.strip_prefix("Bearer ").map(str::to_owned)),
            _ => {}
        }
    }
    assert!(!secrets.is_empty(), "nothing was sent");
    secrets
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("\\u{byte:04x}")).collect()
}

/// An upstream that sends its credential back, or anything that quotes it.
async fn echo(what: String, on: &str, ask: &Value, effect: Effect) -> Vec<String> {
    let lab = Lab::reader().await;
    lab.outcome(&asks()[0].1).await;
    lab.audited();
    lab.sim.inject(Fault::always(on, effect));
    let outcome = lab.outcome(ask).await;
    for secret in sent(&lab) {
        // An outcome shows the beginning of an answer; so does this.
        let beginning = secret.chars().take(40).collect::<String>();
        assert!(!outcome.contains(&beginning), "{what}: {outcome}");
        assert!(!outcome.contains(&escaped(&beginning)), "{what}: {outcome}");
    }
    let audit = lab.audited().join("; ");
    vec![what, came(&outcome), plain(&none(audit, &outcome))]
}

fn none(audit: String, outcome: &str) -> String {
    match audit.as_str() {
        "" if outcome.starts_with("status 200") => {
            "no row: the answer goes on without it".to_owned()
        }
        "" => "no row".to_owned(),
        _ => audit,
    }
}

/// What a plugin saw, without what changes from run to run.
fn came(outcome: &str) -> String {
    let shown = match outcome.split_once(r#""request-id":"#) {
        Some((before, _)) => format!("{before}…"),
        None => outcome.to_owned(),
    };
    let shown = match shown.strip_prefix("status 200 ") {
        Some(_) => "status 200".to_owned(),
        None => shown,
    };
    code(&shown)
}

pub async fn room() -> Room {
    let mut echoes = Vec::new();
    for (on, ask) in asks() {
        let upstream = on.split(':').next().unwrap();
        for (place, where_) in PLACES {
            // IAM speaks XML.
            if upstream == "iam" && place == EchoPlace::Escapes {
                continue;
            }
            let what = format!("{upstream} echoes the credential {where_}");
            echoes.push(echo(what, on, &ask, Effect::EchoIn(place)).await);
        }
        let what = format!("{upstream} echoes all headers in front of its answer");
        echoes.push(echo(what, on, &ask, Effect::Echo).await);
    }
    let mut signatures = Vec::new();
    for (on, ask) in asks().into_iter().skip(1) {
        let upstream = on.split(':').next().unwrap();
        let what = format!("{upstream} refuses a signature and quotes what was signed");
        signatures.push(signature(what, upstream, &ask).await);
    }
    Room {
        title: "What an upstream sends back (R9)",
        about: "The host inflates answers, searches them for every credential of the session, raw and unescaped, shows five headers, and writes AWS's errors anew. A hit ends the call. This stops accidents and simple echoes, not an upstream that encodes what it was given.",
        columns: &["tried", "the plugin sees", "the audit row says"],
        groups: vec![
            ("The credential comes back", echoes),
            ("A clock that is off: AWS answers with the canonical request, session token included", signatures),
            ("Answers that go elsewhere or do not end", vec![
                redirect().await,
                large("an answer of 40 MiB", Effect::Huge(40 << 20)).await,
                large("200 MiB in a small gzip body", Effect::GzipBomb(200 << 20)).await,
            ]),
        ],
    }
}

async fn signature(what: String, upstream: &str, ask: &Value) -> Vec<String> {
    let lab = Lab::reader().await;
    // So that the token is there and only AWS's clock is another.
    lab.outcome(ask).await;
    lab.audited();
    let secrets = sent(&lab);
    lab.sim.set_clock_offset(20 * 60);
    let outcome = lab.outcome(ask).await;
    assert!(outcome.starts_with("status 4"), "{upstream}: {outcome}");
    for secret in secrets {
        assert!(!outcome.contains(&secret[..40]), "{outcome}");
    }
    assert!(!outcome.contains("anonical"), "{outcome}");
    let minutes = came(&outcome);
    // A second more or less passes while the test runs.
    let minutes = minutes.replace("1199 s", "1200 s").replace("1201 s", "1200 s");
    vec![what, minutes, plain(&none(lab.audited().join("; "), &outcome))]
}

async fn redirect() -> Vec<String> {
    let lab = Lab::reader().await;
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = elsewhere.local_addr().unwrap().to_string();
    lab.sim.inject(Fault::always(
        "kubernetes:list namespaces",
        Effect::Redirect(format!("http://{address}/")),
    ));
    let outcome = lab.outcome(&get("kubernetes", "/api/v1/namespaces")).await;
    assert!(!outcome.starts_with("status 200"), "{outcome}");
    assert!(!outcome.contains(&address), "{outcome}");
    // Nobody has knocked: a connection would be waiting.
    let knock =
        std::future::poll_fn(|context| std::task::Poll::Ready(elsewhere.poll_accept(context)));
    assert!(knock.await.is_pending());
    vec![
        "a redirect to another address".to_owned(),
        came(&outcome),
        plain(&none(lab.audited().join("; "), &outcome)),
    ]
}

async fn large(what: &str, effect: Effect) -> Vec<String> {
    let lab = Lab::reader().await;
    lab.sim
        .inject(Fault::always("kubernetes:list namespaces", effect));
    let outcome = lab.outcome(&get("kubernetes", "/api/v1/namespaces")).await;
    assert!(outcome.starts_with("HttpResponseBodySize"), "{outcome}");
    vec![
        what.to_owned(),
        came(&outcome),
        plain(&none(lab.audited().join("; "), &outcome)),
    ]
}
