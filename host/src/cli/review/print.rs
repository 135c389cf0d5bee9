//! Answers of `review` as text for people.

use std::collections::BTreeSet;

use crate::cli::output::plain;
use crate::review::diff::Diff;
use crate::review::findings::Finding;
use crate::review::model::{About, Model, Realm, Sort};
use crate::review::query::{Answer, Held, Holder};
use crate::review::words;

/// Paths of one access that a person is shown.
const PATHS: usize = 3;
/// Items of one finding that a person is shown.
const ITEMS: usize = 5;

/// What was read and what was not, before any answer.
pub(super) fn heading(model: &Model) -> String {
    let one = |realm: &Realm| {
        let mut line = format!("{}: {} grants", realm.name, realm.grants);
        if !realm.mode.is_empty() {
            line.push_str(&format!(", mode {}", realm.mode));
        }
        if !realm.ended.is_empty() {
            line.push_str(&format!(", read {}", realm.ended));
        }
        for unread in &realm.unread {
            line.push_str(&format!("\n  not read: {unread}"));
        }
        cleaned(&line)
    };
    let mut lines: Vec<String> = model.realms.iter().map(one).collect();
    lines.extend(
        model
            .notes
            .iter()
            .map(|text| format!("note: {}", plain(text))),
    );
    format!("{}\n\n", lines.join("\n"))
}

/// Safe for a terminal, line by line.
pub(super) fn cleaned(text: &str) -> String {
    text.lines()
        .map(|line| plain(line.trim_end()))
        .collect::<Vec<_>>()
        .join("\n")
}

fn mark(held: &Held) -> String {
    let mut mark = held.certainty.mark().to_owned();
    if !held.only.is_empty() {
        let names: Vec<&str> = held.only.iter().take(5).map(String::as_str).collect();
        mark.push_str(&format!(" only {}", names.join(", ")));
    }
    mark.trim().to_owned()
}

fn access(held: &Held, text: &mut String) {
    let mark = mark(held);
    let space = if mark.is_empty() { "" } else { "  " };
    text.push_str(&format!("  {}{space}{mark}\n", held.what));
    for way in held.paths.iter().take(PATHS) {
        text.push_str(&format!("    {}\n", words::line(&way.links)));
    }
    let hidden = held.paths.len().saturating_sub(PATHS);
    match (hidden, held.more_paths) {
        (0, false) => {}
        (0, true) => text.push_str("    and more paths\n"),
        (n, true) => text.push_str(&format!("    and {n} or more other paths\n")),
        (1, false) => text.push_str("    and one more path\n"),
        (n, false) => text.push_str(&format!("    and {n} more paths\n")),
    }
}

pub(super) fn principal(holder: &Holder, title: &str) -> String {
    let mut text = format!("{title} ({})\n", holder.id);
    if let Some(why) = &holder.people_behind {
        text.push_str(&format!("people behind it: {why}\n"));
    }
    let about = holder.about.as_ref().map_or_else(Vec::new, About::words);
    let about: Vec<String> = about
        .iter()
        .map(|(key, word)| format!("{key} {word}"))
        .collect();
    if !about.is_empty() {
        text.push_str(&format!("{}\n", about.join("; ")));
    }
    if holder.access.is_empty() {
        text.push_str("  has nothing that these files know of\n");
    }
    let mut cluster = "";
    for held in &holder.access {
        if held.cluster != cluster {
            cluster = &held.cluster;
            text.push_str(&format!("{cluster}\n"));
        }
        access(held, &mut text);
    }
    cleaned(&text)
}

pub(super) fn holders(answer: &Answer) -> String {
    let mut text = format!("Who can {}\n", answer.asked);
    if answer.holders.is_empty() {
        text.push_str("  nobody that these files know of\n");
    }
    let mut sort = None;
    for holder in &answer.holders {
        if sort != Some(holder.sort) {
            sort = Some(holder.sort);
            text.push_str(&format!("\n{}\n", plural(holder.sort)));
        }
        let best = holder.access.iter().max_by_key(|held| held.certainty);
        let Some(best) = best else { continue };
        let clusters: BTreeSet<&str> = holder
            .access
            .iter()
            .map(|held| held.cluster.as_str())
            .collect();
        let clusters: Vec<&str> = clusters.into_iter().collect();
        let mark = mark(best);
        text.push_str(&format!(
            "  {}  [{}] {mark}\n",
            holder.name,
            clusters.join(", ")
        ));
        if let Some(why) = &holder.people_behind {
            text.push_str(&format!("    people behind it: {why}\n"));
        }
        if let Some(way) = best.paths.first() {
            text.push_str(&format!("    {}\n", words::line(&way.links)));
        }
        let paths: usize = holder.access.iter().map(|held| held.paths.len()).sum();
        match paths.saturating_sub(1) {
            0 => {}
            1 => text.push_str("    and one more path\n"),
            more => text.push_str(&format!("    and {more} more paths\n")),
        }
    }
    if !answer.unknown.is_empty() {
        text.push_str(&format!(
            "\nmay also give it, as their rules are not in the files: {}\n",
            answer.unknown.join(", ")
        ));
    }
    cleaned(&text)
}

fn plural(sort: Sort) -> &'static str {
    match sort {
        Sort::Person => "people",
        Sort::Group => "groups",
        Sort::IamRole => "IAM roles",
        Sort::Workload => "workloads",
        Sort::StandIn => "names of Kubernetes",
        Sort::Role => "roles",
        Sort::Other => "others",
    }
}

pub(super) fn list(found: &[Finding], all: bool) -> String {
    let mut text = String::new();
    if found.is_empty() {
        text.push_str("nothing was found\n");
    }
    for finding in found {
        let items: Vec<_> = finding
            .items
            .iter()
            .filter(|item| all || !item.platform)
            .collect();
        let own = finding.items.len() - items.len();
        text.push_str(&format!(
            "{}  {}  [{}]  {}\n",
            finding.severity.name(),
            finding.title,
            finding.rule,
            finding.cluster
        ));
        let most = if all { usize::MAX } else { ITEMS };
        for item in items.iter().take(most) {
            let mark = item.certainty.mark();
            text.push_str(&format!("  {}: {} {mark}\n", item.subject, item.what));
            if !item.evidence.is_empty() {
                text.push_str(&format!("    {}\n", item.evidence));
            }
            if item.people_count > 0 {
                let names: Vec<&str> = item.people.iter().take(4).map(String::as_str).collect();
                let more = item.people_count - names.len();
                let more = if more > 0 {
                    format!(" and {more} more")
                } else {
                    String::new()
                };
                text.push_str(&format!("    people: {}{more}\n", names.join(", ")));
            }
        }
        if items.len() > ITEMS && !all {
            text.push_str(&format!("  and {} more\n", items.len() - ITEMS));
        }
        if own > 0 {
            text.push_str(&format!("  and {own} of the platform itself\n"));
        }
        text.push_str(&format!("  mend: {}\n\n", finding.mend));
    }
    cleaned(&text)
}

/// What came and went.
pub(super) fn changes(found: &Diff, old: &Model, new: &Model) -> String {
    let mut text = format!("old {}\nnew {}", heading(old).trim_end(), heading(new));
    if found.is_empty() {
        text.push_str("nothing changed\n");
    }
    let lists = [
        ("grants that came", "+", &found.came),
        ("grants that went", "-", &found.went),
        ("what people got", "+", &found.people_got),
        ("what people lost", "-", &found.people_lost),
    ];
    for (title, sign, list) in lists {
        if !list.is_empty() {
            text.push_str(&format!("{title}: {}\n", list.len()));
        }
        for change in list.iter() {
            let mark = change.certainty.mark();
            text.push_str(&format!(
                "  {sign} {}: {} {mark}\n      {}\n",
                change.who, change.what, change.path
            ));
        }
    }
    if !found.changed.is_empty() {
        text.push_str(&format!(
            "grants that exist in another way: {}\n",
            found.changed.len()
        ));
    }
    for changed in &found.changed {
        let (before, after) = (&changed.before, &changed.after);
        text.push_str(&format!("  ~ {}: {}\n", after.who, after.what));
        for one in [before, after] {
            text.push_str(&format!("      {}: {}\n", one.certainty.name(), one.path));
        }
    }
    for (title, sign, list) in [
        ("findings that came", "+", &found.findings_came),
        ("findings that went", "-", &found.findings_went),
    ] {
        if !list.is_empty() {
            text.push_str(&format!("{title}: {}\n", list.len()));
        }
        for noted in list.iter() {
            let severity = noted.severity.name();
            text.push_str(&format!(
                "  {sign} {severity}: {}: {} {}\n",
                noted.title, noted.subject, noted.what
            ));
        }
    }
    cleaned(&text)
}
