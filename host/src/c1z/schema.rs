//! The tables of version 1 of the access file, and bringing older files up to
//! them.
//!
//! Names are byte for byte those that other writers create, the two swapped
//! index names of `v1_resources` included: with other names their
//! `if not exists` would be silently satisfied by the wrong index.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::Error;

/// Every table that belongs to syncs, with the column that names the sync.
pub(super) const SYNC_TABLES: [&str; 7] = [
    "v1_resource_types",
    "v1_resources",
    "v1_entitlements",
    "v1_grants",
    "v1_assets",
    "v1_connector_sessions",
    "v1_sync_runs",
];

const TABLES: &str = "
create table if not exists v1_resource_types (
    id integer primary key,
    external_id text not null,
    data blob not null,
    sync_id text not null,
    discovered_at datetime not null
);
create table if not exists v1_resources (
    id integer primary key,
    resource_type_id text not null,
    external_id text not null,
    parent_resource_type_id text,
    parent_resource_id text,
    data blob not null,
    sync_id text not null,
    discovered_at datetime not null
);
create table if not exists v1_entitlements (
    id integer primary key,
    resource_type_id text not null,
    resource_id text not null,
    external_id text not null,
    data blob not null,
    sync_id text not null,
    discovered_at datetime not null
);
create table if not exists v1_sync_runs (
    id integer primary key,
    sync_id text not null,
    started_at datetime not null,
    ended_at datetime,
    sync_token text not null,
    sync_type text not null default 'full',
    parent_sync_id text not null default '',
    linked_sync_id text not null default '',
    supports_diff integer not null default 0,
    grants_backfilled integer not null default 0
);
create table if not exists v1_grants (
    id integer primary key,
    resource_type_id text not null,
    resource_id text not null,
    entitlement_id text not null,
    principal_resource_type_id text not null,
    principal_resource_id text not null,
    external_id text not null,
    expansion blob,
    needs_expansion integer not null default 0,
    data blob not null,
    sync_id text not null,
    discovered_at datetime not null
);
create table if not exists v1_assets (
    id integer primary key,
    external_id text not null,
    content_type text not null,
    data blob not null,
    sync_id text not null,
    discovered_at datetime not null
);
create table if not exists v1_connector_sessions (
    id integer primary key,
    sync_id text not null,
    key text not null,
    value blob not null
);
";

/// Columns that came later: (table, column, declaration).
const LATER_COLUMNS: [(&str, &str, &str); 7] = [
    ("v1_sync_runs", "sync_type", "text not null default 'full'"),
    ("v1_sync_runs", "parent_sync_id", "text not null default ''"),
    ("v1_sync_runs", "linked_sync_id", "text not null default ''"),
    (
        "v1_sync_runs",
        "supports_diff",
        "integer not null default 0",
    ),
    (
        "v1_sync_runs",
        "grants_backfilled",
        "integer not null default 0",
    ),
    ("v1_grants", "expansion", "blob"),
    ("v1_grants", "needs_expansion", "integer not null default 0"),
];

/// Every index: (name, what it is on).
const INDEXES: [(&str, &str); 16] = [
    (
        "unique idx_resource_types_external_sync_v1",
        "v1_resource_types (external_id, sync_id)",
    ),
    (
        "idx_resources_resource_type_id_v1",
        "v1_resources (resource_type_id)",
    ),
    (
        "idx_resources_external_sync_v1",
        "v1_resources (parent_resource_type_id, parent_resource_id)",
    ),
    (
        "unique idx_resources_parent_resource_id_v1",
        "v1_resources (external_id, sync_id)",
    ),
    (
        "idx_entitlements_resource_id_v1",
        "v1_entitlements (resource_type_id, resource_id)",
    ),
    (
        "unique idx_entitlements_external_sync_v1",
        "v1_entitlements (external_id, sync_id)",
    ),
    ("unique idx_sync_runs_sync_id_v1", "v1_sync_runs (sync_id)"),
    (
        "idx_grants_resource_type_id_resource_id_v1",
        "v1_grants (resource_type_id, resource_id)",
    ),
    (
        "idx_grants_principal_id_v1",
        "v1_grants (principal_resource_type_id, principal_resource_id)",
    ),
    (
        "idx_grants_entitlement_id_principal_id_v1",
        "v1_grants (entitlement_id, principal_resource_type_id, principal_resource_id)",
    ),
    (
        "unique idx_grants_external_sync_v1",
        "v1_grants (external_id, sync_id)",
    ),
    (
        "idx_grants_sync_expansion_v1",
        "v1_grants (sync_id) where expansion is not null",
    ),
    (
        "idx_grants_sync_needs_expansion_v1",
        "v1_grants (sync_id) where needs_expansion = 1",
    ),
    (
        "idx_grants_entitlement_sync_grant_v1",
        "v1_grants (entitlement_id, sync_id, id)",
    ),
    (
        "unique idx_assets_external_sync_v1",
        "v1_assets (external_id, sync_id)",
    ),
    (
        "unique idx_session_store_sync_key_v1",
        "v1_connector_sessions (sync_id, key)",
    ),
];

/// Opens a work file that holds a copy, possibly of a file that somebody else
/// made: nothing that is stored in it runs. The copy is not worth a journal.
pub(super) fn connect(database: &Path) -> Result<Connection, rusqlite::Error> {
    let db = Connection::open(database)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // What does not fit into memory while indexes are built goes beside the
    // work folder. SQLite keeps that for the whole process and falls back to
    // the system's folders where it is gone.
    db.pragma_update(None, "temp_store", "file")?;
    if let Some(folder) = database.parent().and_then(Path::parent) {
        db.pragma_update(None, "temp_store_directory", folder.to_string_lossy())?;
    }
    // A write-ahead log of another tool is ended first.
    db.execute_batch(
        "pragma journal_mode = delete; pragma journal_mode = off; pragma synchronous = off;
         pragma locking_mode = exclusive; pragma cache_size = -65536;",
    )?;
    Ok(db)
}

/// Lets the database grow to so many bytes and no further: a connector that
/// lists without end fills the file, not the disk.
pub(super) fn limit(db: &Connection, bytes: u64) -> Result<(), Error> {
    let limiting = || Error::database("limiting the work file");
    let page: i64 = db
        .query_row("pragma page_size", [], |row| row.get(0))
        .map_err(limiting())?;
    let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page.max(512);
    db.pragma_update(
        None,
        "max_page_count",
        pages.clamp(1, i64::from(u32::MAX - 1)),
    )
    .map_err(limiting())
}

/// Creates what is missing: tables and later columns. Safe to repeat, and a
/// no-op on a complete file.
pub(super) fn migrate(db: &Connection) -> Result<(), Error> {
    db.execute_batch(TABLES)
        .map_err(Error::database("creating the tables"))?;
    for (table, column, declaration) in LATER_COLUMNS {
        if !has_column(db, table, column)? {
            db.execute_batch(&format!(
                "alter table {table} add column {column} {declaration}"
            ))
            .map_err(Error::database("adding a column"))?;
        }
    }
    Ok(())
}

/// Creates every index. Done last: building one over all rows is several times
/// faster than keeping it up to date row by row.
pub(super) fn index(db: &Connection) -> Result<(), Error> {
    for (name, on) in INDEXES {
        let (unique, name) = name
            .strip_prefix("unique ")
            .map_or(("", name), |name| ("unique", name));
        db.execute_batch(&format!("create {unique} index {name} on {on}"))
            .map_err(Error::database("creating the indexes"))?;
    }
    Ok(())
}

/// Removes every index, for a writer that creates them last.
pub(super) fn unindex(db: &Connection) -> Result<(), Error> {
    for (name, _) in INDEXES {
        let name = name.trim_start_matches("unique ");
        db.execute_batch(&format!("drop index if exists {name}"))
            .map_err(Error::database("removing the indexes"))?;
    }
    Ok(())
}

fn has_column(db: &Connection, table: &str, column: &str) -> Result<bool, Error> {
    let count: i64 = db
        .query_row(
            "select count(*) from pragma_table_info(?1) where name = ?2",
            [table, column],
            |row| row.get(0),
        )
        .map_err(Error::database("reading the columns"))?;
    Ok(count > 0)
}
