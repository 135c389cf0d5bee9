//! What it takes to make a wish true, as changes that the host checks and makes.
//!
//! A plan is decided on fresh reads and by the same index that a sync reports
//! from, so "already held" and "no longer held" mean exactly what the next file
//! will say. Nothing is sent from here. What cannot be done exactly is refused
//! with the reason: a plan never gives more than the wish, and a revoke that
//! would leave or take somebody's access says so before anything is changed.

mod bindings;
mod identity;
mod lines;
mod objects;
mod policies;
mod reads;
mod remaining;
mod revoke;
mod roles;
mod wish;

use std::rc::Rc;

use serde_json::Value;

use crate::bindings::{Change, Error, Grant, Plan};
use crate::evidence::{Certainty, Holders};
use crate::text::cut;
use crate::upstream::{Calls, fail};
use crate::world::World;
use reads::Reads;
pub use wish::{Access, Who, Wish};

/// Give or take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The principal shall hold the entitlement.
    Grant,
    /// The principal shall not hold it.
    Revoke,
}

/// The label that marks bindings of ours, and its value; entries carry the value
/// as tag `managed-by`.
const LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", "baton-host");
/// The annotation that says whom a binding of ours is for.
const ANNOTATION: &str = "baton-host/principal";
/// Longest text of a change for people.
const MAX_SHOWN: usize = 4_000;
/// Most paths that an error names.
const MAX_NAMED: usize = 10;

/// A plan under way.
pub struct Planner {
    direction: Direction,
    wish: Rc<Wish>,
    reads: Reads,
    world: Option<World>,
    wide: bool,
}

/// Why a decision cannot be made yet, or at all.
enum Stop {
    /// Everybody's identities have to be read first.
    Everybody,
    /// Never.
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Error(error)
    }
}

fn stop(kind: &str, message: impl Into<String>) -> Stop {
    Stop::Error(fail(kind, message))
}

impl Planner {
    /// Checks the wish by itself; reads nothing.
    pub fn new(direction: Direction, wish: &Grant, cluster: &str) -> Result<Planner, Error> {
        let wish = Rc::new(Wish::parse(wish)?);
        let reads = Reads::new(direction, wish.clone(), cluster.to_string());
        Ok(Planner {
            direction,
            wish,
            reads,
            world: None,
            wide: false,
        })
    }

    /// Whether this is the plan of a wish.
    pub fn is_for(&self, direction: Direction, wish: &Grant) -> bool {
        self.direction == direction && Wish::parse(wish).is_ok_and(|w| w == *self.wish)
    }

    /// Goes on; `None` if the calls are spent before it is decided.
    pub fn step(&mut self, calls: &mut Calls) -> Result<Option<Plan>, Error> {
        let mut world = match self.world.take() {
            Some(world) => world,
            None => match self.reads.world(calls)? {
                Some(world) => world,
                None => return Ok(None),
            },
        };
        loop {
            let view = View {
                world: &world,
                reads: &self.reads,
                wish: &self.wish,
                wide: self.wide,
            };
            match view.decide(self.direction) {
                Ok(plan) => return Ok(Some(plan)),
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::Everybody) => {}
            }
            let done = self.reads.widen(&mut world, calls)?;
            self.wide = done;
            if !done {
                self.world = Some(world);
                return Ok(None);
            }
        }
    }
}

/// The answer of a call that must be repeated.
pub fn more() -> Plan {
    Plan {
        changes: Vec::new(),
        attributes: vec![("more".into(), "true".into())],
    }
}

/// All that a decision looks at.
struct View<'a> {
    world: &'a World,
    reads: &'a Reads,
    wish: &'a Wish,
    wide: bool,
}

impl View<'_> {
    fn decide(&self, direction: Direction) -> Result<Plan, Stop> {
        identity::known(self, direction)?;
        let mut plan = match (&self.wish.access, direction) {
            (Access::Role { .. }, Direction::Grant) => roles::grant(self)?,
            (Access::Policy { arn, scope }, Direction::Grant) => {
                policies::grant(self, arn, scope.as_deref())?
            }
            (Access::Role { .. }, Direction::Revoke) => revoke::role(self)?,
            (Access::Policy { arn, scope }, Direction::Revoke) => {
                policies::revoke(self, arn, scope.as_deref())?
            }
        };
        if direction == Direction::Revoke {
            for sentence in remaining::sentences(self) {
                plan.attributes.push(("remaining".into(), sentence));
            }
        }
        if self.world.cluster.status == "UPDATING" && !plan.changes.is_empty() {
            plan.attributes.push((
                "warning".into(),
                format!(
                    "the cluster is UPDATING; the plan is for its reported authentication mode {}",
                    self.world.cluster.mode.name()
                ),
            ));
        }
        Ok(plan)
    }

    /// How sure it is that the principal is among holders.
    fn among(&self, holders: &Holders) -> Option<Certainty> {
        holders.certainty(self.wish.kind, &self.wish.id)
    }
}

/// What a change is to whoever looks at the plan.
struct Told<'a> {
    step: &'static str,
    object: String,
    before: &'a str,
    after: &'a str,
    summary: String,
}

fn change(
    upstream: &str,
    method: &str,
    path: String,
    body: Option<Value>,
    told: Told<'_>,
) -> Change {
    let mut attributes = vec![
        ("step".to_string(), told.step.to_string()),
        ("object".to_string(), cut(&told.object, MAX_SHOWN)),
    ];
    for (key, text) in [("before", told.before), ("after", told.after)] {
        if !text.is_empty() {
            attributes.push((key.into(), cut(text, MAX_SHOWN)));
        }
    }
    Change {
        upstream: upstream.into(),
        method: method.into(),
        path,
        body: body.map(|b| b.to_string()),
        summary: cut(&told.summary, MAX_SHOWN),
        undo: Vec::new(),
        attributes,
    }
}

fn plan_of(changes: Vec<Change>) -> Plan {
    Plan {
        changes,
        attributes: Vec::new(),
    }
}

/// A list in a sentence, cut where it gets too long to read.
fn listed(items: &[String]) -> String {
    let mut text = items
        .iter()
        .take(MAX_NAMED)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join("; ");
    if items.len() > MAX_NAMED {
        text.push_str(&format!("; and {} more", items.len() - MAX_NAMED));
    }
    text
}
