//! Gets and lists: limits, continue tokens, metadata views, compression.

use std::io::Write as _;
use std::ops::Bound;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::store::{Kind, Objects, Store};
use super::{Target, not_found, status};
use crate::http::{Reply, Request};
use crate::text::find;

/// The real server leaves answers below 128 KiB alone; ours are smaller, and clients should meet gzip.
const GZIP_FROM: usize = 1024;

pub(super) fn get(store: &Store, kind: &'static Kind, target: &Target, request: &Request) -> Reply {
    let key = if kind.namespaced {
        format!("{}/{}", target.namespace, target.name)
    } else {
        target.name.clone()
    };
    let Some(object) = store.get(kind, &key) else {
        return not_found(target);
    };
    if view(request) == Some("PartialObjectMetadata") {
        return send(request, partial(&object).to_string().into_bytes());
    }
    send(request, whole(kind, &object).to_string().into_bytes())
}

/// With the kind and version that stored objects lack.
pub(super) fn whole(kind: &Kind, object: &Value) -> Value {
    let mut all = serde_json::Map::new();
    all.insert("kind".into(), kind.kind.into());
    all.insert("apiVersion".into(), kind.api_version().into());
    if let Some(map) = object.as_object() {
        all.extend(map.clone());
    }
    Value::Object(all)
}

fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.get("metadata")})
}

/// The metadata view that `Accept` asks for first.
fn view(request: &Request) -> Option<&'static str> {
    let first = request.header("accept")?.split(',').next()?;
    let has = |p: &str| first.split(';').any(|part| part.trim() == p);
    if has("as=PartialObjectMetadataList") {
        Some("PartialObjectMetadataList")
    } else if has("as=PartialObjectMetadata") {
        Some("PartialObjectMetadata")
    } else {
        None
    }
}

pub(super) fn list(
    store: &mut Store,
    kind: &'static Kind,
    target: &Target,
    request: &Request,
    ceiling: usize,
) -> Reply {
    let query = &target.query;
    let limit = match find(query, "limit").map(str::parse::<usize>) {
        None => 0,
        Some(Ok(n)) => n,
        Some(Err(_)) => {
            return status(
                400,
                "BadRequest",
                "unable to decode query parameter limit",
                Value::Null,
            );
        }
    };
    let limit = match limit {
        0 => ceiling.max(1),
        n => n.min(ceiling.max(1)),
    };
    let resource_version = find(query, "resourceVersion").unwrap_or_default();
    let (version, objects, start) = match find(query, "continue").filter(|t| !t.is_empty()) {
        None => {
            let (version, objects) = store.snapshot(kind);
            (version, objects, None)
        }
        Some(_) if !["", "0"].contains(&resource_version) => {
            return status(
                400,
                "BadRequest",
                "specifying resource version is not allowed when using continue",
                Value::Null,
            );
        }
        Some(token) => match resume(store, kind, token) {
            Ok(found) => found,
            Err(reply) => return reply,
        },
    };
    let prefix = if kind.namespaced && !target.namespace.is_empty() {
        format!("{}/", target.namespace)
    } else {
        String::new()
    };
    let selecting = ["labelSelector", "fieldSelector"]
        .iter()
        .any(|key| find(query, key).is_some());
    let (after, served) = start.unwrap_or_default();
    // Keys are never empty, so an empty start is before the first.
    let mut matching = objects
        .range::<str, _>((Bound::Excluded(after.as_str()), Bound::Unbounded))
        .filter(|(key, object)| key.starts_with(&prefix) && selected(object, query));
    let mut items = Vec::new();
    let mut last = "";
    for (key, object) in matching.by_ref().take(limit) {
        items.push(object.clone());
        last = key;
    }
    let served = served + items.len();
    // Counting what remains must not walk a large list once per page.
    let remaining = if prefix.is_empty() && !selecting {
        objects.len().saturating_sub(served)
    } else {
        matching.count()
    };
    let mut meta = json!({"resourceVersion": version.to_string()});
    if let (true, Some(map)) = (remaining > 0, meta.as_object_mut()) {
        map.insert("continue".into(), token(version, last, served).into());
        if !selecting {
            map.insert("remainingItemCount".into(), remaining.into());
        }
    }
    match view(request) {
        Some("PartialObjectMetadata") => status(
            406,
            "NotAcceptable",
            "only PartialObjectMetadataList is acceptable for lists",
            Value::Null,
        ),
        Some(_) => send(
            request,
            body(
                "PartialObjectMetadataList",
                "meta.k8s.io/v1",
                &meta,
                items.iter().map(|o| partial(o).to_string()),
            ),
        ),
        None => {
            let name = format!("{}List", kind.kind);
            send(
                request,
                body(
                    &name,
                    &kind.api_version(),
                    &meta,
                    items.iter().map(|o: &Arc<Value>| o.to_string()),
                ),
            )
        }
    }
}

/// Where a continue token goes on: version, objects, the key before the next and how many came before.
type Resumed = (u64, Arc<Objects>, Option<(String, usize)>);

fn resume(store: &mut Store, kind: &'static Kind, text: &str) -> Result<Resumed, Reply> {
    let invalid = || {
        status(
            400,
            "BadRequest",
            "continue key is not valid: illegal base64 data",
            Value::Null,
        )
    };
    let decoded = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
    let decoded: Value = serde_json::from_slice(&decoded).map_err(|_| invalid())?;
    let start = decoded
        .get("start")
        .and_then(Value::as_str)
        .ok_or_else(invalid)?
        .trim_end_matches('\0')
        .to_owned();
    let version = decoded
        .get("rv")
        .and_then(Value::as_i64)
        .ok_or_else(invalid)?;
    let served = decoded.get("n").and_then(Value::as_u64).unwrap_or(0);
    let served = usize::try_from(served).unwrap_or(0);
    // A token without a version goes on with whatever is there now.
    let Ok(version) = u64::try_from(version) else {
        let (version, objects) = store.snapshot(kind);
        let served = objects.range(..=start.clone()).count();
        return Ok((version, objects, Some((start, served))));
    };
    match store.at(kind, version) {
        Some(objects) => Ok((version, objects, Some((start, served)))),
        None => Err(expired(&start)),
    }
}

fn token(version: u64, last: &str, served: usize) -> String {
    URL_SAFE_NO_PAD.encode(
        json!({"v": "meta.k8s.io/v1", "rv": version, "start": format!("{last}\0"), "n": served})
            .to_string(),
    )
}

/// 410 with the token that goes on without consistency.
fn expired(start: &str) -> Reply {
    let again = URL_SAFE_NO_PAD.encode(
        json!({"v": "meta.k8s.io/v1", "rv": -1, "start": format!("{start}\0")}).to_string(),
    );
    let message = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, \
        or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - \
        objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";
    Reply::json(
        410,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {"continue": again}, "status": "Failure", "message": message, "reason": "Expired", "code": 410}),
    )
}

fn selected(object: &Value, query: &[(String, String)]) -> bool {
    let labels = find(query, "labelSelector").is_none_or(|selector| {
        selector.split(',').filter(|s| !s.is_empty()).all(|term| {
            let (key, value) = term.split_once('=').unwrap_or((term, ""));
            let have = object
                .pointer("/metadata/labels")
                .and_then(|l| l.get(key))
                .and_then(Value::as_str);
            if term.contains('=') {
                have == Some(value.trim_start_matches('='))
            } else {
                have.is_some()
            }
        })
    });
    let fields = find(query, "fieldSelector").is_none_or(|selector| {
        selector.split(',').filter(|s| !s.is_empty()).all(|term| {
            let (key, value) = term.split_once('=').unwrap_or((term, ""));
            object
                .pointer(&format!("/{}", key.replace('.', "/")))
                .and_then(Value::as_str)
                == Some(value.trim_start_matches('='))
        })
    });
    labels && fields
}

fn body(
    kind: &str,
    api_version: &str,
    meta: &Value,
    items: impl Iterator<Item = String>,
) -> Vec<u8> {
    let mut out = format!(
        "{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{meta},\"items\":["
    )
    .into_bytes();
    for (n, item) in items.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        out.extend_from_slice(item.as_bytes());
    }
    out.extend_from_slice(b"]}\n");
    out
}

pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // A Vec takes every write.
    encoder
        .write_all(data)
        .and_then(|()| encoder.finish())
        .unwrap_or_default()
}

fn send(request: &Request, body: Vec<u8>) -> Reply {
    let wants = request
        .header("accept-encoding")
        .is_some_and(|h| h.split(',').any(|e| e.trim().starts_with("gzip")));
    if wants && body.len() >= GZIP_FROM {
        return Reply::new(200, "application/json", gzip(&body))
            .with("content-encoding", "gzip")
            .with("vary", "Accept-Encoding");
    }
    Reply::new(200, "application/json", body)
}
