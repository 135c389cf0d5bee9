//! What a reviewer would want to be told, each with its evidence.
//!
//! Rules are data ([`RULES`]); the checks that need more than data are in
//! `checks`. A finding is a rule and its items in one cluster. Ids are made of
//! the rule and of what it is about, so they stay from sync to sync.

mod catalog;
mod checks;
mod facts;
mod shadow;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;

pub use catalog::{RULES, Rule, Severity};

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::model::{Certainty, Grant, Id, Model, Sort};
use super::paths;
use super::words;

/// People that an item names; the others are counted.
const PEOPLE: usize = 20;

/// A rule's items in one cluster.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The rule.
    pub rule: &'static str,
    /// That of the worst item.
    pub severity: Severity,
    /// As a heading.
    pub title: &'static str,
    /// The cluster or file.
    pub cluster: String,
    /// Why anybody should care.
    pub why: &'static str,
    /// What to do.
    pub mend: &'static str,
    /// What was found, the worst first.
    pub items: Vec<Item>,
}

impl Finding {
    /// Items that are not the platform's own.
    pub fn shown(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| !item.platform)
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Stays from sync to sync.
    pub id: String,
    /// How bad.
    pub severity: Severity,
    /// Whom or what it is about, in words.
    pub subject: String,
    /// Its kind and id, or nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub principal: String,
    /// Its number in the model.
    #[serde(skip)]
    pub(super) node: Option<Id>,
    /// What it has, or why it is here.
    pub what: String,
    /// The way it has it, as one line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub evidence: String,
    /// How sure.
    pub certainty: Certainty,
    /// People that have it through the subject.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<String>,
    /// How many they are.
    pub people_count: usize,
    /// It is the platform's own, which nobody can certify.
    pub platform: bool,
}

/// Everything that was found, the worst first.
#[must_use]
pub fn findings(model: &Model) -> Vec<Finding> {
    with_grants(model).0
}

/// The worst severity of a grant, by principal and entitlement.
pub(super) type Worst = HashMap<(Id, Id), Severity>;

/// The same, and how bad each grant is.
pub(super) fn with_grants(model: &Model) -> (Vec<Finding>, Worst) {
    let mut found = Found {
        model,
        items: BTreeMap::new(),
        behind: HashMap::new(),
        worst: HashMap::new(),
        shadow: HashSet::new(),
        places: model
            .realms
            .iter()
            .filter(|realm| !realm.cluster.is_empty())
            .map(|realm| (realm.name.as_str(), realm.cluster.as_str()))
            .collect(),
    };
    checks::run(&mut found);
    let worst = found.worst;
    let mut findings: Vec<Finding> = Vec::new();
    for ((at, place), mut items) in found.items {
        let Some(rule) = RULES.get(at) else { continue };
        items.sort_by(|a, b| {
            let rank = |item: &Item| {
                (
                    item.platform,
                    item.severity,
                    std::cmp::Reverse(item.certainty),
                )
            };
            rank(a)
                .cmp(&rank(b))
                .then_with(|| (&a.subject, &a.what).cmp(&(&b.subject, &b.what)))
        });
        items.dedup_by(|a, b| a.id == b.id);
        let worst = items
            .iter()
            .filter(|item| !item.platform)
            .map(|item| item.severity)
            .min();
        findings.push(Finding {
            rule: rule.id,
            // The platform's own alone are worth knowing and no more.
            severity: worst.unwrap_or(Severity::Info),
            title: rule.title,
            cluster: place,
            why: rule.why,
            mend: rule.mend,
            items,
        });
    }
    let order = |id: &str| RULES.iter().position(|rule| rule.id == id);
    findings.sort_by(|a, b| {
        (a.severity, order(a.rule), &a.cluster).cmp(&(b.severity, order(b.rule), &b.cluster))
    });
    (findings, worst)
}

/// What the checks have found so far.
struct Found<'a> {
    model: &'a Model,
    items: BTreeMap<(usize, String), Vec<Item>>,
    behind: HashMap<Id, (Vec<String>, usize)>,
    worst: Worst,
    /// Who could make himself an administrator of some cluster.
    shadow: HashSet<Id>,
    /// ARNs by the names of clusters here, which depend on what else is read.
    places: HashMap<&'a str, &'a str>,
}

impl Found<'_> {
    fn put(&mut self, rule: &str, place: &str, mut item: Item) {
        let Some(at) = RULES.iter().position(|known| known.id == rule) else {
            return;
        };
        let about = if item.principal.is_empty() {
            &item.subject
        } else {
            &item.principal
        };
        let mut hash = Sha256::new();
        let arn = self.places.get(place).copied().unwrap_or(place);
        for part in [rule, arn, about, &item.what] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let digest = hex::encode(hash.finalize());
        item.id = format!("{rule}-{}", digest.get(..12).unwrap_or_default());
        self.items
            .entry((at, place.to_owned()))
            .or_default()
            .push(item);
    }

    /// An item about a grant.
    fn grant(&mut self, rule: &str, severity: Severity, grant: &Grant, what: &str) {
        let model = self.model;
        let Some(held) = model.entitlement(grant.entitlement) else {
            return;
        };
        let platform = model.is_platform(grant);
        if !platform {
            let worst = self
                .worst
                .entry((grant.principal, grant.entitlement))
                .or_insert(severity);
            *worst = severity.min(*worst);
        }
        let place = model
            .realm(held.node)
            .or_else(|| model.realm(grant.principal))
            .map_or("AWS", |realm| &realm.name);
        let ways = model.ways(grant).len().max(1);
        let evidence = words::grant_chains(model, grant)
            .first()
            .map(|chain| words::line(chain))
            .unwrap_or_default();
        let more = (grant.way_count as usize).max(ways) - 1;
        let evidence = match more {
            0 => evidence,
            1 => format!("{evidence}; and one more way"),
            more => format!("{evidence}; and {more} more ways"),
        };
        let (people, people_count) = self.people(grant.principal);
        let item = Item {
            id: String::new(),
            severity,
            subject: words::who(model, grant.principal),
            principal: format!(
                "{}:{}",
                model.kind(grant.principal),
                model.id(grant.principal)
            ),
            node: Some(grant.principal),
            what: what.to_owned(),
            evidence,
            certainty: grant.certainty,
            people,
            people_count,
            platform,
        };
        let place = place.to_owned();
        self.put(rule, &place, item);
    }

    /// An item that is no grant.
    fn fact(&mut self, rule: &str, severity: Severity, place: &str, subject: &str, what: &str) {
        let item = Item {
            id: String::new(),
            severity,
            subject: subject.to_owned(),
            principal: String::new(),
            node: None,
            what: what.to_owned(),
            evidence: String::new(),
            certainty: Certainty::Unstated,
            people: Vec::new(),
            people_count: 0,
            platform: false,
        };
        self.put(rule, place, item);
    }

    /// The people who have what a role or group has.
    fn people(&mut self, holder: Id) -> (Vec<String>, usize) {
        let model = self.model;
        if !matches!(model.node(holder).sort, Sort::IamRole | Sort::Group) {
            return (Vec::new(), 0);
        }
        let known = self.behind.entry(holder).or_insert_with(|| {
            let all: BTreeSet<String> = paths::leading_to(model, std::iter::once(holder))
                .into_iter()
                .filter(|node| model.node(*node).sort == Sort::Person)
                .map(|node| model.short(node))
                .collect();
            let count = all.len();
            (all.into_iter().take(PEOPLE).collect(), count)
        });
        known.clone()
    }
}
