//! The time of orders and schedules.
//!
//! Tests of this crate have a clock of their own that goes forward only when
//! everybody waits for it: seconds cost nothing and nothing depends on the load
//! of a machine. Tokio's paused clock does the same, but switching that feature
//! on would compile everything that depends on tokio a second time.

use std::future::Future;
use std::time::Duration;

pub use tokio::time::Instant;

#[cfg(not(test))]
mod real {
    use super::{Duration, Instant};

    pub fn now() -> Instant {
        Instant::now()
    }

    pub async fn sleep_until(at: Instant) {
        tokio::time::sleep_until(at).await;
    }

    pub async fn sleep(time: Duration) {
        tokio::time::sleep(time).await;
    }
}

#[cfg(not(test))]
pub use real::{now, sleep, sleep_until};
#[cfg(test)]
pub use testing::{now, run, sleep, sleep_until};

/// How long ago something was.
pub fn since(at: Instant) -> Duration {
    now().saturating_duration_since(at)
}

/// Work that did not end in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late;

/// Gives work until a moment.
///
/// # Errors
/// [`Late`]; the work is dropped.
pub async fn timeout_at<T>(at: Instant, work: impl Future<Output = T>) -> Result<T, Late> {
    tokio::select! {
        biased;
        value = work => Ok(value),
        () = sleep_until(at) => Err(Late),
    }
}

/// Gives work some time.
///
/// # Errors
/// [`Late`]; the work is dropped.
pub async fn timeout<T>(time: Duration, work: impl Future<Output = T>) -> Result<T, Late> {
    timeout_at(now() + time, work).await
}

#[cfg(test)]
#[expect(clippy::panic, reason = "tests")]
mod testing {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::{Duration, Future, Instant};

    thread_local! {
        /// What everything is counted from.
        static BEGIN: Instant = Instant::now();
        /// What has passed since.
        static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
        /// Who waits until when.
        static WAITING: RefCell<BTreeMap<(Instant, u64), Waker>> = const { RefCell::new(BTreeMap::new()) };
        static COUNT: Cell<u64> = const { Cell::new(0) };
    }

    pub fn now() -> Instant {
        BEGIN.with(|begin| *begin) + PASSED.get()
    }

    struct Sleep(Instant, u64);

    impl Future for Sleep {
        type Output = ();

        fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            if now() >= self.0 {
                return Poll::Ready(());
            }
            let waker = context.waker().clone();
            WAITING.with_borrow_mut(|all| all.insert((self.0, self.1), waker));
            Poll::Pending
        }
    }

    impl Drop for Sleep {
        fn drop(&mut self) {
            WAITING.with_borrow_mut(|all| all.remove(&(self.0, self.1)));
        }
    }

    pub async fn sleep_until(at: Instant) {
        COUNT.set(COUNT.get() + 1);
        Sleep(at, COUNT.get()).await;
    }

    pub async fn sleep(time: Duration) {
        sleep_until(now() + time).await;
    }

    /// Runs a test on a runtime of one thread: when nobody gets any further,
    /// it is the moment for which somebody waits first.
    pub async fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        for _ in 0..1_000_000 {
            for _ in 0..50 {
                let poll = std::future::poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
                if let Poll::Ready(value) = poll {
                    return value;
                }
                tokio::task::yield_now().await;
            }
            let first = WAITING.with_borrow_mut(BTreeMap::pop_first);
            if let Some(((at, _), waker)) = first {
                PASSED.set(at - BEGIN.with(|begin| *begin));
                waker.wake();
            }
        }
        panic!("nothing happens any more")
    }
}
