//! A fault at every request of every operation, one by one.
//!
//! Whatever breaks, and wherever: the cluster is as it was before, or as it was
//! wished, or the error names what was left. A host that ends in the middle
//! leaves something that the same order, or its opposite, mends.

use std::time::Duration;

use baton_host::provision::{Direction, Mode, ProvisionError};
use cloud_sim::{Effect, Fault, Snapshot};

use crate::orders::*;
use crate::town::*;

/// An operation: how the cluster is prepared, and the order.
#[derive(Clone, Copy)]
struct Operation {
    name: &'static str,
    mode: &'static str,
    direction: Direction,
    wish: Wish<'static>,
    principal: (&'static str, &'static str),
    prepare: fn(&Lab),
}

fn nothing(_lab: &Lab) {}

const ROLE: Wish<'static> = ("cluster_role", "reports", "dev:member");
const POLICY: Wish<'static> = ("access_policy", VIEW, "assigned:dev");

fn granted(lab: &Lab, wish: Wish, principal: (&str, &str)) {
    lab.order(Direction::Grant, wish, principal).unwrap();
}

fn operations() -> Vec<Operation> {
    let all = |name, mode, direction, wish, principal, prepare| Operation {
        name,
        mode,
        direction,
        wish,
        principal,
        prepare,
    };
    use Direction::{Grant, Revoke};
    vec![
        all(
            "entry and binding made",
            API,
            Grant,
            ROLE,
            ("role", DEV),
            nothing,
        ),
        all(
            "entry and binding removed",
            API,
            Revoke,
            ROLE,
            ("role", DEV),
            |lab| granted(lab, ROLE, ("role", DEV)),
        ),
        all(
            "group appended to a foreign entry",
            API,
            Grant,
            ROLE,
            ("role", OPS),
            |lab| {
                lab.sim
                    .put_entry(LAB, &entry_spec(OPS, &["team"], &[]))
                    .unwrap();
            },
        ),
        all(
            "entry and association made",
            API,
            Grant,
            POLICY,
            ("role", DEV),
            nothing,
        ),
        all(
            "entry and association removed",
            API,
            Revoke,
            POLICY,
            ("role", DEV),
            |lab| granted(lab, POLICY, ("role", DEV)),
        ),
        all(
            "namespace added to an association",
            API,
            Grant,
            POLICY,
            ("role", OPS),
            |lab| {
                lab.sim
                    .put_entry(
                        LAB,
                        &entry_spec(
                            OPS,
                            &[],
                            &[("AmazonEKSViewPolicy", Some(&["small", "web"]))],
                        ),
                    )
                    .unwrap();
            },
        ),
        all(
            "namespace taken from an association",
            API,
            Revoke,
            POLICY,
            ("role", OPS),
            |lab| {
                lab.sim
                    .put_entry(
                        LAB,
                        &entry_spec(
                            OPS,
                            &[],
                            &[("AmazonEKSViewPolicy", Some(&["small", "dev", "web"]))],
                        ),
                    )
                    .unwrap();
            },
        ),
        all(
            "line and binding made",
            CONFIG_MAP,
            Grant,
            ROLE,
            ("iam_user", BOB),
            nothing,
        ),
        all(
            "line and binding removed",
            CONFIG_MAP,
            Revoke,
            ROLE,
            ("iam_user", BOB),
            |lab| granted(lab, ROLE, ("iam_user", BOB)),
        ),
        all(
            "subject taken from a foreign binding",
            BOTH,
            Revoke,
            ROLE,
            ("service_account", APP),
            |lab| {
                lab.sim.apply(LAB, serde_json::json!({"kind": "RoleBinding", "metadata": {"name": "foreign", "namespace": "dev"},
                "roleRef": {"kind": "ClusterRole", "name": "reports"}, "subjects": [{"kind": "ServiceAccount", "name": "app", "namespace": "dev"}, {"kind": "User", "name": "joe"}]})).unwrap();
            },
        ),
        all(
            "service account bound",
            BOTH,
            Grant,
            ROLE,
            ("service_account", APP),
            nothing,
        ),
    ]
}

/// How one order ended in a cluster that was hurt.
struct End {
    before: Snapshot,
    after: Snapshot,
    /// Warnings, or why it is not done.
    result: Result<Vec<String>, ProvisionError>,
    requests: usize,
}

impl Operation {
    fn lab(&self) -> Lab {
        let mut lab = Lab::new(town(self.mode));
        lab.host.lock_seconds = 1;
        (self.prepare)(&lab);
        lab
    }

    async fn carry_out(&self, lab: &Lab) -> Result<(), ProvisionError> {
        lab.carry_out(self.direction, self.wish, self.principal, Mode::Apply)
            .await
            .map(drop)
    }

    /// In a cluster of its own.
    fn meets(&self, faults: Vec<Fault>) -> End {
        let lab = self.lab();
        let before = lab.sim.snapshot(LAB).unwrap();
        let mut start = 0;
        let result = runtime().block_on(async {
            let ready = lab.host.connected().await;
            start = lab.sim.request_count();
            for fault in faults {
                lab.sim.inject(fault);
            }
            let order = ready.carry_out(self.direction, self.wish, self.principal, Mode::Apply);
            order.await.map(|done| done.warnings)
        });
        End {
            before,
            after: lab.sim.snapshot(LAB).unwrap(),
            result,
            requests: lab.sim.request_count() - start,
        }
    }
}

/// Fails where a cluster is neither as before nor as wished and nobody says so.
fn judged(story: &str, end: &End, wished: &Snapshot) {
    let kept = end.before.difference(&end.after);
    let made = wished.difference(&end.after);
    match &end.result {
        // What nothing uses any more may stay, if that is said.
        Ok(warnings) => {
            assert!(
                made.is_empty()
                    || !warnings.is_empty()
                        && made.iter().all(|line| line.starts_with("+ entry ")
                            || line.starts_with("~ configmaps ")),
                "{story}: it says it is done and warns of {warnings:?}, and {made:#?}"
            )
        }
        Err(error) => {
            let sentence = error.to_string();
            assert!(!sentence.is_empty());
            if kept.is_empty() || made.is_empty() {
                return;
            }
            let ProvisionError::Failed { left, .. } = error else {
                panic!("{story}: {sentence}, and {kept:#?}");
            };
            assert!(!left.is_empty(), "{story}: {sentence}, and {kept:#?}");
        }
    }
}

/// What goes wrong at a request, and whether it does from then on.
type Trouble = (&'static str, Effect, bool);

/// Each trouble at each request of these operations, or at every `step`-th.
fn walk(operations: Vec<Operation>, troubles: &[Trouble], step: usize) {
    let clean: Vec<End> = operations.iter().map(|o| o.meets(Vec::new())).collect();
    let mut jobs: Vec<Box<dyn FnOnce() + Send + '_>> = Vec::new();
    for (operation, clean) in operations.iter().zip(&clean) {
        if let Err(error) = &clean.result {
            panic!("{}: {error}", operation.name);
        }
        for (name, effect, lasting) in troubles {
            for n in (1..=clean.requests).step_by(step) {
                let mut fault = Fault::nth(u32::try_from(n).unwrap(), effect.clone());
                if *lasting {
                    fault.times = None;
                }
                jobs.push(Box::new(move || {
                    let story = format!(
                        "{}: {name} at request {n} of {}",
                        operation.name, clean.requests
                    );
                    let end = operation.meets(vec![fault]);
                    judged(&story, &end, &clean.after);
                }));
            }
        }
    }
    println!("{} runs", jobs.len());
    all(AT_ONCE, jobs);
}

/// Clusters at once: most of the time they wait.
const AT_ONCE: usize = 40;

fn refusal() -> Effect {
    Effect::Answer {
        status: 403,
        content_type: "application/json".into(),
        body: r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","message":"no","code":403}"#.into(),
    }
}

#[test]
fn an_answer_that_is_lost_is_looked_for() {
    let troubles = [
        ("reset before", Effect::Reset, false),
        ("reset after", Effect::ResetAfter, false),
    ];
    walk(operations(), &troubles, 1);
}

#[test]
fn a_refusal_anywhere_is_undone_or_said() {
    let troubles = [
        ("500", Effect::ServerError(500), false),
        ("throttled", Effect::Throttle(0), false),
        ("403", refusal(), false),
        ("403, then on,", refusal(), true),
    ];
    walk(operations(), &troubles, 1);
}

#[test]
fn an_upstream_that_stays_away_is_said() {
    let two = operations().into_iter().step_by(6).collect();
    walk(
        two,
        &[("reset after, from then on,", Effect::ResetAfter, true)],
        3,
    );
}

/// The host ends at a request: nothing is undone, no lock is given back. The
/// same order again comes to the wished end, and its opposite to the other.
fn ends_at(operation: Operation, n: usize, effect: Effect, wished: &Snapshot) {
    let story = format!("{}: the host ends at request {n}", operation.name);
    let lab = operation.lab();
    let fault = Fault::nth(u32::try_from(n).unwrap(), effect);
    runtime().block_on(async {
        let ready = lab.host.connected().await;
        lab.sim.inject(fault);
        let order = ready.carry_out(
            operation.direction,
            operation.wish,
            operation.principal,
            Mode::Apply,
        );
        let hanging = async {
            while lab.sim.hanging() == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::select! {
            // Giving the lock back, and keeping it, waits for nobody.
            end = order => assert!(end.is_ok(), "{story}: it came to an end: {end:?}"),
            () = hanging => {}
        }
    });
    lab.sim.clear_faults();
    let carry_out = |direction| {
        let order = Operation {
            direction,
            ..operation
        };
        let end = runtime().block_on(order.carry_out(&lab));
        if let Err(error) = end {
            panic!("{story}: then {}: {error}", direction.name());
        }
    };
    let opposite = match operation.direction {
        Direction::Grant => Direction::Revoke,
        Direction::Revoke => Direction::Grant,
    };
    if n.is_multiple_of(2) {
        carry_out(operation.direction);
        let mut left = wished.difference(&lab.sim.snapshot(LAB).unwrap());
        if !left.is_empty() && operation.direction == Direction::Revoke {
            // Nothing is revoked twice; a mapping of ours that nothing uses
            // goes with the next revoke that changes something.
            carry_out(opposite);
            carry_out(operation.direction);
            left = wished.difference(&lab.sim.snapshot(LAB).unwrap());
        }
        assert!(left.is_empty(), "{story}: again: {left:#?}");
        return;
    }
    carry_out(opposite);
    let (kind, id) = operation.principal;
    let right = holds(&lab.sim, kind, id, "reports", "dev") || views(&lab.sim, kind, id, "dev");
    assert_eq!(right, opposite == Direction::Grant, "{story}: back");
}

#[test]
fn a_host_that_ends_is_mended_by_the_next() {
    let operations = operations();
    let clean: Vec<End> = operations.iter().map(|o| o.meets(Vec::new())).collect();
    let mut jobs: Vec<Box<dyn FnOnce() + Send + '_>> = Vec::new();
    for (operation, clean) in operations.iter().zip(&clean) {
        for effect in [Effect::Hang, Effect::HangAfter] {
            for n in 1..=clean.requests {
                let effect = effect.clone();
                jobs.push(Box::new(move || {
                    ends_at(*operation, n, effect, &clean.after)
                }));
            }
        }
    }
    all(AT_ONCE, jobs);
}
