//! Which clusters are this process's: rendezvous hashing of their ARNs.
//!
//! Every shard computes for each cluster a number per shard, and the highest
//! wins. All processes agree without talking, and one shard more or less moves
//! only the clusters that it gains or loses.

use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// One of several processes that share a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    index: u32,
    all: u32,
}

/// The most processes of one fleet.
const MOST: u32 = 1_000;

impl Shard {
    /// The only one.
    #[must_use]
    pub fn whole() -> Shard {
        Shard { index: 1, all: 1 }
    }

    /// Shard `index`, from 1, of `all`.
    ///
    /// # Errors
    /// When there is no such shard, as one sentence.
    pub fn new(index: u32, all: u32) -> Result<Shard, String> {
        if all == 0 || all > MOST {
            return Err(format!("there can be 1 to {MOST} shards, not {all}"));
        }
        if index == 0 || index > all {
            return Err(format!(
                "shards are counted from 1: of {all} there is no shard {index}"
            ));
        }
        Ok(Shard { index, all })
    }

    /// The shard whose number, from 0, Kubernetes gives: `JOB_COMPLETION_INDEX`
    /// of an Indexed Job, or the end of a StatefulSet's host name.
    ///
    /// # Errors
    /// When neither says a number, or one that is not below `all`.
    pub fn of_kubernetes(
        all: u32,
        completion_index: Option<&str>,
        host_name: Option<&str>,
    ) -> Result<Shard, String> {
        let (text, whence) = match (completion_index, host_name) {
            (Some(text), _) => (text, "JOB_COMPLETION_INDEX".to_owned()),
            (None, Some(name)) => (
                name.rsplit_once('-').map_or("", |(_, end)| end),
                format!("the host name {name}"),
            ),
            (None, None) => {
                return Err(
                    "neither JOB_COMPLETION_INDEX nor a host name says which shard this is"
                        .to_owned(),
                );
            }
        };
        let ordinal: u32 = text
            .parse()
            .map_err(|_| format!("{whence} does not say which shard this is: it does not end with a number, as a StatefulSet's `-0` does"))?;
        if ordinal >= all {
            return Err(format!(
                "{whence} says number {ordinal}, counted from 0, and there are {all} shards"
            ));
        }
        Shard::new(ordinal + 1, all)
    }

    /// Whether a cluster is this shard's.
    #[must_use]
    pub fn keeps(&self, arn: &str) -> bool {
        (1..=self.all).max_by_key(|shard| weight(arn, *shard)) == Some(self.index)
    }

    /// From 1.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// How many there are.
    #[must_use]
    pub fn all(&self) -> u32 {
        self.all
    }
}

impl FromStr for Shard {
    type Err = String;

    /// `3/8`: the third of eight.
    fn from_str(text: &str) -> Result<Shard, String> {
        let numbers = || {
            let (index, all) = text.split_once('/')?;
            Some((index.trim().parse().ok()?, all.trim().parse().ok()?))
        };
        let (index, all) =
            numbers().ok_or_else(|| "a shard is written `3/8`: the third of eight".to_owned())?;
        Shard::new(index, all)
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.all)
    }
}

/// The same on every machine and in every version: fleets live long.
fn weight(arn: &str, shard: u32) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(arn.as_bytes());
    hash.update([0]);
    hash.update(shard.to_be_bytes());
    hash.finalize().into()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    fn arns() -> Vec<String> {
        (0..1_000)
            .map(|n| format!("arn:aws:eks:eu-west-1:111122223333:cluster/c{n}"))
            .collect()
    }

    fn owner(arn: &str, all: u32) -> u32 {
        let owners: Vec<u32> = (1..=all)
            .filter(|index| Shard::new(*index, all).unwrap().keeps(arn))
            .collect();
        let [owner] = owners.as_slice() else {
            panic!("{arn} belongs to {owners:?}");
        };
        *owner
    }

    #[test]
    fn each_cluster_has_one_shard_and_shards_are_about_equal() {
        let mut sizes = [0_u32; 8];
        for arn in arns() {
            sizes[owner(&arn, 8) as usize - 1] += 1;
        }
        assert!(
            sizes.iter().all(|size| (80..170).contains(size)),
            "{sizes:?}"
        );
        assert!(arns().iter().all(|arn| Shard::whole().keeps(arn)));
    }

    #[test]
    fn one_shard_more_moves_only_what_it_takes() {
        let mut moved = 0;
        for arn in arns() {
            let (before, after) = (owner(&arn, 8), owner(&arn, 9));
            if before != after {
                assert_eq!(after, 9, "{arn}");
                moved += 1;
            }
        }
        assert!((60..170).contains(&moved), "{moved}");
    }

    /// Another hash would make every shard sync what others wrote.
    #[test]
    fn who_has_what_does_not_change_between_versions() {
        let owners: Vec<u32> = arns().iter().take(12).map(|arn| owner(arn, 5)).collect();
        assert_eq!(owners, OWNERS);
    }

    const OWNERS: [u32; 12] = [1, 3, 5, 3, 5, 4, 4, 5, 1, 5, 5, 4];

    #[test]
    fn a_shard_is_written_as_people_count() {
        assert_eq!("3/8".parse(), Shard::new(3, 8));
        assert_eq!("3/8".parse::<Shard>().unwrap().to_string(), "3/8");
        for (text, words) in [
            ("0/8", "counted from 1"),
            ("9/8", "no shard 9"),
            ("1/0", "1 to 1000"),
            ("1/1001", "1 to 1000"),
            ("3", "`3/8`"),
            ("-1/8", "`3/8`"),
            ("", "`3/8`"),
        ] {
            let error = text.parse::<Shard>().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn kubernetes_counts_from_zero() {
        let third = Shard::new(3, 8).unwrap();
        assert_eq!(
            Shard::of_kubernetes(8, Some("2"), Some("x-7")).unwrap(),
            third
        );
        assert_eq!(
            Shard::of_kubernetes(8, None, Some("baton-host-2")).unwrap(),
            third
        );
        for (index, host, words) in [
            (Some("8"), None, "says number 8"),
            (Some("x"), None, "JOB_COMPLETION_INDEX does not say"),
            (None, Some("laptop"), "the host name laptop does not say"),
            (None, Some("web-6f7-x2b"), "does not say"),
            (None, None, "neither"),
        ] {
            let error = Shard::of_kubernetes(8, index, host).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
