//! How sure a grant is, as a number that is larger the surer: the weakest link
//! of a chain counts, and the strongest of several chains.
//!
//! A grant that says nothing about it (another connector's) is as good as
//! certain, but nothing is claimed of what rests on such grants alone.

use crate::c1z::pb;
use crate::people::metadata;

/// The rank of grants that say nothing.
pub(super) const UNSAID: u8 = 5;

/// The rank of grants that are sure.
pub(super) const CERTAIN: u8 = 4;

const KEY: &str = "certainty";

/// Ranks from 1.
const WORDS: [&str; 4] = ["latent", "conditional", "session", "certain"];

/// The rank of a grant.
pub(super) fn rank(grant: &pb::Grant) -> u8 {
    let word = metadata::text(grant, KEY).unwrap_or_default();
    (1..UNSAID)
        .zip(WORDS)
        .find(|(_, known)| *known == word)
        .map_or(UNSAID, |(rank, _)| rank)
}

fn word(rank: u8) -> &'static str {
    usize::from(rank)
        .checked_sub(1)
        .and_then(|position| WORDS.get(position))
        .unwrap_or(&"certain")
}

/// Says how sure a grant is that expansion made.
pub(super) fn mark(grant: &mut pb::Grant, rank: u8) {
    if rank < UNSAID {
        metadata::set(grant, KEY, word(rank));
    }
}

/// Raises what a grant says of itself, if it says something and another way is
/// surer than its own.
pub(super) fn raise(grant: &mut pb::Grant, to: u8) {
    if rank(grant) < to {
        metadata::set(grant, KEY, word(to));
    }
}
