//! Patches: merge, JSON and apply. Lists are not merged by key.

use serde_json::{Value, json};

use super::Target;
use super::write::bad;
use super::{not_found, status};
use crate::http::{Reply, Request};
use crate::text::find;

/// The object as the patch leaves it.
pub(super) fn patched(
    target: &Target,
    request: &Request,
    current: Option<&Value>,
) -> Result<Value, Reply> {
    let content_type = request
        .header("content-type")
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .to_owned();
    let text = String::from_utf8_lossy(&request.body);
    if content_type == "application/apply-patch+yaml" {
        if find(&target.query, "fieldManager").is_none() {
            return Err(bad(
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
            ));
        }
        let patch: Value =
            serde_saphyr::from_str(&text).map_err(|e| bad(&format!("error decoding YAML: {e}")))?;
        let mut object = current.cloned().unwrap_or_else(|| json!({}));
        merge(&mut object, &patch);
        return Ok(object);
    }
    let current = current.ok_or_else(|| not_found(target))?;
    let patch: Value =
        serde_json::from_str(&text).map_err(|e| bad(&format!("error decoding patch: {e}")))?;
    let mut object = current.clone();
    match content_type.as_str() {
        "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
            merge(&mut object, &patch)
        }
        "application/json-patch+json" => {
            for step in patch.as_array().into_iter().flatten() {
                apply(&mut object, step)?;
            }
        }
        _ => {
            let message = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
            return Err(status(415, "UnsupportedMediaType", message, json!({})));
        }
    }
    Ok(object)
}

fn merge(into: &mut Value, patch: &Value) {
    let (Some(map), Some(patch)) = (into.as_object_mut(), patch.as_object()) else {
        *into = patch.clone();
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// One step of a JSON patch: `test`, `add`, `replace`, `remove`.
fn apply(object: &mut Value, step: &Value) -> Result<(), Reply> {
    let field = |name: &str| step.get(name).and_then(Value::as_str).unwrap_or_default();
    let (path, value) = (
        field("path"),
        step.get("value").cloned().unwrap_or_default(),
    );
    let failed = || {
        let why = match field("op") {
            "test" => format!("testing value {path} failed: test failed"),
            op => format!("{op} operation does not apply: doc is missing path: {path}"),
        };
        status(
            422,
            "Invalid",
            "the server rejected our request due to an error in our request",
            json!({"causes": [{"reason": "UnexpectedServerResponse", "message": why}]}),
        )
    };
    if field("op") == "test" {
        return if object.pointer(path) == Some(&value) {
            Ok(())
        } else {
            Err(failed())
        };
    }
    let (parent, last) = path.rsplit_once('/').ok_or_else(failed)?;
    let last = last.replace("~1", "/").replace("~0", "~");
    let op = field("op");
    match object.pointer_mut(parent) {
        Some(Value::Object(map)) => match op {
            "add" => drop(map.insert(last, value)),
            "replace" if map.contains_key(&last) => drop(map.insert(last, value)),
            "remove" => drop(map.remove(&last).ok_or_else(failed)?),
            _ => return Err(failed()),
        },
        Some(Value::Array(list)) => {
            let index = if last == "-" {
                list.len()
            } else {
                last.parse().map_err(|_| failed())?
            };
            match op {
                "add" if index <= list.len() => list.insert(index, value),
                "replace" => *list.get_mut(index).ok_or_else(failed)? = value,
                "remove" if index < list.len() => drop(list.remove(index)),
                _ => return Err(failed()),
            }
        }
        _ => return Err(failed()),
    }
    Ok(())
}
