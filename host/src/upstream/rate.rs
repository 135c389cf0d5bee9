//! One rate per account and endpoint, shared by all tasks of the process.
//!
//! Limits of EKS and IAM are per account and not published, so the rate is
//! found: unlimited until the first throttle, then 0.7 of what was measured,
//! then one request a second more for each second that goes well. Many
//! throttles at once count as one. The guests keep a fixed window and know
//! nothing of this. Time is tokio's, so that tests can pause it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Line, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

/// Requests in flight to one endpoint of one account.
const IN_FLIGHT: usize = 64;
/// Requests a second: never less. EKS is known to take tens from an account.
const FLOOR: f64 = 2.0;
/// Requests a second: from here on there is no limit again.
const FREE: f64 = 500.0;
/// Throttles within this time are one event.
const EVENT: Duration = Duration::from_secs(1);

/// The limiters of a process.
#[derive(Debug, Default)]
pub struct Rates(Mutex<HashMap<(String, String), Arc<Limiter>>>);

impl Rates {
    /// The limiter of an endpoint, as an account sees it.
    pub fn of(&self, account: &str, endpoint: &str) -> Arc<Limiter> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry((account.to_owned(), endpoint.to_owned()))
            .or_default()
            .clone()
    }
}

/// The rate to one endpoint of one account.
#[derive(Debug)]
pub struct Limiter {
    slots: Arc<Semaphore>,
    /// Who waits, in order. Only the first looks at the time.
    line: Line<()>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Requests a second; none until the first throttle.
    rate: Option<f64>,
    /// When the next request may start.
    next: Instant,
    lowered: Option<Instant>,
    /// Requests begun in the second that began at `second`, and in the one
    /// before it.
    second: Instant,
    begun: u32,
    before: u32,
}

/// Leave to make one request; dropped when it has ended.
#[derive(Debug)]
pub struct Permit(#[expect(dead_code, reason = "held")] Option<OwnedSemaphorePermit>);

impl Default for Limiter {
    fn default() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(IN_FLIGHT)),
            line: Line::new(()),
            state: Mutex::new(State::new(Instant::now())),
        }
    }
}

impl Limiter {
    /// Waits for a turn. Who gives up while waiting has taken none: else a
    /// guest that begins and drops requests would use up the time of all
    /// others of its account.
    pub async fn acquire(&self) -> Permit {
        let slot = self.slots.clone().acquire_owned().await.ok();
        let _first = self.line.lock().await;
        let due = self.lock().due(Instant::now());
        if let Some(due) = due {
            sleep_until(due).await;
        }
        self.lock().begin(Instant::now());
        Permit(slot)
    }

    /// The upstream said that it was too much.
    pub fn throttled(&self) {
        self.lock().throttled(Instant::now());
    }

    /// An answer came that was none of that.
    pub fn succeeded(&self) {
        self.lock().succeeded();
    }

    /// Requests a second, if it is limited.
    pub fn rate(&self) -> Option<f64> {
        self.lock().rate
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(now: Instant) -> Self {
        Self {
            rate: None,
            next: now,
            lowered: None,
            second: now,
            begun: 0,
            before: 0,
        }
    }

    fn throttled(&mut self, now: Instant) {
        if self
            .lowered
            .is_some_and(|at| now.duration_since(at) < EVENT)
        {
            return;
        }
        let measured = self.measured(now);
        let current = self.rate.map_or(measured, |rate| rate.min(measured));
        self.rate = Some((current * 0.7).max(FLOOR));
        self.lowered = Some(now);
    }

    fn succeeded(&mut self) {
        if let Some(rate) = self.rate {
            let raised = rate + 1.0 / rate.max(1.0);
            self.rate = (raised < FREE).then_some(raised);
        }
    }

    /// When the next request may begin; `None`: now.
    fn due(&self, now: Instant) -> Option<Instant> {
        (self.rate.is_some() && self.next > now).then_some(self.next)
    }

    /// A request begins.
    fn begin(&mut self, now: Instant) {
        self.roll(now);
        self.begun += 1;
        if let Some(rate) = self.rate {
            self.next = self.next.max(now) + Duration::from_secs_f64(1.0 / rate);
        }
    }

    fn roll(&mut self, now: Instant) {
        let passed = now.duration_since(self.second);
        if passed >= Duration::from_secs(1) {
            self.before = if passed < Duration::from_secs(2) {
                self.begun
            } else {
                0
            };
            self.begun = 0;
            self.second = now;
        }
    }

    /// Requests begun in the last second, about.
    fn measured(&mut self, now: Instant) -> f64 {
        self.roll(now);
        let share = 1.0 - now.duration_since(self.second).as_secs_f64();
        (f64::from(self.begun) + f64::from(self.before) * share.clamp(0.0, 1.0)).max(FLOOR)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn nothing_waits_until_the_first_throttle() {
        let now = Instant::now();
        let mut state = State::new(now);
        assert!((0..1000).all(|_| {
            state.begin(now);
            state.due(now).is_none()
        }));
    }

    #[test]
    fn a_throttle_lowers_the_rate_once_and_success_raises_it_slowly() {
        let start = Instant::now();
        let mut state = State::new(start);
        for _ in 0..20 {
            state.begin(start);
        }
        for _ in 0..20 {
            state.throttled(start);
        }
        assert!(
            (state.rate.unwrap() - 14.0).abs() < 0.01,
            "{:?}",
            state.rate
        );
        let turns: Vec<_> = (0..15)
            .map(|_| {
                let turn = state.due(start).unwrap_or(start);
                state.begin(start);
                turn
            })
            .collect();
        let took = turns.last().unwrap().duration_since(start).as_secs_f64();
        assert!(
            (took - 1.0).abs() < 0.01,
            "15 requests at 14 a second took {took} s"
        );
        for _ in 0..14 {
            state.succeeded();
        }
        let raised = state.rate.unwrap();
        assert!(raised > 14.9 && raised < 15.1, "{raised}");
        for minute in 1..100 {
            state.throttled(start + Duration::from_secs(60 * minute));
        }
        assert!((state.rate.unwrap() - FLOOR).abs() < 0.01);
        for _ in 0..200_000 {
            state.succeeded();
        }
        assert_eq!(state.rate, None);
    }

    #[tokio::test]
    async fn requests_that_are_given_up_take_nobodys_turn() {
        use futures_util::FutureExt as _;
        let limiter = Limiter::default();
        drop(limiter.acquire().await);
        limiter.throttled();
        assert_eq!(limiter.rate(), Some(FLOOR));
        // Each of these once took half a second of everybody's time.
        for _ in 0..10_000 {
            let _ = limiter.acquire().now_or_never();
        }
        let next = tokio::time::timeout(Duration::from_secs(10), limiter.acquire()).await;
        assert!(next.is_ok(), "nobody's turn came");
    }

    #[tokio::test]
    async fn tasks_of_one_account_share_it_and_others_do_not() {
        let rates = Rates::default();
        let first = rates.of("111122223333", "eks.eu-central-1.amazonaws.com");
        drop(first.acquire().await);
        first.throttled();
        assert!(
            rates
                .of("111122223333", "eks.eu-central-1.amazonaws.com")
                .rate()
                .is_some()
        );
        assert!(
            rates
                .of("444455556666", "eks.eu-central-1.amazonaws.com")
                .rate()
                .is_none()
        );
        assert!(
            rates
                .of("111122223333", "eks.us-east-1.amazonaws.com")
                .rate()
                .is_none()
        );
    }
}
