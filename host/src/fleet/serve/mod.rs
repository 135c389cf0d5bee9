//! What a running fleet says to those who ask: probes, Prometheus, a person
//! with a browser.
//!
//! The scheduler writes the board; everything here reads it, on a thread of
//! its own, and takes nothing from outside but a path and a filter.

mod answer;
mod health;
mod listen;
mod metrics;
mod page;
mod probe;
mod run;
mod state;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

pub use health::{Endpoint, Life, Phase};
pub use listen::{Bound, ListenError, Server};
pub use probe::{ProbeError, Said, ask};
pub use run::{ServeError, Serving, serve};

use super::board::Board;

/// Everything that answers are made of.
pub(super) struct Site {
    board: Arc<Board>,
    life: Arc<Life>,
    /// Whether only this machine can ask.
    loopback: bool,
}

impl Site {
    fn status(&self) -> Value {
        let mut value = serde_json::to_value(self.board.snapshot()).unwrap_or_default();
        if let Some(value) = value.as_object_mut() {
            value.insert("version".into(), env!("CARGO_PKG_VERSION").into());
            value.insert("phase".into(), self.life.phase().name().into());
            value.insert("generation".into(), (*self.board.changed().borrow()).into());
        }
        value
    }
}

/// Begins to answer for a board.
///
/// # Errors
/// The system gives no thread.
pub fn answer(bound: Bound, board: Arc<Board>, life: Arc<Life>) -> std::io::Result<Server> {
    let site = Site {
        board,
        life,
        loopback: bound.address().ip().to_canonical().is_loopback(),
    };
    Server::start(bound, listen::Bounds::default(), move |request| {
        answer::answer(
            &site,
            request.method(),
            request.uri(),
            request.headers(),
            Timestamp::now(),
        )
    })
}
