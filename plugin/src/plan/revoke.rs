//! Taking a Role or ClusterRole: every way by which the principal holds it there.
//!
//! All ways are found before anything is changed. One that others share, or that
//! is not a binding's to give, is named and nothing is done; what gives the same
//! or more through another entitlement is told and left.

use std::collections::BTreeMap;

use super::bindings::{self, Named, role_of};
use super::identity::{self, Own};
use super::lines::{self, Found};
use super::objects::Whole;
use super::wish::{own_group, own_username};
use super::{Stop, Told, View, change, listed, plan_of, stop};
use crate::aws::arn::Arn;
use crate::aws::eks::Mode;
use crate::bindings::{Change, Plan};
use crate::evidence::Holders;
use crate::identity::default_username;
use crate::kubernetes::rbac::SubjectKind;

/// Bindings that one plan changes; the next goes on.
const MAX_CHANGES: usize = 30;

/// What it takes that the principal does not hold the wished role in its scope.
pub fn role(view: &View<'_>) -> Result<Plan, Stop> {
    let mut blocked = masters(view);
    let mut changes = Vec::new();
    let mut attributes = Vec::new();
    let mut left = BTreeMap::new();
    for binding in view.reads.concerned.iter().filter(|b| b.binds(view.wish)) {
        let ours = binding.is_labelled() && binding.metadata.name == view.wish.binding_name();
        // What a role that is not there gives is nothing; only what is ours is
        // taken away, so that it does not come to life with the role.
        if !ours && !view.reads.role_exists {
            continue;
        }
        let mut mine = Vec::new();
        for (at, value) in binding.subjects.iter().enumerate() {
            let Some(named) = Named::read(value, &binding.metadata.namespace) else {
                continue;
            };
            if !is_way(view, &named) {
                continue;
            }
            if !ours && let Some(why) = shared(view, binding, &named)? {
                blocked.push(why);
            }
            mine.push(at);
        }
        let all = mine.len() == binding.subjects.len();
        let (change, stay) = if ours && (all || binding.subjects.len() <= 1) {
            (
                bindings::delete(binding, "it is the principal's own"),
                false,
            )
        } else if mine.is_empty() {
            continue;
        } else if all {
            (bindings::delete(binding, "it binds nobody else"), false)
        } else {
            (bindings::without(binding, &mine), true)
        };
        changes.push(change);
        let others = binding.subjects.iter().enumerate();
        let others = others.filter(|(at, _)| stay && !mine.contains(at));
        let home = &binding.metadata.namespace;
        let others = others.filter_map(|(_, s)| Named::read(s, home)).collect();
        left.insert(binding.path(), others);
        attributes.extend(kept_by_others(binding));
    }
    if !blocked.is_empty() {
        return Err(stop(
            "conflict",
            format!(
                "{} holds {} by ways that are not its own, and nothing was changed: {}",
                view.wish.principal(),
                view.wish.entitlement,
                listed(&blocked)
            ),
        ));
    }
    let whole = changes.len() < MAX_CHANGES;
    changes.truncate(MAX_CHANGES);
    if let Some(arn) = view.wish.arn().filter(|_| whole) {
        let associated = view
            .reads
            .associations
            .get(&view.wish.id)
            .is_some_and(|list| !list.is_empty());
        cleanup(view, arn, associated, &left, &mut changes, &mut attributes)?;
    }
    let mut plan = plan_of(changes);
    plan.attributes = attributes;
    Ok(plan)
}

/// Whether a subject is a way to the principal: by the index, or because it is
/// the principal's own group, mapped or not.
fn is_way(view: &View<'_>, named: &Named) -> bool {
    let own = view.wish.arn().map(own_group);
    (named.kind == SubjectKind::Group && own.as_deref() == Some(&named.name))
        || view.among(&view.by_subject(named, "")).is_some()
}

/// `system:masters` lets through before any binding is looked at.
fn masters(view: &View<'_>) -> Vec<String> {
    if role_of(view.wish) != (true, "cluster-admin", "") {
        return Vec::new();
    }
    let mut holders = Holders::default();
    view.world.masters(&mut holders);
    if view.among(&holders).is_none() {
        return Vec::new();
    }
    let key = view.wish.arn().map(Arn::key);
    let hits = view.world.index.group("system:masters");
    let own = hits.iter().filter(|h| Some(h.arn.key()) == key);
    own.map(|h| format!("group system:masters in {} (take it out there)", h.place))
        .collect()
}

/// Why a subject of somebody's binding cannot be taken away from it.
fn shared(view: &View<'_>, binding: &Whole, named: &Named) -> Result<Option<String>, Stop> {
    let place = format!("{} in {}", named.words(), binding.called());
    if binding.metadata.name.starts_with("eks:") {
        return Ok(Some(format!("{place}, a binding that EKS keeps")));
    }
    let own = view.wish.arn().map(own_group);
    if named.kind == SubjectKind::Group && own.as_deref() == Some(&named.name) {
        return Ok(None);
    }
    if named.kind == SubjectKind::Group && view.wish.arn().is_none() {
        return Ok(Some(format!(
            "{place}, which is every service account of the namespace (bind them one by one)"
        )));
    }
    let everybody =
        view.wide || view.wish.arn().is_none() || view.world.cluster.mode == Mode::ConfigMap;
    if !everybody {
        return Err(Stop::Everybody);
    }
    if view.wish.arn().is_some() && named.name.starts_with("system:") {
        return Ok(Some(format!(
            "{place}, a name of the cluster's own (take the mapping to it away)"
        )));
    }
    let mut sharers = view.sharers(named);
    if sharers.is_empty() {
        sharers = view.rivals(named);
    }
    if sharers.is_empty() {
        return Ok(None);
    }
    Ok(Some(format!(
        "{place}, shared with {} (change the mapping or that binding by hand)",
        listed(&sharers)
    )))
}

/// A warning for a binding that some other tool writes.
fn kept_by_others(binding: &Whole) -> Option<(String, String)> {
    let manager = binding.metadata.labels.get(super::LABEL.0)?;
    (manager != super::LABEL.1).then(|| {
        (
            "warning".to_string(),
            format!(
                "{} is managed by {manager}, which may write it again",
                binding.called()
            ),
        )
    })
}

/// Removes the mapping that we made, if nothing uses it any more. Also where the
/// access is gone already: whoever took it may not have come this far.
pub fn cleanup(
    view: &View<'_>,
    arn: &Arn,
    associated: bool,
    changed: &BTreeMap<String, Vec<Named>>,
    changes: &mut Vec<Change>,
    attributes: &mut Vec<(String, String)>,
) -> Result<(), Stop> {
    let group = own_group(arn);
    let names = |username: String| {
        [
            (SubjectKind::Group, group.clone()),
            (SubjectKind::User, username),
        ]
    };
    if let Found::Line(line) = lines::find(view, arn)
        && lines::is_ours(line, arn)
        && view.user_of(&names(own_username(arn)), changed).is_none()
    {
        match lines::remove(view, line) {
            Ok(change) => changes.push(change),
            Err(_) => attributes.push((
                "warning".into(),
                format!("{} of aws-auth is not used any more and could not be taken out exactly; remove it by hand", line.place),
            )),
        }
        // The entry, if there is one too, goes when no line is left.
        return Ok(());
    }
    let Own::Live(entry) = identity::entry(view, arn)? else {
        return Ok(());
    };
    let plain = matches!(entry.kind.as_str(), "STANDARD" | "")
        && entry.kubernetes_groups.iter().all(|g| *g == group);
    if !identity::is_ours(entry) || !plain || associated {
        return Ok(());
    }
    let username = if entry.username.is_empty() {
        default_username(arn)
    } else {
        entry.username.clone()
    };
    if view.user_of(&names(username), changed).is_some() {
        return Ok(());
    }
    if let Some(why) = returning(view, arn, changed) {
        attributes.push((
            "warning".into(),
            format!(
                "access entry {} is not used any more and stays: without it {why}",
                view.wish.id
            ),
        ));
        return Ok(());
    }
    let told = Told {
        step: "cleanup",
        object: format!("access entry {}", view.wish.id),
        before: &serde_json::Value::from(entry.kubernetes_groups.clone()).to_string(),
        after: "",
        summary: format!(
            "delete access entry {}, which nothing uses any more",
            view.wish.id
        ),
    };
    let path = identity::entry_path(view, Some(&view.wish.id));
    changes.push(change("eks", "DELETE", path, None, told));
    Ok(())
}

/// What would come back if the entry went, in words.
fn returning(view: &View<'_>, arn: &Arn, changed: &BTreeMap<String, Vec<Named>>) -> Option<String> {
    let auth = view.reads.auth.as_ref()?;
    let key = arn.key();
    let line = auth
        .lines
        .iter()
        .find(|l| Arn::parse(&l.arn).is_some_and(|a| a.key() == key));
    if let Some(line) = line {
        return Some(format!("{} of aws-auth would count again", line.place));
    }
    let name = lines::canonical(arn);
    let named = [(SubjectKind::User, name.clone())];
    (auth.accounts.contains(&arn.account) && view.user_of(&named, changed).is_some())
        .then(|| format!("mapAccounts of aws-auth would give the user name {name} again"))
}
