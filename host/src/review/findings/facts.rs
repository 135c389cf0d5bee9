//! Checks of what profiles and evidence say.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;
use serde_json::Value;

use super::Found;
use super::catalog::{Look, RULES, Severity};
use super::checks::role_of;
use crate::review::model::{Certainty, Facts, Id, Realm, Sort};

/// What the profiles of roles and accounts say.
pub(super) fn node_facts(found: &mut Found<'_>, id: Id) {
    let model = found.model;
    let facts = model.facts(id);
    let node = model.node(id);
    let held = || model.held(id).filter_map(|grant| model.grant(grant));
    let place = held()
        .filter_map(|grant| {
            let (role, _) = role_of(model, grant)?;
            Some(model.realm(role)?.name.clone())
        })
        .next();
    if node.sort == Sort::IamRole {
        for trusted in &facts.trusted_by {
            let name = model.short(id);
            if trusted.starts_with("everyone") {
                let severity = if place.is_some() {
                    Severity::Critical
                } else {
                    Severity::High
                };
                found.fact(
                    "trust-everyone",
                    severity,
                    "AWS",
                    &format!("role {name}"),
                    &format!("trusts {trusted}"),
                );
            } else if trusted.starts_with("account ") && place.is_some() {
                found.fact(
                    "trust-account",
                    Severity::Medium,
                    "AWS",
                    &format!("role {name}"),
                    &format!("trusts {trusted}"),
                );
            }
        }
        if let Some(place) = &place {
            let (_, count) = found.people(id);
            let why = match (&facts.people_behind, facts.external, count) {
                (_, _, 1..) => None,
                (Some(why), ..) => Some(why.clone()),
                (None, true, _) => Some("it is another account's".to_owned()),
                _ => None,
            };
            if let Some(why) = why {
                found.fact(
                    "unknown-people",
                    Severity::Info,
                    place,
                    &format!("role {}", model.short(id)),
                    &why,
                );
            }
        }
    }
    if let Some(place) = held().find_map(|grant| {
        let (role, _) = role_of(model, grant)?;
        (grant.certainty != Certainty::Latent).then_some(model.realm(role)?)
    }) && let Some(why) = unused(facts, &place.ended)
    {
        let subject = crate::review::words::who(model, id);
        found.fact("unused-role", Severity::Low, &place.name, &subject, &why);
    }
    if facts.disabled && node.sort == Sort::Person {
        for grant in held() {
            let what = format!("its account is disabled: {}", model.what(grant.entitlement));
            found.grant("disabled-account", Severity::High, grant, &what);
        }
    }
    let bound = model.on(id).iter().any(|held| {
        model
            .entitlement(*held)
            .is_some_and(|one| one.scope.is_some())
            && model.holders(*held).next().is_some()
    });
    if bound && !facts.missing {
        let place = model
            .realm(id)
            .map_or_else(String::new, |realm| realm.name.clone());
        let why = match (&facts.rules, facts.rules_truncated, facts.rules_by_name) {
            (None, ..) => "its rules are not in the file",
            (_, true, _) => "the file holds a part of its rules",
            (_, _, true) => "its rules are not published and were taken from its name",
            _ => return,
        };
        found.fact(
            "unknown-rules",
            Severity::Info,
            &place,
            &model.short(id),
            why,
        );
    }
}

/// Days after which a role with access counts as unused.
const UNUSED: i64 = 90;

/// Why a role counts as unused at a time, in words. IAM remembers 400 days.
fn unused(facts: &Facts, now: &str) -> Option<String> {
    let about = facts.about.as_deref()?;
    let days = |since: &str| -> Option<i64> {
        let (since, now): (Timestamp, Timestamp) = (since.parse().ok()?, now.parse().ok()?);
        Some(now.duration_since(since).as_hours() / 24)
    };
    match about.last_used.as_str() {
        "" => None,
        "never" if days(&about.created)? >= UNUSED => Some(format!(
            "made {}, and not used since, as far back as IAM remembers (400 days)",
            day(&about.created)
        )),
        "never" => None,
        last if days(last)? >= UNUSED => Some(format!("used last {}", day(last))),
        _ => None,
    }
}

fn day(time: &str) -> &str {
    time.get(..10).unwrap_or(time)
}

/// From where the API server can be reached, and whether anybody will know.
pub(super) fn endpoint(found: &mut Found<'_>, realm: &Realm) {
    let told = |piece: &&Value| text(piece, "type") == "cluster";
    let Some(piece) = realm.evidence.iter().find(told) else {
        return;
    };
    let flag = |key: &str| piece.get(key).and_then(Value::as_bool);
    if flag("endpoint_public") == Some(true) {
        let cidrs = piece.get("public_cidrs").and_then(Value::as_array);
        let cidrs: Vec<&str> = cidrs
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let whole: Vec<&str> = cidrs
            .iter()
            .copied()
            .filter(|cidr| cidr.ends_with("/0"))
            .collect();
        if cidrs.is_empty() || !whole.is_empty() {
            let from = if whole.is_empty() {
                "everywhere".to_owned()
            } else {
                whole.join(", ")
            };
            let what = format!("public, from {from}");
            found.fact(
                "open-endpoint",
                Severity::Medium,
                &realm.name,
                "API server",
                &what,
            );
        }
    }
    if flag("audit_log") == Some(false) {
        let what = "the control plane's audit log is not kept";
        found.fact(
            "no-audit-log",
            Severity::Medium,
            &realm.name,
            "audit log",
            what,
        );
    }
}

fn text<'a>(piece: &'a Value, key: &str) -> &'a str {
    piece.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// What the file keeps as evidence.
pub(super) fn evidence(found: &mut Found<'_>, realm: &Realm) {
    for piece in &realm.evidence {
        let kind = text(piece, "type");
        let rule = RULES.iter().find(|rule| match rule.look {
            Look::Evidence(kinds) => kinds.contains(&kind),
            _ => false,
        });
        let Some(rule) = rule else { continue };
        let subject = [
            "principal",
            "role",
            "account",
            "name",
            "association",
            "user",
            "mapping",
        ]
        .iter()
        .map(|key| text(piece, key))
        .find(|text| !text.is_empty())
        .unwrap_or(kind);
        let subject = if kind == "mapped-account" {
            format!("account {subject}")
        } else {
            subject.to_owned()
        };
        let mut what = Vec::new();
        for (key, before) in [("mapping", ""), ("policy", ""), ("namespace", "namespace ")] {
            let value = text(piece, key);
            if !value.is_empty() && value != subject {
                what.push(format!("{before}{value}"));
            }
        }
        let groups = piece
            .get("groups")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let groups: Vec<&str> = groups.filter_map(Value::as_str).take(5).collect();
        if !groups.is_empty() {
            what.push(format!("groups {}", groups.join(", ")));
        }
        let reason = text(piece, "reason");
        what.push(if reason.is_empty() {
            kind.replace('-', " ")
        } else {
            reason.to_owned()
        });
        // A line that would come back as administrator is more than untidy.
        let severity = if groups.contains(&"system:masters") && kind == "shadowed-line" {
            Severity::High
        } else {
            rule.severity
        };
        found.fact(rule.id, severity, &realm.name, &subject, &what.join("; "));
    }
}

pub(super) fn unread(found: &mut Found<'_>, realm: &Realm) {
    for one in realm.unread.iter().chain(&realm.beyond) {
        let (what, why) = one
            .split_once(": ")
            .unwrap_or((one, "it could not be read"));
        found.fact("not-read", Severity::Info, &realm.name, what, why);
    }
    if realm.consistent == Some(false) {
        let why = "a list changed while it was read, so it is of no one point in time";
        found.fact(
            "not-read",
            Severity::Info,
            &realm.name,
            "one point in time",
            why,
        );
    }
}

/// What a move to access entries would lose, and what it asks to be made first.
pub(super) fn before_entries(found: &mut Found<'_>, realm: &Realm) {
    if realm.mode == "API" || realm.mode.is_empty() {
        return;
    }
    let model = found.model;
    let mut lost: BTreeSet<(String, String)> = BTreeSet::new();
    let mut moves: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for grant in &model.grants {
        let place = model
            .entitlement(grant.entitlement)
            .and_then(|held| model.realm(held.node));
        if place.is_none_or(|place| place.name != realm.name) {
            continue;
        }
        for way in model.ways(grant) {
            let via = model.texts.get(way.via);
            let group = model.texts.get(way.group);
            let mapping = model.texts.get(way.mapping);
            let who = model.id(grant.principal);
            let why = match via {
                "mapAccounts" => "there is no entry for a whole account".to_owned(),
                "aws-auth" if group.starts_with("system:") => {
                    format!("{mapping} gives the group {group}, which an entry cannot give")
                }
                "aws-auth" if who.contains(":role/aws-service-role/") => {
                    format!("{mapping}: an entry cannot be of a service-linked role")
                }
                "aws-auth" if who.ends_with(":root") => {
                    format!("{mapping}: an entry cannot be of an account's root")
                }
                "aws-auth" => {
                    let who = crate::review::words::who(model, grant.principal);
                    let groups = moves.entry((who, mapping.to_owned())).or_default();
                    groups.extend((!group.is_empty()).then(|| group.to_owned()));
                    continue;
                }
                _ => continue,
            };
            lost.insert((crate::review::words::who(model, grant.principal), why));
        }
    }
    let nodes = realm.evidence.iter().filter(|piece| {
        text(piece, "type") == "node-mapping" && text(piece, "mapping").starts_with("map")
    });
    for piece in nodes {
        let why = format!(
            "{}: nodes need an entry of their type; EKS makes it for managed nodes and Fargate only",
            text(piece, "mapping")
        );
        lost.insert((text(piece, "principal").to_owned(), why));
    }
    let rule = "before-access-entries";
    for (who, why) in lost {
        found.fact(rule, Severity::Medium, &realm.name, &who, &why);
    }
    for ((who, mapping), groups) in moves {
        let groups: Vec<String> = groups.into_iter().collect();
        let with = if groups.is_empty() {
            "its user name".to_owned()
        } else {
            format!("groups {}", groups.join(", "))
        };
        let what = format!("{mapping} stops to count: an entry with {with} takes its place");
        found.fact(rule, Severity::Low, &realm.name, &who, &what);
    }
}

/// Who may assume a role that is mapped to nodes.
pub(super) fn node_roles(found: &mut Found<'_>, realm: &Realm) {
    let model = found.model;
    let mapped: HashSet<&str> = realm
        .evidence
        .iter()
        .filter(|piece| text(piece, "type") == "node-mapping")
        .map(|piece| text(piece, "principal"))
        .collect();
    let last = |arn: &str| arn.rsplit('/').next().unwrap_or(arn).to_owned();
    let names: HashSet<String> = mapped.iter().map(|arn| last(arn)).collect();
    for grant in model.grants.iter().filter(|grant| !grant.derived) {
        let Some(held) = model.entitlement(grant.entitlement) else {
            continue;
        };
        let id = model.id(held.node);
        if model.node(held.node).sort == Sort::IamRole && held.carries && names.contains(&last(id))
        {
            let what = format!(
                "{}, a node of {}",
                model.what(grant.entitlement),
                realm.name
            );
            found.grant("node-role", Severity::Medium, grant, &what);
        }
    }
}
