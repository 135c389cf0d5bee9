//! What a sync tells about itself while it runs.

use serde::Serialize;

/// What a sync is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Phase {
    /// Reading the file that is there and checking settings.
    Opening,
    /// Asking whether the upstreams answer.
    Validating,
    /// Listing objects.
    Resources,
    /// Listing entitlements.
    Entitlements,
    /// Listing grants.
    Grants,
    /// Taking accounts and groups from another connector's file.
    Importing,
    /// Carrying access through roles and groups to those who hold them.
    Expanding,
    /// Packing and replacing the file.
    Writing,
}

/// Somebody who watches. Called between the calls into a connector, so it must
/// return at once.
pub trait Progress: Send {
    /// A phase begins.
    fn phase(&mut self, _phase: Phase) {}
    /// `count` rows of `kind` were written in this phase so far.
    fn found(&mut self, _phase: Phase, _kind: &str, _count: u64) {}
    /// A kind is done in this phase.
    fn done(&mut self, _phase: Phase, _kind: &str) {}
}

/// Nobody.
impl Progress for () {}
