//! What is wrong with a fleet file, and where.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// One mistake, or one warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// One sentence. No value of a secret is in it.
    pub message: String,
    /// What to do, or what was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// All mistakes of a file, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistakes {
    /// The fleet file.
    pub path: PathBuf,
    /// At least one.
    pub mistakes: Vec<Mistake>,
}

impl Mistake {
    /// `fleet.toml:12:3: sentence; hint`, as editors read it.
    #[must_use]
    pub fn line(&self, path: &Path) -> String {
        let hint = match &self.hint {
            Some(hint) => format!("; {hint}"),
            None => String::new(),
        };
        format!(
            "{}:{}:{}: {}{hint}",
            path.display(),
            self.line,
            self.column,
            self.message
        )
    }
}

impl fmt::Display for Mistakes {
    /// One line for each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.mistakes.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&mistake.line(&self.path))?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// Mistakes as they are found.
#[derive(Debug, Default)]
pub(super) struct Notes {
    found: Vec<(usize, String, Option<String>)>,
}

impl Notes {
    pub(super) fn add(&mut self, at: usize, message: impl Into<String>) {
        self.found.push((at, message.into(), None));
    }

    pub(super) fn hint(&mut self, at: usize, message: impl Into<String>, hint: impl Into<String>) {
        self.found.push((at, message.into(), Some(hint.into())));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// With lines and columns, in the file's order.
    pub(super) fn placed(self, text: &str) -> Vec<Mistake> {
        let mut found = self.found;
        found.sort_by_key(|(at, _, _)| *at);
        found
            .into_iter()
            .map(|(at, message, hint)| place(text, at, message, hint))
            .collect()
    }
}

/// A mistake at an offset.
pub(super) fn place(text: &str, at: usize, message: String, hint: Option<String>) -> Mistake {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    let line_begin = before.rfind('\n').map_or(0, |newline| newline + 1);
    Mistake {
        line: before.matches('\n').count() + 1,
        column: before
            .get(line_begin..)
            .map_or(0, |line| line.chars().count())
            + 1,
        message,
        hint,
    }
}
