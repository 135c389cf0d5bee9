//! Paths and principals in words.

use serde::Serialize;

use super::model::{Grant, Id, Model, Sort, Way};
use super::paths::{Path, Step};

/// Says that a node is in a group because of what it is.
pub(super) const IMPLIED: &str = "by what it is";

/// One station of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Link {
    /// What stands here: `person`, `group`, `iam-role`, `workload`,
    /// `stand-in`, `mapping`, `kubernetes-group`, `binding`, `role`, `other`,
    /// `unknown`.
    pub kind: &'static str,
    /// Its short name.
    pub text: String,
    /// Its whole id, where that says more.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// What must hold, or how one gets here.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

fn kind(sort: Sort) -> &'static str {
    match sort {
        Sort::Person => "person",
        Sort::Group => "group",
        Sort::IamRole => "iam-role",
        Sort::Workload => "workload",
        Sort::StandIn => "stand-in",
        Sort::Role => "role",
        Sort::Other => "other",
    }
}

/// A principal as a station.
#[must_use]
pub fn station(model: &Model, node: Id) -> Link {
    let text = model.short(node);
    let id = model.id(node);
    Link {
        kind: kind(model.node(node).sort),
        id: if id == text {
            String::new()
        } else {
            id.to_owned()
        },
        text,
        note: String::new(),
    }
}

/// `user alice`, `role Admin`, `service account dev/ci`: a principal in a sentence.
#[must_use]
pub fn who(model: &Model, node: Id) -> String {
    let short = model.short(node);
    match model.kind(node) {
        "iam_user" | "sso_user" => format!("user {short}"),
        "role" => format!("role {short}"),
        "group" | "sso_group" | "kube_group" => format!("group {short}"),
        "service_account" if model.id(node) == "*" => short,
        "service_account" => format!("service account {short}"),
        "kube_user" => format!("user {short} of no AWS principal"),
        other => format!("{other} {short}"),
    }
}

/// A path as stations, once for each way in which its last grant exists.
#[must_use]
pub fn chains(model: &Model, from: Id, path: &Path) -> Vec<Vec<Link>> {
    let mut head = vec![station(model, from)];
    let Some((last, before)) = path.steps.split_last() else {
        return vec![head];
    };
    for step in before {
        head.push(match step {
            Step::Implied(group) => Link {
                note: IMPLIED.to_owned(),
                ..station(model, *group)
            },
            Step::Grant(id) => match model.grant(*id) {
                Some(grant) => through(model, grant),
                None => continue,
            },
        });
    }
    let Step::Grant(last) = last else {
        return vec![head];
    };
    let Some(grant) = model.grant(*last) else {
        return vec![head];
    };
    finish(model, head, grant)
}

fn finish(model: &Model, mut head: Vec<Link>, grant: &Grant) -> Vec<Vec<Link>> {
    if grant.unexplained {
        head.push(Link {
            kind: "unknown",
            text: "inherited".to_owned(),
            id: String::new(),
            note: "the file does not say through what".to_owned(),
        });
    }
    let chain = |tail: Vec<Link>| head.iter().cloned().chain(tail).collect();
    way_stations(model, grant).into_iter().map(chain).collect()
}

/// What comes after the principal of a grant, once for each way.
#[must_use]
pub fn way_stations(model: &Model, grant: &Grant) -> Vec<Vec<Link>> {
    let end = end(model, grant);
    let ways = model.ways(grant);
    if ways.is_empty() {
        return vec![vec![end]];
    }
    let chain = |way: &Way| {
        let mut chain = stations(model, grant, way);
        let mut end = end.clone();
        end.note = conditions(model, way);
        chain.push(end);
        chain
    };
    ways.iter().map(chain).collect()
}

/// A single grant as stations, once for each way.
#[must_use]
pub fn grant_chains(model: &Model, grant: &Grant) -> Vec<Vec<Link>> {
    finish(model, vec![station(model, grant.principal)], grant)
}

/// The node that a grant in the middle of a path leads to, and how.
fn through(model: &Model, grant: &Grant) -> Link {
    let node = model
        .entitlement(grant.entitlement)
        .map_or(Id::MAX, |held| held.node);
    let mut link = station(model, node);
    if let Some(way) = model.ways(grant).first() {
        link.note = conditions(model, way);
    }
    if grant.unexplained {
        link.note = "the file does not say through what".to_owned();
    }
    link
}

fn end(model: &Model, grant: &Grant) -> Link {
    let id = model
        .entitlement(grant.entitlement)
        .map_or(Id::MAX, |held| held.id);
    Link {
        kind: "role",
        text: model.what(grant.entitlement),
        id: model.texts.get(id).to_owned(),
        note: String::new(),
    }
}

/// Mapping, Kubernetes group and binding of a way.
fn stations(model: &Model, grant: &Grant, way: &Way) -> Vec<Link> {
    let text = |id: Id| model.texts.get(id).to_owned();
    let link = |kind, text: String| Link {
        kind,
        text,
        id: String::new(),
        note: String::new(),
    };
    let mut links = Vec::new();
    let via = text(way.via);
    let mapping = text(way.mapping);
    let own = format!("access entry {}", model.id(grant.principal));
    if via == "identity-policy" {
        // It is said with what must hold, so that the middle of a path has it too.
    } else if mapping == own {
        links.push(link("mapping", "access entry".to_owned()));
    } else if !mapping.is_empty() {
        let place = match via.as_str() {
            "aws-auth" => format!("aws-auth {mapping}"),
            _ => mapping,
        };
        links.push(link("mapping", place));
    } else if !matches!(
        via.as_str(),
        "binding" | "trust" | "irsa" | "pod-identity" | ""
    ) {
        links.push(link("mapping", via.clone()));
    }
    let group = text(way.group);
    if !group.is_empty() {
        links.push(link("kubernetes-group", group));
    }
    let binding = text(way.binding);
    if !binding.is_empty() {
        links.push(link("binding", binding));
    } else if way.bypasses_rbac {
        links.push(link(
            "binding",
            "no binding: the API server lets the group through".to_owned(),
        ));
    }
    links
}

/// What must hold for a way.
fn conditions(model: &Model, way: &Way) -> String {
    let mut notes = Vec::new();
    let via = model.texts.get(way.via);
    if matches!(via, "trust" | "irsa" | "pod-identity") {
        notes.push(via.to_owned());
    }
    if via == "identity-policy" {
        notes.push(format!("by {}", model.texts.get(way.mapping)));
    }
    let session = model.texts.get(way.session);
    if !session.is_empty() {
        notes.push(format!("in sessions named {session}"));
    }
    let conditions = model.texts.get(way.conditions);
    if !conditions.is_empty() {
        notes.push(conditions.to_owned());
    }
    let scope = model.texts.get(way.scope);
    if scope.contains('*') {
        notes.push(format!("scope {scope}"));
    }
    notes.join("; ")
}

/// A chain on one line.
#[must_use]
pub fn line(chain: &[Link]) -> String {
    let word = |link: &Link| {
        let name = match link.kind {
            "group" | "kubernetes-group" => format!("group {}", link.text),
            "iam-role" => format!("role {}", link.text),
            "binding" if !link.text.starts_with("no binding") => format!("binding {}", link.text),
            _ => link.text.clone(),
        };
        if link.note.is_empty() {
            name
        } else {
            format!("{name} ({})", link.note)
        }
    };
    chain.iter().map(word).collect::<Vec<_>>().join(" -> ")
}
