//! The page as text; `tests/e2e/tests/serve/page.rs` opens it in a browser.

use super::*;
use crate::fleet::board::RuleStatus;
use crate::sync;

fn rows(html: &str) -> Vec<&str> {
    let body = html.split("<tbody id=\"rows\">").nth(1).unwrap_or_default();
    let body = body.split("</tbody>").next().unwrap();
    body.split("<tr>").skip(1).collect()
}

fn fleet() -> Vec<ClusterStatus> {
    let mut syncing = good(cluster("busy"), ago(7_200));
    syncing.state = State::Syncing {
        phase: sync::Phase::Grants,
        rows: 12_345,
        since: ago(30),
    };
    let mut fine = good(cluster("calm"), ago(300));
    fine.next = Some(now() + 600.seconds());
    fine.warnings = vec!["a list changed while it was read".into()];
    vec![
        fine,
        syncing,
        cluster("fresh"),
        failed(good(cluster("sick"), ago(9_000)), ago(60), "EKS refuses"),
        disabled(cluster("stuck"), "plugin is not approved"),
    ]
}

#[test]
fn what_needs_a_look_stands_first() {
    let html = get(&site(fleet()), "/").body;
    let rows = rows(&html);
    let order = ["sick", "stuck", "fresh", "busy", "calm"];
    assert_eq!(rows.len(), order.len());
    for (row, name) in rows.iter().zip(order) {
        assert!(row.contains(&format!("/{name}")), "{row}");
    }
    for said in [
        "2 of 5 clusters need a look.",
        "<title>(2) baton-host</title>",
        "EKS refuses",
        "<b>Try:</b> look at the access entry",
        "plugin is not approved",
        "syncing: grants, 12\u{202f}345 rows, for 30\u{a0}s",
        "in 10\u{a0}min",
        "5\u{a0}min ago",
        "datetime=\"2026-05-04T09:55:00Z\"",
        "1 warning<",
    ] {
        assert!(html.contains(said), "{said}\n{html}");
    }
    assert!(!html.contains("http-equiv"), "it stays as it is");
}

#[test]
fn a_filter_works_without_a_script() {
    let site = site(fleet());
    for (query, names) in [
        ("?q=SICK", &["sick"][..]),
        ("?q=refuses", &["sick"]),
        ("?q=eu-west-1&state=new", &["fresh"]),
        ("?state=disabled", &["stuck"]),
        ("?state=syncing", &["busy"]),
        ("?state=warnings", &["calm"]),
        ("?state=fine", &["busy", "calm"]),
        ("?q=nothing-like-that", &[]),
        ("?state=%00", &[]),
        ("?x=y", &["sick", "stuck", "fresh", "busy", "calm"]),
    ] {
        let html = get(&site, &format!("/{query}")).body;
        let rows = rows(&html);
        assert_eq!(rows.len(), names.len(), "{query}");
        for (row, name) in rows.iter().zip(names) {
            assert!(row.contains(&format!("/{name}")), "{query}: {row}");
        }
    }
    let html = get(&site, "/?refresh=1&q=a").body;
    assert!(html.contains("http-equiv=\"refresh\" content=\"30\""));
    assert!(html.contains(" checked>"), "{html}");
}

#[test]
fn nothing_that_a_stranger_said_is_html() {
    let mut all = failed(disabled(cluster(HOSTILE), HOSTILE), ago(5), HOSTILE);
    all.warnings = vec![HOSTILE.into(); 30];
    all.account = Some(HOSTILE.into());
    all.region = HOSTILE.into();
    if let Some(failure) = &mut all.last_failure {
        failure.hint = Some(HOSTILE.into());
    }
    let site = site(vec![all]);
    let failure = Failure {
        at: ago(1),
        kind: FailureKind::Host,
        message: HOSTILE.into(),
        hint: Some(HOSTILE.into()),
    };
    site.board.set_rules(vec![RuleStatus {
        name: HOSTILE.into(),
        account: HOSTILE.into(),
        regions: vec![HOSTILE.into()],
        found: 1,
        looked: None,
        last_failure: Some(failure),
    }]);
    site.board
        .update_configuration(|configuration| configuration.last_error = Some(HOSTILE.into()));
    let plain = get(&site, "/").body;
    let query: String = url::form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
    let asked = get(&site, &format!("/?q={query}&state={query}")).body;
    for html in [plain, asked] {
        assert!(html.contains("&lt;img"), "it is shown");
        assert!(!html.contains("<img"), "{html}");
        assert_eq!(html.matches("<script>").count(), 1);
        assert_eq!(html.matches("</script>").count(), 1);
        for c in ['\u{1b}', '\u{202e}', '\u{2028}'] {
            assert!(!html.contains(c));
        }
    }
}

#[test]
fn a_broken_configuration_is_told_loudly() {
    let site = site(fleet());
    site.board.update_configuration(|configuration| {
        configuration.last_error = Some("fleet.toml:3: `evry` is no key".into());
    });
    let html = get(&site, "/").body;
    let alert = html.split("role=\"alert\">").nth(1).unwrap();
    assert!(
        alert.starts_with("<b>The configuration on disk is broken"),
        "{alert}"
    );
    assert!(alert.contains("fleet.toml:3: `evry` is no key"));
    site.life.enter(Phase::Stopping);
    assert!(get(&site, "/").body.contains("It was asked to stop"));
}

#[test]
fn an_empty_fleet_says_so() {
    let html = get(&site(vec![]), "/").body;
    assert!(html.contains("There is no cluster to sync."), "{html}");
    assert!(rows(&html).is_empty());
}

/// WCAG: text needs a contrast of 4.5 to what is behind it.
#[test]
fn colours_can_be_read_in_both_schemes() {
    let style = include_str!("../page.css");
    let schemes: Vec<&str> = style.split(":root {").skip(1).take(2).collect();
    assert_eq!(schemes.len(), 2);
    let light = |hex: &str| {
        let wide: String = match hex.len() {
            3 => hex.chars().flat_map(|c| [c, c]).collect(),
            _ => hex.to_owned(),
        };
        let part = |at: usize| {
            let value = f64::from(u8::from_str_radix(&wide[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.040_45 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4)
    };
    for scheme in schemes {
        let colour = |name: &str| {
            let value = scheme.split(&format!("--{name}: #")).nth(1).unwrap();
            light(value.split(';').next().unwrap())
        };
        for (text, behind) in [
            ("fg", "bg"),
            ("fg", "panel"),
            ("fg", "disabled-bg"),
            ("soft", "bg"),
            ("soft", "panel"),
            ("link", "bg"),
            ("failing", "failing-bg"),
            ("disabled", "disabled-bg"),
            ("fine", "fine-bg"),
            ("new", "new-bg"),
        ] {
            let (a, b) = (colour(text), colour(behind));
            let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            assert!(contrast >= 4.5, "{text} on {behind}: {contrast:.2}");
        }
    }
}

#[test]
fn a_reason_is_told_once() {
    let why = "no lock approves it";
    let site = site(vec![failed(disabled(cluster("a"), why), ago(5), why)]);
    let html = get(&site, "/").body;
    assert_eq!(html.matches(why).count(), 1);
    assert!(html.contains("<b>Try:</b> look at the access entry"));
}
