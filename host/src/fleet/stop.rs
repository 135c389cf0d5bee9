//! How a fleet is told to end: once to end cleanly, twice to end at once.

use std::sync::Arc;

use tokio::sync::watch;

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Level {
    #[default]
    GoOn,
    End,
    Now,
}

/// Tells. Dropping it tells nothing.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<watch::Sender<Level>>);

/// Hears.
#[derive(Debug, Clone)]
pub struct Stop {
    seen: watch::Receiver<Level>,
    /// Kept, so that a teller who is gone is not one who told.
    _teller: Stopper,
}

impl Stopper {
    /// A teller that has told nothing.
    #[must_use]
    pub fn new() -> Stopper {
        Stopper(Arc::new(watch::Sender::default()))
    }

    /// Somebody who hears it.
    #[must_use]
    pub fn stop(&self) -> Stop {
        Stop {
            seen: self.0.subscribe(),
            _teller: self.clone(),
        }
    }

    /// Take no new work, and end what runs at its next edge.
    pub fn end(&self) {
        self.raise(Level::End);
    }

    /// Drop what runs.
    pub fn end_now(&self) {
        self.raise(Level::Now);
    }

    fn raise(&self, to: Level) {
        self.0.send_if_modified(|level| {
            let higher = to > *level;
            *level = (*level).max(to);
            higher
        });
    }
}

impl Default for Stopper {
    fn default() -> Stopper {
        Stopper::new()
    }
}

impl Stop {
    /// Whether to take no new work.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        *self.seen.borrow() >= Level::End
    }

    /// Returns when no new work is to be taken.
    pub async fn wanted(&self) {
        self.reach(Level::End).await;
    }

    /// Returns when what runs is to be dropped.
    pub async fn wanted_now(&self) {
        self.reach(Level::Now).await;
    }

    async fn reach(&self, least: Level) {
        let mut seen = self.seen.clone();
        if seen.wait_for(|level| *level >= least).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
