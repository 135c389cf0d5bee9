//! The whole way out, against servers on the loopback: what they see of a
//! request, and what a plugin sees of their answers.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use futures_util::future::{BoxFuture, join_all};
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::auth::{AuthError, Secret};
use super::rights::{CEILING, Group};
use super::*;

const SESSION: &str = "FwoGZXIvYXdzEXAMPLE//session+token==";

// Servers.

#[derive(Debug)]
struct Seen {
    version: Version,
    method: Method,
    target: String,
    headers: HeaderMap,
    body: String,
}

struct Server {
    url: Url,
    connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn header(&self, at: usize, name: &str) -> Option<String> {
        let seen = self.seen.lock().unwrap();
        Some(
            seen.get(at)?
                .headers
                .get(name)?
                .to_str()
                .unwrap()
                .to_owned(),
        )
    }
}

type Reply = Response<Full<Bytes>>;

fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::builder().status(status);
    for (name, value) in headers {
        reply = reply.header(*name, *value);
    }
    reply.body(Full::new(body.into())).unwrap()
}

fn ok(body: impl Into<Bytes>) -> Reply {
    reply(200, &[("content-type", "application/json")], body)
}

/// A server that answers request number `n` (from 0) with `f(n, request)`;
/// over TLS with the certificate of a CA, or plain.
async fn serve(
    ca: Option<&Ca>,
    f: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scheme = if ca.is_some() { "https" } else { "http" };
    let url = Url::parse(&format!("{scheme}://{}", listener.local_addr().unwrap())).unwrap();
    let (connections, seen) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(Mutex::new(Vec::new())),
    );
    let tls = ca.map(Ca::acceptor);
    let (f, counter, log) = (Arc::new(f), connections.clone(), seen.clone());
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            let (f, log, tls) = (f.clone(), log.clone(), tls.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let (f, log) = (f.clone(), log.clone());
                    async move {
                        let (parts, body) = request.into_parts();
                        let body =
                            String::from_utf8(body.collect().await?.to_bytes().to_vec()).unwrap();
                        let target = parts.uri.path_and_query().unwrap().to_string();
                        let (version, method, headers) =
                            (parts.version, parts.method, parts.headers);
                        let seen = Seen {
                            version,
                            method,
                            target,
                            headers,
                            body,
                        };
                        let mut log = log.lock().unwrap();
                        let answer = f(log.len(), &seen);
                        log.push(seen);
                        Ok::<_, hyper::Error>(answer)
                    }
                });
                let auto = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                match tls {
                    None => {
                        let _ = auto.serve_connection(TokioIo::new(stream), service).await;
                    }
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            let _ = auto.serve_connection(TokioIo::new(stream), service).await;
                        }
                    }
                }
            });
        }
    });
    Server {
        url,
        connections,
        seen,
        task,
    }
}

/// A server that answers each connection's first request with raw bytes and
/// closes it.
async fn serve_raw(f: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = f(counter.fetch_add(1, Ordering::SeqCst));
            let mut head = Vec::new();
            while !head.windows(4).any(|w| w == b"\r\n\r\n")
                && stream.read_buf(&mut head).await.unwrap() > 0
            {}
            stream.write_all(&answer).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    Server {
        url,
        connections,
        seen: Arc::default(),
        task,
    }
}

struct Ca {
    issuer: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Ca {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "test CA");
        let key = rcgen::KeyPair::generate().unwrap();
        Self {
            issuer: rcgen::CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let params = rcgen::CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        tokio_rustls::TlsAcceptor::from(Arc::new(config))
    }

    fn description(&self, api: &Url) -> String {
        let ca = base64::engine::general_purpose::STANDARD.encode(self.issuer.pem());
        serde_json::json!({"cluster": {
            "name": "prod", "arn": "arn:aws:eks:eu-central-1:111122223333:cluster/prod", "status": "ACTIVE",
            "version": "1.34", "endpoint": api.as_str(), "certificateAuthority": {"data": ca},
        }})
        .to_string()
    }
}

// Credentials.

#[derive(Default)]
struct FakeAuth {
    tokens: AtomicUsize,
    signed: Mutex<Vec<String>>,
}

fn token(number: usize) -> String {
    format!("k8s-aws-v1.token-number-{number}/x")
}

impl Auth for FakeAuth {
    fn sign<'a>(
        &'a self,
        service: &'a str,
        region: &'a str,
        request: &'a mut Request<Bytes>,
    ) -> BoxFuture<'a, Result<(), AuthError>> {
        assert!(!request.headers().contains_key("host"));
        let line = format!("{service} {region} {} {}", request.method(), request.uri());
        self.signed.lock().unwrap().push(line);
        request
            .headers_mut()
            .insert("authorization", "AWS4-HMAC-SHA256 test".parse().unwrap());
        request
            .headers_mut()
            .insert("x-amz-security-token", SESSION.parse().unwrap());
        Box::pin(async { Ok(()) })
    }

    fn eks_token<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        fresh: bool,
    ) -> BoxFuture<'a, Result<Secret, AuthError>> {
        let number =
            self.tokens.fetch_add(usize::from(fresh), Ordering::SeqCst) + usize::from(fresh);
        Box::pin(async move { Ok(Secret::new(token(number))) })
    }

    fn canaries(&self) -> Vec<Secret> {
        let all = (0..=self.tokens.load(Ordering::SeqCst)).map(token);
        all.chain([SESSION.to_owned()]).map(Secret::new).collect()
    }
}

// The task.

fn granted(groups: &[Group]) -> Vec<Granted> {
    [
        ("eks", Kind::Eks),
        ("iam", Kind::Iam),
        ("kubernetes", Kind::Cluster),
    ]
    .map(|(name, kind)| Granted {
        name: name.to_owned(),
        kind,
        rights: CEILING
            .iter()
            .filter(|r| r.kind == kind && groups.contains(&r.group))
            .collect(),
    })
    .to_vec()
}

fn task(aws: &Url) -> TaskUpstreams {
    let retry = Policy {
        throttled: Duration::from_millis(2),
        transient: Duration::from_millis(2),
        cap: Duration::from_millis(5),
        ..Policy::default()
    };
    TaskUpstreams {
        plugin: "baton-eks 0.1.0".to_owned(),
        granted: granted(&[Group::Read]),
        cluster: "prod".to_owned(),
        region: "eu-central-1".to_owned(),
        account: "111122223333".to_owned(),
        eks: Endpoint {
            url: aws.clone(),
            signing_region: "eu-central-1".to_owned(),
        },
        iam: Endpoint {
            url: aws.clone(),
            signing_region: "us-east-1".to_owned(),
        },
        aws_trust: Trust::System,
        proxies: Proxies::none(),
        auth: Arc::new(FakeAuth::default()),
        rates: Arc::default(),
        io: tokio::runtime::Handle::current(),
        task: "task-1".to_owned(),
        limits: Limits {
            retry,
            connect: Duration::from_secs(5),
            ..Limits::default()
        },
    }
}

fn upstreams(aws: &Server) -> Upstreams {
    Upstreams::new(task(&aws.url)).unwrap()
}

/// An EKS that describes an API server, and that API server.
async fn cluster(
    f: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static,
) -> (Server, Server, Upstreams) {
    let ca = Ca::new();
    let api = serve(Some(&ca), f).await;
    let description = ca.description(&api.url);
    let eks = serve(None, move |_, _| ok(description.clone())).await;
    let upstreams = upstreams(&eks);
    (eks, api, upstreams)
}

async fn get(upstreams: &Upstreams, uri: &str) -> Result<Response<Bytes>, Refusal> {
    upstreams
        .send(Request::builder().uri(uri).body(Bytes::new()).unwrap())
        .await
}

const NAMESPACES: &str = "http://kubernetes/api/v1/namespaces";
const ENTRIES: &str = "http://eks/clusters/prod/access-entries";

async fn list_roles(upstreams: &Upstreams) -> Result<Response<Bytes>, Refusal> {
    let request = Request::builder()
        .method("POST")
        .uri("http://iam/")
        .header(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )
        .body(Bytes::from_static(
            b"MaxItems=1000&Action=ListRoles&Version=2010-05-08",
        ));
    upstreams.send(request.unwrap()).await
}

fn text(answer: &Response<Bytes>) -> String {
    String::from_utf8(answer.body().to_vec()).unwrap()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut gzip, data).unwrap();
    gzip.finish().unwrap()
}

// Connections.

#[tokio::test]
async fn a_cluster_is_read_over_one_http2_connection_with_its_own_ca() {
    let (eks, api, upstreams) = cluster(|_, _| ok(r#"{"metadata":{},"items":[]}"#)).await;
    let answers = join_all((0..64).map(|_| get(&upstreams, NAMESPACES))).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.as_ref().unwrap().status() == 200)
    );
    assert_eq!((api.count(), api.connections(), eks.count()), (64, 1, 1));
    assert!(
        api.seen
            .lock()
            .unwrap()
            .iter()
            .all(|seen| seen.version == Version::HTTP_2)
    );
    assert_eq!(
        api.header(0, "authorization").unwrap(),
        format!("Bearer {}", token(0))
    );
    assert_eq!(api.header(0, "accept-encoding").unwrap(), "gzip");
    assert!(
        api.header(0, "user-agent")
            .unwrap()
            .starts_with("baton-host/")
    );
    assert!(api.header(0, "user-agent").unwrap().contains("task-1"));
}

#[tokio::test]
async fn an_aws_endpoint_is_kept_alive_and_sees_exactly_what_was_signed() {
    let eks = serve(None, |_, _| ok("{}")).await;
    let auth = Arc::new(FakeAuth::default());
    let upstreams = Upstreams::new(TaskUpstreams {
        auth: auth.clone(),
        ..task(&eks.url)
    })
    .unwrap();
    let entry = "/clusters/prod/access-entries/arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fdev";
    for _ in 0..5 {
        get(&upstreams, &format!("http://eks{entry}"))
            .await
            .unwrap();
    }
    list_roles(&upstreams).await.unwrap();
    assert_eq!(
        (eks.count(), eks.connections()),
        (6, 2),
        "one connection for each upstream"
    );
    let (seen, signed) = (eks.seen.lock().unwrap(), auth.signed.lock().unwrap());
    let url = eks.url.as_str().trim_end_matches('/');
    assert_eq!(signed[0], format!("eks eu-central-1 GET {url}{entry}"));
    assert_eq!(seen[0].target, entry);
    assert_eq!(
        seen[0].headers["host"].to_str().unwrap(),
        eks.url.authority()
    );
    assert_eq!(signed[5], format!("iam us-east-1 POST {url}/"));
    assert_eq!(
        seen[5].body,
        "Action=ListRoles&Version=2010-05-08&MaxItems=1000"
    );
    assert_eq!(seen[5].method, Method::POST);
}

#[tokio::test]
async fn a_ca_that_does_not_match_is_said_and_nothing_is_sent() {
    let (served, other) = (Ca::new(), Ca::new());
    let api = serve(Some(&served), |_, _| ok("{}")).await;
    let description = other.description(&api.url);
    let eks = serve(None, move |_, _| ok(description.clone())).await;
    let upstreams = upstreams(&eks);
    let Err(Refusal::Unreachable(why)) = get(&upstreams, NAMESPACES).await else {
        panic!()
    };
    assert!(
        why.starts_with("the certificate of the API server of `prod` at 127.0.0.1:"),
        "{why}"
    );
    assert!(
        why.ends_with("is not trusted: its issuer is not the expected CA"),
        "{why}"
    );
    assert_eq!(
        (api.count(), api.connections()),
        (0, 1),
        "a wrong certificate is not tried again"
    );
    assert!(matches!(
        upstreams.version().await,
        Err(UpstreamError::Trust { .. })
    ));
}

#[tokio::test]
async fn an_api_server_out_of_reach_is_said() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let description = Ca::new().description(&Url::parse(&format!("https://{closed}")).unwrap());
    let eks = serve(None, move |_, _| ok(description.clone())).await;
    let upstreams = upstreams(&eks);
    let Err(Refusal::Unreachable(why)) = get(&upstreams, NAMESPACES).await else {
        panic!()
    };
    assert!(
        why.starts_with(&format!(
            "the API server of `prod` at {closed} cannot be reached: "
        )),
        "{why}"
    );
    assert_eq!(upstreams.stats().problems, [why]);
    assert_eq!(upstreams.stats().of("kubernetes").retries, 2);
}

#[tokio::test]
async fn link_local_addresses_are_never_dialled() {
    for url in [
        "http://169.254.169.254/",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
    ] {
        let upstreams = Upstreams::new(task(&Url::parse(url).unwrap())).unwrap();
        let Err(Refusal::Unreachable(why)) = get(&upstreams, ENTRIES).await else {
            panic!()
        };
        assert!(why.contains("link-local"), "{why}");
    }
}

#[tokio::test]
async fn a_proxy_gets_a_tunnel_and_no_proxy_is_kept() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = proxy.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let log = heads.clone();
    let running = tokio::spawn(async move {
        loop {
            let (mut client, _) = proxy.accept().await.unwrap();
            let log = log.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|w| w == b"\r\n\r\n")
                    && client.read_buf(&mut head).await.unwrap() > 0
                {}
                let head = String::from_utf8(head).unwrap();
                let to = head.split_whitespace().nth(1).unwrap().to_owned();
                log.lock().unwrap().push(head);
                let mut server = TcpStream::connect(to).await.unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let ca = Ca::new();
    let api = serve(Some(&ca), |_, _| ok("{}")).await;
    let description =
        ca.description(&Url::parse(&api.url.as_str().replace("127.0.0.1", "localhost")).unwrap());
    let eks = serve(None, move |_, _| ok(description.clone())).await;
    let proxies = Proxies::all(&format!("http://user:password@{address}"), "127.0.0.1");
    let upstreams = Upstreams::new(TaskUpstreams {
        proxies,
        ..task(&eks.url)
    })
    .unwrap();
    assert_eq!(get(&upstreams, NAMESPACES).await.unwrap().status(), 200);
    let heads = heads.lock().unwrap();
    assert_eq!(heads.len(), 1, "EKS at 127.0.0.1 is not for the proxy");
    assert!(
        heads[0].starts_with("CONNECT localhost:")
            && heads[0].contains("Basic dXNlcjpwYXNzd29yZA==")
    );
    assert_eq!(api.header(0, "proxy-authorization"), None);
    running.abort();
}

// Denials.

#[tokio::test]
async fn what_is_denied_opens_no_socket_and_names_the_right() {
    let eks = serve(None, |_, _| ok("{}")).await;
    let upstreams = upstreams(&eks);
    for (uri, sentence) in [
        (
            "http://eks/clusters/prod/node-groups",
            "`eks:ListNodegroups` is not among the rights of baton-eks 0.1.0",
        ),
        (
            "http://kubernetes/api/v1/secrets",
            "`list secrets` is not among the rights of baton-eks 0.1.0",
        ),
        (
            "http://eks/clusters/other",
            "the request is not for this session's cluster, `prod`",
        ),
        ("http://sts/", "`sts` is no upstream of baton-eks 0.1.0"),
        (
            "http://EKS/clusters/prod",
            "`EKS` is no upstream of baton-eks 0.1.0",
        ),
        (
            "http://user@eks:80/clusters/prod",
            "`user@eks:80` is no upstream of baton-eks 0.1.0",
        ),
        (
            "https://eks/clusters/prod",
            "a request to an upstream has the scheme `http`",
        ),
    ] {
        let Err(Refusal::Denied(why)) = get(&upstreams, uri).await else {
            panic!("{uri}")
        };
        assert_eq!(why, sentence);
    }
    assert_eq!(eks.connections(), 0);
    let stats = upstreams.stats();
    assert_eq!(stats.upstreams["eks"]["eks:ListNodegroups"].denied, 1);
    assert_eq!(
        (
            stats.of("eks").denied,
            stats.of("eks").calls,
            stats.of("unknown").denied
        ),
        (3, 0, 3)
    );
    assert_eq!((stats.problems.len(), stats.in_flight), (7, 0));
}

/// A guest can make up names for as long as it runs; each was once kept.
#[tokio::test]
async fn operations_that_a_guest_makes_up_are_not_kept_one_by_one() {
    let eks = serve(None, |_, _| ok("{}")).await;
    let upstreams = upstreams(&eks);
    for n in 0..1_000 {
        let uri = format!("http://kubernetes/api/v1/thing{n}");
        assert!(matches!(
            get(&upstreams, &uri).await,
            Err(Refusal::Denied(_))
        ));
    }
    let long = format!("http://kubernetes/api/v1/{}", "x".repeat(4_000));
    assert!(get(&upstreams, &long).await.is_err());
    assert!(
        get(&upstreams, "http://kubernetes/api/v1/secrets")
            .await
            .is_err()
    );
    let stats = upstreams.stats();
    let operations = &stats.upstreams["kubernetes"];
    assert!(
        operations.len() <= 65,
        "{} operations are kept",
        operations.len()
    );
    assert!(operations.keys().all(|name| name.len() <= 128));
    assert_eq!(stats.of("kubernetes").denied, 1_002, "all are counted");
    assert_eq!(eks.connections(), 0);
}

#[tokio::test]
async fn more_requests_than_allowed_are_refused_at_once() {
    let eks = serve(None, |_, _| ok("{}")).await;
    let mut few = task(&eks.url);
    few.limits.in_flight = 4;
    let upstreams = Upstreams::new(few).unwrap();
    let answers = join_all((0..10).map(|_| get(&upstreams, ENTRIES))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 4);
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Ok(_) | Err(Refusal::TooMany(4))))
    );
    assert_eq!(upstreams.stats().in_flight, 0);
}

// Answers.

#[tokio::test]
async fn redirects_are_refused_and_not_followed() {
    let target = serve(None, |_, _| ok("{}")).await;
    let to = target.url.to_string();
    let eks = serve(None, move |_, _| reply(307, &[("location", &to)], "")).await;
    let upstreams = upstreams(&eks);
    let Err(Refusal::Unreachable(why)) = get(&upstreams, ENTRIES).await else {
        panic!()
    };
    assert_eq!(why, "EKS answered with a redirect, which is never followed");
    assert_eq!((eks.count(), target.connections()), (1, 0));
}

#[tokio::test]
async fn gzip_is_the_hosts_alone() {
    let eks = serve(None, |_, _| {
        reply(200, &[("content-encoding", "gzip")], gzip(br#"{"a":1}"#))
    })
    .await;
    let answer = get(&upstreams(&eks), ENTRIES).await.unwrap();
    assert_eq!(
        (
            text(&answer).as_str(),
            answer.headers().contains_key("content-encoding")
        ),
        (r#"{"a":1}"#, false)
    );
}

#[tokio::test]
async fn a_gzip_bomb_ends_at_the_limit() {
    let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
    assert!(bomb.len() < 100_000);
    let eks = serve(None, move |_, _| {
        reply(200, &[("content-encoding", "gzip")], bomb.clone())
    })
    .await;
    let refusal = get(&upstreams(&eks), ENTRIES).await.unwrap_err();
    assert!(
        matches!(
            refusal,
            Refusal::TooLarge {
                what: "answer",
                limit: 33_554_432
            }
        ),
        "{refusal}"
    );
    assert_eq!(eks.count(), 1);
}

#[tokio::test]
async fn all_answers_that_a_task_holds_have_a_limit_too() {
    let body = format!("\"{}\"", "x".repeat(600));
    let eks = serve(None, move |_, _| ok(body.clone())).await;
    let mut small = task(&eks.url);
    small.limits.answers = 1000;
    let upstreams = Upstreams::new(small).unwrap();
    let first = get(&upstreams, ENTRIES).await.unwrap();
    let second = get(&upstreams, ENTRIES).await;
    assert!(
        matches!(second, Err(Refusal::TooLarge { limit: 1000, .. })),
        "{second:?}"
    );
    drop(first);
    assert!(get(&upstreams, ENTRIES).await.is_ok());
    assert_eq!(upstreams.0.shared.budget.held(), 0);
}

#[tokio::test]
async fn broken_answers_are_asked_for_again() {
    let broken: [Vec<u8>; 5] = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"a\":".to_vec(),
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"a\":".to_vec(),
        [
            &b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n"[..],
            &gzip(b"{}")[..8],
        ]
        .concat(),
        b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\nconnection: close\r\n\r\nx".to_vec(),
        b"HTTP/1.1 2".to_vec(),
    ];
    let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}".to_vec();
    let eks = serve_raw(move |n| broken.get(n).unwrap_or(&whole).clone()).await;
    let upstreams = upstreams(&eks);
    assert_eq!(text(&get(&upstreams, ENTRIES).await.unwrap()), "{}");
    assert_eq!(
        (eks.connections(), upstreams.stats().of("eks").retries),
        (6, 5)
    );
}

/// Parsed where it holds nobody up; the thread of a `LocalSet`, on which an
/// embedder may ask, cannot be given away for that.
#[test]
fn a_large_answer_is_parsed_on_any_runtime() {
    let large =
        serde_json::json!({"cluster": {"name": "prod", "more": vec!["some length"; 16_000]}});
    let large = large.to_string();
    assert!(large.len() > 2 * exchange::LARGE);
    let eks = async || {
        let answer = large.clone();
        serve(None, move |_, _| reply(200, &[], answer.clone())).await
    };
    let as_guest = async || {
        let eks = eks().await;
        let answer = get(&upstreams(&eks), ENTRIES).await.unwrap();
        assert_eq!(text(&answer), large);
    };
    let as_host = async || {
        let eks = eks().await;
        upstreams(&eks).describe_cluster().await.unwrap();
    };
    let many = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    many.block_on(as_guest());
    tokio::task::LocalSet::new().block_on(&many, as_host());
    let one = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    one.block_on(as_guest());
}

#[tokio::test]
async fn an_answer_that_stays_broken_is_none() {
    let eks =
        serve_raw(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"a\":".to_vec()).await;
    let refusal = get(&upstreams(&eks), ENTRIES).await.unwrap_err();
    assert!(
        matches!(refusal, Refusal::Unreachable(ref why) if why.contains("breaks off")),
        "{refusal}"
    );
    assert_eq!(eks.connections(), 8);
}

// Credentials in answers.

#[tokio::test]
async fn a_refused_signature_does_not_show_what_was_signed() {
    let eks = serve(None, |_, _| {
        let message = format!("The canonical request was: x-amz-security-token:{SESSION}");
        let body = serde_json::json!({"message": message}).to_string();
        reply(
            403,
            &[
                ("x-amzn-errortype", "InvalidSignatureException"),
                ("x-amzn-requestid", "id-1"),
            ],
            body,
        )
    })
    .await;
    let upstreams = upstreams(&eks);
    let answer = get(&upstreams, ENTRIES).await.unwrap();
    assert_eq!(answer.status(), 403);
    let error: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(
        (error["code"].as_str(), error["request-id"].as_str()),
        (Some("InvalidSignatureException"), Some("id-1"))
    );
    assert!(!text(&answer).contains("session+token"));
    assert!(error["message"].as_str().unwrap().contains("withheld"));
}

#[tokio::test]
async fn a_clock_that_is_off_is_said_in_words() {
    let eks = serve(None, |_, _| {
        let headers = [
            ("x-amzn-errortype", "InvalidSignatureException"),
            ("date", "Tue, 24 Nov 2020 06:44:42 GMT"),
        ];
        reply(403, &headers, r#"{"message":"Signature expired"}"#)
    })
    .await;
    let upstreams = upstreams(&eks);
    let answer = get(&upstreams, ENTRIES).await.unwrap();
    assert!(
        text(&answer).contains("this machine's clock is ")
            && text(&answer).contains(" s ahead of AWS's")
    );
    assert!(upstreams.stats().problems[0].contains("clock"));
}

#[tokio::test]
async fn an_upstream_that_echoes_a_credential_is_cut_off() {
    let plain = format!(r#"{{"echo":"{SESSION}"}}"#);
    let escaped = plain.replace('/', "\\/");
    let zipped = gzip(plain.as_bytes());
    let error = format!(r#"{{"message":"you sent {SESSION}"}}"#);
    let in_header = reply(200, &[("x-amzn-requestid", SESSION)], "{}");
    let replies = [
        ok(plain.clone()),
        ok(escaped),
        reply(200, &[("content-encoding", "gzip")], zipped),
        reply(
            404,
            &[("x-amzn-errortype", "ResourceNotFoundException")],
            error,
        ),
        in_header,
        reply(
            404,
            &[
                ("x-amzn-errortype", "ResourceNotFoundException"),
                ("x-amzn-requestid", SESSION),
            ],
            "{}",
        ),
    ];
    for answer in replies {
        let eks = serve(None, move |_, _| answer.clone()).await;
        let upstreams = upstreams(&eks);
        let Err(Refusal::Unreachable(why)) = get(&upstreams, ENTRIES).await else {
            panic!()
        };
        assert!(
            why.contains("holds a credential") && !why.contains(SESSION),
            "{why}"
        );
    }
    for body in [
        r#"{"kind":"Status","metadata":{},"items":["TOKEN"]}"#,
        r#"{"kind":"Status","TOKEN":1}"#,
    ] {
        for status in [200, 403] {
            for token in [token(0), token(0).replace('/', "\\/")] {
                let body = body.replace("TOKEN", &token);
                let (_eks, _api, upstreams) =
                    cluster(move |_, _| reply(status, &[], body.clone())).await;
                assert!(matches!(
                    get(&upstreams, NAMESPACES).await,
                    Err(Refusal::Unreachable(_))
                ));
            }
        }
    }
}

// Errors and retries.

#[tokio::test]
async fn errors_of_iam_arrive_as_json() {
    let iam = serve(None, |_, _| {
        let body = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error><RequestId>r</RequestId></ErrorResponse>";
        reply(403, &[("content-type", "text/xml")], body)
    })
    .await;
    let answer = list_roles(&upstreams(&iam)).await.unwrap();
    assert_eq!(
        text(&answer),
        r#"{"code":"AccessDenied","message":"no","request-id":"r"}"#
    );
    assert_eq!(
        (
            answer.status().as_u16(),
            answer.headers()["content-type"].to_str().unwrap()
        ),
        (403, "application/json")
    );
    assert_eq!(iam.count(), 1, "an error that stays is not asked for again");
}

#[tokio::test]
async fn throttles_are_the_hosts_to_wait_for() {
    let iam = serve(None, |n, _| match n {
        0 => reply(
            400,
            &[],
            "<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>",
        ),
        1 => reply(503, &[], "<html>"),
        _ => reply(200, &[("content-type", "text/xml")], "<ListRolesResponse/>"),
    })
    .await;
    let upstreams = upstreams(&iam);
    assert_eq!(list_roles(&upstreams).await.unwrap().status(), 200);
    let counts = upstreams.stats().upstreams["iam"]["iam:ListRoles"];
    assert_eq!(
        (counts.calls, counts.retries, counts.throttled, iam.count()),
        (1, 2, 1, 3)
    );
    assert_eq!(
        upstreams.stats().answers["iam"],
        [(200, 1), (400, 1), (503, 1)].into(),
        "each attempt's answer by its status"
    );
    assert!(upstreams.0.iam.limiter.rate().is_some());
    assert_eq!(
        upstreams.0.eks.limiter.rate(),
        upstreams.0.iam.limiter.rate(),
        "one rate for one host in this test"
    );
}

#[tokio::test]
async fn an_upstream_that_stays_down_is_asked_eight_times() {
    let eks = serve(None, |_, _| {
        reply(
            500,
            &[("x-amzn-errortype", "ServerException")],
            r#"{"message":"x"}"#,
        )
    })
    .await;
    let upstreams = upstreams(&eks);
    let answer = get(&upstreams, ENTRIES).await.unwrap();
    assert_eq!((answer.status().as_u16(), eks.count()), (500, 8));
    assert!(text(&answer).contains("ServerException"));
    assert_eq!(upstreams.stats().of("eks").errors, 1);
}

#[tokio::test]
async fn the_time_for_retries_has_a_ceiling() {
    let eks = serve(None, |_, _| {
        reply(503, &[("x-amz-retry-after", "4000")], "")
    })
    .await;
    let mut short = task(&eks.url);
    short.limits.retry.ceiling = Duration::from_secs(2);
    let start = std::time::Instant::now();
    let answer = get(&Upstreams::new(short).unwrap(), ENTRIES).await.unwrap();
    assert_eq!((answer.status().as_u16(), eks.count()), (503, 1));
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn an_upstream_that_says_nothing_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let mut short = task(&url);
    short.limits.attempt = Duration::from_millis(30);
    short.limits.retry.attempts = 2;
    let refusal = get(&Upstreams::new(short).unwrap(), ENTRIES)
        .await
        .unwrap_err();
    assert!(
        matches!(refusal, Refusal::Timeout(ref why) if why.starts_with("EKS at 127.0.0.1:")),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_token_that_is_not_taken_is_renewed_once() {
    let status = r#"{"kind":"Status","apiVersion":"v1","message":"Unauthorized","code":401}"#;
    let (_eks, api, upstreams) = cluster(move |n, _| {
        if n == 0 {
            reply(401, &[], status)
        } else {
            ok(r#"{"items":[]}"#)
        }
    })
    .await;
    assert_eq!(get(&upstreams, NAMESPACES).await.unwrap().status(), 200);
    assert_eq!(
        api.header(1, "authorization").unwrap(),
        format!("Bearer {}", token(1))
    );
    let (_eks, api, upstreams) = cluster(move |_, _| reply(401, &[], status)).await;
    assert_eq!(get(&upstreams, NAMESPACES).await.unwrap().status(), 401);
    assert_eq!(api.count(), 2);
    assert!(matches!(
        upstreams.version().await,
        Err(UpstreamError::Unauthenticated { .. })
    ));
}

#[tokio::test]
async fn a_status_of_kubernetes_is_passed_on() {
    let status = r#"{"kind":"Status","apiVersion":"v1","message":"namespaces is forbidden","reason":"Forbidden","code":403}"#;
    let (_eks, api, upstreams) =
        cluster(move |_, _| reply(403, &[("audit-id", "a-1")], status)).await;
    let answer = get(&upstreams, NAMESPACES).await.unwrap();
    assert_eq!((answer.status().as_u16(), api.count()), (403, 1));
    assert!(text(&answer).contains("namespaces is forbidden"));
    assert_eq!(answer.headers()["audit-id"], "a-1");
    let error = upstreams.version().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the API server of `prod` refuses `get /version`: namespaces is forbidden"
    );
}

#[tokio::test]
async fn config_maps_arrive_without_their_data() {
    let body = r#"{"kind":"ConfigMapList","metadata":{},"items":[{"metadata":{"name":"a"},"data":{"p":"SECRET"}}]}"#;
    let (_eks, api, upstreams) = cluster(move |_, _| ok(body)).await;
    let answer = get(&upstreams, "http://kubernetes/api/v1/configmaps?limit=500")
        .await
        .unwrap();
    assert!(
        !text(&answer).contains("SECRET") && text(&answer).contains("PartialObjectMetadataList")
    );
    assert!(
        api.header(0, "accept")
            .unwrap()
            .contains("as=PartialObjectMetadataList")
    );
}

// The host's own calls.

#[tokio::test]
async fn the_cluster_is_described_once_for_host_and_plugin() {
    let (eks, api, upstreams) =
        cluster(|_, _| ok(r#"{"major":"1","status":{"allowed":true}}"#)).await;
    let answer = get(&upstreams, "http://eks/clusters/prod").await.unwrap();
    assert!(text(&answer).contains("certificateAuthority"));
    assert!(get(&upstreams, NAMESPACES).await.is_ok());
    assert_eq!(
        get(&upstreams, "http://eks/clusters/prod")
            .await
            .unwrap()
            .status(),
        200
    );
    let info = upstreams.describe_cluster().await.unwrap();
    assert_eq!(
        (info.version.as_str(), info.authentication_mode.as_str()),
        ("1.34", "CONFIG_MAP")
    );
    assert!(upstreams.version().await.unwrap().starts_with(b"{"));
    let access = Access {
        verb: "list",
        group: "",
        resource: "configmaps",
        namespace: "",
        name: "",
    };
    assert!(upstreams.self_subject_access_review(&access).await.unwrap());
    assert_eq!((eks.count(), api.count()), (1, 3));
    assert_eq!(
        upstreams.stats().upstreams["eks"]["eks:DescribeCluster"].calls,
        1
    );
}

#[tokio::test]
async fn each_way_in_which_a_cluster_cannot_be_found_has_its_sentence() {
    let cases = [
        (
            reply(
                404,
                &[("x-amzn-errortype", "ResourceNotFoundException")],
                r#"{"message":"No cluster found"}"#,
            ),
            "there is no cluster `prod` in region eu-central-1 of this account",
        ),
        (
            ok(r#"{"cluster":{"name":"prod","status":"CREATING"}}"#),
            "the cluster `prod` is CREATING; run again",
        ),
        (
            ok(r#"{"cluster":{"name":"prod","status":"ACTIVE"}}"#),
            "the cluster `prod` has no API endpoint",
        ),
        (
            reply(
                403,
                &[("x-amzn-errortype", "AccessDeniedException")],
                r#"{"message":"not authorized"}"#,
            ),
            "EKS refuses `eks:DescribeCluster`: not authorized",
        ),
        (
            reply(
                403,
                &[("x-amzn-errortype", "UnrecognizedClientException")],
                r#"{"message":"bad token"}"#,
            ),
            "EKS does not know this identity: UnrecognizedClientException",
        ),
        (
            ok(r#"{"cluster":{}}"#),
            "EKS answered with a description of the cluster that cannot be read",
        ),
    ];
    for (answer, sentence) in cases {
        let eks = serve(None, move |_, _| answer.clone()).await;
        let upstreams = upstreams(&eks);
        let error = upstreams.version().await.unwrap_err().to_string();
        assert!(error.starts_with(sentence), "{error}");
        let Err(Refusal::Unreachable(why)) = get(&upstreams, NAMESPACES).await else {
            panic!()
        };
        assert_eq!(why, error);
        assert_eq!(eks.count(), 1);
    }
}

// Changes.

use super::operation::write::{Place, Write};

fn delete_binding() -> Write {
    Write::DeleteBinding {
        place: Place {
            namespace: Some("dev".to_owned()),
            name: "a:b c".to_owned(),
        },
        uid: "u".to_owned(),
        version: "7".to_owned(),
    }
}

fn delete_entry() -> Write {
    Write::DeleteEntry {
        principal: "arn:aws:iam::111122223333:role/x/dev".to_owned(),
    }
}

#[tokio::test]
async fn a_change_goes_out_signed_and_as_it_was_built() {
    let (eks, api, upstreams) = cluster(|_, _| ok("{}")).await;
    let Ok(Outcome::Answered(reply)) = upstreams.change(&delete_binding(), "", true).await else {
        panic!()
    };
    assert!(reply.is_success());
    {
        let seen = api.seen.lock().unwrap();
        assert_eq!(seen[0].method, Method::DELETE);
        assert_eq!(
            seen[0].target,
            "/apis/rbac.authorization.k8s.io/v1/namespaces/dev/rolebindings/a%3Ab%20c?dryRun=All"
        );
        assert_eq!(seen[0].headers["content-type"], "application/json");
        assert!(seen[0].body.contains(r#""uid":"u""#));
    }
    let patch = Write::PatchBinding {
        place: Place {
            namespace: None,
            name: "x".to_owned(),
        },
        patch: Vec::new(),
    };
    upstreams.change(&patch, "", false).await.unwrap();
    assert_eq!(
        api.header(1, "content-type").unwrap(),
        "application/json-patch+json"
    );
    upstreams.change(&delete_entry(), "t", false).await.unwrap();
    let seen = eks.seen.lock().unwrap();
    let last = seen.last().unwrap();
    assert_eq!(
        (last.method.as_str(), last.target.as_str()),
        (
            "DELETE",
            "/clusters/prod/access-entries/arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fx%2Fdev"
        )
    );
    assert_eq!(last.headers["authorization"], "AWS4-HMAC-SHA256 test");
    assert!(!last.headers.contains_key("content-type") && last.body.is_empty());
}

#[tokio::test]
async fn a_change_that_may_have_arrived_is_not_sent_again() {
    for status in [500, 502, 503, 504] {
        let (_eks, api, upstreams) = cluster(move |_, _| reply(status, &[], "")).await;
        let outcome = upstreams.change(&delete_binding(), "", false).await;
        assert!(matches!(outcome, Ok(Outcome::Unknown(_))), "{outcome:?}");
        assert_eq!(api.count(), 1, "{status}");
    }
    // Half an answer, and none.
    for answer in ["HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", ""] {
        let eks = serve_raw(move |_| answer.as_bytes().to_vec()).await;
        let outcome = upstreams(&eks).change(&delete_entry(), "", false).await;
        assert!(matches!(outcome, Ok(Outcome::Unknown(_))), "{outcome:?}");
        assert_eq!(eks.connections(), 1);
    }
    // A whole status and a body that is none.
    let eks = serve(None, |_, _| ok("<html>")).await;
    let outcome = upstreams(&eks).change(&delete_entry(), "", false).await;
    assert!(matches!(outcome, Ok(Outcome::Unknown(_))), "{outcome:?}");
    assert_eq!(eks.count(), 1);
    // An answer that does not come.
    let eks = serve(None, |_, _| {
        std::thread::sleep(Duration::from_millis(300));
        ok("{}")
    })
    .await;
    let mut slow = task(&eks.url);
    slow.limits.attempt = Duration::from_millis(50);
    let outcome = Upstreams::new(slow)
        .unwrap()
        .change(&delete_entry(), "", false)
        .await;
    assert!(matches!(outcome, Ok(Outcome::Unknown(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_change_that_cannot_have_arrived_is_sent_again() {
    let (_eks, api, upstreams) = cluster(|n, _| match n {
        0 => reply(401, &[], "{}"),
        1 => reply(429, &[], "{}"),
        _ => ok("{}"),
    })
    .await;
    let outcome = upstreams.change(&delete_binding(), "", false).await;
    assert!(matches!(outcome, Ok(Outcome::Answered(reply)) if reply.status == 200));
    assert_eq!(api.count(), 3);
    // Nobody listens.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", gone.local_addr().unwrap())).unwrap();
    drop(gone);
    let outcome = Upstreams::new(task(&url))
        .unwrap()
        .change(&delete_entry(), "", false)
        .await;
    assert!(
        matches!(outcome, Err(UpstreamError::Unreachable { .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_refusal_is_an_answer() {
    let (_eks, _api, upstreams) = cluster(|_, _| {
        let body = r#"{"kind":"Status","status":"Failure","reason":"Forbidden","message":"no","code":403}"#;
        reply(403, &[], body)
    })
    .await;
    let Ok(Outcome::Answered(reply)) = upstreams.change(&delete_binding(), "", false).await else {
        panic!()
    };
    assert_eq!(
        (reply.status, reply.code(), reply.message()),
        (403, "Forbidden", "no")
    );
}

#[tokio::test]
async fn what_is_read_to_be_written_back_is_whole() {
    let object = r#"{"metadata":{"managedFields":[{}],"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}}}"#;
    let (_eks, _api, upstreams) = cluster(move |_, _| ok(object)).await;
    let reply = upstreams.read(&Read::AwsAuth).await.unwrap();
    assert_eq!(
        reply.body.to_string(),
        serde_json::from_str::<serde_json::Value>(object)
            .unwrap()
            .to_string()
    );
    let seen = get(
        &upstreams,
        "http://kubernetes/api/v1/namespaces/kube-system/configmaps/aws-auth",
    )
    .await;
    assert!(!text(&seen.unwrap()).contains("last-applied"));
}

#[tokio::test]
async fn what_was_described_can_be_forgotten_and_the_connection_stays() {
    let (eks, api, upstreams) = cluster(|_, _| ok(r#"{"items":[]}"#)).await;
    for _ in 0..3 {
        upstreams.describe_cluster().await.unwrap();
        get(&upstreams, NAMESPACES).await.unwrap();
        upstreams.forget();
    }
    assert_eq!((eks.count(), api.count(), api.connections()), (3, 3, 1));
}

#[test]
fn every_change_takes_a_right_of_the_ceiling() {
    let binding = |namespace: Option<&str>| Place {
        namespace: namespace.map(str::to_owned),
        name: "x".to_owned(),
    };
    let principal = || "arn".to_owned();
    let object = || serde_json::json!({});
    let mut all = vec![
        Write::CreateEntry(super::operation::write::NewEntry {
            principal: principal(),
            groups: Vec::new(),
            username: None,
            tags: serde_json::Map::new(),
        }),
        Write::UpdateEntry {
            principal: principal(),
            groups: Vec::new(),
        },
        Write::DeleteEntry {
            principal: principal(),
        },
        Write::Associate {
            principal: principal(),
            policy: principal(),
            scope: super::operation::write::Scope::Cluster,
        },
        Write::Disassociate {
            principal: principal(),
            policy: principal(),
        },
        Write::ReplaceAwsAuth { object: object() },
        Write::CreateAwsAuth { object: object() },
    ];
    for place in [binding(None), binding(Some("dev"))] {
        all.push(Write::CreateBinding {
            place: place.clone(),
            object: object(),
        });
        all.push(Write::DeleteBinding {
            place: place.clone(),
            uid: String::new(),
            version: String::new(),
        });
        all.push(Write::PatchBinding {
            place,
            patch: Vec::new(),
        });
    }
    for write in all {
        let right = write.right().unwrap();
        assert!(
            right.writes() && right.kind == write.kind(),
            "{}",
            right.words
        );
    }
}
