//! How grants say what they rest on, and where everything else goes.
//!
//! Many bindings give one grant, so paths are merged: one grant per id, at most
//! 20 paths and their number. What gives no access is never a grant; it is a
//! note, and notes leave with the next page. Vocabulary: docs/identity.md.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value};

use crate::bindings::{Grant, ObjectId};
use crate::text::cut;

/// Paths that one grant keeps.
const MAX_PATHS: usize = 20;
/// Longest text attribute that leaves here, below the contract's 8 KiB.
pub const MAX_TEXT: usize = 8_000;

/// How sure it is that a grant gives access. In order of strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// Not now, but as soon as somebody makes what is missing.
    Latent,
    /// If a condition holds that we cannot check.
    Conditional,
    /// For one session name, which whoever assumes the role chooses.
    Session,
    /// Yes.
    Certain,
}

impl Certainty {
    fn name(self) -> &'static str {
        match self {
            Certainty::Latent => "latent",
            Certainty::Conditional => "conditional",
            Certainty::Session => "session",
            Certainty::Certain => "certain",
        }
    }
}

/// One way in which a principal holds an entitlement. Empty fields are left out.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Path {
    pub via: &'static str,
    pub binding: String,
    pub group: String,
    pub mapping: String,
    pub scope: String,
    pub session: String,
    pub conditions: String,
    pub bypasses_rbac: bool,
}

impl Path {
    fn json(&self) -> Value {
        let mut map = Map::new();
        map.insert("via".into(), self.via.into());
        for (key, text) in [
            ("binding", &self.binding),
            ("group", &self.group),
            ("mapping", &self.mapping),
            ("scope", &self.scope),
            ("session", &self.session),
            ("conditions", &self.conditions),
        ] {
            if !text.is_empty() {
                map.insert(key.into(), cut(text, 600).into());
            }
        }
        if self.bypasses_rbac {
            map.insert("bypasses_rbac".into(), true.into());
        }
        Value::Object(map)
    }
}

/// A principal and one path.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Held {
    pub kind: &'static str,
    pub id: String,
    pub certainty: Certainty,
    pub path: Path,
    /// No revoke through the connector can end it.
    pub immutable: bool,
}

#[derive(Debug)]
struct Merged {
    certainty: Certainty,
    paths: Vec<Path>,
    /// The path that was added last: repeats come one after the other.
    last: Path,
    count: usize,
    immutable: bool,
}

/// The grants of one entitlement.
#[derive(Debug, Default)]
pub struct Holders {
    by_principal: BTreeMap<(&'static str, String), Merged>,
}

impl Holders {
    /// Adds a path; one that is there already counts once.
    pub fn add(&mut self, held: Held) {
        let merged = self
            .by_principal
            .entry((held.kind, held.id))
            .or_insert(Merged {
                certainty: held.certainty,
                paths: Vec::new(),
                last: Path::default(),
                count: 0,
                immutable: false,
            });
        if merged.last == held.path || merged.paths.contains(&held.path) {
            return;
        }
        merged.certainty = merged.certainty.max(held.certainty);
        merged.immutable |= held.immutable;
        merged.count += 1;
        merged.last.clone_from(&held.path);
        if merged.paths.len() < MAX_PATHS {
            merged.paths.push(held.path);
        }
    }

    /// How sure it is that a principal is among them.
    pub fn certainty(&self, kind: &str, id: &str) -> Option<Certainty> {
        let mut all = self.principals();
        all.find(|(k, i, _)| *k == kind && *i == id)
            .map(|(.., certainty)| certainty)
    }

    /// Kind, id and certainty of each.
    pub fn principals(&self) -> impl Iterator<Item = (&'static str, &str, Certainty)> {
        self.by_principal
            .iter()
            .map(|((kind, id), merged)| (*kind, id.as_str(), merged.certainty))
    }

    /// One grant per principal, in stable order.
    pub fn grants(self, on: &ObjectId, slug: &str) -> Vec<Grant> {
        let mut out = Vec::with_capacity(self.by_principal.len());
        for ((kind, id), merged) in self.by_principal {
            let mut attributes = vec![("metadata".to_string(), metadata(&merged))];
            if kind == "role" && !(on.kind == "role" && on.id == id) {
                attributes.push(("expandable".into(), format!("role:{id}:assignment")));
            }
            if kind == "group" {
                attributes.push(("expandable".into(), format!("group:{id}:member")));
            }
            if kind == "iam_user" {
                attributes.push(("external-match-id".into(), id.clone()));
            }
            if merged.immutable {
                attributes.push(("immutable".into(), "true".into()));
            }
            out.push(Grant {
                on: on.clone(),
                slug: slug.into(),
                principal: ObjectId {
                    kind: kind.into(),
                    id,
                },
                attributes,
            });
        }
        out
    }
}

/// The metadata of a grant: as many paths as fit into an attribute.
fn metadata(merged: &Merged) -> String {
    let mut text = format!(
        "{{\"certainty\":\"{}\",\"path_count\":{},\"paths\":[",
        merged.certainty.name(),
        merged.count
    );
    for (at, path) in merged.paths.iter().enumerate() {
        let path = path.json().to_string();
        if text.len() + path.len() + 3 > MAX_TEXT {
            break;
        }
        if at > 0 {
            text.push(',');
        }
        text.push_str(&path);
    }
    text.push_str("]}");
    text
}

/// Warnings and evidence on their way to the next page.
#[derive(Debug, Default)]
pub struct Notes {
    queue: VecDeque<(&'static str, String)>,
}

impl Notes {
    /// A sentence for the summary.
    pub fn warn(&mut self, sentence: impl AsRef<str>) {
        self.queue
            .push_back(("warning", cut(sentence.as_ref(), 2_000)));
    }

    /// A JSON object with a `type`. One that is too long keeps its short members.
    pub fn evidence(&mut self, value: Value) {
        let mut text = value.to_string();
        if let (true, Value::Object(map)) = (text.len() > MAX_TEXT, &value) {
            let short: Map<String, Value> = map
                .iter()
                .map(|(k, v)| {
                    let v = match v {
                        Value::String(s) => cut(s, 500).into(),
                        other if other.to_string().len() > 500 => {
                            cut(&other.to_string(), 500).into()
                        }
                        other => other.clone(),
                    };
                    (k.clone(), v)
                })
                .collect();
            text = Value::Object(short).to_string();
        }
        self.queue.push_back(("evidence", text));
    }

    /// Takes notes of at most `bytes`.
    pub fn take(&mut self, mut bytes: usize) -> Vec<(String, String)> {
        let mut out = Vec::new();
        while let Some((_, text)) = self.queue.front() {
            if text.len() + 32 > bytes {
                break;
            }
            bytes -= text.len() + 32;
            if let Some((key, text)) = self.queue.pop_front() {
                out.push((key.to_string(), text));
            }
        }
        out
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
