//! The socket of `serve`, and connections that cannot hold anything up.
//!
//! One thread of its own with a runtime of its own: answers come even when
//! every guest spins and every I/O thread is busy. One request for each
//! connection, ten seconds in all, however slowly the other side talks or
//! reads. When all places are taken, the oldest connection gives way, so a
//! flood ends its own connections and a probe is still answered.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// A request whose body nobody reads.
pub(super) type Request = http::Request<hyper::body::Incoming>;
/// An answer, complete.
pub(super) type Answer = http::Response<Full<Bytes>>;

/// How much of our time others may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Connections at once.
    connections: usize,
    /// For the head of a request.
    head: Duration,
    /// For a connection, from its beginning to the last byte of the answer.
    connection: Duration,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            connections: 64,
            head: Duration::from_secs(5),
            connection: Duration::from_secs(10),
        }
    }
}

/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 << 10;
/// Lines of a request's head.
const HEADERS: usize = 64;
/// Pause after the system gave no connection, for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Somebody else listens there.
    #[error("{0} is in use by another program")]
    InUse(SocketAddr),
    /// The address is not of this machine.
    #[error("{0} is no address of this machine")]
    NotHere(SocketAddr),
    /// The system does not allow it.
    #[error("listening on {0} is not allowed; ports below 1024 are the system's")]
    NotAllowed(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// A socket that is ours, and does not answer yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Takes an address; port 0 lets the system choose one.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn take(address: SocketAddr) -> Result<Bound, ListenError> {
        use std::io::ErrorKind;
        let take = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok(Bound { listener, address })
        };
        take().map_err(|source: std::io::Error| match source.kind() {
            ErrorKind::AddrInUse => ListenError::InUse(address),
            ErrorKind::AddrNotAvailable => ListenError::NotHere(address),
            ErrorKind::PermissionDenied => ListenError::NotAllowed(address),
            _ => ListenError::Other { address, source },
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The thread that answers. Ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Begins to answer.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(
        bound: Bound,
        bounds: Bounds,
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> std::io::Result<Server> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let Bound { listener, address } = bound;
        let answer = Arc::new(answer);
        let thread = std::thread::Builder::new()
            .name("http".into())
            .spawn(move || {
                runtime.block_on(async {
                    match tokio::net::TcpListener::from_std(listener) {
                        Ok(listener) => accept(&listener, bounds, answer, stopped).await,
                        Err(error) => tracing::error!(%error, "the status page cannot be served"),
                    }
                });
            })?;
        Ok(Server {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(
    listener: &tokio::net::TcpListener,
    bounds: Bounds,
    answer: Arc<impl Fn(&Request) -> Answer + Send + Sync + 'static>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = tokio::select! {
            _ = &mut stopped => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "no connection");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        open.retain(|one| !one.is_finished());
        if open.len() >= bounds.connections
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let answer = answer.clone();
        let task = tokio::spawn(async move {
            let service = service_fn(move |request: Request| {
                let answer = answer(&request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(bounds.head)
                .max_buf_size(HEAD_BYTES)
                .max_headers(HEADERS)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(bounds.connection, connection).await;
        });
        open.push_back(task.abort_handle());
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    fn start(bounds: Bounds, size: usize) -> Server {
        let bound = Bound::take("127.0.0.1:0".parse().unwrap()).unwrap();
        Server::start(bound, bounds, move |request| {
            let text = format!("{} {}", request.uri(), "x".repeat(size));
            Answer::new(Full::new(Bytes::from(text)))
        })
        .unwrap()
    }

    fn connect(server: &Server) -> TcpStream {
        let stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// Everything that comes until the server closes.
    fn rest(mut stream: TcpStream) -> String {
        let mut bytes = Vec::new();
        // A reset is an end, too.
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    fn ask(server: &Server) -> String {
        let mut stream = connect(server);
        stream
            .write_all(b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n")
            .unwrap();
        rest(stream)
    }

    #[test]
    fn a_connection_is_one_request() {
        let server = start(Bounds::default(), 0);
        let mut stream = connect(&server);
        stream
            .write_all(b"GET /1 HTTP/1.1\r\nHost: b\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n")
            .unwrap();
        let text = rest(stream);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("connection: close\r\n"), "{text}");
        assert!(text.contains("/1") && !text.contains("/2"), "{text}");
    }

    #[test]
    fn whoever_talks_slowly_is_cut_off() {
        let bounds = Bounds {
            head: Duration::from_millis(20),
            ..Bounds::default()
        };
        let server = start(bounds, 0);
        // Nothing, and a request that never ends.
        let silent = connect(&server);
        let mut slow = connect(&server);
        slow.write_all(b"GET /a HTTP/1.1\r\nHost: b\r\nx: ")
            .unwrap();
        let ended = rest(slow);
        assert!(!ended.contains("200"), "{ended}");
        assert!(!rest(silent).contains("200"));
        assert!(ask(&server).contains("/a"));
    }

    #[test]
    fn whoever_reads_slowly_is_cut_off() {
        let bounds = Bounds {
            connection: Duration::from_millis(100),
            ..Bounds::default()
        };
        // More than the buffers of both ends hold.
        let server = start(bounds, 64 << 20);
        let mut stream = connect(&server);
        stream
            .write_all(b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n")
            .unwrap();
        // Nothing is read until the server has long given up: writing fails
        // once it has.
        while stream.write_all(b"x").is_ok() {
            std::thread::yield_now();
        }
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        assert!(bytes.len() < 64 << 20, "{}", bytes.len());
    }

    #[test]
    fn a_flood_of_connections_ends_its_own() {
        let bounds = Bounds {
            connections: 4,
            head: LONG,
            connection: LONG,
        };
        let server = start(bounds, 0);
        let held: Vec<TcpStream> = (0..16).map(|_| connect(&server)).collect();
        assert!(ask(&server).contains("/a"));
        let mut held = held.into_iter();
        // Twelve had to go for the last four, and one more for the question.
        for oldest in held.by_ref().take(13) {
            assert_eq!(rest(oldest), "");
        }
        // The others are still there.
        for mut young in held {
            young
                .write_all(b"GET /b HTTP/1.1\r\nHost: b\r\n\r\n")
                .unwrap();
            assert!(rest(young).contains("/b"));
        }
    }

    #[test]
    fn a_head_has_its_limits() {
        let server = start(Bounds::default(), 0);
        for head in [
            format!("x: {}\r\n", "y".repeat(HEAD_BYTES)),
            "x: y\r\n".repeat(HEADERS + 1),
        ] {
            let mut stream = connect(&server);
            let request = format!("GET /a HTTP/1.1\r\nHost: b\r\n{head}\r\n");
            let _ = stream.write_all(request.as_bytes());
            let answer = rest(stream);
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
                "{answer}"
            );
        }
        assert!(ask(&server).contains("/a"));
    }

    #[test]
    fn a_port_in_use_is_one_sentence() {
        let first = Bound::take("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.address();
        let error = Bound::take(address).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{address} is in use by another program")
        );
        let error = Bound::take("192.0.2.1:0".parse().unwrap()).unwrap_err();
        assert!(
            error.to_string().contains("no address of this machine"),
            "{error}"
        );
    }

    #[test]
    fn a_server_that_is_dropped_gives_its_address_back() {
        let server = start(Bounds::default(), 0);
        let address = server.address();
        let held = connect(&server);
        drop(server);
        assert_eq!(rest(held), "");
        // Connections that just ended may keep the port from being taken, not
        // from being refused.
        assert!(TcpStream::connect(address).is_err());
    }
}
