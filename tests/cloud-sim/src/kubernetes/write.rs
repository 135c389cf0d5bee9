//! Creates, updates, patches and deletes.
//!
//! Enough for bindings, roles, config maps and leases: versions, conflicts,
//! dry runs, the immutable role reference and the escalation check. Merge,
//! JSON and apply patches work on whole values; lists are not merged by key.

use serde_json::{Value, json};

use super::identity::Subject;
use super::rbac::{self, Attributes};
use super::read::whole;
use super::store::{Kind, RBAC, Store, key};
use super::{Target, details, not_found, status};
use crate::http::{Reply, Request};
use crate::text::{find, rfc3339};

/// The answer, and whether anything changed.
pub(super) fn answer(
    store: &mut Store,
    kind: &'static Kind,
    target: &Target,
    request: &Request,
    who: &Subject,
    now: i64,
) -> (Reply, bool) {
    match change(store, kind, target, request, who, now) {
        Ok((reply, changed)) => (reply, changed),
        Err(reply) => (reply, false),
    }
}

fn change(
    store: &mut Store,
    kind: &'static Kind,
    target: &Target,
    request: &Request,
    who: &Subject,
    now: i64,
) -> Result<(Reply, bool), Reply> {
    let dry = find(&target.query, "dryRun") == Some("All");
    let own_key = if kind.namespaced {
        format!("{}/{}", target.namespace, target.name)
    } else {
        target.name.clone()
    };
    if ["delete", "deletecollection"].contains(&target.verb.as_str()) {
        if target.name.is_empty() {
            return Err(status(
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
                json!({}),
            ));
        }
        let current = store.get(kind, &own_key).ok_or_else(|| not_found(target))?;
        let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        for field in ["uid", "resourceVersion"] {
            let wanted = asked
                .pointer(&format!("/preconditions/{field}"))
                .and_then(Value::as_str);
            let have = current
                .pointer(&format!("/metadata/{field}"))
                .and_then(Value::as_str);
            if wanted.is_some() && wanted != have {
                return Err(conflict(
                    target,
                    &format!(
                        "Precondition failed: {field} in precondition: {}, {field} in object meta: {}",
                        wanted.unwrap_or_default(),
                        have.unwrap_or_default()
                    ),
                ));
            }
        }
        if !dry {
            store.remove(kind, &own_key);
            store.aggregate();
        }
        let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details(target)});
        return Ok((Reply::json(200, &body), !dry));
    }
    let current = if target.name.is_empty() {
        None
    } else {
        store.get(kind, &own_key)
    };
    let mut object = match target.verb.as_str() {
        "patch" => patched(target, request, current.as_deref())?,
        _ => serde_json::from_slice(&request.body)
            .map_err(|e| bad(&format!("the object provided is unrecognized: {e}")))?,
    };
    if let Some(given) = object
        .get("kind")
        .and_then(Value::as_str)
        .filter(|k| *k != kind.kind)
    {
        return Err(bad(&format!(
            "{} in version \"v1\" cannot be handled as a {}: no kind {given:?} is registered",
            given, kind.kind
        )));
    }
    place(kind, target, &mut object)?;
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '%']) {
        return Err(unprocessable(
            target,
            kind,
            &name,
            "metadata.name",
            "Required value: name or generateName is required",
        ));
    }
    if target.verb == "create" && store.get(kind, &key(kind, &object)).is_some() {
        let message = format!("{} {name:?} already exists", kind.qualified());
        return Err(status(
            409,
            "AlreadyExists",
            &message,
            json!({"name": name, "group": kind.group, "kind": kind.resource}),
        ));
    }
    if target.verb == "update" && current.is_none() {
        return Err(not_found(target));
    }
    if let Some(current) = &current {
        let wanted = object
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str)
            .filter(|v| !v.is_empty());
        let have = current
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str);
        if wanted.is_some() && wanted != have {
            return Err(conflict(
                target,
                "the object has been modified; please apply your changes to the latest version and try again",
            ));
        }
        if let (Some(old), Some(new)) = (current.get("roleRef"), object.get_mut("roleRef")) {
            if let Some(map) = new.as_object_mut() {
                map.entry("apiGroup").or_insert_with(|| RBAC.into());
            }
            if old != new {
                return Err(unprocessable(
                    target,
                    kind,
                    &name,
                    "roleRef",
                    "Invalid value: cannot change roleRef",
                ));
            }
        }
        // Identity and age are the server's.
        for field in ["uid", "creationTimestamp"] {
            let kept = current.pointer(&format!("/metadata/{field}")).cloned();
            if let (Some(kept), Some(meta)) = (
                kept,
                object.get_mut("metadata").and_then(Value::as_object_mut),
            ) {
                meta.insert(field.into(), kept);
            }
        }
    }
    valid(target, kind, &name, &object)?;
    escalation(store, kind, who, &name, &object)?;
    // Server-side apply that creates needs the right to create, too.
    let create = Target {
        verb: "create".into(),
        ..target.clone()
    };
    if target.verb == "patch"
        && current.is_none()
        && !rbac::allowed(store, who, &create.attributes())
    {
        return Err(super::forbidden(who, &create));
    }
    let code = if current.is_none() { 201 } else { 200 };
    if dry {
        return Ok((Reply::json(code, &whole(kind, &object)), false));
    }
    let stored = store.put(kind, object, &rfc3339(now));
    if kind.resource == "clusterroles" {
        store.aggregate();
    }
    Ok((Reply::json(code, &whole(kind, &stored)), true))
}

/// Puts the path's namespace and name into the object, or refuses where they differ.
fn place(kind: &Kind, target: &Target, object: &mut Value) -> Result<(), Reply> {
    let Some(map) = object.as_object_mut() else {
        return Err(bad("the object provided is not an object"));
    };
    let meta = map.entry("metadata").or_insert_with(|| json!({}));
    let Some(meta) = meta.as_object_mut() else {
        return Err(bad("metadata is not an object"));
    };
    let wanted = [
        (
            "namespace",
            if kind.namespaced {
                target.namespace.as_str()
            } else {
                ""
            },
        ),
        ("name", target.name.as_str()),
    ];
    for (field, value) in wanted {
        if value.is_empty() {
            continue;
        }
        match meta
            .get(field)
            .and_then(Value::as_str)
            .filter(|v| !v.is_empty())
        {
            Some(given) if given != value => {
                return Err(bad(&format!(
                    "the {field} of the provided object does not match the {field} sent on the request"
                )));
            }
            _ => {
                meta.insert(field.into(), value.into());
            }
        }
    }
    Ok(())
}

fn patched(target: &Target, request: &Request, current: Option<&Value>) -> Result<Value, Reply> {
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
        status(
            422,
            "Invalid",
            &format!(
                "the server rejected our request due to an error in our request: {} {path}",
                field("op")
            ),
            json!({}),
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

fn valid(target: &Target, kind: &Kind, name: &str, object: &Value) -> Result<(), Reply> {
    if !kind.resource.ends_with("bindings") {
        return Ok(());
    }
    let role_kind = object
        .pointer("/roleRef/kind")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !(role_kind == "ClusterRole" || role_kind == "Role" && kind.namespaced) {
        return Err(unprocessable(
            target,
            kind,
            name,
            "roleRef.kind",
            "Unsupported value: supported values: \"ClusterRole\"",
        ));
    }
    for subject in object
        .get("subjects")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let field = |f: &str| subject.get(f).and_then(Value::as_str).unwrap_or_default();
        let group = if field("kind") == "ServiceAccount" {
            ""
        } else {
            RBAC
        };
        let wrong_group = subject.get("apiGroup").is_some() && field("apiGroup") != group;
        if wrong_group || !["User", "Group", "ServiceAccount"].contains(&field("kind")) {
            return Err(unprocessable(
                target,
                kind,
                name,
                "subjects[0].apiGroup",
                "Unsupported value",
            ));
        }
        if field("name").is_empty() {
            return Err(unprocessable(
                target,
                kind,
                name,
                "subjects[0].name",
                "Required value",
            ));
        }
        if field("kind") == "ServiceAccount" && field("namespace").is_empty() && !kind.namespaced {
            return Err(unprocessable(
                target,
                kind,
                name,
                "subjects[0].namespace",
                "Required value",
            ));
        }
    }
    Ok(())
}

/// Nobody grants what they do not hold, unless they may `bind` or `escalate`.
fn escalation(
    store: &Store,
    kind: &Kind,
    who: &Subject,
    name: &str,
    object: &Value,
) -> Result<(), Reply> {
    let namespace = object
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let may = |verb: &str, resource: &str, name: &str| {
        let want = Attributes {
            verb: verb.into(),
            group: RBAC.into(),
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
            path: None,
        };
        rbac::allowed(store, who, &want)
    };
    let lacking = match kind.resource {
        "clusterroles" | "roles" if may("escalate", kind.resource, name) => Vec::new(),
        "clusterroles" | "roles" => rbac::missing(store, who, Some(object), namespace),
        "clusterrolebindings" | "rolebindings" => {
            let role = object
                .pointer("/roleRef/name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let resource =
                if object.pointer("/roleRef/kind").and_then(Value::as_str) == Some("ClusterRole") {
                    "clusterroles"
                } else {
                    "roles"
                };
            if may("bind", resource, role) {
                Vec::new()
            } else {
                let found = rbac::role_of(store, object, namespace);
                if found.is_none() {
                    let missing = Target {
                        group: RBAC.into(),
                        resource: resource.into(),
                        name: role.into(),
                        ..Target::default()
                    };
                    return Err(not_found(&missing));
                }
                rbac::missing(store, who, found.as_deref(), namespace)
            }
        }
        _ => Vec::new(),
    };
    if lacking.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} {name:?} is forbidden: user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{}",
        kind.qualified(),
        who.name,
        who.groups,
        lacking.join("\n")
    );
    Err(status(
        403,
        "Forbidden",
        &message,
        json!({"name": name, "group": kind.group, "kind": kind.resource}),
    ))
}

fn bad(message: &str) -> Reply {
    status(400, "BadRequest", message, Value::Null)
}

fn conflict(target: &Target, why: &str) -> Reply {
    let message = format!(
        "Operation cannot be fulfilled on {} {:?}: {why}",
        super::qualified(target),
        target.name
    );
    status(409, "Conflict", &message, details(target))
}

fn unprocessable(target: &Target, kind: &Kind, name: &str, field: &str, message: &str) -> Reply {
    let mut details = details(target);
    if let Some(map) = details.as_object_mut() {
        map.insert("name".into(), name.into());
        map.insert(
            "causes".into(),
            json!([{"reason": "FieldValueInvalid", "message": message, "field": field}]),
        );
    }
    status(
        422,
        "Invalid",
        &format!(
            "{}.{} {name:?} is invalid: {field}: {message}",
            kind.kind, kind.group
        ),
        details,
    )
}
