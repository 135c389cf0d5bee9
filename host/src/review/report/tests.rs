//! The reports hold what was found, and no text of a stranger is anything else.

use serde_json::{Value, json};

use super::*;
use crate::review::testing::{Sketch, company, iam, user};

const HOSTILE: &str =
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u{202e}=cmd|x";

fn page(sketch: &Sketch) -> String {
    let model = sketch.load();
    let mut out = Vec::new();
    html(&model, &Review::new(&model), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn hostile() -> Sketch {
    let mut s = company();
    s.row("iam_user", &user("h"), json!({"display": HOSTILE}))
        .row("person", HOSTILE, json!({"display": HOSTILE}))
        .row(
            "cluster_role",
            HOSTILE,
            json!({"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}),
        )
        .evidence(json!({"type": "dead-line", "principal": HOSTILE, "reason": HOSTILE}))
        .evidence(json!({"type": "unread", "source": HOSTILE, "reason": HOSTILE}));
    let way = json!({"certainty": "certain", "paths": [{"via": HOSTILE, "binding": HOSTILE, "group": HOSTILE, "mapping": HOSTILE, "conditions": HOSTILE}]});
    s.grant(
        ("cluster_role", HOSTILE),
        "all:member",
        ("person", HOSTILE),
        way,
    );
    s
}

#[test]
fn the_page_is_whole_and_asks_for_nothing() {
    let page = page(&company());
    // The name of SVG is an address that nobody asks.
    assert_eq!(
        page.matches("http://").count(),
        page.matches("http://www.w3.org/2000/svg").count()
    );
    for outside in ["<link", "<img", "<iframe", "@import", "url(", "src="] {
        assert!(!page.contains(outside), "{outside}");
    }
    // Where the rules of access policies come from is text.
    assert_eq!(
        page.matches("https://").count(),
        page.matches("<code>https://docs.aws").count()
    );
    assert!(page.contains("default-src 'none'; script-src 'sha256-"));
    assert!(page.contains("<h2 id=\"h-findings\">Findings</h2>"));
}

#[test]
fn hostile_names_are_text_in_the_page() {
    let plain = page(&company());
    let page = page(&hostile());
    for tag in [
        "<script",
        "</script",
        "<img",
        "onerror=alert(2)>\"",
        "\u{202e}",
    ] {
        assert_eq!(
            page.matches(tag).count(),
            plain.matches(tag).count(),
            "{tag}"
        );
    }
    assert!(page.contains("&lt;/script&gt;"));
    assert!(page.contains("\\u003c/script\\u003e"));
}

#[test]
fn the_json_is_one_document_whatever_the_names() {
    let model = hostile().load();
    let mut out = Vec::new();
    json(&model, &Review::new(&model), &mut out).unwrap();
    let value: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(value["version"], 1);
    assert_eq!(value["read"][0]["name"], "prod");
    let principals = value["principals"].as_array().unwrap();
    let eve = principals
        .iter()
        .find(|one| one["id"] == user("eve"))
        .unwrap();
    let edit = eve["access"]
        .as_array()
        .unwrap()
        .iter()
        .find(|held| held["what"] == "AmazonEKSEditPolicy in namespace dev")
        .unwrap();
    assert_eq!(edit["certainty"], "conditional");
    assert_eq!(edit["direct"], false);
    assert_eq!(
        edit["scope"],
        json!({"scope": "namespace", "namespace": "dev"})
    );
    assert_eq!(edit["paths"][0]["links"][1]["id"], iam("deploy"));
    assert!(
        value["findings"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["items"].is_array())
    );
}

#[test]
fn the_lines_are_one_an_access() {
    let model = hostile().load();
    let mut out = Vec::new();
    csv(&model, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = text.split("\r\n").filter(|line| !line.is_empty()).collect();
    assert!(lines[0].starts_with("\"cluster\",\"principal_sort\""));
    let find = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
    assert_eq!(find(&format!("\"{}\",\"bob\"", user("bob"))), 5);
    for line in &lines {
        // A quote that is not doubled begins or ends a cell.
        let (mut inside, mut cells, mut chars) = (false, 1, line.chars().peekable());
        while let Some(c) = chars.next() {
            match c {
                '"' if inside && chars.peek() == Some(&'"') => {
                    chars.next();
                }
                '"' => inside = !inside,
                ',' if !inside => cells += 1,
                _ => assert!(inside, "{line}"),
            }
        }
        assert_eq!(cells, 11, "{line}");
    }
}
