//! The objects of a sync, by id, as the short copies that entitlements and
//! grants carry.
//!
//! In a scratch database beside the file that is written: clusters have few
//! objects, but nothing says so of other systems. One copy is kept decoded,
//! since entitlements come object by object.

use std::path::Path;

use prost::Message;
use rusqlite::{Connection, OptionalExtension};

use crate::c1z::{Error, pb};
use crate::sandbox::contract::types::ObjectId;

#[derive(Debug)]
pub(super) struct Objects {
    db: Connection,
    last: Option<(ObjectId, pb::Resource)>,
}

impl Objects {
    /// In a folder that does not outlive the sync.
    pub(super) fn new(folder: &Path) -> Result<Self, Error> {
        let db = Connection::open(folder.join("objects.db")).map_err(error)?;
        db.execute_batch(
            "pragma journal_mode = off; pragma synchronous = off; pragma locking_mode = exclusive;
             create table objects (kind text not null, id text not null, copy blob not null, primary key (kind, id)) without rowid;
             begin",
        )
        .map_err(error)?;
        Ok(Self { db, last: None })
    }

    pub(super) fn put(&mut self, id: &ObjectId, copy: &pb::Resource) -> Result<(), Error> {
        self.db
            .prepare_cached("insert or ignore into objects (kind, id, copy) values (?1, ?2, ?3)")
            .and_then(|mut insert| insert.execute((&id.kind, &id.id, copy.encode_to_vec())))
            .map(|_| ())
            .map_err(error)
    }

    /// The copy of an object, if it was listed.
    pub(super) fn copy(&mut self, id: &ObjectId) -> Result<Option<pb::Resource>, Error> {
        if let Some((last, copy)) = &self.last
            && last.kind == id.kind
            && last.id == id.id
        {
            return Ok(Some(copy.clone()));
        }
        let bytes: Option<Vec<u8>> = self
            .db
            .prepare_cached("select copy from objects where kind = ?1 and id = ?2")
            .and_then(|mut select| {
                select
                    .query_row([&id.kind, &id.id], |row| row.get(0))
                    .optional()
            })
            .map_err(error)?;
        let Some(bytes) = bytes else { return Ok(None) };
        let copy = pb::Resource::decode(bytes.as_slice()).map_err(|source| Error::Row {
            table: "objects",
            row: 0,
            source,
        })?;
        self.last = Some((id.clone(), copy.clone()));
        Ok(Some(copy))
    }
}

fn error(source: rusqlite::Error) -> Error {
    Error::Database {
        doing: "keeping the objects of the sync",
        source,
    }
}
