//! Changes one item of a list in `aws-auth` and not one byte besides.
//!
//! The list is other people's: they write it in blocks or as one line of JSON,
//! with comments, with Windows line ends. So the text is never written anew. The
//! place of the change is found in the text, and the result is read again: where
//! any other item reads differently, or the text does not parse, there is no
//! change but a reason.

use std::collections::BTreeMap;

use serde_json::json;

use super::aws_auth::{self, Line};
use super::spans::{self, Shape, Spot, colon};
use super::yaml::{self, Node, Value};

/// A line to be added.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// Whether it is for `mapRoles`.
    pub role_list: bool,
    /// The ARN that the authenticator compares.
    pub arn: &'a str,
    /// The user name.
    pub username: &'a str,
    /// The only group.
    pub group: &'a str,
}

impl Item<'_> {
    fn field(&self) -> &'static str {
        if self.role_list { "rolearn" } else { "userarn" }
    }

    /// As a block, each line behind `indent` and ended by `newline`.
    pub fn block(&self, indent: &str, newline: &str) -> String {
        let Item {
            arn,
            username,
            group,
            ..
        } = self;
        let field = self.field();
        [
            format!("{indent}- {field}: {arn}"),
            format!("{indent}  username: {username}"),
            format!("{indent}  groups:"),
            format!("{indent}  - {group}"),
        ]
        .map(|line| line + newline)
        .concat()
    }

    fn flow(&self) -> String {
        format!(
            "{{{}:{},{}:{},{}:[{}]}}",
            json!(self.field()),
            json!(self.arn),
            json!("username"),
            json!(self.username),
            json!("groups"),
            json!(self.group)
        )
    }
}

fn items(text: &str) -> Result<Vec<Node>, String> {
    if is_blank(text) {
        return Ok(Vec::new());
    }
    match yaml::read(text) {
        Ok(Node {
            value: Value::List(items),
            ..
        }) => Ok(items),
        Ok(Node {
            value: Value::Null, ..
        }) => Ok(Vec::new()),
        Ok(_) => Err("its value is not a list".into()),
        Err(broken) => Err(format!(
            "its value is not YAML (line {}: {})",
            broken.line, broken.why
        )),
    }
}

/// What the authenticator passes over.
fn is_blank(text: &str) -> bool {
    matches!(text.trim(), "" | "\"\"" | "''" | "``")
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(&a.value, &b.value))
        }
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|((k, a), (l, b))| k == l && same(&a.value, &b.value))
        }
        (a, b) => a == b,
    }
}

fn all_same<'a>(a: impl Iterator<Item = &'a Node>, b: impl Iterator<Item = &'a Node>) -> bool {
    let (a, b): (Vec<&Node>, Vec<&Node>) = (a.collect(), b.collect());
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(&a.value, &b.value))
}

/// The line that an item is to the authenticator.
fn line(text: &str, role_list: bool, at: usize) -> Option<Line> {
    let key = if role_list { "mapRoles" } else { "mapUsers" };
    let data = BTreeMap::from([(key.to_string(), text.to_string())]);
    let lines = aws_auth::read(&data).lines;
    lines.into_iter().find(|l| l.item == at)
}

const DIFFERS: &str = "another item would read differently";

/// Adds an item at the end of the list.
pub fn append(text: &str, item: &Item<'_>) -> Result<String, String> {
    let before = items(text)?;
    let new = appended(text, item)?;
    let after = items(&new)?;
    let added = line(&new, item.role_list, before.len());
    let right = added.is_some_and(|l| {
        l.arn == item.arn && l.username == item.username && l.groups == [item.group]
    });
    let others = all_same(before.iter(), after.iter().take(before.len()));
    if after.len() != before.len() + 1 || !right || !others {
        return Err(DIFFERS.into());
    }
    Ok(new)
}

fn appended(text: &str, item: &Item<'_>) -> Result<String, String> {
    let newline = newline_of(text);
    let root = if is_blank(text) {
        None
    } else {
        spans::read(text)?
    };
    match root {
        Some(Spot {
            shape: Shape::List(list, true),
            start,
            end,
            ..
        }) => in_brackets(text, start, end, &list, &item.flow()),
        Some(Spot {
            shape: Shape::List(list, false),
            start,
            ..
        }) => {
            let from = line_start(text, start);
            let indent = indent_of(text, from, &list)?;
            let end = end_of_item(text, from, &list, list.len().saturating_sub(1));
            let end = end.ok_or("its last item has no end")?;
            Ok(after_line(text, end, &item.block(indent, newline), newline))
        }
        Some(Spot {
            shape: Shape::Scalar(word, true),
            ..
        }) if !word.is_empty() => {
            // `null`: a word that stands for the list that is not there.
            if text.trim() == word {
                Ok(item.block("", newline))
            } else {
                Err("its value is `null` among other things".into())
            }
        }
        _ if text.trim().is_empty() || !is_blank(text) => Ok(after_line(
            text,
            text.len(),
            &item.block("", newline),
            newline,
        )),
        // Quotes around nothing.
        _ => Ok(item.block("", newline)),
    }
}

/// Takes an item out of the list.
pub fn remove(text: &str, at: usize) -> Result<String, String> {
    let before = items(text)?;
    let new = removed(text, at)?;
    let after = items(&new)?;
    let kept = before.iter().enumerate().filter(|(i, _)| *i != at);
    if at >= before.len() || !all_same(kept.map(|(_, n)| n), after.iter()) {
        return Err(DIFFERS.into());
    }
    Ok(new)
}

fn removed(text: &str, at: usize) -> Result<String, String> {
    let missing = || "the item is not there".to_string();
    let root = spans::read(text)?.ok_or_else(missing)?;
    let Shape::List(list, flow) = &root.shape else {
        return Err(missing());
    };
    let item = list.get(at).ok_or_else(missing)?;
    let (from, to) = if *flow {
        let previous = at.checked_sub(1).and_then(|i| list.get(i));
        match (list.get(at + 1), previous) {
            (Some(next), _) => (item.start, next.start),
            (None, Some(previous)) => (previous.end, item.end),
            (None, None) => (item.start, item.end),
        }
    } else {
        let first = line_start(text, root.start);
        let dash = dash_of(text, first, list, at).ok_or("its dash cannot be found")?;
        let from = line_start(text, dash);
        if !text
            .get(from..dash)
            .unwrap_or("-")
            .bytes()
            .all(|b| b == b' ')
        {
            return Err("it shares its line".into());
        }
        let end = end_of_item(text, first, list, at).ok_or("it has no end")?;
        (from, line_end(text, end))
    };
    splice(text, from, to, "")
}

/// Adds a group to an item.
pub fn add_group(text: &str, at: usize, group: &str) -> Result<String, String> {
    let before = items(text)?;
    let new = grouped(text, at, group)?;
    let after = items(&new)?;
    let others = |list: &[Node], role: bool| {
        list.iter()
            .enumerate()
            .map(|(i, node)| match &node.value {
                Value::Map(fields) if i == at && role => Value::Map(
                    fields
                        .iter()
                        .filter(|(k, _)| !k.eq_ignore_ascii_case("groups"))
                        .cloned()
                        .collect(),
                ),
                other => other.clone(),
            })
            .collect::<Vec<Value>>()
    };
    let (old, now) = (others(&before, true), others(&after, true));
    let rest = old.len() == now.len() && old.iter().zip(&now).all(|(a, b)| same(a, b));
    let grown = [true, false].iter().any(|role_list| {
        match (line(text, *role_list, at), line(&new, *role_list, at)) {
            (Some(old), Some(now)) => {
                let mut wanted = old.groups;
                wanted.push(group.to_string());
                now.groups == wanted && now.arn == old.arn && now.username == old.username
            }
            _ => false,
        }
    });
    if !rest || !grown {
        return Err(DIFFERS.into());
    }
    Ok(new)
}

fn grouped(text: &str, at: usize, group: &str) -> Result<String, String> {
    let root = spans::read(text)?.ok_or("the item is not there")?;
    let Shape::List(list, _) = &root.shape else {
        return Err("its value is not a list".into());
    };
    let Some(Spot {
        shape: Shape::Map(fields, flow),
        end,
        ..
    }) = list.get(at)
    else {
        return Err("the item is not there".into());
    };
    let mut named = fields.iter().filter(|(key, _)| {
        matches!(&key.shape, Shape::Scalar(name, _) if name.eq_ignore_ascii_case("groups"))
    });
    let (found, more) = (named.next(), named.next());
    if more.is_some() {
        return Err("the item has several `groups`".into());
    }
    let quoted = json!(group).to_string();
    let newline = newline_of(text);
    let Some((key, value)) = found else {
        let (first, last) = match (fields.first(), fields.last()) {
            (Some((first, _)), Some(_)) => (first, *end),
            _ => return Err("the item is empty".into()),
        };
        if *flow {
            let (_, value) = fields.last().ok_or("the item is empty")?;
            if value.end <= value.start {
                return Err("its last field has no value".into());
            }
            return splice(
                text,
                value.end,
                value.end,
                &format!(",\"groups\":[{quoted}]"),
            );
        }
        let indent = " ".repeat(first.column);
        let block = format!("{indent}groups:{newline}{indent}- {group}{newline}");
        return Ok(after_line(text, last, &block, newline));
    };
    match &value.shape {
        Shape::List(groups, true) => in_brackets(text, value.start, value.end, groups, &quoted),
        Shape::List(groups, false) => {
            let from = line_end(text, colon(text, key).ok_or("its groups have no place")?);
            let indent = indent_of(text, from, groups)?;
            let end = end_of_item(text, from, groups, groups.len().saturating_sub(1));
            let end = end.ok_or("its groups have no end")?;
            Ok(after_line(
                text,
                end,
                &format!("{indent}- {group}{newline}"),
                newline,
            ))
        }
        Shape::Scalar(word, true) if word.is_empty() => {
            let at = colon(text, key).ok_or("its groups have no place")?;
            splice(text, at, at, &format!(" [{quoted}]"))
        }
        Shape::Scalar(word, true) if matches!(word.as_str(), "~" | "null" | "Null" | "NULL") => {
            splice(text, value.start, value.end, &format!("[{quoted}]"))
        }
        _ => Err("its groups are not a list".into()),
    }
}

/// Inserts behind the last of a bracketed list, spaced as the last is.
fn in_brackets(
    text: &str,
    start: usize,
    end: usize,
    list: &[Spot],
    new: &str,
) -> Result<String, String> {
    let Some(last) = list.last() else {
        return splice(text, start + 1, start + 1, new);
    };
    if last.end <= last.start {
        return Err("its last item is empty".into());
    }
    let before = list.iter().rev().nth(1).map_or(start + 1, |p| p.end);
    let gap = text.get(before..last.start).unwrap_or_default();
    let gap = gap.trim_start_matches(',');
    let space = if gap.chars().all(char::is_whitespace) {
        gap
    } else {
        ""
    };
    // A comma may stand behind the last item already.
    let tail = text
        .get(last.end..end.saturating_sub(1))
        .unwrap_or_default();
    let blank = tail.len() - tail.trim_start().len();
    match tail.get(blank..).and_then(|t| t.chars().next()) {
        None => splice(text, last.end, last.end, &format!(",{space}{new}")),
        Some(',') => {
            let at = last.end + blank + 1;
            splice(text, at, at, &format!("{space}{new}"))
        }
        Some('#') => splice(text, last.end, last.end, &format!(",{space}{new}")),
        Some(_) => Err("its end cannot be found".into()),
    }
}

fn splice(text: &str, from: usize, to: usize, new: &str) -> Result<String, String> {
    match (text.get(..from), text.get(to..)) {
        (Some(head), Some(tail)) if from <= to => Ok(format!("{head}{new}{tail}")),
        _ => Err("its place cannot be found".into()),
    }
}

/// Inserts whole lines behind the line on which `at` is. A text that does not
/// end its last line stays one that does not.
fn after_line(text: &str, at: usize, block: &str, newline: &str) -> String {
    let at = line_end(text, at);
    let (head, tail) = (
        text.get(..at).unwrap_or(text),
        text.get(at..).unwrap_or_default(),
    );
    if head.is_empty() || head.ends_with('\n') {
        return format!("{head}{block}{tail}");
    }
    let block = block.strip_suffix(newline).unwrap_or(block);
    format!("{head}{newline}{block}{tail}")
}

fn newline_of(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

fn line_start(text: &str, at: usize) -> usize {
    text.get(..at)
        .and_then(|head| head.rfind('\n'))
        .map_or(0, |n| n + 1)
}

/// The byte after the line on which `at` is. A place right behind a line end is
/// on that line.
fn line_end(text: &str, at: usize) -> usize {
    if at > 0 && text.as_bytes().get(at - 1) == Some(&b'\n') {
        return at;
    }
    text.get(at..)
        .and_then(|tail| tail.find('\n'))
        .map_or(text.len(), |n| at + n + 1)
}

/// The spaces before the dash of a block list's last item.
fn indent_of<'a>(text: &'a str, from: usize, list: &[Spot]) -> Result<&'a str, String> {
    let odd = || "its items share their lines".to_string();
    let dash = dash_of(text, from, list, list.len().saturating_sub(1)).ok_or_else(odd)?;
    let indent = text.get(line_start(text, dash)..dash).unwrap_or("-");
    if indent.bytes().all(|b| b == b' ') {
        Ok(indent)
    } else {
        Err(odd())
    }
}

/// The dash of an item of a block list that begins on a line not before `from`,
/// itself the start of a line.
fn dash_of(text: &str, from: usize, list: &[Spot], at: usize) -> Option<usize> {
    let mut from = match at.checked_sub(1) {
        None => from,
        Some(previous) => line_end(text, end_of_item(text, from, list, previous)?),
    };
    while from < text.len() {
        let to = line_end_of(text, from);
        let line = text.get(from..to)?;
        let body = line.trim_start();
        if body.starts_with('-') {
            return Some(from + line.len() - body.len());
        }
        if !body.is_empty() && !body.starts_with('#') {
            return None;
        }
        from = to;
    }
    None
}

/// The byte after the line that begins at `from`.
fn line_end_of(text: &str, from: usize) -> usize {
    text.get(from..)
        .and_then(|tail| tail.find('\n'))
        .map_or(text.len(), |n| from + n + 1)
}

/// The byte after an item; one without a value ends with its dash.
fn end_of_item(text: &str, from: usize, list: &[Spot], at: usize) -> Option<usize> {
    let item = list.get(at)?;
    if item.end > item.start {
        return Some(item.end);
    }
    dash_of(text, from, list, at).map(|dash| dash + 1)
}
