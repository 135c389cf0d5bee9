//! Ways out of a sandbox, in place of the upstream boundary.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use baton_host::upstream::{Egress, Refusal};
use bytes::Bytes;
use http::{Request, Response};
use tokio::sync::{Notify, watch};

type Answer = Result<Response<Bytes>, Refusal>;
type Sending = Pin<Box<dyn Future<Output = Answer> + Send + 'static>>;

/// An answer of status 200.
///
/// # Errors
/// Never.
pub fn ok(body: impl Into<Bytes>) -> Answer {
    Ok(Response::new(body.into()))
}

/// A function as a way out.
pub struct Through<F>(pub F);

impl<F, A> Egress for Through<F>
where
    F: Fn(Request<Bytes>) -> A + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    fn send(&self, request: Request<Bytes>) -> Sending {
        Box::pin((self.0)(request))
    }
}

/// Holds every request until it is opened, and counts.
pub struct Gate {
    open: watch::Sender<bool>,
    count: Arc<Count>,
}

/// Requests as a gate saw them.
#[derive(Default)]
struct Count {
    begun: AtomicUsize,
    ended: AtomicUsize,
    change: Notify,
}

/// A request that has begun; it ends when this is dropped.
struct Begun(Arc<Count>);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::AcqRel);
        self.0.change.notify_waiters();
    }
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn closed() -> Arc<Gate> {
        Arc::new(Gate {
            open: watch::Sender::new(false),
            count: Arc::default(),
        })
    }

    /// Lets everything through from now on.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Requests that have begun so far.
    #[must_use]
    pub fn begun(&self) -> usize {
        self.count.begun.load(Ordering::Acquire)
    }

    /// Returns when so many requests have begun.
    pub async fn until_begun(&self, wanted: usize) {
        self.until(|count| count.begun.load(Ordering::Acquire) >= wanted)
            .await;
    }

    /// Returns when every request that began has ended.
    pub async fn until_all_ended(&self) {
        self.until(|count| {
            count.ended.load(Ordering::Acquire) == count.begun.load(Ordering::Acquire)
        })
        .await;
    }

    async fn until(&self, reached: impl Fn(&Count) -> bool) {
        loop {
            let change = self.count.change.notified();
            tokio::pin!(change);
            change.as_mut().enable();
            if reached(&self.count) {
                return;
            }
            change.await;
        }
    }
}

impl Egress for Gate {
    fn send(&self, _request: Request<Bytes>) -> Sending {
        let (mut open, begun) = (self.open.subscribe(), Begun(self.count.clone()));
        self.count.begun.fetch_add(1, Ordering::AcqRel);
        self.count.change.notify_waiters();
        Box::pin(async move {
            let _begun = begun;
            match open.wait_for(|open| *open).await {
                Ok(_) => ok("through"),
                Err(_) => Err(Refusal::Unreachable("the gate is gone".into())),
            }
        })
    }
}
