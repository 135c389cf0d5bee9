//! What a scheduler does with a cluster, as a label of the metrics.

use crate::fleet::board::State;

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
