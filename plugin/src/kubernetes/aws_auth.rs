//! The `aws-auth` ConfigMap, read as the authenticator reads it.
//!
//! Field names match in any case; an item without an ARN is dropped and the
//! others stay; a field of the wrong type is dropped and its item stays; a value
//! that cannot be parsed loses its own list only. Everything that was dropped is
//! returned with its line: nothing vanishes silently.

use std::collections::BTreeMap;

use super::yaml::{self, Node, Value};

/// One mapping of an ARN.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// `mapRoles line 3`: the list and the line inside its value.
    pub place: String,
    /// Whether it stands in `mapRoles`.
    pub role_list: bool,
    /// Its position in the list, items that were dropped included.
    pub item: usize,
    /// The ARN as written.
    pub arn: String,
    /// The user name, perhaps with placeholders; empty where there is none.
    pub username: String,
    /// The groups, perhaps with placeholders.
    pub groups: Vec<String>,
    /// A permission set of an `sso:` item, instead of an ARN.
    pub sso: Option<String>,
}

/// Something that could not be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// `mapUsers line 7`.
    pub place: String,
    /// What is wrong and what became of it.
    pub why: String,
}

/// What the ConfigMap says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AwsAuth {
    /// Roles first, in order.
    pub lines: Vec<Line>,
    /// Mapped accounts.
    pub accounts: Vec<String>,
    /// What could not be read.
    pub problems: Vec<Problem>,
}

/// Reads the ConfigMap's data.
pub fn read(data: &BTreeMap<String, String>) -> AwsAuth {
    let mut out = AwsAuth::default();
    for (key, role_list) in [("mapRoles", true), ("mapUsers", false)] {
        let items = list(data, key, &mut out.problems);
        for (at, item) in items.iter().enumerate() {
            line(key, role_list, at, item, &mut out);
        }
    }
    for item in list(data, "mapAccounts", &mut out.problems) {
        match item.value {
            Value::Text(account) => out.accounts.push(account),
            _ => out.problems.push(problem(
                "mapAccounts",
                item.line,
                "an account id must be a quoted string; it is ignored",
            )),
        }
    }
    out
}

fn problem(key: &str, line: usize, why: &str) -> Problem {
    Problem {
        place: format!("{key} line {line}"),
        why: why.into(),
    }
}

fn list(data: &BTreeMap<String, String>, key: &str, problems: &mut Vec<Problem>) -> Vec<Node> {
    let text = data.get(key).map_or("", String::as_str);
    if matches!(text.trim(), "" | "\"\"" | "''" | "``") {
        return Vec::new();
    }
    match yaml::read(text) {
        Ok(Node {
            value: Value::List(items),
            ..
        }) => items,
        Ok(Node {
            value: Value::Null, ..
        }) => Vec::new(),
        Ok(node) => {
            problems.push(problem(
                key,
                node.line,
                "the value is not a list; all of it is ignored",
            ));
            Vec::new()
        }
        Err(broken) => {
            problems.push(problem(
                key,
                broken.line,
                &format!(
                    "the value is not YAML, all of it is ignored: {}",
                    broken.why
                ),
            ));
            Vec::new()
        }
    }
}

fn line(key: &str, role_list: bool, at: usize, item: &Node, out: &mut AwsAuth) {
    let Value::Map(fields) = &item.value else {
        out.problems.push(problem(
            key,
            item.line,
            "the item is not a mapping; it is ignored",
        ));
        return;
    };
    let mut line = Line {
        place: format!("{key} line {}", item.line),
        role_list,
        item: at,
        ..Line::default()
    };
    let arn_field = if role_list { "rolearn" } else { "userarn" };
    // What a merge key brings comes first, so that the item's own fields win.
    let merged = fields.iter().filter(|(name, _)| name == "<<");
    let merged = merged.filter_map(|(_, node)| match &node.value {
        Value::Map(fields) => Some(fields),
        _ => None,
    });
    for (name, node) in merged.flatten().chain(fields) {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "username" => text(key, "username", node, &mut line.username, &mut out.problems),
            "groups" => match &node.value {
                Value::Null => line.groups.clear(),
                Value::List(groups) => {
                    line.groups.clear();
                    for group in groups {
                        let mut name = String::new();
                        text(key, "groups", group, &mut name, &mut out.problems);
                        if !name.is_empty() {
                            line.groups.push(name);
                        }
                    }
                }
                _ => out.problems.push(problem(
                    key,
                    node.line,
                    "`groups` is not a list; the item stays without groups",
                )),
            },
            "sso" if role_list => {
                if let Value::Map(sso) = &node.value {
                    line.sso = sso
                        .iter()
                        .find(|(n, _)| n.eq_ignore_ascii_case("permissionsetname"))
                        .and_then(|(_, n)| match &n.value {
                            Value::Text(t) => Some(t.clone()),
                            _ => None,
                        });
                }
            }
            _ if name == arn_field => text(key, arn_field, node, &mut line.arn, &mut out.problems),
            _ => {}
        }
    }
    if line.arn.is_empty() && line.sso.is_none() {
        out.problems.push(problem(
            key,
            item.line,
            &format!("the item has no `{arn_field}`; it is ignored"),
        ));
        return;
    }
    out.lines.push(line);
}

fn text(key: &str, field: &str, node: &Node, into: &mut String, problems: &mut Vec<Problem>) {
    match &node.value {
        Value::Text(value) => value.clone_into(into),
        Value::Null => into.clear(),
        _ => problems.push(problem(
            key,
            node.line,
            &format!("a value in `{field}` is not a string; it is ignored"),
        )),
    }
}
