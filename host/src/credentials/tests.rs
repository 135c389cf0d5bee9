//! The credential paths as a user meets them: settings and environment in,
//! calls to a local STS and sentences out.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::testing::{self, Got, Reply, Server, TestClock, reply, sts_answer, sts_error};
use super::*;
use crate::upstream::auth::{Auth, AuthErrorKind};

const READER: &str = "arn:aws:iam::111122223333:role/team/reader";
const BINDING: &str = "arn:aws:iam::999988887777:role/binding";
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[]}"#;

const OWN_KEY: [(&str, &str); 3] = [
    ("BATON_EKS_ACCESS_KEY", "AKIAOWN"),
    ("BATON_EKS_SECRET_ACCESS_KEY", "own-secret"),
    ("BATON_ROLE_ARN", READER),
];

const TWO_HOPS: [(&str, &str); 7] = [
    ("BATON_GLOBAL_ACCESS_KEY_ID", "AKIAGLOBAL"),
    ("BATON_GLOBAL_SECRET_ACCESS_KEY", "global-secret"),
    ("BATON_GLOBAL_ROLE_ARN", BINDING),
    ("BATON_GLOBAL_BINDING_EXTERNAL_ID", "binding-id"),
    ("BATON_GLOBAL_REGION", "us-west-2"),
    ("BATON_ROLE_ARN", READER),
    ("BATON_EXTERNAL_ID", "customer-id"),
];

const AMBIENT: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "AKIAAMBIENT"),
    ("AWS_SECRET_ACCESS_KEY", "ambient-secret"),
];

fn config(sts: &Server, clock: &TestClock, pairs: &[(&str, &str)]) -> SessionConfig {
    let mut all: Vec<(String, String)> = vec![
        ("AWS_ENDPOINT_URL_STS".to_owned(), sts.url.clone()),
        ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
        ("AWS_REGION".to_owned(), "ap-south-1".to_owned()),
    ];
    for (name, value) in pairs {
        all.retain(|(other, _)| other != name);
        all.push(((*name).to_owned(), (*value).to_owned()));
    }
    let env = Env::from_pairs(all);
    let settings = AwsSettings::from_env(&env).unwrap();
    SessionConfig {
        policy: Some(POLICY.to_owned()),
        env,
        clock: clock.clock(),
        ..SessionConfig::new(settings, "eu-west-1", "prod")
    }
}

fn session(sts: &Server, clock: &TestClock, pairs: &[(&str, &str)]) -> Session {
    Session::new(config(sts, clock, pairs)).unwrap()
}

fn request() -> http::Request<Bytes> {
    http::Request::get("https://eks.eu-west-1.amazonaws.com/clusters/prod")
        .body(Bytes::new())
        .unwrap()
}

/// The access key and the scope with which a signed request is signed.
fn scope(headers: &http::HeaderMap) -> String {
    let header = headers["authorization"].to_str().unwrap();
    let scope = header.split("Credential=").nth(1).unwrap();
    scope.split(',').next().unwrap().to_owned()
}

async fn signed(session: &Session) -> http::Request<Bytes> {
    let mut request = request();
    session
        .sign("eks", "eu-west-1", &mut request)
        .await
        .unwrap();
    request
}

async fn refusal(session: &Session) -> crate::upstream::auth::AuthError {
    let mut request = request();
    let error = session
        .sign("eks", "eu-west-1", &mut request)
        .await
        .unwrap_err();
    assert!(request.headers().get("authorization").is_none());
    error
}

async fn failing_sts(status: u16, code: &'static str, message: &'static str) -> Server {
    Server::start(move |_| sts_error(status, code, message)).await
}

// --- the three paths -------------------------------------------------------

#[tokio::test]
async fn an_own_key_assumes_the_role_narrowed_in_the_clusters_region() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let session = session(&sts, &clock, &OWN_KEY);
    let request = signed(&session).await;
    assert_eq!(
        scope(request.headers()),
        "ASIA-reader/20240115/eu-west-1/eks/aws4_request"
    );
    assert_eq!(request.headers()["x-amz-security-token"], "token-of-reader");

    let got = sts.got();
    assert_eq!(got.len(), 1);
    let call = &got[0];
    assert_eq!(
        scope(&call.headers),
        "AKIAOWN/20240115/eu-west-1/sts/aws4_request"
    );
    for (field, value) in [
        ("Action", "AssumeRole"),
        ("Version", "2011-06-15"),
        ("RoleArn", READER),
        ("RoleSessionName", "baton-host-prod"),
        ("DurationSeconds", "3600"),
        ("Policy", POLICY),
        ("ExternalId", ""),
    ] {
        assert_eq!(call.field(field), value, "{field}");
    }
    assert!(call.header("user-agent").starts_with("baton-host/"));
    assert!(session.is_narrowed());
    assert_eq!(session.describe(), format!("eks-access-key, then {READER}"));
}

#[tokio::test]
async fn an_own_key_sends_the_external_id_too() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let mut pairs = OWN_KEY.to_vec();
    pairs.push(("BATON_EXTERNAL_ID", "customer-id"));
    signed(&session(&sts, &clock, &pairs)).await;
    let call = &sts.got()[0];
    assert_eq!(call.field("ExternalId"), "customer-id");
    assert!(scope(&call.headers).starts_with("AKIAOWN/"));
}

#[tokio::test]
async fn two_hops_with_the_operators_key() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let session = session(&sts, &clock, &TWO_HOPS);
    let request = signed(&session).await;
    assert!(scope(request.headers()).starts_with("ASIA-reader/"));

    let got = sts.got();
    assert_eq!(got.len(), 2);
    assert_eq!(
        scope(&got[0].headers),
        "AKIAGLOBAL/20240115/us-west-2/sts/aws4_request"
    );
    assert_eq!(got[0].field("RoleArn"), BINDING);
    assert_eq!(got[0].field("ExternalId"), "binding-id");
    assert_eq!(got[0].field("Policy"), "", "only the last role is narrowed");
    assert_eq!(
        scope(&got[1].headers),
        "ASIA-binding/20240115/eu-west-1/sts/aws4_request"
    );
    assert_eq!(got[1].header("x-amz-security-token"), "token-of-binding");
    assert_eq!(got[1].field("RoleArn"), READER);
    assert_eq!(got[1].field("ExternalId"), "customer-id");
    assert_eq!(got[1].field("Policy"), POLICY);
    assert!(
        !session.describe().contains("binding/"),
        "{}",
        session.describe()
    );
    assert!(!session.describe().contains("999988887777"));
}

#[tokio::test]
async fn two_hops_from_ambient_credentials() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let mut pairs = TWO_HOPS[2..].to_vec();
    pairs.extend(AMBIENT);
    signed(&session(&sts, &clock, &pairs)).await;
    let got = sts.got();
    assert!(scope(&got[0].headers).starts_with("AKIAAMBIENT/20240115/us-west-2/"));
    assert!(scope(&got[1].headers).starts_with("ASIA-binding/"));
}

#[tokio::test]
async fn an_external_id_without_a_global_role_is_one_hop() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let pairs = [
        AMBIENT[0],
        AMBIENT[1],
        ("BATON_ROLE_ARN", READER),
        ("BATON_EXTERNAL_ID", "customer-id"),
    ];
    signed(&session(&sts, &clock, &pairs)).await;
    let got = sts.got();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].field("ExternalId"), "customer-id");
}

#[tokio::test]
async fn ambient_credentials_assume_the_role_if_one_is_given() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let pairs = [
        AMBIENT[0],
        AMBIENT[1],
        ("AWS_SESSION_TOKEN", "ambient-token"),
        ("BATON_EKS_ASSUME_ROLE_ARN", READER),
    ];
    let session = session(&sts, &clock, &pairs);
    let request = signed(&session).await;
    assert!(scope(request.headers()).starts_with("ASIA-reader/"));
    let call = &sts.got()[0];
    assert_eq!(
        scope(&call.headers),
        "AKIAAMBIENT/20240115/eu-west-1/sts/aws4_request",
        "the cluster's region, not AWS_REGION"
    );
    assert_eq!(call.header("x-amz-security-token"), "ambient-token");
    assert!(session.is_narrowed());
}

#[tokio::test]
async fn ambient_credentials_without_a_role_are_used_as_they_are_and_not_narrowed() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let session = session(&sts, &clock, &AMBIENT);
    let request = signed(&session).await;
    assert!(scope(request.headers()).starts_with("AKIAAMBIENT/"));
    assert!(sts.got().is_empty());
    assert!(!session.is_narrowed());
    assert_eq!(session.describe(), "the ambient AWS credentials");
}

#[tokio::test]
async fn provisioning_may_have_a_role_of_its_own() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let mut pairs = OWN_KEY.to_vec();
    pairs.push((
        "BATON_PROVISIONING_ROLE_ARN",
        "arn:aws:iam::111122223333:role/writer",
    ));
    let mut config = config(&sts, &clock, &pairs);
    signed(&Session::new(config.clone()).unwrap()).await;
    config.purpose = Purpose::Provision;
    signed(&Session::new(config).unwrap()).await;
    let roles: Vec<String> = sts.got().iter().map(|call| call.field("RoleArn")).collect();
    assert_eq!(roles, [READER, "arn:aws:iam::111122223333:role/writer"]);
}

#[tokio::test]
async fn a_strange_cluster_name_makes_a_legal_session_name() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let mut config = config(&sts, &clock, &OWN_KEY);
    config.cluster = format!("prod/ü {}", "x".repeat(100));
    signed(&Session::new(config).unwrap()).await;
    let name = sts.got()[0].field("RoleSessionName");
    assert!(name.starts_with("baton-host-prod---xxx"), "{name}");
    assert_eq!(name.len(), 64);
}

// --- ambient sources -------------------------------------------------------

#[tokio::test]
async fn irsa_reads_the_token_file_at_every_use() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "first-token\n").unwrap();
    let pairs = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/irsa"),
        ("BATON_ROLE_ARN", READER),
    ];
    let session = session(&sts, &clock, &pairs);
    signed(&session).await;
    std::fs::write(&file, "second-token\n").unwrap();
    clock.advance(Duration::from_secs(3601));
    signed(&session).await;

    let got = sts.got();
    assert_eq!(got.len(), 4);
    assert_eq!(got[0].field("Action"), "AssumeRoleWithWebIdentity");
    assert_eq!(got[0].field("WebIdentityToken"), "first-token");
    assert_eq!(got[0].field("RoleSessionName"), "baton-host-prod");
    assert!(got[0].headers.get("authorization").is_none(), "unsigned");
    assert!(scope(&got[1].headers).starts_with("ASIA-irsa/"));
    assert_eq!(got[2].field("WebIdentityToken"), "second-token");
}

#[tokio::test]
async fn irsa_says_that_the_token_was_refused() {
    let clock = TestClock::new();
    let sts = failing_sts(
        400,
        "InvalidIdentityToken",
        "No OpenIDConnect provider found",
    )
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "a-token").unwrap();
    let file = file.to_str().unwrap();
    let pairs = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file),
        ("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/irsa"),
    ];
    let error = refusal(&session(&sts, &clock, &pairs)).await;
    assert_eq!(error.kind, AuthErrorKind::Denied);
    assert!(error.message.starts_with(&format!(
        "arn:aws:iam::111122223333:role/irsa cannot be assumed with the token of {file}: STS answers InvalidIdentityToken"
    )), "{}", error.message);
    assert!(!error.message.contains("a-token"));
}

#[tokio::test]
async fn pod_identity_sends_the_tokens_content() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let agent = Server::start(|_| {
        reply(200, r#"{"AccessKeyId":"ASIA-pod","SecretAccessKey":"pod-secret","Token":"pod-token","AccountId":"111122223333","Expiration":"2024-01-15T18:00:00Z"}"#)
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("eks-pod-identity-token");
    std::fs::write(&file, "service-account-token").unwrap();
    let url = format!("{}/v1/credentials", agent.url);
    let pairs = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        (
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            file.to_str().unwrap(),
        ),
    ];
    let session = session(&sts, &clock, &pairs);
    let request = signed(&session).await;
    assert!(scope(request.headers()).starts_with("ASIA-pod/"));
    assert_eq!(request.headers()["x-amz-security-token"], "pod-token");
    let got = agent.got();
    assert_eq!(got[0].path, "/v1/credentials");
    assert_eq!(got[0].header("authorization"), "service-account-token");
}

#[tokio::test]
async fn a_container_endpoint_elsewhere_is_not_asked() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let pairs = [(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "http://attacker.example/",
    )];
    let error = refusal(&session(&sts, &clock, &pairs)).await;
    assert!(
        error.message.contains("neither https nor a loopback"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn instance_metadata_is_the_last_source() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let metadata = Server::start(|got| {
        if got.method == "PUT" {
            let mut token = reply(200, "metadata-session");
            token.headers_mut().insert(
                "x-aws-ec2-metadata-token-ttl-seconds",
                "21600".parse().unwrap(),
            );
            return token;
        }
        assert_eq!(got.header("x-aws-ec2-metadata-token"), "metadata-session");
        if got.path.ends_with("/security-credentials/") {
            reply(200, "node-role")
        } else {
            reply(200, r#"{"Code":"Success","LastUpdated":"2024-01-15T12:00:00Z","Type":"AWS-HMAC","AccessKeyId":"ASIA-node","SecretAccessKey":"node-secret","Token":"node-token","Expiration":"2044-01-15T18:00:00Z"}"#)
        }
    })
    .await;
    let pairs = [
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url.as_str()),
    ];
    let request = signed(&session(&sts, &clock, &pairs)).await;
    assert!(scope(request.headers()).starts_with("ASIA-node/"));
}

#[tokio::test]
async fn a_profile_gives_its_key() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    std::fs::write(
        home.path().join(".aws/credentials"),
        "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = d\n[audit]\naws_access_key_id = AKIAAUDIT\naws_secret_access_key = a\n",
    )
    .unwrap();
    let home = ("HOME", home.path().to_str().unwrap());
    let request = signed(&session(&sts, &clock, &[home])).await;
    assert!(scope(request.headers()).starts_with("AKIADEFAULT/"));
    let request = signed(&session(&sts, &clock, &[home, ("AWS_PROFILE", "audit")])).await;
    assert!(scope(request.headers()).starts_with("AKIAAUDIT/"));

    let error = refusal(&session(&sts, &clock, &[home, ("AWS_PROFILE", "nobody")])).await;
    assert_eq!(error.kind, AuthErrorKind::Config);
    assert_eq!(
        error.message,
        "the profile `nobody` named by AWS_PROFILE is not in the AWS config files; `aws configure list-profiles` lists them; `aws configure --profile nobody` makes it"
    );
}

#[tokio::test]
async fn a_profile_with_a_process_is_run() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config");
    std::fs::write(
        &file,
        "[default]\ncredential_process = echo '{\"Version\":1,\"AccessKeyId\":\"AKIAPROCESS\",\"SecretAccessKey\":\"p\"}'\n",
    )
    .unwrap();
    let pairs = [("AWS_CONFIG_FILE", file.to_str().unwrap())];
    let request = signed(&session(&sts, &clock, &pairs)).await;
    assert!(scope(request.headers()).starts_with("AKIAPROCESS/"));
}

#[tokio::test]
async fn no_credentials_says_where_it_looked() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let error = refusal(&session(&sts, &clock, &[])).await;
    assert_eq!(error.kind, AuthErrorKind::Missing);
    assert_eq!(
        error.message,
        "no AWS credentials were found; looked at AWS_ACCESS_KEY_ID (not set), AWS config files (none), AWS_WEB_IDENTITY_TOKEN_FILE (not set), AWS_CONTAINER_CREDENTIALS_FULL_URI and _RELATIVE_URI (not set), the instance metadata service (AWS_EC2_METADATA_DISABLED); set eks-access-key and eks-secret-access-key, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a pod identity or an instance profile is given"
    );
}

#[tokio::test]
async fn half_a_key_in_the_environment_is_an_error() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let error = refusal(&session(&sts, &clock, &AMBIENT[..1])).await;
    assert_eq!(
        error.message,
        "AWS_ACCESS_KEY_ID gave no credentials: AWS_SECRET_ACCESS_KEY is not set"
    );
}

// --- what goes wrong -------------------------------------------------------

#[tokio::test]
async fn every_refusal_of_sts_is_a_sentence() {
    let canonical = "canonical request x-amz-security-token:leak arn:aws:iam::1:role/leak";
    for (status, code, kind, sentence) in [
        (
            403,
            "InvalidClientTokenId",
            AuthErrorKind::Unauthenticated,
            "AWS does not know the access key of eks-access-key",
        ),
        (
            403,
            "SignatureDoesNotMatch",
            AuthErrorKind::Unauthenticated,
            "AWS refuses the signature of eks-access-key: the secret does not belong to the access key",
        ),
        (
            400,
            "ExpiredToken",
            AuthErrorKind::Expired,
            "the credentials of eks-access-key have expired",
        ),
        (
            403,
            "AccessDenied",
            AuthErrorKind::Denied,
            "eks-access-key may not assume arn:aws:iam::111122223333:role/team/reader: it does not exist, its trust policy does not name the caller, or it asks for an external id and none was given",
        ),
        (
            400,
            "PackedPolicyTooLarge",
            AuthErrorKind::Other,
            "STS refuses the session policy of this host for arn:aws:iam::111122223333:role/team/reader with PackedPolicyTooLarge",
        ),
        (
            403,
            "RegionDisabledException",
            AuthErrorKind::Config,
            "STS is not active in eu-west-1 for this account",
        ),
    ] {
        let clock = TestClock::new();
        let sts = failing_sts(status, code, canonical).await;
        let error = refusal(&session(&sts, &clock, &OWN_KEY)).await;
        assert_eq!(error.kind, kind, "{code}");
        assert!(error.message.starts_with(sentence), "{}", error.message);
        assert!(!error.message.contains("leak"), "{}", error.message);
        assert_eq!(sts.got().len(), 1, "{code} is not tried again");
    }
}

#[tokio::test]
async fn a_wrong_external_id_is_named_as_a_cause() {
    let clock = TestClock::new();
    let sts = failing_sts(403, "AccessDenied", "").await;
    let mut pairs = OWN_KEY.to_vec();
    pairs.push(("BATON_EXTERNAL_ID", "not-the-right-one"));
    let error = refusal(&session(&sts, &clock, &pairs)).await;
    assert!(
        error
            .message
            .contains("or it asks for another external id than the one given"),
        "{}",
        error.message
    );
    assert!(!error.message.contains("not-the-right-one"));
}

#[tokio::test]
async fn a_clock_that_is_off_is_measured_and_said() {
    let clock = TestClock::new();
    let sts = Server::start(|_| {
        let mut reply = sts_error(403, "SignatureDoesNotMatch", "Signature expired");
        let date = "Mon, 15 Jan 2024 12:12:30 GMT".parse().unwrap();
        reply.headers_mut().insert("date", date);
        reply
    })
    .await;
    let error = refusal(&session(&sts, &clock, &OWN_KEY)).await;
    assert_eq!(error.kind, AuthErrorKind::ClockSkew);
    assert!(
        error
            .message
            .starts_with("this machine's clock is 12 minutes behind AWS's"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn a_first_hop_that_fails_is_an_internal_binding_error_and_nothing_more() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_max_level(tracing::Level::DEBUG)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let clock = TestClock::new();
    let sts = Server::start(|_| {
        sts_error(
            403,
            "AccessDenied",
            "User: arn:aws:iam::999988887777:user/operator is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::999988887777:role/binding",
        )
    })
    .await;
    let error = refusal(&session(&sts, &clock, &TWO_HOPS)).await;
    assert_eq!(
        error.message,
        "internal binding error; this is for the operator of the host to repair"
    );
    let log = log.text();
    assert!(log.contains("the first hop failed kind=Denied"), "{log}");
    for canary in ["999988887777", "global-secret", "binding-id"] {
        assert!(!log.contains(canary), "{log}");
    }
}

#[tokio::test]
async fn no_credentials_for_the_first_hop_is_an_internal_binding_error_too() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let error = refusal(&session(&sts, &clock, &TWO_HOPS[2..])).await;
    assert!(error.message.starts_with("internal binding error"));
}

#[tokio::test]
async fn a_second_hop_that_fails_names_the_customers_role_but_not_the_operators() {
    let clock = TestClock::new();
    let sts_clock = clock.clone();
    let sts = Server::start(move |got| {
        if got.field("RoleArn") == BINDING {
            sts_answer(got, &sts_clock)
        } else {
            sts_error(
                403,
                "AccessDenied",
                "User: arn:aws:sts::999988887777:assumed-role/binding/s is not authorized",
            )
        }
    })
    .await;
    let error = refusal(&session(&sts, &clock, &TWO_HOPS)).await;
    assert!(error.message.starts_with(
        "the binding role of the operator may not assume arn:aws:iam::111122223333:role/team/reader"
    ), "{}", error.message);
    assert!(!error.message.contains("999988887777"));
}

#[tokio::test]
async fn an_sts_that_stumbles_is_asked_again() {
    let clock = TestClock::new();
    let sts_clock = clock.clone();
    let mut left: Vec<Reply> = vec![
        reply(500, "<html>oops</html>"),
        sts_error(503, "ServiceUnavailable", ""),
    ];
    let sts =
        Server::start(move |got: &Got| left.pop().unwrap_or_else(|| sts_answer(got, &sts_clock)))
            .await;
    signed(&session(&sts, &clock, &OWN_KEY)).await;
    assert_eq!(sts.got().len(), 3);
}

#[tokio::test]
async fn an_sts_that_never_answers_well_is_left_after_three_attempts() {
    let clock = TestClock::new();
    let sts = Server::start(|_| reply(502, "<html>secret page</html>")).await;
    let error = refusal(&session(&sts, &clock, &OWN_KEY)).await;
    let host = sts.url.strip_prefix("http://").unwrap();
    assert_eq!(
        error.message,
        format!("{host} answers sts:AssumeRole with status 502")
    );
    assert_eq!(sts.got().len(), 3);
}

#[tokio::test]
async fn an_sts_out_of_reach_is_named() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    // No test server gets a port this low.
    let closed = "127.0.0.1:1";
    let mut pairs = OWN_KEY.to_vec();
    let url = format!("http://{closed}");
    pairs.push(("AWS_ENDPOINT_URL_STS", &url));
    let error = refusal(&session(&sts, &clock, &pairs)).await;
    assert_eq!(error.kind, AuthErrorKind::Unreachable);
    assert!(
        error
            .message
            .starts_with(&format!("{closed} gives no answer: ")),
        "{}",
        error.message
    );
    assert!(error.message.contains("refused"), "{}", error.message);
}

#[test]
fn a_role_of_another_partition_is_refused_before_anything_is_sent() {
    let env = Env::from_pairs(OWN_KEY);
    let settings = AwsSettings::from_env(&env).unwrap();
    let config = SessionConfig {
        env,
        ..SessionConfig::new(settings, "cn-north-1", "prod")
    };
    assert_eq!(
        Session::new(config).unwrap_err().to_string(),
        "role-arn is in the partition aws and the region cn-north-1 in aws-cn"
    );
}

// --- lives -----------------------------------------------------------------

#[tokio::test]
async fn a_session_is_renewed_at_three_quarters_and_serves_the_old_one_meanwhile() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let session = session(&sts, &clock, &OWN_KEY);
    for _ in 0..5 {
        signed(&session).await;
    }
    clock.advance(Duration::from_secs(44 * 60));
    signed(&session).await;
    assert_eq!(sts.got().len(), 1);

    clock.advance(Duration::from_secs(60));
    signed(&session).await;
    while sts.got().len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    signed(&session).await;
    assert_eq!(sts.got().len(), 2);
}

#[tokio::test]
async fn a_session_that_cannot_be_renewed_says_so_when_it_has_run_out() {
    let clock = TestClock::new();
    let sts_clock = clock.clone();
    let mut first = true;
    let sts = Server::start(move |got| {
        if std::mem::take(&mut first) {
            sts_answer(got, &sts_clock)
        } else {
            sts_error(403, "AccessDenied", "")
        }
    })
    .await;
    let session = session(&sts, &clock, &OWN_KEY);
    signed(&session).await;
    clock.advance(Duration::from_secs(3600));
    let error = refusal(&session).await;
    assert_eq!(error.kind, AuthErrorKind::Expired);
    assert!(
        error.message.starts_with(
            "the session has expired and cannot be renewed: eks-access-key may not assume"
        ),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn a_token_lives_ten_minutes_unless_a_fresh_one_is_asked_for() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let session = session(&sts, &clock, &OWN_KEY);
    let token = async |fresh| {
        let token = session.eks_token("prod", "eu-west-1", fresh).await.unwrap();
        token.expose().to_owned()
    };
    let first = token(false).await;
    clock.advance(Duration::from_secs(599));
    assert_eq!(token(false).await, first);
    let fresh = token(true).await;
    assert_ne!(fresh, first, "signed at another time");
    assert_eq!(token(false).await, fresh);

    clock.advance(Duration::from_secs(600));
    let served = token(false).await;
    assert_eq!(served, fresh, "served while the new one is made");
    let mut renewed = token(false).await;
    while renewed == fresh {
        tokio::task::yield_now().await;
        renewed = token(false).await;
    }
    clock.advance(Duration::from_secs(900));
    assert_ne!(token(false).await, renewed, "a dead one is never served");
    assert_eq!(session.renewals().sessions, 1);
    assert!(session.renewals().tokens >= 3);
    assert_ne!(
        session
            .eks_token("other", "eu-west-1", false)
            .await
            .unwrap()
            .expose(),
        token(false).await,
        "a token is bound to its cluster"
    );
}

// --- identity and secrets --------------------------------------------------

#[tokio::test]
async fn the_caller_is_named_with_the_skew_of_the_clock() {
    let clock = TestClock::new();
    let sts_clock = clock.clone();
    let sts = Server::start(move |got| {
        let mut reply = sts_answer(got, &sts_clock);
        let date = "Mon, 15 Jan 2024 11:59:58 GMT".parse().unwrap();
        reply.headers_mut().insert("date", date);
        reply
    })
    .await;
    let identity = session(&sts, &clock, &OWN_KEY)
        .caller_identity()
        .await
        .unwrap();
    assert_eq!(identity.account, "111122223333");
    assert_eq!(
        identity.arn,
        "arn:aws:sts::111122223333:assumed-role/reader/baton-host-prod"
    );
    assert_eq!(identity.user_id, "AROAEXAMPLE:baton-host-prod");
    assert_eq!(identity.clock_skew, Some(2));
    let got = sts.got();
    assert_eq!(got[1].field("Action"), "GetCallerIdentity");
    assert!(scope(&got[1].headers).starts_with("ASIA-reader/"));
}

#[tokio::test]
async fn nothing_is_signed_for_an_account_that_is_not_allowed() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let mut pairs = OWN_KEY.to_vec();
    pairs.push(("BATON_ALLOWED_ACCOUNT_IDS", "444455556666"));
    let session_of_others = session(&sts, &clock, &pairs);
    let error = refusal(&session_of_others).await;
    assert_eq!(error.kind, AuthErrorKind::Config);
    assert!(error.message.starts_with(
        "the credentials belong to account 111122223333, which is not among allowed-account-ids (444455556666)"
    ), "{}", error.message);
    assert!(
        session_of_others
            .eks_token("prod", "eu-west-1", false)
            .await
            .is_err()
    );

    pairs.pop();
    pairs.push(("BATON_ALLOWED_ACCOUNT_IDS", "444455556666,111122223333"));
    let session = session(&sts, &clock, &pairs);
    let before = sts.got().len();
    signed(&session).await;
    signed(&session).await;
    assert_eq!(sts.got().len() - before, 2, "asked once");
}

#[tokio::test]
async fn only_the_services_of_the_host_are_signed_for() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let mut request = request();
    let error = session(&sts, &clock, &OWN_KEY)
        .sign("s3", "eu-west-1", &mut request)
        .await
        .unwrap_err();
    assert_eq!(error.message, "`s3` is not a service of this host");
}

#[tokio::test]
async fn canaries_are_all_that_must_not_come_back() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let session = session(&sts, &clock, &OWN_KEY);
    let token = session.eks_token("prod", "eu-west-1", false).await.unwrap();
    let canaries: Vec<String> = session
        .canaries()
        .iter()
        .map(|canary| canary.expose().to_owned())
        .collect();
    assert_eq!(
        canaries,
        [
            "own-secret",
            "secret-of-reader",
            "token-of-reader",
            token.expose()
        ]
    );
}

#[tokio::test]
async fn no_debug_output_holds_a_secret() {
    let clock = TestClock::new();
    let sts = Server::sts(&clock).await;
    let mut pairs = OWN_KEY.to_vec();
    pairs.push(("BATON_EXTERNAL_ID", "customer-id"));
    let one_hop = config(&sts, &clock, &pairs);
    let two_hops = config(&sts, &clock, &TWO_HOPS);
    let session = Session::new(one_hop.clone()).unwrap();
    let token = session.eks_token("prod", "eu-west-1", false).await.unwrap();
    let request = signed(&session).await;
    let shown = [
        format!("{one_hop:?}"),
        format!("{one_hop:#?}"),
        format!("{two_hops:?}"),
        format!("{:?}", one_hop.settings),
        format!("{session:?}"),
        format!("{token:?}"),
        format!("{:?}", session.canaries()),
        format!("{request:?}"),
        format!("{:?}", testing::example_credentials(Some("token-of-x"))),
        format!("{:?}", session.caller_identity().await.unwrap()),
    ];
    let mut canaries: Vec<String> = session
        .canaries()
        .iter()
        .map(|canary| canary.expose().to_owned())
        .collect();
    canaries.extend(
        [
            "customer-id",
            "global-secret",
            "binding-id",
            "token-of-x",
            "wJalrXUtnFEMI",
        ]
        .map(str::to_owned),
    );
    for text in shown {
        for canary in &canaries {
            assert!(!text.contains(canary), "{text}");
        }
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        // Colours between words would hide what is looked for.
        let mut plain = String::new();
        let mut escape = false;
        for c in text.chars() {
            match (escape, c) {
                (false, '\u{1b}') => escape = true,
                (true, 'm') => escape = false,
                (false, c) => plain.push(c),
                (true, _) => {}
            }
        }
        plain
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Log {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        self.clone()
    }
}

// --- documentation and dependencies ----------------------------------------

fn repository_file(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_setting_is_documented_with_its_variable() {
    let page = repository_file("docs/credentials.md");
    for setting in settings::SETTINGS {
        let secret = if setting.secret { "yes" } else { "" };
        let row = format!("| `--{}` | `{}` | {secret}", setting.name, setting.env);
        assert!(page.contains(row.trim_end()), "{row}");
    }
}

#[test]
fn ring_is_the_only_cryptography() {
    let lock = repository_file("Cargo.lock");
    assert!(lock.contains("name = \"ring\""));
    for other in [
        "aws-lc-rs",
        "aws-lc-sys",
        "openssl",
        "openssl-sys",
        "native-tls",
        "s2n-tls",
    ] {
        assert!(!lock.contains(&format!("name = \"{other}\"")), "{other}");
    }
}
