//! A first look at an access file for `demo`: the grants that a reviewer would
//! ask about first, in names instead of ids, and what looks like access and is
//! none. The baton toolkit shows all of it.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::exit::{CliError, Exit};
use super::output::{plain, table};
use crate::c1z::{FileOptions, Reader, annotations, pb};
use crate::people::is_inherited;
use crate::sync::EVIDENCE_ASSET;

/// Lines per heading.
const LINES: usize = 4;
/// Characters in a line, and at most in its first two columns.
const WIDTH: usize = 100;
const WHO: usize = 48;
const WHAT: usize = 44;

const HEADINGS: [&str; 4] = [
    "Administrators of the cluster",
    "Access through EKS access policies",
    "Roles in single namespaces",
    "Workloads that can become an IAM role",
];

/// One grant, or some that differ in their scope only.
struct Line {
    who: String,
    what: String,
    scopes: Vec<String>,
    ways: BTreeSet<String>,
    certainty: String,
}

/// Highlights and the certainties that occur in them.
pub(super) struct Highlights {
    pub(super) text: String,
    pub(super) certainties: BTreeSet<String>,
}

/// What an entitlement gives: its heading, name and scope. Nothing where it is
/// not among the highlights.
fn what(kind: &str, id: &str, slug: &str, account: &str) -> Option<(usize, String, String)> {
    let scope = |text: &str| {
        let text = text.strip_suffix(":member").unwrap_or(text);
        text.strip_prefix("namespace/").unwrap_or(text).to_owned()
    };
    match kind {
        "cluster_role" if slug == "all:member" => {
            (id == "cluster-admin").then(|| (0, id.to_owned(), String::new()))
        }
        "cluster_role" => Some((2, id.to_owned(), scope(slug))),
        "namespace_role" => {
            let (namespace, name) = id.split_once('/')?;
            Some((2, name.to_owned(), namespace.to_owned()))
        }
        "access_policy" => {
            let name = id.rsplit('/').next().unwrap_or(id).to_owned();
            match slug.strip_prefix("assigned:")? {
                "cluster" => {
                    let heading = usize::from(name != "AmazonEKSClusterAdminPolicy");
                    Some((heading, name, String::new()))
                }
                namespaces => Some((1, name, scope(namespaces))),
            }
        }
        "role" => Some((3, short(id, account), String::new())),
        _ => None,
    }
}

/// An IAM ARN by its last name, which is unique in an account whatever the
/// path; with the account where it is another one.
fn short(arn: &str, account: &str) -> String {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", _, "iam", _, owner, resource] if resource.contains('/') => {
            let name = resource.rsplit('/').next().unwrap_or(resource);
            if *owner == account {
                name.to_owned()
            } else {
                format!("{owner}:{name}")
            }
        }
        _ => arn.to_owned(),
    }
}

/// The same for every ARN in a sentence.
fn short_words(text: &str, account: &str) -> String {
    let word = |word: &str| {
        let end = word.trim_end_matches([';', ',', '.']);
        format!(
            "{}{}",
            short(end, account),
            word.get(end.len()..).unwrap_or_default()
        )
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn who(kind: &str, id: &str, account: &str) -> String {
    match kind {
        "iam_user" => format!("user {}", short(id, account)),
        "role" => format!("role {}", short(id, account)),
        "service_account" if id == "*" => "every service account".to_owned(),
        "service_account" => format!("service account {id}"),
        "kube_group" => format!("group {id}"),
        "kube_user" => format!("user {id} of no AWS principal"),
        other => format!("{other} {id}"),
    }
}

/// Three columns; the last one gets what the others leave.
fn columns(rows: &[[String; 3]]) -> String {
    let widest = |texts: &mut dyn Iterator<Item = &String>, most: usize| {
        texts
            .map(|text| text.chars().count())
            .max()
            .unwrap_or(0)
            .min(most)
    };
    let who = widest(&mut rows.iter().map(|[who, _, _]| who), WHO);
    let what = widest(&mut rows.iter().map(|[_, what, _]| what), WHAT);
    let rest = WIDTH.saturating_sub(who + what + 6);
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|[a, b, c]| vec![format!("  {}", fit(a, who)), fit(b, what), fit(c, rest)])
        .collect();
    table(&rows)
}

/// At most `width` characters.
fn fit(text: &str, width: usize) -> String {
    let text = plain(text);
    if text.chars().count() <= width {
        return text;
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Certainty and ways of a grant, from its metadata.
fn evidence(grant: &pb::Grant) -> (String, Vec<String>) {
    let metadata = annotations::find::<pb::GrantMetadata>(&grant.annotations)
        .and_then(|metadata| metadata.metadata)
        .map(|metadata| Value::Object(annotations::json(&metadata)))
        .unwrap_or_default();
    let ways = metadata
        .get("paths")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|path| {
            let via = text(path, "via");
            match ["binding", "group"]
                .iter()
                .map(|key| text(path, key))
                .find(|detail| !detail.is_empty())
            {
                Some(detail) => format!("{via} {detail}"),
                None => via.to_owned(),
            }
        })
        .collect();
    (text(&metadata, "certainty").to_owned(), ways)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn line(grant: &pb::Grant, account: &str) -> Option<(usize, Line)> {
    // The role or group that it comes through has a line.
    if is_inherited(grant) {
        return None;
    }
    let entitlement = grant.entitlement.as_ref()?;
    let id = entitlement.resource.as_ref()?.id.as_ref()?;
    let slug = entitlement
        .id
        .strip_prefix(&format!("{}:{}:", id.resource_type, id.resource))?;
    let principal = grant.principal.as_ref()?.id.as_ref()?;
    let (heading, name, scope) = what(&id.resource_type, &id.resource, slug, account)?;
    if heading == 3 && principal.resource_type != "service_account" {
        return None;
    }
    let (certainty, ways) = evidence(grant);
    let line = Line {
        who: who(&principal.resource_type, &principal.resource, account),
        what: name,
        scopes: vec![scope],
        ways: ways.into_iter().collect(),
        certainty,
    };
    Some((heading, line))
}

fn render(heading: &str, lines: &[Line]) -> String {
    let rows: Vec<[String; 3]> = lines
        .iter()
        .take(LINES)
        .map(|line| {
            let scopes: Vec<&str> = line
                .scopes
                .iter()
                .map(String::as_str)
                .filter(|scope| !scope.is_empty())
                .collect();
            let what = if scopes.is_empty() {
                line.what.clone()
            } else {
                format!("{} in {}", line.what, scopes.join(", "))
            };
            let ways: Vec<&str> = line
                .ways
                .iter()
                .map(String::as_str)
                // The heading says it.
                .filter(|way| *way != "access-policy")
                .collect();
            let mark = match line.certainty.as_str() {
                "certain" => String::new(),
                other => format!("[{other}] "),
            };
            [line.who.clone(), what, format!("{mark}{}", ways.join(", "))]
        })
        .collect();
    let mut text = format!("\n{heading}\n{}", columns(&rows));
    if lines.len() > LINES {
        text.push_str(&format!("  and {} more\n", lines.len() - LINES));
    }
    text
}

/// Mappings and entries that give nothing, and why.
fn no_access(evidence: &Value, account: &str) -> String {
    let found: Vec<&Value> = evidence
        .get("evidence")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|piece| {
            matches!(
                text(piece, "type"),
                "dead-line" | "dead-entry" | "shadowed-line"
            )
        })
        .collect();
    if found.is_empty() {
        return String::new();
    }
    let rows: Vec<[String; 3]> = found
        .iter()
        .take(LINES)
        .map(|piece| {
            let place = match text(piece, "mapping") {
                "" => "access entry",
                mapping => mapping,
            };
            [
                short(text(piece, "principal"), account),
                place.to_owned(),
                short_words(text(piece, "reason"), account),
            ]
        })
        .collect();
    let mut text = format!("\nLooks like access, gives none\n{}", columns(&rows));
    if found.len() > LINES {
        text.push_str(&format!("  and {} more\n", found.len() - LINES));
    }
    text
}

pub(super) fn highlights(file: &Path, account: &str) -> Result<Highlights, CliError> {
    let failed = |error: crate::c1z::Error| CliError::new(Exit::Failure, error.to_string());
    let reader = Reader::open(file, &FileOptions::default()).map_err(failed)?;
    let view = reader.latest().map_err(failed)?;
    let mut found: [Vec<Line>; 4] = Default::default();
    let mut certainties = BTreeSet::new();
    for row in reader.grants(&view) {
        let grant = row.map_err(failed)?.grant;
        let Some((heading, new)) = line(&grant, account) else {
            continue;
        };
        let Some(lines) = found.get_mut(heading) else {
            continue;
        };
        let like = |old: &&mut Line| {
            old.who == new.who && old.what == new.what && old.certainty == new.certainty
        };
        match lines.iter_mut().find(like) {
            Some(old) => {
                old.scopes.extend(new.scopes);
                old.ways.extend(new.ways);
            }
            None => lines.push(new),
        }
    }
    let mut text = String::new();
    for (heading, lines) in HEADINGS.iter().zip(&found) {
        if lines.is_empty() {
            continue;
        }
        text.push_str(&render(heading, lines));
        certainties.extend(lines.iter().take(LINES).map(|line| line.certainty.clone()));
    }
    for asset in reader.assets(&view) {
        let asset = asset.map_err(failed)?;
        if asset.id == EVIDENCE_ASSET
            && let Ok(evidence) = serde_json::from_slice::<Value>(&asset.data)
        {
            text.push_str(&no_access(&evidence, account));
        }
    }
    Ok(Highlights { text, certainties })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_still_say_who() {
        let own = "111122223333";
        for (arn, name) in [
            (
                "arn:aws:iam::111122223333:role/team/platform/admin",
                "admin",
            ),
            ("arn:aws-cn:iam::111122223333:user/bob", "bob"),
            (
                "arn:aws:iam::444455556666:role/x/builder",
                "444455556666:builder",
            ),
            (
                "arn:aws:iam::444455556666:root",
                "arn:aws:iam::444455556666:root",
            ),
            ("payments/api", "payments/api"),
        ] {
            assert_eq!(short(arn, own), name);
        }
        assert_eq!(
            short_words("replaced by arn:aws:iam::111122223333:role/a/b; gone", own),
            "replaced by b; gone"
        );
        assert_eq!(fit("abcdef", 4), "abc…");
        assert_eq!(fit("abcd", 4), "abcd");
    }

    #[test]
    fn an_entitlement_says_what_it_gives_and_where() {
        let seen = |kind, id, slug| what(kind, id, slug, "111122223333");
        let some = |heading, name: &str, scope: &str| Some((heading, name.into(), scope.into()));
        assert_eq!(
            seen("cluster_role", "cluster-admin", "all:member"),
            some(0, "cluster-admin", "")
        );
        assert_eq!(seen("cluster_role", "view", "all:member"), None);
        assert_eq!(
            seen("cluster_role", "edit", "web:member"),
            some(2, "edit", "web")
        );
        assert_eq!(
            seen("cluster_role", "edit", "namespace/all:member"),
            some(2, "edit", "all")
        );
        assert_eq!(
            seen("namespace_role", "web/deploy", "member"),
            some(2, "deploy", "web")
        );
        let policy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy";
        assert_eq!(
            seen("access_policy", policy, "assigned:cluster"),
            some(0, "AmazonEKSClusterAdminPolicy", "")
        );
        assert_eq!(
            seen("access_policy", policy, "assigned:team-*"),
            some(1, "AmazonEKSClusterAdminPolicy", "team-*")
        );
    }
    #[test]
    fn lines_fit_and_the_last_column_gets_the_room() {
        let row = |n: usize| [1, 2, 3].map(|_| "x".repeat(n));
        for n in [1, 20, 40, 60] {
            let text = columns(&[row(n), row(3)]);
            assert!(
                text.lines().all(|line| line.chars().count() <= WIDTH),
                "{text}"
            );
        }
        let text = columns(&[["a".into(), "b".into(), "c".repeat(90)]]);
        assert!(text.contains(&"c".repeat(90)), "{text}");
    }
}
