//! Connections: resolve, check the address, dial exactly that one, TLS with
//! the upstream's own trust.
//!
//! The check is here and not in a resolver, which an IP literal would skip. An
//! upstream that resolves to the instance metadata service or another
//! link-local address is refused; behind a proxy that check is the proxy's.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service;

/// Whose certificates are believed.
#[derive(Debug, Clone)]
pub enum Trust {
    /// The roots of the system.
    System,
    /// The roots of the system and these, in PEM (`AWS_CA_BUNDLE`).
    SystemAnd(Vec<u8>),
    /// Only these, in PEM: a cluster's own CA.
    Only(Vec<u8>),
}

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DialError {
    /// The address may not be dialled.
    #[error("it resolves to {0}, a link-local address, which no upstream has")]
    Forbidden(IpAddr),
    /// The certificate is not believed.
    #[error("{0}")]
    Trust(String),
    /// It took too long.
    #[error("no connection within {} s", .0.as_secs())]
    Timeout(Duration),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// A TLS configuration for a trust.
///
/// # Errors
/// One sentence, when there is nothing to trust.
pub fn tls(trust: &Trust) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let given = match trust {
        Trust::System => None,
        Trust::SystemAnd(pem) | Trust::Only(pem) => Some(pem),
    };
    if !matches!(trust, Trust::Only(_)) {
        roots.roots.extend(system().roots.iter().cloned());
    }
    for certificate in given
        .into_iter()
        .flat_map(|pem| CertificateDer::pem_slice_iter(pem))
    {
        let certificate =
            certificate.map_err(|error| format!("its CA is no certificate in PEM: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("its CA is no usable certificate: {error}"))?;
    }
    if roots.is_empty() {
        return Err("there is no CA to trust".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The system's roots, read once per process. Those that cannot be read are
/// left out, as every TLS client does.
fn system() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
}

/// Whether no upstream may have this address: link-local, which includes every
/// instance metadata and credential service of AWS.
pub fn forbidden(address: IpAddr) -> bool {
    const METADATA: [Ipv6Addr; 2] = [
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    ];
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_link_local() || v4.is_unspecified() || v4.is_broadcast() || v4.is_multicast()
        }
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6.is_unspecified()
                || v6.is_multicast()
                || METADATA.contains(&v6)
        }
    }
}

/// Makes the connections of one upstream.
#[derive(Clone)]
pub struct Connector {
    tls: Arc<ClientConfig>,
    proxy: Arc<Matcher>,
    timeout: Duration,
}

impl Connector {
    /// For a TLS configuration and the proxies of the environment.
    pub fn new(tls: ClientConfig, proxy: Arc<Matcher>, timeout: Duration) -> Self {
        Self {
            tls: Arc::new(tls),
            proxy,
            timeout,
        }
    }

    async fn connect(self, to: Uri) -> Result<Conn, DialError> {
        let secure = to.scheme() == Some(&http::uri::Scheme::HTTPS);
        let via = self.proxy.intercept(&to);
        let host = to
            .host()
            .ok_or_else(|| DialError::Failed("the endpoint has no host".to_owned()))?;
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let port = to.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let proxied = via.is_some();
        let stream = match via {
            None => tcp(&host, port, true).await?,
            Some(via) if via.uri().scheme_str() != Some("http") => {
                let scheme = via.uri().scheme_str().unwrap_or("none").to_owned();
                return Err(DialError::Failed(format!(
                    "proxies of scheme `{scheme}` are not supported, only `http`"
                )));
            }
            Some(via) if secure => {
                let mut tunnel = Tunnel::new(via.uri().clone(), ToProxy);
                if let Some(auth) = via.basic_auth() {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                let stream = tunnel.call(to.clone()).await;
                stream
                    .map_err(|error| DialError::Failed(format!("the proxy: {}", causes(&error))))?
                    .into_inner()
            }
            Some(via) => to_proxy(via.uri()).await?,
        };
        if !secure {
            return Ok(Conn {
                io: TokioIo::new(Box::new(stream)),
                h2: false,
                proxied,
            });
        }
        let name =
            ServerName::try_from(host).map_err(|error| DialError::Failed(error.to_string()))?;
        let stream = TlsConnector::from(self.tls)
            .connect(name, stream)
            .await
            .map_err(|error| trust(&error))?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Conn {
            io: TokioIo::new(Box::new(stream)),
            h2,
            proxied: false,
        })
    }
}

impl Service<Uri> for Connector {
    type Response = Conn;
    type Error = DialError;
    type Future = BoxFuture<'static, Result<Conn, DialError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let this = self.clone();
        let limit = self.timeout;
        Box::pin(async move {
            let connected = tokio::time::timeout(limit, this.connect(to)).await;
            connected.unwrap_or(Err(DialError::Timeout(limit)))
        })
    }
}

/// The connection to the proxy itself, for [`Tunnel`].
#[derive(Clone)]
struct ToProxy;

impl Service<Uri> for ToProxy {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = BoxFuture<'static, Result<Self::Response, DialError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, proxy: Uri) -> Self::Future {
        Box::pin(async move { to_proxy(&proxy).await.map(TokioIo::new) })
    }
}

async fn to_proxy(proxy: &Uri) -> Result<TcpStream, DialError> {
    let host = proxy
        .host()
        .unwrap_or_default()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let stream = tcp(host, proxy.port_u16().unwrap_or(80), false).await;
    stream.map_err(|error| {
        DialError::Failed(format!(
            "the proxy {}: {error}",
            proxy.authority().map_or("", |a| a.as_str())
        ))
    })
}

/// Dials the first address that may be dialled and answers.
async fn tcp(host: &str, port: u16, checked: bool) -> Result<TcpStream, DialError> {
    let found = tokio::net::lookup_host((host, port)).await;
    let found = found
        .map_err(|error| DialError::Failed(format!("`{host}` cannot be resolved: {error}")))?;
    let mut last = DialError::Failed(format!("`{host}` has no address"));
    for address in found {
        if checked && forbidden(address.ip()) {
            last = DialError::Forbidden(address.ip());
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Small requests: waiting to fill a packet only costs time.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = DialError::Failed(error.to_string()),
        }
    }
    Err(last)
}

/// A failed handshake: was it the certificate?
fn trust(error: &io::Error) -> DialError {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        // All clusters' CAs have one name, so another one's is a bad signature.
        Some(rustls::Error::InvalidCertificate(
            rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature,
        )) => DialError::Trust("its issuer is not the expected CA".to_owned()),
        Some(rustls::Error::InvalidCertificate(reason)) => DialError::Trust(reason.to_string()),
        _ => DialError::Failed(format!("TLS: {error}")),
    }
}

/// An error and what caused it, in one line.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut all = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !all.contains(&text) {
            all = format!("{all}: {text}");
        }
        next = cause.source();
    }
    all
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection to an upstream.
pub struct Conn {
    io: TokioIo<Box<dyn Io>>,
    h2: bool,
    proxied: bool,
}

impl Connection for Conn {
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.proxied);
        if self.h2 {
            connected.negotiated_h2()
        } else {
            connected
        }
    }
}

impl hyper::rt::Read for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Conn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Spawns the client's connection tasks on the I/O runtime, wherever a request
/// is made from.
#[derive(Clone)]
pub struct OnRuntime(pub tokio::runtime::Handle);

impl<F> hyper::rt::Executor<F> for OnRuntime
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn link_local_and_metadata_addresses_are_refused() {
        for (address, no) in [
            ("169.254.169.254", true),
            ("169.254.170.23", true),
            ("169.254.0.1", true),
            ("::ffff:169.254.169.254", true),
            ("fe80::1", true),
            ("fd00:ec2::254", true),
            ("fd00:ec2::23", true),
            ("0.0.0.0", true),
            ("224.0.0.1", true),
            ("10.0.0.1", false),
            ("127.0.0.1", false),
            ("52.1.2.3", false),
            ("fd00::1", false),
        ] {
            assert_eq!(forbidden(address.parse().unwrap()), no, "{address}");
        }
    }

    #[test]
    fn a_ca_that_is_none_is_said_so() {
        for pem in [
            "",
            "no pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert!(tls(&Trust::Only(pem.into())).is_err(), "{pem}");
        }
    }
}
