//! `demo`: the main job against a simulated company, so that a person sees it
//! work before giving it an account. The simulated cloud is a program of its
//! own that lies beside this one; the plugin is compiled once and reads every
//! cluster with that cluster's settings only.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::args::{Environment, Invocation};
use super::command::Wanted;
use super::exit::{CliError, Exit};
use super::output::{Printer, hanging, plain};
use crate::job::Outcome;

/// Stops the simulated cloud, whatever happens.
struct Cloud(Child);

impl Drop for Cloud {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_proxy(name: &OsStr) -> bool {
    name.to_string_lossy()
        .to_ascii_lowercase()
        .ends_with("_proxy")
}

/// Whether the environment names a proxy. The simulated cloud is on this
/// machine, where no proxy reaches.
pub(super) fn proxied() -> bool {
    std::env::vars_os().any(|(name, _)| is_proxy(&name))
}

/// Runs this command again without proxies.
pub(super) fn without_proxies(args: &[OsString]) -> Result<Exit, CliError> {
    let failed = |error: std::io::Error| {
        CliError::new(Exit::Failure, format!("cannot start again: {error}"))
    };
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(args.iter().skip(1));
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_proxy(name)) {
        command.env_remove(name);
    }
    let status = command.status().map_err(failed)?;
    Ok(match status.code() {
        Some(0) => Exit::Success,
        Some(2) => Exit::Usage,
        Some(130) => Exit::Interrupted,
        _ => Exit::Failure,
    })
}

pub(super) async fn demo(invocation: &Invocation, keep: Option<&Path>) -> Result<Exit, CliError> {
    tokio::select! {
        result = show(invocation, keep) => result,
        () = super::sync::stop_signal() => Err(CliError::new(Exit::Interrupted, "stopped")),
    }
}

async fn show(invocation: &Invocation, keep: Option<&Path>) -> Result<Exit, CliError> {
    let printer = Printer::new(false);
    let failure = |text: String| CliError::new(Exit::Failure, text);
    let own = std::env::current_exe()
        .map_err(|error| failure(format!("cannot find this program: {error}")))?;
    invocation.plugin()?;
    let beside = own.with_file_name("cloud-sim");
    if !beside.is_file() {
        return Err(CliError::new(
            Exit::Usage,
            format!(
                "the simulated cloud is not beside this program: {} is missing",
                beside.display()
            ),
        )
        .hint("`./justw demo` builds both"));
    }
    let temporary =
        tempfile::tempdir().map_err(|error| failure(format!("cannot make a folder: {error}")))?;
    let folder: PathBuf = match keep {
        Some(folder) => {
            std::fs::create_dir_all(folder)
                .map_err(|error| failure(format!("cannot make {}: {error}", folder.display())))?;
            folder.to_owned()
        }
        None => temporary.path().to_owned(),
    };
    let (_cloud, clusters) = start(&beside)?;
    printer.text(
        "A simulated company on this machine: AWS and two EKS clusters, with the mistakes of real ones.",
    );
    let mut certainties = BTreeSet::new();
    for (cluster, environment) in clusters {
        let file = folder.join(format!("{cluster}.c1z"));
        let mut environment = environment;
        environment.insert("BATON_FILE".into(), file.display().to_string());
        let invocation = invocation.within(environment)?;
        printer.text(&format!("\n== {cluster}: baton-host check"));
        if super::check::check(&invocation, &[], printer).await? != Exit::Success {
            return Err(failure(format!("the check of {cluster} failed")));
        }
        printer.text(&format!("\n== {cluster}: baton-host"));
        let outcome = super::sync::run(&invocation, true).await?;
        printer.text(&summary(&outcome));
        let account = outcome
            .summary
            .validation
            .get("account")
            .and_then(|values| values.first())
            .map_or("", String::as_str);
        let highlights = super::show::highlights(&file, account)?;
        printer.text(&highlights.text);
        certainties.extend(highlights.certainties);
        if cluster == PLANNED.cluster {
            printer.text(&planned(invocation).await?);
        }
    }
    printer.text(&format!("\n{}", legend(&certainties)));
    printer.text(&format!(
        "All of it, with compiling the plugin, took {:.1} s. Next: your own cluster (README, \"Your cluster\"){}",
        invocation.started.elapsed().as_secs_f64(),
        match keep {
            Some(folder) => format!(
                ";\nthe files are in {}, `baton grants -f {}` shows every grant.",
                folder.display(),
                folder.join("prod.c1z").display()
            ),
            None =>
                ";\n`baton-host demo --keep DIR` keeps the files for the baton toolkit.".to_owned(),
        }
    ));
    Ok(Exit::Success)
}

/// A grant to look at, by names of the simulated company.
struct Example {
    cluster: &'static str,
    entitlement: &'static str,
    principal: &'static str,
}

const PLANNED: Example = Example {
    cluster: "prod",
    entitlement: "cluster_role:view:ci:member",
    principal: "arn:aws:iam::111122223333:user/erin",
};

/// What it would take, sending nothing: nobody approved changes here.
async fn planned(invocation: Invocation) -> Result<String, CliError> {
    let Example {
        entitlement,
        principal,
        ..
    } = PLANNED;
    let wanted = Wanted::Pair {
        entitlement: entitlement.to_owned(),
        principal: principal.to_owned(),
        kind: None,
    };
    let outline = super::change::outline(&invocation.approving("provision"), &wanted).await?;
    let lines: Vec<String> = outline
        .trim_end()
        .lines()
        .map(|line| hanging(line, 11))
        .collect();
    Ok(format!(
        "\n== prod: baton-host grant {entitlement} --principal {principal} --plan\n{}",
        lines.join("\n")
    ))
}

/// A sync in two or three lines.
fn summary(outcome: &Outcome) -> String {
    let summary = &outcome.summary;
    let calls: Vec<String> = outcome
        .upstreams
        .upstreams
        .keys()
        .map(|name| format!("{name} {}", outcome.upstreams.of(name).calls))
        .collect();
    let mut text = format!(
        "{} resources, {} entitlements, {} grants in {:.1} s; calls: {}; sandbox {:.1} MiB",
        summary.objects,
        summary.entitlements,
        summary.grants,
        summary.seconds,
        calls.join(", "),
        outcome.sandbox_memory as f64 / f64::from(1 << 20),
    );
    text = hanging(&text, 2);
    for unread in &summary.unread {
        let line = format!("not read: {}: {}", unread.kind, unread.message);
        text.push_str(&format!("\n{}", hanging(&plain(&line), 2)));
    }
    for warning in &summary.warnings {
        let line = format!("warning: {}", warning.message);
        text.push_str(&format!("\n{}", hanging(&plain(&line), 2)));
    }
    text
}

fn legend(certainties: &BTreeSet<String>) -> String {
    let mut text = "Every grant is certain, if it is not marked".to_owned();
    for (name, meaning) in [
        (
            "latent",
            "not now, but as soon as somebody makes what is missing",
        ),
        ("session", "in sessions with one name"),
        (
            "conditional",
            "if a condition holds that nobody can check from here",
        ),
    ] {
        if certainties.contains(name) {
            text.push_str(&format!("; [{name}]: {meaning}"));
        }
    }
    text.push('.');
    hanging(&text, 0)
}

/// Starts the cloud and reads the environments that it prints, one a cluster.
fn start(program: &Path) -> Result<(Cloud, Vec<(String, Environment)>), CliError> {
    let failure = |text: String| CliError::new(Exit::Failure, text);
    let mut child = Command::new(program)
        .args(["--demo", "--every-cluster"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failure(format!("cannot start {}: {error}", program.display())))?;
    let output = child.stdout.take();
    let cloud = Cloud(child);
    let mut clusters: Vec<(String, Environment)> = Vec::new();
    for line in output
        .into_iter()
        .flat_map(|output| BufReader::new(output).lines())
    {
        let line =
            line.map_err(|error| failure(format!("the simulated cloud stopped: {error}")))?;
        if line == "# ready" {
            return Ok((cloud, clusters));
        }
        if let Some(cluster) = line.strip_prefix("# cluster ") {
            clusters.push((cluster.to_owned(), Environment::new()));
        }
        if let Some((name, value)) = line
            .strip_prefix("export ")
            .and_then(|line| line.split_once('='))
            && let Some((_, variables)) = clusters.last_mut()
        {
            variables.insert(name.to_owned(), value.trim_matches('\'').to_owned());
        }
    }
    Err(failure(
        "the simulated cloud stopped before it was ready".into(),
    ))
}
