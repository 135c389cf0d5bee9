//! Who is next: fair between accounts.
//!
//! A place goes to whoever's account holds the fewest; among those, to the
//! account that was served longest ago; within an account, to who came first.
//! So an account of a hundred clusters, or one that is throttled and slow, is
//! not in the way of an account of one. Whoever stops waiting has taken
//! nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Places, and who waits for one.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

struct Inner {
    all: usize,
    state: Mutex<State>,
    /// Told how many places are taken, whenever that changes.
    watcher: Box<dyn Fn(usize) + Send + Sync>,
}

#[derive(Default)]
struct State {
    in_use: usize,
    accounts: BTreeMap<String, Account>,
    waiting: VecDeque<Waiting>,
    served: u64,
}

#[derive(Default)]
struct Account {
    holds: usize,
    /// When it was last served, counted in places handed out.
    last: u64,
}

struct Waiting {
    account: String,
    call: oneshot::Sender<Place>,
}

/// A place that is taken. Dropping it gives it to the next.
pub struct Place {
    queue: Queue,
    account: String,
}

impl Queue {
    /// This many places.
    #[must_use]
    pub fn new(all: usize) -> Queue {
        Queue::watched(all, |_| {})
    }

    /// This many; `watcher` hears how many are taken. It must not wait.
    #[must_use]
    pub fn watched(all: usize, watcher: impl Fn(usize) + Send + Sync + 'static) -> Queue {
        Queue(Arc::new(Inner {
            all: all.max(1),
            state: Mutex::default(),
            watcher: Box::new(watcher),
        }))
    }

    /// Waits for a place.
    pub async fn enter(&self, account: &str) -> Place {
        let (call, called) = oneshot::channel();
        self.lock().waiting.push_back(Waiting {
            account: account.to_owned(),
            call,
        });
        self.serve();
        match called.await {
            Ok(place) => place,
            // A caller is dropped only with the place it calls for.
            Err(_) => std::future::pending().await,
        }
    }

    /// Hands out what is free.
    fn serve(&self) {
        loop {
            let (waiting, in_use) = {
                let mut state = self.lock();
                if state.in_use >= self.0.all {
                    return;
                }
                let Some(waiting) = state.next() else {
                    return;
                };
                (waiting, state.in_use)
            };
            (self.0.watcher)(in_use);
            let place = Place {
                queue: self.clone(),
                account: waiting.account,
            };
            // Who is gone drops the place, which goes to the next at once.
            let _ = waiting.call.send(place);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes the next out of the line, and a place for it.
    fn next(&mut self) -> Option<Waiting> {
        self.waiting.retain(|waiting| !waiting.call.is_closed());
        let rank = |account: &str| {
            self.accounts
                .get(account)
                .map_or((0, 0), |account| (account.holds, account.last))
        };
        // The first of equals: `min_by_key` keeps the order of coming.
        let (position, _) = self
            .waiting
            .iter()
            .enumerate()
            .min_by_key(|(_, waiting)| rank(&waiting.account))?;
        let waiting = self.waiting.remove(position)?;
        self.served += 1;
        self.in_use += 1;
        let account = self.accounts.entry(waiting.account.clone()).or_default();
        account.holds += 1;
        account.last = self.served;
        Some(waiting)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let in_use = {
            let mut state = self.queue.lock();
            state.in_use -= 1;
            if let Some(account) = state.accounts.get_mut(&self.account) {
                account.holds -= 1;
            }
            state.in_use
        };
        (self.queue.0.watcher)(in_use);
        self.queue.serve();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// Who waits, polled once so that it stands in the line.
    type Line<'q> = Vec<(String, std::pin::Pin<Box<dyn Future<Output = Place> + 'q>>)>;

    fn stand<'q>(queue: &'q Queue, line: &mut Line<'q>, account: &str, name: &str) {
        let account = account.to_owned();
        let mut waiting: std::pin::Pin<Box<dyn Future<Output = Place> + 'q>> =
            Box::pin(async move { queue.enter(&account).await });
        assert!(
            (&mut waiting).now_or_never().is_none(),
            "{name} did not wait"
        );
        line.push((name.to_owned(), waiting));
    }

    /// Whose turn it is now.
    fn turn(line: &mut Line<'_>) -> Option<(String, Place)> {
        let found = line.iter_mut().enumerate().find_map(|(i, (_, waiting))| {
            let place = waiting.now_or_never()?;
            Some((i, place))
        });
        let (i, place) = found?;
        Some((line.remove(i).0, place))
    }

    #[test]
    fn an_account_of_many_is_not_in_the_way_of_an_account_of_one() {
        let queue = Queue::new(1);
        let taken = queue.enter("big").now_or_never().unwrap();
        let mut line = Line::new();
        for n in 0..10 {
            stand(&queue, &mut line, "big", &format!("big {n}"));
        }
        stand(&queue, &mut line, "small", "small");
        drop(taken);
        let mut order = Vec::new();
        while let Some((name, place)) = turn(&mut line) {
            order.push(name);
            drop(place);
        }
        assert_eq!(order[..3], ["small", "big 0", "big 1"]);
        assert_eq!(order.len(), 11);
    }

    #[test]
    fn a_slow_account_gets_no_second_place_while_another_waits() {
        let queue = Queue::new(3);
        let mut held: Vec<Place> = (0..3)
            .map(|_| queue.enter("slow").now_or_never().unwrap())
            .collect();
        let mut line = Line::new();
        for n in 0..3 {
            stand(&queue, &mut line, "slow", &format!("slow {n}"));
            stand(&queue, &mut line, "a", &format!("a {n}"));
            stand(&queue, &mut line, "b", &format!("b {n}"));
        }
        let mut order = Vec::new();
        for _ in 0..2 {
            drop(held.remove(0));
            let (name, place) = turn(&mut line).unwrap();
            order.push(name);
            held.push(place);
        }
        assert_eq!(order, ["a 0", "b 0"]);
        // One of the three is slow's, and what is freed by others stays theirs.
        drop(held.pop());
        assert_eq!(turn(&mut line).unwrap().0, "b 1");
    }

    #[test]
    fn who_stops_waiting_has_taken_nothing() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = seen.clone();
        let queue = Queue::watched(1, move |in_use| record.lock().unwrap().push(in_use));
        let taken = queue.enter("a").now_or_never().unwrap();
        let mut line = Line::new();
        stand(&queue, &mut line, "a", "gone");
        stand(&queue, &mut line, "b", "gone too");
        stand(&queue, &mut line, "a", "stays");
        drop(line.remove(0));
        drop(taken);
        // It is called and goes before it hears.
        assert_eq!(line.first().unwrap().0, "gone too");
        drop(line.remove(0));
        let (name, place) = turn(&mut line).unwrap();
        assert_eq!(name, "stays");
        drop(place);
        assert_eq!(seen.lock().unwrap().last(), Some(&0));
        assert!(queue.enter("c").now_or_never().is_some());
    }
}
