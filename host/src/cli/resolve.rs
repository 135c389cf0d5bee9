//! From ids as people give them to the wish that a plugin is asked to plan.
//!
//! Ids are looked up in the access file and never split: names may hold any
//! character that ids are joined with. What the file does not list because no
//! connector of ours does (IAM users, roles of other accounts) goes on as it
//! is; the connector and the host judge it.

use std::path::{Path, PathBuf};

mod inherited;

use super::command::Wanted;
use super::exit::{CliError, Exit};
use super::nearest::nearest;
use super::output::plain;
use crate::c1z::{FileOptions, Reader, View, pb};
use crate::people::is_inherited;
use crate::plugin::attribute;
use crate::sandbox::contract::types::{Descriptor, Grant, ObjectId};
use crate::sync::EVIDENCE_ASSET;

/// A wish, and the entitlement's id as the file has it.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    pub(super) wish: Grant,
    pub(super) entitlement: String,
}

/// An access file and its latest sync.
pub(super) struct Ids {
    path: PathBuf,
    reader: Reader,
    view: View,
    /// When the sync ended.
    until: Option<String>,
    /// The cluster that was read, if the file says so.
    cluster: Option<String>,
}

impl Ids {
    pub(super) fn open(path: &Path, options: &FileOptions) -> Result<Ids, CliError> {
        let failed = |error| CliError::from(crate::sync::SyncError::File(error));
        let reader = Reader::open(path, options).map_err(failed)?;
        let syncs = reader.syncs().map_err(failed)?;
        let view = reader.latest().map_err(failed)?;
        if syncs.is_empty() {
            return Err(CliError::new(
                Exit::Usage,
                format!("{} holds no sync to look ids up in", path.display()),
            )
            .hint("`baton-host` writes one; name another file with --file"));
        }
        let until = syncs
            .into_iter()
            .find(|sync| view == View::Sync(sync.sync_id.clone()))
            .and_then(|sync| sync.ended_at);
        let mut cluster = None;
        for asset in reader.assets(&view) {
            let asset = asset.map_err(failed)?;
            if asset.id == EVIDENCE_ASSET {
                let evidence: serde_json::Value =
                    serde_json::from_slice(&asset.data).unwrap_or_default();
                cluster = evidence
                    .pointer("/validation/cluster-arn")
                    .and_then(|arn| arn.as_str())
                    .map(str::to_owned);
            }
        }
        Ok(Ids {
            path: path.to_owned(),
            reader,
            view,
            until,
            cluster,
        })
    }

    /// Refuses a file of another cluster: its ids would be looked up here and
    /// changed there. The account is known once somebody has signed in.
    pub(super) fn of(
        &self,
        region: &str,
        cluster: &str,
        account: Option<&str>,
    ) -> Result<(), CliError> {
        let Some(arn) = &self.cluster else {
            return Err(CliError::new(
                Exit::Usage,
                format!(
                    "{} does not say which cluster it was read from, so nothing is changed by it",
                    self.path.display()
                ),
            )
            .hint("name the file of this cluster with --file, or sync it first"));
        };
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let same = match parts.as_slice() {
            ["arn", _, "eks", r, a, name] => {
                *r == region
                    && account.is_none_or(|account| *a == account)
                    && name.strip_prefix("cluster/") == Some(cluster)
            }
            _ => false,
        };
        if same {
            return Ok(());
        }
        let account = account
            .map(|account| format!(" of account {account}"))
            .unwrap_or_default();
        Err(CliError::new(
            Exit::Usage,
            format!(
                "{} was read from {}, and the change is for {cluster} in {region}{account}",
                self.path.display(),
                plain(arn)
            ),
        )
        .hint("name the file of this cluster with --file, or sync it first"))
    }

    /// The wish to grant or revoke something.
    pub(super) fn resolve(
        &self,
        wanted: &Wanted,
        descriptor: &Descriptor,
    ) -> Result<Resolved, CliError> {
        match wanted {
            Wanted::Grant(id) => self.grant(id, descriptor),
            Wanted::Pair {
                entitlement,
                principal,
                kind,
            } => {
                let row = self.entitlement(entitlement, descriptor)?;
                let principal = self.principal(&row, principal, kind.as_deref(), descriptor)?;
                self.wish(&row, principal)
            }
        }
    }

    fn grant(&self, id: &str, descriptor: &Descriptor) -> Result<Resolved, CliError> {
        let Some(row) = self.reader.grant(&self.view, id).map_err(failed)? else {
            return self.newer(id, descriptor);
        };
        let row = row.grant;
        if is_inherited(&row) {
            return Err(self.inherited(&row)?);
        }
        let entitlement = row.entitlement.map(|own| own.id).unwrap_or_default();
        let principal = row.principal.and_then(|principal| principal.id);
        let principal = principal.map(|id| ObjectId {
            kind: id.resource_type,
            id: id.resource,
        });
        let Some(principal) = principal else {
            return Err(self.strange(id));
        };
        // What a person reads in the id is what is changed.
        let parts = format!("{entitlement}:{}:{}", principal.kind, principal.id);
        if row.id != id || parts != id {
            return Err(self.strange(id));
        }
        let row = self.entitlement(&entitlement, descriptor)?;
        self.wish(&row, principal)
    }

    /// A grant that the file does not know: made since then, or gone by now.
    /// What holds is judged live, as by entitlement and principal.
    fn newer(&self, id: &str, descriptor: &Descriptor) -> Result<Resolved, CliError> {
        let readings = self.readings(id, descriptor)?;
        match readings.as_slice() {
            [(row, kind, who)] => {
                let principal = self.principal(row, who, Some(kind), descriptor)?;
                return self.wish(row, principal);
            }
            [] => {}
            several => {
                let all: Vec<String> = several
                    .iter()
                    .map(|(row, kind, who)| {
                        format!("`{}` of {kind} `{}`", plain(&row.id), plain(who))
                    })
                    .collect();
                return Err(CliError::new(
                    Exit::Usage,
                    format!("`{}` can be read as {}", plain(id), all.join(" or as ")),
                )
                .hint("name the entitlement, --principal and --principal-type"));
            }
        }
        // Never a wider one, or somebody else's: who copies a hint into a
        // terminal takes that away.
        let all = self.reader.grants(&self.view).flatten();
        let alike = all.map(|row| row.grant).filter(|row| self.alike(row, id));
        let near = nearest(id, alike.map(|row| row.id));
        let error = self.unknown("grant", id, &near);
        let entitlement = self.reader.entitlement(&self.view, id);
        if near.is_empty() && entitlement.map_err(failed)?.is_some() {
            return Err(
                error.hint("it is an entitlement: add --principal ID to revoke it from somebody")
            );
        }
        let also = "what was granted since then is revoked by entitlement and --principal";
        let hint = error.hint.as_deref().map(|hint| format!("{hint}; {also}"));
        Err(CliError { hint, ..error })
    }

    /// Whether this may be another spelling of a grant's id: one of the same
    /// principal and the same scope.
    fn alike(&self, grant: &pb::Grant, id: &str) -> bool {
        let fits = || {
            let who = grant.principal.as_ref()?.id.as_ref()?;
            let who = format!(":{}:{}", who.resource_type, who.resource);
            let rest = id.strip_suffix(&who)?;
            let entitlement = &grant.entitlement.as_ref()?.id;
            let row = self.reader.entitlement(&self.view, entitlement);
            let on = row.ok()??.resource?.id?;
            let object = format!("{}:{}", on.resource_type, on.resource);
            let slug = entitlement.strip_prefix(&object)?;
            // Of what is in a namespace, that stands before the name.
            let home = match on.resource.split_once('/') {
                Some((home, _)) => format!("{}:{home}/", on.resource_type),
                None => String::new(),
            };
            Some(rest.ends_with(slug) && rest.starts_with(&home))
        };
        fits().unwrap_or_default()
    }

    /// Every entitlement of the file, kind and principal whose grant has this
    /// id.
    fn readings<'a>(
        &self,
        id: &'a str,
        descriptor: &Descriptor,
    ) -> Result<Vec<(pb::Entitlement, String, &'a str)>, CliError> {
        let mut found = Vec::new();
        for row in self.reader.entitlements(&self.view) {
            let row = row.map_err(failed)?;
            let Some(rest) = id
                .strip_prefix(&row.id)
                .and_then(|rest| rest.strip_prefix(':'))
            else {
                continue;
            };
            let own = descriptor.kinds.iter().map(|kind| kind.name.as_str());
            let others = row.grantable_to.iter().map(|kind| kind.id.as_str());
            let kinds: std::collections::BTreeSet<&str> = own.chain(others).collect();
            for kind in kinds {
                let Some(who) = rest
                    .strip_prefix(kind)
                    .and_then(|rest| rest.strip_prefix(':'))
                else {
                    continue;
                };
                let spec = descriptor.kinds.iter().find(|spec| spec.name == kind);
                let grammar = spec.map(|spec| attribute(&spec.attributes, "principal"));
                // Kinds of ours that are nobody hold nothing.
                if grammar != Some(None)
                    && (form(grammar.flatten(), who) || self.known(kind, who)?)
                {
                    found.push((row.clone(), kind.to_owned(), who));
                }
            }
        }
        Ok(found)
    }

    fn entitlement(&self, id: &str, descriptor: &Descriptor) -> Result<pb::Entitlement, CliError> {
        match self.reader.entitlement(&self.view, id).map_err(failed)? {
            Some(row) if row.id == id => return Ok(row),
            Some(_) => return Err(self.strange(id)),
            None => {}
        }
        if let Some((row, kind, who)) = self.readings(id, descriptor)?.first() {
            return Err(CliError::new(
                Exit::Usage,
                format!("`{}` is a grant's id, not an entitlement's", plain(id)),
            )
            .hint(format!(
                "to revoke it, drop --principal; to grant it, name the entitlement `{}` and --principal `{}` (a {kind})",
                plain(&row.id),
                plain(who)
            )));
        }
        let all = self.reader.entitlements(&self.view).flatten();
        let near = nearest(id, all.map(|row| row.id));
        Err(self.unknown("entitlement", id, &near))
    }

    /// An entitlement's id is its object's and the slug: what is left of it
    /// after the object's is the slug, whatever colons either of them has.
    fn wish(&self, row: &pb::Entitlement, principal: ObjectId) -> Result<Resolved, CliError> {
        let on = row.resource.as_ref().and_then(|on| on.id.clone());
        let on = on.ok_or_else(|| self.strange(&row.id))?;
        let slug = row
            .id
            .strip_prefix(&format!("{}:{}:", on.resource_type, on.resource))
            .filter(|slug| !slug.is_empty())
            .ok_or_else(|| self.strange(&row.id))?;
        let resource = self
            .reader
            .resource(&self.view, &on.resource_type, &on.resource)
            .map_err(failed)?;
        if resource.is_none() {
            return Err(self.strange(&row.id));
        }
        Ok(Resolved {
            wish: Grant {
                on: ObjectId {
                    kind: on.resource_type,
                    id: on.resource,
                },
                slug: slug.to_owned(),
                principal,
                attributes: Vec::new(),
            },
            entitlement: row.id.clone(),
        })
    }

    fn principal(
        &self,
        entitlement: &pb::Entitlement,
        id: &str,
        kind: Option<&str>,
        descriptor: &Descriptor,
    ) -> Result<ObjectId, CliError> {
        let object = |kind: &str| ObjectId {
            kind: kind.to_owned(),
            id: id.to_owned(),
        };
        if let Some(kind) = kind {
            let own = descriptor.kinds.iter().find(|spec| spec.name == kind);
            if own.is_some_and(|spec| attribute(&spec.attributes, "principal").is_none()) {
                return Err(CliError::new(
                    Exit::Usage,
                    format!(
                        "access cannot be given to or taken from a `{}`",
                        plain(kind)
                    ),
                )
                .hint(match holders(descriptor).as_slice() {
                    [] => "this connector knows nobody to grant anything to".to_owned(),
                    kinds => format!("--principal-type can be {}", kinds.join(", ")),
                }));
            }
            // A kind of another connector: the host says what it makes of it.
            if self.known(kind, id)? || self.foreign(kind, id, descriptor) {
                return Ok(object(kind));
            }
            return Err(self.nobody(&[kind], id));
        }
        let kinds: Vec<&str> = entitlement
            .grantable_to
            .iter()
            .map(|kind| kind.id.as_str())
            .collect();
        let mut found = Vec::new();
        for kind in &kinds {
            if self.known(kind, id)? {
                found.push(*kind);
            }
        }
        if found.is_empty() {
            let holders = descriptor.kinds.iter().filter(|kind| {
                form(attribute(&kind.attributes, "principal"), id)
                    && self.foreign(&kind.name, id, descriptor)
            });
            found.extend(holders.map(|kind| kind.name.as_str()));
        }
        match found.as_slice() {
            [one] => Ok(object(one)),
            [] => Err(self.nobody(&kinds, id)),
            several => Err(CliError::new(
                Exit::Usage,
                format!(
                    "`{}` is the id of several principals, of the kinds {}",
                    plain(id),
                    several.join(", ")
                ),
            )
            .hint("say which one with --principal-type")),
        }
    }

    fn known(&self, kind: &str, id: &str) -> Result<bool, CliError> {
        let row = self.reader.resource(&self.view, kind, id);
        Ok(row.map_err(failed)?.is_some())
    }

    /// Whether the file would not list it even if it is there: kinds that only
    /// name principals, IAM roles of other accounts, kinds of other connectors.
    fn foreign(&self, kind: &str, id: &str, descriptor: &Descriptor) -> bool {
        let Some(spec) = descriptor.kinds.iter().find(|spec| spec.name == kind) else {
            return true;
        };
        if attribute(&spec.attributes, "listed") == Some("false") {
            return true;
        }
        let principal = attribute(&spec.attributes, "principal");
        let own = self.cluster.as_deref().and_then(account);
        principal == Some("aws-iam-role")
            && form(principal, id)
            && own.is_some()
            && account(id) != own
    }

    fn nobody(&self, kinds: &[&str], id: &str) -> CliError {
        let all = self.reader.resources(&self.view).flatten();
        let ids = all.filter_map(|row| row.id);
        let ids = ids.filter(|own| kinds.contains(&own.resource_type.as_str()));
        let near = nearest(id, ids.map(|own| own.resource));
        let what = match kinds {
            [one] => plain(one),
            _ => "principal".to_owned(),
        };
        self.unknown(&what, id, &near)
    }

    fn unknown(&self, what: &str, id: &str, near: &[String]) -> CliError {
        let error = CliError::new(
            Exit::NotFound,
            format!("`{}` is no {what} of {}", plain(id), self.path.display()),
        );
        let until = match self
            .until
            .as_deref()
            .and_then(|time| time.split('.').next())
        {
            Some(time) => format!(
                " (the file is of {}; a sync brings what is newer)",
                plain(time)
            ),
            None => String::new(),
        };
        if near.is_empty() {
            let list = match what {
                "grant" | "entitlement" => what,
                _ => "resource",
            };
            return error.hint(format!(
                "`baton {list}s -f {}` lists what there is{until}",
                self.path.display()
            ));
        }
        let near: Vec<String> = near.iter().map(|id| format!("`{}`", plain(id))).collect();
        error.hint(format!("did you mean {}?{until}", near.join(" or ")))
    }

    /// A row whose parts do not fit together.
    fn strange(&self, id: &str) -> CliError {
        CliError::new(
            Exit::Usage,
            format!(
                "{} has `{}`, but not with the parts that its id names",
                self.path.display(),
                plain(id)
            ),
        )
        .hint("sync into a new file")
    }
}

/// The kinds that can hold something.
fn holders(descriptor: &Descriptor) -> Vec<&str> {
    let kinds = descriptor.kinds.iter();
    kinds
        .filter(|kind| attribute(&kind.attributes, "principal").is_some())
        .map(|kind| kind.name.as_str())
        .collect()
}

fn failed(error: crate::c1z::Error) -> CliError {
    crate::sync::SyncError::File(error).into()
}

fn account(arn: &str) -> Option<&str> {
    arn.strip_prefix("arn:")?
        .split(':')
        .nth(3)
        .filter(|account| !account.is_empty())
}

/// Whether an id can be one of a kind of principals at all. Whether it is one,
/// others say.
fn form(principal: Option<&str>, id: &str) -> bool {
    let iam = |what: &str| {
        let parts: Vec<&str> = id.splitn(6, ':').collect();
        matches!(
            parts.as_slice(),
            ["arn", _, "iam", "", account, rest]
                if account.len() == 12
                    && account.bytes().all(|b| b.is_ascii_digit())
                    && rest.strip_prefix(what).is_some_and(|name| !name.is_empty())
        )
    };
    match principal {
        Some("aws-iam-user") => iam("user/"),
        Some("aws-iam-role") => iam("role/"),
        Some("kubernetes-service-account") => id
            .split_once('/')
            .is_some_and(|(space, name)| !space.is_empty() && !name.is_empty()),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
