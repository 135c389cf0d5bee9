//! One pooled client per upstream and task: HTTP/2 or HTTP/1.1 by ALPN,
//! keep-alive, its own trust.
//!
//! No `Host` header is ever on a request: the client derives it per protocol,
//! and the signature is over the same authority. The pool belongs to one task
//! and its trust, so a connection is never used with another's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioTimer;
use tokio::sync::Mutex;

use super::dial::{Connector, DialError, OnRuntime, Trust, causes, tls};

/// Why a request got no answer.
#[derive(Debug, Clone)]
pub enum SendError {
    /// No connection.
    Dial(DialError),
    /// The connection broke.
    Broken(String),
}

/// The client of one upstream.
pub struct Client {
    http: legacy::Client<Connector, Full<Bytes>>,
    proxy: Arc<Matcher>,
    /// Until the first answer only one request is under way: whether the
    /// upstream speaks HTTP/2 is not known before, and 64 requests at once
    /// would open 64 connections.
    first: Mutex<()>,
    warm: AtomicBool,
}

impl Client {
    /// A client whose connections live on `io`.
    ///
    /// # Errors
    /// One sentence, when the trust cannot be used.
    pub fn new(
        trust: &Trust,
        proxy: Arc<Matcher>,
        io: tokio::runtime::Handle,
        connect: Duration,
    ) -> Result<Self, String> {
        let connector = Connector::new(tls(trust)?, proxy.clone(), connect);
        let http = legacy::Client::builder(OnRuntime(io))
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            // Below the 60 s of common load balancers.
            .pool_idle_timeout(Duration::from_secs(55))
            .pool_max_idle_per_host(64)
            .http2_adaptive_window(true)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .build(connector);
        Ok(Self {
            http,
            proxy,
            first: Mutex::new(()),
            warm: AtomicBool::new(false),
        })
    }

    /// Sends a request as it is.
    pub async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Incoming>, SendError> {
        // Over TLS the proxy's password goes with CONNECT only.
        if request.uri().scheme() == Some(&http::uri::Scheme::HTTP)
            && let Some(via) = self.proxy.intercept(request.uri())
            && let Some(auth) = via.basic_auth()
        {
            request
                .headers_mut()
                .insert(header::PROXY_AUTHORIZATION, auth.clone());
        }
        let alone = if self.warm.load(Ordering::Acquire) {
            None
        } else {
            Some(self.first.lock().await)
        };
        let answer = self.http.request(request.map(Full::new)).await;
        if answer.is_ok() {
            self.warm.store(true, Ordering::Release);
        }
        drop(alone);
        answer.map_err(|error| classify(&error))
    }
}

fn classify(error: &legacy::Error) -> SendError {
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if let Some(dial) = cause.downcast_ref::<DialError>() {
            return SendError::Dial(dial.clone());
        }
        next = cause.source();
    }
    SendError::Broken(causes(error))
}
