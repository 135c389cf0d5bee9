//! The tables of version 1 of the access file, and bringing older files up to
//! them.
//!
//! Names are byte for byte those that other writers create, the two swapped
//! index names of `v1_resources` included: with other names their
//! `if not exists` would be silently satisfied by the wrong index.

use rusqlite::Connection;

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

const UNIQUE_INDEXES: &str = "
create unique index if not exists idx_resource_types_external_sync_v1 on v1_resource_types (external_id, sync_id);
create unique index if not exists idx_resources_parent_resource_id_v1 on v1_resources (external_id, sync_id);
create unique index if not exists idx_entitlements_external_sync_v1 on v1_entitlements (external_id, sync_id);
create unique index if not exists idx_sync_runs_sync_id_v1 on v1_sync_runs (sync_id);
create unique index if not exists idx_grants_external_sync_v1 on v1_grants (external_id, sync_id);
create unique index if not exists idx_assets_external_sync_v1 on v1_assets (external_id, sync_id);
create unique index if not exists idx_session_store_sync_key_v1 on v1_connector_sessions (sync_id, key);
";

const OTHER_INDEXES: &str = "
create index if not exists idx_resources_resource_type_id_v1 on v1_resources (resource_type_id);
create index if not exists idx_resources_external_sync_v1 on v1_resources (parent_resource_type_id, parent_resource_id);
create index if not exists idx_entitlements_resource_id_v1 on v1_entitlements (resource_type_id, resource_id);
create index if not exists idx_grants_resource_type_id_resource_id_v1 on v1_grants (resource_type_id, resource_id);
create index if not exists idx_grants_principal_id_v1 on v1_grants (principal_resource_type_id, principal_resource_id);
create index if not exists idx_grants_entitlement_id_principal_id_v1
    on v1_grants (entitlement_id, principal_resource_type_id, principal_resource_id);
create index if not exists idx_grants_sync_expansion_v1 on v1_grants (sync_id) where expansion is not null;
create index if not exists idx_grants_sync_needs_expansion_v1 on v1_grants (sync_id) where needs_expansion = 1;
create index if not exists idx_grants_entitlement_sync_grant_v1 on v1_grants (entitlement_id, sync_id, id);
";

/// Creates what is missing: tables, later columns and unique indexes. Safe to
/// repeat, and a no-op on a complete file.
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
    db.execute_batch(UNIQUE_INDEXES)
        .map_err(Error::database("creating the indexes"))
}

/// Creates the other indexes. Apart, because many rows are written faster
/// before they exist.
pub(super) fn index(db: &Connection) -> Result<(), Error> {
    db.execute_batch(OTHER_INDEXES)
        .map_err(Error::database("creating the indexes"))
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
