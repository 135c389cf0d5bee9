//! The `baton` command reads our files and answers what we wrote.
//!
//! Run by `tests/interop/baton.sh`, which says where the command is:
//! `BATON_BIN=/path/to/baton cargo test -p e2e --test interop_baton -- --ignored`.
//! What it must answer is written out here, not computed by our own reader.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use baton_host::c1z::FileOptions;
use baton_host::sandbox::contract::types::{
    Attributes, Descriptor, Entitlement, Grant, KindSpec, Object, ObjectId, Setting,
};
use baton_host::sandbox::contract::{EntitlementPage, GrantPage, ObjectPage};
use baton_host::sandbox::{CallError, Connector};
use baton_host::sync::{Facts, Options, run};
use serde_json::{Value, json};

const ARN: &str = "arn:aws:iam::111122223333:user/people/Bo";

fn pairs(pairs: &[(&str, &str)]) -> Attributes {
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

/// A small cluster with one of everything that a file can hold.
struct Cluster {
    /// The second time there is one service account and one grant more, and a
    /// description has changed.
    later: bool,
}

impl Connector for Cluster {
    async fn open(&mut self, _settings: Vec<Setting>) -> Result<(), CallError> {
        Ok(())
    }

    async fn validate(&mut self) -> Result<Attributes, CallError> {
        Ok(pairs(&[(
            "cluster-arn",
            "arn:aws:eks:eu-west-1:111122223333:cluster/prod",
        )]))
    }

    async fn list_objects(
        &mut self,
        kind: &str,
        _parent: Option<ObjectId>,
        _page: Option<&str>,
    ) -> Result<ObjectPage, CallError> {
        let object =
            |name: &str, display: &str, profile: Option<Value>, attributes: Attributes| Object {
                id: id(kind, name),
                parent: (kind == "service_account").then(|| id("namespace", "dev")),
                display_name: display.into(),
                profile: profile.map(|profile| profile.to_string()),
                attributes,
            };
        let mut items = match kind {
            "namespace" => vec![object(
                "dev",
                "dev",
                None,
                pairs(&[("child-kind", "service_account")]),
            )],
            "cluster_role" => vec![object(
                "view",
                "view",
                Some(
                    json!({"name": "view", "labels": {"a": "ü"}, "rules": [{"verbs": ["get", "list"]}], "count": 2}),
                ),
                pairs(&[
                    ("embedded-profile", r#"{"name":"view"}"#),
                    ("alias", "viewer"),
                    ("external-id", "uid-1"),
                ]),
            )],
            "service_account" => vec![object(
                "dev/app",
                "app",
                Some(json!({"name": "app"})),
                pairs(&[("account-type", "service")]),
            )],
            other => panic!("{other}"),
        };
        if self.later && kind == "service_account" {
            items.push(object(
                "dev/new",
                "new",
                None,
                pairs(&[("account-type", "service")]),
            ));
        }
        Ok(ObjectPage {
            items,
            next: None,
            attributes: vec![],
        })
    }

    async fn list_entitlements(
        &mut self,
        kind: &str,
        _page: Option<&str>,
    ) -> Result<EntitlementPage, CallError> {
        let description = if self.later {
            "Reads everything"
        } else {
            "Reads"
        };
        let entitlement = |slug: &str, attributes: Attributes| Entitlement {
            on: id(kind, "view"),
            slug: slug.into(),
            display_name: format!("view {slug}"),
            purpose: "assignment".into(),
            grantable_to: vec!["service_account".into(), "iam_user".into()],
            attributes,
        };
        let items = match kind {
            "cluster_role" => vec![
                entitlement("all:member", pairs(&[("description", description)])),
                entitlement("dev:member", pairs(&[("immutable", "true")])),
            ],
            _ => vec![],
        };
        Ok(EntitlementPage {
            items,
            next: None,
            attributes: vec![],
        })
    }

    async fn list_grants(
        &mut self,
        kind: &str,
        _page: Option<&str>,
    ) -> Result<GrantPage, CallError> {
        let grant = |slug: &str, principal: ObjectId, attributes: Attributes| Grant {
            on: id(kind, "view"),
            slug: slug.into(),
            principal,
            attributes,
        };
        let mut items = match kind {
            "cluster_role" => vec![
                grant(
                    "all:member",
                    id("service_account", "dev/app"),
                    pairs(&[(
                        "metadata",
                        r#"{"certainty":"certain","paths":[{"via":"binding"}]}"#,
                    )]),
                ),
                grant(
                    "dev:member",
                    id("service_account", "dev/app"),
                    pairs(&[("immutable", "true")]),
                ),
                grant(
                    "all:member",
                    id("iam_user", ARN),
                    pairs(&[("external-match-id", ARN)]),
                ),
                grant(
                    "all:member",
                    id("cluster_role", "view"),
                    pairs(&[("expandable", "cluster_role:view:dev:member")]),
                ),
            ],
            _ => vec![],
        };
        if self.later && kind == "cluster_role" {
            items.push(grant(
                "all:member",
                id("service_account", "dev/new"),
                vec![],
            ));
        }
        Ok(GrantPage {
            items,
            next: None,
            attributes: vec![],
        })
    }
}

fn descriptor() -> Descriptor {
    let kind = |name: &str, held: &[&str], attributes: &[(&str, &str)]| KindSpec {
        name: name.into(),
        traits: held.iter().map(|one| (*one).to_owned()).collect(),
        capabilities: vec!["sync".into()],
        attributes: pairs(attributes),
    };
    Descriptor {
        name: "cluster".into(),
        version: "1.0.0".into(),
        settings: vec![],
        kinds: vec![
            kind("namespace", &[], &[("display-name", "Namespace")]),
            kind(
                "cluster_role",
                &["role"],
                &[("display-name", "Cluster Role"), ("description", "A role")],
            ),
            kind(
                "service_account",
                &["user"],
                &[("display-name", "Service Account")],
            ),
            kind(
                "iam_user",
                &["user"],
                &[("display-name", "IAM User"), ("listed", "false")],
            ),
        ],
        upstreams: vec![],
        attributes: vec![],
    }
}

async fn sync(file: &Path, later: bool) -> String {
    let (options, facts, file_options) =
        (Options::default(), Facts::default(), FileOptions::default());
    run(
        &mut Cluster { later },
        &descriptor(),
        vec![],
        &options,
        &facts,
        file,
        &file_options,
        &mut (),
    )
    .await
    .unwrap()
    .sync_id
}

struct Baton {
    program: PathBuf,
    descriptors: PathBuf,
    file: PathBuf,
}

impl Baton {
    fn text(&self, arguments: &[&str]) -> String {
        let output = Command::new(&self.program)
            .env("DESCRIPTORS", &self.descriptors)
            .arg(arguments[0])
            .arg("-f")
            .arg(&self.file)
            .args(&arguments[1..])
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["-o", "json"]].concat();
        let mut answer: Value = serde_json::from_str(&self.text(&arguments)).unwrap();
        normalize(&mut answer);
        answer
    }
}

/// Annotations come in any order.
fn normalize(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.iter_mut().for_each(normalize);
            if items.iter().all(|item| item["@type"].is_string()) {
                items.sort_by_key(|item| item["@type"].to_string());
            }
        }
        Value::Object(members) => members.values_mut().for_each(normalize),
        _ => {}
    }
}

fn annotation(name: &str, members: Value) -> Value {
    let mut annotation = json!({"@type": format!("type.googleapis.com/c1.connector.v2.{name}")});
    annotation
        .as_object_mut()
        .unwrap()
        .extend(members.as_object().unwrap().clone());
    annotation
}

fn resource_id(kind: &str, name: &str) -> Value {
    json!({"resourceType": kind, "resource": name})
}

fn service_account(name: &str, display: &str, profile: Option<Value>) -> Value {
    let mut user =
        json!({"status": {"status": "STATUS_ENABLED"}, "accountType": "ACCOUNT_TYPE_SERVICE"});
    if let Some(profile) = profile {
        user["profile"] = profile;
    }
    json!({
        "id": resource_id("service_account", name), "parentResourceId": resource_id("namespace", "dev"),
        "displayName": display, "annotations": [annotation("UserTrait", user)]
    })
}

#[tokio::test]
#[ignore = "run by tests/interop/baton.sh, which brings the command"]
async fn baton_answers_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let files = ["entitlement", "traits", "annotations", "grant", "resource"]
        .map(|name| protos.join(format!("c1/connector/v2/{name}.proto")));
    let mut compiler = protox::Compiler::new([&protos]).unwrap();
    compiler.include_imports(true).open_files(files).unwrap();
    let baton = Baton {
        program: std::env::var_os("BATON_BIN")
            .expect("BATON_BIN names the program")
            .into(),
        descriptors: folder.path().join("descriptors.bin"),
        file: folder.path().join("sync.c1z"),
    };
    std::fs::write(&baton.descriptors, compiler.encode_file_descriptor_set()).unwrap();
    let first = sync(&baton.file, false).await;
    let second = sync(&baton.file, true).await;

    let namespace_type = json!({"id": "namespace", "displayName": "Namespace"});
    let role_type = json!({
        "id": "cluster_role", "displayName": "Cluster Role", "traits": ["TRAIT_ROLE"], "description": "A role"
    });
    let account_type = json!({"id": "service_account", "displayName": "Service Account", "traits": ["TRAIT_USER"]});
    let user_type = json!({"id": "iam_user", "displayName": "IAM User", "traits": ["TRAIT_USER"]});
    let namespace = json!({
        "id": resource_id("namespace", "dev"), "displayName": "dev",
        "annotations": [annotation("ChildResourceType", json!({"resourceTypeId": "service_account"}))]
    });
    let profile = json!({"name": "view", "labels": {"a": "ü"}, "rules": [{"verbs": ["get", "list"]}], "count": 2});
    let role = json!({
        "id": resource_id("cluster_role", "view"), "displayName": "view", "externalId": {"id": "uid-1"},
        "annotations": [
            annotation("Aliases", json!({"ids": ["viewer"]})),
            annotation("RoleTrait", json!({"profile": profile}))
        ]
    });
    let role_copy = json!({
        "id": resource_id("cluster_role", "view"), "displayName": "view",
        "annotations": [annotation("RoleTrait", json!({"profile": {"name": "view"}}))]
    });
    let app = service_account("dev/app", "app", Some(json!({"name": "app"})));
    let new = service_account("dev/new", "new", None);

    let expected =
        [&namespace_type, &role_type, &account_type].map(|one| json!({"resourceType": one}));
    assert_eq!(
        baton.json(&["resource-types"]),
        json!({"resourceTypes": expected})
    );

    let expected = [
        json!({"resource": namespace, "resourceType": namespace_type}),
        json!({"resource": role, "resourceType": role_type}),
        json!({"resource": app, "resourceType": account_type, "parent": namespace}),
        json!({"resource": new, "resourceType": account_type, "parent": namespace}),
    ];
    assert_eq!(baton.json(&["resources"]), json!({"resources": expected}));

    let entitlement = |slug: &str, description: Option<&str>, immutable: bool| {
        let mut message = json!({
            "resource": role_copy, "id": format!("cluster_role:view:{slug}"), "displayName": format!("view {slug}"),
            "grantableTo": [account_type, user_type], "purpose": "PURPOSE_VALUE_ASSIGNMENT", "slug": slug
        });
        if let Some(description) = description {
            message["description"] = description.into();
        }
        if immutable {
            message["annotations"] = json!([annotation("EntitlementImmutable", json!({}))]);
        }
        message
    };
    let everywhere = entitlement("all:member", Some("Reads everything"), false);
    let in_dev = entitlement("dev:member", None, true);
    let expected = [&everywhere, &in_dev]
        .map(|one| json!({"entitlement": one, "resource": role, "resourceType": role_type}));
    assert_eq!(
        baton.json(&["entitlements"]),
        json!({"entitlements": expected})
    );

    let grant = |slug: &str, kind: &str, name: &str, annotations: &[Value]| {
        let mut message = json!({
            "entitlement": {"resource": role_copy, "id": format!("cluster_role:view:{slug}")},
            "principal": {"id": resource_id(kind, name)}, "id": format!("cluster_role:view:{slug}:{kind}:{name}")
        });
        if !annotations.is_empty() {
            message["annotations"] = annotations.into();
        }
        message
    };
    let metadata = json!({"metadata": {"certainty": "certain", "paths": [{"via": "binding"}]}});
    let newest = grant("all:member", "service_account", "dev/new", &[]);
    // Who is a member in `dev` is one everywhere, by the grant that expands.
    let mut twice = grant(
        "all:member",
        "service_account",
        "dev/app",
        &[annotation("GrantMetadata", metadata)],
    );
    let direct = json!({"isDirect": true});
    twice["sources"] = json!({"sources": {
        "cluster_role:view:all:member": direct, "cluster_role:view:dev:member": direct,
    }});
    let expected = [
        (twice, &everywhere),
        (
            grant(
                "dev:member",
                "service_account",
                "dev/app",
                &[annotation("GrantImmutable", json!({}))],
            ),
            &in_dev,
        ),
        (
            grant(
                "all:member",
                "iam_user",
                ARN,
                &[annotation("ExternalResourceMatchID", json!({"id": ARN}))],
            ),
            &everywhere,
        ),
        // The expansion is a column; no annotation shows it.
        (
            grant("all:member", "cluster_role", "view", &[]),
            &everywhere,
        ),
        (newest.clone(), &everywhere),
    ];
    let answer = baton.json(&["grants"]);
    let rows = answer["grants"].as_array().unwrap();
    assert_eq!(rows.len(), expected.len());
    for (row, (grant, entitlement)) in rows.iter().zip(&expected) {
        assert_eq!(&row["grant"], grant);
        assert_eq!(&row["entitlement"], *entitlement);
        assert_eq!(&row["resource"], &role);
        assert_eq!(&row["resourceType"], &role_type);
    }
    assert_eq!(rows[0]["principal"], app);
    assert_eq!(rows[3]["principal"], role);
    assert_eq!(rows[4]["principal"], new);
    // Principals of another system have no row; the command says so.
    assert!(
        rows[2]["principal"]["displayName"]
            .as_str()
            .unwrap()
            .starts_with("MISSING"),
        "{}",
        rows[2]
    );

    let answer = baton.json(&["access", "-t", "service_account", "-r", "dev/app"]);
    assert_eq!(answer["principal"], app);
    let expected = json!([{"resourceType": role_type, "resource": role, "entitlements": [everywhere, in_dev]}]);
    assert_eq!(answer["access"], expected);

    let syncs = baton.json(&["syncs"]);
    let ids: Vec<_> = syncs["syncs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, [first, second]);
    for sync in syncs["syncs"].as_array().unwrap() {
        assert_eq!(sync["syncType"], "full");
        assert!(sync["startedAt"].as_str().unwrap() <= sync["endedAt"].as_str().unwrap());
    }

    let stats = baton.text(&["stats"]);
    for (name, count) in [
        ("namespace", 1),
        ("cluster_role", 1),
        ("service_account", 2),
        ("resource_types", 3),
        ("entitlements", 2),
        ("grants", 5),
    ] {
        let found = stats.lines().any(|line| {
            let words: Vec<&str> = line
                .split(['|', ' '])
                .filter(|word| !word.is_empty())
                .collect();
            words == [name, &count.to_string()]
        });
        assert!(found, "{name} {count} in {stats}");
    }

    let diff = baton.json(&["diff"]);
    assert_eq!(diff["resources"], json!({"created": [new]}));
    assert_eq!(diff["entitlements"], json!({"modified": [everywhere]}));
    assert_eq!(diff["grants"], json!({"created": [newest]}));
}
