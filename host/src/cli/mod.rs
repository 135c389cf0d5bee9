//! The command line: from arguments and environment to one command, its output
//! and a typed exit code.
//!
//! Flags come from three places: the host's own, those of the upstream kinds
//! (credentials), and the settings of the plugin. So the command is parsed
//! twice: once leniently for the plugin's path, then, with the plugin loaded
//! and described, for real.

mod args;
mod audit;
mod change;
mod check;
mod command;
mod demo;
mod describe;
mod encode;
mod flags;
mod fleet;
mod logging;
mod output;
mod permissions;
mod plugin;
mod progress;
mod resolve;
mod review;
mod serve;
mod show;
mod signals;
mod sync;
mod tree;
mod who;

use std::ffi::OsString;
use std::process::ExitCode;

pub use crate::exit::{CliError, Exit};

use crate::{exit, nearest};
use args::{Early, Invocation};
use output::Printer;

use crate::provision::Direction;

/// Runs the command and returns its exit code. Never panics on bad input.
#[must_use]
pub fn main(args: Vec<OsString>, environment: Vec<(OsString, OsString)>) -> ExitCode {
    if args.get(1).is_some_and(|arg| arg == "compile-trial") {
        return match crate::sandbox::compile_trial() {
            Ok(trial) => ExitCode::from(trial.status()),
            Err(error) => {
                output::say(&format!("{error:#}"));
                ExitCode::from(1)
            }
        };
    }
    let environment = args::environment(environment);
    let early = args::early(&args, &environment);
    logging::init(&early);
    let printer = Printer::new(early.json);
    let result = tokio::runtime::Builder::new_multi_thread()
        .thread_name("io")
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Failure, format!("cannot start: {error}")))
        .and_then(|runtime| {
            let result = runtime.block_on(run(args, environment, early, printer));
            // A request that hangs must not keep the process.
            runtime.shutdown_background();
            result
        });
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            printer.error(&error);
            error.exit.into()
        }
    }
}

async fn run(
    args: Vec<OsString>,
    environment: args::Environment,
    early: Early,
    printer: Printer,
) -> Result<Exit, CliError> {
    if !args::asks_for_change(&args, &environment) {
        return carry_out(args, environment, early, printer, None).await;
    }
    let signals = signals::Signals::install();
    tokio::select! {
        result = carry_out(args, environment, early, printer, Some(&signals)) => result,
        () = signals.early() => Err(signals::stopped()),
    }
}

async fn carry_out(
    args: Vec<OsString>,
    environment: args::Environment,
    early: Early,
    printer: Printer,
    signals: Option<&signals::Signals>,
) -> Result<Exit, CliError> {
    let invocation = match Invocation::parse(args, environment, early).await? {
        args::Parsed::Run(invocation) => invocation,
        args::Parsed::Printed(exit) => return Ok(exit),
    };
    let command = invocation.command()?;
    if let (command::Command::Sync, Some(signals)) = (&command, signals) {
        // It listens by itself.
        signals.take()?;
    }
    match command {
        command::Command::Sync => sync::sync(&invocation, printer).await,
        command::Command::Check(grantable) => check::check(&invocation, &grantable, printer).await,
        command::Command::Permissions(wanted) => {
            permissions::permissions(&invocation, wanted, printer)
        }
        command::Command::Grant(wanted) => {
            change::change(&invocation, Direction::Grant, &wanted, printer, signals).await
        }
        command::Command::Revoke(wanted) => {
            change::change(&invocation, Direction::Revoke, &wanted, printer, signals).await
        }
        command::Command::AuditVerify(log) => audit::verify(&log, printer),
        command::Command::Review(matches) => {
            let file = invocation.value("file").unwrap_or_default();
            review::run(&matches, &file, printer)
        }
        command::Command::Serve(matches) => serve::serve(&invocation, &matches, printer).await,
        command::Command::HealthCheck(matches) => {
            serve::health_check(&matches, &invocation.environment, printer).await
        }
        command::Command::Fleet(matches) => fleet::run(&invocation, &matches, printer).await,
        command::Command::Capabilities => describe::capabilities(&invocation, printer),
        command::Command::Config => describe::config(&invocation, printer),
        command::Command::Demo { keep } => demo::demo(&invocation, keep.as_deref()).await,
        command::Command::PluginInspect(file) => plugin::inspect(&invocation, &file, printer).await,
        command::Command::PluginApprove(approve) => {
            plugin::approve(&invocation, &approve, printer).await
        }
        command::Command::PluginEncode { module, output } => encode::encode(&module, &output),
        command::Command::Completion(shell) => Ok(args::completion(shell)),
    }
}
