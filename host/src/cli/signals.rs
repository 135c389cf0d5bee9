//! Ctrl-C and SIGTERM while a change is asked for, from the first moment to
//! the last: before the order runs they end the command, which then changed
//! nothing; after that the order hears of them.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::exit::{CliError, Exit};

/// Counts signals.
pub(super) struct Signals {
    seen: watch::Receiver<u32>,
    /// Whether an order hears of them.
    taken: AtomicBool,
}

impl Signals {
    /// From here on signals are counted and do not kill. Without handlers they
    /// end the process by themselves, and nothing is counted.
    pub(super) fn install() -> Signals {
        let (tell, seen) = watch::channel(0_u32);
        if let (Ok(mut interrupt), Ok(mut terminate)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        ) {
            tokio::spawn(async move {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    tell.send_modify(|seen| *seen = seen.saturating_add(1));
                }
            });
        }
        Signals::over(seen)
    }

    fn over(seen: watch::Receiver<u32>) -> Signals {
        Signals {
            seen,
            taken: AtomicBool::new(false),
        }
    }

    /// Returns when there were this many.
    pub(super) fn reach(&self, count: u32) -> impl Future<Output = ()> + use<> {
        let mut seen = self.seen.clone();
        async move {
            if seen.wait_for(|seen| *seen >= count).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// How many there were.
    pub(super) fn seen(&self) -> u32 {
        *self.seen.borrow()
    }

    /// Returns at the first if nobody took them over by then.
    pub(super) async fn early(&self) {
        self.reach(1).await;
        if self.taken.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    /// From here on it is the caller who listens.
    ///
    /// # Errors
    /// There was one already.
    pub(super) fn take(&self) -> Result<(), CliError> {
        if *self.seen.borrow() > 0 {
            return Err(stopped());
        }
        self.taken.store(true, Ordering::SeqCst);
        Ok(())
    }
}

/// How a command ends that was stopped before it began.
pub(super) fn stopped() -> CliError {
    CliError::new(Exit::Interrupted, "stopped; nothing was changed")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn comes(what: impl Future<Output = ()>) -> bool {
        tokio::time::timeout(Duration::from_millis(20), what)
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn a_signal_ends_the_command_until_an_order_takes_it_over() {
        let (tell, seen) = watch::channel(0);
        let signals = Signals::over(seen);
        assert!(!comes(signals.early()).await);
        tell.send_replace(1);
        assert!(comes(signals.early()).await);
        let error = signals.take().unwrap_err();
        assert_eq!(error.exit, Exit::Interrupted);
        assert_eq!(error.message, "stopped; nothing was changed");

        let (tell, seen) = watch::channel(0);
        let signals = Signals::over(seen);
        signals.take().unwrap();
        tell.send_replace(1);
        assert!(!comes(signals.early()).await);
        assert!(comes(signals.reach(1)).await);
        assert!(!comes(signals.reach(2)).await);
        tell.send_replace(2);
        assert!(comes(signals.reach(2)).await);
        drop(tell);
        assert!(!comes(signals.reach(3)).await);
    }
}
