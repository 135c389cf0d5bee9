//! What the host adds to a request, beside the same request of a plain client
//! to the same server on the loopback: parse, decide, rebuild, sign, account,
//! and clean the answer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use baton_host::credentials::sign::sign_request;
use baton_host::upstream::auth::{Auth, AuthError, Secret};
use baton_host::upstream::rights::{Approval, Declared};
use baton_host::upstream::{
    Egress as _, Endpoint, Limits, Proxies, TaskUpstreams, Trust, Upstreams,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{micros, percentile, runtime};

const ROUNDS: usize = 3_000;
const TYPE: &str = "application/x-www-form-urlencoded; charset=utf-8";
const ANSWER: &str = "<ListRolesResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><ListRolesResult><Roles/><IsTruncated>false</IsTruncated></ListRolesResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></ListRolesResponse>";

struct Keys(Credentials);

impl Auth for Keys {
    fn sign<'a>(
        &'a self,
        service: &'a str,
        region: &'a str,
        request: &'a mut Request<Bytes>,
    ) -> BoxFuture<'a, Result<(), AuthError>> {
        Box::pin(async move {
            sign_request(request, &self.0, service, region, SystemTime::now()).unwrap();
            Ok(())
        })
    }

    fn eks_token<'a>(
        &'a self,
        _cluster: &'a str,
        _region: &'a str,
        _fresh: bool,
    ) -> BoxFuture<'a, Result<Secret, AuthError>> {
        Box::pin(async { Ok(Secret::new("k8s-aws-v1.bench")) })
    }

    fn canaries(&self) -> Vec<Secret> {
        vec![
            Secret::new("a-secret-access-key-of-forty-characters-"),
            Secret::new("token".repeat(200)),
        ]
    }
}

/// A server that reads a request and gives one answer, on a thread of its own.
fn server() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let answer = service_fn(|request: Request<hyper::body::Incoming>| async {
                    let _ = request.into_body().collect().await;
                    let answer = Response::builder()
                        .header("content-type", "text/xml")
                        .body(Full::new(Bytes::from_static(ANSWER.as_bytes())));
                    Ok::<_, Infallible>(answer.unwrap())
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), answer));
            }
        });
    });
    address
}

fn upstreams(address: std::net::SocketAddr) -> Upstreams {
    let service = [("service".to_owned(), "iam".to_owned())];
    let granted = Declared::check("iam", "aws", &service, [("read", "iam:ListRoles")])
        .unwrap()
        .approved(&Approval::profile());
    let endpoint = Endpoint {
        url: format!("http://{address}").parse().unwrap(),
        signing_region: "us-east-1".to_owned(),
    };
    Upstreams::new(TaskUpstreams {
        plugin: "bench 0.1.0".to_owned(),
        granted: vec![granted],
        cluster: "prod".to_owned(),
        region: "eu-west-1".to_owned(),
        account: "111122223333".to_owned(),
        eks: endpoint.clone(),
        iam: endpoint,
        aws_trust: Trust::System,
        proxies: Proxies::none(),
        auth: Arc::new(Keys(Credentials::new(
            "AKIDEXAMPLE",
            "secret",
            Some("token".into()),
            None,
            "bench",
        ))),
        rates: Arc::default(),
        io: tokio::runtime::Handle::current(),
        task: "bench".to_owned(),
        limits: Limits::default(),
    })
    .unwrap()
}

pub fn main() {
    let runtime = runtime();
    let address = server();
    let start = "Action=ListRoles&Version=2010-05-08&Marker=";
    let body = Bytes::from(format!("{start}{}", "m".repeat(2048 - start.len())));
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let plain: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    runtime.block_on(async {
        let ours = upstreams(address);
        let (mut direct, mut hosted) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let request = Request::post(format!("http://{address}/"))
                .header("content-type", TYPE)
                .body(Full::new(body.clone()))
                .unwrap();
            let clock = Instant::now();
            let answer = plain.request(request).await.unwrap();
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), ANSWER);
            direct.push(clock.elapsed());
            let request = Request::post("http://iam/")
                .header("content-type", TYPE)
                .body(body.clone())
                .unwrap();
            let clock = Instant::now();
            let answer = ours.send(request).await.unwrap();
            assert!(answer.status().is_success());
            hosted.push(clock.elapsed());
        }
        let (direct, hosted): (Duration, Duration) =
            (percentile(&mut direct, 0.5), percentile(&mut hosted, 0.5));
        println!(
            "  2 KiB through the host: median {:.0} us, a plain client {:.0} us; the host adds {:.0} us",
            micros(hosted),
            micros(direct),
            micros(hosted.saturating_sub(direct))
        );
    });
}
