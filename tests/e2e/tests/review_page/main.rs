//! The page of a review in a real browser: it finds what the library finds,
//! says nothing to the console, and opens a hundred thousand grants.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod devtools;
mod keyboard;

use std::path::Path;
use std::time::{Duration, Instant};

use baton_host::c1z::{FileOptions, SyncType, Writer, annotations, pb};
use baton_host::review::model::{Id, Model};
use baton_host::review::report::{self, Review};
use baton_host::review::{Source, load, paths};
use e2e::browser;
use serde_json::{Value, json};

/// Paths of one access that the page keeps.
const PATHS: usize = 5;

/// The document after the page's script has run, and what the browser said.
fn open(browser: &Path, page: &Path, fragment: &str) -> (String, String) {
    browser::open(browser, &format!("file://{}#{fragment}", page.display()))
}

fn id(kind: &str, id: &str) -> pb::ResourceId {
    pb::ResourceId {
        resource_type: kind.into(),
        resource: id.into(),
        ..Default::default()
    }
}

fn row(writer: &mut Writer, kind: &str, name: &str, login: &str) {
    let user = pb::UserTrait {
        login: login.into(),
        ..Default::default()
    };
    writer
        .put_resource(&pb::Resource {
            id: Some(id(kind, name)),
            display_name: name.rsplit('/').next().unwrap().into(),
            annotations: vec![annotations::pack(&user)],
            ..Default::default()
        })
        .unwrap();
}

fn grant(writer: &mut Writer, on: (&str, &str), slug: &str, who: (&str, &str), metadata: &Value) {
    let entitlement = format!("{}:{}:{slug}", on.0, on.1);
    let mut list = Vec::new();
    if let Some(metadata) = metadata.as_object() {
        list.push(annotations::pack(&pb::GrantMetadata {
            metadata: Some(annotations::profile(metadata)),
        }));
    }
    let resource = |(kind, name): (&str, &str)| {
        Some(pb::Resource {
            id: Some(id(kind, name)),
            ..Default::default()
        })
    };
    writer
        .put_grant(pb::Grant {
            id: format!("{entitlement}:{}:{}", who.0, who.1),
            entitlement: Some(pb::Entitlement {
                id: entitlement,
                resource: resource(on),
                ..Default::default()
            }),
            principal: resource(who),
            annotations: list,
            ..Default::default()
        })
        .unwrap();
}

fn write(path: &Path, fill: impl FnOnce(&mut Writer)) {
    let mut writer = Writer::open(path, SyncType::Full, &FileOptions::default()).unwrap();
    fill(&mut writer);
    writer.finish().unwrap();
}

fn model(path: &Path) -> Model {
    load(&[Source::from(path)], &FileOptions::default()).unwrap()
}

fn page(model: &Model, path: &Path) {
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    report::html(model, &Review::new(model), &mut out).unwrap();
}

const GROUP: &str = "arn:aws:iam::1:group/g";
const SSO: &str =
    "arn:aws:iam::1:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Ops_0123456789abcdef";
const HOSTILE: &str = "</script><img src=x onerror=console.log(1)>";

/// Groups in a ladder and a cycle, sessions, everybody, and a hostile name.
fn chains(path: &Path) {
    write(path, |w| {
        let none = Value::Null;
        for (kind, name, login) in [
            (
                "sso_user",
                "arn:aws:identitystore:r::d/user/ann",
                "ann@corp",
            ),
            (
                "sso_user",
                "arn:aws:identitystore:r::d/user/joe",
                "joe@corp",
            ),
            ("iam_user", "arn:aws:iam::1:user/bob", ""),
            ("iam_user", HOSTILE, ""),
            ("role", SSO, ""),
            ("service_account", "dev/ci", ""),
            ("service_account", "*", ""),
            ("kube_group", "system:authenticated", ""),
            ("cluster_role", "view", ""),
            ("cluster_role", "cluster-admin", ""),
        ] {
            row(w, kind, name, login);
        }
        for level in 0..6 {
            for (side, next) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let (low, high) = (
                    format!("{GROUP}{level}-{side}"),
                    format!("{GROUP}{}-{next}", level + 1),
                );
                grant(w, ("group", &high), "member", ("group", &low), &none);
            }
        }
        let (first, last) = (format!("{GROUP}0-0"), format!("{GROUP}6-1"));
        grant(w, ("group", &first), "member", ("group", &last), &none);
        grant(
            w,
            ("group", &first),
            "member",
            ("iam_user", "arn:aws:iam::1:user/bob"),
            &none,
        );
        grant(w, ("group", &first), "member", ("iam_user", HOSTILE), &none);
        grant(
            w,
            ("cluster_role", "view"),
            "dev:member",
            ("group", &last),
            &none,
        );
        let trust = json!({"certainty": "conditional", "path_count": 1, "paths": [{"via": "trust", "conditions": "with MFA"}]});
        for name in ["ann", "joe"] {
            let user = format!("arn:aws:identitystore:r::d/user/{name}");
            grant(w, ("role", SSO), "assignment", ("sso_user", &user), &none);
        }
        grant(
            w,
            ("role", SSO),
            "assignment",
            ("service_account", "dev/ci"),
            &trust,
        );
        let session = json!({"certainty": "session", "path_count": 1, "paths": [
            {"via": "access-entry", "mapping": format!("access entry {SSO}"), "binding": HOSTILE, "session": "ann-corp"}]});
        grant(
            w,
            ("cluster_role", "cluster-admin"),
            "all:member",
            ("role", SSO),
            &session,
        );
        let everybody =
            json!({"certainty": "certain", "paths": [{"via": "binding", "binding": "b"}]});
        grant(
            w,
            ("cluster_role", "view"),
            "all:member",
            ("kube_group", "system:authenticated"),
            &everybody,
        );
    });
}

#[test]
fn the_page_finds_what_the_library_finds() {
    let Some(browser) = browser::find() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (file, html) = (folder.path().join("a.c1z"), folder.path().join("a.html"));
    chains(&file);
    let model = model(&file);
    page(&model, &html);
    let (document, console) = open(&browser, &html, "check");
    assert_eq!(console, "", "a page that is right says nothing");
    let text = document
        .split_once("<pre>")
        .unwrap()
        .1
        .split_once("</pre>")
        .unwrap()
        .0;
    let text = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    let mut found: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut expected = Vec::new();
    for number in 0..model.nodes.len() {
        let who = Id::try_from(number).unwrap();
        let mut all: Vec<Value> = paths::access(&model, who, PATHS)
            .iter()
            .map(|access| {
                let sure = ["latent", "conditional", "session", "certain", "unstated"];
                let sure = sure
                    .iter()
                    .position(|name| *name == access.certainty().name());
                let held = model.entitlement(access.entitlement).unwrap();
                json!([
                    model.texts.get(held.id),
                    sure,
                    access.paths.len(),
                    access.more
                ])
            })
            .collect();
        all.sort_by_key(|one| one[0].as_str().unwrap().to_owned());
        if !all.is_empty() {
            expected.push(json!([
                format!("{}:{}", model.kind(who), model.id(who)),
                all
            ]));
        }
    }
    let by_name =
        |list: &mut Vec<Value>| list.sort_by_key(|one| one[0].as_str().unwrap().to_owned());
    by_name(&mut found);
    by_name(&mut expected);
    assert!(expected.len() > 10, "{expected:?}");
    assert_eq!(found, expected);
}

#[test]
fn a_person_is_shown_with_its_paths_and_nothing_runs() {
    let Some(browser) = browser::find() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (file, html) = (folder.path().join("a.c1z"), folder.path().join("a.html"));
    chains(&file);
    let model = model(&file);
    page(&model, &html);
    let who = (0..model.nodes.len())
        .map(|number| Id::try_from(number).unwrap())
        .find(|id| model.id(*id).ends_with("/ann"))
        .unwrap();
    let (document, console) = open(&browser, &html, &format!("p={who}"));
    assert_eq!(console, "");
    for expected in [
        "person ann",
        "cluster-admin in the whole cluster",
        "<svg",
        "in sessions named ann-corp",
    ] {
        assert!(document.contains(expected), "{expected}");
    }
    assert!(!document.contains("<img"), "a name is text");
}

#[test]
fn a_hundred_thousand_grants_open_without_a_wait() {
    let Some(browser) = browser::find() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (file, html) = (folder.path().join("a.c1z"), folder.path().join("a.html"));
    write(&file, |w| {
        for number in 0..1_000 {
            row(w, "service_account", &format!("ns{number}/app"), "");
        }
        for number in 0..100_000 {
            let (who, role) = (number % 1_000, number / 1_000);
            let metadata = json!({"certainty": "certain", "path_count": 1,
                "paths": [{"via": "binding", "binding": format!("ns{who}/binding-{role}")}]});
            let (on, slug) = (format!("role-{role}"), format!("ns{who}:member"));
            grant(
                w,
                ("cluster_role", &on),
                &slug,
                ("service_account", &format!("ns{who}/app")),
                &metadata,
            );
        }
    });
    let model = model(&file);
    page(&model, &html);
    let size = std::fs::metadata(&html).unwrap().len();
    assert!(size < 25 << 20, "{size} bytes");
    let began = Instant::now();
    let (document, console) = open(&browser, &html, "");
    assert_eq!(console, "");
    assert!(document.contains("1\u{202f}000 principals"));
    assert_eq!(
        document.matches("<tr>").count(),
        2 + 50 + 50,
        "fifty rows at a time"
    );
    // Many times what it takes: a browser that hangs takes for ever.
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
}
