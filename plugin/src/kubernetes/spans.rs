//! Where everything stands in a YAML text, to the byte.
//!
//! The parser counts lines and columns in characters; its running index counts
//! bytes after some comments, so places are made from line and column here.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

const MAX_DEPTH: usize = 32;

/// A node and its place.
#[derive(Debug)]
pub struct Spot {
    /// The byte at which it begins.
    pub start: usize,
    /// The byte after it. A node of a block ends with the last thing in it.
    pub end: usize,
    /// The column at which it begins, in characters.
    pub column: usize,
    /// What it is.
    pub shape: Shape,
}

/// What a node is.
#[derive(Debug)]
pub enum Shape {
    /// A scalar, with its text, and whether it stands there without quotes.
    Scalar(String, bool),
    /// A reference to another node.
    Alias,
    /// A sequence; `true` if in brackets.
    List(Vec<Spot>, bool),
    /// A mapping; `true` if in braces.
    Map(Vec<(Spot, Spot)>, bool),
}

/// The starts of lines, and whether each is plain ASCII.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<(usize, bool)>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Lines<'a> {
        let mut starts = Vec::new();
        let mut from = 0;
        let bytes = text.as_bytes();
        let mut ascii = true;
        for (at, byte) in bytes.iter().enumerate() {
            ascii &= byte.is_ascii();
            let crlf = *byte == b'\r' && bytes.get(at + 1) == Some(&b'\n');
            if matches!(byte, b'\n' | b'\r') && !crlf {
                starts.push((from, ascii));
                from = at + 1;
                ascii = true;
            }
        }
        starts.push((from, ascii));
        Lines { text, starts }
    }

    fn byte(&self, mark: Marker) -> usize {
        let Some((start, ascii)) = self.starts.get(mark.line().saturating_sub(1)) else {
            return self.text.len();
        };
        if *ascii {
            return (start + mark.col()).min(self.text.len());
        }
        let tail = self.text.get(*start..).unwrap_or_default();
        let within = tail.char_indices().nth(mark.col()).map(|(at, _)| at);
        start + within.unwrap_or(tail.len())
    }
}

enum Open {
    List(Spot, Vec<Spot>),
    Map(Spot, Vec<(Spot, Spot)>, Option<Spot>),
}

/// Reads the first document; `None` if there is nothing in it.
pub fn read(text: &str) -> Result<Option<Spot>, String> {
    let lines = Lines::new(text);
    let mut parser = Parser::new_from_str(text);
    let mut stack: Vec<Open> = Vec::new();
    while let Some(event) = parser.next_event() {
        let (event, span) =
            event.map_err(|e| format!("line {}: {}", e.marker().line(), e.info()))?;
        let mut place = Spot {
            start: lines.byte(span.start),
            end: lines.byte(span.end),
            column: span.start.col(),
            shape: Shape::Alias,
        };
        let closed = match event {
            Event::Scalar(value, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                if !matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted) {
                    let told = text.get(place.start..place.end).unwrap_or_default();
                    place.end = place.start + told.trim_end().len();
                }
                place.shape = Shape::Scalar(value.to_string(), plain);
                place
            }
            Event::Alias(_) => place,
            Event::SequenceStart(..) => {
                stack.push(Open::List(place, Vec::new()));
                if stack.len() > MAX_DEPTH {
                    return Err("it is nested too deep".into());
                }
                continue;
            }
            Event::MappingStart(..) => {
                stack.push(Open::Map(place, Vec::new(), None));
                if stack.len() > MAX_DEPTH {
                    return Err("it is nested too deep".into());
                }
                continue;
            }
            Event::SequenceEnd => match stack.pop() {
                Some(Open::List(mut list, items)) => {
                    let flow = text.as_bytes().get(list.start) == Some(&b'[');
                    list.end = if flow {
                        place.start + 1 // The event goes on to a comment behind it.
                    } else {
                        items.iter().map(|i| i.end).fold(list.start + 1, usize::max)
                    };
                    list.shape = Shape::List(items, flow);
                    list
                }
                _ => return Err("it is unbalanced".into()),
            },
            Event::MappingEnd => match stack.pop() {
                Some(Open::Map(mut map, items, _)) => {
                    let flow = text.as_bytes().get(map.start) == Some(&b'{');
                    map.end = if flow {
                        place.start + 1
                    } else {
                        let ends = items.iter().map(|(key, value)| {
                            // An empty value stands wherever the parser noticed it.
                            if value.end > value.start {
                                value.end
                            } else {
                                colon(text, key).unwrap_or(key.end)
                            }
                        });
                        ends.fold(map.start, usize::max)
                    };
                    map.shape = Shape::Map(items, flow);
                    map
                }
                _ => return Err("it is unbalanced".into()),
            },
            Event::DocumentEnd | Event::StreamEnd => break,
            _ => continue,
        };
        match stack.last_mut() {
            None => return Ok(Some(closed)),
            Some(Open::List(_, items)) => items.push(closed),
            Some(Open::Map(_, items, key)) => match key.take() {
                None => *key = Some(closed),
                Some(name) => items.push((name, closed)),
            },
        }
    }
    Ok(None)
}

/// The byte after the colon that follows a key on its line.
pub fn colon(text: &str, key: &Spot) -> Option<usize> {
    let tail = text.get(key.end..)?;
    let gap = tail.len() - tail.trim_start_matches([' ', '\t']).len();
    tail.get(gap..)?
        .starts_with(':')
        .then_some(key.end + gap + 1)
}
