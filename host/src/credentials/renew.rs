//! One value that runs out and is renewed in time.
//!
//! Whoever asks gets the value that is held, at once; when it is due, one
//! renewal runs in the background, however many ask. Only where nothing usable
//! is held does the caller wait, and then all wait for the same renewal. A
//! renewal that fails while the old value still holds is tried again after half
//! a minute; the failure becomes an error only when the value has run out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};

use super::env::Clock;
use super::error::CredentialError;

/// The pause after a renewal that failed while the old value still holds.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// A value, when it is to be renewed, and when it is of no use any more.
#[derive(Debug, Clone)]
pub(super) struct Lease<T> {
    pub value: T,
    pub renew_at: SystemTime,
    pub expires_at: Option<SystemTime>,
}

impl<T> Lease<T> {
    fn holds(&self, now: SystemTime) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }
}

type Fetched<T> = Result<Arc<Lease<T>>, CredentialError>;
type Flight<T> = Shared<BoxFuture<'static, Fetched<T>>>;
type Fetch<T> = dyn Fn() -> BoxFuture<'static, Result<Lease<T>, CredentialError>> + Send + Sync;

pub(super) struct Renewing<T> {
    fetch: Box<Fetch<T>>,
    clock: Clock,
    slot: Mutex<Slot<T>>,
    landed: AtomicU64,
}

struct Slot<T> {
    held: Option<Arc<Lease<T>>>,
    previous: Option<Arc<Lease<T>>>,
    flight: Option<Flight<T>>,
    retry_at: Option<SystemTime>,
}

impl<T: Send + Sync + 'static> Renewing<T> {
    pub fn new(
        clock: Clock,
        fetch: impl Fn() -> BoxFuture<'static, Result<Lease<T>, CredentialError>>
        + Send
        + Sync
        + 'static,
    ) -> Arc<Renewing<T>> {
        Arc::new(Renewing {
            fetch: Box::new(fetch),
            clock,
            slot: Mutex::new(Slot {
                held: None,
                previous: None,
                flight: None,
                retry_at: None,
            }),
            landed: AtomicU64::new(0),
        })
    }

    /// The value; `fresh` waits for a new one even where the old still holds.
    pub async fn get(self: &Arc<Self>, fresh: bool) -> Fetched<T> {
        let flight = {
            let mut slot = self.lock();
            let now = self.clock.now();
            let usable = slot.held.clone().filter(|lease| lease.holds(now));
            if let Some(lease) = usable.filter(|_| !fresh) {
                let due = now >= lease.renew_at && slot.retry_at.is_none_or(|at| now >= at);
                if due {
                    // It runs by itself; nobody waits for it.
                    drop(self.start(&mut slot));
                }
                return Ok(lease);
            }
            self.start(&mut slot)
        };
        flight.await
    }

    /// How often a value was fetched, the first time included.
    pub fn fetched(&self) -> u64 {
        self.landed.load(Ordering::Relaxed)
    }

    /// What is held now and what was held before it.
    pub fn held(&self) -> Vec<Arc<Lease<T>>> {
        let slot = self.lock();
        [&slot.held, &slot.previous]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// The running renewal, or a new one. It runs to its end even where every
    /// caller that waits for it is dropped.
    fn start(self: &Arc<Self>, slot: &mut Slot<T>) -> Flight<T> {
        if let Some(flight) = &slot.flight {
            return flight.clone();
        }
        let fetching = (self.fetch)();
        let this = Arc::clone(self);
        let flight = async move {
            let fetched = fetching.await;
            this.land(fetched)
        }
        .boxed()
        .shared();
        slot.flight = Some(flight.clone());
        tokio::spawn(flight.clone());
        flight
    }

    fn land(&self, fetched: Result<Lease<T>, CredentialError>) -> Fetched<T> {
        let mut slot = self.lock();
        let now = self.clock.now();
        slot.flight = None;
        match fetched {
            Ok(lease) => {
                let lease = Arc::new(lease);
                slot.previous = slot.held.replace(Arc::clone(&lease));
                slot.retry_at = None;
                self.landed.fetch_add(1, Ordering::Relaxed);
                Ok(lease)
            }
            Err(error) => match &slot.held {
                Some(lease) if !lease.holds(now) => Err(CredentialError::Expired {
                    cause: Box::new(error),
                }),
                held => {
                    if held.is_some() {
                        tracing::warn!(%error, "credentials could not be renewed yet");
                    }
                    slot.retry_at = Some(now + RETRY_AFTER);
                    Err(error)
                }
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        // Nothing panics while it is held, and its content is valid at any time.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::super::testing::TestClock;
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    struct World {
        clock: TestClock,
        fetches: Arc<AtomicU64>,
        gate: Arc<tokio::sync::Semaphore>,
        failing: Arc<AtomicU64>,
        renewing: Arc<Renewing<u64>>,
    }

    /// A value with a life of an hour, renewed at 45 minutes; each renewal
    /// waits for a permit of the gate.
    fn world() -> World {
        let clock = TestClock::new();
        let fetches = Arc::new(AtomicU64::new(0));
        let failing = Arc::new(AtomicU64::new(0));
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let fetch = {
            let (clock, fetches) = (clock.clone(), Arc::clone(&fetches));
            let (failing, gate) = (Arc::clone(&failing), Arc::clone(&gate));
            move || {
                let number = fetches.fetch_add(1, Ordering::SeqCst) + 1;
                let (now, gate) = (clock.now(), Arc::clone(&gate));
                let fails = failing.load(Ordering::SeqCst) == 1;
                async move {
                    gate.acquire().await.unwrap().forget();
                    if fails {
                        return Err(CredentialError::Throttled {
                            host: "sts".to_owned(),
                        });
                    }
                    Ok(Lease {
                        value: number,
                        renew_at: now + 45 * MINUTE,
                        expires_at: Some(now + 60 * MINUTE),
                    })
                }
                .boxed()
            }
        };
        let renewing = Renewing::new(clock.clock(), fetch);
        World {
            clock,
            fetches,
            gate,
            failing,
            renewing,
        }
    }

    impl World {
        async fn value(&self) -> u64 {
            self.renewing.get(false).await.unwrap().value
        }

        fn fetches(&self) -> u64 {
            self.fetches.load(Ordering::SeqCst)
        }

        async fn landed(&self) {
            while self.renewing.lock().flight.is_some() {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn many_callers_wait_for_one_renewal() {
        let world = world();
        let callers: Vec<_> = (0..50)
            .map(|_| {
                let renewing = Arc::clone(&world.renewing);
                tokio::spawn(async move { renewing.get(false).await.unwrap().value })
            })
            .collect();
        tokio::task::yield_now().await;
        world.gate.add_permits(1);
        for caller in callers {
            assert_eq!(caller.await.unwrap(), 1);
        }
        assert_eq!(world.fetches(), 1);
    }

    #[tokio::test]
    async fn the_old_value_is_served_while_the_renewal_runs() {
        let world = world();
        world.gate.add_permits(1);
        assert_eq!(world.value().await, 1);
        world.clock.advance(44 * MINUTE);
        assert_eq!(world.value().await, 1);
        assert_eq!(world.fetches(), 1, "not due before three quarters");

        world.clock.advance(MINUTE);
        for _ in 0..20 {
            assert_eq!(world.value().await, 1, "served at once: the gate is shut");
        }
        assert_eq!(world.fetches(), 2, "one renewal for all");
        world.gate.add_permits(1);
        world.landed().await;
        assert_eq!(world.value().await, 2);
        let held: Vec<u64> = world.renewing.held().iter().map(|l| l.value).collect();
        assert_eq!(held, [2, 1]);
    }

    #[tokio::test]
    async fn a_failing_renewal_is_an_error_only_after_the_value_ran_out() {
        let world = world();
        world.gate.add_permits(100);
        assert_eq!(world.value().await, 1);
        world.failing.store(1, Ordering::SeqCst);
        world.clock.advance(50 * MINUTE);
        assert_eq!(world.value().await, 1);
        world.landed().await;
        assert_eq!(world.value().await, 1, "the old one still holds");
        assert_eq!(world.fetches(), 2, "not again at once");
        world.clock.advance(RETRY_AFTER);
        assert_eq!(world.value().await, 1);
        world.landed().await;
        assert_eq!(world.fetches(), 3);

        world.clock.advance(10 * MINUTE);
        let error = world.renewing.get(false).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the session has expired and cannot be renewed: STS at sts answers that there are too many requests"
        );
        world.failing.store(0, Ordering::SeqCst);
        assert_eq!(world.value().await, 5, "and it recovers");
    }

    #[tokio::test]
    async fn fresh_waits_for_a_new_value() {
        let world = world();
        world.gate.add_permits(2);
        assert_eq!(world.value().await, 1);
        assert_eq!(world.renewing.get(true).await.unwrap().value, 2);
        assert_eq!(world.value().await, 2);
    }

    #[tokio::test]
    async fn a_caller_that_is_dropped_does_not_stop_the_renewal() {
        let world = world();
        assert!(world.renewing.get(false).now_or_never().is_none());
        world.gate.add_permits(1);
        world.landed().await;
        assert_eq!(world.value().await, 1);
        assert_eq!(world.fetches(), 1);
    }
}
