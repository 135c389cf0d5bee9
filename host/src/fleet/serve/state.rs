//! What the page, the metrics and the probes make of a cluster's row.

use crate::fleet::board::{ClusterStatus, State};

/// How a cluster is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Its last sync failed.
    Failing,
    /// It is not synced at all, and somebody has to do something.
    Disabled,
    /// It was never tried.
    New,
    /// Its last sync was good.
    Fine,
}

impl Standing {
    pub(super) fn name(self) -> &'static str {
        match self {
            Standing::Failing => "failing",
            Standing::Disabled => "disabled",
            Standing::New => "new",
            Standing::Fine => "fine",
        }
    }
}

/// A sync under way changes nothing: the last one counts until it ends.
pub(super) fn standing(cluster: &ClusterStatus) -> Standing {
    if matches!(cluster.state, State::Disabled { .. }) {
        return Standing::Disabled;
    }
    match (&cluster.last_good, &cluster.last_failure) {
        (None, None) => Standing::New,
        (Some(_), None) => Standing::Fine,
        (Some(good), Some(failure)) if good.at >= failure.at => Standing::Fine,
        (_, Some(_)) => Standing::Failing,
    }
}

/// Everything that [`state`] says.
pub(super) const STATES: [&str; 6] = [
    "waiting",
    "queued",
    "syncing",
    "backing-off",
    "disabled",
    "done",
];

/// What the scheduler does with it now, as a label.
pub(super) fn state(state: &State) -> &'static str {
    match state {
        State::Waiting => "waiting",
        State::Queued => "queued",
        State::Syncing { .. } => "syncing",
        State::BackingOff { .. } => "backing-off",
        State::Disabled { .. } => "disabled",
        State::Done => "done",
    }
}
