//! The sync engine: drives a connector and writes what it lists.
//!
//! One order of calls: `open`, `validate`, then objects, entitlements and
//! grants, each for every listed kind in the descriptor's order. Rows go to
//! the access file as they come, so memory does not grow with them; a sync
//! that fails leaves the file as it was and the next one begins again. What
//! would make a file that readers stumble over (a grant without its
//! entitlement, two objects of one id) is left out, counted and kept as
//! evidence. Then what was listed is carried on to people (`crate::people`).

mod convert;
mod engine;
mod error;
mod objects;
mod page;
mod people;
mod progress;
mod summary;
#[cfg(test)]
mod tests;

pub use engine::{Facts, Options, run};
pub use error::SyncError;
pub use progress::{Phase, Progress};
pub use summary::{KindCounts, Summary, Unread, Warning};

/// The name of the asset that holds a sync's evidence.
pub const EVIDENCE_ASSET: &str = "baton-host/evidence.json";
