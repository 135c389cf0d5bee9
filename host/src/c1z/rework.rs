//! Looking at the rows of the sync that is being written, and changing them:
//! what comes after listing (`people`) works on the rows themselves, since
//! they do not fit into memory.
//!
//! Rows are read in chunks, so that writing between two chunks is safe.

use prost::Message;
use rusqlite::params;

use super::annotations::is;
use super::writer::{Writer, resource_key};
use super::{Error, pb};

/// Rows read at once.
const CHUNK: i64 = 1_000;

/// A grant of the sync being written, as its row.
#[derive(Debug, Clone)]
pub struct StoredGrant {
    /// The row.
    pub row: i64,
    /// The entitlement's id.
    pub entitlement: String,
    /// The principal's resource type.
    pub principal_type: String,
    /// The principal's id.
    pub principal: String,
    /// How it expands.
    pub expansion: Option<pb::GrantExpandable>,
    data: Vec<u8>,
}

impl StoredGrant {
    /// The message.
    ///
    /// # Errors
    /// The row holds something else.
    pub fn message(&self) -> Result<pb::Grant, Error> {
        decode("v1_grants", self.row, &self.data)
    }
}

/// Grants that were written, and what they ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Grants in the file.
    pub grants: u64,
    /// Grants that were written with an expansion.
    pub expandable: u64,
    /// Grants that name somebody of another system by an id.
    pub by_id: u64,
    /// Grants that name somebody of another system otherwise.
    pub by_fact: u64,
}

impl Tally {
    pub(super) fn expects(&mut self, message: &pb::Grant) {
        let has = |found: bool| u64::from(found);
        let any = &message.annotations;
        self.by_id += has(any.iter().any(is::<pb::ExternalResourceMatchId>));
        self.by_fact += has(any.iter().any(|annotation| {
            is::<pb::ExternalResourceMatch>(annotation)
                || is::<pb::ExternalResourceMatchAll>(annotation)
        }));
    }
}

/// Which grants are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All of this sync.
    All,
    /// Those that expand.
    Expandable,
}

impl Writer {
    /// The next grants of this sync after a row, in the order of writing; none
    /// at the end. The first row is after `0`.
    ///
    /// # Errors
    /// The database refuses, or a row holds something else than a grant.
    pub fn grants_after(&self, row: i64, which: Which) -> Result<Vec<StoredGrant>, Error> {
        let reading = || Error::database("reading the grants of the sync");
        let query = match which {
            Which::All => {
                "select id, entitlement_id, principal_resource_type_id, principal_resource_id, expansion, data
                 from v1_grants where id > ?1 and sync_id = ?2 order by id limit ?3"
            }
            Which::Expandable => {
                "select id, entitlement_id, principal_resource_type_id, principal_resource_id, expansion, data
                 from v1_grants where id > ?1 and sync_id = ?2 and expansion is not null order by id limit ?3"
            }
        };
        let after = row.max(self.first_grant);
        let mut select = self.db.prepare_cached(query).map_err(reading())?;
        let mut rows = select
            .query(params![after, self.sync_id(), CHUNK])
            .map_err(reading())?;
        let mut chunk = Vec::new();
        while let Some(row) = rows.next().map_err(reading())? {
            let id = row.get(0).map_err(reading())?;
            let expansion: Option<Vec<u8>> = row.get(4).map_err(reading())?;
            chunk.push(StoredGrant {
                row: id,
                entitlement: row.get(1).map_err(reading())?,
                principal_type: row.get(2).map_err(reading())?,
                principal: row.get(3).map_err(reading())?,
                expansion: expansion
                    .map(|bytes| decode("v1_grants", id, &bytes))
                    .transpose()?,
                data: row.get(5).map_err(reading())?,
            });
        }
        Ok(chunk)
    }

    /// One grant of this sync by its row.
    ///
    /// # Errors
    /// The database refuses, or the row holds something else.
    pub fn grant_at(&self, row: i64) -> Result<pb::Grant, Error> {
        self.blob("v1_grants", row)
            .and_then(|data| decode("v1_grants", row, &data))
    }

    /// Whether this sync has a grant of this id.
    ///
    /// # Errors
    /// The database refuses.
    pub fn has_grant(&self, id: &str) -> Result<bool, Error> {
        Ok(self.grants.row(&self.db, id)?.is_some())
    }

    /// Writes the message of a grant anew; ids and expansion stay.
    ///
    /// # Errors
    /// The database refuses.
    pub fn replace_grant(&mut self, row: i64, message: &pb::Grant) -> Result<(), Error> {
        self.insert(
            "update v1_grants set data = ?2 where id = ?1",
            params![row, message.encode_to_vec()],
        )
    }

    /// Writes the message of a grant anew, and how it expands.
    ///
    /// # Errors
    /// The database refuses.
    pub fn replace_grant_and_expansion(
        &mut self,
        row: i64,
        message: &pb::Grant,
        expansion: Option<&pb::GrantExpandable>,
    ) -> Result<(), Error> {
        self.insert(
            "update v1_grants set data = ?2, expansion = ?3, needs_expansion = ?4 where id = ?1",
            params![
                row,
                message.encode_to_vec(),
                expansion.map(Message::encode_to_vec),
                expansion.is_some()
            ],
        )
    }

    /// Takes a grant away.
    ///
    /// # Errors
    /// The database refuses.
    pub fn remove_grant(&mut self, row: i64, id: &str) -> Result<(), Error> {
        self.insert("delete from v1_grants where id = ?1", [row])?;
        self.grants.remove(id, row);
        self.tally.grants -= 1;
        Ok(())
    }

    /// The row of an entitlement of this sync.
    ///
    /// # Errors
    /// The database refuses.
    pub fn entitlement_row(&self, id: &str) -> Result<Option<i64>, Error> {
        self.entitlements.row(&self.db, id)
    }

    /// Whether the entitlement of a row is one on this resource.
    ///
    /// # Errors
    /// The database refuses.
    pub fn entitlement_is_on(&self, row: i64, kind: &str, id: &str) -> Result<bool, Error> {
        self.db
            .prepare_cached(
                "select resource_type_id = ?2 and resource_id = ?3 from v1_entitlements where id = ?1",
            )
            .and_then(|mut select| select.query_row(params![row, kind, id], |row| row.get(0)))
            .map_err(Error::database("reading an entitlement"))
    }

    /// An entitlement by its row.
    ///
    /// # Errors
    /// The database refuses, or the row holds something else.
    pub fn entitlement_at(&self, row: i64) -> Result<pb::Entitlement, Error> {
        self.blob("v1_entitlements", row)
            .and_then(|data| decode("v1_entitlements", row, &data))
    }

    /// A resource of this sync.
    ///
    /// # Errors
    /// The database refuses, or the row holds something else.
    pub fn resource(&self, kind: &str, id: &str) -> Result<Option<pb::Resource>, Error> {
        let Some(row) = self.resources.row(&self.db, &resource_key(kind, id))? else {
            return Ok(None);
        };
        self.blob("v1_resources", row)
            .and_then(|data| decode("v1_resources", row, &data))
            .map(Some)
    }

    /// The resources of one type of this sync after a row, with their rows;
    /// none at the end. The first row is after `0`.
    ///
    /// # Errors
    /// The database refuses, or a row holds something else.
    pub fn resources_after(&self, kind: &str, row: i64) -> Result<Vec<(i64, pb::Resource)>, Error> {
        let reading = || Error::database("reading the resources of the sync");
        let rows: Vec<(i64, Vec<u8>)> = self
            .db
            .prepare_cached(
                "select id, data from v1_resources where id > ?1 and sync_id = ?2 and resource_type_id = ?3
                 order by id limit ?4",
            )
            .and_then(|mut select| {
                select
                    .query_map(params![row, self.sync_id(), kind, CHUNK], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })?
                    .collect()
            })
            .map_err(reading())?;
        rows.into_iter()
            .map(|(row, data)| Ok((row, decode("v1_resources", row, &data)?)))
            .collect()
    }

    /// Writes the message of a resource anew; its ids stay.
    ///
    /// # Errors
    /// The database refuses.
    pub fn replace_resource(&mut self, row: i64, message: &pb::Resource) -> Result<(), Error> {
        self.insert(
            "update v1_resources set data = ?2 where id = ?1",
            params![row, message.encode_to_vec()],
        )
    }

    /// The row of the last grant.
    ///
    /// # Errors
    /// The database refuses.
    pub fn last_grant(&self) -> Result<i64, Error> {
        self.db
            .query_row("select ifnull(max(id), 0) from v1_grants", [], |row| {
                row.get(0)
            })
            .map_err(Error::database("reading the grants of the sync"))
    }

    /// What the grants of this sync are.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    fn blob(&self, table: &'static str, row: i64) -> Result<Vec<u8>, Error> {
        self.db
            .prepare_cached(&format!("select data from {table} where id = ?1"))
            .and_then(|mut select| select.query_row([row], |row| row.get(0)))
            .map_err(Error::database("reading a row"))
    }
}

fn decode<M: Message + Default>(table: &'static str, row: i64, data: &[u8]) -> Result<M, Error> {
    M::decode(data).map_err(|source| Error::Row { table, row, source })
}
