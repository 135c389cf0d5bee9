//! What comes over from another connector's file, in the shapes of the AWS
//! connector, and what becomes of our grants.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use prost_types::Any;
use serde_json::{Value, json};

use super::*;
use crate::c1z::annotations::{json as facts, profile};
use crate::c1z::{GrantRow, SyncType};
use crate::people;

const STORE: &str = "arn:aws:identitystore:eu-west-1::d-1";
const SSO_ROLE: &str = "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Power_User_0123456789abcdef";
const ADA: &str = "arn:aws:iam::111122223333:user/ada";
const SET: &str = "arn:aws:sso:::permissionSet/ssoins-1/ps-1";

fn id(kind: &str, id: &str) -> pb::ResourceId {
    pb::ResourceId {
        resource_type: kind.into(),
        resource: id.into(),
        ..Default::default()
    }
}

fn resource(kind: &str, name: &str, annotations: Vec<Any>) -> pb::Resource {
    pb::Resource {
        id: Some(id(kind, name)),
        display_name: name.rsplit('/').next().unwrap_or(name).to_owned(),
        annotations,
        ..Default::default()
    }
}

fn entitlement(on: pb::Resource, slug: &str) -> pb::Entitlement {
    let on_id = on.id.as_ref().unwrap();
    pb::Entitlement {
        id: format!("{}:{}:{slug}", on_id.resource_type, on_id.resource),
        resource: Some(on),
        slug: slug.into(),
        ..Default::default()
    }
}

fn grant(held: &pb::Entitlement, to: (&str, &str), annotations: Vec<Any>) -> pb::Grant {
    pb::Grant {
        id: format!("{}:{}:{}", held.id, to.0, to.1),
        entitlement: Some(pb::Entitlement {
            id: held.id.clone(),
            resource: held.resource.clone(),
            ..Default::default()
        }),
        principal: Some(resource(to.0, to.1, vec![])),
        annotations,
        ..Default::default()
    }
}

fn strange() -> Any {
    Any {
        type_url: "type.googleapis.com/c1.connector.v2.OptInRequired".into(),
        value: vec![],
    }
}

fn user(kind: &str, name: &str, email: &str) -> pb::Resource {
    let traits = pb::UserTrait {
        emails: vec![pb::user_trait::Email {
            address: email.into(),
            is_primary: true,
        }],
        profile: Some(profile(json!({ "team": "Blue" }).as_object().unwrap())),
        login: name.rsplit('/').next().unwrap().to_owned(),
        ..Default::default()
    };
    resource(kind, name, vec![strange(), pack(&traits)])
}

fn group(kind: &str, name: &str) -> pb::Resource {
    let traits = pb::GroupTrait {
        profile: Some(profile(
            json!({ "aws_group_name": "Devs" }).as_object().unwrap(),
        )),
        ..Default::default()
    };
    resource(kind, name, vec![pack(&traits)])
}

fn kind(name: &str, held: &[Trait], annotations: Vec<Any>) -> pb::ResourceType {
    pb::ResourceType {
        id: name.into(),
        display_name: name.into(),
        traits: held.iter().map(|held| i32::from(*held)).collect(),
        annotations,
        ..Default::default()
    }
}

fn expandable(through: &str) -> Any {
    pack(&pb::GrantExpandable {
        entitlement_ids: vec![through.to_owned()],
        ..Default::default()
    })
}

/// A folder with the AWS connector's file and ours.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The AWS connector's file. `newer`: with assignments of their own kind.
    fn aws(&self, newer: bool) {
        let file = self.path("aws.c1z");
        let mut writer = Writer::open(&file, SyncType::Full, &FileOptions::default()).unwrap();
        let skips = || vec![strange(), pack(&pb::SkipEntitlementsAndGrants {})];
        for kind in [
            kind("iam_user", &[Trait::User], skips()),
            kind("sso_user", &[Trait::User], skips()),
            kind("group", &[Trait::Group], vec![]),
            kind("sso_group", &[Trait::Group], vec![]),
            kind("role", &[Trait::Role], vec![]),
            kind("account", &[Trait::App], vec![]),
        ] {
            writer.put_resource_type(&kind).unwrap();
        }
        let sso = |kind: &str, name: &str| format!("{STORE}/{kind}/{name}");
        let people = [
            user("iam_user", ADA, "Ada@Example.com"),
            user("sso_user", &sso("user", "bob"), "bob@example.com"),
            user("sso_user", &sso("user", "cat"), "cat@example.com"),
            group("group", "arn:aws:iam::111122223333:group/ops"),
            group("sso_group", &sso("group", "devs")),
            resource("role", SSO_ROLE, vec![pack(&pb::RoleTrait::default())]),
            resource("account", "111122223333", vec![]),
            resource("account", "444455556666", vec![]),
        ];
        for row in &people {
            writer.put_resource(row).unwrap();
        }
        let ops = entitlement(people[3].clone(), "member");
        let devs = entitlement(people[4].clone(), "member");
        let role = entitlement(people[5].clone(), "assignment");
        for held in [&ops, &devs, &role, &entitlement(people[0].clone(), "odd")] {
            writer.put_entitlement(held).unwrap();
        }
        let mut member = grant(&devs, ("sso_user", &sso("user", "cat")), vec![]);
        // The AWS connector's ids of memberships are those of AWS.
        member.id = "membership-1".into();
        writer.put_grant(member).unwrap();
        writer
            .put_grant(grant(&ops, ("iam_user", ADA), vec![strange()]))
            .unwrap();
        writer
            .put_grant(grant(&role, ("iam_user", ADA), vec![]))
            .unwrap();
        for (account, row) in [("111122223333", &people[6]), ("444455556666", &people[7])] {
            let assigned = if newer {
                let name = format!("{SET}-{account}");
                let mut on = resource("permission_set_assignment", &name, vec![]);
                on.display_name = format!("Power_User on {account}");
                writer.put_resource(&on).unwrap();
                entitlement(on, "assigned")
            } else {
                pb::Entitlement {
                    id: format!("{account}|{SET}"),
                    slug: "Power_User access".into(),
                    ..entitlement(row.clone(), "x")
                }
            };
            writer.put_entitlement(&assigned).unwrap();
            let to = sso("group", "devs");
            let through = format!("sso_group:{to}:member");
            let mut direct = grant(&assigned, ("sso_group", &to), vec![expandable(&through)]);
            direct.id = format!("grant:sso_group:{to}:{}", assigned.id);
            writer.put_grant(direct).unwrap();
            let mut through_group = grant(&assigned, ("sso_user", &sso("user", "cat")), vec![]);
            through_group.sources = Some(pb::GrantSources {
                sources: [(through, pb::grant_sources::GrantSource { is_direct: true })].into(),
            });
            writer.put_grant(through_group).unwrap();
        }
        writer.finish().unwrap();
    }

    fn ours(&self) -> Writer {
        let file = self.path("ours.c1z");
        let mut writer = Writer::open(&file, SyncType::Full, &FileOptions::default()).unwrap();
        let profile = json!({ "people_behind": "not available, Identity Center", "arn": SSO_ROLE });
        let role = resource(
            "role",
            SSO_ROLE,
            vec![pack(&pb::RoleTrait {
                profile: Some(profile_of(&profile)),
                ..Default::default()
            })],
        );
        let cluster = resource("cluster_role", "admin", vec![]);
        for row in [&role, &cluster] {
            writer.put_resource(row).unwrap();
        }
        let mut short = role;
        short.annotations.clear();
        for held in [
            entitlement(short, "assignment"),
            entitlement(cluster, "member"),
        ] {
            writer.put_entitlement(&held).unwrap();
        }
        writer
    }

    fn external(&self, filter: Option<&str>) -> External {
        External {
            file: self.path("aws.c1z"),
            filter: filter.map(str::to_owned),
        }
    }

    fn import(
        &self,
        writer: &mut Writer,
        filter: Option<&str>,
    ) -> Result<(Imported, BTreeMap<&'static str, Vec<String>>), PeopleError> {
        let mut warnings: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        let mut watch = Watch {
            cancelled: &AtomicBool::new(false),
            found: &mut |_| {},
            warn: &mut |reason, _, example| {
                let example = example.unwrap_or_default().to_owned();
                warnings.entry(reason).or_default().push(example);
            },
        };
        let (imported, sessions) = people::import(
            writer,
            &self.external(filter),
            &self.path("ours.c1z"),
            &FileOptions::default(),
            &mut watch,
        )?;
        people::expand(writer, &sessions, &mut watch)?;
        Ok((imported, warnings))
    }

    fn refusal(&self, filter: Option<&str>) -> String {
        let mut writer = self.ours();
        self.import(&mut writer, filter).unwrap_err().to_string()
    }

    fn read(&self, writer: Writer) -> Read {
        writer.finish().unwrap();
        let reader = Reader::open(&self.path("ours.c1z"), &FileOptions::default()).unwrap();
        let view = reader.latest().unwrap();
        Read {
            types: reader
                .resource_types(&view)
                .map(|kind| kind.unwrap())
                .map(|kind| (kind.id.clone(), kind))
                .collect(),
            resources: reader
                .resources(&view)
                .map(|row| row.unwrap())
                .map(|row| {
                    let id = row.id.clone().unwrap();
                    (format!("{}:{}", id.resource_type, id.resource), row)
                })
                .collect(),
            entitlements: reader
                .entitlements(&view)
                .map(|row| row.unwrap())
                .map(|row| (row.id.clone(), row))
                .collect(),
            grants: reader
                .grants(&view)
                .map(|row| row.unwrap())
                .map(|row| (row.grant.id.clone(), row))
                .collect(),
        }
    }
}

fn profile_of(value: &Value) -> prost_types::Struct {
    profile(value.as_object().unwrap())
}

struct Read {
    types: BTreeMap<String, pb::ResourceType>,
    resources: BTreeMap<String, pb::Resource>,
    entitlements: BTreeMap<String, pb::Entitlement>,
    grants: BTreeMap<String, GrantRow>,
}

fn names(annotations: &[Any]) -> BTreeSet<String> {
    annotations
        .iter()
        .map(|any| any.type_url.rsplit('.').next().unwrap().to_owned())
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn metadata(row: &GrantRow) -> Value {
    let found: Option<pb::GrantMetadata> = find(&row.grant.annotations);
    found
        .and_then(|metadata| metadata.metadata)
        .map(|metadata| Value::Object(facts(&metadata)))
        .unwrap_or_default()
}

#[test]
fn accounts_and_groups_come_over_and_nothing_else() {
    let world = World::new();
    world.aws(false);
    let mut writer = world.ours();
    let (imported, warnings) = world.import(&mut writer, None).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(
        (imported.resources, imported.entitlements, imported.grants),
        (5, 2, 2)
    );
    let read = world.read(writer);
    let kinds: Vec<&str> = read.types.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["group", "iam_user", "sso_group", "sso_user"]);
    assert_eq!(
        names(&read.types["iam_user"].annotations),
        set(&["SkipEntitlementsAndGrants"])
    );
    // What the released reader does not know is left behind.
    assert_eq!(
        names(&read.resources[&format!("iam_user:{ADA}")].annotations),
        set(&["UserTrait", "BatonID"])
    );
    assert!(!read.resources.contains_key("account:111122223333"));
    let member = format!("sso_group:{STORE}/group/devs:member");
    assert_eq!(
        names(&read.entitlements[&member].annotations),
        set(&["EntitlementImmutable"])
    );
    // Nothing is held on a type that says so.
    assert!(
        !read
            .entitlements
            .contains_key(&format!("iam_user:{ADA}:odd"))
    );
    let membership = &read.grants["membership-1"];
    assert_eq!(
        names(&membership.grant.annotations),
        set(&["GrantImmutable"])
    );
    assert_eq!(membership.expansion, None);
    // Who may assume a role is what our own connector reads.
    assert!(
        !read
            .grants
            .contains_key(&format!("role:{SSO_ROLE}:assignment:iam_user:{ADA}"))
    );
}

#[test]
fn grants_find_accounts_by_id_and_stay_where_they_find_none() {
    let world = World::new();
    world.aws(false);
    let mut writer = world.ours();
    let admin = entitlement(resource("cluster_role", "admin", vec![]), "member");
    let by_id = |id: &str| pack(&pb::ExternalResourceMatchId { id: id.into() });
    let gone = "arn:aws:iam::999999999999:user/gone";
    let evidence = pack(&pb::GrantMetadata {
        metadata: Some(profile_of(&json!({ "certainty": "certain" }))),
    });
    for arn in [ADA, gone] {
        let annotations = vec![by_id(arn), evidence.clone()];
        writer
            .put_grant(grant(&admin, ("iam_user", arn), annotations))
            .unwrap();
    }
    let (imported, warnings) = world.import(&mut writer, None).unwrap();
    assert_eq!((imported.matched, imported.unmatched), (1, 1));
    assert_eq!(warnings["external-unmatched"], [format!("iam_user:{gone}")]);
    let read = world.read(writer);
    let ada = &read.grants[&format!("cluster_role:admin:member:iam_user:{ADA}")];
    let principal = ada.grant.principal.as_ref().unwrap();
    assert_eq!(names(&principal.annotations), set(&["BatonID"]));
    assert_eq!(principal.display_name, "ada");
    assert_eq!(metadata(ada), json!({ "certainty": "certain" }));
    let kept = &read.grants[&format!("cluster_role:admin:member:iam_user:{gone}")];
    assert_eq!(
        metadata(kept),
        json!({ "certainty": "certain", "external_match": "none" })
    );
}

#[test]
fn grants_find_people_by_what_is_known_of_them() {
    let world = World::new();
    world.aws(false);
    let mut writer = world.ours();
    let admin = entitlement(resource("cluster_role", "admin", vec![]), "member");
    let by = |held: Trait, key: &str, value: &str| {
        pack(&pb::ExternalResourceMatch {
            resource_type: held.into(),
            key: key.into(),
            value: value.into(),
        })
    };
    let all = pack(&pb::ExternalResourceMatchAll {
        resource_type: Trait::Group.into(),
    });
    for (name, annotation) in [
        ("email", by(Trait::User, "email", "ada@EXAMPLE.com")),
        ("nobody", by(Trait::User, "email", "zoe@example.com")),
        ("no-trait", by(Trait::App, "team", "blue")),
        ("every-group", all),
    ] {
        writer
            .put_grant(grant(&admin, ("placeholder", name), vec![annotation]))
            .unwrap();
    }
    let expands = vec![
        by(Trait::Group, "aws_group_name", "devs"),
        expandable("placeholder:devs:member"),
    ];
    let role = entitlement(resource("role", SSO_ROLE, vec![]), "assignment");
    writer
        .put_grant(grant(&role, ("placeholder", "devs"), expands))
        .unwrap();
    let (imported, warnings) = world.import(&mut writer, None).unwrap();
    assert_eq!((imported.matched, imported.unmatched), (3, 2));
    assert_eq!(
        warnings["external-unmatched"],
        ["placeholder:nobody", "placeholder:no-trait"]
    );
    let read = world.read(writer);
    let direct: Vec<&str> = read
        .grants
        .iter()
        .filter(|(_, row)| row.grant.sources.is_none())
        .map(|(id, _)| id.as_str())
        .filter(|id| id.starts_with("cluster_role:admin"))
        .collect();
    assert_eq!(
        direct,
        [
            "cluster_role:admin:member:group:arn:aws:iam::111122223333:group/ops",
            &format!("cluster_role:admin:member:iam_user:{ADA}"),
            "cluster_role:admin:member:placeholder:no-trait",
            "cluster_role:admin:member:placeholder:nobody",
            &format!("cluster_role:admin:member:sso_group:{STORE}/group/devs"),
        ]
    );
    // Both groups have that name; the expansion went with the grant.
    let devs = &read.grants[&format!("role:{SSO_ROLE}:assignment:sso_group:{STORE}/group/devs")];
    assert_eq!(
        devs.expansion.as_ref().unwrap().entitlement_ids,
        [format!("sso_group:{STORE}/group/devs:member")]
    );
    assert!(
        read.grants
            .contains_key(&format!("role:{SSO_ROLE}:assignment:iam_user:{ADA}"))
    );
}

#[test]
fn people_behind_identity_center_hold_what_their_role_holds() {
    for newer in [false, true] {
        let world = World::new();
        world.aws(newer);
        let mut writer = world.ours();
        let admin = entitlement(resource("cluster_role", "admin", vec![]), "member");
        let through = expandable(&format!("role:{SSO_ROLE}:assignment"));
        writer
            .put_grant(grant(&admin, ("role", SSO_ROLE), vec![through]))
            .unwrap();
        let (imported, _) = world.import(&mut writer, None).unwrap();
        // Not the other account's, and not the member's, who comes through the group.
        assert_eq!(imported.assignments, 1);
        let read = world.read(writer);
        let group = format!("{STORE}/group/devs");
        let assigned = &read.grants[&format!("role:{SSO_ROLE}:assignment:sso_group:{group}")];
        assert_eq!(
            metadata(assigned),
            json!({ "certainty": "certain", "path_count": 1,
                "paths": [{ "via": "identity-center", "mapping": "permission set Power_User" }] })
        );
        let cat = format!("{STORE}/user/cat");
        let inherited = &read.grants[&format!("cluster_role:admin:member:sso_user:{cat}")];
        let sources = inherited.grant.sources.as_ref().unwrap();
        assert!(
            sources
                .sources
                .contains_key(&format!("role:{SSO_ROLE}:assignment"))
        );
        let role: pb::RoleTrait =
            find(&read.resources[&format!("role:{SSO_ROLE}")].annotations).unwrap();
        assert_eq!(
            facts(&role.profile.unwrap())["people_behind"],
            "1 assignment of Identity Center"
        );
    }
}

/// Bob and Cat may use the role; the session's name says who of them it is.
#[test]
fn a_session_of_identity_center_is_one_person() {
    let world = World::new();
    world.aws(false);
    let mut writer = world.ours();
    let admin = entitlement(resource("cluster_role", "admin", vec![]), "member");
    let needs = |sessions: &[&str]| {
        let paths: Vec<Value> = sessions
            .iter()
            .map(|session| json!({ "via": "binding", "session": session }))
            .collect();
        let facts = json!({ "certainty": "session", "path_count": paths.len(), "paths": paths });
        vec![
            pack(&pb::GrantMetadata {
                metadata: Some(profile_of(&facts)),
            }),
            expandable(&format!("role:{SSO_ROLE}:assignment")),
        ]
    };
    let bob = format!("{STORE}/user/bob");
    let cat = format!("{STORE}/user/cat");
    let role = entitlement(resource("role", SSO_ROLE, vec![]), "assignment");
    writer
        .put_grant(grant(&role, ("sso_user", &bob), vec![]))
        .unwrap();
    writer
        .put_grant(grant(&admin, ("role", SSO_ROLE), needs(&["cat"])))
        .unwrap();
    let (_, warnings) = world.import(&mut writer, None).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let read = world.read(writer);
    let of = |user: &str| {
        read.grants
            .get(&format!("cluster_role:admin:member:sso_user:{user}"))
    };
    assert_eq!(
        metadata(of(&cat).unwrap()),
        json!({ "certainty": "certain" })
    );
    assert!(of(&bob).is_none());

    // A name that nobody has: whoever it is, a session is needed.
    let world = World::new();
    world.aws(false);
    let mut writer = world.ours();
    writer
        .put_grant(grant(&admin, ("role", SSO_ROLE), needs(&["cat", "who"])))
        .unwrap();
    world.import(&mut writer, None).unwrap();
    let read = world.read(writer);
    let cat = &read.grants[&format!("cluster_role:admin:member:sso_user:{cat}")];
    assert_eq!(metadata(cat), json!({ "certainty": "session" }));
}

#[test]
fn a_filter_lets_only_its_holders_over() {
    let world = World::new();
    world.aws(false);
    let mut writer = world.ours();
    let filter = format!("sso_group:{STORE}/group/devs:member");
    let (imported, _) = world.import(&mut writer, Some(&filter)).unwrap();
    assert_eq!(imported.resources, 1);
    let read = world.read(writer);
    let people: Vec<&str> = read.resources.keys().map(String::as_str).collect();
    let cat = format!("sso_user:{STORE}/user/cat");
    assert_eq!(
        people,
        ["cluster_role:admin", &format!("role:{SSO_ROLE}"), &cat]
    );
    let kinds: Vec<&str> = read.types.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["sso_user"]);

    let world = World::new();
    world.aws(false);
    let error = world.refusal(Some("sso_group:x:member"));
    assert!(
        error.ends_with(
            "it has no entitlement sso_group:x:member, which --external-resource-entitlement-id-filter names"
        ),
        "{error}"
    );
}

#[test]
fn files_that_cannot_be_used_are_refused_with_a_reason() {
    let world = World::new();
    let missing = world.refusal(None);
    assert!(missing.contains("aws.c1z: No such file"), "{missing}");

    std::fs::write(world.path("aws.c1z"), b"").unwrap();
    let empty = world.refusal(None);
    assert!(empty.ends_with("run the other connector first"), "{empty}");

    std::fs::write(world.path("aws.c1z"), b"C1Z3\0rest").unwrap();
    let newer = world.refusal(None);
    assert!(newer.contains("--storage-engine sqlite"), "{newer}");

    let itself = External {
        file: world.path("ours.c1z"),
        filter: None,
    };
    world.ours().finish().unwrap();
    let mut watch = Watch {
        cancelled: &AtomicBool::new(false),
        found: &mut |_| {},
        warn: &mut |_, _, _| {},
    };
    let own = world.path("ours.c1z");
    let error = people::import(
        &mut world.ours(),
        &itself,
        &own,
        &FileOptions::default(),
        &mut watch,
    )
    .unwrap_err();
    assert!(error.to_string().ends_with("this sync writes"), "{error}");
}

/// Two files may disagree on a principal, and a file may be the wrong one.
#[test]
fn what_the_connector_lists_itself_stays() {
    let world = World::new();
    world.aws(false);
    let mut writer = world.ours();
    let mut own = resource("iam_user", ADA, vec![]);
    own.display_name = "our Ada".into();
    writer.put_resource(&own).unwrap();
    let (imported, warnings) = world.import(&mut writer, None).unwrap();
    assert_eq!(imported.resources, 4);
    assert_eq!(warnings["external-duplicate"], [format!("iam_user:{ADA}")]);
    let read = world.read(writer);
    assert_eq!(read.resources[&format!("iam_user:{ADA}")], own);

    let world = World::new();
    let file = world.path("aws.c1z");
    let mut writer = Writer::open(&file, SyncType::Full, &FileOptions::default()).unwrap();
    writer
        .put_resource(&resource("role", SSO_ROLE, vec![]))
        .unwrap();
    writer.finish().unwrap();
    let mut writer = world.ours();
    let (imported, warnings) = world.import(&mut writer, None).unwrap();
    assert_eq!(imported, Imported::default());
    assert!(warnings.contains_key("external-without-people"));
}
