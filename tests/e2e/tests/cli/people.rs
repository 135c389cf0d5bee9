//! Accounts and groups: our own, and those of the AWS connector's file.

use baton_host::c1z::{FileOptions, SyncType, Writer, annotations, pb};

use crate::harness::*;

/// Approved for people too.
fn with_people(host: Host) -> Host {
    let lock = host.folder.path().join("people.lock");
    let host = host.set("BATON_LOCK", lock.to_str().unwrap());
    let file = plugin();
    let approve = [
        "plugin",
        "approve",
        "--yes",
        "--group",
        "read",
        "--group",
        "identities",
        file.to_str().unwrap(),
    ];
    host.run(&approve).ok();
    host
}

#[test]
fn iam_users_and_groups_are_read_where_that_is_approved_and_asked_for() {
    let sim = demo();
    let host = Host::reading(&sim, "prod");
    host.run(&["--identities", "aws"])
        .fails(6, &["iam:GetAccountAuthorizationDetails"]);
    let host = with_people(host);
    host.run(&["-q"]).ok();
    assert!(Access::read(&host.file()).objects("iam_user").is_empty());
    host.run(&["-q", "--identities", "aws"]).ok();
    let access = Access::read(&host.file());
    let users = access.objects("iam_user");
    assert!(
        users.contains(&"arn:aws:iam::111122223333:user/alice".to_owned()),
        "{users:?}"
    );
    for row in &access.grants {
        let id = row.grant.principal.as_ref().unwrap().id.as_ref().unwrap();
        if id.resource_type == "iam_user" && id.resource.contains(":111122223333:") {
            let gone = !users.contains(&id.resource);
            assert!(
                !gone || id.resource.ends_with("/mallory"),
                "{}",
                id.resource
            );
        }
    }
}

#[test]
fn accounts_of_the_aws_connector_take_their_places() {
    let sim = demo();
    let host = Host::reading(&sim, "prod");
    let file = host.folder.path().join("aws.c1z");
    let mut writer = Writer::open(&file, SyncType::Full, &FileOptions::default()).unwrap();
    let kind = pb::ResourceType {
        id: "iam_user".into(),
        display_name: "IAM User".into(),
        traits: vec![pb::resource_type::Trait::User.into()],
        ..Default::default()
    };
    writer.put_resource_type(&kind).unwrap();
    let alice = pb::Resource {
        id: Some(pb::ResourceId {
            resource_type: "iam_user".into(),
            resource: "arn:aws:iam::111122223333:user/alice".into(),
            ..Default::default()
        }),
        display_name: "alice".into(),
        annotations: vec![annotations::pack(&pb::UserTrait::default())],
        ..Default::default()
    };
    writer.put_resource(&alice).unwrap();
    writer.finish().unwrap();

    let file = file.to_str().unwrap();
    host.run(&["--external-resource-c1z", file]).ok().says(&[
        "external file     1          0             0",
        "warning: grants are to accounts that the external file does not know; they are kept",
    ]);
    let access = Access::read(&host.file());
    assert_eq!(
        access.objects("iam_user"),
        ["arn:aws:iam::111122223333:user/alice"]
    );
    let metadata = |user: &str| {
        access.metadata(&format!(
            "cluster_role:cluster-admin:all:member | iam_user:@user/{user}"
        ))
    };
    assert!(metadata("alice").get("external_match").is_none());
    assert_eq!(metadata("mallory")["external_match"], "none");

    let missing = host.folder.path().join("nothing.c1z");
    host.run(&["--external-resource-c1z", missing.to_str().unwrap()])
        .fails(2, &["nothing.c1z"]);
    host.run(&["--external-resource-entitlement-id-filter", "x"])
        .fails(2, &["--external-resource-c1z, which is not given"]);
    let args = [
        "--external-resource-c1z",
        file,
        "--external-resource-entitlement-id-filter",
        "group:g:member",
    ];
    host.run(&args)
        .fails(2, &["it has no entitlement group:g:member"]);
}
