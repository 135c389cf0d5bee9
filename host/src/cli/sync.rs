//! `sync`, and no command at all: the main job.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::args::{Environment, Invocation};
use super::exit::{CliError, Exit};
use super::output::{Printer, plain, table};
use super::progress::{Display, Voice};
use crate::c1z::FileOptions;
use crate::credentials::HttpClients;
use crate::credentials::env::Env;
use crate::credentials::settings::AwsSettings;
use crate::job::{self, Job, JobError, Outcome};
use crate::people::External;
use crate::sandbox::CallError;
use crate::sync::{Options, SyncError};

/// How long a sync may take to stop by itself after a signal.
const GRACE: std::time::Duration = std::time::Duration::from_secs(3);

/// The job of the command line: all that is wrong with it is named at once.
pub(super) fn job(invocation: &Invocation) -> Result<Job, CliError> {
    let plugin = invocation.plugin()?.clone();
    let descriptor = plugin.component.descriptor();
    let mut problems = Vec::new();
    for flag in ["client-id", "ticketing"] {
        if invocation
            .environment
            .contains_key(&super::flags::variable(flag))
        {
            problems.push(format!(
                "{} is set, and this version does not do that yet",
                super::flags::variable(flag)
            ));
        }
    }
    let mut settings = BTreeMap::new();
    for setting in &descriptor.settings {
        if let Some(value) = invocation.value(&setting.name) {
            settings.insert(setting.name.clone(), value);
        }
    }
    let aws = match AwsSettings::from_values(|setting| invocation.value(setting.name)) {
        Ok(aws) => aws,
        Err(error) => {
            problems.extend(error.problems);
            AwsSettings::default()
        }
    };
    let env = Env::from_pairs(
        invocation
            .environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    let job = Job {
        plugin,
        settings,
        aws,
        env,
        rates: Arc::default(),
        http: HttpClients::new(),
        limits: crate::sandbox::Limits::default(),
    };
    let declared = job::declared(job.plugin.component.descriptor()).map_err(JobError::from)?;
    if let Err(error) = job::place(&job, &declared) {
        match error {
            JobError::Settings(more) => problems.extend(more),
            other => return Err(other.into()),
        }
    }
    if problems.is_empty() {
        Ok(job)
    } else {
        Err(JobError::Settings(problems).into())
    }
}

pub(super) async fn sync(invocation: &Invocation, printer: Printer) -> Result<Exit, CliError> {
    let quiet = invocation.switch("quiet")?;
    let outcome = run(invocation, quiet || printer.json).await?;
    if printer.json {
        printer.value(&outcome);
    } else if !quiet {
        printer.text(&summary(&outcome));
    }
    Ok(Exit::Success)
}

/// Another connector's file, and what of it is wanted.
fn external(invocation: &Invocation) -> Result<Option<External>, CliError> {
    const FILE: &str = "external-resource-c1z";
    const FILTER: &str = "external-resource-entitlement-id-filter";
    let filter = invocation.value(FILTER);
    match invocation.value(FILE) {
        Some(file) => Ok(Some(External {
            file: PathBuf::from(file),
            filter,
        })),
        None if filter.is_some() => Err(CliError::new(
            Exit::Usage,
            format!("--{FILTER} chooses from the file of --{FILE}, which is not given"),
        )),
        None => Ok(None),
    }
}

/// Syncs into the access file; a `silent` one shows no progress.
pub(super) async fn run(invocation: &Invocation, silent: bool) -> Result<Outcome, CliError> {
    let (sandbox, _) = invocation.loaded()?;
    let job = job(invocation)?;
    let options = Options {
        kinds: invocation
            .value("sync-resource-types")
            .iter()
            .flat_map(|kinds| kinds.split(','))
            .map(|kind| kind.trim().to_owned())
            .filter(|kind| !kind.is_empty())
            .collect(),
        skip_grants: invocation.switch("skip-grants")?,
        skip_entitlements_and_grants: invocation.switch("skip-entitlements-and-grants")?,
        external: external(invocation)?,
        cancelled: Arc::default(),
    };
    let (file, file_options) = access_file(invocation)?;
    let mut display = Display::new(silent);
    let cancelled = options.cancelled.clone();
    let work = async {
        let connection = job::connect(&job).await?;
        display.watch(&connection.upstreams);
        let observer = Arc::new(Voice(display.clone()));
        job::sync(
            sandbox,
            &job,
            &connection,
            &options,
            &file,
            &file_options,
            observer,
            &mut display,
        )
        .await
    };
    let result = {
        tokio::pin!(work);
        tokio::select! {
            result = &mut work => Some(result),
            () = stop_signal() => {
                cancelled.store(true, Ordering::Relaxed);
                tokio::select! {
                    result = tokio::time::timeout(GRACE, &mut work) => result.ok(),
                    () = stop_signal() => None,
                }
            }
        }
    };
    display.finish();
    match result {
        None => Err(interrupted()),
        Some(Err(JobError::Sync { source, .. })) if matches!(*source, SyncError::Cancelled) => {
            Err(interrupted())
        }
        Some(result) => Ok(result?),
    }
}

/// The access file of the command line, and how it is read and written.
pub(super) fn access_file(invocation: &Invocation) -> Result<(PathBuf, FileOptions), CliError> {
    let file = invocation
        .value("file")
        .unwrap_or_else(|| "sync.c1z".into());
    let options = FileOptions {
        work_folder: invocation
            .value("c1z-temp-dir")
            .or_else(|| invocation.environment.get("BATON_TMPDIR").cloned())
            .map(PathBuf::from),
        keep_full_syncs: keep_full_syncs(&invocation.environment)?,
        ..FileOptions::default()
    };
    Ok((file.into(), options))
}

/// `BATON_KEEP_SYNC_COUNT` and `BATON_SKIP_CLEANUP`, variables of every Baton
/// connector.
fn keep_full_syncs(environment: &Environment) -> Result<Option<u32>, CliError> {
    let wrong = |text: &str| Err(CliError::new(Exit::Usage, text));
    match environment.get("BATON_SKIP_CLEANUP").map(String::as_str) {
        None | Some("false" | "0") => {}
        Some("true" | "1") => return Ok(None),
        Some(_) => return wrong("BATON_SKIP_CLEANUP is neither true nor false"),
    }
    match environment
        .get("BATON_KEEP_SYNC_COUNT")
        .map(|text| text.parse())
    {
        None => Ok(FileOptions::default().keep_full_syncs),
        Some(Ok(count)) if count > 0 => Ok(Some(count)),
        Some(_) => {
            wrong("BATON_KEEP_SYNC_COUNT is the number of full syncs that a file keeps, 1 or more")
        }
    }
}

fn interrupted() -> CliError {
    CliError::new(
        Exit::Interrupted,
        "stopped; the access file is as it was before",
    )
}

/// Ctrl-C or SIGTERM.
pub(super) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        // Without handlers the signals end the process by themselves.
        _ => std::future::pending().await,
    }
}

fn summary(outcome: &Outcome) -> String {
    let summary = &outcome.summary;
    let mut text = String::new();
    let mut rows = vec![
        ["KIND", "RESOURCES", "ENTITLEMENTS", "GRANTS"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for kind in &summary.kinds {
        let name = if kind.display_name.is_empty() {
            &kind.kind
        } else {
            &kind.display_name
        };
        rows.push(vec![
            plain(name),
            kind.objects.to_string(),
            kind.entitlements.to_string(),
            kind.grants.to_string(),
        ]);
    }
    if let Some(imported) = &summary.imported {
        rows.push(vec![
            "external file".into(),
            imported.resources.to_string(),
            imported.entitlements.to_string(),
            (imported.grants + imported.assignments).to_string(),
        ]);
    }
    if summary.expanded.grants > 0 {
        rows.push(vec![
            "inherited".into(),
            String::new(),
            String::new(),
            summary.expanded.grants.to_string(),
        ]);
    }
    rows.push(vec![
        "in all".into(),
        summary.objects.to_string(),
        summary.entitlements.to_string(),
        summary.grants.to_string(),
    ]);
    text.push_str(&table(&rows));

    text.push('\n');
    let mut rows = vec![
        ["UPSTREAM", "CALLS", "RETRIED", "THROTTLED", "BYTES"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for name in outcome.upstreams.upstreams.keys() {
        let counts = outcome.upstreams.of(name);
        rows.push(vec![
            plain(name),
            counts.calls.to_string(),
            counts.retries.to_string(),
            counts.throttled.to_string(),
            counts.bytes.to_string(),
        ]);
    }
    text.push_str(&table(&rows));

    for (key, values) in &summary.validation {
        text.push_str(&format!("\n{}: {}", plain(key), plain(&values.join(", "))));
    }
    text.push_str(&format!(
        "\n{} in {:.1} s: {} bytes; sandbox {} KiB, {} ms of CPU\n",
        summary.file.display(),
        summary.seconds,
        summary.file_bytes,
        outcome.sandbox_memory / 1024,
        outcome.sandbox_cpu_ms,
    ));
    if summary.evidence > 0 {
        text.push_str(&format!(
            "{} pieces of evidence about what gives no access are in the file (docs/identity.md)\n",
            summary.evidence
        ));
    }
    for unread in &summary.unread {
        text.push_str(&format!(
            "not read: {}: {}\n",
            plain(&unread.kind),
            plain(&unread.message)
        ));
        if let Some(hint) = &unread.hint {
            text.push_str(&format!("  hint: {}\n", plain(hint)));
        }
    }
    for warning in &summary.warnings {
        let times = if warning.count > 1 {
            format!(" ({} times)", warning.count)
        } else {
            String::new()
        };
        text.push_str(&format!("warning: {}{times}\n", plain(&warning.message)));
        for example in &warning.examples {
            text.push_str(&format!("  for example {}\n", plain(example)));
        }
    }
    for line in summary.principals_without_row.iter() {
        let (kind, count) = line;
        // Users come from the AWS connector's file.
        if kind != "iam_user" {
            text.push_str(&format!(
                "warning: {count} grants are to principals of kind {} without a row\n",
                plain(kind)
            ));
        }
    }
    text
}

impl From<JobError> for CliError {
    fn from(error: JobError) -> CliError {
        let message = error.to_string();
        match error {
            JobError::Settings(problems) => {
                let hint = problems
                    .iter()
                    .find_map(|problem| problem.strip_suffix(" is missing"))
                    .filter(|name| !name.contains(' '))
                    .map(|name| format!("give --{name} or {}", super::flags::variable(name)));
                let error = CliError::new(Exit::Usage, message);
                match hint {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            }
            JobError::Rights(_) | JobError::Start(_) => CliError::new(Exit::Plugin, message),
            JobError::Credentials(error) => error.into(),
            JobError::Upstream(error) => error.into(),
            JobError::Sync { source, problems } => {
                let refused = refused_here(&source, &problems);
                let mut error = CliError::from(*source);
                if let Some(problem) = refused {
                    return CliError::new(Exit::Plugin, problem);
                }
                if error.hint.is_none()
                    && let Some(problem) = problems.first()
                {
                    error.hint = Some(plain(problem));
                }
                error
            }
        }
    }
}

/// A sandbox learns no more of a refusal at the boundary than that it was one;
/// here is what was refused and why.
fn refused_here(source: &SyncError, problems: &[String]) -> Option<String> {
    let SyncError::Call {
        doing,
        source: CallError::Connector(error),
    } = source
    else {
        return None;
    };
    let value = |key: &str| crate::plugin::attribute(&error.attributes, key);
    if error.kind != "not-permitted" || value("status").is_some() {
        return None;
    }
    let operation = value("operation")?;
    let problem = problems
        .iter()
        .find(|problem| problem.contains(operation))?;
    Some(plain(&format!("{doing}: {problem}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn variables_say_how_many_syncs_a_file_keeps() {
        let kept = |pairs: &[(&str, &str)]| {
            keep_full_syncs(
                &pairs
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
            )
        };
        assert_eq!(kept(&[]).unwrap(), Some(2));
        assert_eq!(kept(&[("BATON_KEEP_SYNC_COUNT", "5")]).unwrap(), Some(5));
        let all = [
            ("BATON_KEEP_SYNC_COUNT", "5"),
            ("BATON_SKIP_CLEANUP", "true"),
        ];
        assert_eq!(kept(&all).unwrap(), None);
        for wrong in ["0", "-1", "two"] {
            assert_eq!(
                kept(&[("BATON_KEEP_SYNC_COUNT", wrong)]).unwrap_err().exit,
                Exit::Usage
            );
        }
        assert!(kept(&[("BATON_SKIP_CLEANUP", "perhaps")]).is_err());
    }
}
