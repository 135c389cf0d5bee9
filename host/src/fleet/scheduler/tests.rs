//! Scheduling without a sandbox or a network: syncs are played, time is ours.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::super::board::{FailureKind, Good, Slots, SyncResult};
use super::super::config::Mistake;
use super::super::queue::Queue;
use super::super::stop::Stopper;
use super::super::testing::cluster;
use super::super::work::Orders;
use super::*;
use crate::clock::Instant;

/// What one sync of a cluster does.
#[derive(Debug, Clone, Copy)]
enum Play {
    /// Takes this many seconds and goes well.
    Good(u64),
    /// Takes this many seconds and fails because nothing answers.
    Down(u64),
    /// Fails at once: nothing but another configuration helps.
    Wrong,
    /// The plugin is not approved.
    Unapproved,
    /// Says that it was stopped, though nobody did that.
    Liar,
    /// A bug of ours.
    Bug,
    /// Never ends by itself; stops at its next edge, this many seconds later.
    Endless(u64),
}

/// Plays syncs, and writes down when each began.
struct Stage {
    plays: Mutex<HashMap<String, Vec<Play>>>,
    begun: Mutex<Vec<(String, Duration)>>,
    running: Mutex<BTreeSet<String>>,
    places: Queue,
    start: Instant,
}

impl Stage {
    fn new(places: usize) -> Arc<Stage> {
        Arc::new(Stage {
            plays: Mutex::default(),
            begun: Mutex::default(),
            running: Mutex::default(),
            places: Queue::new(places),
            start: clock::now(),
        })
    }

    /// The plays of a cluster, one after the other; the last one for ever.
    fn plays(&self, name: &str, plays: &[Play]) {
        lock(&self.plays).insert(name.to_owned(), plays.to_vec());
    }

    /// When the syncs of a cluster began, in seconds from the start.
    fn begun(&self, name: &str) -> Vec<u64> {
        let begun = lock(&self.begun);
        let own = begun.iter().filter(|(other, _)| other == name);
        own.map(|(_, at)| at.as_secs()).collect()
    }

    fn next(&self, name: &str) -> Play {
        let mut plays = lock(&self.plays);
        let Some(plays) = plays.get_mut(name) else {
            return Play::Good(1);
        };
        if plays.len() > 1 {
            plays.remove(0)
        } else {
            *plays.first().unwrap()
        }
    }
}

/// Takes a cluster off the stage, also when it is dropped.
struct OnStage(Arc<Stage>, String);

impl Drop for OnStage {
    fn drop(&mut self) {
        lock(&self.0.running).remove(&self.1);
    }
}

struct Works(Arc<Stage>);

impl Work for Works {
    fn sync(
        &self,
        cluster: Arc<Cluster>,
        orders: Orders,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Synced, Failed>> + Send>> {
        let stage = self.0.clone();
        Box::pin(async move {
            let name = cluster.name.clone();
            let play = stage.next(&name);
            // What does not answer takes no place, as in the true work.
            let down = |failed: Failed| -> Result<Synced, Failed> { Err(failed) };
            match play {
                Play::Down(seconds) => {
                    lock(&stage.begun).push((name, clock::since(stage.start)));
                    clock::sleep(Duration::from_secs(seconds)).await;
                    let mut failed = Failed::host("EKS gave no answer in time".into());
                    failed.kind = FailureKind::Unavailable;
                    return down(failed);
                }
                Play::Wrong => {
                    lock(&stage.begun).push((name, clock::since(stage.start)));
                    return down(Failed::configuration("a setting is wrong".into()));
                }
                Play::Liar => return Err(Failed::cancelled()),
                Play::Bug => panic!("a bug that the test wants"),
                Play::Unapproved => return down(Failed::unapproved("not approved".into())),
                Play::Good(_) | Play::Endless(_) => {}
            }
            let _place = orders.before(stage.places.enter(&cluster.account)).await?;
            lock(&stage.begun).push((name.clone(), clock::since(stage.start)));
            assert!(
                lock(&stage.running).insert(name.clone()),
                "{name} is synced twice at once"
            );
            let _on_stage = OnStage(stage.clone(), name);
            match play {
                Play::Endless(edge) => {
                    orders.cancel.told().await;
                    clock::sleep(Duration::from_secs(edge)).await;
                    Err(Failed::cancelled())
                }
                Play::Good(seconds) => {
                    clock::sleep(Duration::from_secs(seconds)).await;
                    let good = Good {
                        at: Timestamp::now(),
                        seconds: 1.0,
                        objects: 1,
                        entitlements: 1,
                        grants: 1,
                        bytes: 1,
                        file: cluster.output.clone(),
                    };
                    Ok(Synced {
                        good,
                        warnings: vec!["a warning".into()],
                    })
                }
                _ => unreachable!(),
            }
        })
    }

    fn renew(&self, _clusters: &[Arc<Cluster>]) {}
}

struct Fleet {
    folder: tempfile::TempDir,
    stage: Arc<Stage>,
    board: Arc<Board>,
    scheduler: Scheduler,
    stopper: Stopper,
}

fn fleet(places: usize, mut options: SchedulerOptions) -> Fleet {
    options.chance = Chance::seeded(7);
    let stage = Stage::new(places);
    let board = Arc::new(Board::new());
    board.set_slots(Slots {
        in_use: 0,
        all: places,
    });
    Fleet {
        folder: tempfile::tempdir().unwrap(),
        scheduler: Scheduler::with(Arc::new(Works(stage.clone())), board.clone(), options),
        stage,
        board,
        stopper: Stopper::new(),
    }
}

fn once() -> SchedulerOptions {
    SchedulerOptions::once(BTreeMap::new(), Vec::new())
}

fn forever() -> SchedulerOptions {
    SchedulerOptions::forever(BTreeMap::new(), Vec::new(), Duration::from_secs(30))
}

const A: &str = "111122223333";
const B: &str = "444455556666";

impl Fleet {
    fn cluster(&self, account: &str, name: &str) -> Cluster {
        cluster(self.folder.path(), account, name)
    }

    fn clusters(&self, names: &[&str]) -> Vec<Cluster> {
        names.iter().map(|name| self.cluster(A, name)).collect()
    }

    async fn run(&self) -> Outcome {
        self.scheduler.run(self.stopper.stop()).await
    }

    /// Runs for some time and then stops.
    async fn run_for(&self, seconds: u64) -> Outcome {
        let stopper = self.stopper.clone();
        let later = async move {
            clock::sleep(Duration::from_secs(seconds)).await;
            stopper.end();
        };
        tokio::join!(self.run(), later).0
    }

    fn state(&self, name: &str) -> State {
        let id = ClusterId::new(A, "eu-west-1", name);
        self.board.cluster(&id).unwrap().state
    }
}

fn names(ids: &[ClusterId]) -> Vec<&str> {
    let last = |id: &'_ ClusterId| id.as_str().rfind('/').map_or(0, |slash| slash + 1);
    ids.iter().map(|id| &id.as_str()[last(id)..]).collect()
}

#[tokio::test]
async fn one_clusters_outage_is_its_own() {
    clock::run(async {
        let fleet = fleet(2, once());
        fleet.stage.plays("down", &[Play::Down(60)]);
        fleet.stage.plays("wrong", &[Play::Wrong]);
        let good: Vec<String> = (0..8).map(|n| format!("good-{n}")).collect();
        let mut all = vec!["down", "wrong"];
        all.extend(good.iter().map(String::as_str));
        fleet.scheduler.replace(fleet.clusters(&all)).await;
        let outcome = fleet.run().await;
        assert_eq!(names(&outcome.failed), ["down", "wrong"]);
        assert_eq!(outcome.succeeded.len(), 8);
        // Two places, one second each: nobody waited for those that fail.
        let last = good.iter().flat_map(|name| fleet.stage.begun(name)).max();
        assert_eq!(last, Some(3));
        assert_eq!(fleet.stage.begun("down").len(), 3, "tried three times");
        assert_eq!(fleet.stage.begun("wrong").len(), 1, "nothing would change");
        let snapshot = fleet.board.snapshot();
        assert_eq!(snapshot.totals.syncs[&SyncResult::Succeeded], 8);
        assert_eq!(snapshot.totals.syncs[&SyncResult::Failed], 4);
        assert!(
            snapshot
                .clusters
                .iter()
                .all(|status| status.state == State::Done)
        );
    })
    .await;
}

#[tokio::test]
async fn what_ends_unasked_is_a_failure_and_comes_back() {
    clock::run(async {
        for play in [Play::Liar, Play::Bug] {
            let fleet = fleet(1, forever());
            fleet.stage.plays("a", &[play, Play::Good(1)]);
            fleet.scheduler.replace(fleet.clusters(&["a"])).await;
            let outcome = fleet.run_for(120).await;
            assert_eq!(names(&outcome.succeeded), ["a"], "{play:?}");
            let totals = fleet.board.snapshot().totals;
            assert_eq!(totals.syncs.get(&SyncResult::Failed), Some(&1), "{play:?}");
        }
        let fleet = fleet(1, once());
        fleet.stage.plays("liar", &[Play::Liar]);
        fleet.scheduler.replace(fleet.clusters(&["liar"])).await;
        assert_eq!(names(&fleet.run().await.failed), ["liar"]);
    })
    .await;
}

#[tokio::test]
async fn what_comes_back_is_synced_after_a_pause_that_grows() {
    clock::run(async {
        let fleet = fleet(1, once());
        fleet
            .stage
            .plays("a", &[Play::Down(0), Play::Down(0), Play::Good(1)]);
        fleet.scheduler.replace(fleet.clusters(&["a"])).await;
        let outcome = fleet.run().await;
        assert_eq!(names(&outcome.succeeded), ["a"]);
        let begun = fleet.stage.begun("a");
        assert_eq!(begun.len(), 3);
        assert!((1..=2).contains(&begun[1]), "{begun:?}");
        assert!((2..=4).contains(&(begun[2] - begun[1])), "{begun:?}");
        let status = fleet.board.cluster(&outcome.succeeded[0]).unwrap();
        assert_eq!(status.last_failure, None);
        assert_eq!(status.warnings, ["a warning"]);
    })
    .await;
}

#[tokio::test]
async fn an_account_of_many_does_not_delay_another() {
    clock::run(async {
        let fleet = fleet(2, once());
        let mut all = Vec::new();
        for n in 0..50 {
            let name = format!("slow-{n}");
            fleet.stage.plays(&name, &[Play::Good(100)]);
            all.push(fleet.cluster(A, &name));
        }
        fleet.scheduler.replace(all.clone()).await;
        let later = async {
            clock::sleep(Duration::from_secs(150)).await;
            all.push(fleet.cluster(B, "one"));
            fleet.scheduler.replace(all).await;
        };
        let (outcome, ()) = tokio::join!(fleet.run(), later);
        assert_eq!(outcome.succeeded.len(), 51);
        // The first place that is free after it came.
        assert_eq!(fleet.stage.begun("one"), [200]);
    })
    .await;
}

#[tokio::test]
async fn for_ever_is_on_schedule_and_failures_come_back_sooner() {
    clock::run(async {
        let fleet = fleet(2, forever());
        fleet.stage.plays("good", &[Play::Good(10)]);
        fleet.stage.plays("down", &[Play::Down(0)]);
        fleet.stage.plays("wrong", &[Play::Wrong]);
        fleet
            .scheduler
            .replace(fleet.clusters(&["good", "down", "wrong"]))
            .await;
        fleet.run_for(6 * 3_600).await;
        let begun = fleet.stage.begun("good");
        assert_eq!(begun.len(), 6, "{begun:?}");
        for pair in begun.windows(2) {
            let pause = pair[1] - pair[0];
            assert!((3_610..=3_971).contains(&pause), "{begun:?}");
        }
        for name in ["down", "wrong"] {
            let begun = fleet.stage.begun(name);
            assert!((10..=24).contains(&begun.len()), "{name}: {begun:?}");
            let first = begun[1] - begun[0];
            assert!((15..=30).contains(&first), "{name}: {begun:?}");
            let last = begun[begun.len() - 1] - begun[begun.len() - 2];
            assert!((1_800..=3_600).contains(&last), "{name}: {begun:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_another_process_synced_is_not_synced_again_at_once() {
    clock::run(async {
        let fleet = fleet(2, forever());
        let all = fleet.clusters(&["recent", "old", "lost"]);
        for (cluster, minutes) in all.iter().zip([30, 90, 30]) {
            let mut status = StatusFile::new(cluster);
            let good = Good {
                at: Timestamp::now() - Duration::from_secs(minutes * 60),
                seconds: 1.0,
                objects: 1,
                entitlements: 1,
                grants: 1,
                bytes: 1,
                file: cluster.output.clone(),
            };
            status.succeeded(good, Vec::new());
            status.write(&cluster.status_file()).unwrap();
            if cluster.name != "lost" {
                std::fs::write(&cluster.output, "").unwrap();
            }
        }
        fleet.scheduler.replace(all).await;
        fleet.run_for(3_000).await;
        assert_eq!(fleet.stage.begun("old"), [0]);
        assert_eq!(fleet.stage.begun("lost"), [0], "its access file is gone");
        let begun = fleet.stage.begun("recent");
        assert_eq!(begun.len(), 1);
        assert!((1_795..=2_165).contains(&begun[0]), "{begun:?}");
    })
    .await;
}

#[tokio::test]
async fn a_reload_restarts_what_changed_and_nothing_else() {
    clock::run(async {
        let fleet = fleet(8, forever());
        let mut all = fleet.clusters(&["same", "changed", "gone"]);
        for cluster in &all {
            fleet.stage.plays(&cluster.name, &[Play::Endless(5)]);
        }
        fleet.scheduler.replace(all.clone()).await;
        let reload = async {
            clock::sleep(Duration::from_secs(100)).await;
            assert_eq!(lock(&fleet.stage.running).len(), 3);
            all.remove(2);
            all[1].settings.insert("depth".into(), "4".into());
            all.push(fleet.cluster(A, "new"));
            fleet.stage.plays("changed", &[Play::Good(1)]);
            fleet.scheduler.replace(all.clone()).await;
            clock::sleep(Duration::from_secs(50)).await;
            fleet.stopper.end();
        };
        tokio::join!(fleet.run(), reload);
        assert_eq!(fleet.stage.begun("same"), [0]);
        // Not before the old one has come to its edge: they share a file.
        assert_eq!(fleet.stage.begun("changed"), [0, 105]);
        assert_eq!(fleet.stage.begun("gone"), [0]);
        assert_eq!(fleet.stage.begun("new"), [100]);
        let ids = fleet.board.snapshot().clusters;
        let names: Vec<&str> = ids.iter().map(|status| status.name.as_str()).collect();
        assert_eq!(names, ["changed", "new", "same"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_approved_stands_still_until_a_reload() {
    clock::run(async {
        let fleet = fleet(2, forever());
        fleet.stage.plays("a", &[Play::Unapproved, Play::Good(1)]);
        let all = fleet.clusters(&["a", "b"]);
        fleet.scheduler.replace(all.clone()).await;
        let reload = async {
            clock::sleep(Duration::from_secs(2 * 24 * 3_600)).await;
            let why = "not approved".to_owned();
            assert_eq!(fleet.state("a"), State::Disabled { why });
            assert!(fleet.stage.begun("a").is_empty());
            assert!(!fleet.scheduler.nudge(&all[0].id), "it would fail again");
            fleet.scheduler.replace(all.clone()).await;
            clock::sleep(Duration::from_secs(10)).await;
            fleet.stopper.end();
        };
        tokio::join!(fleet.run(), reload);
        assert_eq!(fleet.stage.begun("a").len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_broken_cluster_is_on_the_board_and_counts_as_failed() {
    clock::run(async {
        let fleet = fleet(2, once());
        let broken = Broken {
            id: ClusterId::new(A, "eu-west-1", "bad"),
            account: Some(A.into()),
            region: "eu-west-1".into(),
            name: "bad".into(),
            rule: false,
            mistakes: vec![Mistake {
                line: 3,
                column: 1,
                message: "`never` is no schedule".into(),
                hint: None,
            }],
        };
        fleet
            .scheduler
            .replace_with(fleet.clusters(&["a"]), vec![broken])
            .await;
        let outcome = fleet.run().await;
        assert_eq!(names(&outcome.failed), ["bad"]);
        assert_eq!(names(&outcome.succeeded), ["a"]);
        let why = "line 3: `never` is no schedule".to_owned();
        assert_eq!(fleet.state("bad"), State::Disabled { why });
    })
    .await;
}

#[tokio::test]
async fn a_nudge_syncs_now() {
    clock::run(async {
        let fleet = fleet(2, forever());
        let all = fleet.clusters(&["a"]);
        fleet.scheduler.replace(all.clone()).await;
        let nudge = async {
            clock::sleep(Duration::from_secs(100)).await;
            assert!(fleet.scheduler.nudge(&all[0].id));
            assert!(!fleet.scheduler.nudge(&ClusterId::named("nobody")));
        };
        tokio::join!(fleet.run_for(200), nudge);
        assert_eq!(fleet.stage.begun("a"), [0, 100]);
    })
    .await;
}

#[tokio::test]
async fn a_stop_ends_one_time_runs_at_the_next_edge() {
    clock::run(async {
        let fleet = fleet(2, once());
        for name in ["quick", "slow"] {
            fleet.stage.plays(name, &[Play::Endless(1)]);
        }
        fleet
            .scheduler
            .replace(fleet.clusters(&["quick", "slow", "waits"]))
            .await;
        let begin = clock::now();
        let outcome = fleet.run_for(10).await;
        assert_eq!(clock::since(begin).as_secs(), 11);
        assert_eq!(outcome.stopped.len(), 3, "{outcome:?}");
        assert!(fleet.stage.begun("waits").is_empty());
        assert!(lock(&fleet.stage.running).is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_does_not_come_to_an_edge_is_dropped_after_the_grace() {
    clock::run(async {
        let fleet = fleet(2, once());
        fleet.stage.plays("stuck", &[Play::Endless(1_000)]);
        fleet.scheduler.replace(fleet.clusters(&["stuck"])).await;
        let begin = clock::now();
        let outcome = fleet.run_for(10).await;
        assert_eq!(clock::since(begin).as_secs(), 13);
        assert_eq!(names(&outcome.stopped), ["stuck"]);
        tokio::task::yield_now().await;
        assert!(lock(&fleet.stage.running).is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_second_stop_ends_at_once() {
    clock::run(async {
        let fleet = fleet(2, once());
        fleet.stage.plays("stuck", &[Play::Endless(1_000)]);
        fleet.scheduler.replace(fleet.clusters(&["stuck"])).await;
        let begin = clock::now();
        let second = async {
            clock::sleep(Duration::from_secs(11)).await;
            fleet.stopper.end_now();
        };
        tokio::join!(fleet.run_for(10), second);
        assert_eq!(clock::since(begin).as_secs(), 11);
    })
    .await;
}

#[tokio::test]
async fn a_server_lets_syncs_finish_within_the_grace() {
    clock::run(async {
        let fleet = fleet(3, forever());
        fleet.stage.plays("short", &[Play::Good(25)]);
        fleet.stage.plays("long", &[Play::Good(1_000)]);
        fleet
            .scheduler
            .replace(fleet.clusters(&["short", "long"]))
            .await;
        let begin = clock::now();
        let outcome = fleet.run_for(10).await;
        // It has 30 seconds from the stop, and 3 to come to an edge.
        assert_eq!(clock::since(begin).as_secs(), 43);
        assert_eq!(names(&outcome.succeeded), ["short"]);
        assert_eq!(names(&outcome.stopped), ["long"]);
        assert_eq!(fleet.stage.begun("short"), [0], "no new one");
    })
    .await;
}

#[tokio::test]
async fn what_is_held_open_takes_more_clusters() {
    clock::run(async {
        let fleet = fleet(2, once());
        let hold = fleet.scheduler.hold();
        let all = fleet.clusters(&["a"]);
        fleet.scheduler.replace(all.clone()).await;
        let later = async {
            clock::sleep(Duration::from_secs(60)).await;
            let more = [all, fleet.clusters(&["found"])].concat();
            fleet.scheduler.replace(more).await;
            drop(hold);
        };
        let (outcome, ()) = tokio::join!(fleet.run(), later);
        assert_eq!(names(&outcome.succeeded), ["a", "found"]);
        assert_eq!(fleet.stage.begun("a"), [0], "it was over");
        assert_eq!(fleet.stage.begun("found"), [60]);
    })
    .await;
}

#[tokio::test]
async fn the_status_is_beside_the_file_whatever_happened() {
    clock::run(async {
        let fleet = fleet(2, once());
        fleet.stage.plays("bad", &[Play::Wrong]);
        let all = fleet.clusters(&["good", "bad"]);
        fleet.scheduler.replace(all.clone()).await;
        fleet.run().await;
        let status = |i: usize| StatusFile::read(&all[i].status_file()).unwrap();
        assert_eq!(status(0).last_good.unwrap().grants, 1);
        let failure = status(1).last_failure.unwrap();
        assert_eq!(failure.kind, FailureKind::Configuration);
        assert_eq!(status(1).failures, 1);
        assert!(Path::new(&all[1].status_file()).is_file());
    })
    .await;
}
