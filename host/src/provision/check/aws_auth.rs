//! `aws-auth`: one item goes in or out, or the principal's own group goes into
//! its item, and every other byte stays.
//!
//! Texts are compared as texts first: the new one is the old one with one run
//! of bytes more or less. Then both are read and all other items compared. And
//! because two readers of YAML may disagree on a text made to that end, what is
//! put in is compared with what the host would have put in, blanks and quotes
//! aside.

use serde_json::{Value, json};

use super::super::facts::{self, Mapped, Mode, list_of};
use super::super::wish::Iam;
use super::{Checked, Effect, Fits, Problem, Step, World, bad, moved, shown};
use crate::upstream::operation::write::Write;

const LISTS: [&str; 2] = ["mapRoles", "mapUsers"];
/// What `kubectl apply` keeps; plugins never see it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What became of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// An item of ours went in.
    Added,
    /// It went out.
    Removed,
    /// The principal's own group went into its item.
    Grouped,
}

impl World<'_> {
    fn allowed(&self, list: &'static str, old: &str, new: &str) -> Fits<(Edit, String)> {
        let Some(iam) = self.wish.iam() else {
            return bad("aws-auth changes, and the wish is for a service account");
        };
        if !self.facts.mode.lines() {
            return bad("aws-auth changes, and this cluster does not look at it");
        }
        let (edit, run) = edit(iam, list, old, new).map_err(Problem::Bad)?;
        let lines = self.facts.lines_of(iam);
        let ours = || Mapped {
            principal: iam.arn.clone(),
            username: iam.own_username(),
            groups: vec![iam.own_group()],
        };
        match (self.granting(), &edit) {
            (true, Edit::Added) => {
                self.role()?;
                if self.facts.mode != Mode::ConfigMap {
                    return bad("a line of aws-auth is added where access entries are used");
                }
                if !lines.is_empty() {
                    return moved("a second line of aws-auth would take the place of the first");
                }
                self.gains_nothing(iam, &ours())?;
            }
            (true, Edit::Grouped) => {
                self.role()?;
                if self.facts.entry.is_some() {
                    return moved(
                        "a line of aws-auth changes that the principal's access entry overrides",
                    );
                }
                let new = Mapped {
                    username: String::new(),
                    ..ours()
                };
                self.gains_nothing(iam, &new)?;
            }
            (false, Edit::Removed) => {
                if let Some(place) = self.is_bound(&[ours()]) {
                    return moved(format!("a line of aws-auth is removed that {place} needs"));
                }
            }
            _ => return bad("aws-auth changes against the wish"),
        }
        Ok((edit, run))
    }

    pub(super) fn replace_aws_auth(&mut self, given: Value) -> Fits<Checked> {
        let Some(object) = self.facts.aws_auth.clone() else {
            return moved("aws-auth is not there");
        };
        // First of all: what differs from another version says nothing of the plan.
        let version = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
        if version(&given) != version(&object) {
            return moved("aws-auth has changed");
        }
        let changed: Vec<&'static str> = LISTS
            .into_iter()
            .filter(|list| list_of(Some(&object), list) != list_of(Some(&given), list))
            .collect();
        let [list] = changed.as_slice() else {
            return bad("other than one list of aws-auth changes");
        };
        let (old, new) = (list_of(Some(&object), list), list_of(Some(&given), list));
        let after = with(&object, list, new);
        if bare(&given) != bare(&after) {
            return bad("aws-auth changes in more than one list");
        }
        let (edit, run) = self.allowed(list, old, new)?;
        self.facts.aws_auth = Some(after.clone());
        let (before, shown_after) = match edit {
            Edit::Removed => (run, String::new()),
            Edit::Added | Edit::Grouped => (String::new(), run),
        };
        Ok(Checked {
            object: format!("aws-auth {list}"),
            before,
            after: shown_after,
            effect: Effect::AwsAuth {
                list,
                before: Some(old.to_owned()),
                after: new.to_owned(),
            },
            write: Write::ReplaceAwsAuth { object: after },
            step: match self.granting() {
                true => Step::Identity,
                false => Step::Cleanup,
            },
        })
    }

    pub(super) fn create_aws_auth(&mut self, given: Value) -> Fits<Checked> {
        let Some(iam) = self.wish.iam() else {
            return bad("aws-auth is made, and the wish is for a service account");
        };
        let list = iam.list();
        let text = list_of(Some(&given), list).to_owned();
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "aws-auth", "namespace": "kube-system"},
            "data": {list: text},
        });
        if given != object {
            return bad("a ConfigMap that is not exactly aws-auth with one list");
        }
        let (_, run) = self.allowed(list, "", &text)?;
        if self.facts.aws_auth.is_some() {
            return moved("aws-auth is there already");
        }
        self.facts.aws_auth = Some(object.clone());
        Ok(Checked {
            object: format!("aws-auth {list}"),
            before: String::new(),
            after: run,
            effect: Effect::AwsAuth {
                list,
                before: None,
                after: text,
            },
            write: Write::CreateAwsAuth { object },
            step: Step::Identity,
        })
    }
}

/// The object with another text in one list.
pub fn with(object: &Value, list: &str, text: &str) -> Value {
    let mut after = object.clone();
    if let Some(members) = after.as_object_mut() {
        members.insert("apiVersion".to_owned(), "v1".into());
        members.insert("kind".to_owned(), "ConfigMap".into());
        let data = members.entry("data").or_insert_with(|| json!({}));
        if !data.is_object() {
            *data = json!({});
        }
        if let Some(data) = data.as_object_mut() {
            data.insert(list.to_owned(), text.into());
        }
        if let Some(metadata) = members.get_mut("metadata").and_then(Value::as_object_mut) {
            // Absent means unchanged.
            metadata.remove("managedFields");
        }
    }
    after
}

/// An object without what a plugin is not shown.
fn bare(object: &Value) -> Value {
    let mut bare = object.clone();
    if let Some(metadata) = bare.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        let emptied = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
            .is_some_and(|annotations| {
                annotations.remove(LAST_APPLIED);
                annotations.is_empty()
            });
        if emptied {
            metadata.remove("annotations");
        }
    }
    bare
}

/// Which edit leads from one text to the other, and the bytes of it.
pub fn edit(iam: &Iam, list: &'static str, old: &str, new: &str) -> Result<(Edit, String), String> {
    let unreadable = |why: String| format!("{list} of aws-auth: {why}");
    let before = facts::items(old).map_err(unreadable)?;
    let after = facts::items(new).map_err(unreadable)?;
    let ours = ours(iam, list);
    if after.len() == before.len() + 1 {
        let at = one_more(&before, &after).ok_or_else(|| touches(list))?;
        if list != iam.list() || after.get(at) != Some(&ours) {
            return Err("an item goes into aws-auth that is not ours for the principal".to_owned());
        }
        let run = if before.is_empty() && nothing(old) {
            Some(new).filter(|run| is_item(iam, list, run))
        } else {
            runs(old, new).find(|run| is_item(iam, list, run))
        };
        return Ok((Edit::Added, run.ok_or_else(|| touches(list))?.to_owned()));
    }
    if before.len() == after.len() + 1 {
        let at = one_more(&after, &before).ok_or_else(|| touches(list))?;
        if before.get(at) != Some(&ours) {
            return Err(
                "an item goes out of aws-auth that is not ours for the principal".to_owned(),
            );
        }
        let whole = Some(old).filter(|_| after.is_empty() && nothing(new));
        let run = whole.or_else(|| runs(new, old).find(|run| names_us(iam, run)));
        return Ok((Edit::Removed, run.ok_or_else(|| touches(list))?.to_owned()));
    }
    grouped(iam, list, (old, &before), (new, &after))
}

fn touches(list: &str) -> String {
    format!("{list} of aws-auth changes in more than one item")
}

/// The principal's own group in its own item, which is somebody else's.
fn grouped(
    iam: &Iam,
    list: &'static str,
    (old, before): (&str, &[Value]),
    (new, after): (&str, &[Value]),
) -> Result<(Edit, String), String> {
    let wrong = || touches(list);
    if before.len() != after.len() {
        return Err(wrong());
    }
    let mut changed = before.iter().zip(after).filter(|(a, b)| a != b);
    let (Some((was, is)), None) = (changed.next(), changed.next()) else {
        return Err(wrong());
    };
    let (Some(was_line), Some(is_line)) = (facts::line(list, was), facts::line(list, is)) else {
        return Err(wrong());
    };
    let own = iam.own_group();
    let mut rest = is_line.groups.clone();
    let Some(at) = rest.iter().position(|group| *group == own) else {
        return Err(format!(
            "an item of aws-auth changes in other than the principal's own group ({})",
            shown(&is_line.arn)
        ));
    };
    rest.remove(at);
    let without_groups = |item: &Value| {
        let mut item = item.clone();
        if let Some(members) = item.as_object_mut() {
            members.retain(|key, _| !key.eq_ignore_ascii_case("groups"));
        }
        item
    };
    if !was_line.arn.eq_ignore_ascii_case(&iam.canonical())
        || rest != was_line.groups
        || without_groups(was) != without_groups(is)
    {
        return Err(format!(
            "an item of aws-auth changes in other than the principal's own group ({})",
            shown(&is_line.arn)
        ));
    }
    let run = runs(old, new)
        .map(str::to_owned)
        .chain(replaced(old, new))
        .find(|run| is_group(&own, run));
    Ok((Edit::Grouped, run.ok_or_else(wrong)?))
}

/// Our item.
fn ours(iam: &Iam, list: &str) -> Value {
    json!({field(list): iam.canonical(), "username": iam.own_username(), "groups": [iam.own_group()]})
}

fn field(list: &str) -> &'static str {
    if list == "mapRoles" {
        "rolearn"
    } else {
        "userarn"
    }
}

/// Where the longer list has one item more.
fn one_more(short: &[Value], long: &[Value]) -> Option<usize> {
    let at = short.iter().zip(long).take_while(|(a, b)| a == b).count();
    (short.get(at..) == long.get(at + 1..)).then_some(at)
}

/// What counts as an empty list.
fn nothing(text: &str) -> bool {
    matches!(text.trim(), "" | "\"\"" | "''" | "``" | "[]" | "null" | "~")
}

/// The runs of bytes, each of which makes the longer text the shorter one when
/// it is taken out.
fn runs<'a>(short: &'a str, long: &'a str) -> impl Iterator<Item = &'a str> {
    // The last place first: that is where lines begin and end with themselves.
    let (a, b) = (short.as_bytes(), long.as_bytes());
    let more = b.len().saturating_sub(a.len());
    let head = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let tail = a
        .iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let first = a.len() - tail;
    (first..=head)
        .rev()
        .filter(move |_| more > 0)
        .filter_map(move |at| long.get(at..at + more))
}

/// What stands in a text instead of a word for nothing.
fn replaced(old: &str, new: &str) -> Option<String> {
    let head = old
        .char_indices()
        .zip(new.chars())
        .find(|((_, a), b)| a != b)
        .map_or(old.len().min(new.len()), |((at, _), _)| at);
    let (old, new) = (old.get(head..)?, new.get(head..)?);
    let tail: usize = old
        .chars()
        .rev()
        .zip(new.chars().rev())
        .take_while(|(a, b)| a == b)
        .map(|(c, _)| c.len_utf8())
        .sum();
    let (old, new) = (
        old.get(..old.len() - tail)?,
        new.get(..new.len().checked_sub(tail)?)?,
    );
    nothing(old).then(|| new.to_owned())
}

/// Without blanks and quotes.
fn bones(text: &str) -> String {
    text.chars()
        .filter(|c| !matches!(c, ' ' | '\t' | '\r' | '\n' | '"' | '\''))
        .collect()
}

/// Whether a run is our item as the host would write it.
fn is_item(iam: &Iam, list: &str, run: &str) -> bool {
    let (field, arn) = (field(list), iam.canonical());
    let (username, group) = (iam.own_username(), iam.own_group());
    let block = format!("-{field}:{arn}username:{username}groups:-{group}");
    let flow = format!("{{{field}:{arn},username:{username},groups:[{group}]}}");
    let bones = bones(run);
    [
        block,
        format!("-{flow}"),
        format!("[{flow}]"),
        format!(",{flow}"),
        format!("{flow},"),
        flow,
    ]
    .contains(&bones)
}

/// Whether a run is the principal's own group in an item's list.
fn is_group(own: &str, run: &str) -> bool {
    let bones = bones(run);
    [
        format!("-{own}"),
        format!("{own},"),
        format!(",{own}"),
        own.to_owned(),
        format!("[{own}]"),
        format!("groups:-{own}"),
        format!("groups:[{own}]"),
        format!(",groups:[{own}]"),
        format!("groups:[{own}],"),
    ]
    .contains(&bones)
}

/// Whether a run that goes out has all of our names in it.
fn names_us(iam: &Iam, run: &str) -> bool {
    let bones = bones(run);
    [iam.canonical(), iam.own_username(), iam.own_group()]
        .iter()
        .all(|name| bones.contains(name.as_str()))
}
