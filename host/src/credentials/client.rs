//! The HTTP clients of the credentials, which no guest request reaches.
//!
//! Two, because they must not be mixed up: calls to STS and to an identity
//! centre go through a proxy where one is configured and trust the system's
//! roots; calls to the pod identity agent, the container endpoint and the
//! instance metadata service are link-local and never leave the machine
//! through a proxy. Both are the connector that `aws-config` brings, with ring.

use std::time::Duration;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Connector, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::{
    HttpConnector as _, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    http_client_fn,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use zeroize::Zeroizing;

/// The longest answer that is read, in bytes; STS and the agents answer with a
/// few kilobytes.
const LONGEST_ANSWER: usize = 256 * 1024;

/// How long one call may take, connecting and reading the body included.
const CALL: Duration = Duration::from_secs(10);

/// The clients; cheap to clone, made once per process.
#[derive(Debug, Clone)]
pub struct HttpClients {
    outward: SharedHttpConnector,
    local: SharedHttpConnector,
}

/// An answer, read to its end.
pub(super) struct Answer {
    pub status: u16,
    pub date: Option<String>,
    /// May hold credentials.
    pub body: Zeroizing<Vec<u8>>,
}

impl HttpClients {
    /// Makes the clients; `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and
    /// `NO_PROXY` of the process are read now.
    pub fn new() -> HttpClients {
        let outward = connector(Duration::from_secs(5), Duration::from_secs(10))
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build();
        let local = connector(Duration::from_secs(1), Duration::from_secs(5))
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build();
        HttpClients {
            outward: SharedHttpConnector::new(outward),
            local: SharedHttpConnector::new(local),
        }
    }

    /// Sends a request towards AWS.
    pub(super) async fn send(&self, request: http::Request<Bytes>) -> Result<Answer, String> {
        send(&self.outward, request).await
    }

    /// Sends a request to an agent on this machine or its link.
    pub(super) async fn send_local(&self, request: http::Request<Bytes>) -> Result<Answer, String> {
        send(&self.local, request).await
    }

    pub(super) fn outward_client(&self) -> SharedHttpClient {
        let connector = self.outward.clone();
        http_client_fn(move |_, _| connector.clone())
    }

    pub(super) fn local_client(&self) -> SharedHttpClient {
        let connector = self.local.clone();
        http_client_fn(move |_, _| connector.clone())
    }
}

impl Default for HttpClients {
    fn default() -> HttpClients {
        HttpClients::new()
    }
}

fn connector(connect: Duration, read: Duration) -> ConnectorBuilder {
    let settings = HttpConnectorSettings::builder()
        .connect_timeout(connect)
        .read_timeout(read)
        .build();
    Connector::builder().connector_settings(settings)
}

async fn send(
    connector: &SharedHttpConnector,
    request: http::Request<Bytes>,
) -> Result<Answer, String> {
    let request = request.map(SdkBody::from);
    let request = request.try_into().map_err(chain)?;
    let call = async {
        let response = connector
            .call(request)
            .await
            .map_err(|error| cause(&error))?;
        let status = response.status().as_u16();
        let date = response.headers().get("date").map(str::to_owned);
        let body = Limited::new(response.into_body(), LONGEST_ANSWER);
        let body = body.collect().await.map_err(|error| error.to_string())?;
        Ok(Answer {
            status,
            date,
            body: Zeroizing::new(body.to_bytes().to_vec()),
        })
    };
    tokio::time::timeout(CALL, call)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} seconds", CALL.as_secs())))
}

/// The last cause, which is the one that a person knows ("Connection refused").
fn cause(mut error: &dyn std::error::Error) -> String {
    while let Some(next) = error.source() {
        error = next;
    }
    error.to_string()
}

/// An error with its causes; a cause that only repeats is left out.
pub(super) fn chain(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        source = cause.source();
    }
    text
}
