//! Many clusters in one process.
//!
//! A fleet file names them, or rules by which they are found; a scheduler syncs
//! them, each in a store of its own that lives as long as its task; a board
//! knows what is known of each now. One cluster's failure is its own: nothing
//! that a cluster does makes another wait, but the slots of the sandbox, which
//! are handed out fairly between accounts.

pub mod board;
pub mod check;
pub mod cluster;
pub mod config;
pub mod discover;
mod failed;
mod files;
mod plugins;
mod queue;
pub mod schedule;
pub mod scheduler;
pub mod serve;
pub mod settings;
pub mod shard;
pub mod status;
pub mod stop;
pub mod summary;
#[cfg(test)]
mod testing;
mod work;

pub use board::{
    Board, ClusterStatus, ConfigurationState, Failure, FailureKind, Good, Histogram, Mode,
    RuleStatus, Slots, Snapshot, State, SyncResult, Totals,
};
pub use cluster::{Cluster, ClusterId, Credentials, Reference};
pub use config::{Broken, Config, Mistake, Mistakes, Rule};
pub use discover::{Discovery, Found};
pub use queue::{Place, Queue};
pub use schedule::{Backoff, Chance, Schedule};
pub use scheduler::{Hold, Outcome, Scheduler, SchedulerOptions};
pub use shard::Shard;
pub use status::StatusFile;
pub use stop::{Stop, Stopper};
