//! The engine over a connector made of lists: what is called, what is written,
//! and what becomes of answers that break the contract.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::*;
use crate::c1z::annotations::{find, json as facts};
use crate::c1z::{FileOptions, GrantRow, Reader, pb};
use crate::sandbox::contract::types::{
    Attributes, Descriptor, Entitlement, Error, Grant, KindSpec, Object, ObjectId, Setting,
    SettingSpec,
};
use crate::sandbox::contract::{EntitlementPage, GrantPage, ObjectPage};
use crate::sandbox::{CallError, Connector};

fn attributes(pairs: &[(&str, &str)]) -> Attributes {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn id(kind: &str, id: &str) -> ObjectId {
    ObjectId {
        kind: kind.into(),
        id: id.into(),
    }
}

fn object(kind: &str, name: &str) -> Object {
    Object {
        id: id(kind, name),
        parent: None,
        display_name: name.to_uppercase(),
        profile: None,
        attributes: vec![],
    }
}

fn entitlement(kind: &str, name: &str, slug: &str) -> Entitlement {
    Entitlement {
        on: id(kind, name),
        slug: slug.into(),
        display_name: format!("{name} {slug}"),
        purpose: "assignment".into(),
        grantable_to: vec![],
        attributes: vec![],
    }
}

fn grant(on: (&str, &str), slug: &str, principal: (&str, &str)) -> Grant {
    Grant {
        on: id(on.0, on.1),
        slug: slug.into(),
        principal: id(principal.0, principal.1),
        attributes: vec![],
    }
}

fn kind(name: &str, traits: &[&str], pairs: &[(&str, &str)]) -> KindSpec {
    KindSpec {
        name: name.into(),
        traits: traits.iter().map(|held| (*held).to_owned()).collect(),
        capabilities: vec!["sync".into()],
        attributes: attributes(pairs),
    }
}

fn refusal(kind: &str) -> CallError {
    CallError::Connector(Error {
        kind: kind.into(),
        message: "may not list".into(),
        retry_after_ms: None,
        attributes: attributes(&[
            ("upstream", "kubernetes"),
            ("operation", "list configmaps"),
            ("hint", "add a rule"),
        ]),
    })
}

/// A connector that answers from lists. Without pages for a kind it answers
/// one empty page.
struct Fake {
    descriptor: Descriptor,
    objects: HashMap<String, Vec<Result<ObjectPage, CallError>>>,
    entitlements: HashMap<String, Vec<Result<EntitlementPage, CallError>>>,
    grants: HashMap<String, Vec<Result<GrantPage, CallError>>>,
    calls: Vec<String>,
}

/// Splits items into pages of the given lengths, named by number.
macro_rules! pages {
    ($page:ident, $($items:expr),*) => {{
        let mut pages = vec![$($page { items: $items, next: None, attributes: vec![] }),*];
        let last = pages.len() - 1;
        for (number, page) in pages.iter_mut().enumerate().take(last) {
            page.next = Some((number + 1).to_string());
        }
        pages.into_iter().map(Ok).collect::<Vec<_>>()
    }};
}

impl Fake {
    fn new(kinds: Vec<KindSpec>) -> Self {
        Self {
            descriptor: Descriptor {
                name: "fake".into(),
                version: "1.2.3".into(),
                settings: vec![],
                kinds,
                upstreams: vec![],
                attributes: vec![],
            },
            objects: HashMap::new(),
            entitlements: HashMap::new(),
            grants: HashMap::new(),
            calls: vec![],
        }
    }

    /// Roles with members, users, and people who are only named.
    fn small() -> Self {
        let mut fake = Self::new(vec![
            kind(
                "role",
                &["role"],
                &[("display-name", "Role"), ("description", "A role")],
            ),
            kind("user", &["user"], &[]),
            kind(
                "person",
                &["user"],
                &[("listed", "false"), ("display-name", "Person")],
            ),
        ]);
        let mut role = object("role", "dev");
        role.profile = Some(json!({"rules": [{"verbs": ["get"]}], "name": "dev"}).to_string());
        role.parent = Some(id("role", "parent"));
        role.attributes = attributes(&[
            ("description", "Developers"),
            ("external-id", "uid-1"),
            ("child-kind", "user"),
            ("alias", "d1"),
            ("alias", "d2"),
            ("embedded-profile", r#"{"name":"dev"}"#),
        ]);
        let mut user = object("user", "ann");
        user.profile = Some(r#"{"uid":7}"#.into());
        user.attributes = attributes(&[("user-status", "disabled"), ("account-type", "service")]);
        let mut held = entitlement("role", "dev", "all:member");
        held.grantable_to = vec!["user".into(), "person".into()];
        held.attributes = attributes(&[("description", "Membership"), ("immutable", "true")]);
        let mut given = grant(("role", "dev"), "all:member", ("role", "dev"));
        given.attributes = attributes(&[
            ("expandable", "role:dev:all:member"),
            (
                "metadata",
                r#"{"certainty":"certain","paths":[{"via":"binding"}]}"#,
            ),
            ("immutable", "true"),
        ]);
        let mut outside = grant(
            ("role", "dev"),
            "all:member",
            ("person", "arn:aws:iam::1:user/bo"),
        );
        outside.attributes = attributes(&[("external-match-id", "arn:aws:iam::1:user/bo")]);
        fake.objects.insert(
            "role".into(),
            pages!(ObjectPage, vec![role], vec![object("role", "ops")]),
        );
        fake.objects
            .insert("user".into(), pages!(ObjectPage, vec![user]));
        fake.entitlements
            .insert("role".into(), pages!(EntitlementPage, vec![], vec![held]));
        fake.grants.insert(
            "role".into(),
            pages!(
                GrantPage,
                vec![given, grant(("role", "dev"), "all:member", ("user", "ann"))],
                vec![outside]
            ),
        );
        fake
    }
}

fn answer<T>(pages: Option<&mut Vec<Result<T, CallError>>>, empty: T) -> Result<T, CallError> {
    match pages {
        Some(pages) if !pages.is_empty() => pages.remove(0),
        _ => Ok(empty),
    }
}

impl Connector for Fake {
    async fn open(&mut self, settings: Vec<Setting>) -> Result<(), CallError> {
        self.calls.push(format!("open {}", settings.len()));
        Ok(())
    }

    async fn validate(&mut self) -> Result<Attributes, CallError> {
        self.calls.push("validate".into());
        Ok(attributes(&[
            ("cluster-arn", "arn:1"),
            ("group", "a"),
            ("group", "b"),
        ]))
    }

    async fn list_objects(
        &mut self,
        kind: &str,
        parent: Option<ObjectId>,
        page: Option<&str>,
    ) -> Result<ObjectPage, CallError> {
        assert!(parent.is_none());
        self.calls
            .push(format!("objects {kind} {}", page.unwrap_or("-")));
        answer(
            self.objects.get_mut(kind),
            ObjectPage {
                items: vec![],
                next: None,
                attributes: vec![],
            },
        )
    }

    async fn list_entitlements(
        &mut self,
        kind: &str,
        page: Option<&str>,
    ) -> Result<EntitlementPage, CallError> {
        self.calls
            .push(format!("entitlements {kind} {}", page.unwrap_or("-")));
        answer(
            self.entitlements.get_mut(kind),
            EntitlementPage {
                items: vec![],
                next: None,
                attributes: vec![],
            },
        )
    }

    async fn list_grants(
        &mut self,
        kind: &str,
        page: Option<&str>,
    ) -> Result<GrantPage, CallError> {
        self.calls
            .push(format!("grants {kind} {}", page.unwrap_or("-")));
        answer(
            self.grants.get_mut(kind),
            GrantPage {
                items: vec![],
                next: None,
                attributes: vec![],
            },
        )
    }
}

struct World {
    folder: tempfile::TempDir,
    options: Options,
    file_options: FileOptions,
}

impl World {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            options: Options::default(),
            file_options: FileOptions::default(),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("sync.c1z")
    }

    async fn sync(&self, fake: &mut Fake) -> Result<Summary, SyncError> {
        self.watched(fake, &mut ()).await
    }

    async fn watched<P: Progress>(
        &self,
        fake: &mut Fake,
        progress: &mut P,
    ) -> Result<Summary, SyncError> {
        let facts = Facts {
            host_version: "9.9.9".into(),
            plugin_digest: Some("sha256:00".into()),
            caller: Some("arn:aws:sts::1:assumed-role/reader/x".into()),
        };
        let settings = vec![Setting {
            name: "a".into(),
            value: "b".into(),
        }];
        let descriptor = fake.descriptor.clone();
        run(
            fake,
            &descriptor,
            settings,
            &self.options,
            &facts,
            &self.file(),
            &self.file_options,
            progress,
        )
        .await
    }

    /// Syncs, and must fail; the file is as before.
    async fn fails(&self, fake: &mut Fake) -> SyncError {
        let before = std::fs::read(self.file()).ok();
        let error = self.sync(fake).await.unwrap_err();
        assert_eq!(std::fs::read(self.file()).ok(), before);
        let files = usize::from(before.is_some());
        assert_eq!(
            std::fs::read_dir(self.folder.path()).unwrap().count(),
            files
        );
        error
    }

    fn read(&self) -> Contents {
        read(&self.file())
    }
}

struct Contents {
    types: Vec<pb::ResourceType>,
    resources: Vec<pb::Resource>,
    entitlements: Vec<pb::Entitlement>,
    grants: Vec<GrantRow>,
    evidence: Value,
}

fn read(path: &Path) -> Contents {
    let reader = Reader::open(path, &FileOptions::default()).unwrap();
    let view = reader
        .sync(&reader.syncs().unwrap().last().unwrap().sync_id)
        .unwrap();
    let assets: Vec<_> = reader.assets(&view).map(Result::unwrap).collect();
    assert_eq!(assets.len(), 1);
    assert_eq!(
        (assets[0].id.as_str(), assets[0].content_type.as_str()),
        (EVIDENCE_ASSET, "application/json")
    );
    Contents {
        types: reader.resource_types(&view).map(Result::unwrap).collect(),
        resources: reader.resources(&view).map(Result::unwrap).collect(),
        entitlements: reader.entitlements(&view).map(Result::unwrap).collect(),
        grants: reader.grants(&view).map(Result::unwrap).collect(),
        evidence: serde_json::from_slice(&assets[0].data).unwrap(),
    }
}

fn reasons(summary: &Summary) -> Vec<(&'static str, u64)> {
    summary
        .warnings
        .iter()
        .map(|warning| (warning.reason, warning.count))
        .collect()
}

#[tokio::test]
async fn calls_come_in_one_order() {
    let (world, mut fake) = (World::new(), Fake::small());
    world.sync(&mut fake).await.unwrap();
    assert_eq!(
        fake.calls,
        [
            "open 1",
            "validate",
            "objects role -",
            "objects role 1",
            "objects user -",
            "entitlements role -",
            "entitlements role 1",
            "entitlements user -",
            "grants role -",
            "grants role 1",
            "grants user -"
        ]
    );
}

#[tokio::test]
async fn objects_become_resources_with_traits_and_profiles() {
    let (world, mut fake) = (World::new(), Fake::small());
    world.sync(&mut fake).await.unwrap();
    let file = world.read();
    // Kinds that only name principals have no row of their own.
    let types: Vec<_> = file
        .types
        .iter()
        .map(|one| (one.id.as_str(), one.display_name.as_str()))
        .collect();
    assert_eq!(types, [("role", "Role"), ("user", "user")]);
    assert_eq!(file.types[0].description, "A role");
    assert_eq!(
        file.types[0].traits().collect::<Vec<_>>(),
        [pb::resource_type::Trait::Role]
    );

    let role = &file.resources[0];
    assert_eq!(role.display_name, "DEV");
    assert_eq!(role.description, "Developers");
    assert_eq!(role.parent_resource_id.as_ref().unwrap().resource, "parent");
    assert_eq!(role.external_id.as_ref().unwrap().id, "uid-1");
    assert_eq!(
        find::<pb::ChildResourceType>(&role.annotations)
            .unwrap()
            .resource_type_id,
        "user"
    );
    assert_eq!(
        find::<pb::Aliases>(&role.annotations).unwrap().ids,
        ["d1", "d2"]
    );
    let profile = find::<pb::RoleTrait>(&role.annotations)
        .unwrap()
        .profile
        .unwrap();
    assert_eq!(
        Value::Object(facts(&profile)),
        json!({"rules": [{"verbs": ["get"]}], "name": "dev"})
    );
    // A trait that readers expect is there without a profile too.
    assert!(
        find::<pb::RoleTrait>(&file.resources[1].annotations)
            .unwrap()
            .profile
            .is_none()
    );

    let user = find::<pb::UserTrait>(&file.resources[2].annotations).unwrap();
    assert_eq!(
        user.status.as_ref().unwrap().status(),
        pb::user_trait::status::Status::Disabled
    );
    assert_eq!(user.account_type(), pb::user_trait::AccountType::Service);
    assert_eq!(
        Value::Object(facts(&user.profile.unwrap())),
        json!({"uid": 7})
    );
}

#[tokio::test]
async fn copies_of_an_object_carry_the_short_profile_only() {
    let (world, mut fake) = (World::new(), Fake::small());
    world.sync(&mut fake).await.unwrap();
    let file = world.read();
    let held = &file.entitlements[0];
    assert_eq!(held.id, "role:dev:all:member");
    assert_eq!(
        (held.slug.as_str(), held.description.as_str()),
        ("all:member", "Membership")
    );
    assert_eq!(held.purpose(), pb::entitlement::PurposeValue::Assignment);
    let to: Vec<_> = held
        .grantable_to
        .iter()
        .map(|one| (one.id.as_str(), one.display_name.as_str()))
        .collect();
    assert_eq!(to, [("user", "user"), ("person", "Person")]);
    assert!(find::<pb::EntitlementImmutable>(&held.annotations).is_some());
    for copy in [
        held.resource.as_ref(),
        file.grants[0]
            .grant
            .entitlement
            .as_ref()
            .unwrap()
            .resource
            .as_ref(),
    ] {
        let copy = copy.unwrap();
        assert_eq!(copy.id.as_ref().unwrap().resource, "dev");
        assert_eq!(copy.display_name, "DEV");
        assert_eq!(copy.parent_resource_id.as_ref().unwrap().resource, "parent");
        let profile = find::<pb::RoleTrait>(&copy.annotations)
            .unwrap()
            .profile
            .unwrap();
        assert_eq!(Value::Object(facts(&profile)), json!({"name": "dev"}));
        assert_eq!(copy.annotations.len(), 1);
    }
}

#[tokio::test]
async fn grants_carry_their_annotations() {
    let (world, mut fake) = (World::new(), Fake::small());
    let summary = world.sync(&mut fake).await.unwrap();
    let file = world.read();
    let ids: Vec<_> = file
        .grants
        .iter()
        .map(|row| row.grant.id.as_str())
        .collect();
    assert_eq!(
        ids,
        [
            "role:dev:all:member:role:dev",
            "role:dev:all:member:user:ann",
            "role:dev:all:member:person:arn:aws:iam::1:user/bo"
        ]
    );
    let first = &file.grants[0];
    assert_eq!(
        first.expansion.as_ref().unwrap().entitlement_ids,
        ["role:dev:all:member"]
    );
    let metadata = find::<pb::GrantMetadata>(&first.grant.annotations)
        .unwrap()
        .metadata
        .unwrap();
    assert_eq!(
        Value::Object(facts(&metadata)),
        json!({"certainty": "certain", "paths": [{"via": "binding"}]})
    );
    assert!(find::<pb::GrantImmutable>(&first.grant.annotations).is_some());
    assert!(file.grants[1].grant.annotations.is_empty());
    assert_eq!(
        find::<pb::ExternalResourceMatchId>(&file.grants[2].grant.annotations)
            .unwrap()
            .id,
        "arn:aws:iam::1:user/bo"
    );
    assert_eq!(
        summary.principals_without_row.iter().collect::<Vec<_>>(),
        [(&"person".to_owned(), &1)]
    );
    assert_eq!(reasons(&summary), []);
    assert_eq!(
        (summary.objects, summary.entitlements, summary.grants),
        (3, 1, 3)
    );
    assert_eq!(
        (
            summary.kinds[0].objects,
            summary.kinds[0].grants,
            summary.kinds[1].objects
        ),
        (2, 3, 1)
    );
}

#[tokio::test]
async fn the_evidence_says_what_was_read_and_by_whom() {
    let (world, mut fake) = (World::new(), Fake::small());
    if let Some(Ok(page)) = fake
        .grants
        .get_mut("role")
        .and_then(|pages| pages.first_mut())
    {
        page.attributes = attributes(&[
            ("evidence", r#"{"type":"dead-line","arn":"arn:x"}"#),
            ("warning", "a line is dead"),
            ("warning", "a line is dead"),
        ]);
    }
    let summary = world.sync(&mut fake).await.unwrap();
    let evidence = world.read().evidence;
    assert_eq!(evidence["version"], 1);
    assert_eq!(evidence["host"], "9.9.9");
    assert_eq!(
        evidence["plugin"],
        json!({"name": "fake", "version": "1.2.3", "digest": "sha256:00"})
    );
    assert_eq!(evidence["caller"], "arn:aws:sts::1:assumed-role/reader/x");
    assert_eq!(
        evidence["validation"],
        json!({"cluster-arn": "arn:1", "group": ["a", "b"]})
    );
    assert_eq!(evidence["unread"], json!([]));
    assert_eq!(
        evidence["warnings"],
        json!([{"reason": "connector", "message": "a line is dead", "count": 2}])
    );
    assert_eq!(
        evidence["evidence"],
        json!([{"type": "dead-line", "arn": "arn:x"}])
    );
    assert!(evidence["started"].as_str().unwrap() <= evidence["ended"].as_str().unwrap());
    assert_eq!(reasons(&summary), [("connector", 2)]);
    assert_eq!(summary.evidence, 1);
    assert_eq!(
        serde_json::to_value(&summary).unwrap()["kinds"][0]["kind"],
        "role"
    );
}

#[tokio::test]
async fn a_grant_without_its_entitlement_is_never_written() {
    let (world, mut fake) = (World::new(), Fake::small());
    fake.entitlements.insert(
        "role".into(),
        pages!(
            EntitlementPage,
            vec![
                entitlement("role", "dev", "all:member"),
                entitlement("role", "ghost", "member")
            ]
        ),
    );
    fake.grants.insert(
        "role".into(),
        pages!(
            GrantPage,
            vec![
                grant(("role", "dev"), "all:member", ("user", "ann")),
                grant(("role", "dev"), "dev-*:member", ("user", "ann")),
                grant(("role", "ghost"), "member", ("user", "ann")),
            ]
        ),
    );
    let summary = world.sync(&mut fake).await.unwrap();
    assert_eq!(
        reasons(&summary),
        [
            ("entitlement-without-object", 1),
            ("grant-without-entitlement", 2)
        ]
    );
    assert_eq!(
        summary.warnings[1].examples,
        [
            "role:dev:dev-*:member:user:ann",
            "role:ghost:member:user:ann"
        ]
    );
    let file = world.read();
    assert_eq!(file.grants.len(), 1);
    let rows: Vec<_> = file
        .entitlements
        .iter()
        .map(|one| one.id.as_str())
        .collect();
    assert!(
        file.grants
            .iter()
            .all(|row| rows.contains(&row.grant.entitlement.as_ref().unwrap().id.as_str()))
    );
    assert_eq!(
        file.evidence["evidence"][2],
        json!({"type": "grant-without-entitlement", "id": "role:ghost:member:user:ann"})
    );
}

#[tokio::test]
async fn what_comes_twice_is_counted_and_kept_once() {
    let (world, mut fake) = (World::new(), Fake::small());
    let mut other = object("user", "ann");
    other.display_name = "Other".into();
    fake.objects.insert(
        "user".into(),
        pages!(ObjectPage, vec![object("user", "ann")], vec![other]),
    );
    let held = || entitlement("role", "dev", "m");
    fake.entitlements
        .insert("role".into(), pages!(EntitlementPage, vec![held(), held()]));
    let given = || grant(("role", "dev"), "m", ("user", "ann"));
    fake.grants.insert(
        "role".into(),
        pages!(GrantPage, vec![given()], vec![given(), given()]),
    );
    let summary = world.sync(&mut fake).await.unwrap();
    assert_eq!(
        reasons(&summary),
        [
            ("duplicate-object", 1),
            ("duplicate-entitlement", 1),
            ("duplicate-grant", 2)
        ]
    );
    assert_eq!(
        (summary.objects, summary.entitlements, summary.grants),
        (3, 1, 1)
    );
    let file = world.read();
    assert_eq!(file.resources[2].display_name, "ANN");
    assert_eq!((file.entitlements.len(), file.grants.len()), (1, 1));
}

#[tokio::test]
async fn an_expansion_through_a_foreign_entitlement_is_left_out() {
    let (world, mut fake) = (World::new(), Fake::small());
    let mut given = grant(("role", "dev"), "all:member", ("role", "ops"));
    given.attributes = attributes(&[
        ("expandable", "role:ops2:all:member"),
        ("expandable", "role:ops:all:member"),
    ]);
    fake.grants
        .insert("role".into(), pages!(GrantPage, vec![given]));
    let summary = world.sync(&mut fake).await.unwrap();
    // What is left is followed, and `ops` has no entitlement.
    assert_eq!(
        reasons(&summary),
        [
            ("foreign-expansion", 1),
            ("expansion-without-entitlement", 1)
        ]
    );
    let file = world.read();
    assert_eq!(
        file.grants[0].expansion.as_ref().unwrap().entitlement_ids,
        ["role:ops:all:member"]
    );
}

#[tokio::test]
async fn an_optional_kind_that_may_not_be_read_is_a_line_in_the_summary() {
    let (world, mut fake) = (World::new(), Fake::small());
    fake.descriptor
        .kinds
        .push(kind("configmap", &[], &[("optional", "true")]));
    fake.objects
        .insert("configmap".into(), vec![Err(refusal("not-permitted"))]);
    let summary = world.sync(&mut fake).await.unwrap();
    assert_eq!(summary.unread.len(), 1);
    let unread = &summary.unread[0];
    assert_eq!(
        (unread.kind.as_str(), unread.step, unread.message.as_str()),
        ("configmap", "objects", "may not list")
    );
    assert_eq!(unread.operation.as_deref(), Some("list configmaps"));
    assert_eq!(unread.hint.as_deref(), Some("add a rule"));
    assert!(
        !fake
            .calls
            .iter()
            .any(|call| call.starts_with("entitlements configmap"))
    );
    assert_eq!(world.read().evidence["unread"][0]["kind"], "configmap");
}

#[tokio::test]
async fn any_other_refusal_fails_the_sync_and_keeps_the_file() {
    let world = World::new();
    world.sync(&mut Fake::small()).await.unwrap();
    for (optional, refused) in [("false", "not-permitted"), ("true", "unavailable")] {
        let mut fake = Fake::small();
        fake.descriptor
            .kinds
            .push(kind("configmap", &[], &[("optional", optional)]));
        fake.objects
            .insert("configmap".into(), vec![Err(refusal(refused))]);
        let error = world.fails(&mut fake).await;
        assert_eq!(
            error.to_string(),
            "listing objects of configmap: may not list"
        );
        let SyncError::Call {
            source: CallError::Connector(source),
            ..
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!(source.kind, refused);
    }
    let mut fake = Fake::small();
    fake.grants
        .insert("role".into(), vec![Err(CallError::Timeout(120))]);
    let error = world.fails(&mut fake).await;
    assert!(
        matches!(
            error,
            SyncError::Call {
                source: CallError::Timeout(120),
                ..
            }
        ),
        "{error}"
    );
    let mut fake = Fake::small();
    fake.entitlements
        .insert("user".into(), vec![Err(CallError::Cancelled)]);
    assert!(matches!(world.fails(&mut fake).await, SyncError::Cancelled));
}

#[tokio::test]
async fn walking_in_a_circle_is_an_error() {
    let world = World::new();
    let page = |next: &str| {
        Ok(ObjectPage {
            items: vec![],
            next: Some(next.into()),
            attributes: vec![],
        })
    };
    for pages in [
        vec![page("x"), page("x")],
        vec![page("x"), page("y"), page("x")],
    ] {
        let mut fake = Fake::small();
        fake.objects.insert("user".into(), pages);
        let error = world.fails(&mut fake).await.to_string();
        assert_eq!(
            error,
            "listing objects of user: the connector broke the contract: the same page token twice"
        );
    }
}

#[tokio::test]
async fn pages_beyond_the_limits_are_errors() {
    type Break = fn(&mut ObjectPage);
    let cases: [(&str, Break); 8] = [
        ("a page of 1001 items", |page| {
            page.items = vec![object("user", "u"); 1001]
        }),
        ("a page of", |page| {
            page.items = (0..200)
                .map(|number| {
                    let mut one = object("user", &number.to_string());
                    one.display_name = "x".repeat(6_000);
                    one
                })
                .collect();
        }),
        ("a display name of 8193 bytes", |page| {
            page.items[0].display_name = "x".repeat(8_193)
        }),
        ("a profile of", |page| {
            page.items[0].profile = Some(format!("{{\"a\":\"{}\"}}", "x".repeat(65_536)))
        }),
        ("a page token of 8193 bytes", |page| {
            page.next = Some("x".repeat(8_193))
        }),
        ("the attribute warning of 8193 bytes", |page| {
            page.attributes = attributes(&[("warning", &"x".repeat(8_193))])
        }),
        ("the attribute embedded-profile of", |page| {
            page.items[0].attributes = attributes(&[("embedded-profile", &"x".repeat(65_537))]);
        }),
        ("an object id with an empty part", |page| {
            page.items[0].id.id = String::new()
        }),
    ];
    let world = World::new();
    for (expected, break_page) in cases {
        let mut fake = Fake::small();
        let mut page = ObjectPage {
            items: vec![object("user", "u")],
            next: None,
            attributes: vec![],
        };
        break_page(&mut page);
        fake.objects.insert("user".into(), vec![Ok(page)]);
        let error = world.fails(&mut fake).await.to_string();
        assert!(
            error.starts_with("listing objects of user: the connector broke the contract: "),
            "{error}"
        );
        assert!(error.contains(expected), "{error}");
    }
    // At the limit is within it.
    let mut fake = Fake::small();
    let mut one = object("user", "u");
    one.profile = Some(format!("{{\"a\":\"{}\"}}", "x".repeat((64 << 10) - 8)));
    one.display_name = "x".repeat(8_192);
    fake.objects
        .insert("user".into(), pages!(ObjectPage, vec![one]));
    world.sync(&mut fake).await.unwrap();
}

#[tokio::test]
async fn values_that_mean_nothing_are_errors() {
    let world = World::new();
    let bad = |break_fake: fn(&mut Fake)| {
        let mut fake = Fake::small();
        break_fake(&mut fake);
        fake
    };
    let with_object = |break_object: fn(&mut Object)| {
        let mut fake = Fake::small();
        let mut one = object("user", "u");
        break_object(&mut one);
        fake.objects
            .insert("user".into(), pages!(ObjectPage, vec![one]));
        fake
    };
    let with_entitlement = |break_entitlement: fn(&mut Entitlement)| {
        let mut fake = Fake::small();
        let mut one = entitlement("role", "dev", "m");
        break_entitlement(&mut one);
        fake.entitlements
            .insert("role".into(), pages!(EntitlementPage, vec![one]));
        fake
    };
    let with_grant = |break_grant: fn(&mut Grant)| {
        let mut fake = Fake::small();
        let mut one = grant(("role", "dev"), "all:member", ("user", "ann"));
        break_grant(&mut one);
        fake.grants
            .insert("role".into(), pages!(GrantPage, vec![one]));
        fake
    };
    let cases = [
        (
            with_object(|one| one.id.kind = "role".into()),
            "an object of kind role",
        ),
        (
            with_object(|one| one.profile = Some("[]".into())),
            "a profile is not a JSON object",
        ),
        (
            with_object(|one| one.profile = Some("{".into())),
            "a profile is not a JSON object",
        ),
        (
            with_object(|one| one.attributes = attributes(&[("user-status", "asleep")])),
            "the unknown user-status asleep",
        ),
        (
            with_object(|one| one.attributes = attributes(&[("account-type", "robot")])),
            "the unknown account-type robot",
        ),
        (
            with_object(|one| one.attributes = attributes(&[("child-kind", "x")])),
            "does not declare the kind x",
        ),
        (
            with_entitlement(|one| one.purpose = "fun".into()),
            "the unknown purpose fun",
        ),
        (
            with_entitlement(|one| one.on.kind = "user".into()),
            "an entitlement on kind user",
        ),
        (
            with_entitlement(|one| one.slug = String::new()),
            "an entitlement without a slug",
        ),
        (
            with_entitlement(|one| one.grantable_to = vec!["x\u{1b}[31m".into()]),
            "the kind x\\u{1b}[31m",
        ),
        (
            with_grant(|one| one.on.kind = "user".into()),
            "a grant on kind user",
        ),
        (
            with_grant(|one| one.attributes = attributes(&[("metadata", "7")])),
            "metadata is not a JSON object",
        ),
        (
            bad(|fake| fake.descriptor.kinds.push(kind("user", &[], &[]))),
            "declares the kind user twice",
        ),
        (
            bad(|fake| fake.descriptor.kinds[0].traits = vec!["hero".into()]),
            "the unknown trait hero",
        ),
        (
            bad(|fake| {
                let page = ObjectPage {
                    items: vec![],
                    next: None,
                    attributes: attributes(&[("evidence", "{}")]),
                };
                fake.objects.insert("user".into(), vec![Ok(page)]);
            }),
            "evidence without a type",
        ),
    ];
    for (mut fake, expected) in cases {
        let error = world.fails(&mut fake).await;
        assert!(matches!(error, SyncError::Contract { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// A grant can name any kind, and a summary lists them.
#[tokio::test]
async fn kinds_of_principals_that_a_connector_makes_up_are_counted_together() {
    let (world, mut fake) = (World::new(), Fake::small());
    let made_up = (0..900)
        .map(|n| grant(("role", "dev"), "all:member", (&format!("kind_{n}"), "x")))
        .collect();
    fake.grants
        .insert("role".into(), pages!(GrantPage, made_up));
    let summary = world.sync(&mut fake).await.unwrap();
    assert_eq!(summary.grants, 900);
    let kinds = &summary.principals_without_row;
    assert!(kinds.len() <= 129, "{} kinds", kinds.len());
    assert_eq!(kinds.values().sum::<u64>(), 900);
}

#[tokio::test]
async fn only_chosen_kinds_are_listed() {
    let (mut world, mut fake) = (World::new(), Fake::small());
    world.options.kinds = vec!["role".into()];
    let summary = world.sync(&mut fake).await.unwrap();
    assert!(!fake.calls.iter().any(|call| call.contains("user")));
    assert_eq!(summary.kinds.len(), 1);
    let file = world.read();
    assert_eq!(file.types.len(), 1);
    assert_eq!(summary.principals_without_row["user"], 1);

    for name in ["rolle", "person"] {
        world.options.kinds = vec!["role".into(), name.into()];
        let error = world.fails(&mut Fake::small()).await.to_string();
        assert_eq!(
            error,
            format!("there is no resource type {name}; the connector lists role, user")
        );
    }
}

/// The setting of `World::sync` is `a` with the value `b`.
#[tokio::test]
async fn a_kind_can_be_listed_with_a_setting_only() {
    for (when, listed) in [("a=b", true), ("a=c", false), ("c=b", false)] {
        let hidden = [("listed", "false"), ("listed-when", when)];
        let mut fake = Fake::new(vec![kind("person", &["user"], &hidden)]);
        let summary = World::new().sync(&mut fake).await.unwrap();
        assert_eq!(!summary.kinds.is_empty(), listed, "{when}");
    }
    let odd = kind("person", &[], &[("listed-when", "always")]);
    let error = World::new().fails(&mut Fake::new(vec![odd])).await;
    assert!(error.to_string().contains("listed when always"), "{error}");
}

#[tokio::test]
async fn grants_and_entitlements_can_be_left_out() {
    let (mut world, mut fake) = (World::new(), Fake::small());
    world.options.skip_grants = true;
    let summary = world.sync(&mut fake).await.unwrap();
    assert_eq!(
        (summary.sync_type, summary.entitlements, summary.grants),
        ("full", 1, 0)
    );
    assert!(!fake.calls.iter().any(|call| call.starts_with("grants")));

    let mut fake = Fake::small();
    world.options.skip_entitlements_and_grants = true;
    let summary = world.sync(&mut fake).await.unwrap();
    assert_eq!(
        (summary.sync_type, summary.entitlements, summary.objects),
        ("resources_only", 0, 3)
    );
    assert!(
        !fake
            .calls
            .iter()
            .any(|call| call.starts_with("entitlements"))
    );
    let reader = Reader::open(&world.file(), &FileOptions::default()).unwrap();
    let types: Vec<_> = reader
        .syncs()
        .unwrap()
        .into_iter()
        .map(|sync| sync.sync_type)
        .collect();
    assert_eq!(types, ["full", "resources_only"]);
}

#[tokio::test]
async fn stopping_keeps_the_file_at_every_edge() {
    /// Stops the sync at the n-th report.
    struct Stopper(Arc<AtomicBool>, usize);
    impl Progress for Stopper {
        fn phase(&mut self, phase: Phase) {
            self.found(phase, "", 0);
        }
        fn found(&mut self, phase: Phase, _kind: &str, _count: u64) {
            // Once the file is being replaced it is too late to stop.
            if self.1 == 0 && phase != Phase::Writing {
                self.0.store(true, Ordering::Relaxed);
            }
            self.1 = self.1.saturating_sub(1);
        }
    }
    let mut world = World::new();
    world.sync(&mut Fake::small()).await.unwrap();
    let before = std::fs::read(world.file()).unwrap();
    let mut stopped = 0;
    for edge in 0.. {
        world.options.cancelled = Arc::new(AtomicBool::new(false));
        let mut stopper = Stopper(world.options.cancelled.clone(), edge);
        match world.watched(&mut Fake::small(), &mut stopper).await {
            Err(SyncError::Cancelled) => {
                stopped += 1;
                assert_eq!(std::fs::read(world.file()).unwrap(), before);
            }
            Ok(_) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(stopped > 10, "{stopped}");
}

#[tokio::test]
async fn progress_counts_rows_by_kind() {
    #[derive(Default)]
    struct Log(Vec<String>);
    impl Progress for Log {
        fn phase(&mut self, phase: Phase) {
            self.0.push(format!("{phase:?}"));
        }
        fn found(&mut self, _phase: Phase, kind: &str, count: u64) {
            self.0.push(format!("{kind} {count}"));
        }
        fn done(&mut self, _phase: Phase, kind: &str) {
            self.0.push(format!("{kind} done"));
        }
    }
    let (world, mut log) = (World::new(), Log::default());
    world.watched(&mut Fake::small(), &mut log).await.unwrap();
    assert_eq!(
        log.0,
        [
            "Opening",
            "Validating",
            "Resources",
            "role 1",
            "role 2",
            "role done",
            "user 1",
            "user done",
            "Entitlements",
            "role 0",
            "role 1",
            "role done",
            "user 0",
            "user done",
            "Grants",
            "role 2",
            "role 3",
            "role done",
            "user 0",
            "user done",
            "Expanding",
            " 0",
            "Writing"
        ]
    );
}

/// Roles whose members hold what the role holds.
fn nested() -> Fake {
    let mut fake = Fake::small();
    let mut through = grant(("role", "dev"), "all:member", ("role", "ops"));
    through.attributes = attributes(&[
        ("expandable", "role:ops:member"),
        ("metadata", r#"{"certainty":"certain"}"#),
    ]);
    let mut person = grant(("role", "ops"), "member", ("person", "bo"));
    person.attributes = attributes(&[
        ("external-match-id", "bo"),
        ("metadata", r#"{"certainty":"conditional"}"#),
    ]);
    let keyed = |name: &str, key: &str, value: &str| {
        let mut grant = grant(("role", "ops"), "member", ("person", name));
        grant.attributes = attributes(&[(key, value)]);
        grant
    };
    fake.entitlements
        .get_mut("role")
        .unwrap()
        .push(Ok(EntitlementPage {
            items: vec![entitlement("role", "ops", "member")],
            next: None,
            attributes: vec![],
        }));
    fake.entitlements.get_mut("role").unwrap()[1]
        .as_mut()
        .unwrap()
        .next = Some("2".into());
    fake.grants.insert(
        "role".into(),
        pages!(
            GrantPage,
            vec![
                through,
                person,
                keyed(
                    "by-mail",
                    "external-match",
                    r#"{"trait":"user","key":"email","value":"CAT@x"}"#
                ),
                keyed("everybody", "external-match-all", "user"),
            ]
        ),
    );
    fake
}

#[tokio::test]
async fn members_of_a_role_inherit_at_the_end_of_a_sync() {
    let world = World::new();
    let summary = world.sync(&mut nested()).await.unwrap();
    assert_eq!((summary.expanded.grants, summary.grants), (3, 7));
    assert_eq!(summary.principals_without_row["person"], 3);
    assert!(summary.imported.is_none());
    let read = world.read();
    let inherited = read
        .grants
        .iter()
        .map(|row| &row.grant)
        .find(|grant| grant.id == "role:dev:all:member:person:bo")
        .unwrap();
    let sources = &inherited.sources.as_ref().unwrap().sources;
    assert!(sources["role:ops:member"].is_direct);
    let metadata: pb::GrantMetadata = find(&inherited.annotations).unwrap();
    assert_eq!(
        Value::Object(facts(&metadata.metadata.unwrap())),
        json!({"certainty": "conditional"})
    );
}

#[tokio::test]
async fn accounts_of_another_file_take_the_place_of_those_that_are_named() {
    let mut world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let external = folder.path().join("people.c1z");
    let mut writer =
        crate::c1z::Writer::open(&external, crate::c1z::SyncType::Full, &world.file_options)
            .unwrap();
    let kind = pb::ResourceType {
        id: "account".into(),
        traits: vec![pb::resource_type::Trait::User.into()],
        ..Default::default()
    };
    writer.put_resource_type(&kind).unwrap();
    for (name, mail) in [("bo", "bo@x"), ("cat", "cat@x")] {
        let held = pb::UserTrait {
            emails: vec![pb::user_trait::Email {
                address: mail.into(),
                is_primary: true,
            }],
            ..Default::default()
        };
        let account = pb::Resource {
            id: Some(pb::ResourceId {
                resource_type: "account".into(),
                resource: name.into(),
                ..Default::default()
            }),
            annotations: vec![crate::c1z::annotations::pack(&held)],
            ..Default::default()
        };
        writer.put_resource(&account).unwrap();
    }
    writer.finish().unwrap();
    world.options.external = Some(crate::people::External {
        file: external,
        filter: None,
    });

    let summary = world.sync(&mut nested()).await.unwrap();
    let imported = summary.imported.unwrap();
    assert_eq!((imported.resources, imported.matched), (2, 3));
    assert!(summary.principals_without_row.is_empty());
    assert_eq!(summary.objects, 5);
    let read = world.read();
    let mut grants: Vec<&str> = read
        .grants
        .iter()
        .map(|row| row.grant.id.as_str())
        .collect();
    grants.sort_unstable();
    assert_eq!(
        grants,
        [
            "role:dev:all:member:account:bo",
            "role:dev:all:member:account:cat",
            "role:dev:all:member:role:ops",
            "role:ops:member:account:bo",
            "role:ops:member:account:cat",
        ]
    );
    assert_eq!(summary.grants, 5);

    world.options.skip_grants = true;
    let summary = world.sync(&mut nested()).await.unwrap();
    assert_eq!(reasons(&summary), [("external-skipped", 1)]);

    world.options.skip_grants = false;
    world.options.external.as_mut().unwrap().filter = Some("nothing".into());
    let error = world.fails(&mut nested()).await.to_string();
    assert!(error.contains("it has no entitlement nothing"), "{error}");
}

#[tokio::test]
async fn the_second_sync_keeps_the_first_for_comparison() {
    let world = World::new();
    let first = world.sync(&mut Fake::small()).await.unwrap();
    let second = world.sync(&mut Fake::small()).await.unwrap();
    let third = world.sync(&mut Fake::small()).await.unwrap();
    assert_eq!(
        (
            first.removed_syncs,
            second.removed_syncs,
            third.removed_syncs
        ),
        (0, 0, 1)
    );
    let reader = Reader::open(&world.file(), &FileOptions::default()).unwrap();
    let ids: Vec<_> = reader
        .syncs()
        .unwrap()
        .into_iter()
        .map(|sync| sync.sync_id)
        .collect();
    assert_eq!(ids, [second.sync_id, third.sync_id]);
    // Two syncs of the same facts are the same bytes, or a comparison shows changes.
    let rows = |view: &str| -> Vec<pb::Resource> {
        reader
            .resources(&reader.sync(view).unwrap())
            .map(Result::unwrap)
            .collect()
    };
    assert_eq!(rows(&ids[0]), rows(&ids[1]));
}

#[tokio::test]
async fn a_path_that_cannot_be_written_is_told_before_the_connector_is_called() {
    let (world, mut fake) = (World::new(), Fake::small());
    std::fs::write(world.file(), "a text").unwrap();
    let error = world.fails(&mut fake).await;
    assert!(
        error.to_string().contains("is not an access file"),
        "{error}"
    );
    assert!(fake.calls.is_empty());
}

#[tokio::test]
async fn warnings_and_evidence_stay_within_bounds() {
    let mut notes = summary::Notes::default();
    for number in 0..3_000 {
        notes.warn(
            "connector",
            &format!("warning {number}"),
            Some(&"x".repeat(1_000)),
        );
    }
    assert_eq!(notes.warnings().len(), 1_001);
    let last = notes.warnings().last().unwrap();
    assert_eq!((last.reason, last.count), ("more-warnings", 2_000));
    assert!(notes.warnings()[0].examples[0].len() < 300);
    let large = json!({"type": "x", "text": "y".repeat(1 << 20)});
    for _ in 0..40 {
        notes.evidence(large.as_object().unwrap().clone());
    }
    assert_eq!(notes.evidence_count(), 31);
    assert_eq!(notes.warnings().last().unwrap().reason, "more-warnings");
}

#[tokio::test]
async fn many_entitlements_name_the_setting_that_makes_them_fewer() {
    let mut notes = summary::Notes::default();
    let mut descriptor = Fake::small().descriptor;
    descriptor.settings.push(SettingSpec {
        name: "namespace-entitlements".into(),
        kind: "choice".into(),
        required: false,
        attributes: vec![],
    });
    engine::warn_if_many(&mut notes, 200_000, &descriptor);
    assert!(notes.warnings().is_empty());
    engine::warn_if_many(&mut notes, 200_001, &descriptor);
    assert_eq!(
        notes.warnings()[0].message,
        "the file holds 200001 entitlements; `--namespace-entitlements` may make them fewer"
    );
}
