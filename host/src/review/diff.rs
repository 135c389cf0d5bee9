//! What came and what went between two syncs.
//!
//! Grants are compared by who and what, not by how: a grant that now exists in
//! another way is `changed`. People get lists of their own, because a new
//! member of a group changes no grant of the person to the role.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::findings::{self, Finding};
use super::model::{Certainty, Id, Model, Sort};
use super::{paths, words};

/// A grant or an access that came or went.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// Who, in words.
    pub who: String,
    /// As `kind:id`.
    pub principal: String,
    /// What, in words.
    pub what: String,
    /// The entitlement's id.
    pub entitlement: String,
    /// How sure it is, or was.
    pub certainty: Certainty,
    /// The shortest way, as one line.
    pub path: String,
}

/// A grant that is there in both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Changed {
    /// As it was.
    pub before: Change,
    /// As it is.
    pub after: Change,
}

/// A finding that came or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Noted {
    /// Its item's id.
    pub id: String,
    /// How bad.
    pub severity: findings::Severity,
    /// What it is.
    pub title: &'static str,
    /// Whom it is about.
    pub subject: String,
    /// What it has.
    pub what: String,
}

/// All changes.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Diff {
    /// Grants that were not there.
    pub came: Vec<Change>,
    /// Grants that are not there any more.
    pub went: Vec<Change>,
    /// Grants with another certainty or other ways.
    pub changed: Vec<Changed>,
    /// What people have got, by whatever way.
    pub people_got: Vec<Change>,
    /// What people have lost.
    pub people_lost: Vec<Change>,
    /// New items of findings.
    pub findings_came: Vec<Noted>,
    /// Items of findings that are gone.
    pub findings_went: Vec<Noted>,
}

impl Diff {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let grants = self.came.is_empty() && self.went.is_empty() && self.changed.is_empty();
        let people = self.people_got.is_empty() && self.people_lost.is_empty();
        grants && people && self.findings_came.is_empty() && self.findings_went.is_empty()
    }
}

type Key = (String, String);

/// Compares two models of one cluster or system each.
#[must_use]
pub fn diff(old: &Model, new: &Model) -> Diff {
    let mut diff = Diff::default();
    let (before, after) = (grants(old), grants(new));
    for (key, (change, ways)) in &after {
        match before.get(key) {
            None => diff.came.push(change.clone()),
            Some((was, old_ways)) if was.certainty != change.certainty || old_ways != ways => {
                diff.changed.push(Changed {
                    before: was.clone(),
                    after: change.clone(),
                });
            }
            Some(_) => {}
        }
    }
    let gone = before.iter().filter(|(key, _)| !after.contains_key(*key));
    diff.went = gone.map(|(_, (change, _))| change.clone()).collect();
    let (had, have) = (people(old), people(new));
    let only = |a: &BTreeMap<Key, Change>, b: &BTreeMap<Key, Change>| {
        let only = a.iter().filter(|(key, _)| !b.contains_key(*key));
        only.map(|(_, change)| change.clone()).collect()
    };
    diff.people_got = only(&have, &had);
    diff.people_lost = only(&had, &have);
    let (was, is) = (findings::findings(old), findings::findings(new));
    diff.findings_came = noted(&is, &was);
    diff.findings_went = noted(&was, &is);
    diff
}

fn key(model: &Model, who: Id, entitlement: Id) -> Key {
    let held = model
        .entitlement(entitlement)
        .map_or("", |held| model.texts.get(held.id));
    (
        format!("{}:{}", model.kind(who), model.id(who)),
        held.to_owned(),
    )
}

/// Grants, with all their ways as a set of lines.
fn grants(model: &Model) -> BTreeMap<Key, (Change, BTreeSet<String>)> {
    let mut all = BTreeMap::new();
    for grant in model.grants.iter().filter(|grant| !grant.derived) {
        let key = key(model, grant.principal, grant.entitlement);
        let lines: Vec<String> = words::grant_chains(model, grant)
            .iter()
            .map(|chain| words::line(chain))
            .collect();
        let change = Change {
            who: words::who(model, grant.principal),
            principal: key.0.clone(),
            what: model.what(grant.entitlement),
            entitlement: key.1.clone(),
            certainty: grant.certainty,
            path: lines.first().cloned().unwrap_or_default(),
        };
        all.insert(key, (change, lines.into_iter().collect()));
    }
    all
}

/// What people have by whatever way.
fn people(model: &Model) -> BTreeMap<Key, Change> {
    let mut all = BTreeMap::new();
    for number in 0..model.nodes.len() {
        let who = Id::try_from(number).unwrap_or(Id::MAX);
        if model.node(who).sort != Sort::Person {
            continue;
        }
        for access in paths::access(model, who, 1) {
            let key = key(model, who, access.entitlement);
            let path = access
                .paths
                .first()
                .map(|path| words::chains(model, who, path));
            let path = path.and_then(|chains| chains.first().map(|chain| words::line(chain)));
            let change = Change {
                who: words::who(model, who),
                principal: key.0.clone(),
                what: model.what(access.entitlement),
                entitlement: key.1.clone(),
                certainty: access.certainty(),
                path: path.unwrap_or_default(),
            };
            all.insert(key, change);
        }
    }
    all
}

fn noted(found: &[Finding], other: &[Finding]) -> Vec<Noted> {
    let ids: BTreeSet<&str> = other
        .iter()
        .flat_map(|finding| &finding.items)
        .map(|item| item.id.as_str())
        .collect();
    let mut noted = Vec::new();
    for finding in found {
        for item in finding
            .shown()
            .filter(|item| !ids.contains(item.id.as_str()))
        {
            noted.push(Noted {
                id: item.id.clone(),
                severity: item.severity,
                title: finding.title,
                subject: item.subject.clone(),
                what: item.what.clone(),
            });
        }
    }
    noted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::review::testing::{ACCOUNT, Sketch, company, iam, user};

    #[test]
    fn grants_come_and_go_and_people_with_them() {
        let old = company();
        let same = diff(&old.load(), &old.load());
        assert!(same.is_empty(), "{same:?}");
        let mut new = company();
        let group = format!("arn:aws:iam::{ACCOUNT}:group/platform");
        new.row("iam_user", &user("kim"), json!({}))
            .grant(
                ("group", &group),
                "member",
                ("iam_user", &user("kim")),
                json!({}),
            )
            .bind_role(
                ("cluster_role", "cluster-admin"),
                "all:member",
                &iam("deploy"),
                json!({"certainty": "certain"}),
            );
        let found = diff(&old.load(), &new.load());
        let say = |list: &[Change]| -> Vec<String> {
            list.iter()
                .map(|change| format!("{}: {}", change.who, change.what))
                .collect()
        };
        assert_eq!(
            say(&found.came),
            [
                "user kim: member of platform",
                "role deploy: cluster-admin in the whole cluster"
            ]
        );
        assert!(found.went.is_empty() && found.changed.is_empty() && found.people_lost.is_empty());
        let got = say(&found.people_got);
        for expected in [
            "user bob: cluster-admin in the whole cluster",
            "user kim: cluster-admin in the whole cluster",
            "user kim: assume deploy",
        ] {
            assert!(got.contains(&expected.to_owned()), "{expected}: {got:?}");
        }
        assert!(
            found
                .findings_came
                .iter()
                .any(|item| item.subject == "role deploy")
        );
        let back = diff(&new.load(), &old.load());
        assert_eq!(back.went, found.came);
        assert_eq!(back.people_lost, found.people_got);
    }

    #[test]
    fn another_way_to_the_same_grant_is_a_change() {
        let with = |binding: &str| {
            let mut s = Sketch::cluster("x");
            s.row("cluster_role", "view", json!({}));
            let metadata =
                json!({"certainty": "certain", "paths": [{"via": "binding", "binding": binding}]});
            s.grant(
                ("cluster_role", "view"),
                "all:member",
                ("service_account", "a/b"),
                metadata,
            );
            s.load()
        };
        let found = diff(&with("one"), &with("two"));
        assert!(found.came.is_empty() && found.went.is_empty());
        assert_eq!(found.changed.len(), 1);
        assert!(
            found.changed[0].after.path.contains("binding two"),
            "{:?}",
            found.changed
        );
    }
}
