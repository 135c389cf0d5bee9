//! Paths, queries and forms: split first, then decode each part once.
//!
//! A server that routes on the decoded path and a filter that matches the
//! encoded one disagree on `%2F`; so whatever could be decoded twice or mean a
//! separator is refused, and what is sent is encoded here again.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but RFC 3986's unreserved characters, as SigV4 wants it.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A query or form may have so many parameters. No operation has ten, and each
/// is compared with all before it: a megabyte of them would hold a thread of
/// the I/O runtime for a minute.
const MAX_PAIRS: usize = 64;

/// One value may be this long, in bytes.
const MAX_VALUE: usize = 8 * 1024;

/// One path segment or query value in canonical encoding.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// `k=v&k=v`. Keys are encoded already.
pub fn join<'a>(pairs: impl Iterator<Item = (Cow<'a, str>, &'a str)>) -> String {
    let mut all = String::new();
    for (key, value) in pairs {
        if !all.is_empty() {
            all.push('&');
        }
        all.push_str(&key);
        all.push('=');
        all.push_str(&encode(value));
    }
    all
}

/// A path segment, decoded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment(String);

impl Segment {
    /// Its text, where no `/` may be in it.
    pub fn plain(&self) -> Result<&str, String> {
        if self.0.contains('/') {
            return Err("an encoded slash is legal only in an ARN".to_owned());
        }
        Ok(&self.0)
    }

    /// Its text, whatever it stands for.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Its text as an ARN.
    pub fn arn(&self) -> Result<&str, String> {
        arn(&self.0)
    }

    /// Whether it is exactly this text.
    pub fn is(&self, text: &str) -> bool {
        self.0 == text
    }
}

/// The segments of a path: none for `/`.
pub fn segments(path: &str) -> Result<Vec<Segment>, String> {
    let rest = path
        .strip_prefix('/')
        .ok_or("the path does not begin with `/`")?;
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    rest.split('/')
        .map(|raw| {
            let text = decode(raw)?;
            if text.is_empty() || text == "." || text == ".." {
                return Err("the path has an empty, `.` or `..` segment".to_owned());
            }
            if text.contains(['%', '\\']) {
                return Err("the path has a `%` or `\\` in a decoded segment".to_owned());
            }
            Ok(Segment(text))
        })
        .collect()
}

/// The pairs of a query or form, decoded; no key twice.
pub fn pairs(encoded: &str) -> Result<Vec<(String, String)>, String> {
    let mut found: Vec<(String, String)> = Vec::new();
    if encoded.is_empty() {
        return Ok(found);
    }
    for pair in encoded.split('&') {
        if found.len() == MAX_PAIRS {
            return Err(format!("the request has more than {MAX_PAIRS} parameters"));
        }
        let (key, value) = pair.split_once('=').ok_or("a parameter has no `=`")?;
        let key = decode(&key.replace('+', " "))?;
        let value = decode(&value.replace('+', " "))?;
        if found.iter().any(|(known, _)| *known == key) {
            return Err(format!(
                "the parameter `{}` is given twice",
                key.escape_debug()
            ));
        }
        found.push((key, value));
    }
    Ok(found)
}

/// Decodes once. Every `%` is followed by two digits, the result is text
/// without control characters.
fn decode(raw: &str) -> Result<String, String> {
    if raw.len() > 3 * MAX_VALUE {
        return Err(format!(
            "a part of the request is longer than {MAX_VALUE} bytes"
        ));
    }
    let bytes = raw.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'%' {
            let digits = bytes.get(at + 1..at + 3).unwrap_or_default();
            if digits.len() != 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
                return Err("a `%` is not followed by two hexadecimal digits".to_owned());
            }
        }
    }
    let text = percent_encoding::percent_decode(bytes)
        .decode_utf8()
        .map_err(|_| "a part of the request is not UTF-8".to_owned())?;
    if text.len() > MAX_VALUE {
        return Err(format!(
            "a part of the request is longer than {MAX_VALUE} bytes"
        ));
    }
    if text.chars().any(char::is_control) {
        return Err("a part of the request holds a control character".to_owned());
    }
    Ok(text.into_owned())
}

/// An ARN: six fields, printable ASCII, no path tricks in the last one.
pub fn arn(text: &str) -> Result<&str, String> {
    let wrong = || Err("a parameter is not an ARN".to_owned());
    let fields: Vec<&str> = text.splitn(6, ':').collect();
    let [prefix, partition, service, _region, _account, resource] = fields.as_slice() else {
        return wrong();
    };
    if *prefix != "arn" || partition.is_empty() || service.is_empty() || resource.is_empty() {
        return wrong();
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains(['%', '\\', '?', '#']) {
        return wrong();
    }
    if fields.iter().take(5).any(|field| field.contains('/')) {
        return wrong();
    }
    if resource
        .split('/')
        .any(|part| part.is_empty() || part == "." || part == "..")
    {
        return wrong();
    }
    Ok(text)
}
