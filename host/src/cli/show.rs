//! A first look at an access file for `demo`: the grants that a reviewer would
//! ask about first. The baton toolkit shows all of it.

use std::path::Path;

use super::exit::{CliError, Exit};
use super::output::{plain, table};
use crate::c1z::{FileOptions, Reader, annotations, pb};

/// Lines per heading.
const LINES: usize = 8;

type Pick = fn(&pb::Grant) -> bool;

/// What is shown, in this order.
const HEADINGS: &[(&str, Pick)] = &[
    ("Administrators of the cluster", |grant| {
        let id = entitlement(grant);
        id == "cluster_role:cluster-admin:all:member"
            || id.ends_with("AmazonEKSClusterAdminPolicy:assigned:cluster")
    }),
    ("Access through EKS access policies", |grant| {
        entitlement(grant).starts_with("access_policy:")
            && !entitlement(grant).contains("AmazonEKSClusterAdminPolicy")
    }),
    ("Roles in single namespaces", |grant| {
        let id = entitlement(grant);
        (id.starts_with("cluster_role:") && !id.ends_with(":all:member"))
            || id.starts_with("namespace_role:")
    }),
    ("Workloads that can become an IAM role", |grant| {
        entitlement(grant).starts_with("role:") && principal(grant).0 == "service_account"
    }),
];

fn entitlement(grant: &pb::Grant) -> &str {
    grant.entitlement.as_ref().map_or("", |e| e.id.as_str())
}

fn principal(grant: &pb::Grant) -> (&str, &str) {
    grant
        .principal
        .as_ref()
        .and_then(|principal| principal.id.as_ref())
        .map_or(("", ""), |id| {
            (id.resource_type.as_str(), id.resource.as_str())
        })
}

/// Certainty and ways of a grant, from its metadata.
fn evidence(grant: &pb::Grant) -> (String, String) {
    let metadata = annotations::find::<pb::GrantMetadata>(&grant.annotations)
        .and_then(|metadata| metadata.metadata)
        .map(|metadata| annotations::json(&metadata))
        .unwrap_or_default();
    let text = |value: Option<&serde_json::Value>| {
        value
            .and_then(|value| value.as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let mut ways: Vec<String> = metadata
        .get("paths")
        .and_then(|paths| paths.as_array())
        .into_iter()
        .flatten()
        .map(|path| {
            let via = text(path.get("via"));
            ["binding", "group", "scope"]
                .iter()
                .map(|key| text(path.get(*key)))
                .find(|detail| !detail.is_empty())
                .map_or(via.clone(), |detail| format!("{via} {detail}"))
        })
        .collect();
    ways.dedup();
    (text(metadata.get("certainty")), ways.join(", "))
}

pub(super) fn highlights(file: &Path, cluster: &str) -> Result<String, CliError> {
    let failed = |error: crate::c1z::Error| CliError::new(Exit::Failure, error.to_string());
    let reader = Reader::open(file, &FileOptions::default()).map_err(failed)?;
    let view = reader.latest().map_err(failed)?;
    let mut found: Vec<(Vec<Vec<String>>, usize)> = vec![Default::default(); HEADINGS.len()];
    for row in reader.grants(&view) {
        let grant = row.map_err(failed)?.grant;
        let Some(place) = HEADINGS.iter().position(|(_, pick)| pick(&grant)) else {
            continue;
        };
        let Some((rows, more)) = found.get_mut(place) else {
            continue;
        };
        if rows.len() == LINES {
            *more += 1;
            continue;
        }
        let (kind, id) = principal(&grant);
        let (certainty, ways) = evidence(&grant);
        rows.push(vec![
            format!("  {}", plain(&format!("{kind} {id}"))),
            plain(entitlement(&grant)),
            plain(&certainty),
            plain(&ways),
        ]);
    }
    let mut text = format!("CLUSTER {cluster}\n");
    for ((heading, _), (rows, more)) in HEADINGS.iter().zip(&found) {
        if rows.is_empty() {
            continue;
        }
        text.push_str(&format!("\n{heading}\n{}", table(rows)));
        if *more > 0 {
            text.push_str(&format!("  and {more} more\n"));
        }
    }
    Ok(text)
}
