//! botocore and our signer agree on signatures over random requests.
//!
//! The requests and botocore's signatures come from
//! `tests/interop/botocore_signatures.py`; `just interop` makes the file and
//! runs this test, which plain `cargo test` does not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use base64::Engine as _;
use baton_host::credentials::{sign, token};
use bytes::Bytes;
use serde_json::Value;

const VARIABLE: &str = "BATON_SIGNATURE_VECTORS";

fn vectors() -> Value {
    let path = std::env::var(VARIABLE).unwrap_or_else(|_| {
        panic!("{VARIABLE} must name the file that tests/interop/botocore_signatures.py wrote")
    });
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap()
}

fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name} in {vector}"))
}

fn keys(vector: &Value) -> (Credentials, SystemTime) {
    let credentials = Credentials::new(
        text(vector, "access_key"),
        text(vector, "secret_key"),
        vector["session_token"].as_str().map(str::to_owned),
        None,
        "test",
    );
    let time = UNIX_EPOCH + Duration::from_secs(vector["time"].as_u64().unwrap());
    (credentials, time)
}

#[test]
#[ignore = "needs botocore's signatures: just interop"]
fn signatures_of_requests_are_botocores() {
    let vectors = vectors();
    let requests = vectors["requests"].as_array().unwrap();
    assert!(requests.len() >= 100, "{} requests", requests.len());
    for vector in requests {
        let (credentials, time) = keys(vector);
        let url = text(vector, "url");
        let mut builder = http::Request::builder()
            .method(text(vector, "method"))
            .uri(url);
        if let Some(value) = vector["content_type"].as_str() {
            builder = builder.header("content-type", value);
        }
        let body = Bytes::copy_from_slice(text(vector, "body").as_bytes());
        let mut request = builder.body(body).unwrap();
        sign::sign_request(
            &mut request,
            &credentials,
            text(vector, "service"),
            text(vector, "region"),
            time,
        )
        .unwrap();
        let header = |name: &str| {
            let value = request.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        assert_eq!(
            header("authorization").as_deref(),
            Some(text(vector, "authorization")),
            "{vector}"
        );
        assert_eq!(header("x-amz-date").as_deref(), Some(text(vector, "date")));
        assert_eq!(
            header("x-amz-security-token").as_deref(),
            vector["session_token"].as_str()
        );
        assert_eq!(request.uri().to_string(), url);
    }
}

#[test]
#[ignore = "needs botocore's signatures: just interop"]
fn tokens_hold_the_url_that_botocore_presigns() {
    let vectors = vectors();
    let tokens = vectors["tokens"].as_array().unwrap();
    assert!(tokens.len() >= 10, "{} tokens", tokens.len());
    for vector in tokens {
        let (credentials, time) = keys(vector);
        let token = token::eks_token(
            &credentials,
            text(vector, "cluster"),
            text(vector, "host"),
            text(vector, "region"),
            time,
        )
        .unwrap();
        let encoded = token.expose().strip_prefix("k8s-aws-v1.").unwrap();
        let decoded = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(encoded)
            .unwrap();
        // The order of the parameters is free; the signature covers them.
        let ours = parts(std::str::from_utf8(&decoded).unwrap());
        assert_eq!(ours, parts(text(vector, "url")), "{vector}");
    }
}

fn parts(url: &str) -> (String, Vec<(String, String)>) {
    let url = url::Url::parse(url).unwrap();
    let mut query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    query.sort();
    let host = url.host_str().unwrap();
    (format!("{}://{host}{}", url.scheme(), url.path()), query)
}
