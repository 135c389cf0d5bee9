//! Whose session a session name of Identity Center is.
//!
//! A mapping may put the session name into the name of a Kubernetes user. In a
//! role of Identity Center nobody chooses that name: it is the person's user
//! name. So a grant that needs such sessions expands to these people only, and
//! is certain for them.

use std::collections::{BTreeMap, HashMap, HashSet};

use prost_types::value::Kind;

use super::{Key, Role};
use crate::c1z::annotations::find;
use crate::c1z::{Which, Writer, pb};
use crate::people::external::Source;
use crate::people::{PeopleError, Sessions, Watch, metadata};

/// Grants of roles of Identity Center that need certain sessions, where it is
/// known whose those are. Others expand to everybody behind the role, and say
/// that a session is needed.
pub(super) fn people(
    writer: &Writer,
    source: &Source,
    roles: &BTreeMap<Key, Vec<Role>>,
    watch: &Watch<'_>,
) -> Result<Sessions, PeopleError> {
    let arns: HashSet<&str> = roles
        .values()
        .flatten()
        .map(|role| role.arn.as_str())
        .collect();
    let mut needed: HashMap<i64, Vec<String>> = HashMap::new();
    let mut names: HashMap<String, Vec<String>> = HashMap::new();
    let mut after = 0;
    loop {
        let chunk = writer.grants_after(after, Which::Expandable)?;
        let Some(last) = chunk.last() else { break };
        after = last.row;
        for stored in &chunk {
            if stored.principal_type == "role"
                && arns.contains(stored.principal.as_str())
                && let Some(sessions) = needs(&stored.message()?)
            {
                for session in &sessions {
                    names.entry(session.clone()).or_default();
                }
                needed.insert(stored.row, sessions);
            }
        }
        watch.stop()?;
    }
    if needed.is_empty() {
        return Ok(Sessions::new());
    }
    for resource in source.reader.resources(&source.view) {
        watch.stop()?;
        let resource = resource?;
        let Some(id) = resource.id.filter(|id| id.resource_type == "sso_user") else {
            continue;
        };
        let held: Option<pb::UserTrait> = find(&resource.annotations);
        let login = held
            .map(|user| user.login)
            .filter(|login| !login.is_empty())
            .unwrap_or(resource.display_name);
        // In a template `@` becomes `-`, unless it asks for the raw name.
        let plain = login.replace('@', "-");
        if let Some(people) = names.get_mut(&login) {
            people.push(id.resource.clone());
        }
        if plain != login
            && let Some(people) = names.get_mut(&plain)
        {
            people.push(id.resource);
        }
    }
    let whose = |sessions: Vec<String>| -> Option<Vec<String>> {
        let mut people = Vec::new();
        for session in sessions {
            let found = names.get(&session)?;
            if found.is_empty() {
                return None;
            }
            people.extend(found.iter().cloned());
        }
        Some(people)
    };
    Ok(needed
        .into_iter()
        .filter_map(|(row, sessions)| Some((row, whose(sessions)?)))
        .collect())
}

/// The sessions that a grant needs, if it needs one on each of its ways and
/// says so of all of them.
fn needs(grant: &pb::Grant) -> Option<Vec<String>> {
    if metadata::text(grant, "certainty").as_deref() != Some("session") {
        return None;
    }
    let found: pb::GrantMetadata = find(&grant.annotations)?;
    let mut facts = found.metadata?.fields;
    let Kind::ListValue(paths) = facts.remove("paths")?.kind? else {
        return None;
    };
    if let Some(Kind::NumberValue(count)) = facts.remove("path_count").and_then(|all| all.kind) {
        #[expect(clippy::cast_precision_loss, reason = "at most 20")]
        let told = paths.values.len() as f64;
        if count > told {
            return None;
        }
    }
    paths
        .values
        .into_iter()
        .map(|path| match path.kind? {
            Kind::StructValue(mut path) => match path.fields.remove("session")?.kind? {
                Kind::StringValue(session) if !session.is_empty() => Some(session),
                _ => None,
            },
            _ => None,
        })
        .collect::<Option<Vec<_>>>()
        .filter(|sessions| !sessions.is_empty())
}
