//! IAM roles: who may become one. Roles that are only mentioned (another
//! account's, or gone) get a row too, or their grants would point to nothing.

use serde_json::{Map, Value};

use super::walk::{Lazy, world};
use super::{Walk, attribute, embedded, entitlement, id};
use crate::bindings::{Entitlement, Grant, Object};
use crate::evidence::Holders;
use crate::identity::roles::{Role, Status};
use crate::world::World;

pub fn objects() -> Box<dyn Walk<Object>> {
    Lazy::boxed(world, |store| {
        let Some(world) = store.world.clone() else {
            return Box::new(std::iter::empty());
        };
        let rows: Vec<Object> = world.roles.iter().map(|role| row(&world, role)).collect();
        Box::new(rows.into_iter())
    })
}

fn row(world: &World, role: &Role) -> Object {
    let arn = role.arn.full();
    let mut short = Map::new();
    let mut put = |key: &str, value: Value| short.insert(key.into(), value);
    put("role_name", role.arn.name.clone().into());
    if role.status == Status::Listed {
        put("role_id", role.id.clone().into());
    }
    put("arn", arn.clone().into());
    put("path", role.arn.path.clone().into());
    match role.status {
        Status::Listed => put("create_date", role.created.clone().into()),
        Status::External => put("external", true.into()),
        Status::Missing => put("exists", false.into()),
    };
    let mut attributes = embedded(&short);
    let mut profile = short;
    if let Some(set) = role.arn.permission_set() {
        profile.insert("permission_set".into(), set.into());
        profile.insert(
            "people_behind".into(),
            "not available, Identity Center".into(),
        );
    }
    if let Some(last_used) = &role.last_used {
        let words = if last_used.is_empty() {
            "never"
        } else {
            last_used
        };
        profile.insert("last_used".into(), words.into());
    }
    if !role.tags.is_empty() {
        let tags = role.tags.iter().map(|tag| (&tag.key, &tag.value));
        profile.insert("tags".into(), super::tags(tags));
    }
    if let Some(entry) = super::entry(world, &role.arn) {
        profile.insert("access_entry".into(), entry);
    }
    match &role.trust {
        Ok(trust) => {
            let others = trust.others();
            if !others.is_empty() {
                let shown: Vec<String> = others.iter().take(100).cloned().collect();
                if shown.len() < others.len() {
                    profile.insert("trusted_by_count".into(), others.len().into());
                }
                profile.insert("trusted_by".into(), shown.into());
            }
            if trust.capability() {
                profile.insert("service".into(), "EKS Capabilities".into());
            }
        }
        Err(why) => {
            profile.insert("trust_unreadable".into(), crate::text::cut(why, 300).into());
        }
    }
    if role.arn.path != "/" {
        attributes.push(attribute("alias", role.arn.pathless()));
    }
    Object {
        id: id("role", arn),
        parent: None,
        display_name: role.arn.name.clone(),
        profile: Some(Value::Object(profile).to_string()),
        attributes,
    }
}

pub fn entitlements() -> Box<dyn Walk<Entitlement>> {
    Lazy::boxed(world, |store| {
        let Some(world) = store.world.clone() else {
            return Box::new(std::iter::empty());
        };
        let roles: Vec<(String, String)> = world
            .roles
            .iter()
            .map(|r| (r.arn.full(), r.arn.name.clone()))
            .collect();
        Box::new(roles.into_iter().map(|(arn, name)| {
            let (title, text) = (
                format!("{name} Role"),
                format!("Can assume the {name} role in AWS"),
            );
            entitlement(
                id("role", arn),
                "assignment".into(),
                title,
                text,
                "assignment",
                &["iam_user"],
            )
        }))
    })
}

pub fn grants() -> Box<dyn Walk<Grant>> {
    Lazy::boxed(world, |store| {
        let Some(world) = store.world.clone() else {
            return Box::new(std::iter::empty());
        };
        let roles: Vec<crate::aws::arn::Arn> = world.roles.iter().map(|r| r.arn.clone()).collect();
        Box::new(roles.into_iter().flat_map(move |arn| {
            let mut holders = Holders::default();
            if let Some(role) = world.roles.get(&arn) {
                world.role_holders(role, &mut holders);
            }
            holders.grants(&id("role", arn.full()), "assignment")
        }))
    })
}
