//! The two functions that a guest gets from us: a log and a progress display.
//! Both take text from a stranger: capped, and control characters made visible.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::contract::baton::connector::{log, progress, types};
use super::guest::State;

/// Longest log record, in bytes.
const RECORD: usize = 8 << 10;
/// Records in one second.
const RATE: u32 = 200;
/// Shortest time between two reports of progress that anybody hears.
const REPORTS: Duration = Duration::from_millis(20);

/// Hears what a connector says about its progress.
pub trait Observer: Send + Sync {
    /// Advisory; `what` is cleaned text.
    fn progress(&self, done: u64, total: Option<u64>, what: &str);
}

/// Nobody listens.
impl Observer for () {
    fn progress(&self, _done: u64, _total: Option<u64>, _what: &str) {}
}

pub(super) struct Log {
    connector: String,
    left: u64,
    window: Instant,
    in_window: u32,
    pub(super) dropped: u64,
}

impl Log {
    pub(super) fn new(connector: String, records: u64) -> Log {
        Log {
            connector,
            left: records,
            window: Instant::now(),
            in_window: 0,
            dropped: 0,
        }
    }

    fn admit(&mut self) -> bool {
        if self.window.elapsed() > Duration::from_secs(1) {
            self.window = Instant::now();
            self.in_window = 0;
        }
        if self.left == 0 || self.in_window >= RATE {
            self.dropped += 1;
            return false;
        }
        self.left -= 1;
        self.in_window += 1;
        true
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if self.dropped > 0 {
            tracing::warn!(
                connector = %self.connector,
                "{} log records of the connector were dropped", self.dropped
            );
        }
    }
}

/// Whether a terminal or an editor obeys this character instead of showing it:
/// control characters, line separators and marks of direction.
pub(crate) fn obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text of a stranger as one safe line of at most `limit` bytes.
pub(crate) fn clean(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit));
    for c in text.chars() {
        if out.len() + c.len_utf8() > limit {
            out.push('…');
            break;
        }
        if obeyed(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

impl log::Host for State {
    fn log(&mut self, level: String, message: String, fields: Vec<(String, String)>) {
        if !self.log.admit() {
            return;
        }
        let mut text = clean(&message, RECORD);
        for (key, value) in &fields {
            if text.len() >= RECORD {
                break;
            }
            text.push_str(&format!(" {}={}", clean(key, 64), clean(value, 512)));
        }
        let connector = &self.log.connector;
        match level.as_str() {
            "error" => tracing::error!(target: "connector", %connector, "{text}"),
            "warn" => tracing::warn!(target: "connector", %connector, "{text}"),
            "info" => tracing::info!(target: "connector", %connector, "{text}"),
            _ => tracing::debug!(target: "connector", %connector, "{text}"),
        }
    }
}

impl progress::Host for State {
    fn report(&mut self, done: u64, total: Option<u64>, what: String) {
        let now = Instant::now();
        if self
            .reported
            .is_some_and(|last| now.duration_since(last) < REPORTS)
        {
            return;
        }
        self.reported = Some(now);
        self.observer.progress(done, total, &clean(&what, 80));
    }
}

impl types::Host for State {}

pub(super) type SharedObserver = Arc<dyn Observer>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_direction_characters_become_visible() {
        assert_eq!(
            clean("a\nb\u{1b}[2J\u{202e}\u{2028}c", 100),
            "a\\u{a}b\\u{1b}[2J\\u{202e}\\u{2028}c"
        );
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(clean("ééé", 4), "éé…");
    }

    #[test]
    fn a_flood_of_records_is_counted_not_written() {
        let mut log = Log::new("x".into(), 1_000_000);
        let admitted = (0..1000).filter(|_| log.admit()).count();
        assert!(admitted <= 2 * RATE as usize);
        assert_eq!(log.dropped, 1000 - admitted as u64);
        let mut log = Log::new("x".into(), 3);
        assert_eq!((0..10).filter(|_| log.admit()).count(), 3);
    }
}
