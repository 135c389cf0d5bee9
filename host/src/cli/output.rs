//! The one place that prints: data to standard output, talk to standard error,
//! readable without colour. Strings of plugins and clusters are cleaned before
//! they get here or by [`plain`]. A pipe that nobody reads any more (`| head`)
//! is not an error of ours, so what cannot be written is dropped.
use std::io::{IsTerminal as _, Write as _};

use super::exit::CliError;

/// How a command talks.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    /// Data as JSON.
    pub json: bool,
}

impl Printer {
    pub(super) fn new(json: bool) -> Printer {
        Printer { json }
    }

    /// Data: text for people.
    pub fn text(self, text: &str) {
        data(text.strip_suffix('\n').unwrap_or(text));
    }

    /// Data: one JSON value.
    pub fn value(self, value: &impl serde::Serialize) {
        let text = serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{error}"));
        self.text(&ascii_controls(&text));
    }

    /// An error, and its hint on a line of its own.
    pub fn error(self, error: &CliError) {
        if self.json {
            let value = serde_json::json!({
                "error": { "message": error.message, "hint": error.hint, "exit": error.exit as u8 }
            });
            say(&ascii_controls(&value.to_string()));
            return;
        }
        let (red, cyan, reset) = if colour() {
            ("\u{1b}[1;31m", "\u{1b}[1;36m", "\u{1b}[0m")
        } else {
            ("", "", "")
        };
        // An upstream's own words may be among them.
        say(&format!("{red}error:{reset} {}", one_line(&error.message)));
        if let Some(hint) = &error.hint {
            say(&format!("{cyan}hint:{reset} {}", one_line(hint)));
        }
    }
}

/// A message with whatever it quotes as one line.
fn one_line(message: &str) -> String {
    crate::sandbox::clean(&message.replace('\n', " "), 16 << 10)
}

/// JSON that a terminal can show: what JSON itself does not escape and a
/// terminal obeys stands inside of strings only, where an escape is the same.
fn ascii_controls(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && crate::sandbox::obeyed(c) {
            safe.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// A line to standard error.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// A line to standard output without a printer, for generated text.
pub fn data(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Whether standard error is a terminal whose owner wants colours.
pub(super) fn colour() -> bool {
    std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Text of a stranger, as one line.
pub fn plain(text: &str) -> String {
    crate::sandbox::clean(text, 1000)
}

/// A long line with a hanging indent, where a terminal would break it anywhere;
/// as it is for programs.
pub fn hanging(line: &str, indent: usize) -> String {
    if std::io::stdout().is_terminal() {
        wrapped(line, indent, 100)
    } else {
        line.to_owned()
    }
}

fn wrapped(line: &str, indent: usize, width: usize) -> String {
    let mut text = String::new();
    let mut used = 0;
    for word in line.split_inclusive(' ') {
        let length = word.trim_end().chars().count();
        if used > indent && used + length > width {
            text.truncate(text.trim_end().len());
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent));
            used = indent;
        }
        text.push_str(word);
        used += word.chars().count();
    }
    text
}

/// Rows as aligned columns, without a frame.
pub fn table(rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (i, cell) in row.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(i) {
                Some(most) => *most = (*most).max(width),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            let pad = width - cell.chars().count();
            line.extend(std::iter::repeat_n(' ', pad + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_whatever_it_quotes() {
        let shown = one_line("EKS refuses `a`: no\nerror: forged\r\u{1b}[2J\u{9b}1m\u{202e}");
        assert_eq!(
            shown,
            "EKS refuses `a`: no error: forged\\u{d}\\u{1b}[2J\\u{9b}1m\\u{202e}"
        );
    }

    #[test]
    fn json_for_a_terminal_is_the_same_json() {
        let value = serde_json::json!({ "a": "x\u{9b}31m\u{7f}\u{202e}\u{2028}\u{1b}é" });
        let text = ascii_controls(&serde_json::to_string_pretty(&value).unwrap());
        assert!(
            !text.contains(['\u{9b}', '\u{7f}', '\u{202e}', '\u{2028}', '\u{1b}']),
            "{text}"
        );
        assert!(text.contains('é') && text.contains('\n'));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            value
        );
    }

    #[test]
    fn long_lines_hang() {
        assert_eq!(
            wrapped("ok  one two three", 4, 11),
            "ok  one two\n    three"
        );
        assert_eq!(wrapped("ok  short", 4, 11), "ok  short");
        let long = "ok  arn:aws:iam::111122223333:role/a-long-name";
        assert_eq!(wrapped(long, 4, 11), long, "a word stays whole");
    }
}
