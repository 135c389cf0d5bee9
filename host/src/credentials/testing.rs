//! What the tests of this module share: the published example key, a fixed
//! time, and a small STS on the loopback interface.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use http_body_util::BodyExt as _;

use super::env::Clock;

pub const EXAMPLE_SESSION_TOKEN: &str = "FwoGZXIvYXdzEXAMPLE//session+token==";

pub fn example_credentials(session_token: Option<&str>) -> Credentials {
    Credentials::new(
        "AKIDEXAMPLE",
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        session_token.map(str::to_owned),
        None,
        "test",
    )
}

/// 2024-01-15T12:00:00Z.
pub fn example_time() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_705_320_000)
}

/// A clock that a test moves.
#[derive(Clone)]
pub struct TestClock(Arc<Mutex<SystemTime>>);

impl TestClock {
    pub fn new() -> TestClock {
        TestClock(Arc::new(Mutex::new(example_time())))
    }

    pub fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }

    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }

    pub fn clock(&self) -> Clock {
        let clock = self.clone();
        Clock::from_fn(move || clock.now())
    }
}

/// A request that the server got.
#[derive(Debug, Clone)]
pub struct Got {
    pub method: String,
    pub path: String,
    pub headers: http::HeaderMap,
    pub body: String,
}

impl Got {
    /// A field of the form body; empty where it is absent.
    pub fn field(&self, name: &str) -> String {
        url::form_urlencoded::parse(self.body.as_bytes())
            .find(|(key, _)| key == name)
            .map_or_else(String::new, |(_, value)| value.into_owned())
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

pub type Reply = http::Response<String>;

pub fn reply(status: u16, body: impl Into<String>) -> Reply {
    http::Response::builder()
        .status(status)
        .body(body.into())
        .unwrap()
}

/// A plain HTTP server on the loopback interface that answers by a function
/// and keeps what it got. It ends with the test's runtime.
pub struct Server {
    pub url: String,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Server {
    pub async fn start(answer: impl FnMut(&Got) -> Reply + Send + 'static) -> Server {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let got = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(Mutex::new(answer));
        let kept = Arc::clone(&got);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                let service = hyper::service::service_fn(
                    move |request: http::Request<hyper::body::Incoming>| {
                        let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                        async move {
                            let (head, body) = request.into_parts();
                            let body = body.collect().await?.to_bytes();
                            let got = Got {
                                method: head.method.to_string(),
                                path: head.uri.to_string(),
                                headers: head.headers,
                                body: String::from_utf8(body.to_vec()).unwrap(),
                            };
                            let reply = (answer.lock().unwrap())(&got);
                            kept.lock().unwrap().push(got);
                            Ok::<_, hyper::Error>(reply)
                        }
                    },
                );
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .auto_date_header(false)
                        .serve_connection(hyper_util::rt::TokioIo::new(stream), service),
                );
            }
        });
        Server { url, got }
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// An STS that lets every role be assumed. The key of role `x` is
    /// `ASIA-x`, its secret `secret-of-x`, its token `token-of-x`.
    pub async fn sts(clock: &TestClock) -> Server {
        let clock = clock.clone();
        Server::start(move |got| sts_answer(got, &clock)).await
    }
}

pub fn sts_answer(got: &Got, clock: &TestClock) -> Reply {
    let action = got.field("Action");
    if action == "GetCallerIdentity" {
        return reply(
            200,
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult><Arn>arn:aws:sts::111122223333:assumed-role/reader/baton-host-prod</Arn><UserId>AROAEXAMPLE:baton-host-prod</UserId><Account>111122223333</Account></GetCallerIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCallerIdentityResponse>",
        );
    }
    let arn = got.field("RoleArn");
    let role = arn.rsplit('/').next().unwrap().to_owned();
    let end = jiff::Timestamp::try_from(clock.now() + Duration::from_secs(3600)).unwrap();
    reply(
        200,
        format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><AssumedRoleUser><AssumedRoleId>AROA:s</AssumedRoleId><Arn>a</Arn></AssumedRoleUser><Credentials><AccessKeyId>ASIA-{role}</AccessKeyId><SecretAccessKey>secret-of-{role}</SecretAccessKey><SessionToken>token-of-{role}</SessionToken><Expiration>{end}</Expiration></Credentials><PackedPolicySize>6</PackedPolicySize></{action}Result></{action}Response>"
        ),
    )
}

pub fn sts_error(status: u16, code: &str, message: &str) -> Reply {
    reply(
        status,
        format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
        ),
    )
}
