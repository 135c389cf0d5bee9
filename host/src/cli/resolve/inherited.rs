//! Grants that are there through others only: they end with those, so there is
//! nothing of their own to revoke.

use super::{Ids, failed};
use crate::c1z::pb;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::plain;
use crate::people::is_inherited;
use crate::sandbox::contract::types::ObjectId;

/// Grants that a hint names.
const NAMED: usize = 3;

impl Ids {
    /// Why somebody who does not hold an entitlement has it all the same, as
    /// far as the file knows.
    pub(in crate::cli) fn still_inherited(
        &self,
        entitlement: &str,
        principal: &ObjectId,
    ) -> Result<Option<CliError>, CliError> {
        let id = format!("{entitlement}:{}:{}", principal.kind, principal.id);
        let row = self.reader.grant(&self.view, &id).map_err(failed)?;
        match row.map(|row| row.grant) {
            Some(row) if row.id == id && is_inherited(&row) => self.inherited(&row).map(Some),
            _ => Ok(None),
        }
    }

    /// What to say of an inherited grant: what it comes from, and from whom it
    /// could be revoked.
    pub(super) fn inherited(&self, grant: &pb::Grant) -> Result<CliError, CliError> {
        let principal = grant
            .principal
            .as_ref()
            .and_then(|principal| principal.id.as_ref())
            .map(|id| format!("{}:{}", id.resource_type, id.resource))
            .unwrap_or_default();
        let entitlement = grant.entitlement.as_ref().map_or("", |own| own.id.as_str());
        let sources = grant.sources.iter().flat_map(|sources| &sources.sources);
        // What the principal holds itself comes first: the rest hangs on it.
        let mut sources: Vec<(&String, bool)> = sources
            .map(|(source, how)| (source, how.is_direct))
            .collect();
        if sources.iter().any(|(_, direct)| *direct) {
            sources.retain(|(_, direct)| *direct);
        }
        sources.sort();
        let mut from = Vec::new();
        let mut others = Vec::new();
        for (source, _) in &sources {
            from.push(format!("`{}`", plain(&format!("{source}:{principal}"))));
            let row = self.reader.entitlement(&self.view, source);
            let on = row.map_err(failed)?.and_then(|row| row.resource?.id);
            let Some(on) = on else { continue };
            let other = format!("{entitlement}:{}:{}", on.resource_type, on.resource);
            let held = self.reader.grant(&self.view, &other).map_err(failed)?;
            if held.is_some_and(|row| !is_inherited(&row.grant)) {
                others.push(format!("`{}`", plain(&other)));
            }
        }
        let list = |all: &[String]| {
            let more = match all.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let shown: Vec<&str> = all.iter().take(NAMED).map(String::as_str).collect();
            format!("{}{more}", shown.join(", "))
        };
        let mut hint = format!("it comes from {}, which ends it", list(&from));
        if !others.is_empty() {
            hint.push_str(&format!(
                "; or revoke {} from all who have it so",
                list(&others)
            ));
        }
        let message = format!(
            "`{}` is inherited: only what it comes from can be revoked",
            plain(&grant.id)
        );
        Ok(CliError::new(Exit::NotFound, message).hint(hint))
    }
}
