//! Writes one sync into an access file.
//!
//! All rows go into a decoded copy in a folder of the writer's own; the file
//! on disk is replaced at the end, by a rename within its folder. The copy is
//! thrown away on any error, so it needs no journal; the price is that a sync
//! never resumes.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::ZonedDateTime;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, Params, params};
use tempfile::{NamedTempFile, TempDir};

use super::container::{self, Found};
use super::rework::Tally;
use super::seen::Seen;
use super::{Error, MAX_DECODED_BYTES, annotations, pb, schema, stamp};

/// Rows in one transaction.
const TRANSACTION_ROWS: usize = 10_000;

/// How access files are opened.
#[derive(Debug, Clone)]
pub struct FileOptions {
    /// Where decoded copies are made; the system's temporary folder by default.
    pub work_folder: Option<PathBuf>,
    /// Decoded bytes that a file may have, one that exists or one that is
    /// written: what is larger could not be opened again.
    pub max_decoded_bytes: u64,
    /// Finished full syncs that a written file keeps, the new one counted.
    /// `None` keeps all of them.
    pub keep_full_syncs: Option<u32>,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            work_folder: None,
            max_decoded_bytes: MAX_DECODED_BYTES,
            keep_full_syncs: Some(2),
        }
    }
}

impl FileOptions {
    /// A folder for one decoded copy, which only its owner can enter.
    pub(super) fn work(&self) -> Result<TempDir, Error> {
        let parent = self.work_folder.clone().unwrap_or_else(std::env::temp_dir);
        tempfile::Builder::new()
            .prefix("baton-host-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .tempdir_in(&parent)
            .map_err(Error::io("creating a work folder in", &parent))
    }
}

/// What a sync covers. Readers show the newest finished full sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncType {
    /// Everything.
    Full,
    /// Resource types and resources, no entitlements and no grants.
    ResourcesOnly,
}

impl SyncType {
    /// The name in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ResourcesOnly => "resources_only",
        }
    }
}

/// Whether a row was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It was.
    New,
    /// There was one with the same id in this sync.
    Again,
}

/// What a finished writer wrote.
#[derive(Debug, Clone)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub file_bytes: u64,
    /// The length of its decoded content in bytes.
    pub decoded_bytes: u64,
    /// The id of the sync.
    pub sync_id: String,
    /// Older syncs that were removed from the file.
    pub removed_syncs: usize,
}

/// One sync being written. Dropped before [`Writer::finish`] it leaves the
/// file on disk as it was.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    /// In the folder of `path`, so that the last step is a rename.
    out: NamedTempFile,
    work: TempDir,
    database: PathBuf,
    pub(super) db: Connection,
    sync_id: String,
    discovered_at: String,
    keep_full_syncs: Option<u32>,
    max_bytes: u64,
    /// The last grant of other syncs.
    pub(super) first_grant: i64,
    /// What this sync has: a work file has no indexes.
    types: Seen,
    pub(super) resources: Seen,
    pub(super) entitlements: Seen,
    pub(super) grants: Seen,
    pub(super) tally: Tally,
    rows: Cell<usize>,
}

impl Writer {
    /// Opens `path`, which may be missing or empty, and begins a sync in a
    /// copy of it. Finished and unfinished syncs of other tools stay in it.
    ///
    /// # Errors
    /// `path` is something else than an access file, its folder cannot be
    /// written, or there is no room for the copy.
    pub fn open(path: &Path, sync_type: SyncType, options: &FileOptions) -> Result<Self, Error> {
        // A link keeps pointing at the file that is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if let Ok(metadata) = fs::metadata(&path)
            && !metadata.is_file()
        {
            return Err(Error::NotAnAccessFile { path });
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // Made first: a folder that cannot be written shows before any work.
        let out = tempfile::Builder::new()
            .prefix(".baton-host-")
            .suffix(".c1z.tmp")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .tempfile_in(folder)
            .map_err(Error::io("creating a file in", folder))?;

        let work = options.work()?;
        let database = work.path().join("sync.db");
        let found = container::decode(&path, &database, options.max_decoded_bytes)?;
        if found == Found::Nothing {
            container::create_private(&database)?;
        }
        let db = schema::connect(&database).map_err(Error::database("opening the work file"))?;
        if found == Found::Database {
            check(&db, &path)?;
        }
        schema::limit(&db, options.max_decoded_bytes)?;
        schema::migrate(&db)?;
        schema::unindex(&db)?;

        let first_grant = db
            .query_row("select ifnull(max(id), 0) from v1_grants", [], |row| {
                row.get(0)
            })
            .map_err(Error::database("beginning the sync"))?;
        let now = ZonedDateTime::now();
        let sync_id = stamp::ksuid(now.timestamp())?;
        let discovered_at = stamp::text(&now);
        db.execute(
            "insert into v1_sync_runs
               (sync_id, started_at, sync_token, sync_type, parent_sync_id, linked_sync_id, supports_diff, grants_backfilled)
             values (?1, ?2, '', ?3, '', '', 1, 1)",
            params![sync_id, discovered_at, sync_type.name()],
        )
        .map_err(Error::database("beginning the sync"))?;
        db.execute_batch("begin")
            .map_err(Error::database("beginning the sync"))?;
        Ok(Self {
            path,
            out,
            work,
            database,
            db,
            sync_id,
            discovered_at,
            keep_full_syncs: options.keep_full_syncs,
            max_bytes: options.max_decoded_bytes,
            first_grant,
            types: Seen::new("v1_resource_types"),
            resources: Seen::new("v1_resources"),
            entitlements: Seen::new("v1_entitlements"),
            grants: Seen::new("v1_grants"),
            tally: Tally::default(),
            rows: Cell::new(0),
        })
    }

    /// The id of the sync being written.
    #[must_use]
    pub fn sync_id(&self) -> &str {
        &self.sync_id
    }

    /// A folder for files that shall not outlive this sync.
    #[must_use]
    pub fn work_folder(&self) -> &Path {
        self.work.path()
    }

    /// Writes a resource type; the first of an id stays.
    ///
    /// # Errors
    /// The database refuses, as on a full disk.
    pub fn put_resource_type(&mut self, message: &pb::ResourceType) -> Result<Put, Error> {
        if self.types.row(&self.db, &message.id)?.is_some() {
            return Ok(Put::Again);
        }
        self.insert(
            "insert into v1_resource_types (external_id, data, sync_id, discovered_at) values (?1, ?2, ?3, ?4)",
            params![message.id, message.encode_to_vec(), self.sync_id, self.discovered_at],
        )?;
        self.types.add(&message.id, self.db.last_insert_rowid());
        Ok(Put::New)
    }

    /// Writes a resource; the first of an id stays.
    ///
    /// # Errors
    /// It has no id, or the database refuses.
    pub fn put_resource(&mut self, message: &pb::Resource) -> Result<Put, Error> {
        let id = message.id.as_ref().ok_or(Error::Incomplete {
            what: "a resource",
            missing: "its id",
        })?;
        let external_id = resource_key(&id.resource_type, &id.resource);
        if self.resources.row(&self.db, &external_id)?.is_some() {
            return Ok(Put::Again);
        }
        let parent = message.parent_resource_id.as_ref();
        self.insert(
            "insert into v1_resources (resource_type_id, external_id, parent_resource_type_id, parent_resource_id,
               data, sync_id, discovered_at) values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                id.resource_type,
                external_id,
                parent.map(|parent| &parent.resource_type),
                parent.map(|parent| &parent.resource),
                message.encode_to_vec(),
                self.sync_id,
                self.discovered_at,
            ],
        )?;
        self.resources
            .add(&external_id, self.db.last_insert_rowid());
        Ok(Put::New)
    }

    /// Writes an entitlement; the first of an id stays.
    ///
    /// # Errors
    /// It has no resource id, or the database refuses.
    pub fn put_entitlement(&mut self, message: &pb::Entitlement) -> Result<Put, Error> {
        let on = message
            .resource
            .as_ref()
            .and_then(|resource| resource.id.as_ref())
            .ok_or(Error::Incomplete {
                what: "an entitlement",
                missing: "the id of its resource",
            })?;
        if self.entitlements.row(&self.db, &message.id)?.is_some() {
            return Ok(Put::Again);
        }
        self.insert(
            "insert into v1_entitlements (resource_type_id, resource_id, external_id, data, sync_id, discovered_at)
             values (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                on.resource_type,
                on.resource,
                message.id,
                message.encode_to_vec(),
                self.sync_id,
                self.discovered_at,
            ],
        )?;
        self.entitlements
            .add(&message.id, self.db.last_insert_rowid());
        Ok(Put::New)
    }

    /// Whether this sync has an entitlement of this id.
    #[must_use]
    pub fn has_entitlement(&self, id: &str) -> bool {
        self.entitlements.has(id)
    }

    /// Whether this sync has a resource of this type and id.
    #[must_use]
    pub fn has_resource(&self, resource_type: &str, id: &str) -> bool {
        self.resources.has(&resource_key(resource_type, id))
    }

    /// Writes a grant. Its `GrantExpandable` goes into a column of its own. Of
    /// an id that was written before, the new message stays, and the grant
    /// remains expandable by what either said.
    ///
    /// # Errors
    /// It lacks the ids of its entitlement's resource or of its principal, or
    /// the database refuses.
    pub fn put_grant(&mut self, mut message: pb::Grant) -> Result<Put, Error> {
        const WHAT: &str = "a grant";
        let expansion = take_expansion(&mut message);
        let data = message.encode_to_vec();
        let entitlement = message.entitlement.as_ref().ok_or(Error::Incomplete {
            what: WHAT,
            missing: "its entitlement",
        })?;
        let on = entitlement
            .resource
            .as_ref()
            .and_then(|resource| resource.id.as_ref())
            .ok_or(Error::Incomplete {
                what: WHAT,
                missing: "the id of its entitlement's resource",
            })?;
        let principal = message
            .principal
            .as_ref()
            .and_then(|principal| principal.id.as_ref())
            .ok_or(Error::Incomplete {
                what: WHAT,
                missing: "the id of its principal",
            })?;

        few(&message.id, expansion.as_ref())?;
        self.tally.expandable += u64::from(expansion.is_some());
        self.tally.expects(&message);
        if let Some(row) = self.grants.row(&self.db, &message.id)? {
            let before: Option<Vec<u8>> = self
                .db
                .prepare_cached("select expansion from v1_grants where id = ?1")
                .and_then(|mut select| select.query_row([row], |row| row.get(0)))
                .map_err(Error::database("reading a grant"))?;
            let expansion = union(before, expansion);
            few(&message.id, expansion.as_ref())?;
            self.insert(
                "update v1_grants set data = ?1, expansion = ?2, needs_expansion = ?3 where id = ?4",
                params![data, expansion.as_ref().map(Message::encode_to_vec), expansion.is_some(), row],
            )?;
            return Ok(Put::Again);
        }
        self.insert(
            "insert into v1_grants (resource_type_id, resource_id, entitlement_id, principal_resource_type_id,
               principal_resource_id, external_id, expansion, needs_expansion, data, sync_id, discovered_at)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                on.resource_type,
                on.resource,
                entitlement.id,
                principal.resource_type,
                principal.resource,
                message.id,
                expansion.as_ref().map(Message::encode_to_vec),
                expansion.is_some(),
                data,
                self.sync_id,
                self.discovered_at,
            ],
        )?;
        self.grants.add(&message.id, self.db.last_insert_rowid());
        self.tally.grants += 1;
        Ok(Put::New)
    }

    /// Writes an asset: bytes under a name, which other tools ignore. A name
    /// is written once in a sync.
    ///
    /// # Errors
    /// The database refuses.
    pub fn put_asset(&mut self, id: &str, content_type: &str, data: &[u8]) -> Result<(), Error> {
        self.insert(
            "insert into v1_assets (external_id, content_type, data, sync_id, discovered_at)
             values (?1, ?2, ?3, ?4, ?5)",
            params![id, content_type, data, self.sync_id, self.discovered_at],
        )
    }

    /// Ends the sync, removes syncs that are too old and replaces the file.
    ///
    /// # Errors
    /// The database or the disk refuses; the file on disk is then as before.
    pub fn finish(self) -> Result<Written, Error> {
        let Self {
            path,
            out,
            work,
            mut database,
            mut db,
            sync_id,
            keep_full_syncs,
            ..
        } = self;
        let ending = || Error::database("ending the sync");
        let newest: Option<String> = db
            .query_row(
                "select max(ended_at) from v1_sync_runs where typeof(ended_at) = 'text'",
                [],
                |row| row.get(0),
            )
            .map_err(ending())?;
        let ended_at = stamp::after(stamp::text(&ZonedDateTime::now()), newest.as_deref());
        db.execute(
            "update v1_sync_runs set ended_at = ?1 where sync_id = ?2",
            [&ended_at, &sync_id],
        )
        .map_err(ending())?;
        let removed_syncs = remove_old_syncs(&db, keep_full_syncs)?;
        db.execute_batch("commit").map_err(ending())?;
        if removed_syncs > 0 {
            // Into a second file of the work folder: a plain `vacuum` would
            // write its copy wherever the system keeps temporary files.
            let packed = work.path().join("packed.db");
            container::create_private(&packed)?;
            db.execute("vacuum into ?1", [packed.to_string_lossy()])
                .map_err(Error::database("packing the file"))?;
            db.close().map_err(|(_, error)| ending()(error))?;
            fs::remove_file(&database).map_err(Error::io("removing", &database))?;
            db = schema::connect(&packed).map_err(ending())?;
            database = packed;
        }
        schema::index(&db)?;
        db.close().map_err(|(_, error)| ending()(error))?;

        let decoded_bytes = fs::metadata(&database)
            .map_err(Error::io("reading", &database))?
            .len();
        let file_bytes = container::encode(&database, out.as_file(), out.path())?;
        out.persist(&path)
            .map_err(|error| Error::io("replacing", &path)(error.error))?;
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            fs::File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(Error::io("syncing", folder))?;
        }
        Ok(Written {
            path,
            file_bytes,
            decoded_bytes,
            sync_id,
            removed_syncs,
        })
    }

    /// SQLite says the same of a full disk and of its own limit.
    fn full(&self, error: &rusqlite::Error) -> Option<Error> {
        /// Pages that one row may take.
        const ROW: i64 = 1024;
        if error.sqlite_error_code() != Some(rusqlite::ErrorCode::DiskFull) {
            return None;
        }
        let pages =
            |pragma: &str| -> Option<i64> { self.db.query_row(pragma, [], |row| row.get(0)).ok() };
        let full =
            pages("pragma page_count")?.saturating_add(ROW) >= pages("pragma max_page_count")?;
        full.then(|| Error::TooLarge {
            path: self.path.clone(),
            limit: self.max_bytes,
        })
    }

    /// What a decoded file may hold.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    pub(super) fn insert(&self, statement: &str, values: impl Params) -> Result<(), Error> {
        let writing = || Error::database("writing a row");
        self.db
            .prepare_cached(statement)
            .and_then(|mut insert| insert.execute(values))
            .map_err(|error| self.full(&error).unwrap_or_else(|| writing()(error)))?;
        self.rows.set(self.rows.get() + 1);
        if self.rows.get().is_multiple_of(TRANSACTION_ROWS) {
            self.db.execute_batch("commit; begin").map_err(writing())?;
        }
        Ok(())
    }
}

pub(super) fn resource_key(resource_type: &str, id: &str) -> String {
    format!("{resource_type}:{id}")
}

/// A database that another tool wrote may be damaged in any way; this finds
/// the ways that would break the new sync.
fn check(db: &Connection, path: &Path) -> Result<(), Error> {
    db.query_row("select count(*) from sqlite_master", [], |row| {
        row.get::<_, i64>(0)
    })
    .map(|_| ())
    .map_err(|error| Error::Damaged {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// Takes `GrantExpandable` off a grant. One that names nothing is dropped.
fn take_expansion(grant: &mut pb::Grant) -> Option<pb::GrantExpandable> {
    let found = annotations::find::<pb::GrantExpandable>(&grant.annotations);
    grant
        .annotations
        .retain(|annotation| !annotations::is::<pb::GrantExpandable>(annotation));
    found.filter(|expansion| {
        expansion
            .entitlement_ids
            .iter()
            .any(|id| !id.trim().is_empty())
    })
}

/// Entitlements that one grant may expand through. Each time a grant is listed
/// again all of them are read and written anew.
const EXPANSIONS: usize = 1_000;

fn few(id: &str, expansion: Option<&pb::GrantExpandable>) -> Result<(), Error> {
    if expansion.is_some_and(|expansion| expansion.entitlement_ids.len() > EXPANSIONS) {
        return Err(Error::Expansions {
            id: id.chars().take(200).flat_map(char::escape_debug).collect(),
            limit: EXPANSIONS,
        });
    }
    Ok(())
}

fn union(before: Option<Vec<u8>>, now: Option<pb::GrantExpandable>) -> Option<pb::GrantExpandable> {
    let before = before.and_then(|bytes| pb::GrantExpandable::decode(bytes.as_slice()).ok());
    match (before, now) {
        (Some(mut before), Some(now)) => {
            let mut known: HashSet<String> = before.entitlement_ids.iter().cloned().collect();
            let new = now.entitlement_ids.into_iter();
            before
                .entitlement_ids
                .extend(new.filter(|id| known.insert(id.clone())));
            Some(before)
        }
        (before, now) => before.or(now),
    }
}

/// Removes finished syncs as other writers do: full ones beyond the newest
/// `keep`, and others that ended before the oldest kept one began. Unfinished
/// syncs stay. Returns how many syncs went.
fn remove_old_syncs(db: &Connection, keep: Option<u32>) -> Result<usize, Error> {
    let Some(keep) = keep.filter(|keep| *keep > 0) else {
        return Ok(0);
    };
    let removing = || Error::database("removing old syncs");
    let oldest: Option<(i64, String)> = db
        .query_row(
            "select id, started_at from v1_sync_runs where sync_type = 'full' and ended_at is not null
             order by id desc limit 1 offset ?1",
            [keep - 1],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .map_err(removing())?;
    let Some((oldest, started_at)) = oldest else {
        return Ok(0);
    };
    let old: Vec<String> = db
        .prepare(
            "select sync_id from v1_sync_runs where ended_at is not null and
               case sync_type when 'full' then id < ?1 else ended_at < ?2 end",
        )
        .and_then(|mut select| {
            select
                .query_map(params![oldest, started_at], |row| row.get(0))?
                .collect()
        })
        .map_err(removing())?;
    for sync_id in &old {
        for table in schema::SYNC_TABLES {
            db.execute(
                &format!("delete from {table} where sync_id = ?1"),
                [sync_id],
            )
            .map_err(removing())?;
        }
    }
    Ok(old.len())
}
