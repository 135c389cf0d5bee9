//! What the principal still has after a revoke: the same or more, through other
//! entitlements. It is told and left, because it was not asked for.

use super::bindings::role_of;
use super::{Access, View};
use crate::evidence::{Certainty, Holders};
use crate::text::glob;

/// Roles and policies of which each includes the ones before it.
const ROLES: [&str; 4] = ["view", "edit", "admin", "cluster-admin"];
const POLICIES: [&str; 4] = [
    "AmazonEKSViewPolicy",
    "AmazonEKSEditPolicy",
    "AmazonEKSAdminPolicy",
    "AmazonEKSClusterAdminPolicy",
];
/// Sees everything, so it includes the first only.
const SEES_ALL: &str = "AmazonEKSAdminViewPolicy";
const SECRETS: [&str; 2] = ["AmazonEKSSecretReaderPolicy", "AmazonEKSSecretAdminPolicy"];
const MAX: usize = 20;

/// How far up the wished access is; what is not known is included by the last only.
fn level(access: &Access) -> usize {
    let found = match access {
        Access::Role {
            cluster_role: true,
            name,
            ..
        } => ROLES.iter().position(|r| r == name),
        Access::Role { .. } => None,
        Access::Policy { arn, .. } => {
            let name = arn.rsplit('/').next().unwrap_or_default();
            if SECRETS.contains(&name) {
                Some(1)
            } else {
                POLICIES.iter().position(|p| *p == name)
            }
        }
    };
    found.unwrap_or(ROLES.len() - 1)
}

/// One sentence each.
pub fn sentences(view: &View<'_>) -> Vec<String> {
    let level = level(&view.wish.access);
    let (wished_policy, wished_scope) = match &view.wish.access {
        Access::Policy { arn, scope } => (Some(arn.as_str()), scope.as_deref()),
        Access::Role { namespace, .. } => {
            (None, Some(namespace.as_str()).filter(|n| !n.is_empty()))
        }
    };
    let mut out = Vec::new();
    by_roles(view, level, wished_scope, wished_policy.is_some(), &mut out);
    let mut masters = Holders::default();
    view.world.masters(&mut masters);
    if view.among(&masters).is_some() && role_of(view.wish) != (true, "cluster-admin", "") {
        out.push("group system:masters gives all access, whatever is bound".into());
    }
    for association in view
        .reads
        .associations
        .get(&view.wish.id)
        .into_iter()
        .flatten()
    {
        let name = association
            .policy_arn
            .rsplit('/')
            .next()
            .unwrap_or_default();
        let same = wished_policy == Some(association.policy_arn.as_str());
        let rank = POLICIES.iter().position(|p| *p == name);
        let wider = rank.is_some_and(|r| r >= level) || (name == SEES_ALL && level == 0);
        let scope = &association.access_scope;
        let covers = match (scope.kind.as_str(), wished_scope) {
            ("cluster", None) => !same,
            ("cluster", Some(_)) => true,
            ("namespace", Some(wished)) => {
                !same && scope.namespaces.iter().any(|s| glob(s, wished, false))
            }
            _ => false,
        };
        if covers && (same || wider) {
            let place = if scope.kind == "cluster" {
                "the whole cluster".to_string()
            } else {
                scope.namespaces.join(", ")
            };
            out.push(format!("access policy {name} for {place}"));
        }
    }
    out.truncate(MAX);
    out
}

fn by_roles(
    view: &View<'_>,
    level: usize,
    wished_scope: Option<&str>,
    policy: bool,
    out: &mut Vec<String>,
) {
    let wished = role_of(view.wish);
    let mut candidates: Vec<(bool, &str, &str)> = Vec::new();
    for role in ROLES.iter().skip(level) {
        candidates.push((true, role, ""));
        candidates.extend(wished_scope.map(|scope| (true, *role, scope)));
    }
    if !policy && wished.0 {
        candidates.push((true, wished.1, ""));
    }
    candidates.sort_unstable();
    candidates.dedup();
    for (cluster_role, role, scope) in candidates {
        if !policy && (cluster_role, role, scope) == wished {
            continue;
        }
        let mut best: Option<(Certainty, String)> = None;
        for binding in view.world.bindings.of(cluster_role, role, scope) {
            let mut holders = Holders::default();
            for subject in binding.subjects() {
                view.world.holders(subject, "", &mut holders);
            }
            if let Some(sure) = view.among(&holders)
                && best.as_ref().is_none_or(|(most, _)| sure > *most)
            {
                best = Some((sure, binding.path()));
            }
        }
        // What somebody would have to make first is not there now.
        if let Some((sure, through)) = best.filter(|(sure, _)| *sure > Certainty::Latent) {
            let when = match sure {
                Certainty::Session => ", in sessions of one name",
                Certainty::Conditional => ", if a condition holds",
                _ => "",
            };
            let place = if scope.is_empty() {
                "in the whole cluster".to_string()
            } else {
                format!("in namespace {scope}")
            };
            out.push(format!(
                "ClusterRole {role} {place} through binding {through}{when}"
            ));
        }
    }
    if policy {
        return;
    }
    // Everybody's access is nobody's grant.
    let (cluster_role, role, scope) = wished;
    let mut places = vec![(cluster_role, role, scope)];
    if cluster_role && !scope.is_empty() {
        places.push((true, role, ""));
    }
    for (cluster_role, role, scope) in places {
        for binding in view.world.bindings.of(cluster_role, role, scope) {
            let everybody = binding.subjects().find(|s| {
                s.name == "system:authenticated"
                    || s.name == "system:unauthenticated"
                    || (s.name == "system:serviceaccounts" && view.wish.arn().is_none())
            });
            if let Some(subject) = everybody {
                out.push(format!(
                    "group {} has the role through binding {}",
                    subject.name,
                    binding.path()
                ));
            }
        }
    }
}
