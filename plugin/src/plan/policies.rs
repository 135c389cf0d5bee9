//! Access policies: one association of a policy on an entry has one scope, and
//! writing it replaces the scope. So namespaces are added and taken one by one,
//! the cluster's scope is never narrowed, and a pattern is never rewritten.

use serde_json::{Value, json};

use super::{Stop, Told, View, change, identity, listed, plan_of, roles, stop};
use crate::aws::arn::Arn;
use crate::aws::eks::{Association, Mode};
use crate::aws::policies::description;
use crate::bindings::{Change, Plan};
use crate::text::{encode, glob};
use identity::Own;

fn name_of(policy: &str) -> &str {
    policy.rsplit('/').next().unwrap_or(policy)
}

fn principal<'a>(view: &View<'a>) -> Result<&'a Arn, Stop> {
    view.wish
        .arn()
        .ok_or_else(|| stop("unsupported", "only IAM principals hold access policies"))
}

/// The association of the policy on the principal's entry.
fn association<'a>(view: &View<'a>, policy: &str) -> Option<&'a Association> {
    let list = view.reads.associations.get(&view.wish.id)?;
    list.iter().find(|a| a.policy_arn == policy)
}

fn of_partition(view: &View<'_>, policy: &str) -> Result<(), Stop> {
    let partition = &view.world.cluster.partition;
    if policy.split(':').nth(1) == Some(partition) {
        return Ok(());
    }
    Err(stop(
        "invalid-request",
        format!("{policy} is not of the cluster's partition {partition}"),
    ))
}

/// What it takes that the principal holds the policy in the scope.
pub fn grant(view: &View<'_>, policy: &str, scope: Option<&str>) -> Result<Plan, Stop> {
    of_partition(view, policy)?;
    let arn = principal(view)?;
    if view.world.cluster.mode == Mode::ConfigMap {
        return Err(stop(
            "unsupported",
            "in authentication mode CONFIG_MAP a cluster has no access entries, so nobody can hold an access policy",
        ));
    }
    if !view.reads.catalogue.iter().any(|p| p.arn == policy) {
        return Err(stop(
            "not-found",
            format!("EKS offers no access policy {policy}"),
        ));
    }
    if description(name_of(policy)).is_none() {
        return Err(stop(
            "unsupported",
            format!("{policy} is for services of AWS, or not known; it is not granted to people"),
        ));
    }
    roles::namespace_is_ready(view)?;
    if let Some(pattern) = scope.filter(|s| s.contains('*'))
        && !pattern
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"*-".contains(&b))
    {
        return Err(stop(
            "invalid-request",
            format!("no namespace can match `{pattern}`"),
        ));
    }
    if holds(view, policy, scope) {
        return Ok(plan_of(Vec::new()));
    }
    let mut changes = identity::for_policy(view, arn)?;
    let current = if changes.is_empty() {
        association(view, policy)
    } else {
        None
    };
    let named = |what: &str| {
        stop(
            "conflict",
            format!("{} holds {policy} {what}", view.wish.id),
        )
    };
    let namespaces = match (current.map(|a| &a.access_scope), scope) {
        (None, scope) => scope.map(|s| vec![s.to_string()]),
        (Some(there), _) if there.kind == "cluster" => {
            return Err(named(
                "for the whole cluster, and an association has one scope; revoke that first",
            ));
        }
        (Some(there), None) if there.kind == "namespace" => {
            return Err(named(&format!(
                "in namespaces ({}), and the cluster's scope would replace them; revoke the namespaces first",
                there.namespaces.join(", ")
            )));
        }
        (Some(there), Some(scope)) if there.kind == "namespace" => {
            let mut list = there.namespaces.clone();
            list.push(scope.to_string());
            Some(list)
        }
        (Some(there), _) => {
            return Err(named(&format!(
                "with the unknown scope type `{}`",
                there.kind
            )));
        }
    };
    changes.push(associate(view, policy, current, namespaces));
    Ok(plan_of(changes))
}

/// Whether the next file shows the wished grant: by the association itself, or by
/// a pattern that covers the namespace.
fn holds(view: &View<'_>, policy: &str, scope: Option<&str>) -> bool {
    let mut holders = crate::evidence::Holders::default();
    for row in view.world.policies.iter().filter(|p| p.arn == policy) {
        view.world.policy_holders(row, scope, &mut holders);
    }
    view.among(&holders).is_some()
}

/// What it takes that the principal does not hold the policy in the scope.
pub fn revoke(view: &View<'_>, policy: &str, scope: Option<&str>) -> Result<Plan, Stop> {
    of_partition(view, policy)?;
    let arn = principal(view)?;
    let taken = taken(view, arn, policy, scope)?;
    let gone = matches!(taken, Some((_, true)));
    let associated = view
        .reads
        .associations
        .get(&view.wish.id)
        .is_some_and(|list| list.iter().any(|a| !gone || a.policy_arn != policy));
    let mut changes: Vec<Change> = taken.into_iter().map(|(change, _)| change).collect();
    let mut plan = plan_of(Vec::new());
    let same = std::collections::BTreeMap::new();
    super::revoke::cleanup(
        view,
        arn,
        associated,
        &same,
        &mut changes,
        &mut plan.attributes,
    )?;
    plan.changes = changes;
    Ok(plan)
}

/// The change that takes the scope away, and whether the association goes with
/// it; nothing if the principal does not hold the policy there.
fn taken(
    view: &View<'_>,
    arn: &Arn,
    policy: &str,
    scope: Option<&str>,
) -> Result<Option<(Change, bool)>, Stop> {
    let Own::Live(entry) = identity::entry(view, arn)? else {
        return Ok(None);
    };
    let Some(there) = association(view, policy) else {
        return Ok(None);
    };
    // EKS changes the policies of no other entries.
    identity::usable(view, entry)?;
    let left: Vec<String> = match (there.access_scope.kind.as_str(), scope) {
        ("cluster", None) => Vec::new(),
        ("namespace", Some(scope)) => {
            let list = &there.access_scope.namespaces;
            let patterns: Vec<String> = list
                .iter()
                .filter(|s| s.as_str() != scope && s.contains('*') && glob(s, scope, false))
                .filter(|_| view.world.places.contains(scope))
                .cloned()
                .collect();
            if !patterns.is_empty() {
                return Err(stop(
                    "conflict",
                    format!(
                        "{} holds {policy} in namespace {scope} by the pattern {} of its association, which others may rely on; change that scope by hand",
                        view.wish.id,
                        listed(&patterns)
                    ),
                ));
            }
            if !list.iter().any(|s| s == scope) {
                return Ok(None);
            }
            list.iter().filter(|s| *s != scope).cloned().collect()
        }
        _ => return Ok(None),
    };
    let gone = left.is_empty();
    let access = if gone {
        disassociate(view, policy, there)
    } else {
        associate(view, policy, Some(there), Some(left))
    };
    Ok(Some((access, gone)))
}

fn policies_path(view: &View<'_>) -> String {
    format!(
        "{}/access-policies",
        identity::entry_path(view, Some(&view.wish.id))
    )
}

fn scope_text(association: Option<&Association>) -> String {
    match association.map(|a| &a.access_scope) {
        None => String::new(),
        Some(scope) if scope.kind == "cluster" => "the whole cluster".into(),
        Some(scope) => Value::from(scope.namespaces.clone()).to_string(),
    }
}

fn object(view: &View<'_>, policy: &str) -> String {
    format!("{} on access entry {}", name_of(policy), view.wish.id)
}

fn associate(
    view: &View<'_>,
    policy: &str,
    current: Option<&Association>,
    namespaces: Option<Vec<String>>,
) -> Change {
    let (scope, after) = match &namespaces {
        None => (
            json!({"type": "cluster", "namespaces": []}),
            "the whole cluster".to_string(),
        ),
        Some(list) => (
            json!({"type": "namespace", "namespaces": list}),
            Value::from(list.clone()).to_string(),
        ),
    };
    let told = Told {
        step: "access",
        object: object(view, policy),
        before: &scope_text(current),
        after: &after,
        summary: format!(
            "associate {} with access entry {} for {after}",
            name_of(policy),
            view.wish.id
        ),
    };
    let body = json!({"policyArn": policy, "accessScope": scope});
    change("eks", "POST", policies_path(view), Some(body), told)
}

fn disassociate(view: &View<'_>, policy: &str, current: &Association) -> Change {
    let told = Told {
        step: "access",
        object: object(view, policy),
        before: &scope_text(Some(current)),
        after: "",
        summary: format!(
            "disassociate {} from access entry {}",
            name_of(policy),
            view.wish.id
        ),
    };
    let path = format!("{}/{}", policies_path(view), encode(policy));
    change("eks", "DELETE", path, None, told)
}
