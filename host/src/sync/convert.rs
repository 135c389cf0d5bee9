//! What the contract says, as messages of the access file.
//!
//! Only annotations that SDK v0.7.27 knows: one that it does not makes
//! `baton -o json` fail on the whole list.

use std::collections::HashMap;

use prost_types::Struct;
use serde_json::{Map, Value};

use super::page::shown;
use crate::c1z::annotations::{pack, profile};
use crate::c1z::pb;
use crate::c1z::pb::entitlement::PurposeValue;
use crate::c1z::pb::resource_type::Trait;
use crate::c1z::pb::user_trait::{AccountType, status};
use crate::sandbox::contract::types::{
    Attributes, Descriptor, Entitlement, Grant, KindSpec, Object, ObjectId, Setting,
};

/// A kind of the descriptor, ready for use.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    pub(super) name: String,
    pub(super) listed: bool,
    /// The setting and its value with which the kind is listed after all.
    listed_when: Option<(String, String)>,
    pub(super) optional: bool,
    pub(super) resource_type: pb::ResourceType,
}

/// All kinds of a descriptor by name, and their order.
#[derive(Debug)]
pub(super) struct Kinds {
    pub(super) all: Vec<Kind>,
    positions: HashMap<String, usize>,
}

impl Kinds {
    pub(super) fn new(descriptor: &Descriptor) -> Result<Self, String> {
        let all = descriptor
            .kinds
            .iter()
            .map(kind)
            .collect::<Result<Vec<_>, _>>()?;
        let mut positions = HashMap::new();
        for (position, kind) in all.iter().enumerate() {
            if positions.insert(kind.name.clone(), position).is_some() {
                return Err(format!("it declares the kind {} twice", shown(&kind.name)));
            }
        }
        Ok(Self { all, positions })
    }

    /// Some kinds are listed only with a setting.
    pub(super) fn set(&mut self, settings: &[Setting]) {
        for kind in &mut self.all {
            if let Some((name, value)) = &kind.listed_when {
                kind.listed |= settings
                    .iter()
                    .any(|setting| setting.name == *name && setting.value == *value);
            }
        }
    }

    fn get(&self, name: &str) -> Result<&Kind, String> {
        self.positions
            .get(name)
            .and_then(|position| self.all.get(*position))
            .ok_or_else(|| format!("it does not declare the kind {}", shown(name)))
    }
}

fn kind(spec: &KindSpec) -> Result<Kind, String> {
    if spec.name.is_empty() {
        return Err("a kind without a name".to_owned());
    }
    let mut traits = Vec::with_capacity(spec.traits.len());
    for name in &spec.traits {
        traits.push(i32::from(match name.as_str() {
            "user" => Trait::User,
            "group" => Trait::Group,
            "role" => Trait::Role,
            "app" => Trait::App,
            "secret" => Trait::Secret,
            _ => {
                return Err(format!(
                    "the kind {} has the unknown trait {}",
                    shown(&spec.name),
                    shown(name)
                ));
            }
        }));
    }
    let display_name = first(&spec.attributes, "display-name").unwrap_or(&spec.name);
    Ok(Kind {
        name: spec.name.clone(),
        listed: first(&spec.attributes, "listed") != Some("false"),
        listed_when: first(&spec.attributes, "listed-when")
            .map(|when| match when.split_once('=') {
                Some((setting, value)) => Ok((setting.to_owned(), value.to_owned())),
                None => Err(format!(
                    "the kind {} is listed when {}, which is no SETTING=VALUE",
                    shown(&spec.name),
                    shown(when)
                )),
            })
            .transpose()?,
        optional: is_true(&spec.attributes, "optional"),
        resource_type: pb::ResourceType {
            id: spec.name.clone(),
            display_name: display_name.to_owned(),
            traits,
            description: first(&spec.attributes, "description")
                .unwrap_or_default()
                .to_owned(),
            ..Default::default()
        },
    })
}

/// An object as the row it becomes, and as the short copy that entitlements
/// and grants carry.
pub(super) struct Resource {
    pub(super) row: pb::Resource,
    pub(super) copy: pb::Resource,
}

pub(super) fn resource(object: &Object, kinds: &Kinds) -> Result<Resource, String> {
    let kind = kinds.get(&object.id.kind)?;
    let mut annotations = Vec::new();
    for child in every(&object.attributes, "child-kind") {
        kinds.get(child)?;
        annotations.push(pack(&pb::ChildResourceType {
            resource_type_id: child.to_owned(),
        }));
    }
    let aliases: Vec<String> = every(&object.attributes, "alias")
        .map(str::to_owned)
        .collect();
    if !aliases.is_empty() {
        annotations.push(pack(&pb::Aliases { ids: aliases }));
    }
    let whole = object
        .profile
        .as_deref()
        .map(|text| parse("a profile", text))
        .transpose()?;
    annotations.extend(traits(kind, whole.as_ref(), &object.attributes)?);
    let short = first(&object.attributes, "embedded-profile")
        .map(|text| parse("embedded-profile", text))
        .transpose()?;
    let row = pb::Resource {
        id: Some(resource_id(&object.id)),
        parent_resource_id: object.parent.as_ref().map(resource_id),
        display_name: object.display_name.clone(),
        annotations,
        description: first(&object.attributes, "description")
            .unwrap_or_default()
            .to_owned(),
        external_id: first(&object.attributes, "external-id").map(|id| pb::ExternalId {
            id: id.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let copy = pb::Resource {
        id: row.id.clone(),
        parent_resource_id: row.parent_resource_id.clone(),
        display_name: row.display_name.clone(),
        annotations: match &short {
            Some(short) => traits(kind, Some(short), &object.attributes)?,
            None => Vec::new(),
        },
        ..Default::default()
    };
    Ok(Resource { row, copy })
}

/// The trait messages that readers expect for the traits of a kind.
fn traits(
    kind: &Kind,
    facts: Option<&Map<String, Value>>,
    attributes: &Attributes,
) -> Result<Vec<prost_types::Any>, String> {
    let facts: Option<Struct> = facts.map(profile);
    let mut messages = Vec::new();
    for held in kind.resource_type.traits() {
        messages.push(match held {
            Trait::User => pack(&user(facts.clone(), attributes)?),
            Trait::Group => pack(&pb::GroupTrait {
                profile: facts.clone(),
                ..Default::default()
            }),
            Trait::Role => pack(&pb::RoleTrait {
                profile: facts.clone(),
                ..Default::default()
            }),
            Trait::App => pack(&pb::AppTrait {
                profile: facts.clone(),
                ..Default::default()
            }),
            Trait::Secret => pack(&pb::SecretTrait {
                profile: facts.clone(),
                ..Default::default()
            }),
            _ => continue,
        });
    }
    Ok(messages)
}

/// Enabled and human where the connector says nothing, as the SDK's builders do.
fn user(facts: Option<Struct>, attributes: &Attributes) -> Result<pb::UserTrait, String> {
    let status = match first(attributes, "user-status") {
        None | Some("enabled") => status::Status::Enabled,
        Some("disabled") => status::Status::Disabled,
        Some("deleted") => status::Status::Deleted,
        Some(other) => return Err(format!("the unknown user-status {}", shown(other))),
    };
    let account_type = match first(attributes, "account-type") {
        None | Some("human") => AccountType::Human,
        Some("service") => AccountType::Service,
        Some("system") => AccountType::System,
        Some(other) => return Err(format!("the unknown account-type {}", shown(other))),
    };
    Ok(pb::UserTrait {
        status: Some(pb::user_trait::Status {
            status: status.into(),
            details: String::new(),
        }),
        profile: facts,
        account_type: account_type.into(),
        ..Default::default()
    })
}

/// An entitlement's id. Nobody splits it again.
pub(super) fn entitlement_id(on: &ObjectId, slug: &str) -> String {
    format!("{}:{}:{slug}", on.kind, on.id)
}

pub(super) fn entitlement(
    entitlement: Entitlement,
    on: pb::Resource,
    kinds: &Kinds,
) -> Result<pb::Entitlement, String> {
    if entitlement.slug.is_empty() {
        return Err("an entitlement without a slug".to_owned());
    }
    let purpose = match entitlement.purpose.as_str() {
        "assignment" => PurposeValue::Assignment,
        "permission" => PurposeValue::Permission,
        "ownership" => PurposeValue::Ownership,
        other => return Err(format!("the unknown purpose {}", shown(other))),
    };
    let grantable_to = entitlement
        .grantable_to
        .iter()
        .map(|name| kinds.get(name).map(|kind| kind.resource_type.clone()))
        .collect::<Result<_, _>>()?;
    let mut annotations = Vec::new();
    if is_true(&entitlement.attributes, "immutable") {
        annotations.push(pack(&pb::EntitlementImmutable::default()));
    }
    Ok(pb::Entitlement {
        id: entitlement_id(&entitlement.on, &entitlement.slug),
        resource: Some(on),
        display_name: entitlement.display_name,
        description: first(&entitlement.attributes, "description")
            .unwrap_or_default()
            .to_owned(),
        grantable_to,
        annotations,
        purpose: purpose.into(),
        slug: entitlement.slug,
    })
}

/// A grant's message, and the expansions that were left out because they are
/// not entitlements on its principal: other engines fail the whole sync on one.
pub(super) fn grant(grant: &Grant, on: pb::Resource) -> Result<(pb::Grant, Vec<String>), String> {
    let entitlement_id = entitlement_id(&grant.on, &grant.slug);
    let id = format!(
        "{entitlement_id}:{}:{}",
        grant.principal.kind, grant.principal.id
    );
    let own = format!("{}:{}:", grant.principal.kind, grant.principal.id);
    let (expandable, foreign): (Vec<String>, Vec<String>) = every(&grant.attributes, "expandable")
        .map(str::to_owned)
        .partition(|source| source.starts_with(&own));

    let mut annotations = Vec::new();
    if !expandable.is_empty() {
        annotations.push(pack(&pb::GrantExpandable {
            entitlement_ids: expandable,
            ..Default::default()
        }));
    }
    if let Some(id) = first(&grant.attributes, "external-match-id") {
        annotations.push(pack(&pb::ExternalResourceMatchId { id: id.to_owned() }));
    }
    if let Some(held) = first(&grant.attributes, "external-match-all") {
        annotations.push(pack(&pb::ExternalResourceMatchAll {
            resource_type: person(held)?.into(),
        }));
    }
    if let Some(text) = first(&grant.attributes, "external-match") {
        let wish = parse("external-match", text)?;
        let member = |key: &str| {
            wish.get(key)
                .and_then(Value::as_str)
                .ok_or_else(|| format!("an external-match without {key}"))
        };
        annotations.push(pack(&pb::ExternalResourceMatch {
            resource_type: person(member("trait")?)?.into(),
            key: member("key")?.to_owned(),
            value: member("value")?.to_owned(),
        }));
    }
    if let Some(text) = first(&grant.attributes, "metadata") {
        annotations.push(pack(&pb::GrantMetadata {
            metadata: Some(profile(&parse("metadata", text)?)),
        }));
    }
    if is_true(&grant.attributes, "immutable") {
        annotations.push(pack(&pb::GrantImmutable::default()));
    }
    let message = pb::Grant {
        entitlement: Some(pb::Entitlement {
            id: entitlement_id,
            resource: Some(on),
            ..Default::default()
        }),
        principal: Some(pb::Resource {
            id: Some(resource_id(&grant.principal)),
            ..Default::default()
        }),
        id,
        annotations,
        ..Default::default()
    };
    Ok((message, foreign))
}

/// A trait of principals that another connector's file brings.
fn person(held: &str) -> Result<Trait, String> {
    match held {
        "user" => Ok(Trait::User),
        "group" => Ok(Trait::Group),
        other => Err(format!("an external match with the trait {}", shown(other))),
    }
}

fn resource_id(id: &ObjectId) -> pb::ResourceId {
    pb::ResourceId {
        resource_type: id.kind.clone(),
        resource: id.id.clone(),
        ..Default::default()
    }
}

/// A JSON object of the connector's.
pub(super) fn parse(what: &str, text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("{what} is not a JSON object: {error}"))
}

/// The first value of a key.
pub(super) fn first<'a>(attributes: &'a Attributes, key: &str) -> Option<&'a str> {
    attributes
        .iter()
        .find(|(name, _)| name == key)
        .map(|(_, value)| value.as_str())
}

/// Every value of a key, in order.
pub(super) fn every<'a>(attributes: &'a Attributes, key: &'a str) -> impl Iterator<Item = &'a str> {
    attributes
        .iter()
        .filter(move |(name, _)| name == key)
        .map(|(_, value)| value.as_str())
}

fn is_true(attributes: &Attributes, key: &str) -> bool {
    first(attributes, key) == Some("true")
}
