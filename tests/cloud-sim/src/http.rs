//! Requests, answers, listeners.
//!
//! One small request and one small reply type for all services, so that a
//! service is a function from one to the other. The listener side is hyper with
//! HTTP/1.1 and HTTP/2; the body type can break off or hang, because faults on
//! the wire are half of what this crate is for.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::shared::{Front, Shared};

/// A request, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub method: String,
    /// As sent, still encoded.
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    /// `Host`, or the authority of HTTP/2.
    pub host: String,
    pub body: Bytes,
    /// The local address of the connection's listener, for URLs that point back.
    pub version: http::Version,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub ending: Ending,
}

/// How a body ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    /// After its last byte.
    #[default]
    Complete,
    /// Half way, with the connection.
    Truncated,
    /// Half way, and the connection stays open.
    Stalled,
    /// There is no answer: the connection is reset.
    Reset,
    /// There is no answer, and the connection stays open.
    Silent,
}

impl Reply {
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Reply {
        Reply {
            status,
            headers: vec![("content-type".into(), content_type.into())],
            body: body.into(),
            ending: Ending::Complete,
        }
    }

    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Reply {
        Reply::new(status, "application/json", body.to_string())
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// A body that can break.
#[derive(Debug)]
pub(crate) struct WireBody {
    chunks: VecDeque<Bytes>,
    length: u64,
    ending: Ending,
    flushed: bool,
}

impl WireBody {
    fn new(body: Bytes, ending: Ending) -> WireBody {
        let length = body.len() as u64;
        let mut rest = if ending == Ending::Complete {
            body
        } else {
            body.slice(..body.len() / 2)
        };
        let mut chunks = VecDeque::new();
        while rest.len() > 64 * 1024 {
            chunks.push_back(rest.split_to(64 * 1024));
        }
        if !rest.is_empty() {
            chunks.push_back(rest);
        }
        WireBody {
            chunks,
            length,
            ending,
            flushed: false,
        }
    }
}

impl hyper::body::Body for WireBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match (self.chunks.pop_front(), self.ending) {
            (Some(chunk), _) => Poll::Ready(Some(Ok(Frame::data(chunk)))),
            (None, Ending::Complete) => Poll::Ready(None),
            // Nobody wakes this task: the body hangs until the client gives up.
            (None, Ending::Stalled) => Poll::Pending,
            // One pause, in which hyper sends what it has; else nothing at all would arrive.
            (None, _) if !self.flushed => {
                self.flushed = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            (None, _) => Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::ConnectionReset)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty() && self.ending == Ending::Complete
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

/// Accepts connections until it is dropped, and drops them with itself.
pub(crate) async fn listen(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    front: Front,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else { continue };
        let _ = stream.set_nodelay(true);
        shared.connections(&front);
        let (tls, shared, front) = (tls.clone(), shared.clone(), front.clone());
        connections.spawn(async move {
            let reset = Arc::new(AtomicBool::new(false));
            let stream = Tapped {
                inner: stream,
                reset: reset.clone(),
            };
            match tls {
                None => serve(stream, shared, front, reset).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, shared, front, reset).await;
                    }
                }
            }
        });
    }
}

async fn serve<S>(stream: S, shared: Arc<Shared>, front: Front, reset: Arc<AtomicBool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (shared, front, reset) = (shared.clone(), front.clone(), reset.clone());
        async move { answer(request, &shared, &front, &reset).await }
    });
    // An error here is a client that left or a fault of ours; both are meant.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: http::Request<Incoming>,
    shared: &Arc<Shared>,
    front: &Front,
    reset: &AtomicBool,
) -> Result<http::Response<WireBody>, io::Error> {
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, 16 * 1024 * 1024).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Err(io::Error::from(io::ErrorKind::InvalidData)),
    };
    let host = parts
        .headers
        .get("host")
        .and_then(|h| h.to_str().ok())
        .map(str::to_owned)
        .or_else(|| parts.uri.authority().map(ToString::to_string))
        .unwrap_or_default();
    let request = Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        host,
        body,
        version: parts.version,
    };
    let reply = shared.handle(front, request).await;
    if reply.ending == Ending::Silent {
        // Nobody wakes this task; it ends with its connection.
        return std::future::pending().await;
    }
    if reply.ending == Ending::Reset {
        reset.store(true, Ordering::SeqCst);
        return Err(io::Error::from(io::ErrorKind::ConnectionReset));
    }
    let mut response = http::Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    response
        .body(WireBody::new(reply.body, reply.ending))
        .map_err(io::Error::other)
}

/// A stream that ends with RST instead of FIN where a fault asks for it.
struct Tapped {
    inner: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Tapped {
    fn drop(&mut self) {
        if self.reset.load(Ordering::SeqCst) {
            let _ = self.inner.set_zero_linger();
        }
    }
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
