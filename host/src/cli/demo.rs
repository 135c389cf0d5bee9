//! `demo`: the main job against a simulated company, so that a person sees it
//! work before giving it an account. The simulated cloud is a program of its
//! own that lies beside this one.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::args::Invocation;
use super::exit::{CliError, Exit};
use super::output::{Printer, say};

/// Stops the simulated cloud, whatever happens.
struct Cloud(Child);

impl Drop for Cloud {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn demo(
    invocation: &Invocation,
    keep: Option<&Path>,
    printer: Printer,
) -> Result<Exit, CliError> {
    let failure = |text: String| CliError::new(Exit::Failure, text);
    let own = std::env::current_exe()
        .map_err(|error| failure(format!("cannot find this program: {error}")))?;
    let plugin = invocation.value("plugin").ok_or_else(|| {
        CliError::new(Exit::Usage, "no plugin was given")
            .hint("name one with --plugin baton_eks.wasm or BATON_PLUGIN")
    })?;
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
    for (cluster, environment) in &clusters {
        let file = folder.join(format!("{cluster}.c1z"));
        say(&format!("\n== cluster {cluster}: check"));
        run(&own, &["check"], &plugin, cluster, &file, environment)?;
        say(&format!("\n== cluster {cluster}: sync"));
        run(&own, &["sync"], &plugin, cluster, &file, environment)?;
    }
    say("");
    for (cluster, _) in &clusters {
        printer.text(&super::show::highlights(
            &folder.join(format!("{cluster}.c1z")),
            cluster,
        )?);
    }
    match keep {
        Some(folder) => say(&format!(
            "The files are in {}; look with `baton grants -f {}`.",
            folder.display(),
            folder.join("prod.c1z").display()
        )),
        None => say("Nothing was kept; `demo --keep DIR` keeps the files for the baton toolkit."),
    }
    Ok(Exit::Success)
}

type Variables = Vec<(String, String)>;

/// Starts the cloud and reads the environments that it prints, one a cluster.
fn start(program: &Path) -> Result<(Cloud, Vec<(String, Variables)>), CliError> {
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
    let mut clusters: Vec<(String, Variables)> = Vec::new();
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
            clusters.push((cluster.to_owned(), Vec::new()));
        }
        if let Some((name, value)) = line
            .strip_prefix("export ")
            .and_then(|line| line.split_once('='))
            && let Some((_, variables)) = clusters.last_mut()
        {
            variables.push((name.to_owned(), value.trim_matches('\'').to_owned()));
        }
    }
    Err(failure(
        "the simulated cloud stopped before it was ready".into(),
    ))
}

fn run(
    own: &Path,
    args: &[&str],
    plugin: &str,
    cluster: &str,
    file: &Path,
    environment: &Variables,
) -> Result<(), CliError> {
    let status = Command::new(own)
        .args(args)
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| {
            let name = name.to_string_lossy();
            !name.starts_with("AWS_")
                && !name.starts_with("BATON_")
                && !name.to_ascii_lowercase().ends_with("_proxy")
        }))
        .envs(
            environment
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        )
        .env("BATON_PLUGIN", plugin)
        .env("BATON_FILE", file)
        .env("BATON_LOG_LEVEL", "warn")
        .status()
        .map_err(|error| {
            CliError::new(
                Exit::Failure,
                format!("cannot start {}: {error}", own.display()),
            )
        })?;
    if status.success() {
        Ok(())
    } else {
        Err(CliError::new(
            Exit::Failure,
            format!("`{}` of the cluster {cluster} failed", args.join(" ")),
        ))
    }
}
