//! Granting a Role or ClusterRole: a binding of our own, and an identity for it.

use super::bindings::{self, Named, called, role_of};
use super::wish::role_kind;
use super::{Stop, View, identity, listed, plan_of, stop};
use crate::bindings::{Change, Plan};
use crate::evidence::Certainty;

/// What it takes that the principal holds the wished role in the wished scope.
pub fn grant(view: &View<'_>) -> Result<Plan, Stop> {
    let (cluster_role, role, namespace) = role_of(view.wish);
    namespace_is_ready(view)?;
    if view.holds_role() == Some(Certainty::Certain) {
        return Ok(plan_of(Vec::new()));
    }
    if !view.reads.role_exists {
        let place = if cluster_role {
            String::new()
        } else {
            format!(" in namespace {namespace}")
        };
        return Err(stop(
            "not-found",
            format!("there is no {} {role}{place}", role_kind(cluster_role)),
        ));
    }
    let (named, mut mapping) = match bindings::of_account(&view.wish.who) {
        Some(named) => {
            if !view.world.service_accounts.contains(&view.wish.id) {
                return Err(stop(
                    "not-found",
                    format!("there is no service account {}", view.wish.id),
                ));
            }
            (named, Vec::new())
        }
        None => identity::for_binding(view)?,
    };
    let sharers = view.sharers(&named);
    if !sharers.is_empty() {
        return Err(stop(
            "conflict",
            format!(
                "a binding to {} would give the access to others too: {}",
                named.words(),
                listed(&sharers)
            ),
        ));
    }
    // The binding first: unmapped it gives nothing, while a mapping without one
    // already lets the principal in.
    let mut changes = bind(view, &named)?;
    changes.append(&mut mapping);
    Ok(plan_of(changes))
}

/// A namespace that access is to be given in must be there to stay.
pub fn namespace_is_ready(view: &View<'_>) -> Result<(), Stop> {
    let Some(namespace) = view.wish.namespace() else {
        return Ok(());
    };
    if view.reads.terminating.contains(namespace) {
        return Err(stop(
            "conflict",
            format!("namespace {namespace} is being deleted"),
        ));
    }
    if !view.world.namespaces.contains(namespace) {
        return Err(stop(
            "not-found",
            format!("there is no namespace {namespace}"),
        ));
    }
    Ok(())
}

fn bind(view: &View<'_>, named: &Named) -> Result<Vec<Change>, Stop> {
    let name = view.wish.binding_name();
    let create = bindings::create(view.wish, named);
    let Some(there) = view
        .reads
        .concerned
        .iter()
        .find(|b| b.metadata.name == name)
    else {
        return Ok(vec![create]);
    };
    let home = &there.metadata.namespace;
    let taken = |why: &str| {
        stop(
            "conflict",
            format!(
                "{} has the name of the binding that would be made, and {why}; delete or rename it",
                called(home, &name)
            ),
        )
    };
    if !there.is_labelled() {
        return Err(taken("is not of our making"));
    }
    if !there.binds(view.wish) {
        return Err(taken("binds another role"));
    }
    let subjects: Vec<Option<Named>> = there
        .subjects
        .iter()
        .map(|s| Named::read(s, home))
        .collect();
    match subjects.as_slice() {
        [Some(one)] if one == named => Ok(Vec::new()),
        // Its subject is no longer the principal's: drift.
        [] | [_] => Ok(vec![
            bindings::delete(there, "its subject is no longer the principal's"),
            create,
        ]),
        _ => Err(taken("somebody added subjects to it")),
    }
}
