//! The people behind roles of IAM Identity Center.
//!
//! Identity Center makes a role `AWSReservedSSO_<permission set>_<16 hex digits>`
//! in each account to which a permission set is assigned. Who may become one
//! stands in no trust policy but in the assignments, which the AWS connector
//! lists: as entitlements `<account>|<permission set ARN>` of the account
//! (slug `<name> access`), and in newer files as `permission_set_assignment`
//! `<permission set ARN>-<account>`. Joined by account and name, which is
//! unique among an instance's permission sets.

mod sessions;

use std::collections::{BTreeMap, HashMap};

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};

use super::external::{Imported, Source};
use super::{PeopleError, Sessions, Watch, is_inherited, metadata};
use crate::c1z::annotations::{find, is, pack};
use crate::c1z::{Error, Writer, pb};

/// What the connector writes into a role's profile.
const PEOPLE: &str = "people_behind";

/// Account and permission set of a role.
type Key = (String, String);

/// A role of Identity Center that the connector listed.
struct Role {
    row: i64,
    arn: String,
    assignments: u64,
}

/// Gives the assignments of the other file to the roles of this sync.
pub(super) fn run(
    writer: &mut Writer,
    source: &Source,
    imported: &mut Imported,
    watch: &mut Watch<'_>,
) -> Result<Sessions, PeopleError> {
    let mut roles = roles(writer)?;
    if roles.is_empty() {
        return Ok(Sessions::new());
    }
    let (wanted, has_assignments) = assignments(source, &roles, watch)?;
    for row in source.reader.grants(&source.view) {
        watch.stop()?;
        let grant = row?.grant;
        let Some(entitlement) = &grant.entitlement else {
            continue;
        };
        let Some(key) = wanted.get(&entitlement.id) else {
            continue;
        };
        // Members of an assigned group come through the group.
        if is_inherited(&grant) {
            continue;
        }
        let Some(principal) = grant.principal.as_ref().and_then(|whom| whom.id.as_ref()) else {
            continue;
        };
        if !matches!(principal.resource_type.as_str(), "sso_user" | "sso_group") {
            continue;
        }
        for role in roles.get_mut(key).into_iter().flatten() {
            if assign(writer, role, &key.1, principal)? {
                role.assignments += 1;
                imported.assignments += 1;
            }
        }
    }
    if !has_assignments {
        return Ok(Sessions::new());
    }
    for role in roles.values().flatten() {
        describe(writer, role)?;
    }
    sessions::people(writer, source, &roles, watch)
}

/// The roles of Identity Center in this sync.
fn roles(writer: &Writer) -> Result<BTreeMap<Key, Vec<Role>>, Error> {
    let mut roles: BTreeMap<Key, Vec<Role>> = BTreeMap::new();
    let mut after = 0;
    loop {
        let chunk = writer.resources_after("role", after)?;
        let Some((last, _)) = chunk.last() else {
            return Ok(roles);
        };
        after = *last;
        for (row, resource) in chunk {
            let arn = resource.id.map(|id| id.resource).unwrap_or_default();
            if let Some((account, set)) = permission_set(&arn) {
                let key = (account.to_owned(), set.to_owned());
                let assignments = 0;
                let role = Role {
                    row,
                    arn,
                    assignments,
                };
                roles.entry(key).or_default().push(role);
            }
        }
    }
}

/// Account and permission set of a role's ARN. The set's name may contain `_`.
fn permission_set(arn: &str) -> Option<(&str, &str)> {
    let mut parts = arn.splitn(6, ':');
    if parts.next()? != "arn" {
        return None;
    }
    parts.next()?;
    if parts.next()? != "iam" {
        return None;
    }
    parts.next()?;
    let account = parts.next()?;
    let path = parts
        .next()?
        .strip_prefix("role/aws-reserved/sso.amazonaws.com/")?;
    let (set, suffix) = path
        .rsplit('/')
        .next()?
        .strip_prefix("AWSReservedSSO_")?
        .rsplit_once('_')?;
    let hex = suffix.len() == 16 && suffix.bytes().all(|b| b.is_ascii_hexdigit());
    (hex && !set.is_empty()).then_some((account, set))
}

/// The entitlements of the other file that assign one of the roles, and
/// whether it has any that assign roles at all.
fn assignments(
    source: &Source,
    roles: &BTreeMap<Key, Vec<Role>>,
    watch: &Watch<'_>,
) -> Result<(HashMap<String, Key>, bool), PeopleError> {
    let mut names = HashMap::new();
    for resource in source.reader.resources(&source.view) {
        watch.stop()?;
        let resource = resource?;
        if let Some(id) = resource.id
            && id.resource_type == "permission_set"
        {
            names.insert(id.resource, resource.display_name);
        }
    }
    let mut wanted = HashMap::new();
    let mut any = false;
    for entitlement in source.reader.entitlements(&source.view) {
        watch.stop()?;
        let entitlement = entitlement?;
        let Some(key) = assigns(&entitlement, &names) else {
            continue;
        };
        any = true;
        if roles.contains_key(&key) {
            wanted.insert(entitlement.id, key);
        }
    }
    Ok((wanted, any))
}

/// Account and permission set that an entitlement of the AWS connector is for.
fn assigns(entitlement: &pb::Entitlement, names: &HashMap<String, String>) -> Option<Key> {
    let on = entitlement.resource.as_ref()?;
    let id = on.id.as_ref()?;
    match id.resource_type.as_str() {
        "account" => {
            let (account, set) = entitlement.id.split_once('|')?;
            if account != id.resource || !set.contains(":permissionSet/") {
                return None;
            }
            let name = entitlement
                .slug
                .strip_suffix(" access")
                .or_else(|| entitlement.display_name.strip_suffix(" Permission Set"))?;
            Some((account.to_owned(), name.to_owned()))
        }
        "permission_set_assignment" => {
            let (set, account) = id.resource.rsplit_once('-')?;
            let name = match names.get(set) {
                Some(name) => name.as_str(),
                None => on.display_name.strip_suffix(&format!(" on {account}"))?,
            };
            Some((account.to_owned(), name.to_owned()))
        }
        _ => None,
    }
}

/// Writes one assignment. `false`: it is there already, or the role's
/// entitlements were not listed.
fn assign(
    writer: &mut Writer,
    role: &Role,
    set: &str,
    principal: &pb::ResourceId,
) -> Result<bool, Error> {
    let (kind, id) = (&principal.resource_type, &principal.resource);
    let entitlement = format!("role:{}:assignment", role.arn);
    let grant = format!("{entitlement}:{kind}:{id}");
    let Some(row) = writer.entitlement_row(&entitlement)? else {
        return Ok(false);
    };
    if writer.has_grant(&grant)? {
        return Ok(false);
    }
    let resource = writer.entitlement_at(row)?.resource;
    let known = writer.resource(kind, id)?;
    let mut annotations = Vec::new();
    if kind == "sso_group" {
        let members = format!("{kind}:{id}:member");
        if writer.entitlement_row(&members)?.is_some() {
            annotations.push(pack(&pb::GrantExpandable {
                entitlement_ids: vec![members],
                ..Default::default()
            }));
        }
    }
    annotations.push(pack(&evidence(set)));
    annotations.push(pack(&pb::GrantImmutable::default()));
    let mut message = pb::Grant {
        id: grant,
        entitlement: Some(pb::Entitlement {
            id: entitlement,
            resource,
            ..Default::default()
        }),
        principal: Some(pb::Resource {
            id: Some(principal.clone()),
            display_name: known
                .as_ref()
                .map(|row| row.display_name.clone())
                .unwrap_or_default(),
            ..Default::default()
        }),
        annotations,
        ..Default::default()
    };
    if known.is_none() {
        metadata::set(&mut message, "external_match", "none");
    }
    writer.put_grant(message)?;
    Ok(true)
}

fn text(text: &str) -> Value {
    Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    }
}

fn object(members: &[(&str, Value)]) -> Struct {
    Struct {
        fields: members
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
    }
}

fn evidence(set: &str) -> pb::GrantMetadata {
    let path = object(&[
        ("via", text("identity-center")),
        ("mapping", text(&format!("permission set {set}"))),
    ]);
    let paths = ListValue {
        values: vec![Value {
            kind: Some(Kind::StructValue(path)),
        }],
    };
    pb::GrantMetadata {
        metadata: Some(object(&[
            ("certainty", text("certain")),
            (
                "path_count",
                Value {
                    kind: Some(Kind::NumberValue(1.0)),
                },
            ),
            (
                "paths",
                Value {
                    kind: Some(Kind::ListValue(paths)),
                },
            ),
        ])),
    }
}

/// Says in a role's row that its people are known now.
fn describe(writer: &mut Writer, role: &Role) -> Result<(), Error> {
    let Some(mut resource) = writer.resource("role", &role.arn)? else {
        return Ok(());
    };
    let said = match role.assignments {
        0 => "nobody, by the assignments of Identity Center".to_owned(),
        1 => "1 assignment of Identity Center".to_owned(),
        many => format!("{many} assignments of Identity Center"),
    };
    for annotation in &mut resource.annotations {
        if is::<pb::RoleTrait>(annotation)
            && let Some(mut held) = find::<pb::RoleTrait>(std::slice::from_ref(annotation))
        {
            let profile = held.profile.get_or_insert_default();
            profile.fields.insert(PEOPLE.to_owned(), text(&said));
            *annotation = pack(&held);
        }
    }
    writer.replace_resource(role.row, &resource)
}

#[cfg(test)]
mod tests {
    use super::permission_set;

    #[test]
    fn permission_sets_are_read_from_arns() {
        let arn = |name: &str| {
            format!(
                "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/{name}"
            )
        };
        assert_eq!(
            permission_set(&arn("AWSReservedSSO_Power_User_0123456789abcdef")),
            Some(("111122223333", "Power_User"))
        );
        for name in ["AWSReservedSSO_x", "AWSReservedSSO__0123456789abcdef", "x"] {
            assert_eq!(permission_set(&arn(name)), None, "{name}");
        }
        // Anybody can name a role so; only AWS can give it that path.
        assert_eq!(
            permission_set("arn:aws:iam::1:role/AWSReservedSSO_x_0123456789abcdef"),
            None
        );
    }
}
