//! Gives grants that name somebody of another system to the row that came over.
//!
//! A grant that finds its principal is written anew for it: same entitlement,
//! sources and annotations, the principal's ids. Its expansion is carried over
//! where the new principal has the same entitlements. A grant that finds
//! nobody stays and says so.

use super::principals::{Id, Principals};
use super::{Imported, find};
use crate::c1z::annotations::pack;
use crate::c1z::{Error, StoredGrant, Which, Writer, pb};
use crate::people::{PeopleError, Watch, metadata};

/// Whom a grant looks for, and whether its expansion goes with it.
fn matches(
    grant: &pb::Grant,
    placeholder: &str,
    principals: &Principals,
) -> Result<Option<(Vec<Id>, bool)>, Error> {
    if let Some(all) = find::<pb::ExternalResourceMatchAll>(&grant.annotations) {
        return Ok(Some((principals.all(all.resource_type())?, false)));
    }
    let mut found = Vec::new();
    let mut expands = false;
    let by_id: Option<pb::ExternalResourceMatchId> = find(&grant.annotations);
    let by_fact: Option<pb::ExternalResourceMatch> = find(&grant.annotations);
    if by_id.is_none() && by_fact.is_none() {
        return Ok(None);
    }
    if let Some(by_id) = by_id {
        found.extend(principals.by_id(&by_id.id, placeholder)?);
        expands = true;
    }
    if let Some(by_fact) = by_fact {
        let held = by_fact.resource_type();
        expands |= held == pb::resource_type::Trait::Group;
        for id in principals.by_fact(held, &by_fact.key, &by_fact.value)? {
            if !found.contains(&id) {
                found.push(id);
            }
        }
    }
    Ok(Some((found, expands)))
}

pub(super) fn run(
    writer: &mut Writer,
    principals: &Principals,
    imported: &mut Imported,
    watch: &mut Watch<'_>,
) -> Result<(), PeopleError> {
    let tally = writer.tally();
    if tally.by_id + tally.by_fact == 0 {
        return Ok(());
    }
    // What is written anew comes after this row.
    let last = writer.last_grant()?;
    let mut after = 0;
    loop {
        let chunk = writer.grants_after(after, Which::All)?;
        for stored in &chunk {
            if stored.row > last {
                return Ok(());
            }
            let grant = stored.message()?;
            if let Some((found, expands)) = matches(&grant, &stored.principal_type, principals)? {
                rewrite(writer, stored, grant, &found, expands, imported, watch)?;
            }
        }
        watch.stop()?;
        let Some(end) = chunk.last() else {
            return Ok(());
        };
        after = end.row;
    }
}

fn rewrite(
    writer: &mut Writer,
    stored: &StoredGrant,
    mut grant: pb::Grant,
    found: &[Id],
    expands: bool,
    imported: &mut Imported,
    watch: &mut Watch<'_>,
) -> Result<(), PeopleError> {
    if found.is_empty() {
        metadata::set(&mut grant, "external_match", "none");
        writer.replace_grant(stored.row, &grant)?;
        imported.unmatched += 1;
        watch.warn(
            "external-unmatched",
            "grants are to accounts that the external file does not know; they are kept",
            Some(&format!("{}:{}", stored.principal_type, stored.principal)),
        );
        return Ok(());
    }
    imported.matched += 1;
    let mut stays = false;
    for id in found {
        let mut new = grant.clone();
        new.id = format!("{}:{}:{}", stored.entitlement, id.kind, id.id);
        new.principal = Some(copy(writer, id)?);
        let expansion = if expands {
            remapped(writer, stored, id)?
        } else {
            None
        };
        if new.id == grant.id {
            stays = true;
            writer.replace_grant_and_expansion(stored.row, &new, expansion.as_ref())?;
        } else if !writer.has_grant(&new.id)? {
            new.annotations.extend(expansion.as_ref().map(pack));
            writer.put_grant(new)?;
        }
    }
    if !stays {
        writer.remove_grant(stored.row, &grant.id)?;
    }
    Ok(())
}

/// A principal as grants carry it: without its profile.
fn copy(writer: &Writer, id: &Id) -> Result<pb::Resource, Error> {
    let row = writer.resource(&id.kind, &id.id)?.unwrap_or_default();
    let is_import = find::<pb::BatonId>(&row.annotations);
    Ok(pb::Resource {
        id: Some(pb::ResourceId {
            resource_type: id.kind.clone(),
            resource: id.id.clone(),
            ..Default::default()
        }),
        parent_resource_id: row.parent_resource_id,
        display_name: row.display_name,
        annotations: is_import.as_ref().map(pack).into_iter().collect(),
        ..Default::default()
    })
}

/// An expansion through entitlements of the placeholder, as one through the
/// same entitlements of the principal that was found; only those that it has.
fn remapped(
    writer: &Writer,
    stored: &StoredGrant,
    id: &Id,
) -> Result<Option<pb::GrantExpandable>, Error> {
    let Some(expansion) = &stored.expansion else {
        return Ok(None);
    };
    let placeholder = format!("{}:{}:", stored.principal_type, stored.principal);
    let mut remapped = pb::GrantExpandable {
        entitlement_ids: Vec::new(),
        ..expansion.clone()
    };
    for entitlement in &expansion.entitlement_ids {
        let Some(slug) = entitlement.strip_prefix(&placeholder) else {
            continue;
        };
        let new = format!("{}:{}:{slug}", id.kind, id.id);
        if let Some(row) = writer.entitlement_row(&new)?
            && writer.entitlement_is_on(row, &id.kind, &id.id)?
        {
            remapped.entitlement_ids.push(new);
        }
    }
    Ok((!remapped.entitlement_ids.is_empty()).then_some(remapped))
}
