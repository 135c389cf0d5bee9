//! `audit verify`: whether the rows of an audit log are all there and as they
//! were written.

use std::io::BufReader;
use std::path::Path;

use super::exit::{CliError, Exit};
use super::output::{Printer, plain};
use crate::provision::audit::{Verified, verify as follow};

pub(super) fn verify(log: &Path, printer: Printer) -> Result<Exit, CliError> {
    let file = std::fs::File::open(log).map_err(|error| {
        CliError::new(
            Exit::Usage,
            format!("cannot read the audit log {}: {error}", log.display()),
        )
    })?;
    let found = follow(BufReader::new(file)).map_err(|broken| {
        CliError::new(Exit::Failure, format!("{}: {broken}", log.display()))
            .hint("the rows before it are as they were written; compare the rest with a copy")
    })?;
    if printer.json {
        printer.value(&found);
    } else {
        printer.text(&text(log, &found));
    }
    Ok(Exit::Success)
}

fn text(log: &Path, found: &Verified) -> String {
    let mut text = format!(
        "{}: {} rows, each {}",
        log.display(),
        found.rows,
        match found.torn.as_slice() {
            [] => "as it was written",
            _ => "as it was written, or cut off",
        }
    );
    if let (Some(from), Some(until)) = (&found.from, &found.until) {
        text.push_str(&format!(
            ", from {} to {}; the hash of the last is\n{}",
            plain(from),
            plain(until),
            found.last
        ));
    }
    text.push('\n');
    for row in &found.torn {
        text.push_str(&if *row == found.rows {
            format!(
                "row {row}, the last, was cut off: by a crash or a full disk while it was written, or since; what it told of is not known\n"
            )
        } else {
            format!("row {row} was cut off while it was written; the rows after it know that\n")
        });
    }
    for operation in &found.unfinished {
        text.push_str(&format!(
            "operation {} never ended: the host was killed, or still runs\n",
            plain(operation)
        ));
    }
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::provision::audit::{Audit, AuditTarget, Event, Row};

    #[test]
    fn a_log_that_was_changed_fails_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let quiet = Printer::new(true);
        assert_eq!(verify(&path, quiet).unwrap_err().exit, Exit::Usage);
        let audit = Audit::open(&AuditTarget::File(path.clone())).unwrap();
        for event in [Event::Asked, Event::Request] {
            let row = Row {
                operation: "ab",
                event,
                asked_by: "ana",
                cluster: "",
                caller: "",
                entitlement: "",
                principal: "",
                direction: crate::provision::Direction::Grant,
                plugin: "",
                upstream: None,
                method: None,
                path: None,
                body: None,
                status: None,
                message: None,
            };
            audit.row(&row).unwrap();
        }
        let found = follow(BufReader::new(std::fs::File::open(&path).unwrap())).unwrap();
        let shown = text(&path, &found);
        assert!(
            shown.contains("2 rows") && shown.contains(&found.last),
            "{shown}"
        );
        assert!(shown.contains("operation ab never ended"), "{shown}");

        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, whole.get(..whole.len() - 100).unwrap()).unwrap();
        let found = follow(BufReader::new(std::fs::File::open(&path).unwrap())).unwrap();
        let shown = text(&path, &found);
        assert!(shown.contains("row 2, the last, was cut off"), "{shown}");
        assert!(
            shown.contains("2 rows, each as it was written, or cut off"),
            "{shown}"
        );

        let changed = whole.replacen("ab", "xy", 1);
        std::fs::write(&path, changed).unwrap();
        let error = verify(&path, quiet).unwrap_err();
        assert_eq!(error.exit, Exit::Failure);
        assert!(
            error.message.contains("row 2 is broken"),
            "{}",
            error.message
        );
    }
}
