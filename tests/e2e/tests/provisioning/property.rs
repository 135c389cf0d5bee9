//! Random grants and revokes over random clusters, against a judge that knows
//! nothing of grants.
//!
//! After a grant the next sync shows it and the judge allows it; after a revoke
//! neither does, or the call said why; nothing else has changed, neither for
//! the judge, nor in the sync, nor in the cluster; and asking twice changes
//! nothing more. A refusal changes nothing at all.
//!
//! `BATON_PROPERTY_SEEDS` adds seeds, as `7` or `100..150`.

use std::collections::{BTreeMap, BTreeSet};

use baton_host::provision::{Direction, State};
use cloud_sim::Snapshot;

use crate::orders::*;
use crate::random_town::*;
use crate::town::*;

/// Orders in one cluster.
const STEPS: usize = 8;
/// Clusters of each run.
const SEEDS: std::ops::Range<u64> = 0..18;

/// What every principal may do, by the judge.
type Powers = BTreeSet<(String, (&'static str, String), String)>;

fn powers(lab: &Lab) -> Powers {
    let mut all = Powers::new();
    for (kind, id) in PRINCIPALS {
        for right in rights() {
            for namespace in NAMESPACES.iter().copied().chain([""]) {
                let want = get(right.0, &right.1, namespace);
                if lab
                    .sim
                    .allowed(LAB, &subject(kind, id), Some("s"), want)
                    .unwrap()
                {
                    all.insert((format!("{kind}:{id}"), right.clone(), namespace.to_owned()));
                }
            }
        }
    }
    all
}

/// `entitlement | principal` -> certainty of everything that a sync lists. What
/// is inherited comes and goes with it.
type Shown = BTreeMap<String, String>;

fn shown(lab: &Lab) -> Shown {
    let access = lab.sync();
    access
        .grants
        .iter()
        .filter(|row| !baton_host::people::is_inherited(&row.grant))
        .map(|row| {
            let principal = row.grant.principal.as_ref().unwrap().id.as_ref().unwrap();
            let key = format!(
                "{} | {}:{}",
                row.grant.entitlement.as_ref().unwrap().id,
                principal.resource_type,
                principal.resource
            );
            let metadata = e2e::harness::metadata(&row.grant);
            (
                key,
                metadata["certainty"].as_str().unwrap_or("-").to_owned(),
            )
        })
        .collect()
}

/// What one cluster looks like from all sides.
struct View {
    powers: Powers,
    shown: Shown,
    snapshot: Snapshot,
    writes: usize,
}

impl View {
    fn of(lab: &Lab) -> View {
        View {
            powers: powers(lab),
            shown: shown(lab),
            snapshot: lab.sim.snapshot(LAB).unwrap(),
            writes: lab.writes(),
        }
    }
}

/// One order, and everything that must be true of it.
struct Step<'t> {
    lab: &'t Lab,
    story: String,
    direction: Direction,
    access: Access,
    principal: (&'static str, &'static str),
}

impl Step<'_> {
    fn who(&self) -> String {
        format!("{}:{}", self.principal.0, self.principal.1)
    }

    fn key(&self) -> String {
        format!("{} | {}", self.access.entitlement(), self.who())
    }

    fn order(&self) -> Result<baton_host::provision::Done, baton_host::provision::ProvisionError> {
        self.lab.order(
            self.direction,
            (self.access.kind, &self.access.id, &self.access.slug),
            self.principal,
        )
    }

    /// Carries it out. Answers how it ended, in a word or in the refusal's sentence.
    fn run(&self, before: View) -> (String, View) {
        let result = self.order();
        self.lab.settle();
        let after = View::of(self.lab);
        let outcome = match result {
            Ok(done) => {
                self.holds_what_it_promised(&done.remaining, &after);
                self.changed_nothing_else(&before, &after);
                let already = match self.direction {
                    Direction::Grant => State::AlreadyGranted,
                    Direction::Revoke => State::AlreadyRevoked,
                };
                if done.state == already {
                    self.changed_nothing(&before, &after);
                } else {
                    assert_eq!(done.state, State::Changed, "{}", self.story);
                }
                let again = self
                    .order()
                    .unwrap_or_else(|error| panic!("{}: a second time: {error}", self.story));
                assert_eq!(again.state, already, "{}", self.story);
                assert_eq!(self.lab.writes(), after.writes, "{}", self.story);
                format!("{:?}", done.state)
            }
            Err(error) => {
                self.changed_nothing(&before, &after);
                let sentence = error.to_string();
                assert!(!sentence.contains("LEFT"), "{}: {sentence}", self.story);
                sentence
            }
        };
        (outcome, after)
    }

    fn holds_what_it_promised(&self, remaining: &[String], after: &View) {
        let story = &self.story;
        let places = NAMESPACES.iter().copied().chain([""]);
        let given: Vec<_> = places
            .filter(|namespace| self.access.gives(&self.access.right, namespace))
            .map(|namespace| (self.who(), self.access.right.clone(), namespace.to_owned()))
            .collect();
        match self.direction {
            Direction::Grant => {
                assert_eq!(
                    after.shown.get(&self.key()).map(String::as_str),
                    Some("certain"),
                    "{story}: the sync does not show it"
                );
                for power in &given {
                    assert!(
                        after.powers.contains(power),
                        "{story}: the judge refuses {power:?}"
                    );
                }
            }
            Direction::Revoke => {
                assert!(
                    !after.shown.contains_key(&self.key()),
                    "{story}: the sync still shows it"
                );
                let left: Vec<_> = given.iter().filter(|p| after.powers.contains(*p)).collect();
                if left.is_empty() {
                    return;
                }
                // Narrower access is another entitlement, and no part of this one.
                assert!(
                    left.len() < given.len() || !remaining.is_empty(),
                    "{story}: it says nothing of {left:?}"
                );
                for power in left {
                    assert!(
                        self.explained(power, after),
                        "{story}: nothing that the sync shows gives {power:?}"
                    );
                }
            }
        }
    }

    /// Something else that the sync shows gives this.
    fn explained(&self, power: &(String, (&'static str, String), String), after: &View) -> bool {
        let who = self.who();
        let shown: BTreeSet<&str> = after
            .shown
            .keys()
            .filter_map(|key| key.strip_suffix(&who)?.strip_suffix(" | "))
            .collect();
        shown.contains("cluster_role:cluster-admin:all:member")
            || accesses().iter().any(|access| {
                access.gives(&power.1, &power.2) && shown.contains(access.entitlement().as_str())
            })
    }

    fn changed_nothing_else(&self, before: &View, after: &View) {
        let story = &self.story;
        for power in before.powers.symmetric_difference(&after.powers) {
            assert!(
                power.0 == self.who() && self.access.gives(&power.1, &power.2),
                "{story}: the judge's mind changed about {power:?}"
            );
        }
        let mut keys: BTreeSet<&String> = before.shown.keys().collect();
        keys.extend(after.shown.keys());
        for key in keys {
            let (old, new) = (before.shown.get(key), after.shown.get(key));
            assert!(
                old == new || *key == self.key(),
                "{story}: the sync showed {key} as {old:?} and shows it as {new:?}"
            );
        }
        for line in before.snapshot.difference(&after.snapshot) {
            assert!(self.own(&line), "{story}: this is not its own: {line}");
        }
    }

    /// A line of a difference that this order may cause.
    fn own(&self, line: &str) -> bool {
        let arn = self.principal.1;
        let binding =
            line[2..].starts_with("rolebindings ") || line[2..].starts_with("clusterrolebindings ");
        line[2..].starts_with(&format!("entry {arn} "))
            || line[2..].starts_with(&format!("association {arn} {} ", self.access.id))
            || line[2..].starts_with("configmaps kube-system/aws-auth ")
                && self.principal.0 != "service_account"
            || binding
                && (line.contains("/baton-host-")
                    || line.contains(" baton-host-")
                    || self.direction == Direction::Revoke)
    }

    fn changed_nothing(&self, before: &View, after: &View) {
        let story = &self.story;
        assert_eq!(
            before.writes, after.writes,
            "{story}: it wrote and says it did not"
        );
        let difference = before.snapshot.difference(&after.snapshot);
        assert!(difference.is_empty(), "{story}: {difference:#?}");
        assert_eq!(before.shown, after.shown, "{story}");
        assert_eq!(before.powers, after.powers, "{story}");
    }
}

/// One cluster's life. Answers how its orders ended.
fn live(seed: u64) -> Vec<(String, String)> {
    let lab = Lab::new(random_town(seed));
    let mut random = Random(seed ^ 0x5eed);
    let all = accesses();
    let mut view = View::of(&lab);
    let mut outcomes = Vec::new();
    for step in 0..STEPS {
        let mut direction = if random.one_in(2) {
            Direction::Grant
        } else {
            Direction::Revoke
        };
        let mut access = random.pick(&all).clone();
        let mut principal = *random.pick(&PRINCIPALS);
        // Most of what one could revoke is not there: take what is.
        if direction == Direction::Revoke && !random.one_in(5) {
            let held: Vec<_> = all
                .iter()
                .flat_map(|a| PRINCIPALS.iter().map(move |p| (a, p)))
                .filter(|(a, p)| {
                    view.shown
                        .contains_key(&format!("{} | {}:{}", a.entitlement(), p.0, p.1))
                })
                .collect();
            if held.is_empty() {
                direction = Direction::Grant;
            } else {
                let (a, p) = *random.pick(&held);
                (access, principal) = (a.clone(), *p);
            }
        }
        let story = format!(
            "seed {seed}, step {step}: {} {} to or from {}:{}",
            direction.name(),
            access.entitlement(),
            principal.0,
            principal.1
        );
        let order = Step {
            lab: &lab,
            story: story.clone(),
            direction,
            access,
            principal,
        };
        let (outcome, after) = order.run(view);
        view = after;
        outcomes.push((story, outcome));
    }
    outcomes
}

fn more_seeds() -> Vec<u64> {
    let Ok(text) = std::env::var("BATON_PROPERTY_SEEDS") else {
        return Vec::new();
    };
    match text.split_once("..") {
        Some((from, to)) => (from.parse().unwrap()..to.parse().unwrap()).collect(),
        None => vec![text.parse().unwrap()],
    }
}

/// Runs a part of the seeds; the tests below share them among threads.
fn part(n: u64, of: u64) {
    let seeds: Vec<u64> = SEEDS
        .chain(more_seeds())
        .filter(|seed| seed % of == n)
        .collect();
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in seeds {
        for (story, outcome) in live(seed) {
            let end = match outcome.as_str() {
                "Changed" => "changed",
                "AlreadyGranted" | "AlreadyRevoked" => "already",
                _ => {
                    println!("{story}: {outcome}");
                    "refused"
                }
            };
            *ends.entry(end).or_default() += 1;
        }
    }
    println!("{ends:?}");
    let total: usize = ends.values().sum();
    let changed = ends.get("changed").copied().unwrap_or_default();
    // A connector that refuses everything keeps every promise above.
    assert!(
        changed * 2 > total,
        "only {changed} of {total} orders changed anything: {ends:?}"
    );
}

#[test]
fn orders_keep_their_promises_and_touch_nothing_else_1() {
    part(0, 2);
}

#[test]
fn orders_keep_their_promises_and_touch_nothing_else_2() {
    part(1, 2);
}
