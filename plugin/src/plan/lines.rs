//! Changes of `aws-auth`: one item is inserted or removed, or one group is put
//! into one item, and every other byte stays.

use serde_json::{Value, json};

use super::wish::{own_group, own_username};
use super::{Stop, Told, View, change, stop};
use crate::aws::arn::{Arn, Kind};
use crate::bindings::Change;
use crate::kubernetes::aws_auth::Line;
use crate::kubernetes::edit::{self, Item};

const MAPS: &str = "/api/v1/namespaces/kube-system/configmaps";

/// The line of `aws-auth` that the authenticator would take for a principal.
pub enum Found<'a> {
    /// There is none.
    None,
    /// This one.
    Line(&'a Line),
    /// Chance decides between several.
    Ambiguous(&'a Line),
}

/// The ARN that the authenticator looks a principal up by.
pub fn canonical(arn: &Arn) -> String {
    match arn.kind {
        Kind::Role => arn.pathless(),
        _ => arn.full(),
    }
}

/// Finds the principal's line.
pub fn find<'a>(view: &View<'a>, arn: &Arn) -> Found<'a> {
    let Some(auth) = &view.reads.auth else {
        return Found::None;
    };
    let wanted = canonical(arn).to_lowercase();
    let mut matching = auth
        .lines
        .iter()
        .filter(|l| l.arn.to_lowercase() == wanted)
        .rev();
    let (mut role, mut user): (Option<&Line>, Option<&Line>) = (None, None);
    let mut several = false;
    for line in matching.by_ref() {
        if line.role_list {
            role = role.or(Some(line));
        } else {
            several |= user.is_some_and(|u: &Line| u.arn != line.arn);
            user = user.or(Some(line));
        }
    }
    match (role, user) {
        (Some(line), _) => Found::Line(line),
        (None, Some(line)) if several => Found::Ambiguous(line),
        (None, Some(line)) => Found::Line(line),
        (None, None) => Found::None,
    }
}

/// Whether a line is of our making: exactly our group and our user name.
pub fn is_ours(line: &Line, arn: &Arn) -> bool {
    line.groups == [own_group(arn)] && line.username == own_username(arn)
}

fn key(role_list: bool) -> &'static str {
    if role_list { "mapRoles" } else { "mapUsers" }
}

fn text<'a>(view: &View<'a>, key: &str) -> &'a str {
    let data = view.reads.map.as_ref().and_then(|map| map.get("data"));
    data.and_then(|d| d.get(key))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Maps the principal by a line of our own.
pub fn append(view: &View<'_>, arn: &Arn) -> Result<Change, Stop> {
    let role_list = arn.kind == Kind::Role;
    let written = canonical(arn);
    let (username, group) = (own_username(arn), own_group(arn));
    let item = Item {
        role_list,
        arn: &written,
        username: &username,
        group: &group,
    };
    let told = |after| Told {
        step: "identity",
        object: format!("aws-auth {}", key(role_list)),
        before: "",
        after,
        summary: format!(
            "add one item to {} of aws-auth for {written}",
            key(role_list)
        ),
    };
    let new =
        edit::append(text(view, key(role_list)), &item).map_err(|why| refused(role_list, &why))?;
    replace(view, role_list, new, told(&item.block("", "\n")))
}

/// Puts the principal's own group into its line.
pub fn add_group(view: &View<'_>, line: &Line, group: &str) -> Result<Change, Stop> {
    let new = edit::add_group(text(view, key(line.role_list)), line.item, group)
        .map_err(|why| refused(line.role_list, &why))?;
    let mut groups = line.groups.clone();
    let before = Value::from(groups.clone()).to_string();
    groups.push(group.to_string());
    let told = Told {
        step: "identity",
        object: format!("aws-auth {}", key(line.role_list)),
        before: &before,
        after: &Value::from(groups).to_string(),
        summary: format!(
            "add group {group} to {} of aws-auth ({})",
            line.place, line.arn
        ),
    };
    replace(view, line.role_list, new, told)
}

/// Removes a line of ours.
pub fn remove(view: &View<'_>, line: &Line) -> Result<Change, Stop> {
    let new = edit::remove(text(view, key(line.role_list)), line.item)
        .map_err(|why| refused(line.role_list, &why))?;
    let before = json!({"arn": line.arn, "username": line.username, "groups": line.groups});
    let told = Told {
        step: "cleanup",
        object: format!("aws-auth {}", key(line.role_list)),
        before: &before.to_string(),
        after: "",
        summary: format!(
            "remove {} of aws-auth ({}), which nothing uses any more",
            line.place, line.arn
        ),
    };
    replace(view, line.role_list, new, told)
}

fn refused(role_list: bool, why: &str) -> Stop {
    stop(
        "conflict",
        format!(
            "{} of aws-auth cannot be changed without touching more than one item: {why}; edit it by hand",
            key(role_list)
        ),
    )
}

fn replace(view: &View<'_>, role_list: bool, text: String, told: Told<'_>) -> Result<Change, Stop> {
    let Some(map) = &view.reads.map else {
        let body = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "aws-auth", "namespace": "kube-system"},
            "data": {key(role_list): text},
        });
        return Ok(change("kubernetes", "POST", MAPS.into(), Some(body), told));
    };
    if map.get("immutable") == Some(&Value::Bool(true)) {
        return Err(stop(
            "conflict",
            "the ConfigMap kube-system/aws-auth is immutable; nothing can be mapped by it",
        ));
    }
    let mut body = map.clone();
    body["apiVersion"] = "v1".into();
    body["kind"] = "ConfigMap".into();
    if let Some(Value::Object(meta)) = body.get_mut("metadata") {
        meta.remove("managedFields");
    }
    if !body.get("data").is_some_and(Value::is_object) {
        body["data"] = json!({});
    }
    body["data"][key(role_list)] = text.into();
    let path = format!("{MAPS}/aws-auth");
    Ok(change("kubernetes", "PUT", path, Some(body), told))
}
