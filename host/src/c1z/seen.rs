//! Which ids a sync has written, and where.
//!
//! Instead of indexes, whose upkeep row by row takes most of the time of a
//! large sync: 64 bits of a keyed hash and the row for each id, about 35 bytes.
//! A row that is found is compared, so nothing is lost to a collision; only
//! `has` trusts the hash, and chance alone makes it wrong once in 10^13.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use rusqlite::Connection;

use super::Error;

#[derive(Debug)]
pub(super) struct Seen {
    select: String,
    rows: HashMap<u64, i64>,
    hasher: RandomState,
}

impl Seen {
    /// For the column `external_id` of a table.
    pub(super) fn new(table: &str) -> Self {
        Self {
            select: format!("select external_id = ?2 from {table} where id = ?1"),
            rows: HashMap::new(),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.rows.contains_key(&self.hasher.hash_one(id))
    }

    /// The row of an id.
    pub(super) fn row(&self, db: &Connection, id: &str) -> Result<Option<i64>, Error> {
        let Some(row) = self.rows.get(&self.hasher.hash_one(id)) else {
            return Ok(None);
        };
        let same: bool = db
            .prepare_cached(&self.select)
            .and_then(|mut select| select.query_row(rusqlite::params![row, id], |row| row.get(0)))
            .map_err(Error::database("looking up a row"))?;
        Ok(same.then_some(*row))
    }

    /// Forgets an id whose row is gone.
    pub(super) fn remove(&mut self, id: &str, row: i64) {
        let hash = self.hasher.hash_one(id);
        if self.rows.get(&hash) == Some(&row) {
            self.rows.remove(&hash);
        }
    }

    pub(super) fn add(&mut self, id: &str, row: i64) {
        self.rows.entry(self.hasher.hash_one(id)).or_insert(row);
    }
}
