//! `serve`: a fleet that is kept up to date, and `health-check`, its probe.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};

use super::args::Environment;
use super::exit::{CliError, Exit};
use super::output::{Printer, plain};
use crate::fleet::serve::{self, Endpoint, ListenError, ProbeError};

/// Where is listened, and where a probe asks.
pub(super) const LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8081));

fn listen(help: &'static str) -> Arg {
    Arg::new("listen")
        .long("listen")
        .value_name("ADDRESS:PORT")
        .help(help)
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
    let (text, name) = match matches.get_one::<String>("listen") {
        Some(text) => (text, "--listen"),
        None => match environment.get("BATON_LISTEN") {
            Some(text) => (text, "BATON_LISTEN"),
            None => return Ok(LISTEN),
        },
    };
    let local = text.replacen("localhost:", "127.0.0.1:", 1);
    local.parse().map_err(|_| {
        let hint = match text.strip_prefix(':').map(str::parse::<u16>) {
            Some(Ok(port)) => format!("say 127.0.0.1:{port} for this machine, 0.0.0.0:{port} for all"),
            _ => "give an IP address and a port: 127.0.0.1:8081 for this machine, 0.0.0.0:8081 for all".into(),
        };
        CliError::new(
            Exit::Usage,
            format!("{name} is no address to listen on: `{}`", plain(text)),
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
