//! `serve`: a fleet that is kept up to date, and `health-check`, its probe.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use jiff::{Span, SpanRelativeTo};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::args::{self, Environment, Invocation};
use super::exit::{CliError, Exit};
use super::flags::variable;
use super::fleet;
use super::output::{Printer, plain};
use super::signals::Signals;
use super::tree::reserved;
use crate::fleet::Stopper;
use crate::fleet::serve::{self, Bound, Endpoint, ListenError, ProbeError, ServeError, Serving};

/// Where is listened, and where a probe asks.
pub(super) const LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8081));

fn listen(help: &'static str) -> Arg {
    Arg::new("listen")
        .long("listen")
        .value_name("ADDRESS:PORT")
        .help(help)
}

/// `serve`.
pub(super) fn command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("serve")
        .about("Keep a fleet up to date on schedule; answer probes, Prometheus and people")
        .after_help(
            "Each flag is also a variable: BATON_FLEET_FILE, BATON_LISTEN, BATON_GRACE. \
             SIGHUP, and any change of the file, loads it again; SIGTERM ends it.",
        )
        .arg(fleet::file())
        .args(fleet::shards())
        .arg(listen(
            "Where to answer; 0.0.0.0:8081 for all, port 0 for any [default: 127.0.0.1:8081]",
        ))
        .arg(text(
            "grace",
            "TIME",
            "How long running syncs may go on after SIGTERM [default: 30s]",
        ))
}

/// An argument of this command, or its variable, and how it is called.
fn given(matches: &ArgMatches, environment: &Environment, name: &str) -> Option<(String, String)> {
    if let Some(text) = matches.get_one::<String>(name) {
        return Some((text.clone(), format!("--{name}")));
    }
    let variable = variable(name);
    Some((environment.get(&variable)?.clone(), variable))
}

/// `30`, `30s`, `2m`.
fn grace(matches: &ArgMatches, environment: &Environment) -> Result<Duration, CliError> {
    let Some((text, name)) = given(matches, environment, "grace") else {
        return Ok(Duration::from_secs(30));
    };
    let seconds = text.trim().parse().ok().map(Duration::from_secs);
    let span = || {
        let span: Span = text.trim().parse().ok()?;
        let time = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        Duration::try_from(time).ok()
    };
    seconds
        .or_else(span)
        .filter(|time| *time <= Duration::from_secs(24 * 60 * 60))
        .ok_or_else(|| {
            CliError::new(
                Exit::Usage,
                format!("{name} is no time up to a day: `{}`", plain(&text)),
            )
            .hint("write it as 30s or 2m")
        })
}

/// Runs `serve`: until SIGTERM or Ctrl-C, which is a good end; at once at the
/// second.
pub(super) async fn serve(
    invocation: &Invocation,
    matches: &ArgMatches,
    printer: Printer,
) -> Result<Exit, CliError> {
    fleet::own_file(invocation)?;
    let environment = &invocation.environment;
    let signals = Signals::install();
    let mut hangups = signal(SignalKind::hangup())
        .map_err(|error| CliError::new(Exit::Failure, format!("cannot hear signals: {error}")))?;
    let serving = Serving {
        file: fleet::path(invocation),
        shard: fleet::shard(matches, environment)?,
        grace: grace(matches, environment)?,
        listen: Bound::take(address(matches, environment)?)?,
        sandbox: args::sandbox()?,
        environment: environment.clone(),
        reserved: reserved(),
    };
    let (stopper, reload) = (Stopper::new(), Arc::new(Notify::new()));
    let work = serve::serve(serving, reload.clone(), stopper.stop());
    let listening = async {
        tokio::join!(
            async {
                while hangups.recv().await.is_some() {
                    reload.notify_one();
                }
            },
            async {
                signals.reach(1).await;
                stopper.end();
                signals.reach(2).await;
                stopper.end_now();
            }
        );
        // What they say is heard by the work.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = work => result.map_err(|error| failed(error, printer))?,
        () = listening => {}
    }
    if signals.seen() > 1 {
        return Err(CliError::new(
            Exit::Interrupted,
            "stopped at once; access files are as they were before",
        ));
    }
    Ok(Exit::Success)
}

/// `health-check`.
pub(super) fn health_check_command() -> Command {
    Command::new("health-check")
        .about("Ask a running `serve` how it is; for probes of containers")
        .arg(
            Arg::new("endpoint")
                .long("endpoint")
                .value_name("health|ready|live")
                .default_value("health")
                .hide_possible_values(true)
                .value_parser(["health", "ready", "live"])
                .help("What to ask"),
        )
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("SECONDS")
                .default_value("5")
                .value_parser(clap::value_parser!(u64).range(1..=3600))
                .help("How long to wait for the answer"),
        )
        .arg(listen(
            "Where `serve` listens [default: $BATON_LISTEN, else 127.0.0.1:8081]",
        ))
}

/// Where to listen or to ask: the argument, the variable, the default.
fn address(matches: &ArgMatches, environment: &Environment) -> Result<SocketAddr, CliError> {
    let Some((text, name)) = given(matches, environment, "listen") else {
        return Ok(LISTEN);
    };
    let local = text.replacen("localhost:", "127.0.0.1:", 1);
    local.parse().map_err(|_| {
        let hint = match text.strip_prefix(':').map(str::parse::<u16>) {
            Some(Ok(port)) => format!("say 127.0.0.1:{port} for this machine, 0.0.0.0:{port} for all"),
            _ => "give an IP address and a port: 127.0.0.1:8081 for this machine, 0.0.0.0:8081 for all".into(),
        };
        CliError::new(
            Exit::Usage,
            format!("{name} is no address to listen on: `{}`", plain(&text)),
        )
        .hint(hint)
    })
}

/// Runs `health-check`: what was said is printed, and the exit code is what a
/// probe looks at.
pub(super) async fn health_check(
    matches: &ArgMatches,
    environment: &Environment,
    printer: Printer,
) -> Result<Exit, CliError> {
    let address = address(matches, environment)?;
    let endpoint = matches
        .get_one::<String>("endpoint")
        .and_then(|name| Endpoint::parse(name))
        .unwrap_or(Endpoint::Health);
    let seconds = matches.get_one::<u64>("timeout").copied().unwrap_or(5);
    let said = serve::ask(address, endpoint, Duration::from_secs(seconds)).await?;
    let value: serde_json::Value = serde_json::from_str(&said.body).map_err(|_| {
        CliError::new(
            Exit::Unavailable,
            format!("{address} does not answer as `baton-host serve` does"),
        )
    })?;
    let text = |value: &serde_json::Value, key: &str| {
        value.get(key).and_then(|text| text.as_str()).map(plain)
    };
    let status = text(&value, "status").unwrap_or_default();
    let reason = value
        .get("details")
        .and_then(|details| text(details, "reason"));
    if printer.json {
        printer.value(&value);
    } else if said.good {
        printer.text(&status);
    }
    if said.good {
        return Ok(Exit::Success);
    }
    Err(CliError::new(
        Exit::Unavailable,
        match reason {
            Some(reason) => format!("{status}: {reason}"),
            None => status,
        },
    ))
}

fn failed(error: ServeError, printer: Printer) -> CliError {
    match error {
        ServeError::Configuration(mistakes) => fleet::refuse(&mistakes, printer),
        ServeError::Thread(_) => CliError::new(Exit::Failure, error.to_string()),
    }
}

impl From<ProbeError> for CliError {
    fn from(error: ProbeError) -> CliError {
        let hint = match &error {
            ProbeError::Unreachable { .. } => {
                Some("is `baton-host serve` running, and does --listen name where it listens?")
            }
            _ => None,
        };
        let error = CliError::new(Exit::Unavailable, error.to_string());
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl From<ListenError> for CliError {
    fn from(error: ListenError) -> CliError {
        let message = error.to_string();
        match error {
            ListenError::InUse(address) => CliError::new(Exit::NotFound, message).hint(format!(
                "is another `baton-host serve` running? --listen names another place: --listen {}:{}",
                address.ip(),
                address.port().saturating_add(1)
            )),
            ListenError::NotHere(_) => {
                CliError::new(Exit::Usage, message).hint("127.0.0.1 is this machine, 0.0.0.0 all its addresses")
            }
            ListenError::NotAllowed(_) => {
                CliError::new(Exit::Usage, message).hint("--listen 127.0.0.1:8081")
            }
            ListenError::Other { .. } => CliError::new(Exit::Failure, message),
        }
    }
}
