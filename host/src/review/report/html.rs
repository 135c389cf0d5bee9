//! One page that needs nothing else: no network, no server, no build.
//!
//! What it says about findings is in the HTML itself, so it prints and reads
//! without a script. Tables and paths are drawn by `page.js` from data in the
//! page, with text nodes only. A policy in the page allows exactly this script
//! and this style by their digests, so a name from a cluster that got through
//! the escaping would still be text.

use std::fmt::Write as _;
use std::io;

use super::super::findings::{Finding, Item, Severity};
use super::super::model::{Model, Realm, Sort};
use super::data;
use super::{Review, Totals};
use crate::html::{digest, escape};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Items of one finding that the page lists.
const ITEMS: usize = 100;

/// JSON that can stand inside of a script element: the HTML parser looks for
/// `<` only.
fn embedded(value: &impl serde::Serialize) -> io::Result<String> {
    let text = serde_json::to_string(value).map_err(io::Error::other)?;
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if matches!(c, '<' | '>' | '&') || crate::sandbox::obeyed(c) => {
                let _ = write!(safe, "\\u{:04x}", u32::from(c));
            }
            c => safe.push(c),
        }
    }
    Ok(safe)
}

/// Writes the page.
///
/// # Errors
/// `out` cannot be written.
pub fn write(model: &Model, review: &Review, out: &mut impl io::Write) -> io::Result<()> {
    let names: Vec<&str> = model
        .realms
        .iter()
        .map(|realm| realm.name.as_str())
        .collect();
    let title = escape(&format!("Access review of {}", names.join(", ")));
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; base-uri 'none'; form-action 'none'",
        digest(SCRIPT),
        digest(STYLE)
    );
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#findings\">Skip to the findings</a>\n"
    )?;
    out.write_all(header(model, review, &title).as_bytes())?;
    out.write_all(b"<main>\n")?;
    out.write_all(findings(&review.findings).as_bytes())?;
    out.write_all(EXPLORER.as_bytes())?;
    out.write_all(read(model).as_bytes())?;
    out.write_all(b"</main>\n<script type=\"application/json\" id=\"data\">")?;
    out.write_all(embedded(&data::data(model, review))?.as_bytes())?;
    write!(
        out,
        "</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

fn count(number: usize) -> String {
    crate::html::count(number as u64)
}

fn plural(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

fn header(model: &Model, review: &Review, title: &str) -> String {
    let mut html = format!("<header>\n<h1>{title}</h1>\n<p class=\"lead\">");
    let open: Vec<&Realm> = model
        .realms
        .iter()
        .filter(|realm| !realm.unread.is_empty())
        .collect();
    let Totals {
        people,
        workloads,
        iam_roles,
        grants,
    } = review.totals;
    let _ = write!(
        html,
        "{}, {} and {} hold {}. ",
        plural(people, "person", "people"),
        plural(iam_roles, "IAM role", "IAM roles"),
        plural(workloads, "workload", "workloads"),
        plural(grants, "grant", "grants"),
    );
    if open.is_empty() {
        html.push_str("Everything that was asked for was read. ");
    } else {
        let names: Vec<String> = open.iter().map(|realm| escape(&realm.name)).collect();
        let _ = write!(
            html,
            "<strong>Not everything of {} was read.</strong> ",
            names.join(", ")
        );
    }
    html.push_str("<a href=\"#read\">What was read</a></p>\n<ul class=\"tiles\">\n");
    for severity in [
        Severity::Critical,
        Severity::High,
        Severity::Medium,
        Severity::Low,
        Severity::Info,
    ] {
        let found: Vec<&Finding> = review
            .findings
            .iter()
            .filter(|f| f.severity == severity)
            .collect();
        let items: usize = found.iter().map(|finding| finding.shown().count()).sum();
        let name = severity.name();
        let _ = writeln!(
            html,
            "<li class=\"tile {name}{}\"><a href=\"#{}\"><b>{}</b> <span>{name}</span> <small>{}</small></a></li>",
            if found.is_empty() { " none" } else { "" },
            if found.is_empty() {
                "findings".to_owned()
            } else {
                format!("s-{name}")
            },
            count(found.len()),
            plural(items, "item", "items"),
        );
    }
    html.push_str(
        "</ul>\n<nav aria-label=\"Sections\"><a href=\"#findings\">Findings</a> <a href=\"#people\">People and \
         principals</a> <a href=\"#roles\">Roles</a> <a href=\"#read\">What was read</a></nav>\n</header>\n",
    );
    html
}

fn findings(findings: &[Finding]) -> String {
    let mut html = "<section id=\"findings\" aria-labelledby=\"h-findings\">\n<h2 id=\"h-findings\">Findings</h2>\n".to_owned();
    if findings.is_empty() {
        html.push_str("<p>Nothing was found.</p>\n");
    }
    let mut last = None;
    for finding in findings {
        let name = finding.severity.name();
        let first = last != Some(finding.severity);
        last = Some(finding.severity);
        let shown: Vec<&Item> = finding.shown().collect();
        let own = finding.items.len() - shown.len();
        let _ = write!(
            html,
            "<details class=\"finding {name}\"{}{}>\n<summary><span class=\"badge {name}\">{name}</span> \
             <span class=\"title\">{}</span> <span class=\"where\">{}</span> <span class=\"count\">{}</span></summary>\n\
             <p class=\"why\">{}</p>\n<p class=\"mend\"><b>Mend:</b> {}</p>\n",
            if first {
                format!(" id=\"s-{name}\"")
            } else {
                String::new()
            },
            if finding.severity == Severity::Critical {
                " open"
            } else {
                ""
            },
            escape(finding.title),
            escape(&finding.cluster),
            count(shown.len()),
            escape(finding.why),
            escape(finding.mend),
        );
        if !shown.is_empty() {
            html.push_str("<ul class=\"items\">\n");
            for item in shown.iter().take(ITEMS) {
                html.push_str(&one(item));
            }
            html.push_str("</ul>\n");
        }
        if shown.len() > ITEMS {
            let _ = writeln!(
                html,
                "<p class=\"more\">and {} more: they are in the JSON and CSV reports.</p>",
                count(shown.len() - ITEMS)
            );
        }
        if own > 0 {
            let _ = writeln!(
                html,
                "<p class=\"more\">and {} of the platform itself, which nobody can certify.</p>",
                count(own)
            );
        }
        let _ = writeln!(
            html,
            "<p class=\"rule\">rule <code>{}</code></p>\n</details>",
            finding.rule
        );
    }
    html.push_str("</section>\n");
    html
}

fn one(item: &Item) -> String {
    let mark = item.certainty.mark().trim_matches(['[', ']']);
    let mut html = format!("<li id=\"{}\"><b>", escape(&item.id));
    let subject = escape(&item.subject);
    match item.node {
        Some(node) => {
            let _ = write!(html, "<a href=\"#p={node}\">{subject}</a>");
        }
        None => html.push_str(&subject),
    }
    let _ = write!(html, "</b> {}", escape(&item.what));
    if !mark.is_empty() {
        let _ = write!(html, " <span class=\"mark {mark}\">{mark}</span>");
    }
    if !item.evidence.is_empty() {
        let _ = write!(
            html,
            "<div class=\"way\">{}</div>",
            escape(&item.evidence.replace(" -> ", " \u{2192} "))
        );
    }
    if item.people_count > 0 {
        let names: Vec<String> = item.people.iter().map(|name| escape(name)).collect();
        let more = item.people_count - names.len();
        let more = if more > 0 {
            format!(" and {} more", count(more))
        } else {
            String::new()
        };
        let _ = write!(
            html,
            "<div class=\"people\">people: {}{more}</div>",
            names.join(", ")
        );
    }
    html.push_str("</li>\n");
    html
}

const EXPLORER: &str = r##"<noscript><p class="note">The tables below need a script, which this browser does not run. Everything is in the CSV and JSON reports too.</p></noscript>
<section id="people" aria-labelledby="h-people">
<h2 id="h-people">People and principals</h2>
<form class="controls" id="people-form">
<label>Search <input type="search" id="people-search" autocomplete="off" placeholder="name, ARN, namespace/name"></label>
<label>Show <select id="people-sort"><option value="">everybody</option><option value="0">people</option><option value="1">groups</option><option value="2">IAM roles</option><option value="3">workloads</option><option value="4">names of Kubernetes</option><option value="6">others</option></select></label>
</form>
<div id="person" tabindex="-1" aria-live="polite"></div>
<div id="people-table"></div>
</section>
<section id="roles" aria-labelledby="h-roles">
<h2 id="h-roles">Roles</h2>
<form class="controls" id="roles-form">
<label>Search <input type="search" id="roles-search" autocomplete="off" placeholder="role or policy"></label>
</form>
<div id="role" tabindex="-1" aria-live="polite"></div>
<div id="roles-table"></div>
</section>
"##;

/// What the answers rest on, and what they cannot say.
fn read(model: &Model) -> String {
    let mut html =
        "<section id=\"read\" aria-labelledby=\"h-read\">\n<h2 id=\"h-read\">What was read</h2>\n"
            .to_owned();
    for realm in &model.realms {
        let _ = writeln!(html, "<h3>{}</h3>\n<dl>", escape(&realm.name));
        let mut row = |name: &str, text: &str| {
            if !text.is_empty() {
                let _ = writeln!(html, "<dt>{name}</dt><dd>{}</dd>", escape(text));
            }
        };
        row("file", &realm.file);
        row("cluster", &realm.cluster);
        row("authentication mode", &realm.mode);
        row("read", &realm.ended);
        row("by", realm.writer.trim());
        let kinds: Vec<String> = realm
            .kinds
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        row("rows", &kinds.join(", "));
        row("grants", &realm.grants.to_string());
        let consistent = match realm.consistent {
            Some(true) => "each list is of one point in time",
            Some(false) => "a list changed while it was read",
            None => "the file does not say whether lists are of one point in time",
        };
        row("snapshot", consistent);
        for unread in &realm.unread {
            row("not read", unread);
        }
        for beyond in &realm.beyond {
            row("not asked for", beyond);
        }
        for warning in &realm.warnings {
            row("warning", warning);
        }
        html.push_str("</dl>\n");
    }
    for note in &model.notes {
        let _ = writeln!(html, "<p>{}</p>", escape(note));
    }
    let people = model
        .nodes
        .iter()
        .filter(|node| node.sort == Sort::Person)
        .count();
    if people == 0 {
        html.push_str("<p>No file names people: give the AWS connector's file too.</p>\n");
    }
    let _ = writeln!(
        html,
        "<p>Not looked at by any of this: service control policies, session policies, rights in other accounts, OIDC \
         identity providers of the cluster, admission policies, and IAM policies where they were not read. Rules of access policies are those that AWS published until {} (<code>{}</code>).</p>\n\
         </section>",
        super::super::policies::AS_OF,
        super::super::policies::SOURCE,
    );
    html
}
