//! How a run over a fleet went: all, some, none.

use serde::Serialize;

use super::board::{ClusterStatus, RuleStatus, Snapshot, Totals};
use super::scheduler::Outcome;

/// How a run went, for programs.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// `all`, `some` or `none`.
    pub succeeded: Share,
    /// Clusters that were synced.
    pub good: usize,
    /// Clusters that were not.
    pub failed: usize,
    /// Clusters that a stop kept from it.
    pub stopped: usize,
    /// Every cluster.
    pub clusters: Vec<Row>,
    /// Every rule by which clusters are found.
    pub rules: Vec<RuleStatus>,
    /// What it cost.
    pub totals: Totals,
}

/// One cluster.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// How this run ended for it.
    pub result: RowResult,
    /// What is known of it now.
    #[serde(flatten)]
    pub status: ClusterStatus,
}

/// How a run ended for a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowResult {
    /// A new access file is there.
    Good,
    /// The file is as before.
    Failed,
    /// Stopped; the file is as before.
    Stopped,
}

/// How many of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Share {
    /// Every cluster, and every rule could look.
    All,
    /// Not every one.
    Some,
    /// No cluster.
    None,
}

impl Summary {
    /// Of a run that is over.
    #[must_use]
    pub fn new(outcome: &Outcome, snapshot: Snapshot) -> Summary {
        let result = |status: &ClusterStatus| {
            if outcome.succeeded.contains(&status.id) {
                RowResult::Good
            } else if outcome.stopped.contains(&status.id) {
                RowResult::Stopped
            } else {
                RowResult::Failed
            }
        };
        let clusters: Vec<Row> = snapshot
            .clusters
            .into_iter()
            .map(|status| Row {
                result: result(&status),
                status,
            })
            .collect();
        let count = |wanted: RowResult| clusters.iter().filter(|row| row.result == wanted).count();
        let (good, failed, stopped) = (
            count(RowResult::Good),
            count(RowResult::Failed),
            count(RowResult::Stopped),
        );
        let blind = snapshot
            .rules
            .iter()
            .any(|rule| rule.last_failure.is_some());
        let succeeded = match (good, failed + stopped) {
            (_, 0) if !blind => Share::All,
            (0, _) => Share::None,
            _ => Share::Some,
        };
        Summary {
            succeeded,
            good,
            failed,
            stopped,
            clusters,
            rules: snapshot.rules,
            totals: snapshot.totals,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::fleet::board::Board;
    use crate::fleet::cluster::ClusterId;
    use crate::fleet::status::StatusFile;
    use crate::fleet::testing::cluster;

    fn share(succeeded: &[&str], failed: &[&str], stopped: &[&str], blind: bool) -> Share {
        let id = |name: &&str| ClusterId::new("111122223333", "eu-west-1", name);
        let outcome = Outcome {
            succeeded: succeeded.iter().map(id).collect(),
            failed: failed.iter().map(id).collect(),
            stopped: stopped.iter().map(id).collect(),
        };
        let board = Board::new();
        let all = [succeeded, failed, stopped].concat();
        let clusters = all.iter().map(|name| {
            let cluster = cluster(Path::new("/x"), "111122223333", name);
            StatusFile::new(&cluster).shown(&cluster)
        });
        board.set_clusters(clusters.collect());
        let mut snapshot = board.snapshot();
        if blind {
            let failed = super::super::failed::Failed::host("no answer".into());
            snapshot.rules.push(RuleStatus {
                name: "all".into(),
                account: "111122223333".into(),
                regions: vec!["eu-west-1".into()],
                found: 0,
                looked: None,
                last_failure: Some(failed.at(jiff::Timestamp::now())),
            });
        }
        let summary = Summary::new(&outcome, snapshot);
        assert_eq!(summary.clusters.len(), all.len());
        assert_eq!(
            (summary.good, summary.failed, summary.stopped),
            (succeeded.len(), failed.len(), stopped.len())
        );
        summary.succeeded
    }

    #[test]
    fn all_some_and_none_are_told_apart() {
        assert_eq!(share(&["a", "b"], &[], &[], false), Share::All);
        assert_eq!(share(&["a"], &["b"], &[], false), Share::Some);
        assert_eq!(share(&["a"], &[], &["b"], false), Share::Some);
        assert_eq!(share(&[], &["a"], &["b"], false), Share::None);
        // A rule that could not look may have missed clusters.
        assert_eq!(share(&["a"], &[], &[], true), Share::Some);
        assert_eq!(share(&[], &[], &[], true), Share::None);
        // An empty shard is no failure.
        assert_eq!(share(&[], &[], &[], false), Share::All);
    }
}
