//! Answers: inflated, capped, searched for our credentials, cut, and only then
//! given to a plugin.
//!
//! The host alone speaks gzip, so that a limit counts what is held and a
//! search sees plain text. An error of AWS is rebuilt, because a refused
//! signature echoes the session token. This stops accidents and simple echoes,
//! not an upstream that encodes what it was given: upstreams are trusted.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use flate2::write::GzDecoder;
use http::{HeaderMap, HeaderName, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use super::auth::Secret;
use super::operation::View;

/// What a plugin gets to see of an answer's headers.
const SHOWN: [HeaderName; 5] = [
    header::RETRY_AFTER,
    HeaderName::from_static("x-amzn-requestid"),
    HeaderName::from_static("x-amz-request-id"),
    HeaderName::from_static("audit-id"),
    header::CONTENT_TYPE,
];

/// An error message of AWS may be this long, in characters.
const MESSAGE: usize = 4096;

/// The bytes of answers that one task holds at once, guest included.
#[derive(Debug, Clone)]
pub struct Budget {
    held: Arc<AtomicU64>,
    limit: u64,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            held: Arc::default(),
            limit,
        }
    }

    /// Bytes that are held now.
    #[cfg(test)]
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    fn hold(&self) -> Hold {
        Hold {
            budget: self.clone(),
            bytes: 0,
        }
    }
}

/// A share of a budget, given back when dropped.
#[derive(Debug)]
pub struct Hold {
    budget: Budget,
    bytes: u64,
}

impl Hold {
    fn grow(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        self.bytes += bytes;
        self.budget.held.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.budget.limit
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Why an answer cannot be taken.
#[derive(Debug)]
pub enum ReadError {
    /// Larger than one answer may be.
    TooLarge(u64),
    /// The task holds too much already.
    OverBudget(u64),
    /// It ended too early, or is not what it says.
    Broken(String),
}

/// An answer as the upstream gave it, inflated.
#[derive(Debug)]
pub struct Collected {
    /// Its status.
    pub status: StatusCode,
    /// All its headers.
    pub headers: HeaderMap,
    /// Its body, inflated.
    pub body: Vec<u8>,
    hold: Hold,
}

/// Reads an answer to its end.
pub async fn collect(
    answer: http::Response<Incoming>,
    limit: u64,
    budget: &Budget,
) -> Result<Collected, ReadError> {
    let (parts, mut body) = answer.into_parts();
    let encoding = parts
        .headers
        .get(header::CONTENT_ENCODING)
        .map(|value| value.as_bytes().to_ascii_lowercase());
    let sink = Sink {
        bytes: Vec::new(),
        hold: budget.hold(),
        limit,
        over: None,
    };
    let mut reader = match encoding.as_deref() {
        None | Some(b"" | b"identity") => Reader::Plain(sink),
        Some(b"gzip" | b"x-gzip") => Reader::Gzip(Box::new(GzDecoder::new(sink))),
        Some(_) => {
            return Err(ReadError::Broken(
                "an encoding that was not asked for".to_owned(),
            ));
        }
    };
    let mut wire = 0_u64;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ReadError::Broken(super::dial::causes(&error)))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        wire += data.len() as u64;
        if wire > limit {
            return Err(ReadError::TooLarge(limit));
        }
        reader.write(&data)?;
    }
    let sink = reader.finish()?;
    Ok(Collected {
        status: parts.status,
        headers: parts.headers,
        body: sink.bytes,
        hold: sink.hold,
    })
}

enum Reader {
    Plain(Sink),
    Gzip(Box<GzDecoder<Sink>>),
}

impl Reader {
    fn write(&mut self, data: &[u8]) -> Result<(), ReadError> {
        let (done, sink) = match self {
            Self::Plain(sink) => (sink.write_all(data), sink),
            Self::Gzip(gzip) => (gzip.write_all(data), gzip.get_mut()),
        };
        done.map_err(|error| {
            sink.over
                .take()
                .unwrap_or_else(|| ReadError::Broken(format!("gzip: {error}")))
        })
    }

    fn finish(self) -> Result<Sink, ReadError> {
        match self {
            Self::Plain(sink) => Ok(sink),
            Self::Gzip(mut gzip) => match gzip.try_finish() {
                Ok(()) => gzip
                    .finish()
                    .map_err(|error| ReadError::Broken(format!("gzip: {error}"))),
                Err(error) => Err(gzip
                    .get_mut()
                    .over
                    .take()
                    .unwrap_or_else(|| ReadError::Broken(format!("gzip: {error}")))),
            },
        }
    }
}

/// Where bytes go, as long as they are few enough.
struct Sink {
    bytes: Vec<u8>,
    hold: Hold,
    limit: u64,
    over: Option<ReadError>,
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        if (self.bytes.len() + data.len()) as u64 > self.limit {
            self.over = Some(ReadError::TooLarge(self.limit));
            return Err(std::io::Error::other("too large"));
        }
        if !self.hold.grow(data.len()) {
            self.over = Some(ReadError::OverBudget(self.hold.budget.limit));
            return Err(std::io::Error::other("too much in flight"));
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Bytes that count against a budget until the last user drops them.
struct Held {
    bytes: Vec<u8>,
    #[expect(dead_code, reason = "given back when dropped")]
    hold: Hold,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// An answer for a plugin.
pub type Clean = http::Response<Bytes>;

impl Collected {
    /// The value of a header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// AWS's id of the request.
    pub fn request_id(&self) -> Option<&str> {
        self.header("x-amzn-requestid")
            .or_else(|| self.header("x-amz-request-id"))
            .or_else(|| self.header("audit-id"))
    }

    /// Whether one of these secrets is in its body or in a header that a
    /// plugin would see.
    pub fn echoes(&self, canaries: &[Secret]) -> bool {
        let shown: Vec<&[u8]> = SHOWN
            .iter()
            .flat_map(|name| self.headers.get_all(name))
            .map(|v| v.as_bytes())
            .collect();
        holds(&self.body, canaries) || shown.iter().any(|value| holds(value, canaries))
    }

    /// With the headers a plugin may see, and another body if it was rebuilt.
    pub fn clean(mut self, rebuilt: Option<(Vec<u8>, &'static str)>) -> Clean {
        let mut headers = HeaderMap::new();
        for name in SHOWN {
            if let Some(value) = self.headers.remove(&name) {
                headers.insert(name, value);
            }
        }
        if let Some((body, content_type)) = rebuilt {
            self.body = body;
            headers.insert(
                header::CONTENT_TYPE,
                http::HeaderValue::from_static(content_type),
            );
        }
        let held = Held {
            bytes: self.body,
            hold: self.hold,
        };
        let mut answer = http::Response::new(Bytes::from_owner(held));
        *answer.status_mut() = self.status;
        *answer.headers_mut() = headers;
        answer
    }
}

/// Whether one of the secrets is in the text. Shorter ones than any real
/// secret would be found everywhere and are not looked for.
pub fn holds(text: &[u8], canaries: &[Secret]) -> bool {
    canaries.iter().any(|secret| {
        let secret = secret.expose().as_bytes();
        secret.len() >= 16 && memchr::memmem::find(text, secret).is_some()
    })
}

/// An error of AWS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AwsError {
    /// `ResourceNotFoundException`, `NoSuchEntity`, `Http502`.
    pub code: String,
    /// AWS's words.
    pub message: String,
    /// AWS's id of the request.
    pub request_id: String,
}

/// The codes of refused signatures: their messages quote what was signed.
const SIGNATURE: &[&str] = &[
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidSignature",
    "RequestExpired",
    "RequestTimeTooSkewed",
];

impl AwsError {
    /// Reads an answer with status 400 or above of EKS (JSON) or IAM (XML), or
    /// of whatever stood in between.
    pub fn of(answer: &Collected) -> Self {
        let text = String::from_utf8_lossy(&answer.body);
        let trimmed = text.trim_start();
        let mut error = if trimmed.starts_with('{') {
            Self::json(trimmed)
        } else if trimmed.starts_with('<') && trimmed.contains("<Code>") {
            Self::xml(trimmed)
        } else {
            Self::default()
        };
        // The header is the first word on the code: `Code:http://…` and
        // `prefix#Code` both occur.
        if let Some(kind) = answer.header("x-amzn-errortype") {
            error.code = bare(kind);
        }
        if error.code.is_empty() {
            error.code = format!("Http{}", answer.status.as_u16());
            error.message =
                "the answer is none of AWS's errors; a proxy or load balancer may have given it"
                    .to_owned();
        }
        if let Some(id) = answer.request_id() {
            error.request_id = id.to_owned();
        }
        if error.is_signature() {
            error.message = "AWS refused the host's signature; its own message is withheld, because it quotes the \
                             request with its credentials"
                .to_owned();
        }
        if let Some((end, _)) = error.message.char_indices().nth(MESSAGE) {
            error.message.truncate(end);
        }
        error
    }

    /// Whether the signature was refused.
    pub fn is_signature(&self) -> bool {
        SIGNATURE.contains(&self.code.as_str())
    }

    fn json(text: &str) -> Self {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let field = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| value.get(name)?.as_str())
                .unwrap_or_default()
        };
        Self {
            code: bare(field(&["__type", "code", "Code"])),
            message: field(&["message", "Message", "errorMessage"]).to_owned(),
            request_id: String::new(),
        }
    }

    fn xml(text: &str) -> Self {
        use quick_xml::events::Event;
        let mut reader = quick_xml::Reader::from_str(text);
        let (mut error, mut inside) = (Self::default(), String::new());
        while let Ok(event) = reader.read_event() {
            let (piece, end) = match event {
                Event::Eof => break,
                Event::Start(start) => {
                    inside = start.local_name().as_ref().to_owned();
                    continue;
                }
                Event::End(_) => (String::new(), true),
                Event::Text(text) => ((*text).to_owned(), false),
                Event::CData(text) => ((*text).to_owned(), false),
                Event::GeneralRef(name) => (entity(&name), false),
                _ => continue,
            };
            if end {
                inside.clear();
                continue;
            }
            match inside.as_str() {
                "Code" => error.code.push_str(&piece),
                "Message" => error.message.push_str(&piece),
                "RequestId" | "RequestID" => error.request_id.push_str(&piece),
                _ => {}
            }
        }
        error
    }

    /// As a plugin gets it (`docs/contract.md`), for both services.
    pub fn rebuilt(&self) -> (Vec<u8>, &'static str) {
        let body =
            json!({"code": self.code, "message": self.message, "request-id": self.request_id});
        (body.to_string().into_bytes(), "application/json")
    }
}

fn entity(name: &str) -> String {
    let number = name
        .strip_prefix('#')
        .map(|digits| match digits.strip_prefix('x') {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => digits.parse(),
        });
    match (name, number) {
        (_, Some(number)) => number
            .ok()
            .and_then(char::from_u32)
            .map(String::from)
            .unwrap_or_default(),
        ("lt", _) => "<".to_owned(),
        ("gt", _) => ">".to_owned(),
        ("quot", _) => "\"".to_owned(),
        ("apos", _) => "'".to_owned(),
        ("amp", _) => "&".to_owned(),
        _ => String::new(),
    }
}

fn bare(code: &str) -> String {
    let code = code.rsplit('#').next().unwrap_or(code);
    let code = code.split(':').next().unwrap_or(code);
    code.trim()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c))
        .take(128)
        .collect()
}

/// A Kubernetes answer below 400 as a plugin gets it.
///
/// # Errors
/// When it is not JSON.
pub fn kubernetes(body: &[u8], view: View) -> Result<Vec<u8>, String> {
    let mut value: Value = serde_json::from_slice(body)
        .map_err(|error| format!("something that is not JSON: {error}"))?;
    let Some(object) = value.as_object_mut() else {
        return Err("JSON that is no object".to_owned());
    };
    if view == View::Names {
        return names(object).map(|list| list.to_string().into_bytes());
    }
    if view == View::Whole {
        return Ok(value.to_string().into_bytes());
    }
    scrub(object);
    if let Some(items) = object.get_mut("items").and_then(Value::as_array_mut) {
        items
            .iter_mut()
            .filter_map(Value::as_object_mut)
            .for_each(scrub);
    }
    Ok(value.to_string().into_bytes())
}

/// Drops what repeats whole objects: `kubectl apply` keeps the object, data
/// included, in an annotation.
fn scrub(object: &mut Map<String, Value>) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    metadata.remove("managedFields");
    if let Some(annotations) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

/// A list of which only names are shown, whatever the server sent.
fn names(list: &mut Map<String, Value>) -> Result<Value, String> {
    let Some(Value::Array(items)) = list.remove("items") else {
        return match list.get("items") {
            None | Some(Value::Null) if list.contains_key("metadata") => {
                Ok(named_list(list, Vec::new()))
            }
            _ => Err("a list without items".to_owned()),
        };
    };
    let kept = items
        .into_iter()
        .map(|mut item| {
            let mut metadata = Map::new();
            if let Some(given) = item.get_mut("metadata").and_then(Value::as_object_mut) {
                for key in ["name", "namespace", "uid", "creationTimestamp", "labels"] {
                    if let Some(value) = given.remove(key) {
                        metadata.insert(key.to_owned(), value);
                    }
                }
            }
            json!({"metadata": metadata})
        })
        .collect();
    Ok(named_list(list, kept))
}

fn named_list(list: &mut Map<String, Value>, items: Vec<Value>) -> Value {
    let mut metadata = Map::new();
    if let Some(given) = list.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in ["resourceVersion", "continue", "remainingItemCount"] {
            if let Some(value) = given.remove(key) {
                metadata.insert(key.to_owned(), value);
            }
        }
    }
    json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items})
}

/// A Kubernetes answer with status 400 or above: its `Status`, or one of ours
/// where a load balancer answered.
pub fn kubernetes_error(status: StatusCode, body: &[u8]) -> Vec<u8> {
    if let Ok(Value::Object(mut object)) = serde_json::from_slice::<Value>(body)
        && object.get("kind").and_then(Value::as_str) == Some("Status")
    {
        scrub(&mut object);
        return Value::Object(object).to_string().into_bytes();
    }
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": status.as_u16(),
        "reason": "",
        "message": "the answer is no Status of Kubernetes; a proxy or load balancer may have given it",
    })
    .to_string()
    .into_bytes()
}

#[cfg(test)]
mod tests;
