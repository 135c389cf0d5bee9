//! Who has what, a line for each, for spreadsheets.
//!
//! A cell that a spreadsheet would take for a formula gets an apostrophe in
//! front: a role may be named `=HYPERLINK(...)`.

use std::io;

use super::super::model::{Id, Model};
use super::super::{find, query};

const HEAD: [&str; 11] = [
    "cluster",
    "principal_sort",
    "principal_kind",
    "principal_id",
    "principal_name",
    "what",
    "scope",
    "certainty",
    "direct",
    "paths",
    "shortest_path",
];

/// A cell. Quoted always, so that nothing inside ends it.
fn cell(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    // What stands before the sign may be blanks, which a spreadsheet drops.
    let formula = text.trim_start().starts_with([
        '=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
    ]);
    let guard = if formula { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

fn line(out: &mut impl io::Write, cells: &[&str]) -> io::Result<()> {
    let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
    write!(out, "{}\r\n", cells.join(","))
}

/// Writes the lines, principal by principal.
///
/// # Errors
/// `out` cannot be written.
pub fn write(model: &Model, out: &mut impl io::Write) -> io::Result<()> {
    line(out, &HEAD)?;
    for number in 0..model.nodes.len() {
        let id = Id::try_from(number).unwrap_or(Id::MAX);
        if !find::is_principal(model, id) {
            continue;
        }
        let holder = query::access(model, id, None);
        for held in &holder.access {
            let path = held
                .paths
                .first()
                .map(|way| super::super::words::line(&way.links));
            let scope = held.scope.as_ref().map(super::super::rules::Scope::words);
            let direct = held.direct;
            let paths = held.paths.len().to_string();
            let cells = [
                held.cluster.as_str(),
                holder.sort.word(),
                &holder.kind,
                &holder.id,
                &holder.name,
                &held.what,
                scope.as_deref().unwrap_or_default(),
                held.certainty.name(),
                if direct { "yes" } else { "no" },
                &paths,
                path.as_deref().unwrap_or_default(),
            ];
            line(out, &cells)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_or_ends_early() {
        for (text, expected) in [
            ("view", "\"view\""),
            ("=1+1", "\"'=1+1\""),
            ("  @SUM(A1)", "\"'  @SUM(A1)\""),
            ("\t=1", "\"' =1\""),
            ("-2", "\"'-2\""),
            ("a\"b,c\r\nd", "\"a\"\"b,c  d\""),
            ("\u{ff1d}1", "\"'\u{ff1d}1\""),
        ] {
            assert_eq!(cell(text), expected);
        }
    }
}
