//! The other side of the probes: asks a running `serve` for one of its
//! answers, for containers whose image has no shell and no `curl`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;

use super::health::Endpoint;

/// Bytes of an answer that are read.
const BODY: usize = 64 << 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Nothing listens there, or the network fails.
    #[error("nothing answers at {address}: {source}")]
    Unreachable {
        /// Where was asked.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// What answers is no HTTP server, or breaks off.
    #[error("{address} does not answer as `baton-host serve` does: {reason}")]
    Strange {
        /// Where was asked.
        address: SocketAddr,
        /// What was wrong.
        reason: String,
    },
    /// No answer in time.
    #[error("{address} did not answer within {} s", .timeout.as_secs())]
    Late {
        /// Where was asked.
        address: SocketAddr,
        /// How long.
        timeout: Duration,
    },
}

/// What a running `serve` said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Whether all is well: status 200.
    pub good: bool,
    /// The body, JSON.
    pub body: String,
}

/// Asks for an answer. Who listens everywhere is asked on loopback.
///
/// # Errors
/// See [`ProbeError`].
pub async fn ask(
    address: SocketAddr,
    endpoint: Endpoint,
    timeout: Duration,
) -> Result<Said, ProbeError> {
    let address = reachable(address);
    tokio::time::timeout(timeout, exchange(address, endpoint))
        .await
        .unwrap_or(Err(ProbeError::Late { address, timeout }))
}

fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

async fn exchange(address: SocketAddr, endpoint: Endpoint) -> Result<Said, ProbeError> {
    let strange = |reason: String| ProbeError::Strange { address, reason };
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .map_err(|source| ProbeError::Unreachable { address, source })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| strange(error.to_string()))?;
    let connection = tokio::spawn(connection);
    let request = http::Request::get(endpoint.path())
        .header(http::header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(|error| strange(error.to_string()))?;
    let answer = async {
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| strange(error.to_string()))?;
        let good = answer.status() == http::StatusCode::OK;
        let body = Limited::new(answer.into_body(), BODY)
            .collect()
            .await
            .map_err(|error| strange(error.to_string()))?
            .to_bytes();
        Ok(Said {
            good,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }
    .await;
    connection.abort();
    answer
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_on_loopback() {
        let at = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:8081"), "127.0.0.1:8081");
        assert_eq!(at("[::]:8081"), "[::1]:8081");
        assert_eq!(at("10.0.0.7:80"), "10.0.0.7:80");
    }

    #[tokio::test]
    async fn nobody_who_does_not_answer_keeps_a_probe() {
        // The system takes the connection; nobody ever accepts it.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let error = ask(address, Endpoint::Live, Duration::from_millis(50)).await;
        assert!(matches!(error, Err(ProbeError::Late { .. })), "{error:?}");
        drop(silent);
        let error = ask(address, Endpoint::Live, Duration::from_secs(5)).await;
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with("nothing answers at 127.0.0.1:"),
            "{error}"
        );
    }
}
