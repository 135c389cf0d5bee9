//! A client for the tests: signs by hand, speaks HTTP/1.1 or HTTP/2, forgives nothing.

use std::io::Read as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::Sim;
use crate::shared::machine_time;
use crate::sigv4::{Claim, canonical_request};
use crate::text::{amz_date, sha256, uri_encode};

/// Credentials as a client holds them.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub id: String,
    pub secret: String,
    pub token: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("no JSON ({e}): {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    }

    /// The content of the first XML element of this name.
    pub(crate) fn xml(&self, element: &str) -> String {
        let text = self.text();
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        let start = text
            .find(&open)
            .unwrap_or_else(|| panic!("no <{element}> in {text}"))
            + open.len();
        let end = start + text[start..].find(&close).unwrap();
        text[start..end].to_owned()
    }

    pub(crate) fn inflated(&self) -> Value {
        let mut text = String::new();
        flate2::read::GzDecoder::new(&self.body[..])
            .read_to_string(&mut text)
            .unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

/// One request over a new connection.
pub(crate) async fn send(
    address: &str,
    tls: Option<(&str, &[u8])>,
    method: &str,
    target: &str,
    headers: &[(String, String)],
    body: &str,
) -> Result<Answer, String> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|e| e.to_string())?;
    let mut request = http::Request::builder().method(method).uri(target);
    if !headers.iter().any(|(k, _)| k == "host") {
        request = request.header("host", address);
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    match tls {
        None => exchange(TokioIo::new(stream), request).await,
        Some((ca, alpn)) => {
            let mut roots = rustls::RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
                .unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let mut config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            config.alpn_protocols = vec![alpn.to_vec()];
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            let name = ServerName::try_from("127.0.0.1").unwrap();
            let stream = connector
                .connect(name, stream)
                .await
                .map_err(|e| e.to_string())?;
            if alpn == b"h2" {
                let (mut sender, connection) = hyper::client::conn::http2::handshake(
                    TokioExecutor::new(),
                    TokioIo::new(stream),
                )
                .await
                .map_err(|e| e.to_string())?;
                tokio::spawn(connection);
                let mut request = request;
                *request.uri_mut() = format!("https://{address}{target}").parse().unwrap();
                request.headers_mut().remove("host");
                return collect(sender.send_request(request).await).await;
            }
            exchange(TokioIo::new(stream), request).await
        }
    }
}

async fn exchange<S>(io: S, request: http::Request<Full<Bytes>>) -> Result<Answer, String>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
        .await
        .map_err(|e| e.to_string())?;
    tokio::spawn(connection);
    collect(sender.send_request(request).await).await
}

async fn collect(
    response: hyper::Result<http::Response<hyper::body::Incoming>>,
) -> Result<Answer, String> {
    let (parts, body) = response
        .map_err(|e| format!("{e}: {:?}", std::error::Error::source(&e)))?
        .into_parts();
    let body = body
        .collect()
        .await
        .map_err(|e| format!("body: {e}"))?
        .to_bytes();
    Ok(Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body,
    })
}

/// A signed call, with every knob that a test turns.
#[derive(Debug, Clone)]
pub(crate) struct Call<'a> {
    pub service: &'a str,
    pub region: &'a str,
    pub method: &'a str,
    pub target: String,
    pub body: String,
    pub keys: Keys,
    /// Milliseconds since the epoch.
    pub time: i64,
    /// Changes the body after it was signed.
    pub tampered: bool,
    pub extra: Vec<(String, String)>,
}

impl Call<'_> {
    pub(crate) async fn send(&self, sim: &Sim) -> Answer {
        self.try_send(sim).await.unwrap()
    }

    pub(crate) async fn try_send(&self, sim: &Sim) -> Result<Answer, String> {
        let address = sim.aws_url().trim_start_matches("http://").to_owned();
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let date = amz_date(self.time);
        let mut headers = vec![
            ("host".to_owned(), address.clone()),
            ("x-amz-date".to_owned(), date.clone()),
        ];
        if let Some(token) = &self.keys.token {
            headers.push(("x-amz-security-token".to_owned(), token.clone()));
        }
        let names: Vec<String> = headers.iter().map(|(n, _)| n.clone()).collect();
        let header = |name: &str| headers.iter().find(|(n, _)| n == name).unwrap().1.clone();
        let canonical = canonical_request(
            self.method,
            path,
            query,
            &names,
            header,
            &sha256(self.body.as_bytes()),
        );
        let day = &date[..8];
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let claim = Claim {
            access_key: self.keys.id.clone(),
            date: day.to_owned(),
            region: self.region.to_owned(),
            service: self.service.to_owned(),
            signed_headers: names.clone(),
            signature: String::new(),
            signed_at: self.time,
            amz_date: date,
            token: None,
            expires: None,
        };
        let signature = claim.expected(&self.keys.secret, &canonical);
        headers.push((
            "authorization".into(),
            format!(
                "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
                self.keys.id,
                names.join(";")
            ),
        ));
        headers.extend(self.extra.clone());
        let body = if self.tampered {
            format!("{}&x=1", self.body)
        } else {
            self.body.clone()
        };
        send(&address, None, self.method, &self.target, &headers, &body).await
    }
}

pub(crate) fn static_keys(sim: &Sim) -> Keys {
    Keys {
        id: sim.access_key().into(),
        secret: sim.secret_key().into(),
        token: None,
    }
}

/// A Query call by POST.
pub(crate) fn query<'a>(service: &'a str, keys: &Keys, parameters: &[(&str, &str)]) -> Call<'a> {
    let version = if service == "iam" {
        "2010-05-08"
    } else {
        "2011-06-15"
    };
    let mut pairs: Vec<String> = parameters
        .iter()
        .map(|(k, v)| format!("{k}={}", uri_encode(v, false)))
        .collect();
    pairs.push(format!("Version={version}"));
    Call {
        service,
        region: if service == "iam" {
            "us-east-1"
        } else {
            "eu-west-1"
        },
        method: "POST",
        target: "/".into(),
        body: pairs.join("&"),
        keys: keys.clone(),
        time: machine_time(),
        tampered: false,
        extra: vec![(
            "content-type".into(),
            "application/x-www-form-urlencoded; charset=utf-8".into(),
        )],
    }
}

/// An EKS call.
pub(crate) fn eks<'a>(keys: &Keys, method: &'a str, target: &str, body: &str) -> Call<'a> {
    Call {
        service: "eks",
        region: "eu-west-1",
        method,
        target: target.to_owned(),
        body: body.to_owned(),
        keys: keys.clone(),
        time: machine_time(),
        tampered: false,
        extra: Vec::new(),
    }
}

/// Path of an access entry.
pub(crate) fn entry(cluster: &str, arn: &str, tail: &str) -> String {
    format!(
        "/clusters/{cluster}/access-entries/{}{tail}",
        uri_encode(arn, false)
    )
}

/// Assumes a role; panics where it is refused.
pub(crate) async fn assume(sim: &Sim, keys: &Keys, role: &str, more: &[(&str, &str)]) -> Keys {
    let answer = try_assume(sim, keys, role, more).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    keys_of(&answer)
}

pub(crate) fn keys_of(answer: &Answer) -> Keys {
    Keys {
        id: answer.xml("AccessKeyId"),
        secret: answer.xml("SecretAccessKey"),
        token: Some(answer.xml("SessionToken")),
    }
}

pub(crate) async fn try_assume(
    sim: &Sim,
    keys: &Keys,
    role: &str,
    more: &[(&str, &str)],
) -> Answer {
    let mut parameters = vec![
        ("Action", "AssumeRole"),
        ("RoleArn", role),
        ("RoleSessionName", "test-session"),
    ];
    parameters.extend_from_slice(more);
    query("sts", keys, &parameters).send(sim).await
}

/// An EKS bearer token, with the knobs that token tests turn.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub keys: Keys,
    pub cluster: String,
    pub host: String,
    pub time: i64,
    pub extra_query: String,
    pub signed_headers: Vec<String>,
    pub expires: i64,
}

impl Token {
    pub(crate) fn new(keys: &Keys, cluster: &str) -> Token {
        Token {
            keys: keys.clone(),
            cluster: cluster.into(),
            host: "sts.eu-west-1.amazonaws.com".into(),
            time: machine_time(),
            extra_query: String::new(),
            signed_headers: vec!["host".into(), "x-k8s-aws-id".into()],
            expires: 60,
        }
    }

    pub(crate) fn text(&self) -> String {
        let date = amz_date(self.time);
        let credential = format!("{}/{}/eu-west-1/sts/aws4_request", self.keys.id, &date[..8]);
        let mut query = format!(
            "Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={date}&X-Amz-Expires={}&X-Amz-SignedHeaders={}",
            uri_encode(&credential, false),
            self.expires,
            uri_encode(&self.signed_headers.join(";"), false)
        );
        if let Some(token) = &self.keys.token {
            query.push_str(&format!(
                "&X-Amz-Security-Token={}",
                uri_encode(token, false)
            ));
        }
        query.push_str(&self.extra_query);
        let unsigned = format!("{query}&X-Amz-Signature=0");
        let claim = Claim::from_query(&crate::text::pairs(&unsigned)).unwrap();
        let header = |name: &str| {
            if name == "host" {
                self.host.clone()
            } else {
                self.cluster.clone()
            }
        };
        let canonical = canonical_request(
            "GET",
            "/",
            &query,
            &claim.signed_headers,
            header,
            &sha256(b""),
        );
        let signature = claim.expected(&self.keys.secret, &canonical);
        let url = format!("https://{}/?{query}&X-Amz-Signature={signature}", self.host);
        format!("k8s-aws-v1.{}", URL_SAFE_NO_PAD.encode(url))
    }
}

/// A call to a cluster's API.
pub(crate) struct Kube<'a> {
    pub sim: &'a Sim,
    pub cluster: &'a str,
    pub bearer: String,
}

impl<'a> Kube<'a> {
    pub(crate) fn new(sim: &'a Sim, cluster: &'a str, keys: &Keys) -> Kube<'a> {
        Kube {
            sim,
            cluster,
            bearer: Token::new(keys, cluster).text(),
        }
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.call("GET", target, &[], "").await
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.over(b"http/1.1", method, target, headers, body)
            .await
            .unwrap()
    }

    pub(crate) async fn over(
        &self,
        alpn: &[u8],
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, String> {
        let cluster = self.sim.cluster(self.cluster).unwrap();
        let mut all = vec![(
            "authorization".to_owned(),
            format!("Bearer {}", self.bearer),
        )];
        all.extend(
            headers
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
        );
        let address = cluster.endpoint.trim_start_matches("https://");
        send(
            address,
            Some((&cluster.ca_pem, alpn)),
            method,
            target,
            &all,
            body,
        )
        .await
    }
}
