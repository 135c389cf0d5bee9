//! `fleet`: many clusters, from one file.

mod display;
mod status;
mod sync;
mod validate;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::args::{Environment, Invocation};
use super::exit::{CliError, Exit};
use super::output::{Printer, data, plain, say};
use super::signals::Signals;
use crate::fleet::config::schema;
use crate::fleet::{Broken, Cluster, ClusterId, Config, Mistakes, Shard, Stopper};
use crate::nearest::nearest;

/// The variable that names the fleet file: `BATON_FILE` is the access file of
/// a single cluster.
const FILE: &str = "BATON_FLEET_FILE";

/// `-f` of these commands. It takes the place of the access file's flag, which
/// has the same name.
pub(super) fn file() -> Arg {
    Arg::new("file")
        .long("file")
        .short('f')
        .value_name("FILE")
        .help("The fleet file, or $BATON_FLEET_FILE [default: fleet.toml]")
}

/// Which part of the fleet is this process's.
pub(super) fn shards() -> [Arg; 2] {
    [
        Arg::new("shard")
            .long("shard")
            .value_name("N/ALL")
            .conflicts_with("shards")
            .help("Only the clusters of this shard: 3/8 is the third of eight"),
        Arg::new("shards").long("shards").value_name("ALL").help(
            "Only the clusters of the shard that Kubernetes names, by JOB_COMPLETION_INDEX or the host name's number",
        ),
    ]
}

/// Only some clusters.
fn only() -> Arg {
    Arg::new("only")
        .long("only")
        .value_name("ID")
        .action(ArgAction::Append)
        .value_delimiter(',')
        .help("Only this cluster, by account/region/name or by its name; may repeat")
}

/// The command and its subcommands.
pub(super) fn command() -> Command {
    let sub = |name: &'static str, about: &'static str| {
        Command::new(name)
            .about(about)
            .arg(file())
            .args(shards())
            .arg(only())
    };
    Command::new("fleet")
        .about("Sync many clusters, as a fleet file says")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            sub(
                "sync",
                "Sync every cluster once, and try again what did not answer",
            )
            .arg(
                Arg::new("attempts")
                    .long("attempts")
                    .value_name("NUMBER")
                    .value_parser(clap::value_parser!(u32).range(1..=100))
                    .help(
                        "How often a cluster is tried whose upstreams do not answer [default: 3]",
                    ),
            ),
        )
        .subcommand(
            Command::new("validate")
                .about("Find every mistake of a fleet file, without the network")
                .arg(file()),
        )
        .subcommand(
            sub(
                "status",
                "Show every cluster and its last sync, from the files",
            )
            .arg(
                Arg::new("discover")
                    .long("discover")
                    .action(ArgAction::SetTrue)
                    .help("Look for clusters by the rules of the file first; syncs nothing"),
            ),
        )
        .subcommand(Command::new("schema").about("Print the JSON schema of fleet files"))
}

pub(super) async fn run(
    invocation: &Invocation,
    matches: &ArgMatches,
    printer: Printer,
) -> Result<Exit, CliError> {
    own_file(invocation)?;
    match matches.subcommand() {
        Some(("sync", matches)) => sync::sync(invocation, matches, printer).await,
        Some(("validate", _)) => validate::validate(invocation, printer).await,
        Some(("status", matches)) => status::status(invocation, matches, printer).await,
        _ => {
            let text = serde_json::to_string_pretty(&schema()).unwrap_or_default();
            data(&text);
            Ok(Exit::Success)
        }
    }
}

/// Refuses what a fleet file says for itself: who locks plugins must not
/// believe that a flag did it.
pub(super) fn own_file(invocation: &Invocation) -> Result<(), CliError> {
    use clap::parser::ValueSource;
    for flag in ["lock", "plugin"] {
        if invocation.matches.value_source(flag) == Some(ValueSource::CommandLine) {
            return Err(CliError::new(
                Exit::Usage,
                format!("--{flag} does not count for a fleet: its file names plugins and locks"),
            )
            .hint(format!(
                "write `{flag} = \"…\"` into the fleet file (docs/fleet.md)"
            )));
        }
    }
    if invocation.environment.contains_key("BATON_LOCK") {
        tracing::warn!(
            "BATON_LOCK does not count for a fleet: the lock is the one that its file names"
        );
    }
    Ok(())
}

/// The fleet file of a command line.
pub(super) fn path(invocation: &Invocation) -> PathBuf {
    use clap::parser::ValueSource;
    let given = invocation.matches.value_source("file") == Some(ValueSource::CommandLine);
    let own = invocation.value("file").filter(|_| given);
    own.or_else(|| invocation.environment.get(FILE).cloned())
        .unwrap_or_else(|| "fleet.toml".to_owned())
        .into()
}

/// The shard of a command line; without one, everything.
pub(super) fn shard(matches: &ArgMatches, environment: &Environment) -> Result<Shard, CliError> {
    let text = |name: &str| matches.get_one::<String>(name);
    let wrong = |message: String| CliError::new(Exit::Usage, message);
    if let Some(shard) = text("shard") {
        return shard.parse().map_err(wrong);
    }
    let Some(all) = text("shards") else {
        return Ok(Shard::whole());
    };
    let all = all
        .parse()
        .map_err(|_| wrong(format!("--shards is a number, not `{}`", plain(all))))?;
    let index = environment.get("JOB_COMPLETION_INDEX").map(String::as_str);
    let host = environment.get("HOSTNAME").cloned().or_else(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
        Some(name.trim().to_owned())
    });
    Shard::of_kubernetes(all, index, host.as_deref())
        .map_err(wrong)
        .map_err(|error| error.hint("or say it yourself: --shard 3/8"))
}

/// Says every mistake of a file on a line of its own.
pub(super) fn refuse(mistakes: &Mistakes, printer: Printer) -> CliError {
    if !printer.json {
        for mistake in &mistakes.mistakes {
            say(&plain(&mistake.line(&mistakes.path)));
        }
    }
    let count = mistakes.mistakes.len();
    let message = match mistakes.mistakes.as_slice() {
        [one] => format!(
            "{} cannot be used: {}",
            mistakes.path.display(),
            one.message
        ),
        _ => format!(
            "{} cannot be used: it has {count} mistakes",
            mistakes.path.display()
        ),
    };
    CliError::new(Exit::Usage, message)
        .hint("`baton-host fleet validate` lists all mistakes; docs/fleet.md has every key")
}

/// The part of a fleet that a command is about.
struct Chosen {
    shard: Shard,
    only: Vec<String>,
}

impl Chosen {
    fn new(matches: &ArgMatches, environment: &Environment) -> Result<Chosen, CliError> {
        let only = matches
            .get_many::<String>("only")
            .map(|all| all.map(|id| id.trim().to_owned()).collect())
            .unwrap_or_default();
        Ok(Chosen {
            shard: shard(matches, environment)?,
            only,
        })
    }

    fn named(&self, id: &ClusterId, name: &str) -> bool {
        self.only.is_empty()
            || self
                .only
                .iter()
                .any(|only| only == id.as_str() || only == name)
    }

    fn clusters(&self, clusters: &[Cluster]) -> Vec<Cluster> {
        clusters
            .iter()
            .filter(|cluster| self.shard.keeps(&cluster.arn()))
            .filter(|cluster| self.named(&cluster.id, &cluster.name))
            .cloned()
            .collect()
    }

    /// Each is shown by one shard, whether its ARN is known or not.
    fn broken(&self, broken: &[Broken]) -> Vec<Broken> {
        broken
            .iter()
            .filter(|broken| self.shard.keeps(broken.id.as_str()))
            .filter(|broken| match broken.rule {
                true => self.only.is_empty(),
                false => self.named(&broken.id, &broken.name),
            })
            .cloned()
            .collect()
    }

    /// Names that no cluster has. `all` is everything that the fleet has.
    fn unknown(&self, all: &[(ClusterId, String)]) -> Option<CliError> {
        let only = self.only.iter().find(|only| {
            !all.iter()
                .any(|(id, name)| *only == id.as_str() || *only == name)
        })?;
        let ids = all.iter().map(|(id, _)| id.to_string());
        let error = CliError::new(
            Exit::NotFound,
            format!("the fleet has no cluster `{}`", plain(only)),
        );
        Some(match nearest(only, ids).first() {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("`baton-host fleet status` lists all"),
        })
    }
}

/// Reads the file, or says all that is wrong with it.
fn read(path: &Path, printer: Printer) -> Result<Config, CliError> {
    Config::read(path).map_err(|mistakes| refuse(&mistakes, printer))
}

/// Ctrl-C and SIGTERM: the first ends cleanly, the second at once.
fn stopper() -> Stopper {
    let signals = Arc::new(Signals::install());
    let stopper = Stopper::new();
    let teller = stopper.clone();
    tokio::spawn(async move {
        signals.reach(1).await;
        teller.end();
        signals.reach(2).await;
        teller.end_now();
    });
    stopper
}
