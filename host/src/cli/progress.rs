//! Progress on standard error: bars on a terminal, a plain line per phase
//! otherwise, nothing where it is not wanted.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::output::say;
use crate::sandbox::Observer;
use crate::sync::{Phase, Progress};
use crate::upstream::{Counts, Snapshot, Upstreams};

/// How progress is shown.
#[derive(Clone)]
enum View {
    Bars {
        all: MultiProgress,
        work: ProgressBar,
        wire: ProgressBar,
    },
    Lines,
    Nothing,
}

/// Says on a terminal what takes a moment, until it is dropped.
pub(super) struct Waiting(ProgressBar);

pub(super) fn waiting(what: String) -> Waiting {
    let bar = ProgressBar::new_spinner().with_message(what);
    bar.enable_steady_tick(Duration::from_millis(120));
    Waiting(bar)
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// One sync's display.
#[derive(Clone)]
pub(super) struct Display {
    view: View,
    /// Rows of the phase's finished kinds, and of the one that is listed.
    before: u64,
    current: u64,
    kind: String,
    phase: Option<Phase>,
}

impl Display {
    pub(super) fn new(quiet: bool) -> Display {
        let view = if quiet {
            View::Nothing
        } else if std::io::stderr().is_terminal() {
            let all = MultiProgress::new();
            let style = ProgressStyle::with_template("{spinner} {prefix:<14} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = |prefix: &'static str| {
                let bar = all.add(
                    ProgressBar::new_spinner()
                        .with_style(style.clone())
                        .with_prefix(prefix),
                );
                bar.enable_steady_tick(Duration::from_millis(120));
                bar
            };
            let (work, wire) = (bar("opening"), bar("upstreams"));
            View::Bars { all, work, wire }
        } else {
            View::Lines
        };
        Display {
            view,
            before: 0,
            current: 0,
            kind: String::new(),
            phase: None,
        }
    }

    /// Shows calls in flight and throttles while `upstreams` lives.
    pub(super) fn watch(&self, upstreams: &Upstreams) {
        let View::Bars { wire, .. } = &self.view else {
            return;
        };
        let (wire, upstreams) = (wire.clone(), upstreams.clone());
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(200));
            loop {
                tick.tick().await;
                if wire.is_finished() {
                    return;
                }
                let stats = upstreams.stats();
                let total = total(&stats);
                wire.set_message(format!(
                    "{} calls, {} in flight, {} retried, {} throttled",
                    total.calls, stats.in_flight, total.retries, total.throttled
                ));
            }
        });
    }

    /// What is done, where it is no sync.
    pub(super) fn doing(&self, what: &'static str) {
        if let View::Bars { work, .. } = &self.view {
            work.set_prefix(what);
        }
    }

    pub(super) fn finish(&self) {
        if let View::Bars { all, work, wire } = &self.view {
            work.finish_and_clear();
            wire.finish_and_clear();
            let _ = all.clear();
        }
    }

    fn end_phase(&mut self) {
        if let (View::Lines, Some(phase)) = (&self.view, self.phase)
            && matches!(
                phase,
                Phase::Resources
                    | Phase::Entitlements
                    | Phase::Grants
                    | Phase::Importing
                    | Phase::Expanding
            )
        {
            let rows = self.before + self.current;
            if rows > 0 || phase != Phase::Expanding {
                say(&format!("{}: {rows}", name(phase)));
            }
        }
    }
}

/// The sum over all upstreams.
pub(super) fn total(stats: &Snapshot) -> Counts {
    let mut sum = Counts::default();
    for name in stats.upstreams.keys() {
        sum += stats.of(name);
    }
    sum
}

/// A phase, for people.
pub(super) fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Opening => "opening",
        Phase::Validating => "validating",
        Phase::Resources => "resources",
        Phase::Entitlements => "entitlements",
        Phase::Grants => "grants",
        Phase::Importing => "imported",
        Phase::Expanding => "inherited",
        Phase::Writing => "writing",
    }
}

impl Progress for Display {
    fn phase(&mut self, phase: Phase) {
        self.end_phase();
        self.phase = Some(phase);
        (self.before, self.current) = (0, 0);
        self.kind.clear();
        if let View::Bars { work, .. } = &self.view {
            work.set_prefix(name(phase));
            work.set_message("");
        }
    }

    fn found(&mut self, _phase: Phase, kind: &str, count: u64) {
        if self.kind != kind {
            self.before += self.current;
            kind.clone_into(&mut self.kind);
        }
        self.current = count;
        if let View::Bars { work, .. } = &self.view {
            work.set_message(format!("{}  {kind}", self.before + self.current));
        }
    }
}

/// What a connector says about a long call.
pub(super) struct Voice(pub(super) Display);

impl Observer for Voice {
    fn progress(&self, done: u64, total: Option<u64>, what: &str) {
        if let View::Bars { work, .. } = &self.0.view {
            match total {
                Some(total) => work.set_message(format!("{what} {done} of {total}")),
                None => work.set_message(format!("{what} {done}")),
            }
        }
    }
}
