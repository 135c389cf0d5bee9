//! Access entries: what the service lets be created, changed and removed.

use serde_json::{Value, json};

use super::{Call, association, default_username, error, invalid, seconds};
use crate::arn::Principal;
use crate::http::Reply;
use crate::text::uuid;
use crate::world::{Association, Cluster, Entry, World};

const LIMIT: usize = 3000;
const TYPES: [&str; 7] = [
    "STANDARD",
    "EC2_LINUX",
    "EC2_WINDOWS",
    "FARGATE_LINUX",
    "EC2",
    "HYBRID_LINUX",
    "HYPERPOD_LINUX",
];
const RESERVED: [&str; 5] = ["system:", "eks:", "aws:", "amazon:", "iam:"];

pub(super) fn arn(cluster: &Cluster, entry: &Entry) -> String {
    let base = cluster.arn.replace(":cluster/", ":access-entry/");
    format!(
        "{base}/{}/{}/{}/{}",
        entry.principal.kind, entry.principal.account, entry.principal.name, entry.uuid
    )
}

pub(super) fn entry(cluster: &Cluster, e: &Entry) -> Value {
    json!({
        "clusterName": cluster.spec.name,
        "principalArn": e.principal.arn(),
        "kubernetesGroups": e.groups,
        "accessEntryArn": arn(cluster, e),
        "createdAt": seconds(e.created),
        "modifiedAt": seconds(e.modified),
        "tags": e.tags,
        "username": e.username,
        "type": e.kind,
    })
}

pub(super) fn find<'a>(
    cluster: &'a Cluster,
    principal: &str,
    now: i64,
) -> Result<&'a Entry, Reply> {
    cluster.seen(principal, now).ok_or_else(absent)
}

/// What conditions of a policy may ask of an operation on access entries.
pub(super) fn context(
    world: &World,
    index: Option<usize>,
    call: &Call,
    body: &[u8],
) -> Vec<(&'static str, String)> {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |pointer: &str| {
        asked
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let mut context = vec![("eks:clusterName", call.cluster.clone())];
    let principal = if call.item.is_empty() {
        text("/principalArn")
    } else {
        Some(call.item.clone())
    };
    context.extend(principal.map(|p| ("eks:principalArn", p)));
    if call.operation == "CreateAccessEntry" {
        // Whether the key is there when no type is sent is not known.
        context.extend(text("/type").map(|t| ("eks:accessEntryType", t)));
        let tags = asked.get("tags").and_then(Value::as_object);
        for (tag, value) in tags.into_iter().flatten() {
            context.extend(
                tag_key("aws:RequestTag", tag)
                    .map(|key| (key, value.as_str().unwrap_or_default().to_owned())),
            );
        }
    }
    context.extend(text("/username").map(|u| ("eks:username", u)));
    let groups = crate::policy::strings(asked.get("kubernetesGroups"));
    context.extend(groups.into_iter().map(|g| ("eks:kubernetesGroups", g)));
    let policy = text("/policyArn").or_else(|| Some(call.policy.clone()).filter(|p| !p.is_empty()));
    context.extend(policy.map(|p| ("eks:policyArn", p)));
    context.extend(text("/accessScope/type").map(|t| ("eks:accessScope", t)));
    let namespaces = crate::policy::strings(asked.pointer("/accessScope/namespaces"));
    context.extend(namespaces.into_iter().map(|n| ("eks:namespaces", n)));
    let found = index
        .and_then(|i| world.clusters.get(i))
        .and_then(|c| c.entries.get(&call.item));
    for (tag, value) in found.map(|e| &e.tags).into_iter().flatten() {
        context.extend(tag_key("aws:ResourceTag", tag).map(|key| (key, value.clone())));
    }
    context
}

/// Condition keys hold the tag's name; the tags that anybody asks about are few.
fn tag_key(kind: &str, tag: &str) -> Option<&'static str> {
    match (kind, tag) {
        ("aws:RequestTag", "managed-by") => Some("aws:RequestTag/managed-by"),
        ("aws:ResourceTag", "managed-by") => Some("aws:ResourceTag/managed-by"),
        ("aws:RequestTag", _) => Some("aws:RequestTag/*"),
        _ => None,
    }
}

fn absent() -> Reply {
    let message = "The specified principalArn could not be found. You can view your available access entries with 'list-access-entries'.";
    error(404, "ResourceNotFoundException", message)
}

pub(super) fn change(world: &mut World, index: usize, call: &Call, body: &[u8]) -> Reply {
    let asked: Value = if body.is_empty() {
        json!({})
    } else {
        serde_json::from_slice(body).unwrap_or(Value::Null)
    };
    if !asked.is_object() {
        return error(
            400,
            "SerializationException",
            "The request body is not a JSON object",
        );
    }
    match repeated(world, index, call, &asked) {
        Ok(Some(answer)) => return Reply::json(200, &answer),
        Ok(None) => {}
        Err(reply) => return reply,
    }
    let result = match call.operation {
        "CreateAccessEntry" => create(world, index, &asked),
        "UpdateAccessEntry" => update(world, index, &call.item, &asked),
        "AssociateAccessPolicy" => associate(world, index, &call.item, &asked),
        "DeleteAccessEntry" => delete(world, index, &call.item),
        _ => disassociate(world, index, call),
    };
    match result {
        Ok(answer) => {
            if let (Some(token), Some(cluster)) = (token(&asked), world.clusters.get_mut(index)) {
                cluster
                    .tokens
                    .insert(token, (fingerprint(call, &asked), answer.clone()));
            }
            Reply::json(200, &answer)
        }
        Err(reply) => reply,
    }
}

fn token(asked: &Value) -> Option<String> {
    asked
        .get("clientRequestToken")
        .and_then(Value::as_str)
        .map(str::to_owned)
}

fn fingerprint(call: &Call, asked: &Value) -> String {
    format!("{} {} {asked}", call.operation, call.item)
}

/// The first answer again, where the idempotency token was seen with the same request.
fn repeated(
    world: &World,
    index: usize,
    call: &Call,
    asked: &Value,
) -> Result<Option<Value>, Reply> {
    let seen = token(asked).and_then(|t| world.clusters.get(index)?.tokens.get(&t));
    match seen {
        None => Ok(None),
        Some((request, answer)) if *request == fingerprint(call, asked) => Ok(Some(answer.clone())),
        Some(_) => Err(error(
            400,
            "InvalidRequestException",
            "The client request token was already used with other parameters",
        )),
    }
}

fn groups(asked: &Value) -> Result<Option<Vec<String>>, Reply> {
    let Some(list) = asked.get("kubernetesGroups").filter(|v| !v.is_null()) else {
        return Ok(None);
    };
    let groups = crate::policy::strings(Some(list));
    match groups.iter().find(|g| g.starts_with("system:")) {
        Some(bad) => Err(invalid(&format!(
            "The kubernetes group name {bad} is invalid, it cannot start with system:"
        ))),
        None => Ok(Some(groups)),
    }
}

fn username(asked: &Value) -> Result<Option<String>, Reply> {
    let Some(name) = asked
        .get("username")
        .and_then(Value::as_str)
        .filter(|n| !n.is_empty())
    else {
        return Ok(None);
    };
    if let Some(prefix) = RESERVED.iter().find(|p| name.starts_with(**p)) {
        return Err(invalid(&format!(
            "The username must not begin with {prefix}"
        )));
    }
    if let Some((before, _)) = name
        .split_once("{{SessionName")
        .filter(|(b, _)| !b.contains(':'))
    {
        return Err(invalid(&format!(
            "The username must have a colon before {{{{SessionName}}}}, after {before:?}"
        )));
    }
    Ok(Some(name.to_owned()))
}

fn create(world: &mut World, index: usize, asked: &Value) -> Result<Value, Reply> {
    let arn = asked
        .get("principalArn")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let principal = Principal::parse(arn)
        .filter(|p| {
            ["role", "user"].contains(&p.kind.as_str())
                && p.partition == world.partition
                && p.account.len() == 12
        })
        .ok_or_else(|| invalid("The principalArn parameter format is not valid"))?;
    if principal.path.starts_with("/aws-service-role/") {
        return Err(invalid(
            "The caller is not allowed to modify access entries with a principalArn value of a Service Linked Role",
        ));
    }
    let kind = asked
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or("STANDARD");
    if !TYPES.contains(&kind) {
        return Err(invalid(&format!("The type {kind} is not valid")));
    }
    let (groups, username) = (groups(asked)?, username(asked)?);
    if kind != "STANDARD" {
        if groups.as_ref().is_some_and(|g| !g.is_empty()) || username.is_some() {
            return Err(invalid(
                "This operation can only be performed on Access Entries with a type of \"STANDARD\".",
            ));
        }
        let own = world.clusters.get(index).map(|c| c.account.as_str());
        if principal.kind != "role" || own != Some(principal.account.as_str()) {
            return Err(invalid(&format!(
                "The principalArn of an access entry of type {kind} must be a role in the cluster's account"
            )));
        }
    }
    if !world.exists(&principal) {
        return Err(invalid(
            "The specified principalArn is invalid: invalid principal.",
        ));
    }
    let now = world.now;
    let id = world.id_of(&principal);
    let delay = world.delay;
    let cluster = world.clusters.get_mut(index).ok_or_else(absent)?;
    if cluster.entries.contains_key(arn) {
        return Err(error(
            409,
            "ResourceInUseException",
            "The specified access entry resource is already in use on this cluster.",
        ));
    }
    if cluster.entries.len() >= LIMIT {
        return Err(error(
            400,
            "ResourceLimitExceededException",
            "The maximum number of access entries for this cluster has been reached",
        ));
    }
    let tags = asked
        .get("tags")
        .and_then(|t| serde_json::from_value(t.clone()).ok())
        .unwrap_or_default();
    let made = Entry {
        username: username.unwrap_or_else(|| default_username(&principal, kind)),
        uuid: uuid(&format!("{arn}{now}")),
        principal,
        principal_id: id,
        kind: kind.to_owned(),
        groups: groups.unwrap_or_default(),
        created: now,
        modified: now,
        tags,
        policies: Vec::new(),
    };
    let answer = json!({"accessEntry": entry(cluster, &made)});
    cluster.keep_in_sight(arn, now, delay);
    cluster.entries.insert(arn.to_owned(), made);
    Ok(answer)
}

/// A writable entry and the time. What is not seen yet cannot be written yet.
fn writable<'a>(
    world: &'a mut World,
    index: usize,
    principal: &str,
) -> Result<(&'a mut Entry, i64), Reply> {
    let (now, delay) = (world.now, world.delay);
    let cluster = world.clusters.get_mut(index).ok_or_else(absent)?;
    find(cluster, principal, now)?;
    if !cluster.entries.contains_key(principal) {
        return Err(absent());
    }
    cluster.keep_in_sight(principal, now, delay);
    let entry = cluster.entries.get_mut(principal).ok_or_else(absent)?;
    Ok((entry, now))
}

fn update(world: &mut World, index: usize, principal: &str, asked: &Value) -> Result<Value, Reply> {
    let (groups, username) = (groups(asked)?, username(asked)?);
    let (found, now) = writable(world, index, principal)?;
    if found.kind != "STANDARD" {
        return Err(invalid(
            "This operation can only be performed on Access Entries with a type of \"STANDARD\".",
        ));
    }
    if let Some(groups) = groups {
        found.groups = groups;
    }
    if let Some(username) = username {
        found.username = username;
    }
    found.modified = now;
    let found = found.clone();
    let cluster = world.clusters.get(index).ok_or_else(absent)?;
    Ok(json!({"accessEntry": entry(cluster, &found)}))
}

fn delete(world: &mut World, index: usize, principal: &str) -> Result<Value, Reply> {
    writable(world, index, principal)?;
    let cluster = world.clusters.get_mut(index).ok_or_else(absent)?;
    cluster.entries.remove(principal);
    Ok(json!({}))
}

fn associate(
    world: &mut World,
    index: usize,
    principal: &str,
    asked: &Value,
) -> Result<Value, Reply> {
    let policy = asked
        .get("policyArn")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let prefix = format!("arn:{}:eks::aws:cluster-access-policy/", world.partition);
    let known = policy
        .strip_prefix(&prefix)
        .is_some_and(|name| super::ACCESS_POLICIES.contains(&name));
    if !policy.contains(":cluster-access-policy/") {
        return Err(invalid("The policyArn parameter format is not valid"));
    }
    if !known {
        return Err(invalid(
            "The specified policyArn is invalid: invalid policy.",
        ));
    }
    let given = crate::policy::strings(asked.pointer("/accessScope/namespaces"));
    let namespaces = match asked.pointer("/accessScope/type").and_then(Value::as_str) {
        Some("cluster") if given.is_empty() => None,
        Some("cluster") => {
            return Err(invalid(
                "Namespaces must not be specified for an access scope of type cluster",
            ));
        }
        Some("namespace") if given.is_empty() => {
            return Err(invalid(
                "At least one namespace must be specified for an access scope of type namespace",
            ));
        }
        Some("namespace") => Some(given),
        _ => {
            return Err(invalid(
                "The accessScope type must be one of [cluster, namespace]",
            ));
        }
    };
    let (found, now) = writable(world, index, principal)?;
    if ["EC2_LINUX", "EC2_WINDOWS", "FARGATE_LINUX", "HYBRID_LINUX"].contains(&found.kind.as_str())
    {
        return Err(invalid(
            "This operation can only be performed on Access Entries with a type of \"STANDARD\".",
        ));
    }
    let associated = found
        .policies
        .iter()
        .find(|p| p.policy_arn == policy)
        .map_or(now, |p| p.associated);
    let made = Association {
        policy_arn: policy.clone(),
        namespaces,
        associated,
        modified: now,
    };
    let answer = association(&made);
    found.policies.retain(|p| p.policy_arn != policy);
    found.policies.push(made);
    let name = world.clusters.get(index).map(|c| c.spec.name.clone());
    Ok(json!({"clusterName": name, "principalArn": principal, "associatedAccessPolicy": answer}))
}

fn disassociate(world: &mut World, index: usize, call: &Call) -> Result<Value, Reply> {
    let (found, now) = writable(world, index, &call.item)?;
    let before = found.policies.len();
    found.policies.retain(|p| p.policy_arn != call.policy);
    if found.policies.len() == before {
        return Err(error(
            404,
            "ResourceNotFoundException",
            "The specified policyArn could not be found for this access entry.",
        ));
    }
    found.modified = now;
    Ok(json!({}))
}
