//! Parse and decide: which operation a request of a plugin is.
//!
//! The guest's bytes never go out. A request is parsed into an operation of
//! the upstream's kind with its parameters, that is decided on, and method,
//! path, query, headers and body are built anew in one canonical encoding.
//! Never by HTTP method: IAM takes GET for everything, and in Kubernetes a GET
//! can run code. The price is a table per kind: what it does not know cannot
//! be asked.

mod eks;
mod iam;
mod kubernetes;
mod text;
pub mod write;

use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, Request, header};

use super::rights::{Granted, Kind, Right};

pub use text::encode;

/// A request's body may be this large, in bytes. EKS and IAM requests are far
/// smaller.
pub const MAX_BODY: usize = 1024 * 1024;

/// How an answer is asked for and cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Whole objects, without what only repeats them.
    Full,
    /// All that there is: for the host alone, which writes it back.
    Whole,
    /// Metadata only, as Kubernetes offers it.
    Metadata,
    /// Name, namespace, uid, creation time and labels: all that is shown of
    /// config maps.
    Names,
}

/// One operation on an upstream, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The right it takes.
    pub right: &'static Right,
    /// The method that it has.
    pub method: Method,
    /// Canonically encoded, with a leading slash.
    pub path: String,
    /// Decoded, in the order of the table.
    pub query: Vec<(&'static str, String)>,
    /// IAM's parameters, decoded: `Action` and `Version`, then by key.
    pub form: Vec<(String, String)>,
    /// How the answer is asked for and cut.
    pub view: View,
}

impl Operation {
    /// Path and query, canonically encoded.
    pub fn path_and_query(&self) -> String {
        if self.query.is_empty() {
            return self.path.clone();
        }
        let pairs = self
            .query
            .iter()
            .map(|(key, value)| (Cow::Borrowed(*key), value.as_str()));
        format!("{}?{}", self.path, text::join(pairs))
    }

    /// The body, canonically encoded.
    pub fn body(&self) -> Bytes {
        let pairs = self
            .form
            .iter()
            .map(|(key, value)| (Cow::Owned(encode(key)), value.as_str()));
        Bytes::from(text::join(pairs))
    }

    /// The `Content-Type` that goes with the body.
    pub fn content_type(&self) -> Option<&'static str> {
        (!self.form.is_empty()).then_some(iam::CONTENT_TYPE)
    }

    /// The `Accept` that the upstream gets.
    pub fn accept(&self) -> &'static str {
        match (self.right.kind, self.view) {
            (Kind::Iam, _) => "*/*",
            (_, View::Full | View::Whole) => "application/json",
            (_, View::Metadata | View::Names) => kubernetes::METADATA_LIST,
        }
    }
}

/// Why a request is not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// It is an operation, but not one that this plugin has a right to. Holds
    /// the right in the words of the upstream.
    Missing(String),
    /// It changes something, which a sandbox never does.
    Writes(&'static str),
    /// It is not a well-formed request of this kind.
    Malformed(String),
}

impl Denial {
    /// The sentence for the plugin's author.
    pub fn sentence(&self, plugin: &str) -> String {
        match self {
            Self::Missing(words) => format!("`{words}` is not among the rights of {plugin}"),
            Self::Writes(words) => {
                format!(
                    "`{words}` changes something; {plugin} may plan that, and the host makes the change"
                )
            }
            Self::Malformed(what) => what.clone(),
        }
    }

    /// The operation for the audit row.
    pub fn operation(&self) -> &str {
        match self {
            Self::Missing(words) => words,
            Self::Writes(words) => words,
            Self::Malformed(_) => "malformed",
        }
    }
}

/// What a parser of a kind recognised.
enum Recognised {
    /// An operation of the ceiling.
    Known(Operation),
    /// Something else, by the name of the right it would take.
    Unknown(String),
}

type Parsed = Result<Recognised, String>;

/// Parses a request to an upstream and decides on it. `cluster` is the name of
/// the session's own cluster.
///
/// # Errors
/// Why it is not made.
pub fn decide(
    granted: &Granted,
    cluster: &str,
    request: &Request<Bytes>,
) -> Result<Operation, Denial> {
    match parse(granted, cluster, request).map_err(Denial::Malformed)? {
        Recognised::Unknown(words) => Err(Denial::Missing(words)),
        Recognised::Known(operation) if !granted.allows(operation.right) => {
            Err(Denial::Missing(operation.right.words.to_owned()))
        }
        Recognised::Known(operation) if operation.right.writes() => {
            Err(Denial::Writes(operation.right.words))
        }
        Recognised::Known(operation) => Ok(operation),
    }
}

fn parse(granted: &Granted, cluster: &str, request: &Request<Bytes>) -> Parsed {
    let uri = request.uri();
    // The authority is compared byte for byte by whoever chose `granted`;
    // compared again here, so that this function is safe by itself.
    if uri.scheme() != Some(&http::uri::Scheme::HTTP) {
        return Err("a request to an upstream has the scheme `http`".to_owned());
    }
    if uri.authority().map(http::uri::Authority::as_str) != Some(granted.name.as_str()) {
        return Err(format!(
            "the authority of the request is not exactly `{}`",
            granted.name
        ));
    }
    if request.body().len() > MAX_BODY {
        return Err(format!(
            "the request's body is larger than {MAX_BODY} bytes"
        ));
    }
    match granted.kind {
        Kind::Eks => eks::parse(cluster, request),
        Kind::Iam => iam::parse(request),
        Kind::Cluster => kubernetes::parse(request),
    }
}

/// `accept` and `content-type` as the guest set them; any other header, and
/// any header twice, is refused.
struct Headers<'a> {
    accept: Option<&'a str>,
    content_type: Option<&'a str>,
}

impl<'a> Headers<'a> {
    fn of(request: &'a Request<Bytes>) -> Result<Self, String> {
        let mut found = Self {
            accept: None,
            content_type: None,
        };
        for (name, value) in request.headers() {
            let value = value
                .to_str()
                .map_err(|_| format!("the header `{name}` holds more than plain text"))?;
            let slot = match *name {
                header::ACCEPT => &mut found.accept,
                header::CONTENT_TYPE => &mut found.content_type,
                _ => return Err(format!("the header `{name}` is not a plugin's to set")),
            };
            if slot.replace(value).is_some() {
                return Err(format!("the header `{name}` is given twice"));
            }
        }
        Ok(found)
    }

    fn accept_is_one_of(&self, allowed: &[&str]) -> Result<(), String> {
        match self.accept {
            Some(value) if !allowed.contains(&value) => Err(format!(
                "`accept: {}` is not among {}",
                value.escape_debug(),
                allowed.join(", ")
            )),
            _ => Ok(()),
        }
    }

    fn content_type_is_one_of(&self, allowed: &[&str]) -> Result<(), String> {
        match self.content_type {
            Some(value) if !allowed.contains(&value) => Err(format!(
                "`content-type: {}` is not among {}",
                value.escape_debug(),
                allowed.join(", ")
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
