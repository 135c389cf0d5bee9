//! Reads an access file of any writer.
//!
//! The file is decoded into a folder of the reader's own and brought up to the
//! newest tables there; the file on disk is never changed. Rows stream in
//! chunks, so a million grants need no more memory than a thousand.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, ZonedDateTime};
use prost::Message;
use rusqlite::{Connection, OptionalExtension, Row};
use tempfile::TempDir;

use super::container::{self, Found};
use super::writer::FileOptions;
use super::{Error, annotations, pb, schema, stamp};

/// Rows read at once.
const CHUNK: usize = 1_000;

/// How long an unfinished sync is shown where no finished one exists: a week.
const UNFINISHED_IS_SHOWN: SignedDuration = SignedDuration::from_hours(7 * 24);

/// One sync in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRun {
    /// Its id.
    pub sync_id: String,
    /// Local wall clock without a zone.
    pub started_at: String,
    /// `None`: it never finished.
    pub ended_at: Option<String>,
    /// `full`, `partial`, `resources_only`, `partial_upserts` or `partial_deletions`.
    pub sync_type: String,
    /// The sync that a partial one builds on, or nothing.
    pub parent_sync_id: String,
    /// The state of another tool, or nothing.
    pub sync_token: String,
}

/// Whose rows are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// Those of one sync.
    Sync(String),
    /// All, as readers do where no finished full sync exists.
    All,
}

/// A grant and how it expands.
#[derive(Debug, Clone, PartialEq)]
pub struct GrantRow {
    /// The grant; its entitlement and principal are there even where the file
    /// holds their ids only.
    pub grant: pb::Grant,
    /// Which entitlements of the principal carry it further.
    pub expansion: Option<pb::GrantExpandable>,
}

/// Bytes under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// The name.
    pub id: String,
    /// Its MIME type.
    pub content_type: String,
    /// The bytes.
    pub data: Vec<u8>,
}

/// An open access file.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    db: Connection,
    _work: TempDir,
}

impl Reader {
    /// Opens `path`. A missing or empty file has no syncs.
    ///
    /// # Errors
    /// It is something else than an access file, is damaged or too large, or
    /// there is no room for the copy.
    pub fn open(path: &Path, options: &FileOptions) -> Result<Self, Error> {
        let work = options.work()?;
        let database = work.path().join("sync.db");
        if container::decode(path, &database, options.max_decoded_bytes)? == Found::Nothing {
            container::create_private(&database)?;
        }
        let damaged = |error: rusqlite::Error| Error::Damaged {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let db = schema::connect(&database).map_err(damaged)?;
        schema::migrate(&db)?;
        Ok(Self {
            path: path.to_owned(),
            db,
            _work: work,
        })
    }

    /// All syncs, oldest first.
    ///
    /// # Errors
    /// The database refuses.
    pub fn syncs(&self) -> Result<Vec<SyncRun>, Error> {
        self.db
            .prepare(
                "select sync_id, cast(started_at as text), cast(ended_at as text), sync_type, parent_sync_id, sync_token
                 from v1_sync_runs order by id",
            )
            .and_then(|mut select| {
                select
                    .query_map([], |row| {
                        Ok(SyncRun {
                            sync_id: row.get(0)?,
                            started_at: row.get(1)?,
                            ended_at: row.get(2)?,
                            sync_type: row.get(3)?,
                            parent_sync_id: row.get(4)?,
                            sync_token: row.get(5)?,
                        })
                    })?
                    .collect()
            })
            .map_err(Error::database("reading the syncs"))
    }

    /// What the released readers list: the newest finished full sync, else an
    /// unfinished one of the last week, else everything.
    ///
    /// # Errors
    /// The database refuses.
    pub fn latest(&self) -> Result<View, Error> {
        let reading = || Error::database("choosing a sync");
        let finished: Option<String> = self
            .db
            .query_row(
                "select sync_id from v1_sync_runs where ended_at is not null and sync_type = 'full'
                 order by ended_at desc, id desc limit 1",
                [],
                |row| row.get(0),
            )
            .optional()
            .map_err(reading())?;
        if let Some(sync_id) = finished {
            return Ok(View::Sync(sync_id));
        }
        let week_ago = ZonedDateTime::now()
            .checked_sub(UNFINISHED_IS_SHOWN)
            .map_or_else(|_| String::new(), |time| stamp::text(&time));
        let unfinished: Option<String> = self
            .db
            .query_row(
                "select sync_id from v1_sync_runs where ended_at is null and started_at >= ?1
                 order by started_at desc, id desc limit 1",
                [week_ago],
                |row| row.get(0),
            )
            .optional()
            .map_err(reading())?;
        Ok(unfinished.map_or(View::All, View::Sync))
    }

    /// One sync by its id.
    ///
    /// # Errors
    /// The file does not hold it, or the database refuses.
    pub fn sync(&self, id: &str) -> Result<View, Error> {
        if self.syncs()?.iter().any(|sync| sync.sync_id == id) {
            return Ok(View::Sync(id.to_owned()));
        }
        Err(Error::NoSuchSync {
            path: self.path.clone(),
            id: id.to_owned(),
        })
    }

    /// Resource types, in the order of writing.
    #[must_use]
    pub fn resource_types(&self, view: &View) -> Rows<'_, pb::ResourceType> {
        self.rows(view, "v1_resource_types", "data", |row| {
            message(row, "v1_resource_types")
        })
    }

    /// Resources, in the order of writing.
    #[must_use]
    pub fn resources(&self, view: &View) -> Rows<'_, pb::Resource> {
        self.rows(view, "v1_resources", "data", |row| {
            message(row, "v1_resources")
        })
    }

    /// Entitlements, in the order of writing.
    #[must_use]
    pub fn entitlements(&self, view: &View) -> Rows<'_, pb::Entitlement> {
        self.rows(view, "v1_entitlements", "data", |row| {
            message(row, "v1_entitlements")
        })
    }

    /// Grants, in the order of writing.
    #[must_use]
    pub fn grants(&self, view: &View) -> Rows<'_, GrantRow> {
        self.rows(view, "v1_grants", GRANT_COLUMNS, grant)
    }

    /// One resource.
    ///
    /// # Errors
    /// The database refuses, or the row is damaged.
    pub fn resource(
        &self,
        view: &View,
        resource_type: &str,
        id: &str,
    ) -> Result<Option<pb::Resource>, Error> {
        let external_id = format!("{resource_type}:{id}");
        let found: Option<pb::Resource> =
            self.one(view, "v1_resources", "data", &external_id, |row| {
                message(row, "v1_resources")
            })?;
        // Where the kind ends is the message's word.
        Ok(found.filter(|resource| {
            resource
                .id
                .as_ref()
                .is_some_and(|own| own.resource_type == resource_type && own.resource == id)
        }))
    }

    /// One entitlement.
    ///
    /// # Errors
    /// The database refuses, or the row is damaged.
    pub fn entitlement(&self, view: &View, id: &str) -> Result<Option<pb::Entitlement>, Error> {
        self.one(view, "v1_entitlements", "data", id, |row| {
            message(row, "v1_entitlements")
        })
    }

    /// One grant.
    ///
    /// # Errors
    /// The database refuses, or the row is damaged.
    pub fn grant(&self, view: &View, id: &str) -> Result<Option<GrantRow>, Error> {
        self.one(view, "v1_grants", GRANT_COLUMNS, id, grant)
    }

    /// The newest row of an id.
    fn one<T>(
        &self,
        view: &View,
        table: &'static str,
        columns: &str,
        external_id: &str,
        decode: Decode<T>,
    ) -> Result<Option<T>, Error> {
        let reading = || Error::database("looking a row up");
        let (filter, sync_id) = filter(view, 2);
        let mut select = self
            .db
            .prepare_cached(&format!(
                "select id, {columns} from {table} where external_id = ?1 {filter} order by id desc limit 1"
            ))
            .map_err(reading())?;
        let mut rows = select
            .query(rusqlite::params![external_id, sync_id])
            .map_err(reading())?;
        match rows.next().map_err(reading())? {
            Some(row) => decode(row)
                .map(Some)
                .map_err(|error| in_table(error, table)),
            None => Ok(None),
        }
    }

    /// Assets, in the order of writing.
    #[must_use]
    pub fn assets(&self, view: &View) -> Rows<'_, Asset> {
        self.rows(
            view,
            "v1_assets",
            "data, external_id, content_type",
            |row| {
                let reading = || Error::database("reading v1_assets");
                Ok(Asset {
                    data: row.get(1).map_err(reading())?,
                    id: row.get(2).map_err(reading())?,
                    content_type: row.get(3).map_err(reading())?,
                })
            },
        )
    }

    fn rows<T>(
        &self,
        view: &View,
        table: &'static str,
        columns: &str,
        decode: Decode<T>,
    ) -> Rows<'_, T> {
        let (filter, sync_id) = filter(view, 3);
        Rows {
            db: &self.db,
            table,
            query: format!(
                "select id, {columns} from {table} where id > ?1 {filter} order by id limit ?2"
            ),
            sync_id,
            decode,
            after: i64::MIN,
            chunk: VecDeque::new(),
            done: false,
        }
    }
}

/// What [`grant`] reads, after the row's own id.
const GRANT_COLUMNS: &str = "data, expansion, resource_type_id, resource_id, entitlement_id, \
                             principal_resource_type_id, principal_resource_id, external_id";

/// A condition for a view, and the value of its parameter.
fn filter(view: &View, parameter: u8) -> (String, Option<String>) {
    match view {
        View::Sync(id) => (format!("and sync_id = ?{parameter}"), Some(id.clone())),
        View::All => (format!("and ?{parameter} is null"), None),
    }
}

type Decode<T> = fn(&Row<'_>) -> Result<T, Error>;

/// The rows of one table, read in chunks. Ends after the first error.
#[derive(Debug)]
pub struct Rows<'r, T> {
    db: &'r Connection,
    table: &'static str,
    query: String,
    sync_id: Option<String>,
    decode: Decode<T>,
    after: i64,
    chunk: VecDeque<T>,
    done: bool,
}

impl<T> Rows<'_, T> {
    fn fill(&mut self) -> Result<(), Error> {
        let reading = || Error::database("reading rows");
        let mut select = self.db.prepare_cached(&self.query).map_err(reading())?;
        let mut rows = select
            .query(rusqlite::params![
                self.after,
                i64::try_from(CHUNK).unwrap_or(i64::MAX),
                self.sync_id
            ])
            .map_err(reading())?;
        let mut read = 0;
        while let Some(row) = rows.next().map_err(reading())? {
            self.after = row.get(0).map_err(reading())?;
            self.chunk
                .push_back((self.decode)(row).map_err(|error| in_table(error, self.table))?);
            read += 1;
        }
        self.done = read < CHUNK;
        Ok(())
    }
}

fn in_table(error: Error, table: &'static str) -> Error {
    match error {
        Error::Row { row, source, .. } => Error::Row { table, row, source },
        other => other,
    }
}

impl<T> Iterator for Rows<'_, T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.chunk.is_empty()
            && !self.done
            && let Err(error) = self.fill()
        {
            self.done = true;
            self.chunk.clear();
            return Some(Err(error));
        }
        self.chunk.pop_front().map(Ok)
    }
}

fn message<M: Message + Default>(row: &Row<'_>, table: &'static str) -> Result<M, Error> {
    let reading = || Error::database("reading rows");
    let id = row.get(0).map_err(reading())?;
    let data = row
        .get_ref(1)
        .and_then(|value| Ok(value.as_bytes()?))
        .map_err(reading())?;
    M::decode(data).map_err(|source| Error::Row {
        table,
        row: id,
        source,
    })
}

/// A grant in any of its forms: newer writers may leave entitlement and
/// principal out of the message, older ones leave the expansion in it.
fn grant(row: &Row<'_>) -> Result<GrantRow, Error> {
    let reading = || Error::database("reading a grant");
    let text = |column: usize| row.get::<_, String>(column).map_err(reading());
    let mut grant: pb::Grant = message(row, "v1_grants")?;
    let expansion = row
        .get_ref(2)
        .and_then(|value| Ok(value.as_bytes_or_null()?))
        .map_err(reading())?;
    let expansion = match expansion {
        Some(bytes) => pb::GrantExpandable::decode(bytes).ok(),
        None => annotations::find(&grant.annotations),
    };
    grant
        .annotations
        .retain(|annotation| !annotations::is::<pb::GrantExpandable>(annotation));
    if grant.id.is_empty() {
        grant.id = text(8)?;
    }
    let entitlement = grant.entitlement.get_or_insert_default();
    if entitlement.id.is_empty() {
        entitlement.id = text(5)?;
    }
    let resource = entitlement.resource.get_or_insert_default();
    if resource.id.is_none() {
        resource.id = Some(pb::ResourceId {
            resource_type: text(3)?,
            resource: text(4)?,
            ..Default::default()
        });
    }
    let principal = grant.principal.get_or_insert_default();
    if principal.id.is_none() {
        principal.id = Some(pb::ResourceId {
            resource_type: text(6)?,
            resource: text(7)?,
            ..Default::default()
        });
    }
    Ok(GrantRow { grant, expansion })
}
