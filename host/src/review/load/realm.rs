//! What a file says of itself.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::super::model::Realm;

/// What the evidence says of a sync.
pub(super) fn describe(realm: &mut Realm, mut evidence: Map<String, Value>) {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    realm.ended = text(evidence.get("ended"));
    if let Some(plugin) = evidence.get("plugin") {
        realm.writer = format!(
            "{} {}",
            text(plugin.get("name")),
            text(plugin.get("version"))
        );
    }
    for one in list(evidence.get("unread")) {
        realm.unread.push(format!(
            "{}: {}",
            text(one.get("kind")),
            text(one.get("message"))
        ));
    }
    for one in list(evidence.get("warnings")) {
        realm.warnings.push(text(one.get("message")));
    }
    let Some(Value::Array(found)) = evidence.remove("evidence") else {
        return;
    };
    for piece in &found {
        match text(piece.get("type")).as_str() {
            "cluster" => {
                realm.cluster = text(piece.get("arn"));
                realm.mode = text(piece.get("authentication_mode"));
                realm.account = realm
                    .cluster
                    .split(':')
                    .nth(4)
                    .unwrap_or_default()
                    .to_owned();
                if let Some(name) = realm.cluster.rsplit('/').next().filter(|n| !n.is_empty()) {
                    name.clone_into(&mut realm.name);
                }
            }
            "unread" => {
                let (source, why) = (text(piece.get("source")), text(piece.get("reason")));
                realm.unread.push(format!("{source}: {why}"));
            }
            "not-asked" => {
                let (source, why) = (text(piece.get("source")), text(piece.get("reason")));
                realm.beyond.push(format!("{source}: {why}"));
            }
            "snapshot" => {
                let whole = piece.get("point_in_time").and_then(Value::as_bool) == Some(true);
                realm.consistent = Some(realm.consistent.unwrap_or(true) && whole);
            }
            _ => {}
        }
    }
    realm.evidence = found;
}

/// Clusters of one name get their account and region before it.
pub(super) fn tell_apart(realms: &mut [Realm]) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for realm in realms.iter() {
        *counts.entry(realm.name.clone()).or_default() += 1;
    }
    for realm in realms.iter_mut() {
        if counts.get(&realm.name).is_none_or(|count| *count < 2) {
            continue;
        }
        let mut parts = realm.cluster.split(':').skip(3);
        realm.name = match (parts.next(), parts.next()) {
            (Some(region), Some(account)) => format!("{account}/{region}/{}", realm.name),
            _ => realm.file.clone(),
        };
    }
}
