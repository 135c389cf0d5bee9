#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::c1z::{SyncType, Writer};
use crate::sandbox::contract::types::KindSpec;

const CLUSTER: &str = "arn:aws:eks:eu-central-1:111122223333:cluster/prod";
const DEV: &str = "arn:aws:iam::111122223333:role/team/dev";

fn resource(kind: &str, id: &str) -> pb::Resource {
    pb::Resource {
        id: Some(pb::ResourceId {
            resource_type: kind.into(),
            resource: id.into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn entitlement(on: &pb::Resource, slug: &str) -> pb::Entitlement {
    let id = on.id.clone().unwrap();
    let to = |kind: &str| pb::ResourceType {
        id: kind.to_owned(),
        ..Default::default()
    };
    pb::Entitlement {
        id: format!("{}:{}:{slug}", id.resource_type, id.resource),
        resource: Some(on.clone()),
        grantable_to: ["iam_user", "role", "service_account"].map(to).to_vec(),
        ..Default::default()
    }
}

fn descriptor() -> Descriptor {
    let kind = |name: &str, attributes: &[(&str, &str)]| KindSpec {
        name: name.to_owned(),
        traits: Vec::new(),
        capabilities: Vec::new(),
        attributes: attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    };
    Descriptor {
        name: "eks".into(),
        version: "0.1.0".into(),
        settings: Vec::new(),
        kinds: vec![
            kind("cluster_role", &[]),
            kind("role", &[("principal", "aws-iam-role")]),
            kind(
                "iam_user",
                &[("principal", "aws-iam-user"), ("listed", "false")],
            ),
            kind(
                "service_account",
                &[("principal", "kubernetes-service-account")],
            ),
        ],
        upstreams: Vec::new(),
        attributes: Vec::new(),
    }
}

struct File {
    _folder: tempfile::TempDir,
    ids: Ids,
}

fn file() -> File {
    file_of(Some(CLUSTER))
}

fn file_of(cluster: Option<&str>) -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sync.c1z");
    let options = FileOptions::default();
    let mut writer = Writer::open(&path, SyncType::Full, &options).unwrap();
    let odd = resource("cluster_role", "a:all:member");
    let view = resource("cluster_role", "view");
    for row in [
        &odd,
        &view,
        &resource("role", DEV),
        &resource("service_account", "dev/app"),
    ] {
        writer.put_resource(row).unwrap();
    }
    let on_odd = entitlement(&odd, "namespace/all:member");
    let on_view = entitlement(&view, "dev:member");
    let assignment = entitlement(&resource("role", DEV), "assignment");
    let two = resource("cluster_role", "two");
    writer.put_resource(&two).unwrap();
    let on_two = entitlement(&two, "member");
    let on_longer = entitlement(&two, "member:service_account:a/b");
    for row in [&on_odd, &on_view, &assignment, &on_two, &on_longer] {
        writer.put_entitlement(row).unwrap();
    }
    writer
        .put_grant(pb::Grant {
            id: format!("{}:role:{DEV}", on_view.id),
            entitlement: Some(on_view),
            principal: Some(resource("role", DEV)),
            ..Default::default()
        })
        .unwrap();
    // An id that says one thing, and parts that say another.
    writer
        .put_grant(pb::Grant {
            id: "cluster_role:view:dev:member:service_account:dev/other".into(),
            entitlement: Some(entitlement(&view, "dev:member")),
            principal: Some(resource("role", DEV)),
            ..Default::default()
        })
        .unwrap();
    let source = pb::grant_sources::GrantSource { is_direct: true };
    writer
        .put_grant(pb::Grant {
            id: "cluster_role:view:dev:member:iam_user:ana".into(),
            entitlement: Some(entitlement(&view, "dev:member")),
            principal: Some(resource("iam_user", "ana")),
            sources: Some(pb::GrantSources {
                sources: [(format!("role:{DEV}:assignment"), source)].into(),
            }),
            ..Default::default()
        })
        .unwrap();
    let evidence = serde_json::json!({"validation": {"cluster-arn": cluster}}).to_string();
    writer
        .put_asset(EVIDENCE_ASSET, "application/json", evidence.as_bytes())
        .unwrap();
    writer.finish().unwrap();
    File {
        ids: Ids::open(&path, &options).unwrap(),
        _folder: folder,
    }
}

fn pair(entitlement: &str, principal: &str, kind: Option<&str>) -> Wanted {
    Wanted::Pair {
        entitlement: entitlement.to_owned(),
        principal: principal.to_owned(),
        kind: kind.map(str::to_owned),
    }
}

#[test]
fn ids_are_looked_up_and_never_split() {
    let file = file();
    let get = |wanted: Wanted| file.ids.resolve(&wanted, &descriptor()).unwrap();
    let id = "cluster_role:a:all:member:namespace/all:member";
    let found = get(pair(id, DEV, Some("role")));
    assert_eq!(found.entitlement, id);
    assert_eq!(found.wish.on.id, "a:all:member");
    assert_eq!(found.wish.slug, "namespace/all:member");

    let found = get(Wanted::Grant(format!(
        "cluster_role:view:dev:member:role:{DEV}"
    )));
    assert_eq!(found.wish.on.id, "view");
    assert_eq!(found.wish.slug, "dev:member");
    assert_eq!(found.wish.principal.kind, "role");
    assert_eq!(found.wish.principal.id, DEV);
}

#[test]
fn the_kind_of_a_principal_is_found_where_only_one_fits() {
    let file = file();
    let view = "cluster_role:view:dev:member";
    for (id, kind) in [
        (DEV, "role"),
        ("dev/app", "service_account"),
        ("arn:aws:iam::111122223333:user/ana", "iam_user"),
        ("arn:aws:iam::444455556666:role/partner", "role"),
    ] {
        for given in [None, Some(kind)] {
            let found = file.ids.resolve(&pair(view, id, given), &descriptor());
            assert_eq!(found.unwrap().wish.principal.kind, kind, "{id}");
        }
    }
    // Kinds of other connectors are the host's to judge.
    let wanted = pair(view, "arn:aws:identitystore:::user/1", Some("sso_user"));
    let found = file.ids.resolve(&wanted, &descriptor()).unwrap();
    assert_eq!(found.wish.principal.kind, "sso_user");
}

#[test]
fn what_is_not_there_is_said_with_the_nearest() {
    let file = file();
    let says = |wanted: Wanted| {
        let error = file.ids.resolve(&wanted, &descriptor()).unwrap_err();
        assert_eq!(error.exit, Exit::NotFound, "{}", error.message);
        (error.message, error.hint.unwrap())
    };
    let (message, hint) = says(pair("cluster_role:veiw:dev:member", DEV, None));
    assert!(message.starts_with("`cluster_role:veiw:dev:member` is no entitlement of"));
    assert!(
        hint.starts_with("did you mean `cluster_role:view:dev:member`?"),
        "{hint}"
    );
    assert!(hint.contains("a sync brings what is newer"), "{hint}");

    let view = "cluster_role:view:dev:member";
    let path_less = "arn:aws:iam::111122223333:role/dev";
    let (message, hint) = says(pair(view, path_less, Some("role")));
    assert!(message.contains("is no role of"), "{message}");
    assert!(hint.contains(DEV), "{hint}");
    let (message, hint) = says(pair(view, "dev/apq", None));
    assert!(message.contains("is no principal of"), "{message}");
    assert!(hint.contains("`dev/app`"), "{hint}");
    says(pair(view, "dev/none-at-all", Some("service_account")));

    let (message, hint) = says(Wanted::Grant("cluster_role:view:dev:member:role:x".into()));
    assert!(message.contains("is no grant of"), "{message}");
    assert!(hint.contains("by entitlement and --principal"), "{hint}");
    let (message, hint) = says(Wanted::Grant(
        "cluster_role:view:dev:member:iam_user:ana".into(),
    ));
    assert!(message.contains("is inherited"), "{message}");
    let source = format!(
        "it comes from `role:{DEV}:assignment:iam_user:ana`, which ends it; \
         or revoke `cluster_role:view:dev:member:role:{DEV}` from all who have it so"
    );
    assert_eq!(hint, source);
    let (_, hint) = says(Wanted::Grant(
        "cluster_role:a:all:member:namespace/all:member".into(),
    ));
    assert!(
        hint.contains("it is an entitlement: add --principal"),
        "{hint}"
    );
}

#[test]
fn what_somebody_has_through_others_is_not_called_revoked() {
    let file = file();
    let still = |kind: &str, id: &str| {
        let principal = ObjectId {
            kind: kind.to_owned(),
            id: id.to_owned(),
        };
        file.ids
            .still_inherited("cluster_role:view:dev:member", &principal)
            .unwrap()
    };
    let error = still("iam_user", "ana").unwrap();
    assert_eq!(error.exit, Exit::NotFound);
    assert!(error.message.contains("is inherited"), "{}", error.message);
    let hint = error.hint.unwrap();
    assert!(hint.contains(&format!("`role:{DEV}:assignment:iam_user:ana`")));
    assert!(still("iam_user", "eva").is_none());
    assert!(still("role", DEV).is_none(), "it has it itself");
}

#[test]
fn the_id_of_a_grant_that_the_file_does_not_know_is_read_by_what_it_knows() {
    let file = file();
    let get = |id: &str| {
        file.ids
            .resolve(&Wanted::Grant(id.to_owned()), &descriptor())
    };
    for (kind, who) in [
        ("service_account", "dev/app"),
        ("iam_user", "arn:aws:iam::111122223333:user/eva"),
        ("role", "arn:aws:iam::444455556666:role/partner"),
    ] {
        let found = get(&format!("cluster_role:view:dev:member:{kind}:{who}")).unwrap();
        assert_eq!(found.entitlement, "cluster_role:view:dev:member");
        assert_eq!(found.wish.slug, "dev:member");
        assert_eq!(found.wish.principal.kind, kind);
        assert_eq!(found.wish.principal.id, who);
    }
    // A principal that would be in the file is judged as by --principal.
    let error = get("cluster_role:view:dev:member:role:arn:aws:iam::111122223333:role/x");
    let error = error.unwrap_err();
    assert_eq!(error.exit, Exit::NotFound);
    assert!(error.message.contains("is no role of"), "{}", error.message);
    // A name with a colon can make two readings of one id.
    let twice = "cluster_role:two:member:service_account:a/b:role:arn:aws:iam::444455556666:role/x";
    let error = get(twice).unwrap_err();
    assert_eq!(error.exit, Exit::Usage);
    assert!(
        error.message.contains("can be read as"),
        "{}",
        error.message
    );
    assert!(
        error
            .message
            .contains("`cluster_role:two:member:service_account:a/b`"),
        "{}",
        error.message
    );
}

#[test]
fn no_wider_grant_and_nobody_elses_is_suggested() {
    let file = file();
    let hint = |id: &str| {
        let wanted = Wanted::Grant(id.to_owned());
        let error = file.ids.resolve(&wanted, &descriptor()).unwrap_err();
        assert_eq!(error.exit, Exit::NotFound);
        error.hint.unwrap()
    };
    let near = hint(&format!("cluster_role:veiw:dev:member:role:{DEV}"));
    let right = format!("did you mean `cluster_role:view:dev:member:role:{DEV}`?");
    assert!(near.starts_with(&right), "{near}");
    for other in [
        format!("cluster_role:view:dve:member:role:{DEV}"),
        format!("cluster_role:view:all:member:role:{DEV}"),
        format!("cluster_role:veiw:dev:member:role:{DEV}2"),
    ] {
        let far = hint(&other);
        assert!(!far.contains("did you mean"), "{other}: {far}");
    }
}

#[test]
fn a_grants_id_is_told_from_an_entitlements() {
    let file = file();
    let id = format!("cluster_role:view:dev:member:role:{DEV}");
    let error = file.ids.resolve(&pair(&id, DEV, None), &descriptor());
    let error = error.unwrap_err();
    assert_eq!(error.exit, Exit::Usage);
    assert!(
        error.message.contains("is a grant's id"),
        "{}",
        error.message
    );
    let hint = error.hint.unwrap();
    assert!(hint.contains("drop --principal"), "{hint}");
    assert!(
        hint.contains("`cluster_role:view:dev:member` and --principal"),
        "{hint}"
    );
}

#[test]
fn a_kind_that_holds_nothing_is_said_before_its_id() {
    let file = file();
    let wanted = pair(
        "cluster_role:view:dev:member",
        "developers",
        Some("cluster_role"),
    );
    let error = file.ids.resolve(&wanted, &descriptor()).unwrap_err();
    assert_eq!(error.exit, Exit::Usage);
    assert_eq!(
        error.message,
        "access cannot be given to or taken from a `cluster_role`"
    );
    assert_eq!(
        error.hint.unwrap(),
        "--principal-type can be role, iam_user, service_account"
    );
}

#[test]
fn a_file_of_another_cluster_is_not_used() {
    let file = file();
    let of = |region: &str, cluster: &str, account| file.ids.of(region, cluster, account);
    of("eu-central-1", "prod", None).unwrap();
    of("eu-central-1", "prod", Some("111122223333")).unwrap();
    for (region, cluster, account) in [
        ("eu-west-1", "prod", None),
        ("eu-central-1", "dev", None),
        ("eu-central-1", "prod", Some("444455556666")),
    ] {
        let error = of(region, cluster, account).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.message.contains(CLUSTER), "{}", error.message);
    }
}

#[test]
fn a_file_without_a_sync_says_what_writes_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.c1z");
    let error = Ids::open(&path, &FileOptions::default()).err().unwrap();
    assert_eq!(error.exit, Exit::Usage);
    assert!(error.message.contains("holds no sync"), "{}", error.message);
}

#[test]
fn a_file_that_names_no_cluster_is_not_used() {
    for cluster in [None, Some("prod")] {
        let error = file_of(cluster)
            .ids
            .of("eu-central-1", "prod", None)
            .unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
    }
}

#[test]
fn a_grant_is_what_its_id_says() {
    let id = "cluster_role:view:dev:member:service_account:dev/other";
    let wanted = Wanted::Grant(id.to_owned());
    let error = file().ids.resolve(&wanted, &descriptor()).unwrap_err();
    assert_eq!(error.exit, Exit::Usage, "{}", error.message);
    assert!(error.message.contains(id), "{}", error.message);
}
