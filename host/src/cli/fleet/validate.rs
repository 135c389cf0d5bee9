//! `fleet validate`: every mistake of a fleet file at once, without the network.

use std::path::PathBuf;

use serde::Serialize;

use super::super::args::{self, Invocation};
use super::super::exit::{CliError, Exit};
use super::super::output::{Printer, plain, say};
use super::super::progress::waiting;
use super::super::tree::reserved;
use super::path;
use crate::fleet::{Config, Mistake, Mistakes, check};

#[derive(Serialize)]
struct Report {
    path: PathBuf,
    clusters: Vec<String>,
    rules: Vec<String>,
    mistakes: Vec<Mistake>,
    warnings: Vec<Mistake>,
}

pub(super) async fn validate(invocation: &Invocation, printer: Printer) -> Result<Exit, CliError> {
    let path = path(invocation);
    let mut report = Report {
        path: path.clone(),
        clusters: Vec::new(),
        rules: Vec::new(),
        mistakes: Vec::new(),
        warnings: Vec::new(),
    };
    match Config::read(&path) {
        Err(Mistakes { mistakes, .. }) => report.mistakes = mistakes,
        Ok(config) => {
            report.mistakes = config.mistakes();
            let quiet = printer.json || invocation.switch("quiet")?;
            let waiting = (!quiet).then(|| waiting("looking at the plugins".to_owned()));
            let found = check::plugins(
                &config,
                &args::sandbox()?,
                &reserved(),
                &invocation.environment,
            )
            .await;
            drop(waiting);
            report.mistakes.extend(found.mistakes);
            report.warnings = config.warnings.clone();
            report.warnings.extend(found.warnings);
            for list in [&mut report.mistakes, &mut report.warnings] {
                list.sort_by_key(|mistake| (mistake.line, mistake.column));
                list.dedup();
            }
            report.clusters = config.clusters.iter().map(|c| c.id.to_string()).collect();
            report.rules = config.rules.iter().map(|rule| rule.name.clone()).collect();
        }
    }
    if printer.json {
        printer.value(&report);
    } else {
        for mistake in &report.mistakes {
            say(&plain(&mistake.line(&path)));
        }
        for warning in &report.warnings {
            let line = Mistake {
                message: format!("warning: {}", warning.message),
                ..warning.clone()
            };
            say(&plain(&line.line(&path)));
        }
    }
    match report.mistakes.len() {
        0 => {
            if !printer.json {
                let count = |number: usize, what: &str| match number {
                    1 => format!("1 {what}"),
                    _ => format!("{number} {what}s"),
                };
                let end = match report.warnings.len() {
                    0 => "nothing wrong".to_owned(),
                    warnings => format!("no mistake, {}", count(warnings, "warning")),
                };
                printer.text(&format!(
                    "{}: {}, {}, {end}",
                    path.display(),
                    count(report.clusters.len(), "cluster"),
                    count(report.rules.len(), "rule"),
                ));
            }
            Ok(Exit::Success)
        }
        count => {
            let mistakes = if count == 1 { "mistake" } else { "mistakes" };
            Err(CliError::new(
                Exit::Usage,
                format!("{} has {count} {mistakes}", path.display()),
            ))
        }
    }
}
