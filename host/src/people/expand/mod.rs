//! Grant expansion: who holds an entitlement of a role or a group holds what
//! that role or group was granted.
//!
//! A grant says through which entitlements of its principal it expands: an
//! edge from each of them to the granted one. What comes to somebody through
//! an edge becomes a grant with `sources`, the entitlements it came from;
//! where a grant is there already, its sources are completed. Other tools do
//! the same on graphs without circles; in a circle (roles that trust each
//! other) they share nothing, here all who reach one member reach the others.
//!
//! Linear in edges times holders, without recursion and without a limit on
//! depth. Memory: 100 bytes an edge while the graph is built, and two page
//! caches; the holders are on disk (`holders`).

mod certainty;
mod graph;
mod holders;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use prost::Message;
use serde::Serialize;

use self::graph::{Edge, Graph};
use self::holders::{Holders, Holding, Principal};
use super::{PeopleError, Sessions, Watch, is_inherited};
use crate::c1z::annotations::pack;
use crate::c1z::{Error, StoredGrant, Which, Writer, pb};

/// Expansions that are followed in one sync.
const EDGES: usize = 20_000_000;

/// What expansion did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Expanded {
    /// Grants that were made.
    pub grants: u64,
    /// Grants that were there and come by another way too.
    pub completed: u64,
    /// Circles of entitlements that lead to each other.
    pub circles: u64,
}

/// Expands the grants of a sync that is being written. `sessions`: those that
/// expand to some of the people behind a role only.
///
/// # Errors
/// The file cannot be read or written, the expansions are too many, or it is
/// stopped.
pub fn expand(
    writer: &mut Writer,
    sessions: &Sessions,
    watch: &mut Watch<'_>,
) -> Result<Expanded, PeopleError> {
    if writer.tally().expandable == 0 {
        return Ok(Expanded::default());
    }
    let path = writer.work_folder().join("holders.db");
    let mut holders = Holders::new(&path, writer.max_bytes())?;
    let (nodes, graph) = load(writer, &mut holders, sessions, watch)?;
    if nodes.rows.is_empty() {
        return Ok(Expanded::default());
    }
    load_holders(writer, &nodes, &mut holders, watch)?;
    let circles = holders.spread(&graph, watch)?;
    drop(graph);
    let expanded = write(writer, &nodes, &holders, watch)?;
    Ok(Expanded {
        circles,
        ..expanded
    })
}

/// Entitlements as numbers, by their rows.
#[derive(Default)]
struct Nodes {
    numbers: HashMap<i64, u32>,
    rows: Vec<i64>,
}

impl Nodes {
    fn number(&mut self, row: i64) -> u32 {
        *self.numbers.entry(row).or_insert_with(|| {
            self.rows.push(row);
            // Two for an edge at the most, and `EDGES` is far from 2^31.
            u32::try_from(self.rows.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

/// Reads the edges.
fn load(
    writer: &Writer,
    holders: &mut Holders,
    sessions: &Sessions,
    watch: &mut Watch<'_>,
) -> Result<(Nodes, Graph), PeopleError> {
    let mut nodes = Nodes::default();
    let mut edges = Vec::new();
    let mut filters = Filters::default();
    let mut after = 0;
    loop {
        let chunk = writer.grants_after(after, Which::Expandable)?;
        let Some(last) = chunk.last() else { break };
        after = last.row;
        for grant in &chunk {
            let Some(expansion) = &grant.expansion else {
                continue;
            };
            let Some(target) = writer.entitlement_row(&grant.entitlement)? else {
                continue;
            };
            let (rank, filter) = match sessions.get(&grant.row) {
                // They have no other sessions than those.
                Some(people) => (certainty::CERTAIN, filters.people(people, holders)?),
                None => (
                    certainty::rank(&grant.message()?),
                    filters.kinds(&expansion.resource_type_ids, holders)?,
                ),
            };
            for source in expansion.entitlement_ids.iter() {
                let Some(source) = source_of(writer, grant, source, watch)? else {
                    continue;
                };
                if edges.len() >= EDGES {
                    return Err(PeopleError::TooManyExpansions(EDGES));
                }
                edges.push(Edge {
                    source: nodes.number(source),
                    target: nodes.number(target),
                    rank,
                    shallow: expansion.shallow,
                    filter,
                });
            }
        }
        watch.stop()?;
    }
    let graph = Graph::new(nodes.rows.len(), edges);
    Ok((nodes, graph))
}

/// Numbers of lists of who may pass an edge.
#[derive(Default)]
struct Filters {
    kinds: HashMap<Vec<String>, u32>,
    last: u32,
}

impl Filters {
    fn kinds(&mut self, kinds: &[String], holders: &mut Holders) -> Result<u32, Error> {
        if kinds.is_empty() {
            return Ok(0);
        }
        if let Some(number) = self.kinds.get(kinds) {
            return Ok(*number);
        }
        self.last += 1;
        holders.filter(self.last, kinds)?;
        self.kinds.insert(kinds.to_vec(), self.last);
        Ok(self.last)
    }

    fn people(&mut self, people: &[String], holders: &mut Holders) -> Result<u32, Error> {
        self.last += 1;
        holders.only(self.last, "sso_user", people)?;
        Ok(self.last)
    }
}

/// The row of an entitlement that a grant expands through. It must be one of
/// the grant's principal: other engines fail the whole sync on another one.
fn source_of(
    writer: &Writer,
    grant: &StoredGrant,
    source: &str,
    watch: &mut Watch<'_>,
) -> Result<Option<i64>, Error> {
    if source.trim().is_empty() {
        return Ok(None);
    }
    let Some(row) = writer.entitlement_row(source)? else {
        watch.warn(
            "expansion-without-entitlement",
            "grants expand through entitlements that are not in the file; who holds them is not shown",
            Some(source),
        );
        return Ok(None);
    };
    if !writer.entitlement_is_on(row, &grant.principal_type, &grant.principal)? {
        watch.warn(
            "foreign-expansion",
            "grants expand through entitlements that are not on their principal; these expansions are left out",
            Some(source),
        );
        return Ok(None);
    }
    Ok(Some(row))
}

/// Reads the holders of the entitlements in the graph.
fn load_holders(
    writer: &Writer,
    nodes: &Nodes,
    holders: &mut Holders,
    watch: &mut Watch<'_>,
) -> Result<(), PeopleError> {
    let mut after = 0;
    loop {
        let chunk = writer.grants_after(after, Which::All)?;
        let Some(last) = chunk.last() else {
            return Ok(());
        };
        after = last.row;
        for grant in chunk {
            let Some(node) = writer
                .entitlement_row(&grant.entitlement)?
                .and_then(|row| nodes.numbers.get(&row))
            else {
                continue;
            };
            let message = grant.message()?;
            let direct = !is_inherited(&message);
            let principal = Principal {
                kind: grant.principal_type,
                id: grant.principal,
                message: message
                    .principal
                    .as_ref()
                    .map(Message::encode_to_vec)
                    .unwrap_or_default(),
            };
            holders.add(
                *node,
                &principal,
                grant.row,
                direct,
                certainty::rank(&message),
            )?;
        }
        watch.stop()?;
    }
}

/// Writes what came to whom.
fn write(
    writer: &mut Writer,
    nodes: &Nodes,
    holders: &Holders,
    watch: &mut Watch<'_>,
) -> Result<Expanded, PeopleError> {
    let mut expanded = Expanded::default();
    let mut names = Names {
        nodes,
        known: HashMap::new(),
    };
    let mut target = None;
    holders.each(|holding| {
        watch.stop()?;
        let entitlement = match target.take() {
            Some((node, entitlement)) if node == holding.node => entitlement,
            // As in all grants of our files: its id and the resource's copy.
            _ => {
                let whole = writer.entitlement_at(names.row(holding.node))?;
                pb::Entitlement {
                    id: whole.id,
                    resource: whole.resource,
                    ..Default::default()
                }
            }
        };
        let sources = names.sources(writer, &holding)?;
        if holding.rows.is_empty() {
            let principal = holders.principal(holding.principal)?;
            let made = inherited(&entitlement, &principal, sources, holding.rank)?;
            // Ids are joined with colons, which ids may hold themselves.
            if writer.has_grant(&made.id)? {
                watch.warn(
                    "inherited-grant-without-id",
                    "inherited grants have the id of another grant; they are left out",
                    Some(&made.id),
                );
            } else {
                writer.put_grant(made)?;
                expanded.grants += 1;
            }
        } else {
            for row in &holding.rows {
                let mut grant = writer.grant_at(*row)?;
                complete(&mut grant, &entitlement.id, &sources, holding.rank);
                writer.replace_grant(*row, &grant)?;
                expanded.completed += 1;
            }
        }
        target = Some((holding.node, entitlement));
        watch.found(expanded.grants);
        Ok(())
    })?;
    Ok(expanded)
}

type Sources = BTreeMap<String, pb::grant_sources::GrantSource>;

/// A grant that somebody has through others only. Nothing can end it but the
/// end of those.
fn inherited(
    entitlement: &pb::Entitlement,
    principal: &Principal,
    sources: Sources,
    rank: u8,
) -> Result<pb::Grant, Error> {
    let id = format!("{}:{}:{}", entitlement.id, principal.kind, principal.id);
    let message =
        pb::Resource::decode(principal.message.as_slice()).map_err(|source| Error::Row {
            table: "principals",
            row: 0,
            source,
        })?;
    let mut grant = pb::Grant {
        entitlement: Some(entitlement.clone()),
        principal: Some(message),
        id,
        annotations: vec![pack(&pb::GrantImmutable::default())],
        sources: Some(pb::GrantSources { sources }),
    };
    certainty::mark(&mut grant, rank);
    Ok(grant)
}

/// A grant that is there and comes through others too.
fn complete(grant: &mut pb::Grant, own: &str, through: &Sources, rank: u8) {
    let sources = &mut grant.sources.get_or_insert_default().sources;
    if sources.is_empty() {
        let direct = pb::grant_sources::GrantSource { is_direct: true };
        sources.insert(own.to_owned(), direct);
    }
    for (id, source) in through {
        sources.entry(id.clone()).or_default().is_direct |= source.is_direct;
    }
    certainty::raise(grant, rank);
}

/// The ids of nodes, a part of them in memory.
struct Names<'n> {
    nodes: &'n Nodes,
    known: HashMap<u32, String>,
}

impl Names<'_> {
    /// Ids that are kept in memory.
    const KNOWN: usize = 10_000;

    fn row(&self, node: u32) -> i64 {
        let row = self.nodes.rows.get(node as usize);
        row.copied().unwrap_or_default()
    }

    fn sources(&mut self, writer: &Writer, holding: &Holding) -> Result<Sources, Error> {
        let mut sources = Sources::new();
        for (node, is_direct) in &holding.sources {
            let id = match self.known.get(node) {
                Some(id) => id.clone(),
                None => {
                    if self.known.len() >= Self::KNOWN {
                        self.known.clear();
                    }
                    let id = writer.entitlement_at(self.row(*node))?.id;
                    self.known.insert(*node, id.clone());
                    id
                }
            };
            let source = pb::grant_sources::GrantSource {
                is_direct: *is_direct,
            };
            sources.insert(id, source);
        }
        Ok(sources)
    }
}
