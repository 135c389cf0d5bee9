//! YAML (and so JSON) from outside, as a small tree with lines.
//!
//! `saphyr-parser` gives events; the tree is built here, because aliases can
//! make a kilobyte into gigabytes: nodes and depth are counted, and too many is
//! an error like any other.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

const MAX_NODES: usize = 200_000;
const MAX_DEPTH: usize = 32;

/// A node and the line on which it begins, counted from 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The line.
    pub line: usize,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A string.
    Text(String),
    /// A number or a boolean, as written.
    Other(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in order; keys that are no scalars are left out.
    Map(Vec<(String, Node)>),
}

/// Why a text cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

enum Open {
    List(usize, usize, Vec<Node>),
    Map(usize, usize, Vec<(String, Node)>, Option<Option<String>>),
}

/// Reads the first document of a text; an empty text is [`Value::Null`].
pub fn read(text: &str) -> Result<Node, Broken> {
    let mut parser = Parser::new_from_str(text);
    let mut stack: Vec<Open> = Vec::new();
    let mut anchors: BTreeMap<usize, (Node, usize)> = BTreeMap::new();
    let mut nodes = 0;
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|e| Broken {
            line: e.marker().line(),
            why: e.info().to_string(),
        })?;
        let line = span.start.line();
        let broken = |why: &str| Broken {
            line,
            why: why.into(),
        };
        let (node, anchor) = match event {
            Event::Scalar(value, style, anchor, tag) => {
                let string = tag.is_some_and(|t| t.is_yaml_core_schema() && t.suffix == "str");
                (
                    Node {
                        line,
                        value: scalar(&value, style, string),
                    },
                    anchor,
                )
            }
            Event::Alias(id) => {
                let (node, size) = anchors
                    .get(&id)
                    .cloned()
                    .ok_or_else(|| broken("an alias refers to nothing"))?;
                nodes += size;
                (node, 0)
            }
            Event::SequenceStart(anchor, _) => {
                stack.push(Open::List(line, anchor, Vec::new()));
                if stack.len() > MAX_DEPTH {
                    return Err(broken("nested too deep"));
                }
                continue;
            }
            Event::MappingStart(anchor, _) => {
                stack.push(Open::Map(line, anchor, Vec::new(), None));
                if stack.len() > MAX_DEPTH {
                    return Err(broken("nested too deep"));
                }
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match stack.pop() {
                Some(Open::List(line, anchor, items)) => (
                    Node {
                        line,
                        value: Value::List(items),
                    },
                    anchor,
                ),
                Some(Open::Map(line, anchor, items, _)) => (
                    Node {
                        line,
                        value: Value::Map(items),
                    },
                    anchor,
                ),
                None => return Err(broken("unbalanced")),
            },
            Event::DocumentEnd | Event::StreamEnd => break,
            _ => continue,
        };
        nodes += 1;
        if nodes > MAX_NODES {
            return Err(broken("too many nodes"));
        }
        if anchor > 0 {
            let size = count(&node);
            anchors.insert(anchor, (node.clone(), size));
        }
        match stack.last_mut() {
            None => return Ok(node),
            Some(Open::List(_, _, items)) => items.push(node),
            Some(Open::Map(_, _, items, key)) => match key.take() {
                None => {
                    *key = Some(match node.value {
                        Value::Text(text) | Value::Other(text) => Some(text),
                        _ => None,
                    });
                }
                Some(Some(name)) => items.push((name, node)),
                Some(None) => {}
            },
        }
    }
    Ok(Node {
        line: 1,
        value: Value::Null,
    })
}

fn count(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(count).sum(),
        Value::Map(items) => items.iter().map(|(_, n)| count(n)).sum(),
        _ => 0,
    }
}

/// The authenticator's parser is of YAML 1.1: more words are booleans there than
/// in 1.2, and numbers may hold `_`.
fn scalar(text: &str, style: ScalarStyle, string: bool) -> Value {
    const WORDS: [&str; 8] = ["true", "false", "yes", "no", "on", "off", "y", "n"];
    if style != ScalarStyle::Plain || string {
        return Value::Text(text.to_string());
    }
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    let digits = text.replace('_', "");
    let hex = digits
        .strip_prefix("0x")
        .is_some_and(|h| !h.is_empty() && h.bytes().all(|b| b.is_ascii_hexdigit()));
    let number =
        text.bytes().any(|b| b.is_ascii_digit()) && digits.parse::<f64>().is_ok_and(f64::is_finite);
    // `yes`, `Yes` and `YES`, but not `yEs`.
    let tail = text.get(1..).unwrap_or_default();
    let cased = tail == tail.to_lowercase() || text == text.to_uppercase();
    let word = cased && WORDS.contains(&text.to_lowercase().as_str());
    if hex || number || word {
        Value::Other(text.to_string())
    } else {
        Value::Text(text.to_string())
    }
}
