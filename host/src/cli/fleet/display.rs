//! Progress of a fleet: on a terminal a line for each cluster that is synced
//! and a total below, otherwise a plain line for each that is done.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::super::output::{plain, say};
use super::super::progress::name;
use crate::fleet::{Board, ClusterId, ClusterStatus, Snapshot, State};

/// How often a terminal is drawn anew.
const DRAW: Duration = Duration::from_millis(100);
/// Lines of clusters that a terminal shows at once.
const LINES: usize = 20;

/// Shows a board until it is told to end.
pub(super) struct Display {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Display {
    pub(super) fn start(board: Arc<Board>, quiet: bool) -> Option<Display> {
        if quiet {
            return None;
        }
        let (end, ended) = oneshot::channel();
        let mut view = View::new(std::io::stderr().is_terminal());
        let task = tokio::spawn(async move {
            let mut changed = board.changed();
            let draw = async {
                let mut tick = tokio::time::interval(DRAW);
                while changed.changed().await.is_ok() {
                    tick.tick().await;
                    view.show(&board.snapshot());
                }
            };
            tokio::select! {
                () = draw => {}
                _ = ended => {}
            }
            view.show(&board.snapshot());
            view.finish();
        });
        Some(Display { end, task })
    }

    /// Shows what is left to show and ends.
    pub(super) async fn finish(self) {
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}

struct View {
    /// What was said of each cluster last.
    said: BTreeMap<ClusterId, String>,
    bars: Option<Bars>,
}

struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    running: BTreeMap<ClusterId, ProgressBar>,
    style: ProgressStyle,
}

impl View {
    fn new(terminal: bool) -> View {
        let bars = terminal.then(|| {
            let all = MultiProgress::new();
            let style = ProgressStyle::with_template("{spinner} {prefix}  {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let total = all.add(ProgressBar::new_spinner().with_style(style.clone()));
            total.enable_steady_tick(Duration::from_millis(120));
            Bars {
                all,
                total,
                running: BTreeMap::new(),
                style,
            }
        });
        View {
            said: BTreeMap::new(),
            bars,
        }
    }

    fn show(&mut self, snapshot: &Snapshot) {
        for status in &snapshot.clusters {
            if let Some(line) = line(status)
                && self.said.get(&status.id) != Some(&line)
            {
                match &self.bars {
                    Some(bars) => {
                        let _ = bars.all.println(&line);
                    }
                    None => say(&line),
                }
                self.said.insert(status.id.clone(), line);
            }
        }
        if let Some(bars) = &mut self.bars {
            bars.show(snapshot);
        }
    }

    fn finish(&mut self) {
        if let Some(bars) = &mut self.bars {
            for (_, bar) in std::mem::take(&mut bars.running) {
                bar.finish_and_clear();
            }
            bars.total.finish_and_clear();
            let _ = bars.all.clear();
        }
    }
}

impl Bars {
    fn show(&mut self, snapshot: &Snapshot) {
        let running: BTreeMap<&ClusterId, String> = snapshot
            .clusters
            .iter()
            .filter_map(|status| match &status.state {
                State::Syncing { phase, rows, .. } => {
                    Some((&status.id, format!("{} {rows}", name(*phase))))
                }
                _ => None,
            })
            .take(LINES)
            .collect();
        self.running.retain(|id, bar| {
            let stays = running.contains_key(id);
            if !stays {
                bar.finish_and_clear();
            }
            stays
        });
        for (id, text) in running {
            let bar = self.running.entry(id.clone()).or_insert_with(|| {
                let bar = ProgressBar::new_spinner()
                    .with_style(self.style.clone())
                    .with_prefix(plain(id.as_str()));
                let bar = self.all.insert_before(&self.total, bar);
                bar.enable_steady_tick(Duration::from_millis(120));
                bar
            });
            bar.set_message(text);
        }
        self.total.set_prefix("in all");
        self.total.set_message(total(snapshot));
    }
}

/// `12 of 40 synced, 1 failed, 4 running, 23 waiting; 1234 calls, 2 throttled`
fn total(snapshot: &Snapshot) -> String {
    let (mut good, mut failed, mut running, mut again) = (0, 0, 0, 0);
    for status in &snapshot.clusters {
        match &status.state {
            State::Done if status.last_failure.is_none() => good += 1,
            State::Done | State::Disabled { .. } => failed += 1,
            State::Syncing { .. } => running += 1,
            State::BackingOff { .. } => again += 1,
            _ => {}
        }
    }
    let all = snapshot.clusters.len();
    let waiting = all - good - failed - running - again;
    let upstreams = snapshot.totals.upstreams.values();
    let (calls, throttled) = upstreams.fold((0, 0), |(calls, throttled), counts| {
        (calls + counts.calls, throttled + counts.throttled)
    });
    format!(
        "{good} of {all} synced, {failed} failed, {running} running, {again} to be tried again, {waiting} waiting; {calls} calls, {throttled} throttled"
    )
}

/// What is said of a cluster for good: that it is done, or will be tried again.
fn line(status: &ClusterStatus) -> Option<String> {
    let id = plain(status.id.as_str());
    let failure = status.last_failure.as_ref();
    let why = failure.map_or_else(String::new, |failure| plain(&failure.message));
    Some(match &status.state {
        State::Done => match (failure, &status.last_good) {
            (None, Some(good)) => format!(
                "synced  {id}  {} resources, {} grants in {:.1} s",
                good.objects, good.grants, good.seconds
            ),
            _ => format!("failed  {id}  {why}"),
        },
        State::BackingOff { attempts, .. } => {
            format!("again   {id}  {why} (failure {attempts}, to be tried again)")
        }
        State::Disabled { why } => format!("failed  {id}  {}", plain(why)),
        _ => return None,
    })
}
