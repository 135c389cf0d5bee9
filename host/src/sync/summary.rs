//! What a sync found, for people and for the file.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Map, Value};

use super::convert::{every, parse};
use super::page::shown;
use crate::people::{Expanded, Imported};
use crate::sandbox::contract::types::Attributes;

/// Different warnings that are kept apart; more are counted together.
const WARNINGS: usize = 1_000;

/// Examples that a warning names.
const EXAMPLES: usize = 5;

/// Bytes of evidence that a file holds.
const EVIDENCE_BYTES: usize = 32 << 20;

/// Rows of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KindCounts {
    /// The kind.
    pub kind: String,
    /// Its name for people.
    pub display_name: String,
    /// Objects written.
    pub objects: u64,
    /// Entitlements on them.
    pub entitlements: u64,
    /// Grants of these entitlements.
    pub grants: u64,
}

/// An optional kind that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// The kind.
    pub kind: String,
    /// `objects`, `entitlements` or `grants`.
    pub step: &'static str,
    /// What the connector said.
    pub message: String,
    /// The upstream that refused.
    pub upstream: Option<String>,
    /// The right that was refused.
    pub operation: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Something that a person should know, once for all its occurrences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// A fixed word for programs: `connector`, `duplicate-object`,
    /// `duplicate-entitlement`, `duplicate-grant`, `entitlement-without-object`,
    /// `grant-without-entitlement`, `foreign-expansion`,
    /// `expansion-without-entitlement`, `inherited-grant-without-id`, `evidence-left-out`,
    /// `external-unfinished`, `external-duplicate`, `external-without-people`,
    /// `external-unmatched`, `external-skipped`,
    /// `many-entitlements`, `large-file`, `more-warnings`.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
    /// How often.
    pub count: u64,
    /// A few ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
}

/// The result of a sync.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The file.
    pub file: PathBuf,
    /// The sync's id in the file.
    pub sync_id: String,
    /// `full` or `resources_only`.
    pub sync_type: &'static str,
    /// RFC 3339.
    pub started: String,
    /// RFC 3339.
    pub ended: String,
    /// How long it took.
    pub seconds: f64,
    /// What the connector learnt about the system (docs/contract.md, "Validation").
    pub validation: BTreeMap<String, Vec<String>>,
    /// Every kind that was listed, in order.
    pub kinds: Vec<KindCounts>,
    /// All objects.
    pub objects: u64,
    /// All entitlements.
    pub entitlements: u64,
    /// All grants, those that came from elsewhere or that expansion made included.
    pub grants: u64,
    /// What came from another connector's file, if one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imported: Option<Imported>,
    /// What expansion did.
    pub expanded: Expanded,
    /// Grants whose principal has no row in the file, by the principal's kind.
    pub principals_without_row: BTreeMap<String, u64>,
    /// Pieces of evidence in the file.
    pub evidence: u64,
    /// Optional kinds that could not be read.
    pub unread: Vec<Unread>,
    /// What a person should know.
    pub warnings: Vec<Warning>,
    /// The file's length in bytes.
    pub file_bytes: u64,
    /// Its decoded length in bytes.
    pub decoded_bytes: u64,
    /// Older syncs that were removed from the file.
    pub removed_syncs: usize,
}

/// Counts one of a kind. Kinds are the descriptor's, but a grant can name any.
pub(super) fn count_kind(counts: &mut BTreeMap<String, u64>, kind: &str) {
    const KINDS: usize = 128;
    let kind = if counts.contains_key(kind) || counts.len() < KINDS {
        kind
    } else {
        "others"
    };
    *counts.entry(kind.to_owned()).or_default() += 1;
}

/// Warnings and evidence as they come.
#[derive(Debug, Default)]
pub(super) struct Notes {
    warnings: Vec<Warning>,
    positions: HashMap<(&'static str, String), usize>,
    evidence: Vec<String>,
    evidence_bytes: usize,
}

impl Notes {
    /// Counts a warning; `example` is an id it is about.
    pub(super) fn warn(&mut self, reason: &'static str, message: &str, example: Option<&str>) {
        let key = (reason, message.to_owned());
        let position = match self.positions.get(&key) {
            Some(position) => *position,
            None if self.warnings.len() >= WARNINGS && reason != "more-warnings" => {
                return self.warn(
                    "more-warnings",
                    "there were more warnings than are kept",
                    None,
                );
            }
            None => {
                let position = self.warnings.len();
                self.positions.insert(key, position);
                self.warnings.push(Warning {
                    reason,
                    message: message.to_owned(),
                    count: 0,
                    examples: Vec::new(),
                });
                position
            }
        };
        if let Some(warning) = self.warnings.get_mut(position) {
            warning.count += 1;
            if let Some(example) = example
                && warning.examples.len() < EXAMPLES
            {
                warning.examples.push(shown(example));
            }
        }
    }

    /// Takes over what a page says beside its items.
    pub(super) fn page(&mut self, attributes: &Attributes) -> Result<(), String> {
        for message in every(attributes, "warning") {
            self.warn("connector", message, None);
        }
        for text in every(attributes, "evidence") {
            let evidence = parse("evidence", text)?;
            if !evidence.get("type").is_some_and(Value::is_string) {
                return Err("evidence without a type".to_owned());
            }
            self.evidence(evidence);
        }
        Ok(())
    }

    /// Keeps a piece of evidence, within bounds.
    pub(super) fn evidence(&mut self, evidence: Map<String, Value>) {
        let text = Value::Object(evidence).to_string();
        if self.evidence_bytes.saturating_add(text.len()) > EVIDENCE_BYTES {
            return self.warn(
                "evidence-left-out",
                "the evidence is too large; the rest of it is not in the file",
                None,
            );
        }
        self.evidence_bytes += text.len();
        self.evidence.push(text);
    }

    pub(super) fn evidence_count(&self) -> u64 {
        self.evidence.len() as u64
    }

    pub(super) fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The evidence asset: `head` with the member `evidence` added.
    pub(super) fn asset(&self, head: Map<String, Value>) -> String {
        let mut text = Value::Object(head).to_string();
        text.pop();
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str("\"evidence\":[");
        text.push_str(&self.evidence.join(","));
        text.push_str("]}");
        text
    }
}
