//! What is written is what any reader of version 1 expects, and the file on
//! disk is always a complete one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;

use super::annotations::{find, is, pack};
use super::container::{self, Found};
use super::*;

fn resource(kind: &str, id: &str) -> pb::Resource {
    pb::Resource {
        id: Some(pb::ResourceId {
            resource_type: kind.into(),
            resource: id.into(),
            ..Default::default()
        }),
        display_name: id.to_uppercase(),
        ..Default::default()
    }
}

fn entitlement(on: &pb::Resource, slug: &str) -> pb::Entitlement {
    let id = on.id.as_ref().unwrap();
    pb::Entitlement {
        id: format!("{}:{}:{slug}", id.resource_type, id.resource),
        resource: Some(on.clone()),
        slug: slug.into(),
        ..Default::default()
    }
}

fn grant(entitlement: &pb::Entitlement, principal: &pb::Resource) -> pb::Grant {
    let id = principal.id.as_ref().unwrap();
    pb::Grant {
        id: format!("{}:{}:{}", entitlement.id, id.resource_type, id.resource),
        entitlement: Some(entitlement.clone()),
        principal: Some(principal.clone()),
        ..Default::default()
    }
}

fn expandable(ids: &[&str]) -> prost_types::Any {
    pack(&pb::GrantExpandable {
        entitlement_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..Default::default()
    })
}

/// One type, a child of a parent, an entitlement, an expandable grant, an asset.
fn fill(writer: &mut Writer) -> (pb::Resource, pb::Entitlement, pb::Grant) {
    writer
        .put_resource_type(&pb::ResourceType {
            id: "role".into(),
            display_name: "Role".into(),
            ..Default::default()
        })
        .unwrap();
    let mut role = resource("role", "dev");
    role.parent_resource_id = Some(pb::ResourceId {
        resource_type: "app".into(),
        resource: "a".into(),
        ..Default::default()
    });
    assert_eq!(writer.put_resource(&role).unwrap(), Put::New);
    let held = entitlement(&role, "member");
    assert_eq!(writer.put_entitlement(&held).unwrap(), Put::New);
    let mut given = grant(&held, &resource("group", "g"));
    given.annotations = vec![
        expandable(&["group:g:member"]),
        pack(&pb::GrantImmutable::default()),
    ];
    assert_eq!(writer.put_grant(given.clone()).unwrap(), Put::New);
    writer
        .put_asset("note.txt", "text/plain", b"hello")
        .unwrap();
    (role, held, given)
}

fn write(path: &Path) -> Written {
    let mut writer = Writer::open(path, SyncType::Full, &FileOptions::default()).unwrap();
    fill(&mut writer);
    writer.finish().unwrap()
}

fn raw(path: &Path) -> (tempfile::TempDir, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("db");
    assert_eq!(
        container::decode(path, &database, MAX_DECODED_BYTES).unwrap(),
        Found::Database
    );
    let db = Connection::open(database).unwrap();
    (folder, db)
}

/// Makes an access file from SQL, as another tool would have written it.
fn foreign(path: &Path, sql: &str) {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("db");
    Connection::open(&database)
        .unwrap()
        .execute_batch(sql)
        .unwrap();
    let _ = fs::remove_file(path);
    container::encode(&database, &container::create_private(path).unwrap(), path).unwrap();
}

/// A connector that lists without end would else fill the disk.
#[test]
fn a_sync_without_end_stops_at_the_size_that_can_be_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.c1z");
    write(&path);
    let before = fs::read(&path).unwrap();
    let options = FileOptions {
        max_decoded_bytes: 1 << 20,
        ..FileOptions::default()
    };
    let mut writer = Writer::open(&path, SyncType::Full, &options).unwrap();
    let mut written = 0;
    let error = loop {
        let mut row = resource("role", &written.to_string());
        row.description = "x".repeat(8 << 10);
        match writer.put_resource(&row) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 200, "{written} rows of 8 KiB went into 1 MiB");
    };
    assert!(
        matches!(error, Error::TooLarge { limit, .. } if limit == 1 << 20),
        "{error}"
    );
    assert!(written > 50, "only {written} rows went in");
    drop(writer);
    assert_eq!(fs::read(&path).unwrap(), before, "the file is as it was");
}

/// Each repetition of a grant once cost the product of old and new.
#[test]
fn a_grant_that_grows_with_every_repetition_has_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.c1z");
    let mut writer = Writer::open(&path, SyncType::Full, &FileOptions::default()).unwrap();
    let (_, held, _) = fill(&mut writer);
    let ids = |from: usize| -> Vec<String> {
        (from..from + 600).map(|n| format!("group:h:{n}")).collect()
    };
    let with = |from: usize| {
        let mut grant = grant(&held, &resource("group", "h"));
        let ids = ids(from);
        grant.annotations = vec![expandable(
            &ids.iter().map(String::as_str).collect::<Vec<_>>(),
        )];
        grant
    };
    assert_eq!(writer.put_grant(with(0)).unwrap(), Put::New);
    assert_eq!(writer.put_grant(with(0)).unwrap(), Put::Again);
    assert_eq!(writer.put_grant(with(400)).unwrap(), Put::Again);
    let error = writer.put_grant(with(401)).unwrap_err();
    assert!(
        matches!(error, Error::Expansions { limit: 1_000, .. }),
        "{error}"
    );
    let error = writer.put_grant({
        let mut grant = with(0);
        grant.annotations.clear();
        let ids: Vec<String> = (0..1_001).map(|n| format!("group:h:{n}")).collect();
        grant.annotations.push(expandable(
            &ids.iter().map(String::as_str).collect::<Vec<_>>(),
        ));
        grant.id.push('2');
        grant
    });
    assert!(matches!(error, Err(Error::Expansions { .. })));
}

fn count(db: &Connection, sql: &str) -> i64 {
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn tables_and_indexes_have_the_exact_names_and_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.c1z");
    write(&path);
    let (_keep, db) = raw(&path);
    let mut found = BTreeSet::new();
    let mut tables = db
        .prepare("select name from sqlite_master where type = 'table'")
        .unwrap();
    for table in tables
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap()
        .map(Result::unwrap)
    {
        let mut columns = db
            .prepare(&format!(
                "select name, lower(type), \"notnull\", pk from pragma_table_info('{table}')"
            ))
            .unwrap();
        let columns: Vec<String> = columns
            .query_map([], |row| {
                let mark = if row.get::<_, bool>(3)? {
                    " pk"
                } else if row.get(2)? {
                    " not null"
                } else {
                    ""
                };
                Ok(format!(
                    "{} {}{mark}",
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?
                ))
            })
            .unwrap()
            .map(Result::unwrap)
            .collect();
        found.insert(format!("{table}({})", columns.join(", ")));
    }
    let mut indexes =
        db.prepare("select m.name, m.tbl_name, i.\"unique\", i.partial from sqlite_master m join pragma_index_list(m.tbl_name) i on i.name = m.name where m.type = 'index'").unwrap();
    let rows: Vec<(String, String, bool, bool)> = indexes
        .query_map([], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (name, table, unique, partial) in rows {
        let mut columns = db
            .prepare(&format!("select name from pragma_index_info('{name}')"))
            .unwrap();
        let columns: Vec<String> = columns
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let unique = if unique { "unique " } else { "" };
        let partial = if partial { " partial" } else { "" };
        found.insert(format!(
            "{unique}{name} on {table}({}){partial}",
            columns.join(", ")
        ));
    }
    let expected: BTreeSet<String> = [
        "v1_resource_types(id integer pk, external_id text not null, data blob not null, sync_id text not null, discovered_at datetime not null)",
        "v1_resources(id integer pk, resource_type_id text not null, external_id text not null, parent_resource_type_id text, parent_resource_id text, data blob not null, sync_id text not null, discovered_at datetime not null)",
        "v1_entitlements(id integer pk, resource_type_id text not null, resource_id text not null, external_id text not null, data blob not null, sync_id text not null, discovered_at datetime not null)",
        "v1_grants(id integer pk, resource_type_id text not null, resource_id text not null, entitlement_id text not null, principal_resource_type_id text not null, principal_resource_id text not null, external_id text not null, expansion blob, needs_expansion integer not null, data blob not null, sync_id text not null, discovered_at datetime not null)",
        "v1_assets(id integer pk, external_id text not null, content_type text not null, data blob not null, sync_id text not null, discovered_at datetime not null)",
        "v1_connector_sessions(id integer pk, sync_id text not null, key text not null, value blob not null)",
        "v1_sync_runs(id integer pk, sync_id text not null, started_at datetime not null, ended_at datetime, sync_token text not null, sync_type text not null, parent_sync_id text not null, linked_sync_id text not null, supports_diff integer not null, grants_backfilled integer not null)",
        "unique idx_resource_types_external_sync_v1 on v1_resource_types(external_id, sync_id)",
        "idx_resources_resource_type_id_v1 on v1_resources(resource_type_id)",
        // These two names are swapped in every other writer, so here too.
        "idx_resources_external_sync_v1 on v1_resources(parent_resource_type_id, parent_resource_id)",
        "unique idx_resources_parent_resource_id_v1 on v1_resources(external_id, sync_id)",
        "idx_entitlements_resource_id_v1 on v1_entitlements(resource_type_id, resource_id)",
        "unique idx_entitlements_external_sync_v1 on v1_entitlements(external_id, sync_id)",
        "idx_grants_resource_type_id_resource_id_v1 on v1_grants(resource_type_id, resource_id)",
        "idx_grants_principal_id_v1 on v1_grants(principal_resource_type_id, principal_resource_id)",
        "idx_grants_entitlement_id_principal_id_v1 on v1_grants(entitlement_id, principal_resource_type_id, principal_resource_id)",
        "unique idx_grants_external_sync_v1 on v1_grants(external_id, sync_id)",
        "idx_grants_sync_expansion_v1 on v1_grants(sync_id) partial",
        "idx_grants_sync_needs_expansion_v1 on v1_grants(sync_id) partial",
        "idx_grants_entitlement_sync_grant_v1 on v1_grants(entitlement_id, sync_id, id)",
        "unique idx_assets_external_sync_v1 on v1_assets(external_id, sync_id)",
        "unique idx_session_store_sync_key_v1 on v1_connector_sessions(sync_id, key)",
        "unique idx_sync_runs_sync_id_v1 on v1_sync_runs(sync_id)",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    assert_eq!(found, expected);
}

#[test]
fn every_mandatory_column_is_filled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.c1z");
    let written = write(&path);
    let (_keep, db) = raw(&path);
    let sync = &written.sync_id;

    let run: (String, String, String, String, String, String, i64, i64) = db
        .query_row(
            "select typeof(started_at), typeof(ended_at), sync_token, sync_type, parent_sync_id, linked_sync_id,
               supports_diff, grants_backfilled from v1_sync_runs where sync_id = ?1",
            [sync],
            |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                    row.get(5)?,
                    row.get(6)?,
                    row.get(7)?,
                ))
            },
        )
        .unwrap();
    let text = || "text".to_owned();
    assert_eq!(
        run,
        (
            text(),
            text(),
            String::new(),
            "full".into(),
            String::new(),
            String::new(),
            1,
            1
        )
    );

    let resource: (String, String, String, String) = db
        .query_row(
            "select resource_type_id, external_id, parent_resource_type_id, parent_resource_id from v1_resources
             where sync_id = ?1 and length(data) > 0 and typeof(discovered_at) = 'text'",
            [sync],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .unwrap();
    assert_eq!(
        resource,
        ("role".into(), "role:dev".into(), "app".into(), "a".into())
    );

    let held: (String, String, String) = db
        .query_row("select resource_type_id, resource_id, external_id from v1_entitlements where sync_id = ?1", [sync], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert_eq!(
        held,
        ("role".into(), "dev".into(), "role:dev:member".into())
    );

    let given: (String, String, String, String, String, String, i64) = db
        .query_row(
            "select resource_type_id, resource_id, entitlement_id, principal_resource_type_id, principal_resource_id,
               external_id, needs_expansion from v1_grants where sync_id = ?1",
            [sync],
            |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
            },
        )
        .unwrap();
    let expected = [
        "role",
        "dev",
        "role:dev:member",
        "group",
        "g",
        "role:dev:member:group:g",
    ]
    .map(str::to_owned);
    assert_eq!(
        [given.0, given.1, given.2, given.3, given.4, given.5],
        expected
    );
    assert_eq!(given.6, 1);
}

#[test]
fn the_expansion_is_a_column_and_not_in_the_blob() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.c1z");
    write(&path);
    let (_keep, db) = raw(&path);
    let (data, expansion): (Vec<u8>, Vec<u8>) = db
        .query_row("select data, expansion from v1_grants", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    let blob = <pb::Grant as prost::Message>::decode(data.as_slice()).unwrap();
    assert!(!blob.annotations.iter().any(is::<pb::GrantExpandable>));
    assert!(find::<pb::GrantImmutable>(&blob.annotations).is_some());
    let expansion = <pb::GrantExpandable as prost::Message>::decode(expansion.as_slice()).unwrap();
    assert_eq!(expansion.entitlement_ids, ["group:g:member"]);
}

#[test]
fn an_expansion_that_names_nothing_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.c1z");
    let mut writer = Writer::open(&path, SyncType::Full, &FileOptions::default()).unwrap();
    let mut given = grant(
        &entitlement(&resource("role", "dev"), "member"),
        &resource("group", "g"),
    );
    given.annotations = vec![expandable(&["", " "])];
    writer.put_grant(given).unwrap();
    writer.finish().unwrap();
    let (_keep, db) = raw(&path);
    assert_eq!(
        count(
            &db,
            "select count(*) from v1_grants where expansion is null and needs_expansion = 0"
        ),
        1
    );
}

#[test]
fn what_was_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.c1z");
    let mut writer = Writer::open(&path, SyncType::Full, &FileOptions::default()).unwrap();
    let (role, held, mut given) = fill(&mut writer);
    let written = writer.finish().unwrap();

    let reader = Reader::open(&path, &FileOptions::default()).unwrap();
    let view = reader.latest().unwrap();
    assert_eq!(view, View::Sync(written.sync_id.clone()));
    assert_eq!(reader.sync(&written.sync_id).unwrap(), view);
    assert!(matches!(
        reader.sync("no").unwrap_err(),
        Error::NoSuchSync { .. }
    ));
    let types: Vec<_> = reader
        .resource_types(&view)
        .map(|row| row.unwrap().id)
        .collect();
    assert_eq!(types, ["role"]);
    assert_eq!(
        reader
            .resources(&view)
            .map(Result::unwrap)
            .collect::<Vec<_>>(),
        [role]
    );
    assert_eq!(
        reader
            .entitlements(&view)
            .map(Result::unwrap)
            .collect::<Vec<_>>(),
        [held]
    );
    let grants: Vec<_> = reader.grants(&view).map(Result::unwrap).collect();
    given.annotations.remove(0);
    assert_eq!(grants.len(), 1);
    assert_eq!(grants[0].grant, given);
    assert_eq!(
        grants[0].expansion.as_ref().unwrap().entitlement_ids,
        ["group:g:member"]
    );
    let assets: Vec<_> = reader.assets(&view).map(Result::unwrap).collect();
    assert_eq!(
        assets,
        [Asset {
            id: "note.txt".into(),
            content_type: "text/plain".into(),
            data: b"hello".into()
        }]
    );
    let syncs = reader.syncs().unwrap();
    assert_eq!((syncs.len(), syncs[0].sync_type.as_str()), (1, "full"));
    assert!(syncs[0].started_at <= *syncs[0].ended_at.as_ref().unwrap());
}

#[test]
fn rows_stream_across_chunks_and_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.c1z");
    let mut writer = Writer::open(&path, SyncType::Full, &FileOptions::default()).unwrap();
    for number in 0..21_000 {
        writer
            .put_resource(&resource("role", &number.to_string()))
            .unwrap();
    }
    writer.finish().unwrap();
    let reader = Reader::open(&path, &FileOptions::default()).unwrap();
    let view = reader.latest().unwrap();
    let ids: Vec<String> = reader
        .resources(&view)
        .map(|row| row.unwrap().id.unwrap().resource)
        .collect();
    assert_eq!(ids.len(), 21_000);
    assert!(
        ids.iter()
            .enumerate()
            .all(|(position, id)| *id == position.to_string())
    );
}

#[test]
fn the_first_resource_of_an_id_stays_and_grants_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.c1z");
    let mut writer = Writer::open(&path, SyncType::Full, &FileOptions::default()).unwrap();
    let first = resource("role", "dev");
    let mut second = first.clone();
    second.display_name = "other".into();
    assert_eq!(writer.put_resource(&first).unwrap(), Put::New);
    assert_eq!(writer.put_resource(&second).unwrap(), Put::Again);
    let held = entitlement(&first, "member");
    assert_eq!(writer.put_entitlement(&held).unwrap(), Put::New);
    assert_eq!(writer.put_entitlement(&held).unwrap(), Put::Again);
    assert!(writer.has_entitlement("role:dev:member"));
    assert!(!writer.has_entitlement("role:dev:other"));
    assert!(writer.has_resource("role", "dev"));
    assert!(!writer.has_resource("role", "de"));
    for ids in [
        &["group:g:member"][..],
        &["group:g:owner", "group:g:member"],
        &[],
    ] {
        let mut given = grant(&held, &resource("group", "g"));
        given.annotations = vec![expandable(ids)];
        writer.put_grant(given).unwrap();
    }
    writer.finish().unwrap();
    let reader = Reader::open(&path, &FileOptions::default()).unwrap();
    let view = reader.latest().unwrap();
    assert_eq!(
        reader
            .resources(&view)
            .map(Result::unwrap)
            .collect::<Vec<_>>(),
        [first]
    );
    let grants: Vec<_> = reader.grants(&view).map(Result::unwrap).collect();
    assert_eq!(grants.len(), 1);
    assert_eq!(
        grants[0].expansion.as_ref().unwrap().entitlement_ids,
        ["group:g:member", "group:g:owner"]
    );
}

#[test]
fn two_full_syncs_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.c1z");
    let written: Vec<Written> = (0..4).map(|_| write(&path)).collect();
    assert_eq!(
        written
            .iter()
            .map(|one| one.removed_syncs)
            .collect::<Vec<_>>(),
        [0, 0, 1, 1]
    );
    let reader = Reader::open(&path, &FileOptions::default()).unwrap();
    let kept: Vec<String> = reader
        .syncs()
        .unwrap()
        .into_iter()
        .map(|sync| sync.sync_id)
        .collect();
    assert_eq!(kept, [written[2].sync_id.as_str(), &written[3].sync_id]);
    assert_eq!(
        reader.latest().unwrap(),
        View::Sync(written[3].sync_id.clone())
    );
    let (_keep, db) = raw(&path);
    for table in [
        "v1_resource_types",
        "v1_resources",
        "v1_entitlements",
        "v1_grants",
        "v1_assets",
    ] {
        assert_eq!(
            count(&db, &format!("select count(*) from {table}")),
            2,
            "{table}"
        );
    }
    assert_eq!(
        count(&db, "select freelist_count from pragma_freelist_count"),
        0
    );

    let all = FileOptions {
        keep_full_syncs: None,
        ..Default::default()
    };
    let writer = Writer::open(&path, SyncType::Full, &all).unwrap();
    assert_eq!(writer.finish().unwrap().removed_syncs, 0);
}

#[test]
fn a_sync_without_grants_does_not_push_out_full_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.c1z");
    let old = Writer::open(&path, SyncType::ResourcesOnly, &FileOptions::default())
        .unwrap()
        .finish()
        .unwrap();
    let full = write(&path);
    let partial = Writer::open(&path, SyncType::ResourcesOnly, &FileOptions::default())
        .unwrap()
        .finish()
        .unwrap();
    let reader = Reader::open(&path, &FileOptions::default()).unwrap();
    assert_eq!(reader.latest().unwrap(), View::Sync(full.sync_id.clone()));
    let syncs: Vec<_> = reader
        .syncs()
        .unwrap()
        .into_iter()
        .map(|sync| sync.sync_id)
        .collect();
    assert_eq!(
        syncs,
        [old.sync_id.as_str(), &full.sync_id, &partial.sync_id]
    );
    // Once two full syncs are newer, the first partial one goes; the later stays.
    let newest = write(&path);
    let reader = Reader::open(&path, &FileOptions::default()).unwrap();
    let syncs: Vec<_> = reader
        .syncs()
        .unwrap()
        .into_iter()
        .map(|sync| sync.sync_id)
        .collect();
    assert_eq!(
        syncs,
        [full.sync_id.as_str(), &partial.sync_id, &newest.sync_id]
    );
}

#[test]
fn an_unfinished_sync_of_another_tool_stays_and_is_not_continued() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.c1z");
    write(&path);
    let (_keep, db) = raw(&path);
    let state = r#"{"actions_map":{},"version":1}"#;
    db.execute(
        "insert into v1_sync_runs (sync_id, started_at, sync_token) values ('other', datetime('now', 'localtime'), ?1)",
        [state],
    )
    .unwrap();
    db.execute_batch(
        "insert into v1_resources (resource_type_id, external_id, data, sync_id, discovered_at)
         values ('role', 'role:half', x'', 'other', '2026-01-01 00:00:00')",
    )
    .unwrap();
    let source = db.path().unwrap().to_owned();
    drop(db);
    fs::remove_file(&path).unwrap();
    container::encode(
        Path::new(&source),
        &container::create_private(&path).unwrap(),
        &path,
    )
    .unwrap();

    let written = write(&path);
    let reader = Reader::open(&path, &FileOptions::default()).unwrap();
    let syncs = reader.syncs().unwrap();
    let other = syncs.iter().find(|sync| sync.sync_id == "other").unwrap();
    assert_eq!(
        (other.ended_at.as_deref(), other.sync_token.as_str()),
        (None, state)
    );
    assert_ne!(written.sync_id, "other");
    assert_eq!(reader.resources(&View::Sync("other".into())).count(), 1);
    assert_eq!(reader.resources(&reader.latest().unwrap()).count(), 1);
}

#[test]
fn readers_choose_the_sync_as_released_ones_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.c1z");
    let table = "create table v1_sync_runs (id integer primary key, sync_id text not null, started_at datetime not null, ended_at datetime, sync_token text not null);";
    let row = |id: &str, started: &str, ended: &str| {
        format!(
            "insert into v1_sync_runs (sync_id, started_at, ended_at, sync_token) values ('{id}', {started}, {ended}, '');"
        )
    };
    let choose = |rows: &[String]| {
        foreign(&path, &format!("{table}{}", rows.concat()));
        Reader::open(&path, &FileOptions::default())
            .unwrap()
            .latest()
            .unwrap()
    };
    let now = "datetime('now', 'localtime')";
    let finished = [
        row("a", "'2026-01-01 00:00:00'", "'2026-01-01 00:00:02'"),
        row("b", "'2026-01-01 00:00:00'", "'2026-01-01 00:00:01.5'"),
    ];
    assert_eq!(choose(&finished), View::Sync("a".into()));
    assert_eq!(
        choose(&[finished[1].clone(), row("c", now, "null")]),
        View::Sync("b".into())
    );
    assert_eq!(choose(&[row("c", now, "null")]), View::Sync("c".into()));
    assert_eq!(
        choose(&[row("d", "'2020-01-01 00:00:00'", "null")]),
        View::All
    );
    assert_eq!(choose(&[]), View::All);
}

#[test]
fn older_and_slimmer_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.c1z");
    let held = entitlement(&resource("role", "dev"), "member");
    let mut given = grant(&held, &resource("group", "g"));
    given.annotations = vec![expandable(&["group:g:member"])];
    let old = prost::Message::encode_to_vec(&given);
    let slim = prost::Message::encode_to_vec(&pb::Grant {
        id: "slim".into(),
        ..Default::default()
    });
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    foreign(
        &path,
        &format!(
            "create table v1_grants (id integer primary key, resource_type_id text not null, resource_id text not null,
               entitlement_id text not null, principal_resource_type_id text not null, principal_resource_id text not null,
               external_id text not null, data blob not null, sync_id text not null, discovered_at datetime not null);
             insert into v1_grants values (1, 'role', 'dev', 'role:dev:member', 'group', 'g', 'x', x'{}', 's', '2020-01-01');
             insert into v1_grants values (2, 'role', 'ops', 'role:ops:member', 'user', 'u', 'slim', x'{}', 's', '2020-01-01');",
            hex(&old),
            hex(&slim)
        ),
    );
    let reader = Reader::open(&path, &FileOptions::default()).unwrap();
    let grants: Vec<_> = reader.grants(&View::All).map(Result::unwrap).collect();
    assert_eq!(
        grants[0].expansion.as_ref().unwrap().entitlement_ids,
        ["group:g:member"]
    );
    assert!(grants[0].grant.annotations.is_empty());
    let slim = &grants[1].grant;
    let entitlement = slim.entitlement.as_ref().unwrap();
    assert_eq!(entitlement.id, "role:ops:member");
    assert_eq!(
        entitlement
            .resource
            .as_ref()
            .unwrap()
            .id
            .as_ref()
            .unwrap()
            .resource,
        "ops"
    );
    assert_eq!(
        slim.principal
            .as_ref()
            .unwrap()
            .id
            .as_ref()
            .unwrap()
            .resource,
        "u"
    );
    // And a writer adds its sync to such a file.
    write(&path);
    assert_eq!(
        Reader::open(&path, &FileOptions::default())
            .unwrap()
            .grants(&View::All)
            .count(),
        3
    );
}

#[test]
fn a_write_ahead_log_of_another_tool_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.c1z");
    foreign(
        &path,
        "pragma journal_mode = wal; create table other (x); pragma wal_checkpoint(truncate);",
    );
    write(&path);
    let (keep, db) = raw(&path);
    assert_eq!(count(&db, "select count(*) from other"), 0);
    assert_eq!(
        db.query_row("pragma journal_mode", [], |row| row.get::<_, String>(0))
            .unwrap(),
        "delete"
    );
    assert_eq!(fs::read_dir(keep.path()).unwrap().count(), 1);
}

#[test]
fn a_row_that_is_no_message_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.c1z");
    foreign(
        &path,
        "create table v1_resources (id integer primary key, resource_type_id text not null, external_id text not null,
           parent_resource_type_id text, parent_resource_id text, data blob not null, sync_id text not null,
           discovered_at datetime not null);
         insert into v1_resources values (7, 'a', 'a:b', null, null, x'ffff', 's', '2020-01-01');",
    );
    let reader = Reader::open(&path, &FileOptions::default()).unwrap();
    let mut rows = reader.resources(&View::All);
    assert!(matches!(
        rows.next(),
        Some(Err(Error::Row {
            table: "v1_resources",
            row: 7,
            ..
        }))
    ));
    assert!(rows.next().is_none());
}

#[test]
fn files_are_private_and_folders_clean() {
    let (folder, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = folder.path().join("a.c1z");
    fs::write(&path, b"").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let options = FileOptions {
        work_folder: Some(work.path().to_owned()),
        ..Default::default()
    };
    let writer = Writer::open(&path, SyncType::Full, &options).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert!(writer.work_folder().starts_with(work.path()));
    assert_eq!(mode(writer.work_folder()), 0o700);
    assert_eq!(mode(&writer.work_folder().join("sync.db")), 0o600);
    writer.finish().unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 0);
}

#[test]
fn a_writer_that_does_not_finish_changes_nothing() {
    let (folder, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = folder.path().join("a.c1z");
    write(&path);
    let before = fs::read(&path).unwrap();
    let options = FileOptions {
        work_folder: Some(work.path().to_owned()),
        ..Default::default()
    };
    let mut writer = Writer::open(&path, SyncType::Full, &options).unwrap();
    writer.put_resource(&resource("role", "new")).unwrap();
    drop(writer);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_that_is_missing_or_a_path_that_is_a_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no/such/a.c1z");
    let error = Writer::open(&missing, SyncType::Full, &FileOptions::default()).unwrap_err();
    assert!(error.to_string().contains("no/such"), "{error}");
    let error = Writer::open(folder.path(), SyncType::Full, &FileOptions::default()).unwrap_err();
    assert!(matches!(error, Error::NotAnAccessFile { .. }), "{error}");
}

#[test]
fn a_file_that_is_no_access_file_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    fs::write(&path, b"my notes, for years").unwrap();
    let error = Writer::open(&path, SyncType::Full, &FileOptions::default()).unwrap_err();
    assert!(matches!(error, Error::NotAnAccessFile { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"my notes, for years");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_link_keeps_pointing_at_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (
        folder.path().join("real.c1z"),
        folder.path().join("link.c1z"),
    );
    write(&real);
    std::os::unix::fs::symlink(&real, &link).unwrap();
    assert_eq!(write(&link).path, fs::canonicalize(&real).unwrap());
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(
        Reader::open(&real, &FileOptions::default())
            .unwrap()
            .syncs()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn missing_files_hold_no_syncs() {
    let folder = tempfile::tempdir().unwrap();
    let reader = Reader::open(&folder.path().join("no.c1z"), &FileOptions::default()).unwrap();
    assert_eq!(reader.syncs().unwrap(), []);
    assert_eq!(reader.grants(&reader.latest().unwrap()).count(), 0);
    assert!(!folder.path().join("no.c1z").exists());
}

#[test]
fn single_rows_are_found_by_their_ids() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sync.c1z");
    let (role, user) = (resource("role", "a:b"), resource("user", "ana"));
    let member = entitlement(&role, "member");
    let held = grant(&member, &user);
    for round in 0..2 {
        let mut writer = Writer::open(&path, SyncType::Full, &FileOptions::default()).unwrap();
        for on in [&role, &user] {
            let mut on = on.clone();
            on.display_name = format!("round {round}");
            writer.put_resource(&on).unwrap();
        }
        writer.put_entitlement(&member).unwrap();
        if round == 0 {
            writer.put_grant(held.clone()).unwrap();
        }
        writer.finish().unwrap();
    }
    let reader = Reader::open(&path, &FileOptions::default()).unwrap();
    let view = reader.latest().unwrap();
    let name = |view: &View, kind: &str, id: &str| {
        let found = reader.resource(view, kind, id).unwrap();
        found.map(|resource| resource.display_name)
    };
    assert_eq!(name(&view, "role", "a:b").as_deref(), Some("round 1"));
    assert_eq!(name(&View::All, "role", "a:b").as_deref(), Some("round 1"));
    // The same text, cut elsewhere, is another resource.
    assert_eq!(name(&view, "role:a", "b"), None);
    assert_eq!(name(&view, "role", "c"), None);
    assert_eq!(reader.entitlement(&view, &member.id).unwrap(), Some(member));
    assert_eq!(reader.entitlement(&view, "role:a:b:owner").unwrap(), None);
    // The grant is in the older sync only.
    assert!(reader.grant(&view, &held.id).unwrap().is_none());
    assert_eq!(
        reader
            .grant(&View::All, &held.id)
            .unwrap()
            .unwrap()
            .grant
            .id,
        held.id
    );
}
