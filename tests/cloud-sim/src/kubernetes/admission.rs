//! What is checked of a write before it is stored: names, subjects, leases, the
//! namespace it goes to, the webhook that guards `aws-auth`, and that nobody
//! grants what they do not hold.

use serde_json::{Value, json};

use super::identity::{self, Subject};
use super::rbac::{self, Attributes};
use super::store::{Kind, RBAC, Store};
use super::write::unprocessable;
use super::{Target, not_found, status};
use crate::http::Reply;

/// The rules of the object's own kind.
pub(super) fn valid(target: &Target, kind: &Kind, name: &str, object: &Value) -> Result<(), Reply> {
    if kind.resource == "leases" {
        return lease(target, kind, name, object);
    }
    if kind.resource == "configmaps" {
        let text = |v: &Value| {
            v.is_null()
                || v.as_object()
                    .is_some_and(|m| m.values().all(Value::is_string))
        };
        return if object.get("data").is_none_or(text) {
            Ok(())
        } else {
            Err(super::write::bad(
                "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal into Go struct field ConfigMap.data of type string",
            ))
        };
    }
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

/// A lease's numbers and times, as the API server decodes them.
fn lease(target: &Target, kind: &Kind, name: &str, object: &Value) -> Result<(), Reply> {
    let spec = |field: &str| {
        object
            .pointer(&format!("/spec/{field}"))
            .filter(|v| !v.is_null())
    };
    for (field, least, words) in [
        ("leaseDurationSeconds", 1, "must be greater than 0"),
        ("leaseTransitions", 0, "must be greater than or equal to 0"),
    ] {
        if spec(field).is_some_and(|v| v.as_i64().is_none_or(|n| n < least)) {
            return Err(unprocessable(
                target,
                kind,
                name,
                &format!("spec.{field}"),
                &format!("Invalid value: {words}"),
            ));
        }
    }
    for field in ["acquireTime", "renewTime"] {
        if spec(field).is_some_and(|v| !v.as_str().is_some_and(micro_time)) {
            return Err(super::write::bad(&format!(
                "Lease in version \"v1\" cannot be handled as a Lease: parsing time {} as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse",
                spec(field).map(Value::to_string).unwrap_or_default()
            )));
        }
    }
    Ok(())
}

/// RFC 3339 with exactly six digits of a second: Go's layout takes no other.
fn micro_time(text: &str) -> bool {
    let digits = text.split_once('.').map_or(0, |(_, rest)| {
        rest.bytes().take_while(u8::is_ascii_digit).count()
    });
    digits == 6 && text.parse::<jiff::Timestamp>().is_ok()
}

/// A new object needs its namespace, and one that is not on its way out.
pub(super) fn namespace(
    store: &Store,
    kind: &Kind,
    name: &str,
    object: &Value,
) -> Result<(), Reply> {
    if !kind.namespaced {
        return Ok(());
    }
    let namespace = object
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let found = Kind::find("", "namespaces").and_then(|k| store.get(k, namespace));
    let Some(found) = found else {
        let missing = Target {
            resource: "namespaces".into(),
            name: namespace.into(),
            ..Target::default()
        };
        return Err(not_found(&missing));
    };
    if found.pointer("/status/phase").and_then(Value::as_str) != Some("Terminating") {
        return Ok(());
    }
    let message = format!(
        "{} {name:?} is forbidden: unable to create new content in namespace {namespace} because it is being terminated",
        kind.qualified()
    );
    Err(status(
        403,
        "Forbidden",
        &message,
        json!({"name": name, "group": kind.group, "kind": kind.resource, "causes": [{
            "reason": "NamespaceTerminating", "message": format!("namespace {namespace} is being terminated"), "field": "metadata.namespace"}]}),
    ))
}

/// What `eks-aws-auth-configmap-validation-webhook` refuses. Its exact words
/// are not published; the frame around them is the API server's.
pub(super) fn aws_auth(kind: &Kind, object: &Value) -> Result<(), Reply> {
    let at = |field: &str| {
        object
            .pointer(&format!("/metadata/{field}"))
            .and_then(Value::as_str)
    };
    if kind.resource != "configmaps"
        || (at("namespace"), at("name")) != (Some("kube-system"), Some("aws-auth"))
    {
        return Ok(());
    }
    for (key, arn) in [("mapRoles", "rolearn"), ("mapUsers", "userarn")] {
        let text = object
            .pointer(&format!("/data/{key}"))
            .and_then(Value::as_str)
            .unwrap_or_default();
        if let Err(why) = identity::lines(text, arn) {
            let message = format!(
                "admission webhook \"eks-aws-auth-configmap-validation-webhook.amazonaws.com\" denied the request: ConfigMap aws-auth is not valid: {key}: {why}"
            );
            return Err(status(403, "Forbidden", &message, Value::Null));
        }
    }
    Ok(())
}

/// Nobody grants what they do not hold, unless they may `bind` or `escalate`.
pub(super) fn escalation(
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
