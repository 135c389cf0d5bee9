//! What a plan may hold, and nothing else.
//!
//! Each change is compared with the wish and with what the host read itself.
//! What the wish does not ask for is [`Problem::Bad`] and makes the connector a
//! broken one. What only disagrees with the host's reads may be a world that
//! moved between two reads, and is [`Problem::Moved`]: plan again. Either way
//! nothing is sent. A change passes as what the host would have written, never
//! as what the plugin wrote; and what earlier changes of the plan do is counted
//! in for later ones.

mod aws_auth;
mod binding;
mod entry;
mod names;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use super::facts::{Bound, Entry, Facts, Mapped};
use super::wish::{Access, Iam, Wish};
use super::{Direction, ProvisionError, Rule};
use crate::upstream::operation::write::{Place, Scope, Write};

/// Changes of one plan.
pub const CHANGES: usize = 32;

/// Why a change is not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It is not what was wished for.
    Bad(String),
    /// It does not fit what the host reads.
    Moved(String),
}

type Fits<T = ()> = Result<T, Problem>;

fn bad<T>(why: impl Into<String>) -> Fits<T> {
    Err(Problem::Bad(why.into()))
}

fn moved<T>(why: impl Into<String>) -> Fits<T> {
    Err(Problem::Moved(why.into()))
}

/// What a change is for; the host decides that, not the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The access itself.
    Access,
    /// Who the principal is in the cluster.
    Identity,
    /// A mapping that nothing uses any more: its failure hurts nobody.
    Cleanup,
}

impl Step {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Identity => "identity",
            Self::Cleanup => "cleanup",
        }
    }
}

/// What a change does to one object, from the host's own reads: enough to see
/// whether it was made, and to take it back.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// An access entry.
    Entry {
        /// Whose.
        principal: String,
        /// Before.
        before: Option<Entry>,
        /// After.
        after: Option<Entry>,
    },
    /// An association.
    Association {
        /// Whose.
        principal: String,
        /// Of which policy.
        policy: String,
        /// Before.
        before: Option<Scope>,
        /// After.
        after: Option<Scope>,
    },
    /// A binding.
    Binding {
        /// Where.
        place: Place,
        /// Before, whole.
        before: Option<Value>,
        /// After, as far as we write it.
        after: Option<Value>,
    },
    /// One list of `aws-auth`.
    AwsAuth {
        /// Which.
        list: &'static str,
        /// Before; none where there was no such ConfigMap.
        before: Option<String>,
        /// After.
        after: String,
    },
}

impl Effect {
    /// The binding that changes, as it was read.
    pub fn bound(&self) -> Option<&Value> {
        match self {
            Self::Binding { before, .. } => before.as_ref(),
            _ => None,
        }
    }
}

/// A change that may be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// As the host writes it.
    pub write: Write,
    /// What it does.
    pub effect: Effect,
    /// What it is for.
    pub step: Step,
    /// The object, for people.
    pub object: String,
    /// Before, for people.
    pub before: String,
    /// After, for people.
    pub after: String,
}

/// The world as it is after the changes that were looked at so far.
struct World<'a> {
    wish: &'a Wish,
    direction: Direction,
    facts: Facts,
}

/// Refuses principals that run the cluster itself.
///
/// # Errors
/// [`ProvisionError::Refused`].
pub fn people(wish: &Wish, facts: &Facts) -> Result<(), ProvisionError> {
    let Some(iam) = wish.iam() else {
        return Ok(());
    };
    let refused = |sentence: String| {
        Err(ProvisionError::Refused {
            rule: Rule::Node,
            sentence,
            hint: None,
        })
    };
    if let Some(entry) = &facts.entry
        && entry.kind != "STANDARD"
    {
        return refused(format!(
            "{} is no person or program: its access entry is of type {}, which is a node's",
            iam.arn, entry.kind
        ));
    }
    let lines = facts.lines_of(iam);
    let node = |group: &String| group == "system:nodes" || group == "system:bootstrappers";
    if lines.iter().any(|line| line.groups.iter().any(node)) {
        return refused(format!(
            "{} is the role of nodes: aws-auth maps it to the group system:nodes",
            iam.arn
        ));
    }
    Ok(())
}

/// Checks all changes of a plan.
///
/// # Errors
/// The first change that may not be made.
pub fn plan(
    wish: &Wish,
    direction: Direction,
    facts: &Facts,
    writes: Vec<Write>,
) -> Result<Vec<Checked>, Problem> {
    if writes.len() > CHANGES {
        return bad(format!("more than {CHANGES} changes"));
    }
    let mut world = World {
        wish,
        direction,
        facts: facts.clone(),
    };
    let checked = writes
        .into_iter()
        .map(|write| world.check(write))
        .collect::<Fits<Vec<_>>>()?;
    if world.granting() {
        remade(&checked)?;
    }
    Ok(checked)
}

/// A grant takes a binding away only to make it anew.
fn remade(checked: &[Checked]) -> Fits {
    for (at, change) in checked.iter().enumerate() {
        let Write::DeleteBinding { place, .. } = &change.write else {
            continue;
        };
        let again = |later: &Checked| matches!(&later.write, Write::CreateBinding { place: made, .. } if made == place);
        if !checked.iter().skip(at + 1).any(again) {
            return bad(format!(
                "{} is deleted and not made anew, and the wish is to grant",
                shown(&place.to_string())
            ));
        }
    }
    Ok(())
}

impl World<'_> {
    fn check(&mut self, write: Write) -> Fits<Checked> {
        match write {
            Write::CreateEntry(entry) => self.create_entry(entry),
            Write::UpdateEntry { principal, groups } => self.update_entry(&principal, groups),
            Write::DeleteEntry { principal } => self.delete_entry(&principal),
            Write::Associate {
                principal,
                policy,
                scope,
            } => self.associate(&principal, &policy, scope),
            Write::Disassociate { principal, policy } => self.disassociate(&principal, &policy),
            Write::CreateBinding { place, object } => self.create_binding(place, object),
            Write::DeleteBinding {
                place,
                uid,
                version,
            } => self.delete_binding(place, &uid, &version),
            Write::PatchBinding { place, patch } => self.patch_binding(place, patch),
            Write::ReplaceAwsAuth { object } => self.replace_aws_auth(object),
            Write::CreateAwsAuth { object } => self.create_aws_auth(object),
        }
    }

    fn granting(&self) -> bool {
        self.direction == Direction::Grant
    }

    /// The IAM principal, where a change names one.
    fn iam(&self, named: &str) -> Fits<Iam> {
        match self.wish.iam() {
            Some(iam) if iam.arn == named => Ok(iam.clone()),
            _ => bad(format!(
                "it is for {}, and the wish is for {}",
                shown(named),
                self.wish.principal.1
            )),
        }
    }

    /// The role of the wish.
    fn role(&self) -> Fits<(&'static str, String, Option<String>)> {
        match &self.wish.access {
            Access::Role {
                kind,
                name,
                namespace,
            } => Ok((kind, name.clone(), namespace.clone())),
            Access::Policy { .. } => bad("a binding, and the wish is for an access policy"),
        }
    }

    /// Refuses new names of the principal by which a binding would give it more
    /// than the wish. Without having looked one does.
    fn gains_nothing(&self, iam: &Iam, new: &Mapped) -> Fits {
        let Some(bound) = &self.facts.bound else {
            return moved("the principal is mapped, and which bindings name it was not read");
        };
        let live = self.facts.live(iam);
        let wished = |binding: &Bound| match &self.wish.access {
            Access::Role {
                kind,
                name,
                namespace,
            } => {
                let role = json!({"apiGroup": binding::GROUP, "kind": kind, "name": name});
                binding.role == role && binding.place.namespace == *namespace
            }
            Access::Policy { .. } => false,
        };
        let gained = |binding: &&Bound| {
            let home = binding.place.namespace.as_deref();
            binding.subjects.iter().any(|subject| {
                names::Subject::of(subject, home).is_some_and(|subject| {
                    let had = live
                        .as_ref()
                        .is_some_and(|live| names::gives(live, &subject));
                    names::gives(new, &subject) && !had
                })
            })
        };
        match bound.iter().filter(|binding| !wished(binding)).find(gained) {
            Some(binding) => moved(format!(
                "mapping the principal would also give it what {} gives one of its new names",
                shown(&binding.place.to_string())
            )),
            None => Ok(()),
        }
    }

    /// Whether any binding that stays has a subject that one of these names
    /// is. Without having looked it has.
    fn is_bound(&self, names: &[Mapped]) -> Option<String> {
        let Some(bound) = &self.facts.bound else {
            return Some("a binding that was not read".to_owned());
        };
        let used = |binding: &&Bound| {
            binding.subjects.iter().any(|subject| {
                let home = binding.place.namespace.as_deref();
                names::Subject::of(subject, home)
                    .is_some_and(|subject| names.iter().any(|name| names::gives(name, &subject)))
            })
        };
        bound
            .iter()
            .find(used)
            .map(|binding| binding.place.to_string())
    }
}

fn shown(text: &str) -> String {
    crate::sandbox::clean(text, 200)
}

/// Exactly these members.
fn exactly(found: Option<&Value>, wanted: &Value) -> bool {
    found == Some(wanted)
}

/// The texts of a list, for people.
fn listed(texts: &[String]) -> String {
    Value::from(texts.to_vec()).to_string()
}

fn tags() -> Map<String, Value> {
    Map::from_iter([("managed-by".to_owned(), Value::from("baton-host"))])
}
