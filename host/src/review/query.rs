//! The two questions of a review: what has this principal, and who can do this.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::model::{About, Certainty, Id, Model, Sort};
use super::paths::{self, Access, Step};
use super::rules::{Given, Scope, Wish, gives, is_cluster_scoped};
use super::words::{self, Link};

/// Paths that an answer keeps of one access.
pub const PATHS: usize = 20;

/// What is asked for: a role, or a verb and a resource.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// A role or policy by its name or id.
    pub role: Option<String>,
    /// A verb on a resource.
    pub wish: Option<Wish>,
    /// In this namespace; anywhere where it is not said.
    pub namespace: Option<String>,
}

/// An access in words.
#[derive(Debug, Clone, Serialize)]
pub struct Held {
    /// The cluster or file.
    pub cluster: String,
    /// In words: `view in namespace dev`.
    pub what: String,
    /// The entitlement's id.
    pub entitlement: String,
    /// Where it counts, for a role or policy of a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// That of the strongest path.
    pub certainty: Certainty,
    /// The principal holds it itself.
    pub direct: bool,
    /// Every path, shortest first.
    pub paths: Vec<Way>,
    /// There may be more paths than these.
    pub more_paths: bool,
    /// Only these objects, where rules name some.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub only: BTreeSet<String>,
}

/// A path in words.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Way {
    /// How sure it is.
    pub certainty: Certainty,
    /// Its stations.
    pub links: Vec<Link>,
}

/// A principal and what it has.
#[derive(Debug, Clone, Serialize)]
pub struct Holder {
    /// Its kind.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// A short name.
    pub name: String,
    /// What it is to a reviewer.
    pub sort: Sort,
    /// Why the people behind a role are not known, where they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub people_behind: Option<String>,
    /// How old it is and when it was used, where a file says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<About>,
    /// What it has.
    pub access: Vec<Held>,
}

/// Who can do what was asked for.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// In words.
    pub asked: String,
    /// People first.
    pub holders: Vec<Holder>,
    /// Roles that somebody holds there and whose rules the files do not hold
    /// or hold in part: they may give it.
    pub unknown: Vec<String>,
}

/// Everything that a principal has, the strongest and widest first.
#[must_use]
pub fn access(model: &Model, who: Id, namespace: Option<&str>) -> Holder {
    let found = paths::access(model, who, PATHS)
        .into_iter()
        .filter(|access| {
            let scope = model
                .entitlement(access.entitlement)
                .and_then(|held| held.scope.as_ref());
            match (namespace, scope) {
                (None, _) => true,
                (Some(namespace), Some(scope)) => scope.covers(Some(namespace)),
                (Some(_), None) => false,
            }
        });
    holder(
        model,
        who,
        found.map(|access| (access, BTreeSet::new())).collect(),
    )
}

fn holder(model: &Model, who: Id, found: Vec<(Access, BTreeSet<String>)>) -> Holder {
    let mut access: Vec<Held> = found
        .into_iter()
        .map(|(a, only)| held(model, who, &a, only))
        .collect();
    // What everybody has comes last.
    let everybodys = |held: &Held| {
        let implied = |way: &Way| way.links.iter().any(|link| link.note == words::IMPLIED);
        held.paths.iter().all(implied)
    };
    let rank = |held: &Held| match held.scope {
        Some(Scope::Cluster) => 0,
        Some(_) => 1,
        None => 2,
    };
    access.sort_by_cached_key(|held| {
        let (cluster, what) = (held.cluster.clone(), held.what.clone());
        (cluster, everybodys(held), rank(held), what)
    });
    Holder {
        kind: model.kind(who).to_owned(),
        id: model.id(who).to_owned(),
        name: model.short(who),
        sort: model.node(who).sort,
        people_behind: people_behind(model, who),
        about: model.facts(who).about.as_deref().cloned(),
        access,
    }
}

/// Why the people who may assume a role are not known, if no file names any.
fn people_behind(model: &Model, role: Id) -> Option<String> {
    let why = model.facts(role).people_behind.clone()?;
    let holders = model.on(role).iter().flat_map(|held| model.holders(*held));
    let mut sorts =
        holders.filter_map(|grant| Some(model.node(model.grant(grant)?.principal).sort));
    let known = sorts.any(|sort| matches!(sort, Sort::Person | Sort::Group));
    (!known).then_some(why)
}

fn held(model: &Model, who: Id, access: &Access, only: BTreeSet<String>) -> Held {
    let held = model.entitlement(access.entitlement);
    let node = held.map_or(Id::MAX, |held| held.node);
    let mut paths: Vec<Way> = Vec::new();
    for path in &access.paths {
        for links in words::chains(model, who, path) {
            let certainty = path.certainty;
            paths.push(Way { certainty, links });
        }
    }
    let cut: bool = access.paths.iter().any(|path| match path.steps.last() {
        Some(Step::Grant(grant)) => model
            .grant(*grant)
            .is_some_and(|grant| model.ways(grant).len() < grant.way_count as usize),
        _ => false,
    });
    Held {
        cluster: place(model, node),
        what: model.what(access.entitlement),
        entitlement: held.map_or("", |held| model.texts.get(held.id)).to_owned(),
        scope: held.and_then(|held| held.scope.clone()),
        certainty: access.certainty(),
        direct: access.paths.iter().any(|path| path.steps.len() == 1),
        paths,
        more_paths: access.more || cut,
        only,
    }
}

/// The cluster of an access; `AWS` for roles and groups of AWS.
fn place(model: &Model, node: Id) -> String {
    model
        .realm(node)
        .map_or_else(|| "AWS".to_owned(), |realm| realm.name.clone())
}

/// Who can do what is asked for.
#[must_use]
pub fn who_can(model: &Model, ask: &Ask) -> Answer {
    let mut wanted: BTreeMap<Id, BTreeSet<String>> = BTreeMap::new();
    let mut unknown = BTreeSet::new();
    for number in 0..model.entitlements.len() {
        let id = Id::try_from(number).unwrap_or(Id::MAX);
        if model.holders(id).next().is_none() {
            continue;
        }
        match matches(model, id, ask) {
            Match::No => {}
            Match::Yes(names) => {
                wanted.insert(id, names);
            }
            Match::Unknown => {
                let node = model.entitlement(id).map_or(Id::MAX, |held| held.node);
                let place = model.realm(node).map_or("", |realm| realm.name.as_str());
                unknown.insert(format!("{} of {place}", model.short(node)));
            }
        }
    }
    let targets = wanted.keys().flat_map(|id| model.holders(*id));
    let targets = targets.filter_map(|grant| Some(model.grant(grant)?.principal));
    let leading = paths::leading_to(model, targets);
    let mut holders: Vec<Holder> = leading
        .iter()
        .filter_map(|who| {
            let found = paths::search(model, *who, PATHS, &|node| leading.contains(&node), &|id| {
                wanted.contains_key(&id)
            });
            // What everybody has by being let in is a line of its own.
            let own = |access: &Access| {
                access
                    .paths
                    .iter()
                    .any(|path| !path.steps.iter().any(|s| matches!(s, Step::Implied(_))))
            };
            let found: Vec<_> = found
                .into_iter()
                .filter(own)
                .map(|access| {
                    let names = wanted.get(&access.entitlement).cloned().unwrap_or_default();
                    (access, names)
                })
                .collect();
            (!found.is_empty()).then(|| holder(model, *who, found))
        })
        .collect();
    holders.sort_by(|a, b| (a.sort, &a.name, &a.id).cmp(&(b.sort, &b.name, &b.id)));
    Answer {
        asked: ask.words(),
        holders,
        unknown: unknown.into_iter().collect(),
    }
}

enum Match {
    No,
    /// Yes, for these objects only where there are any.
    Yes(BTreeSet<String>),
    Unknown,
}

fn matches(model: &Model, entitlement: Id, ask: &Ask) -> Match {
    let Some(held) = model.entitlement(entitlement) else {
        return Match::No;
    };
    if let Some(namespace) = &ask.namespace {
        match &held.scope {
            Some(scope) if scope.covers(Some(namespace)) => {}
            _ => return Match::No,
        }
    }
    if let Some(role) = &ask.role {
        let names = [model.id(held.node), model.name(held.node)];
        let full = format!("{}:{}", model.kind(held.node), model.id(held.node));
        if !names.contains(&role.as_str()) && full != *role && model.short(held.node) != *role {
            return Match::No;
        }
    }
    let Some(wish) = &ask.wish else {
        return Match::Yes(BTreeSet::new());
    };
    let Some(scope) = &held.scope else {
        return Match::No;
    };
    if is_cluster_scoped(&wish.resource) && *scope != Scope::Cluster {
        return Match::No;
    }
    let facts = model.facts(held.node);
    match facts.rules.as_deref().map(|rules| gives(rules, wish)) {
        Some(Given::Yes) => Match::Yes(BTreeSet::new()),
        Some(Given::Named(names)) => Match::Yes(names),
        Some(Given::No) if facts.rules_truncated => Match::Unknown,
        Some(Given::No) => Match::No,
        None if facts.missing => Match::No,
        None => Match::Unknown,
    }
}

impl Ask {
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = match (&self.wish, &self.role) {
            (Some(wish), _) => {
                let mut what = format!("{} {}", wish.verb, wish.resource);
                if !wish.subresource.is_empty() {
                    what.push_str(&format!("/{}", wish.subresource));
                }
                if !wish.name.is_empty() {
                    what.push_str(&format!(" named {}", wish.name));
                }
                what
            }
            (None, Some(role)) => format!("act as {role}"),
            (None, None) => "do anything".to_owned(),
        };
        if let (Some(_), Some(role)) = (&self.wish, &self.role) {
            words.push_str(&format!(" through {role}"));
        }
        if let Some(namespace) = &self.namespace {
            words.push_str(&format!(" in namespace {namespace}"));
        }
        words
    }
}

/// Everything that somebody holds: roles, policies and what carries further.
#[must_use]
pub fn roles(model: &Model) -> Vec<Id> {
    let held = (0..model.nodes.len()).filter_map(|number| Id::try_from(number).ok());
    held.filter(|id| {
        model
            .on(*id)
            .iter()
            .any(|one| model.holders(*one).next().is_some())
    })
    .collect()
}
