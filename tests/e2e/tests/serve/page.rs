//! The status page in a real browser.

use baton_host::fleet::{ClusterId, ClusterStatus, Failure, FailureKind, Good, State};
use e2e::browser;

use super::http::server;

const HOSTILE: &str = "</script><img src=x onerror=console.log(1)>\"'\u{202e}";

pub fn cluster(name: &str) -> ClusterStatus {
    ClusterStatus {
        id: ClusterId::new("111122223333", "eu-west-1", name),
        account: Some("111122223333".into()),
        region: "eu-west-1".into(),
        name: name.into(),
        state: State::Waiting,
        last_good: None,
        last_failure: None,
        warnings: Vec::new(),
        next: None,
        found_by_rule: false,
    }
}

/// Five hundred: most are fine, some fail, and some lie.
fn fleet() -> Vec<ClusterStatus> {
    let now = "2026-05-04T10:00:00Z".parse().unwrap();
    (0..500)
        .map(|number| {
            let mut one = cluster(&format!("cluster-{number:03}"));
            one.last_good = Some(Good {
                at: now,
                seconds: 3.0,
                objects: 120,
                entitlements: 900,
                grants: 4_000,
                bytes: 1,
                file: "a.c1z".into(),
            });
            if number % 50 == 7 {
                one.last_good = None;
                one.last_failure = Some(Failure {
                    at: now,
                    kind: FailureKind::Denied,
                    message: format!("EKS refuses {HOSTILE}"),
                    hint: Some(HOSTILE.into()),
                });
            }
            if number % 100 == 9 {
                one.warnings = vec![HOSTILE.into()];
                one.name = HOSTILE.into();
            }
            one
        })
        .collect()
}

/// Rows that a reader sees.
fn visible(document: &str) -> Vec<&str> {
    let body = document.split("<tbody id=\"rows\">").nth(1).unwrap();
    let body = body.split("</tbody>").next().unwrap();
    body.split("<tr")
        .skip(1)
        .filter(|row| !row.starts_with(" hidden"))
        .collect()
}

#[test]
fn a_fleet_of_five_hundred_is_shown_and_filtered_and_nothing_runs() {
    let Some(browser) = browser::find() else {
        return;
    };
    let (server, _) = server(fleet());
    let page = format!("http://{}/", server.address());

    let (document, console) = browser::open(&browser, &page);
    assert_eq!(console, "", "a page that is right says nothing");
    let rows = visible(&document);
    assert_eq!(rows.len(), 500);
    for row in &rows[..10] {
        assert!(
            row.contains("badge failing"),
            "what fails stands first: {row}"
        );
    }
    assert!(document.contains("10 of 500 clusters need a look."));
    assert!(!document.contains("<img"), "a name is text");
    assert!(document.contains("EKS refuses &lt;/script&gt;&lt;img"));

    // While one types.
    let (document, console) = browser::open(&browser, &format!("{page}#q=Cluster-1%3"));
    assert_eq!(console, "", "half an escape");
    assert_eq!(visible(&document).len(), 500);
    let (document, console) = browser::open(&browser, &format!("{page}#q=CLUSTER-10"));
    assert_eq!(console, "");
    assert_eq!(visible(&document).len(), 10);
    assert!(document.contains("<span id=\"shown\">10</span> of 500 shown"));
    let (document, _) = browser::open(&browser, &format!("{page}#q=%3Cimg"));
    assert_eq!(visible(&document).len(), 15);

    // And asked from the server, without a script.
    let (document, console) = browser::open(&browser, &format!("{page}?state=failing&q=%3Cimg"));
    assert_eq!(console, "");
    assert_eq!(visible(&document).len(), 10);
    assert!(!document.contains("<img"));
}

/// Keyboards and screen readers: what a browser's own tree makes of the page
/// rests on these.
#[test]
fn the_page_is_one_for_everybody() {
    let (server, _) = server(fleet());
    let html = super::http::get(server.address(), "/").unwrap().body;
    for needed in [
        "<html lang=\"en\">",
        "<a class=\"skip\" href=\"#clusters\">",
        "<h1>",
        "role=\"search\"",
        "<p role=\"status\">",
        "role=\"region\" aria-labelledby=\"clusters\" tabindex=\"0\"",
        "name=\"color-scheme\" content=\"light dark\"",
        "prefers-color-scheme: dark",
        "name=\"viewport\"",
        "<main>",
    ] {
        assert!(html.contains(needed), "{needed}");
    }
    let count = |text: &str| html.matches(text).count();
    assert_eq!(count("<th scope=\"row\">"), 500);
    assert_eq!(
        count("<th "),
        count("<th scope="),
        "each says what it heads"
    );
    let controls = count("<input") + count("<select");
    assert_eq!(controls, 3);
    assert_eq!(count("<label"), controls, "each has its label around it");
    // Nothing from anywhere else, and nothing inline that the policy forbids.
    for never in ["src=", "style=\"", "onclick", "@import", "url(", "//"] {
        let found = html.split("<tbody").next().unwrap().matches(never).count();
        let comments = if never == "//" {
            html.matches("// ").count()
        } else {
            0
        };
        assert_eq!(found.saturating_sub(comments), 0, "{never}");
    }
}
