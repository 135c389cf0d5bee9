//! Who holds which entitlement, and how that spreads along a graph.
//!
//! In a database of its own, as numbers: an edge is one statement over all
//! holders of its source, so memory does not grow with them. Every edge is
//! walked once for each of its holders, in a circle too.
//!
//! What comes from outside a component, and what is held directly, is there
//! before anything goes round in it. In a circle the surest ways come first
//! and among them the shortest, and a way is kept only if it came first:
//! otherwise a holder would seem to hold A through B and B through A.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, params};

use super::certainty::UNSAID;
use super::graph::{Components, Edge, Graph};
use crate::c1z::Error;
use crate::people::{PeopleError, Watch, scratch};

/// Bytes of the access file that one way of one holder takes at the least.
const WAY_BYTES: u64 = 32;

const TABLES: &str = "
create table principals (number integer primary key, kind text not null, id text not null, message blob not null,
    unique (kind, id));
-- id: only this one of its kind.
create table filters (number integer not null, kind text not null, id text);
create index filters_by_number on filters (number, kind);
-- level: where in a component this was settled; 0 is not yet.
create table held (node integer, principal integer, row integer not null, direct integer not null,
    rank integer not null, level integer not null default 0, primary key (node, principal)) without rowid;
-- Further rows of one holding: ids that other connectors made.
create table more (node integer, principal integer, row integer, primary key (node, principal, row)) without rowid;
create table sources (node integer, principal integer, source integer, direct integer not null,
    primary key (node, principal, source)) without rowid;
create table now (node integer, principal integer, primary key (node, principal)) without rowid;
create table later (node integer, principal integer, primary key (node, principal)) without rowid;
begin";

/// The holders of an edge's source (?1) that may pass: all but the indirect
/// ones of a shallow edge (?3), and whom its filter lets pass (?4).
const PASSING: &str = "(h.direct or not ?3) and (?4 = 0 or exists (select 1 from principals p
    join filters f on f.kind = p.kind and (f.id is null or f.id = p.id)
    where p.number = h.principal and f.number = ?4))";
const UNSETTLED: &str = "not exists (select 1 from held t where t.node = ?2 and t.principal = h.principal and t.level > 0)";

/// Which holders of a source go on.
#[derive(Clone, Copy)]
enum From {
    /// All of them, to a later component.
    All,
    /// Those that are settled, within one component.
    Settled,
    /// Those that were settled in the last round.
    Newest,
}

/// A holder, as written to the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) node: u32,
    pub(super) principal: i64,
    /// The rows of the grants that are there; none for an inherited one.
    pub(super) rows: Vec<i64>,
    pub(super) rank: u8,
    /// The nodes it comes from, and whether those are held directly.
    pub(super) sources: Vec<(u32, bool)>,
}

/// A principal.
#[derive(Debug)]
pub(super) struct Principal {
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) message: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Holders {
    db: Connection,
    ways: u64,
    limit: u64,
}

impl Holders {
    /// In a new file; what spreads stops at what a file of `max_bytes` can hold.
    pub(super) fn new(path: &Path, max_bytes: u64) -> Result<Self, Error> {
        let db = scratch(path).map_err(error)?;
        db.execute_batch(TABLES).map_err(error)?;
        Ok(Self {
            db,
            ways: 0,
            limit: max_bytes / WAY_BYTES,
        })
    }

    /// Makes a list of resource types known under a number.
    pub(super) fn filter(&mut self, number: u32, kinds: &[String]) -> Result<(), Error> {
        for kind in kinds {
            self.run(
                "insert into filters values (?1, ?2, null)",
                params![number, kind],
            )?;
        }
        Ok(())
    }

    /// The same for single principals of one type.
    pub(super) fn only(&mut self, number: u32, kind: &str, ids: &[String]) -> Result<(), Error> {
        for id in ids {
            self.run(
                "insert into filters values (?1, ?2, ?3)",
                params![number, kind, id],
            )?;
        }
        Ok(())
    }

    /// A grant that is in the file.
    pub(super) fn add(
        &mut self,
        node: u32,
        principal: &Principal,
        row: i64,
        direct: bool,
        rank: u8,
    ) -> Result<(), Error> {
        let Principal { kind, id, message } = principal;
        self.db
            .prepare_cached(
                "insert or ignore into principals (kind, id, message) values (?1, ?2, ?3)",
            )
            .and_then(|mut insert| insert.execute(params![kind, id, message]))
            .map_err(error)?;
        let number: i64 = self
            .db
            .prepare_cached("select number from principals where kind = ?1 and id = ?2")
            .and_then(|mut select| select.query_row([kind, id], |row| row.get(0)))
            .map_err(error)?;
        let first = self
            .db
            .prepare_cached(
                "insert or ignore into held (node, principal, row, direct, rank) values (?1, ?2, ?3, ?4, ?5)",
            )
            .and_then(|mut insert| insert.execute(params![node, number, row, direct, rank]))
            .map_err(error)?;
        if first == 0 {
            self.db
                .prepare_cached("update held set direct = max(direct, ?3), rank = max(rank, ?4) where node = ?1 and principal = ?2")
                .and_then(|mut update| update.execute(params![node, number, direct, rank]))
                .map_err(error)?;
            self.db
                .prepare_cached("insert into more values (?1, ?2, ?3)")
                .and_then(|mut insert| insert.execute(params![node, number, row]))
                .map_err(error)?;
        }
        Ok(())
    }

    /// Carries everything along all edges. Returns how many circles there were.
    pub(super) fn spread(
        &mut self,
        graph: &Graph,
        watch: &mut Watch<'_>,
    ) -> Result<u64, PeopleError> {
        let components = graph.components();
        let mut circles = 0;
        for nodes in components.iter() {
            for edge in nodes.iter().flat_map(|node| graph.incoming(*node)) {
                if !components.within(edge) {
                    self.pass(edge, From::All)?;
                    watch.stop()?;
                }
            }
            if nodes.len() > 1 {
                circles += 1;
                self.circle(nodes, graph, &components, watch)?;
            }
        }
        Ok(circles)
    }

    /// Carries what is held in one component round in it.
    fn circle(
        &mut self,
        nodes: &[u32],
        graph: &Graph,
        components: &Components,
        watch: &mut Watch<'_>,
    ) -> Result<(), PeopleError> {
        let mut out: HashMap<u32, Vec<Edge>> = HashMap::new();
        for edge in nodes.iter().flat_map(|node| graph.incoming(*node)) {
            if components.within(edge) {
                out.entry(edge.source).or_default().push(*edge);
            }
        }
        for level in (1..=UNSAID).rev() {
            for node in nodes {
                self.begin(*node, level)?;
            }
            for edge in out.values().flatten() {
                // What was settled at a surer level has passed the surer edges.
                match edge.rank {
                    rank if rank == level => self.pass(edge, From::Settled)?,
                    rank if rank > level => self.pass(edge, From::Newest)?,
                    _ => {}
                }
            }
            watch.stop()?;
            while self.settle(level)? {
                for node in self.newest()? {
                    for edge in out.get(&node).into_iter().flatten() {
                        if edge.rank >= level {
                            self.pass(edge, From::Newest)?;
                        }
                    }
                }
                watch.stop()?;
            }
        }
        Ok(())
    }

    /// What comes to a component with this certainty goes round first.
    fn begin(&mut self, node: u32, level: u8) -> Result<(), Error> {
        self.run(
            "insert into now select node, principal from held where node = ?1 and rank = ?2 and level = 0",
            params![node, level],
        )?;
        self.run(
            "update held set level = ?2 where node = ?1 and rank = ?2 and level = 0",
            params![node, level],
        )?;
        Ok(())
    }

    /// One edge, for all holders of its source at once.
    fn pass(&mut self, edge: &Edge, from: From) -> Result<(), Error> {
        let (holders, target) = match from {
            From::All => (
                "held h where h.node = ?1".to_owned(),
                "held (node, principal, row, direct, rank) select ?2, h.principal, 0, 0, min(h.rank, ?5)",
            ),
            From::Settled => (
                format!("held h where h.node = ?1 and h.level > 0 and {UNSETTLED}"),
                "later select ?2, h.principal",
            ),
            From::Newest => (
                format!(
                    "now n join held h on h.node = n.node and h.principal = n.principal where n.node = ?1 and {UNSETTLED}"
                ),
                "later select ?2, h.principal",
            ),
        };
        let ways = self.run(
            &format!(
                "insert into sources (node, principal, source, direct) select ?2, h.principal, ?1, h.direct
                 from {holders} and {PASSING}
                 on conflict (node, principal, source) do update set direct = max(direct, excluded.direct)"
            ),
            params![edge.source, edge.target, edge.shallow, edge.filter],
        )?;
        self.ways += ways;
        if self.ways > self.limit {
            return Err(Error::TooManyWays { limit: self.limit });
        }
        match from {
            From::All => self.run(
                &format!(
                    "insert into {target} from {holders} and {PASSING}
                     on conflict (node, principal) do update set rank = max(rank, excluded.rank)"
                ),
                params![
                    edge.source,
                    edge.target,
                    edge.shallow,
                    edge.filter,
                    edge.rank
                ],
            )?,
            From::Settled | From::Newest => self.run(
                &format!("insert or ignore into {target} from {holders} and {PASSING}"),
                params![edge.source, edge.target, edge.shallow, edge.filter],
            )?,
        };
        Ok(())
    }

    /// Ends a round: what it brought is settled. `false`: it brought nothing.
    fn settle(&mut self, level: u8) -> Result<bool, Error> {
        self.run("delete from now", [])?;
        let brought = self.run("insert into now select node, principal from later", [])?;
        self.run(
            "insert into held (node, principal, row, direct, rank, level)
             select node, principal, 0, 0, ?1, ?1 from later where true
             on conflict (node, principal) do update set rank = max(rank, excluded.rank), level = excluded.level",
            [level],
        )?;
        self.run("delete from later", [])?;
        Ok(brought > 0)
    }

    fn newest(&self) -> Result<Vec<u32>, Error> {
        self.db
            .prepare_cached("select distinct node from now")
            .and_then(|mut select| select.query_map([], |row| row.get(0))?.collect())
            .map_err(error)
    }

    /// A principal by its number.
    pub(super) fn principal(&self, number: i64) -> Result<Principal, Error> {
        self.db
            .prepare_cached("select kind, id, message from principals where number = ?1")
            .and_then(|mut select| {
                select.query_row([number], |row| {
                    Ok(Principal {
                        kind: row.get(0)?,
                        id: row.get(1)?,
                        message: row.get(2)?,
                    })
                })
            })
            .map_err(error)
    }

    /// Calls `each` with everything that came to somebody, node by node.
    pub(super) fn each(
        &self,
        mut each: impl FnMut(Holding) -> Result<(), PeopleError>,
    ) -> Result<(), PeopleError> {
        let mut select = self
            .db
            .prepare(
                "select s.node, s.principal, s.source, s.direct, h.row, h.rank
                 from sources s join held h on h.node = s.node and h.principal = s.principal
                 order by s.node, s.principal, s.source",
            )
            .map_err(error)?;
        let mut rows = select.query([]).map_err(error)?;
        let mut current: Option<Holding> = None;
        while let Some(row) = rows.next().map_err(error)? {
            let (node, principal) = (row.get(0).map_err(error)?, row.get(1).map_err(error)?);
            let source = (row.get(2).map_err(error)?, row.get(3).map_err(error)?);
            if let Some(holding) = &mut current
                && holding.node == node
                && holding.principal == principal
            {
                holding.sources.push(source);
                continue;
            }
            let first: i64 = row.get(4).map_err(error)?;
            let next = Holding {
                node,
                principal,
                rows: self.rows(node, principal, first)?,
                rank: row.get(5).map_err(error)?,
                sources: vec![source],
            };
            if let Some(done) = current.replace(next) {
                each(done)?;
            }
        }
        current.map_or(Ok(()), each)
    }

    fn rows(&self, node: u32, principal: i64, first: i64) -> Result<Vec<i64>, Error> {
        if first == 0 {
            return Ok(Vec::new());
        }
        let mut rows = vec![first];
        let mut select = self
            .db
            .prepare_cached("select row from more where node = ?1 and principal = ?2")
            .map_err(error)?;
        let more = select
            .query_map(params![node, principal], |row| row.get(0))
            .and_then(Iterator::collect::<Result<Vec<i64>, _>>)
            .map_err(error)?;
        rows.extend(more);
        Ok(rows)
    }

    fn run(&self, statement: &str, values: impl rusqlite::Params) -> Result<u64, Error> {
        self.db
            .prepare_cached(statement)
            .and_then(|mut statement| statement.execute(values))
            .map(|changed| changed as u64)
            .map_err(error)
    }
}

fn error(source: rusqlite::Error) -> Error {
    Error::Database {
        doing: "expanding the grants",
        source,
    }
}
