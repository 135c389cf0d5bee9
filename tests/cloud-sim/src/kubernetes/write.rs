//! Creates, updates, patches and deletes.
//!
//! Enough for bindings, roles, config maps and leases: versions, conflicts,
//! dry runs, the immutable role reference. What is checked before anything is
//! stored is in `admission`; a dry run passes all of it and stores nothing.

use serde_json::{Value, json};

use super::identity::Subject;
use super::read::whole;
use super::store::{Kind, RBAC, Store, key};
use super::{Target, admission, details, not_found, patch, rbac, status};
use crate::http::{Reply, Request};
use crate::text::{find, rfc3339};

/// A write that RBAC lets pass.
pub(super) struct Write<'a> {
    pub kind: &'static Kind,
    pub target: &'a Target,
    pub request: &'a Request,
    pub who: &'a Subject,
    /// Whether the webhook that guards `aws-auth` is installed.
    pub webhook: bool,
    pub now: i64,
}

impl Write<'_> {
    /// The answer, and whether anything changed.
    pub(super) fn answer(&self, store: &mut Store) -> (Reply, bool) {
        let result = match self.target.verb.as_str() {
            "delete" => self.delete(store),
            "deletecollection" => Err(status(
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
                json!({}),
            )),
            _ => self.store(store),
        };
        result.unwrap_or_else(|reply| (reply, false))
    }

    fn dry(&self) -> bool {
        find(&self.target.query, "dryRun") == Some("All")
    }

    fn own_key(&self) -> String {
        if self.kind.namespaced {
            format!("{}/{}", self.target.namespace, self.target.name)
        } else {
            self.target.name.clone()
        }
    }

    fn delete(&self, store: &mut Store) -> Result<(Reply, bool), Reply> {
        let (kind, target, own_key) = (self.kind, self.target, self.own_key());
        let current = store.get(kind, &own_key).ok_or_else(|| not_found(target))?;
        let asked: Value = if self.request.body.is_empty() {
            json!({})
        } else {
            serde_json::from_slice(&self.request.body)
                .map_err(|e| bad(&format!("the object provided is unrecognized: {e}")))?
        };
        for (field, named) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
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
                        "the {named} in the precondition ({}) does not match the {named} in record ({}). The object might have been deleted and then recreated",
                        wanted.unwrap_or_default(),
                        have.unwrap_or_default()
                    ),
                ));
            }
        }
        let in_body = asked
            .get("dryRun")
            .and_then(Value::as_array)
            .is_some_and(|all| all.iter().any(|v| v == "All"));
        let dry = self.dry() || in_body;
        if !dry {
            store.remove(kind, &own_key);
            store.aggregate();
        }
        let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details(target)});
        Ok((Reply::json(200, &body), !dry))
    }

    fn store(&self, store: &mut Store) -> Result<(Reply, bool), Reply> {
        let (kind, target) = (self.kind, self.target);
        let current = if target.name.is_empty() {
            None
        } else {
            store.get(kind, &self.own_key())
        };
        let mut object = match target.verb.as_str() {
            "patch" => patch::patched(target, self.request, current.as_deref())?,
            _ => serde_json::from_slice(&self.request.body)
                .map_err(|e| bad(&format!("the object provided is unrecognized: {e}")))?,
        };
        self.typed(&object)?;
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
        if target.verb == "update" && current.is_none() {
            return Err(not_found(target));
        }
        if let Some(current) = &current
            && target.verb != "create"
        {
            self.replaces(current, &mut object, &name)?;
        } else {
            fresh(&mut object)?;
            admission::namespace(store, kind, &name, &object)?;
        }
        admission::valid(target, kind, &name, &object)?;
        if !current
            .as_deref()
            .is_some_and(|current| only_bookkeeping(current, &object))
        {
            admission::escalation(store, kind, self.who, &name, &object)?;
        }
        if self.webhook {
            admission::aws_auth(kind, &object)?;
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
        // Server-side apply that creates needs the right to create, too.
        let create = Target {
            verb: "create".into(),
            ..target.clone()
        };
        if target.verb == "patch"
            && current.is_none()
            && !rbac::allowed(store, self.who, &create.attributes())
        {
            return Err(super::forbidden(self.who, &create));
        }
        let code = if current.is_none() { 201 } else { 200 };
        if self.dry() {
            return Ok((Reply::json(code, &whole(kind, &object)), false));
        }
        if let Some(current) = current.as_deref().filter(|c| same(c, &object)) {
            // A write that changes nothing leaves the version as it is.
            return Ok((Reply::json(code, &whole(kind, current)), true));
        }
        let stored = store.put(kind, object, &rfc3339(self.now));
        if kind.resource == "clusterroles" {
            store.aggregate();
        }
        Ok((Reply::json(code, &whole(kind, &stored)), true))
    }

    /// The object says of itself what the path says, or nothing.
    fn typed(&self, object: &Value) -> Result<(), Reply> {
        let kind = self.kind;
        for (field, wanted) in [
            ("kind", kind.kind.to_owned()),
            ("apiVersion", kind.api_version()),
        ] {
            let given = object.get(field).and_then(Value::as_str);
            if given.is_some_and(|given| given != wanted) {
                return Err(bad(&format!(
                    "{} in version \"v1\" cannot be handled as a {}: no {field} {given:?} is registered",
                    given.unwrap_or_default(),
                    kind.kind
                )));
            }
        }
        Ok(())
    }

    /// What an update may not change, and what the server keeps for itself.
    fn replaces(&self, current: &Value, object: &mut Value, name: &str) -> Result<(), Reply> {
        let (kind, target) = (self.kind, self.target);
        let have = current
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str);
        match object
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str)
            .filter(|v| !v.is_empty())
        {
            None if kind.resource == "leases" => {
                return Err(unprocessable(
                    target,
                    kind,
                    name,
                    "metadata.resourceVersion",
                    "Invalid value: 0x0: must be specified for an update",
                ));
            }
            Some(wanted) if Some(wanted) != have => {
                return Err(conflict(
                    target,
                    "the object has been modified; please apply your changes to the latest version and try again",
                ));
            }
            _ => {}
        }
        let uid = object
            .pointer("/metadata/uid")
            .and_then(Value::as_str)
            .filter(|v| !v.is_empty());
        let kept = current.pointer("/metadata/uid").and_then(Value::as_str);
        if uid.is_some() && uid != kept {
            return Err(conflict(
                target,
                &format!(
                    "Precondition failed: UID in precondition: {}, UID in object meta: {}",
                    uid.unwrap_or_default(),
                    kept.unwrap_or_default()
                ),
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
                    name,
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
        Ok(())
    }
}

/// What a client may not say of an object that it creates is the server's.
fn fresh(object: &mut Value) -> Result<(), Reply> {
    let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return Ok(());
    };
    if meta
        .get("resourceVersion")
        .and_then(Value::as_str)
        .is_some_and(|v| !v.is_empty())
    {
        return Err(bad(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    for field in [
        "resourceVersion",
        "uid",
        "creationTimestamp",
        "managedFields",
    ] {
        meta.remove(field);
    }
    Ok(())
}

/// An object without what it says of its type and its version.
fn content(object: &Value, also: &[&str]) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("kind");
        map.remove("apiVersion");
    }
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("resourceVersion");
        meta.remove("managedFields");
        for field in also {
            meta.remove(*field);
        }
    }
    object
}

fn same(current: &Value, object: &Value) -> bool {
    content(current, &[]) == content(object, &[])
}

/// Only what the garbage collector needs has changed, if anything: that is not
/// checked for escalation.
fn only_bookkeeping(current: &Value, object: &Value) -> bool {
    let also = ["ownerReferences", "finalizers"];
    content(current, &also) == content(object, &also)
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

pub(super) fn bad(message: &str) -> Reply {
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

pub(super) fn unprocessable(
    target: &Target,
    kind: &Kind,
    name: &str,
    field: &str,
    message: &str,
) -> Reply {
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
