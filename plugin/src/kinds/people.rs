//! IAM users and groups with `identities`: the rows, ids and texts of the AWS
//! connector, so that its file can take their place later.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::walk::{Lazy, world};
use super::{Walk, attribute, embedded, entitlement, id};
use crate::aws::arn::Arn;
use crate::aws::iam::{GroupAnswer, UserAnswer};
use crate::bindings::{Entitlement, Grant, Object};
use crate::evidence::{Certainty, Held, Holders, Path};
use crate::world::World;

pub fn users() -> Box<dyn Walk<Object>> {
    Lazy::boxed(world, |store| {
        let world = store.world.as_deref();
        let rows: Vec<Object> = store.people.users().map(|u| user(world, u)).collect();
        Box::new(rows.into_iter())
    })
}

pub fn groups() -> Box<dyn Walk<Object>> {
    Lazy::boxed(world, |store| {
        let rows: Vec<Object> = store.people.groups().map(group).collect();
        Box::new(rows.into_iter())
    })
}

fn user(world: Option<&World>, user: &UserAnswer) -> Object {
    let tags: Map<String, Value> = user
        .tags
        .member
        .iter()
        .map(|tag| (tag.key.clone(), tag.value.clone().into()))
        .collect();
    let short = object(json!({"aws_arn": user.arn, "aws_user_type": "iam"}));
    let mut whole = short.clone();
    whole.extend(object(json!({
        "aws_path": user.path, "aws_user_id": user.user_id, "aws_tags": tags,
        "create_date": user.create_date,
    })));
    let entry = world.zip(Arn::parse(&user.arn));
    if let Some(entry) = entry.and_then(|(world, arn)| super::entry(world, &arn)) {
        whole.insert("access_entry".into(), entry);
    }
    let mut attributes = embedded(&short);
    attributes.push(attribute("user-status", "enabled"));
    Object {
        id: id("iam_user", user.arn.clone()),
        parent: None,
        display_name: user.user_name.clone(),
        profile: Some(Value::Object(whole).to_string()),
        attributes,
    }
}

fn group(group: &GroupAnswer) -> Object {
    let profile = object(json!({
        "aws_arn": group.arn, "aws_path": group.path, "aws_group_type": "iam",
        "aws_group_name": group.group_name, "aws_group_id": group.group_id,
    }));
    Object {
        id: id("group", group.arn.clone()),
        parent: None,
        display_name: group.group_name.clone(),
        attributes: embedded(&profile),
        profile: Some(Value::Object(profile).to_string()),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

pub fn memberships() -> Box<dyn Walk<Entitlement>> {
    Lazy::boxed(world, |store| {
        let groups: Vec<(String, String)> = store
            .people
            .groups()
            .map(|group| (group.arn.clone(), group.group_name.clone()))
            .collect();
        Box::new(groups.into_iter().map(|(arn, name)| {
            let mut member = entitlement(
                id("group", arn),
                "member".into(),
                format!("{name} Group Member"),
                format!("Is member of the {name} IAM group in AWS"),
                "assignment",
                &["iam_user"],
            );
            member.attributes.push(attribute("immutable", "true"));
            member
        }))
    })
}

pub fn members() -> Box<dyn Walk<Grant>> {
    Lazy::boxed(world, |store| {
        let mut groups: BTreeMap<String, Holders> = BTreeMap::new();
        for (group, user) in store.people.memberships() {
            groups.entry(group).or_default().add(Held {
                kind: "iam_user",
                id: user,
                certainty: Certainty::Certain,
                path: Path {
                    via: "iam-group",
                    ..Path::default()
                },
                // Membership is IAM's, which this connector does not change.
                immutable: true,
            });
        }
        Box::new(
            groups
                .into_iter()
                .flat_map(|(arn, holders)| holders.grants(&id("group", arn), "member")),
        )
    })
}
