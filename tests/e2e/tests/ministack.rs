//! The credentials and the signer against an emulator that is not ours.
//!
//! `tests/interop/ministack.py` starts it with authentication on, fills an
//! account and runs this test with the variables of `baton-host`; `just
//! interop` does that, plain `cargo test` does not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use baton_host::credentials::{AwsSettings, CredentialError, Env, Service, Session, SessionConfig};
use baton_host::upstream::auth::Auth;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;

const READ_POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["eks:*","iam:ListRoles"],"Resource":"*"}]}"#;

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; run this by tests/interop/ministack.py"))
}

/// The session that the environment describes, with some variables changed.
fn session(changes: &[(&str, &str)]) -> Session {
    narrowed(changes, READ_POLICY)
}

fn narrowed(changes: &[(&str, &str)], policy: &str) -> Session {
    let names = [
        "AWS_ENDPOINT_URL",
        "BATON_EKS_ACCESS_KEY",
        "BATON_EKS_SECRET_ACCESS_KEY",
        "BATON_ROLE_ARN",
        "BATON_EXTERNAL_ID",
    ];
    let mut pairs: Vec<(String, String)> = names
        .iter()
        .map(|name| ((*name).to_owned(), variable(name)))
        .collect();
    for (name, value) in changes {
        pairs.retain(|(other, _)| other != name);
        pairs.push(((*name).to_owned(), (*value).to_owned()));
    }
    let env = Env::from_pairs(pairs);
    let settings = AwsSettings::from_env(&env).unwrap();
    let (region, cluster) = (
        variable("BATON_EKS_REGION"),
        variable("BATON_EKS_CLUSTER_NAME"),
    );
    Session::new(SessionConfig {
        policy: Some(policy.to_owned()),
        env,
        ..SessionConfig::new(settings, region, cluster)
    })
    .unwrap()
}

/// Signs and sends a request, and answers status and body.
async fn call(
    session: &Session,
    service: Service,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, String) {
    let endpoints = session.endpoints();
    let base = endpoints.url(service).unwrap();
    let uri = format!("{}{}", base.as_str().trim_end_matches('/'), path);
    let mut builder = http::Request::builder().method(method).uri(uri);
    if !body.is_empty() {
        builder = builder.header(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        );
    }
    let body = Bytes::copy_from_slice(body.as_bytes());
    let mut request = builder.body(body).unwrap();
    session
        .sign(
            service.name(),
            endpoints.signing_region(service),
            &mut request,
        )
        .await
        .unwrap();

    let address = (base.host_str().unwrap(), base.port().unwrap());
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let host = format!("{}:{}", address.0, address.1);
    request.headers_mut().insert("host", host.parse().unwrap());
    *request.uri_mut() = request
        .uri()
        .path_and_query()
        .unwrap()
        .as_str()
        .parse()
        .unwrap();
    let response = sender.send_request(request.map(Full::new)).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn eks(session: &Session, path: &str) -> Value {
    let (status, body) = call(session, Service::Eks, "GET", path, "").await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

fn encoded(arn: &str) -> String {
    arn.replace(':', "%3A").replace('/', "%2F")
}

#[tokio::test]
#[ignore = "needs ministack: just interop"]
async fn the_role_is_assumed_and_named() {
    let identity = session(&[]).caller_identity().await.unwrap();
    assert_eq!(identity.account, "000000000000");
    assert_eq!(
        identity.arn,
        "arn:aws:sts::000000000000:assumed-role/baton-reader/baton-host-interop"
    );
    let skew = identity.clock_skew.unwrap_or_default();
    assert!(skew.abs() <= 2, "{skew}");
}

#[tokio::test]
#[ignore = "needs ministack: just interop"]
async fn the_cluster_and_its_entries_are_read() {
    let session = session(&[]);
    let cluster = eks(&session, "/clusters/interop").await;
    assert_eq!(cluster["cluster"]["status"], "ACTIVE");
    assert_eq!(
        cluster["cluster"]["accessConfig"]["authenticationMode"],
        "API"
    );

    let listed = eks(&session, "/clusters/interop/access-entries?maxResults=100").await;
    let entries: Vec<&str> = listed["accessEntries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|arn| arn.as_str().unwrap())
        .collect();
    let people = "arn:aws:iam::000000000000:role/team/people";
    assert!(entries.contains(&people), "{entries:?}");
    assert!(entries.len() >= 3, "{entries:?}");
    for arn in &entries {
        let path = format!("/clusters/interop/access-entries/{}", encoded(arn));
        let entry = eks(&session, &path).await;
        assert_eq!(entry["accessEntry"]["principalArn"], *arn);
    }
    let path = format!(
        "/clusters/interop/access-entries/{}/access-policies?maxResults=100",
        encoded(people)
    );
    let policies = eks(&session, &path).await;
    assert_eq!(
        policies["associatedAccessPolicies"][0]["accessScope"]["namespaces"],
        serde_json::json!(["default", "dev-*"])
    );
    let pods = eks(&session, "/clusters/interop/pod-identity-associations").await;
    assert_eq!(pods["associations"][0]["serviceAccount"], "app");
}

#[tokio::test]
#[ignore = "needs ministack: just interop"]
async fn roles_are_listed_from_iam() {
    let form = "Action=ListRoles&Version=2010-05-08&MaxItems=1000";
    let (status, body) = call(&session(&[]), Service::Iam, "POST", "/", form).await;
    assert_eq!(status, 200, "{body}");
    for name in ["people", "admins", "baton-reader"] {
        assert!(
            body.contains(&format!("<RoleName>{name}</RoleName>")),
            "{name}"
        );
    }
}

#[tokio::test]
#[ignore = "needs ministack: just interop"]
async fn what_the_role_may_not_do_is_refused() {
    let (status, body) = call(&session(&[]), Service::Eks, "GET", "/clusters", "").await;
    assert_eq!(status, 403, "{body}");
}

#[tokio::test]
#[ignore = "needs ministack: just interop"]
async fn the_session_policy_narrows_the_role() {
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"eks:DescribeCluster","Resource":"*"}]}"#;
    let session = narrowed(&[], policy);
    eks(&session, "/clusters/interop").await;
    let path = "/clusters/interop/access-entries";
    let (status, body) = call(&session, Service::Eks, "GET", path, "").await;
    assert_eq!(status, 403, "{body}");
}

#[tokio::test]
#[ignore = "needs ministack: just interop"]
async fn wrong_credentials_are_told_apart() {
    let refused =
        async |changes: &[(&str, &str)]| session(changes).caller_identity().await.unwrap_err();
    let error = refused(&[("BATON_EKS_SECRET_ACCESS_KEY", "not-the-secret")]).await;
    assert!(
        matches!(error, CredentialError::WrongSecret { .. }),
        "{error}"
    );
    let error = refused(&[("BATON_EKS_ACCESS_KEY", "AKIAUNKNOWNUNKNOWN12")]).await;
    assert!(
        matches!(error, CredentialError::UnknownKey { .. }),
        "{error}"
    );
    for (name, value) in [
        ("BATON_EXTERNAL_ID", "another-id"),
        ("BATON_EXTERNAL_ID", ""),
        (
            "BATON_ROLE_ARN",
            "arn:aws:iam::000000000000:role/admins-of-nobody",
        ),
        ("BATON_ROLE_ARN", "arn:aws:iam::000000000000:role/cluster"),
    ] {
        let error = refused(&[(name, value)]).await;
        assert!(
            matches!(error, CredentialError::RoleDenied { .. }),
            "{error}"
        );
    }
}
