//! A whole review: a page for people, lines for spreadsheets, JSON for programs.

mod csv;
mod data;
mod html;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;

pub use csv::write as csv;
pub use html::write as html;

use std::collections::HashMap;
use std::io;

use serde::Serialize;

use super::findings::{self, Finding, Severity};
use super::model::{Id, Model, Sort};
use super::{find, query};

/// Findings and totals of what was read.
#[derive(Debug)]
pub struct Review {
    /// How many of each.
    pub totals: Totals,
    /// What a reviewer would want to be told.
    pub findings: Vec<Finding>,
    pub(super) worst: HashMap<(Id, Id), Severity>,
}

/// How many of each hold something.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Totals {
    /// Accounts of people.
    pub people: usize,
    /// Accounts of programs.
    pub workloads: usize,
    /// Roles of IAM.
    pub iam_roles: usize,
    /// Grants, without those that an expansion wrote.
    pub grants: usize,
}

impl Review {
    /// Looks at everything.
    #[must_use]
    pub fn new(model: &Model) -> Review {
        let count = |sort: Sort| {
            let all = (0..model.nodes.len()).filter_map(|number| Id::try_from(number).ok());
            all.filter(|id| model.node(*id).sort == sort && model.held(*id).next().is_some())
                .count()
        };
        let (findings, worst) = findings::with_grants(model);
        Review {
            totals: Totals {
                people: count(Sort::Person),
                workloads: count(Sort::Workload),
                iam_roles: count(Sort::IamRole),
                grants: model.grants.iter().filter(|grant| !grant.derived).count(),
            },
            findings,
            worst,
        }
    }
}

/// Writes the review as JSON: `docs/review.md` has the members. Principals
/// come one after the other, so that memory does not grow with them.
///
/// # Errors
/// `out` cannot be written.
pub fn json(model: &Model, review: &Review, out: &mut impl io::Write) -> io::Result<()> {
    out.write_all(b"{\"version\":1")?;
    member(out, "read", &model.realms)?;
    member(out, "notes", &model.notes)?;
    member(out, "totals", &review.totals)?;
    // Item by item too: a million of them are as long as all principals.
    member(out, "findings", &review.findings)?;
    out.write_all(b",\n\"principals\":[")?;
    let mut first = true;
    for number in 0..model.nodes.len() {
        let id = Id::try_from(number).unwrap_or(Id::MAX);
        if !find::is_principal(model, id) {
            continue;
        }
        let holder = query::access(model, id, None);
        write!(
            out,
            "{}\n{}",
            if first { "" } else { "," },
            text_of(&holder)?
        )?;
        first = false;
    }
    out.write_all(b"\n]}\n")
}

fn member(out: &mut impl io::Write, name: &str, value: &impl Serialize) -> io::Result<()> {
    write!(out, ",\n\"{name}\":")?;
    serde_json::to_writer(out, value).map_err(io::Error::other)
}

fn text_of(value: &impl Serialize) -> io::Result<String> {
    serde_json::to_string(value).map_err(io::Error::other)
}
