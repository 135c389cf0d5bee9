//! Taking changes back, and finding out whether they were made at all.
//!
//! The inverse of a change comes from what the host read before it, never from
//! the plugin, and is sent only where the object still is as the change left
//! it: what somebody else did in between is theirs. The price is one read per
//! change that is taken back.

use std::time::Duration;

use serde_json::Value;

use super::answer::{Verdict, verdict};
use super::audit::Event;
use super::check::{Checked, Effect};
use super::clock;
use super::facts::{self, Cloud, Entry, list_of, subjects};
use super::plans::Plans;
use super::rounds::{Backoff, Made, Run, failed};
use super::wish::{Access, Iam, Wish};
use super::{Cause, Mode, ProvisionError};
use crate::upstream::operation::write::{NewEntry, Op, Place, Scope, Write};
use crate::upstream::rights::Kind;
use crate::upstream::{Outcome, Read, UpstreamError};

/// How an object stands to a change of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// As before it.
    Before,
    /// As after it; holds the object where it is needed to take it back.
    After(Option<Value>),
    /// Neither: somebody else was there.
    Other,
}

fn entry_is(found: Option<&Entry>, wanted: Option<&Entry>) -> bool {
    match (found, wanted) {
        (None, None) => true,
        (Some(found), Some(wanted)) => {
            // EKS fills in a user name where none was given.
            let username = wanted.username.is_none() || wanted.username == found.username;
            username && found.groups == wanted.groups && found.kind == wanted.kind
        }
        _ => false,
    }
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Looks at the object of a change.
///
/// # Errors
/// Why it cannot be read.
pub async fn standing(cloud: &impl Cloud, effect: &Effect) -> Result<Standing, UpstreamError> {
    let of = |after: bool, before: bool, object: Option<Value>| match (after, before) {
        (true, _) => Standing::After(object),
        (false, true) => Standing::Before,
        (false, false) => Standing::Other,
    };
    Ok(match effect {
        Effect::Entry {
            principal,
            before,
            after,
        } => {
            let found = facts::entry(cloud, principal).await?;
            let found = found.as_ref();
            of(
                entry_is(found, after.as_ref()),
                entry_is(found, before.as_ref()),
                None,
            )
        }
        Effect::Association {
            principal,
            policy,
            before,
            after,
        } => {
            let all = facts::associations(cloud, principal).await?;
            let found = all.iter().find(|(known, _)| known == policy);
            let found = found.map(|(_, scope)| scope);
            of(found == after.as_ref(), found == before.as_ref(), None)
        }
        Effect::Binding {
            place,
            before,
            after,
        } => {
            let found = facts::found(cloud, &Read::Binding(place.clone())).await?;
            let same = |wanted: &Option<Value>| match (&found, wanted) {
                (None, None) => true,
                (Some(found), Some(wanted)) => {
                    subjects(found) == subjects(wanted)
                        && found.get("roleRef") == wanted.get("roleRef")
                }
                _ => false,
            };
            of(same(after), same(before), found.clone())
        }
        Effect::AwsAuth {
            list,
            before,
            after,
        } => {
            let found = facts::found(cloud, &Read::AwsAuth).await?;
            let now = found.as_ref().map(|object| list_of(Some(object), list));
            let was = match before {
                Some(before) => now == Some(before.as_str()),
                None => now.is_none_or(str::is_empty),
            };
            of(now == Some(after.as_str()), was, found.clone())
        }
    })
}

/// What is plainly there of a wish, for people: our own binding of it, or its
/// part of a policy's scope.
///
/// # Errors
/// Why it cannot be read.
pub async fn kept(cloud: &impl Cloud, wish: &Wish) -> Result<Option<String>, UpstreamError> {
    match &wish.access {
        Access::Role { kind, name, .. } => {
            let Some(place) = wish.place() else {
                return Ok(None);
            };
            let Some(found) = facts::found(cloud, &Read::Binding(place.clone())).await? else {
                return Ok(None);
            };
            let label = "/metadata/labels/app.kubernetes.io~1managed-by";
            let ours = text(&found, label) == "baton-host"
                && text(&found, "/roleRef/kind") == *kind
                && text(&found, "/roleRef/name") == name;
            let group = wish.iam().map(Iam::own_group);
            let subjects = subjects(&found);
            let own = subjects.len() == 1
                || subjects.iter().any(|subject| {
                    text(subject, "/kind") == "Group"
                        && group.as_deref() == Some(text(subject, "/name"))
                });
            Ok((ours && own).then(|| place.to_string()))
        }
        Access::Policy { arn, namespace } => {
            let Some(iam) = wish.iam() else {
                return Ok(None);
            };
            if cloud.mode().await? == "CONFIG_MAP" {
                return Ok(None);
            }
            let all = facts::associations(cloud, &iam.arn).await?;
            let scope = all.iter().find(|(policy, _)| policy == arn);
            let there = match (scope, namespace) {
                (Some((_, Scope::Cluster)), None) => true,
                (Some((_, Scope::Namespaces(all))), Some(one)) => all.contains(one),
                _ => false,
            };
            Ok(there.then(|| format!("{arn} on access entry {}", iam.arn)))
        }
    }
}

/// The change that takes one back, from the object as it is now.
pub fn inverse(effect: &Effect, now: Option<&Value>) -> Option<Write> {
    match effect {
        Effect::Entry {
            principal,
            before,
            after,
        } => Some(match (before, after) {
            (None, Some(_)) => Write::DeleteEntry {
                principal: principal.clone(),
            },
            (Some(before), Some(_)) => Write::UpdateEntry {
                principal: principal.clone(),
                groups: before.groups.clone(),
            },
            (Some(before), None) => Write::CreateEntry(NewEntry {
                principal: principal.clone(),
                groups: before.groups.clone(),
                // EKS makes its own again.
                username: before.username.clone().filter(|name| {
                    Iam::parse(principal).is_none_or(|iam| iam.default_username() != *name)
                }),
                tags: before.tags.clone(),
            }),
            (None, None) => return None,
        }),
        Effect::Association {
            principal,
            policy,
            before,
            ..
        } => Some(association(principal, policy, before.as_ref())),
        Effect::Binding {
            place,
            before,
            after,
        } => binding(place, before.as_ref(), after.as_ref(), now),
        Effect::AwsAuth { list, before, .. } => {
            let mut object = now?.clone();
            let text = before.as_deref().unwrap_or_default();
            if let Some(data) = object.get_mut("data").and_then(Value::as_object_mut) {
                match text.is_empty() {
                    true => drop(data.remove(*list)),
                    false => drop(data.insert((*list).to_owned(), text.into())),
                }
            }
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
            }
            Some(Write::ReplaceAwsAuth { object })
        }
    }
}

fn association(principal: &str, policy: &str, before: Option<&Scope>) -> Write {
    match before {
        Some(scope) => Write::Associate {
            principal: principal.to_owned(),
            policy: policy.to_owned(),
            scope: scope.clone(),
        },
        None => Write::Disassociate {
            principal: principal.to_owned(),
            policy: policy.to_owned(),
        },
    }
}

fn binding(
    place: &Place,
    before: Option<&Value>,
    after: Option<&Value>,
    now: Option<&Value>,
) -> Option<Write> {
    match (before, after) {
        (None, Some(_)) => Some(Write::DeleteBinding {
            place: place.clone(),
            uid: text(now?, "/metadata/uid").to_owned(),
            version: text(now?, "/metadata/resourceVersion").to_owned(),
        }),
        (Some(before), None) => {
            let mut object = before.clone();
            let members = object.as_object_mut()?;
            members.insert(
                "apiVersion".to_owned(),
                "rbac.authorization.k8s.io/v1".into(),
            );
            members.insert("kind".to_owned(), place.kind().into());
            if let Some(metadata) = members.get_mut("metadata").and_then(Value::as_object_mut) {
                // What the API server gives to each object anew.
                for name in [
                    "uid",
                    "resourceVersion",
                    "creationTimestamp",
                    "managedFields",
                    "generation",
                    "selfLink",
                ] {
                    metadata.remove(name);
                }
            }
            Some(Write::CreateBinding {
                place: place.clone(),
                object,
            })
        }
        (Some(before), Some(after)) => {
            let version = text(now?, "/metadata/resourceVersion");
            let mut patch = vec![Op::Test(
                "/metadata/resourceVersion".to_owned(),
                version.into(),
            )];
            // Back to where each was, the first first.
            let mut kept = subjects(after).into_iter().peekable();
            for (at, subject) in subjects(before).into_iter().enumerate() {
                match kept.peek() == Some(&subject) {
                    true => drop(kept.next()),
                    false => patch.push(Op::Add(format!("/subjects/{at}"), subject)),
                }
            }
            Some(Write::PatchBinding {
                place: place.clone(),
                patch,
            })
        }
        (None, None) => None,
    }
}

/// What taking everything back may take.
const ALL: Duration = Duration::from_secs(60);
/// Attempts at taking one change back.
const ATTEMPTS: u32 = 6;
/// Looks at EKS before a change that does not show is believed not to be made.
const LOOKS: u32 = 4;

/// What became of a change that is taken back.
enum Back {
    Undone,
    NeverMade,
}

impl<C: Cloud, P: Plans> Run<'_, C, P> {
    /// Takes everything back and says what came of it.
    pub(super) async fn fail(mut self, error: ProvisionError) -> ProvisionError {
        let made = std::mem::take(&mut self.progress.made);
        let (mut undone, mut left) = (Vec::new(), Vec::new());
        let error = match made.is_empty() {
            true => error,
            false => {
                let until = clock::now() + ALL;
                for (number, made) in made.iter().enumerate().rev() {
                    let object = described(&made.checked);
                    match clock::timeout_at(until, self.take_back(made, number)).await {
                        Ok(Ok(Back::Undone)) => undone.push(object),
                        Ok(Ok(Back::NeverMade)) => {}
                        Ok(Err(why)) => left.push(format!("{object} ({why})")),
                        Err(_) => left.push(format!("{object} (there was no time to undo it)")),
                    }
                }
                as_failed(error, undone, left)
            }
        };
        if self.order.mode != Mode::Plan {
            let event = match (&error, made.is_empty()) {
                (ProvisionError::BadPlan { .. } | ProvisionError::Refused { .. }, true) => {
                    Event::Refused
                }
                _ => Event::Failed,
            };
            if let Err(error) = self.rows.event(event, Some(&error.to_string())) {
                tracing::error!("{error}");
            }
        }
        error
    }

    async fn take_back(&self, made: &Made, number: usize) -> Result<Back, String> {
        let effect = &made.checked.effect;
        let slow = made.checked.write.kind() == Kind::Eks;
        let mut wait = Backoff::new();
        let mut why = String::new();
        let mut looks = 0;
        for _ in 0..ATTEMPTS + LOOKS {
            let now = match standing(self.cloud, effect).await {
                Ok(Standing::After(now)) => now,
                Ok(Standing::Before) if !slow => {
                    return Ok(if made.sure {
                        Back::Undone
                    } else {
                        Back::NeverMade
                    });
                }
                // EKS may not show yet what it did.
                Ok(Standing::Before) if looks < LOOKS => {
                    looks += 1;
                    clock::sleep(wait.next()).await;
                    continue;
                }
                Ok(Standing::Before) if !made.sure => return Ok(Back::NeverMade),
                Ok(Standing::Before) => None,
                Ok(Standing::Other) => return Err("somebody else has changed it since".to_owned()),
                Err(error) => {
                    why = error.to_string();
                    clock::sleep(wait.next()).await;
                    continue;
                }
            };
            if let Effect::Entry {
                principal,
                before: None,
                ..
            } = effect
            {
                // They would go with the entry.
                match facts::associations(self.cloud, principal).await {
                    Ok(all) if all.is_empty() => {}
                    Ok(_) => {
                        return Err("somebody else has given it access policies since".to_owned());
                    }
                    Err(error) => {
                        why = error.to_string();
                        clock::sleep(wait.next()).await;
                        continue;
                    }
                }
            }
            let Some(write) = inverse(effect, now.as_ref()) else {
                return Err("it cannot be taken back".to_owned());
            };
            match self.send_back(made, number, write).await {
                Ok(true) => return Ok(Back::Undone),
                Ok(false) => {}
                Err(Some(refused)) => return Err(refused),
                Err(None) => {}
            }
            why = "the upstream does not answer as it should".to_owned();
            clock::sleep(wait.next()).await;
        }
        Err(why)
    }

    /// Whether it is taken back; `Err(Some)` where it never will be.
    async fn send_back(
        &self,
        made: &Made,
        number: usize,
        write: Write,
    ) -> Result<bool, Option<String>> {
        let gone = matches!(
            write,
            Write::DeleteEntry { .. } | Write::Disassociate { .. } | Write::DeleteBinding { .. }
        );
        // EKS answers the token of another change with what became of that.
        let token = format!("undo-{}-{number}", self.order.operation);
        let change = Checked {
            write,
            before: made.checked.after.clone(),
            after: made.checked.before.clone(),
            ..made.checked.clone()
        };
        let shown = self.applied(&change, "undo", &token, false, "");
        self.noted(Event::Undo, &shown, None, None);
        let reply = match self.cloud.change(&change.write, &token, false).await {
            Ok(Outcome::Answered(reply)) => reply,
            Ok(Outcome::Unknown(error)) | Err(error) => {
                self.noted(Event::Undo, &shown, None, Some(&error.to_string()));
                return Err(None);
            }
        };
        let message = (!reply.is_success()).then(|| reply.message().to_owned());
        self.noted(Event::Undo, &shown, Some(reply.status), message.as_deref());
        match verdict(&change.write, change.effect.bound(), &reply, true) {
            Verdict::Done => Ok(true),
            Verdict::Conflict(_) if gone && reply.status == 404 => Ok(true),
            Verdict::Conflict(_) | Verdict::NotYet(_) | Verdict::Unavailable(_) => Ok(false),
            Verdict::NotPermitted { sentence, .. } | Verdict::Refused(sentence) => {
                Err(Some(sentence))
            }
        }
    }
}

/// A change for people who have to look after it.
fn described(change: &Checked) -> String {
    let text = match (change.before.is_empty(), change.after.is_empty()) {
        (true, false) => format!("{}, which was added", change.object),
        (false, true) => format!("{}, which was removed", change.object),
        _ => format!("{}, which was changed", change.object),
    };
    let made_map = matches!(change.effect, Effect::AwsAuth { before: None, .. });
    match made_map {
        true => format!("{text} with a new ConfigMap aws-auth, which stays empty"),
        false => text,
    }
}

/// The same failure with what became of the changes before it.
fn as_failed(error: ProvisionError, undone: Vec<String>, left: Vec<String>) -> ProvisionError {
    let (cause, what, hint) = match error {
        ProvisionError::Failed {
            cause, what, hint, ..
        } => (cause, what, hint),
        ProvisionError::Upstream(UpstreamError::NotPermitted { .. }) => {
            (Cause::NotPermitted, error.to_string(), None)
        }
        ProvisionError::Upstream(error) => (Cause::Unavailable, error.to_string(), None),
        other => (Cause::Connector, other.to_string(), None),
    };
    match failed(cause, what) {
        ProvisionError::Failed { cause, what, .. } => ProvisionError::Failed {
            cause,
            what,
            hint,
            undone,
            left,
        },
        other => other,
    }
}
