//! The checks of grants: each looks at one and puts items under a rule.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::Found;
use super::catalog::{Look, RULES, Severity};
use super::{facts, shadow};
use crate::review::model::{Certainty, Grant, Id, Model, Sort};
use crate::review::rules::{Given, Rule, Scope, Wish, gives, is_cluster_scoped};

/// Roles that every cluster gives to everybody: their own text says so.
const DISCOVERY: [&str; 3] = [
    "system:basic-user",
    "system:discovery",
    "system:public-info-viewer",
];

pub(super) fn run(found: &mut Found<'_>) {
    let model = found.model;
    let roles = Roles::new(model);
    let strong = strong_accounts(model, &roles);
    for (number, realm) in model.realms.iter().enumerate() {
        let at = Id::try_from(number).unwrap_or(Id::MAX);
        let more = shadow::run(found, &roles, at, realm);
        found.shadow.extend(more);
    }
    for grant in model.grants.iter().filter(|grant| !grant.derived) {
        rights(found, &roles, grant);
        everybody(found, &roles, grant);
        masters(found, grant);
        workloads(found, grant);
        waiting(found, grant);
        pods(found, grant, &strong);
    }
    for node in 0..model.nodes.len() {
        facts::node_facts(found, Id::try_from(node).unwrap_or(Id::MAX));
    }
    for realm in &model.realms {
        facts::evidence(found, realm);
        facts::unread(found, realm);
        facts::before_entries(found, realm);
        facts::node_roles(found, realm);
        facts::endpoint(found, realm);
    }
}

/// What each role allows, worked out once.
pub(super) struct Roles {
    /// By node: places in [`RULES`] with what the role gives of them.
    gives: HashMap<Id, Vec<(usize, Vec<String>)>>,
    /// Those that allow everything.
    pub(super) all: HashSet<Id>,
    wild: HashMap<Id, String>,
    pods: HashSet<Id>,
    aws_auth: HashSet<Id>,
}

impl Roles {
    fn new(model: &Model) -> Roles {
        let mut roles = Roles {
            gives: HashMap::new(),
            all: HashSet::new(),
            wild: HashMap::new(),
            pods: HashSet::new(),
            aws_auth: HashSet::new(),
        };
        let held: BTreeSet<Id> = model
            .entitlements
            .iter()
            .filter(|held| held.scope.is_some())
            .map(|held| held.node)
            .collect();
        for node in held {
            let Some(rules) = model.rules(node) else {
                continue;
            };
            let has =
                |verb: &str, resource: &str| gives(rules, &Wish::new(verb, resource)) == Given::Yes;
            if everything(rules) {
                roles.all.insert(node);
            }
            if let Some(words) = wildcards(rules) {
                roles.wild.insert(node, words);
            }
            let starts = [
                "pods",
                "deployments",
                "daemonsets",
                "statefulsets",
                "jobs",
                "cronjobs",
            ];
            if starts.iter().any(|what| has("create", what)) {
                roles.pods.insert(node);
            }
            let named = |verb| {
                let wish = Wish::new(verb, "configmaps").named("aws-auth");
                gives(rules, &wish) == Given::Yes
            };
            if named("update") || named("patch") {
                roles.aws_auth.insert(node);
            }
            let mut list = Vec::new();
            for (at, rule) in RULES.iter().enumerate() {
                if let Look::Can(wishes, _) = rule.look {
                    let words = wishes.iter().filter_map(|(verb, resource)| {
                        match gives(rules, &Wish::new(verb, resource)) {
                            Given::No => None,
                            Given::Yes => Some(format!("{verb} {resource}")),
                            Given::Named(names) => {
                                let names: Vec<String> = names.into_iter().take(5).collect();
                                Some(format!("{verb} {resource} ({})", names.join(", ")))
                            }
                        }
                    });
                    let words: Vec<String> = words.collect();
                    if !words.is_empty() {
                        list.push((at, words));
                    }
                }
            }
            roles.gives.insert(node, list);
        }
        roles
    }
}

/// Whether rules allow everything.
fn everything(rules: &[Rule]) -> bool {
    let star = |list: &[String]| list.iter().any(|text| text == "*");
    rules.iter().any(|rule| {
        star(&rule.verbs)
            && star(&rule.api_groups)
            && star(&rule.resources)
            && rule.resource_names.is_empty()
    })
}

/// Wildcards in rules, in words.
fn wildcards(rules: &[Rule]) -> Option<String> {
    let star = |list: &[String]| list.iter().any(|text| text == "*");
    let one = |rule: &Rule| {
        let join = |list: &[String]| list.iter().take(4).cloned().collect::<Vec<_>>().join(",");
        if rule.resources.is_empty() || !rule.resource_names.is_empty() {
            return None;
        }
        match (star(&rule.verbs), star(&rule.resources)) {
            (true, true) => Some("every verb on every resource".to_owned()),
            (true, false) => Some(format!("every verb on {}", join(&rule.resources))),
            (false, true) => Some(format!("{} on every resource", join(&rule.verbs))),
            (false, false) => None,
        }
    };
    let found: Vec<String> = rules.iter().filter_map(one).take(3).collect();
    (!found.is_empty()).then(|| found.join("; "))
}

pub(super) fn role_of(model: &Model, grant: &Grant) -> Option<(Id, Scope)> {
    let held = model.entitlement(grant.entitlement)?;
    Some((held.node, held.scope.clone()?))
}

/// Rights that lead further, by what the role's rules say.
fn rights(found: &mut Found<'_>, roles: &Roles, grant: &Grant) {
    let model = found.model;
    let Some((node, scope)) = role_of(model, grant) else {
        return;
    };
    // Stand-ins have rules of their own; latent access waits under `latent`.
    if model.node(grant.principal).sort == Sort::StandIn || grant.certainty == Certainty::Latent {
        return;
    }
    let wide = scope == Scope::Cluster;
    let what = model.what(grant.entitlement);
    if wide && roles.all.contains(&node) {
        // Everything includes everything else.
        found.grant("cluster-admin", Severity::Critical, grant, &what);
        return;
    }
    if let Some(words) = roles.wild.get(&node) {
        let severity = if wide {
            Severity::High
        } else {
            Severity::Medium
        };
        found.grant(
            "wildcard-rules",
            severity,
            grant,
            &format!("{what}: {words}"),
        );
    }
    let mode = model.realm(node).map_or("", |realm| realm.mode.as_str());
    if roles.aws_auth.contains(&node) && mode != "API" && scope.covers(Some("kube-system")) {
        found.grant("write-aws-auth", Severity::Critical, grant, &what);
    }
    if roles.all.contains(&node) {
        return;
    }
    for (at, words) in roles.gives.get(&node).into_iter().flatten() {
        let Some(rule) = RULES.get(*at) else { continue };
        let Look::Can(wishes, narrow) = rule.look else {
            continue;
        };
        let severity = match (wide, narrow) {
            (true, _) => rule.severity,
            (false, Some(severity)) => severity,
            (false, None) => continue,
        };
        // What belongs to the cluster is not given in a namespace.
        let given = words.iter().filter(|word| {
            wide || !wishes.iter().any(|(verb, resource)| {
                let base = resource.split('/').next().unwrap_or(resource);
                is_cluster_scoped(base) && word.starts_with(&format!("{verb} {resource}"))
            })
        });
        let given: Vec<&str> = given.take(4).map(String::as_str).collect();
        if !given.is_empty() {
            found.grant(
                rule.id,
                severity,
                grant,
                &format!("{what}: {}", given.join(", ")),
            );
        }
    }
}

/// Access of everybody, logged in or not.
fn everybody(found: &mut Found<'_>, roles: &Roles, grant: &Grant) {
    let model = found.model;
    let id = model.id(grant.principal);
    let rule = match (model.kind(grant.principal), id) {
        ("kube_user", "system:anonymous") | ("kube_group", "system:unauthenticated") => {
            "open-to-anonymous"
        }
        ("kube_group", "system:authenticated" | "system:serviceaccounts") => "open-to-everyone",
        ("service_account", "*") => return,
        _ => return,
    };
    let Some((node, scope)) = role_of(model, grant) else {
        return;
    };
    if DISCOVERY.contains(&model.id(node)) {
        return;
    }
    let strong = roles.all.contains(&node)
        || roles.wild.contains_key(&node)
        || roles.gives.get(&node).is_some_and(|list| !list.is_empty());
    let severity = match (rule, strong, scope == Scope::Cluster) {
        (_, true, true) => Severity::Critical,
        ("open-to-anonymous", ..) | (_, true, _) => Severity::High,
        _ => Severity::Medium,
    };
    found.grant(rule, severity, grant, &model.what(grant.entitlement));
}

fn masters(found: &mut Found<'_>, grant: &Grant) {
    let model = found.model;
    if model.ways(grant).iter().any(|way| way.bypasses_rbac) {
        found.grant(
            "system-masters",
            Severity::Critical,
            grant,
            "past every check of the API server",
        );
    }
}

/// Pods that become IAM roles.
fn workloads(found: &mut Found<'_>, grant: &Grant) {
    let model = found.model;
    let Some(held) = model.entitlement(grant.entitlement) else {
        return;
    };
    let (role, carries) = (held.node, held.carries);
    if model.node(role).sort != Sort::IamRole
        || !carries
        || model.node(grant.principal).sort != Sort::Workload
    {
        return;
    }
    if model.id(grant.principal) == "*" {
        found.grant(
            "every-workload-role",
            Severity::High,
            grant,
            &model.what(grant.entitlement),
        );
    }
    let held = model.held(role).filter_map(|grant| {
        let grant = model.grant(grant)?;
        role_of(model, grant)?;
        Some(model.what(grant.entitlement))
    });
    let mut given: Vec<String> = held.collect();
    given.sort();
    if found.shadow.contains(&role) {
        given.insert(0, "can make itself administrator".to_owned());
    }
    if !given.is_empty() {
        let more = given.len().saturating_sub(3);
        given.truncate(3);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let what = format!(
            "{}: {}{more}",
            model.what(grant.entitlement),
            given.join(", ")
        );
        found.grant("workload-to-cluster", Severity::High, grant, &what);
    }
}

/// Access that is not there yet, and patterns that grow.
fn waiting(found: &mut Found<'_>, grant: &Grant) {
    let model = found.model;
    let Some((_, scope)) = role_of(model, grant) else {
        return;
    };
    let what = model.what(grant.entitlement);
    let pattern = matches!(scope, Scope::Pattern(_));
    if grant.certainty == Certainty::Latent && pattern {
        found.grant("unused-pattern", Severity::Low, grant, &what);
    } else if grant.certainty == Certainty::Latent {
        found.grant("latent", Severity::Low, grant, &what);
    } else if pattern {
        found.grant("pattern-scope", Severity::Low, grant, &what);
    }
}

/// A service account, the IAM roles that it may assume, and whether it has
/// everything in its cluster.
type Account = (Id, Vec<Id>, bool);
type Strong = HashMap<(Id, String), Vec<Account>>;

/// Service accounts by (realm, namespace) that have more than their namespace:
/// an IAM role, or everything in the cluster.
fn strong_accounts(model: &Model, roles: &Roles) -> Strong {
    let mut strong = Strong::new();
    for (number, node) in model.nodes.iter().enumerate() {
        let id = Id::try_from(number).unwrap_or(Id::MAX);
        let text = model.id(id);
        let (Some(realm), Some((namespace, _))) = (node.realm, text.split_once('/')) else {
            continue;
        };
        if model.kind(id) != "service_account" {
            continue;
        }
        let (mut iam, mut admin) = (Vec::new(), false);
        for grant in model.held(id).filter_map(|grant| model.grant(grant)) {
            if grant.certainty == Certainty::Latent {
                continue;
            }
            let Some(held) = model.entitlement(grant.entitlement) else {
                continue;
            };
            if held.carries && model.node(held.node).sort == Sort::IamRole {
                iam.push(held.node);
            }
            admin |= held.scope == Some(Scope::Cluster) && roles.all.contains(&held.node);
        }
        if !iam.is_empty() || admin {
            strong
                .entry((realm, namespace.to_owned()))
                .or_default()
                .push((id, iam, admin));
        }
    }
    strong
}

/// Those who may start pods beside strong service accounts.
fn pods(found: &mut Found<'_>, grant: &Grant, strong: &Strong) {
    let model = found.model;
    let Some((node, Scope::Namespace(namespace))) = role_of(model, grant) else {
        return;
    };
    let Some(realm) = model.node(node).realm else {
        return;
    };
    let starts = model.rules(node).is_some_and(|rules| {
        [
            "pods",
            "deployments",
            "jobs",
            "daemonsets",
            "statefulsets",
            "cronjobs",
        ]
        .iter()
        .any(|what| gives(rules, &Wish::new("create", what)) == Given::Yes)
    });
    if !starts || grant.certainty == Certainty::Latent {
        return;
    }
    let Some(accounts) = strong.get(&(realm, namespace)) else {
        return;
    };
    // Nobody gains what is his own.
    let gains = |(id, iam, admin): &&Account| {
        *id != grant.principal && (*admin || iam.iter().any(|role| *role != grant.principal))
    };
    let others: Vec<&Account> = accounts.iter().filter(gains).collect();
    if others.is_empty() {
        return;
    }
    let severity = if others.iter().any(|(_, _, admin)| *admin) {
        Severity::High
    } else {
        Severity::Medium
    };
    let names: Vec<String> = others
        .iter()
        .take(3)
        .map(|(id, ..)| model.short(*id))
        .collect();
    let more = others.len().saturating_sub(3);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let what = format!(
        "{}: as {}{more}",
        model.what(grant.entitlement),
        names.join(", ")
    );
    found.grant("pods-beside-strong-accounts", severity, grant, &what);
}
