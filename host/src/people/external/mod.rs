//! Accounts and groups of another connector's access file: `--external-resource-c1z`.
//!
//! Types with the traits user and group come over with their resources, their
//! entitlements and who holds those; nothing else does. Then grants that name
//! somebody of the other system are given to the row that came over (`matching`).
//! A grant that finds nobody stays as it is and says so: people whom the other
//! file does not know still have their access.
//!
//! The other file is read from the first row to the last, once for each of its
//! tables; what must be looked up again is in a database of its own.

mod known;
mod matching;
mod principals;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use self::principals::Principals;
use super::{PeopleError, Watch};
use crate::c1z::annotations::{find, is, pack};
use crate::c1z::pb::resource_type::Trait;
use crate::c1z::{Error, FileOptions, Put, Reader, View, Writer, pb};

/// Another connector's file and what of it is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// The file.
    pub file: PathBuf,
    /// The id of an entitlement in it: only who holds that is taken.
    pub filter: Option<String>,
}

/// What came over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Accounts and groups.
    pub resources: u64,
    /// Their entitlements.
    pub entitlements: u64,
    /// Who holds those.
    pub grants: u64,
    /// Grants of ours that found their principal.
    pub matched: u64,
    /// Grants of ours whose principal the other file does not know.
    pub unmatched: u64,
    /// Assignments of roles of Identity Center.
    pub assignments: u64,
}

/// The other file, open.
pub(super) struct Source {
    pub(super) reader: Reader,
    pub(super) view: View,
}

impl Source {
    /// Opens the file. Unlike an access file that is written, it must be there.
    pub(super) fn open(
        external: &External,
        own: &Path,
        options: &FileOptions,
        watch: &mut Watch<'_>,
    ) -> Result<Self, PeopleError> {
        let wrong = |reason: &str| PeopleError::External {
            path: external.file.clone(),
            reason: reason.to_owned(),
        };
        let path = external
            .file
            .canonicalize()
            .map_err(|error| wrong(&error.to_string()))?;
        if own.canonicalize().is_ok_and(|own| own == path) {
            return Err(wrong("it is the file that this sync writes"));
        }
        let reader = Reader::open(&path, options)?;
        let syncs = reader.syncs()?;
        if syncs.is_empty() {
            return Err(wrong("it holds no sync; run the other connector first"));
        }
        let view = reader.latest()?;
        let finished = |id: &str| {
            syncs
                .iter()
                .any(|sync| sync.sync_id == id && sync.ended_at.is_some())
        };
        if !matches!(&view, View::Sync(id) if finished(id)) {
            watch.warn(
                "external-unfinished",
                "the external file holds no finished full sync; people may be missing",
                None,
            );
        }
        Ok(Self { reader, view })
    }
}

/// Imports accounts and groups and matches grants with them.
pub(super) fn import(
    writer: &mut Writer,
    source: &Source,
    external: &External,
    watch: &mut Watch<'_>,
) -> Result<Imported, PeopleError> {
    let mut principals = Principals::new(&writer.work_folder().join("external.db"))?;
    let mut imported = Imported::default();
    let types = types(source)?;
    match &external.filter {
        None => {}
        Some(filter) => holders(source, external, filter, &mut principals)?,
    }
    for kind in types.values() {
        if external.filter.is_none() || principals.has_kind(&kind.message.id)? {
            writer.put_resource_type(&kind.message)?;
        }
    }
    for resource in source.reader.resources(&source.view) {
        watch.stop()?;
        let mut resource = resource?;
        let Some(id) = resource.id.clone() else {
            continue;
        };
        let chosen = match &external.filter {
            None => types.contains_key(&id.resource_type),
            Some(_) => principals.is_wanted(&id)?,
        };
        if !chosen {
            continue;
        }
        known::resource(&mut resource);
        let skips = has::<pb::SkipEntitlementsAndGrants>(&resource.annotations)
            || types.get(&id.resource_type).is_some_and(|kind| kind.skips);
        principals.add(&id, &resource, skips, writer.tally().by_fact > 0)?;
        update(&mut resource.annotations, &pb::BatonId {});
        match writer.put_resource(&resource)? {
            Put::New => imported.resources += 1,
            Put::Again => watch.warn(
                "external-duplicate",
                "the external file has accounts or groups that the connector lists itself; the connector's stay",
                Some(&format!("{}:{}", id.resource_type, id.resource)),
            ),
        }
        watch.found(imported.resources);
    }
    if imported.resources == 0 {
        watch.warn(
            "external-without-people",
            "the external file has no accounts or groups; is it the file of the AWS connector?",
            None,
        );
    }
    entitlements(writer, source, &mut principals, &mut imported, watch)?;
    grants(writer, source, &principals, &mut imported, watch)?;
    matching::run(writer, &principals, &mut imported, watch)?;
    Ok(imported)
}

/// A resource type of users or groups.
struct Kind {
    message: pb::ResourceType,
    /// Nothing can be held on its resources.
    skips: bool,
}

fn types(source: &Source) -> Result<HashMap<String, Kind>, Error> {
    let mut kinds = HashMap::new();
    for message in source.reader.resource_types(&source.view) {
        let mut message = message?;
        if message
            .traits()
            .any(|held| matches!(held, Trait::User | Trait::Group))
        {
            known::annotations(&mut message.annotations);
            let skips = has::<pb::SkipEntitlementsAndGrants>(&message.annotations);
            kinds.insert(message.id.clone(), Kind { message, skips });
        }
    }
    Ok(kinds)
}

/// Notes who holds the entitlement of a filter.
fn holders(
    source: &Source,
    external: &External,
    filter: &str,
    principals: &mut Principals,
) -> Result<(), PeopleError> {
    let mut found = false;
    for entitlement in source.reader.entitlements(&source.view) {
        if entitlement?.id == filter {
            found = true;
            break;
        }
    }
    if !found {
        return Err(PeopleError::External {
            path: external.file.clone(),
            reason: format!(
                "it has no entitlement {}, which --external-resource-entitlement-id-filter names",
                filter.escape_debug()
            ),
        });
    }
    for row in source.reader.grants(&source.view) {
        let row = row?;
        if row
            .grant
            .entitlement
            .is_some_and(|entitlement| entitlement.id == filter)
            && let Some(id) = row.grant.principal.and_then(|principal| principal.id)
        {
            principals.want(&id)?;
        }
    }
    Ok(())
}

fn entitlements(
    writer: &mut Writer,
    source: &Source,
    principals: &mut Principals,
    imported: &mut Imported,
    watch: &mut Watch<'_>,
) -> Result<(), PeopleError> {
    for entitlement in source.reader.entitlements(&source.view) {
        watch.stop()?;
        let mut entitlement = entitlement?;
        let Some(on) = entitlement
            .resource
            .as_ref()
            .and_then(|resource| resource.id.as_ref())
        else {
            continue;
        };
        if !principals.holds(on)? {
            continue;
        }
        let without_grants = entitlement
            .resource
            .as_ref()
            .is_some_and(|resource| has::<pb::SkipGrants>(&resource.annotations));
        known::entitlement(&mut entitlement);
        update(
            &mut entitlement.annotations,
            &pb::EntitlementImmutable::default(),
        );
        match writer.put_entitlement(&entitlement)? {
            Put::New => imported.entitlements += 1,
            // Of a resource that the connector lists itself.
            Put::Again => continue,
        }
        if !without_grants {
            principals.add_entitlement(&entitlement.id)?;
        }
    }
    Ok(())
}

fn grants(
    writer: &mut Writer,
    source: &Source,
    principals: &Principals,
    imported: &mut Imported,
    watch: &mut Watch<'_>,
) -> Result<(), PeopleError> {
    for row in source.reader.grants(&source.view) {
        watch.stop()?;
        // Expansions of the other file were followed when it was made.
        let mut grant = row?.grant;
        let ours = match &grant.entitlement {
            Some(entitlement) => principals.has_entitlement(&entitlement.id)?,
            None => false,
        };
        if !ours || writer.has_grant(&grant.id)? {
            continue;
        }
        known::grant(&mut grant);
        update(&mut grant.annotations, &pb::GrantImmutable::default());
        writer.put_grant(grant)?;
        imported.grants += 1;
        watch.found(imported.resources + imported.grants);
    }
    Ok(())
}

fn has<M: prost::Message + prost::Name + Default>(annotations: &[prost_types::Any]) -> bool {
    annotations.iter().any(is::<M>)
}

/// Adds an annotation unless one of its type is there.
fn update<M: prost::Message + prost::Name + Default>(
    annotations: &mut Vec<prost_types::Any>,
    message: &M,
) {
    if find::<M>(annotations).is_none() {
        annotations.push(pack(message));
    }
}
