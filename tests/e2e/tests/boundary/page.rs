//! `docs/attacks.md`: one part a room, between marks, written by the test that
//! ran the room.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;

use e2e::guests;

use crate::ROOMS;

/// What came of the attacks of one kind.
pub struct Room {
    /// Its heading.
    pub title: &'static str,
    /// Why anybody would try, and what stops it: a sentence or two.
    pub about: &'static str,
    /// Heads of the columns.
    pub columns: &'static [&'static str],
    /// Attacks with one idea, each a row.
    pub groups: Vec<(&'static str, Vec<Vec<String>>)>,
}

impl Room {
    fn text(&self) -> String {
        let mut text = format!("## {}\n\n{}\n", self.title, self.about);
        for (idea, rows) in &self.groups {
            let head = self.columns.join(" | ");
            let rule = "|---".repeat(self.columns.len());
            let _ = write!(text, "\n{idea}:\n\n| {head} |\n{rule}|\n");
            for row in rows {
                assert_eq!(row.len(), self.columns.len(), "{row:?}");
                let _ = writeln!(text, "| {} |", row.join(" | "));
            }
        }
        text
    }
}

/// Text in a cell, as code.
pub fn code(text: &str) -> String {
    if text.is_empty() {
        return "(nothing)".to_owned();
    }
    let shown: String = text.chars().flat_map(shown).collect();
    let shown = shown.replace('|', "\\|");
    let fence = if shown.contains('`') { "``" } else { "`" };
    let space = if shown.starts_with('`') || shown.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{fence}{space}{shown}{space}{fence}")
}

/// Text in a cell, as it is.
pub fn plain(text: &str) -> String {
    let shown: String = text.chars().flat_map(shown).collect();
    shown
        .replace('|', "\\|")
        .replace('<', "&lt;")
        .replace('*', "\\*")
}

fn shown(c: char) -> Vec<char> {
    if c.is_control() || !c.is_ascii() && !c.is_alphabetic() && c != '…' {
        c.escape_unicode().collect()
    } else {
        vec![c]
    }
}

static PAGE: Mutex<()> = Mutex::new(());

fn path() -> PathBuf {
    guests::root().join("docs/attacks.md")
}

fn begin(name: &str) -> String {
    format!("<!-- generated: {name} -->\n")
}

const END: &str = "<!-- end -->\n";

/// Compares a room with its part of the page, or writes it.
///
/// # Panics
/// When the page says something else.
pub fn compare(name: &str, room: &Room) {
    let all = room
        .groups
        .iter()
        .map(|(_, rows)| rows.len())
        .sum::<usize>();
    assert!(all > 0, "a room without attacks");
    let _one_at_a_time = PAGE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let page = std::fs::read_to_string(path()).unwrap();
    let begin = begin(name);
    let (before, rest) = page
        .split_once(&begin)
        .unwrap_or_else(|| panic!("docs/attacks.md has no part `{}`", begin.trim()));
    let (_, after) = rest.split_once(END).unwrap();
    let expected = format!("{before}{begin}{}{END}{after}", room.text());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path(), &expected).unwrap();
        return;
    }
    // Line by line: a difference of one row should read as one.
    for (found, expected) in page.lines().zip(expected.lines()) {
        assert_eq!(
            found, expected,
            "docs/attacks.md is out of date; UPDATE_DOCS=1 writes it"
        );
    }
    assert_eq!(page.lines().count(), expected.lines().count());
}

/// A part that no room writes would be a claim that no test makes.
#[test]
fn every_part_of_the_page_is_a_room() {
    let page = std::fs::read_to_string(path()).unwrap();
    let parts: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("<!-- generated: ")?.strip_suffix(" -->"))
        .collect();
    assert_eq!(parts, ROOMS);
    let mut inside = false;
    for line in page.lines() {
        match line {
            _ if line.starts_with("<!-- generated: ") => inside = true,
            "<!-- end -->" => inside = false,
            _ => assert!(
                inside || !line.starts_with('|'),
                "a row that no room wrote: {line}"
            ),
        }
    }
}
