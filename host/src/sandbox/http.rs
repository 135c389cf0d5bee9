//! The hook that every request of a guest ends in. It decides nothing: it
//! collects the body, hands the request to the I/O runtime, and turns a
//! refusal into an error code, so that a refused request never traps.
//!
//! wasi-http spawns this future on the guests' runtime; all that may block on
//! the network is therefore spawned on the I/O runtime by handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use wasmtime_wasi_http::{Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks};

use crate::upstream::{Egress, Refusal};

pub(super) struct Hooks {
    pub(super) egress: Arc<dyn Egress>,
    pub(super) io: tokio::runtime::Handle,
    pub(super) limit: usize,
    pub(super) request_body: usize,
    pub(super) in_flight: Arc<AtomicUsize>,
    /// Bytes of answers that the guest has not read to the end or dropped.
    pub(super) held: Arc<AtomicUsize>,
    /// The latest refusal, for the error of the call that it broke.
    pub(super) refused: Arc<std::sync::Mutex<Option<Refusal>>>,
}

/// One request in flight.
struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Bytes of answers that one guest may leave unread.
const HELD: usize = 64 << 20;

/// An answer that the host holds for a guest.
struct Held {
    sum: Arc<AtomicUsize>,
    size: usize,
}

impl Held {
    fn new(sum: &Arc<AtomicUsize>, size: usize) -> Result<Held, Refusal> {
        let held = Held {
            sum: sum.clone(),
            size,
        };
        if sum.fetch_add(size, Ordering::AcqRel) + size > HELD {
            return Err(Refusal::TooLarge {
                what: "the sum of unread answers",
                limit: HELD as u64,
            });
        }
        Ok(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.sum.fetch_sub(self.size, Ordering::AcqRel);
    }
}

/// Stops the request when the guest gives it up.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

type Finish = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(http::Response<WasiBody>, Finish), Error>;

impl WasiHttpHooks for Hooks {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        // Nothing is forbidden by name here: the boundary reads two headers
        // and refuses the rest in the open, with an audit record.
        Arc::new(|name| wasmtime_wasi_http::DEFAULT_FORBIDDEN_HEADERS.contains(name))
    }

    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        // Two chunks are held for each request that is not sent yet.
        4 << 10
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _done: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let before = self.in_flight.fetch_add(1, Ordering::AcqRel);
        let slot = Slot(self.in_flight.clone());
        let over = before >= self.limit;
        let (egress, io, limit) = (self.egress.clone(), self.io.clone(), self.limit);
        let (body_limit, refused) = (self.request_body, self.refused.clone());
        let held = self.held.clone();
        Box::new(async move {
            let _slot = slot;
            let answer = if over {
                drain(request.into_body(), body_limit).await;
                Err(Refusal::TooMany(limit))
            } else {
                send(request, egress, io, body_limit).await
            };
            let answer = answer.and_then(|response| {
                let held = Held::new(&held, response.body().len())?;
                Ok((response, held))
            });
            match answer {
                Ok((response, held)) => Ok((
                    response.map(|body| {
                        Full::new(body)
                            .map_frame(move |frame| {
                                // The closure lives as long as the body.
                                let _ = &held;
                                frame
                            })
                            .map_err(|never| match never {})
                            .boxed_unsync()
                    }),
                    Box::new(async { Ok(()) }) as Finish,
                )),
                Err(refusal) => {
                    let code = code(&refusal);
                    if let Ok(mut last) = refused.lock() {
                        *last = Some(refusal);
                    }
                    Err(code)
                }
            }
        })
    }
}

async fn send(
    request: http::Request<WasiBody>,
    egress: Arc<dyn Egress>,
    io: tokio::runtime::Handle,
    body_limit: usize,
) -> Result<http::Response<Bytes>, Refusal> {
    let (parts, body) = request.into_parts();
    // A refusal before the body is read would reach the guest as a closed
    // stream, so the body comes first, up to its limit.
    let body = collect(body, body_limit).await?;
    let request = http::Request::from_parts(parts, body);
    let mut task = AbortOnDrop(io.spawn(async move { egress.send(request).await }));
    match (&mut task.0).await {
        Ok(answer) => answer,
        Err(_) => Err(Refusal::Unreachable("the request was stopped".into())),
    }
}

/// How many times the limit of a body is read before the rest is left unread.
const DRAIN: usize = 8;

async fn collect(mut body: WasiBody, limit: usize) -> Result<Bytes, Refusal> {
    let mut bytes = BytesMut::new();
    let (mut over, mut seen) = (false, 0);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Refusal::Denied(
                "the request's body was not finished".into(),
            ));
        };
        if let Ok(data) = frame.into_data() {
            seen += data.len();
            over = over || seen > limit;
            if seen > DRAIN * limit {
                break;
            }
            if !over {
                bytes.extend_from_slice(&data);
            }
        }
    }
    if over {
        return Err(Refusal::TooLarge {
            what: "request",
            limit: limit as u64,
        });
    }
    Ok(bytes.freeze())
}

/// Reads a body that nobody wants, up to its limit.
async fn drain(mut body: WasiBody, limit: usize) {
    let mut seen = 0;
    while let Some(Ok(frame)) = body.frame().await {
        seen += frame.data_ref().map_or(0, Bytes::len);
        if seen > DRAIN * limit {
            return;
        }
    }
}

fn code(refusal: &Refusal) -> Error {
    match refusal {
        Refusal::Denied(_) => Error::HttpRequestDenied,
        Refusal::TooLarge {
            what: "request",
            limit,
        } => Error::HttpRequestBodySize(Some(*limit)),
        Refusal::TooLarge { limit, .. } => Error::HttpResponseBodySize(Some(*limit)),
        Refusal::TooMany(_) => Error::ConnectionLimitReached,
        Refusal::Timeout(_) => Error::HttpResponseTimeout,
        Refusal::Unreachable(reason) => Error::InternalError(Some(reason.clone())),
    }
}
