//! `grant` and `revoke`, and Baton's flags for the same.
//!
//! Ids are looked up in the access file; everything else is decided on what
//! the cluster and AWS say now. The file is not changed: the next sync is.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::args::Invocation;
use super::command::Wanted;
use super::exit::{CliError, Exit};
use super::output::{Printer, data, plain, say};
use super::permissions::{approve_command, protect, reads_only};
use super::progress::{Display, Voice};
use super::resolve::{Ids, Resolved};
use super::signals::Signals;
use super::sync::{access_file, job};
use crate::job::{self, Connection, Job, JobError};
use crate::provision::audit::{Event, Row};
use crate::provision::{
    Applied, Audit, AuditError, AuditTarget, Direction, Done, Guard, Mode, Order, ProvisionError,
    Rule, State, Stop, provision,
};
use crate::sandbox::World;

/// What `--format json` prints.
#[derive(Serialize)]
struct Report<'a> {
    direction: Direction,
    entitlement: &'a str,
    principal: String,
    #[serde(flatten)]
    done: &'a Done,
}

pub(super) async fn change(
    invocation: &Invocation,
    direction: Direction,
    wanted: &Wanted,
    printer: Printer,
    signals: Option<&Signals>,
) -> Result<Exit, CliError> {
    let quiet = invocation.switch("quiet")?;
    let mode = match (invocation.switch("plan")?, invocation.switch("dry-run")?) {
        (_, true) => Mode::DryRun,
        (true, false) => Mode::Plan,
        (false, false) => Mode::Apply,
    };
    let Made {
        order,
        done,
        target,
    } = make(
        invocation,
        direction,
        wanted,
        mode,
        quiet || printer.json,
        signals,
    )
    .await?;
    // Rows have standard output for themselves.
    let rows_here = mode != Mode::Plan && target == AuditTarget::Stdout;
    if printer.json {
        let report = Report {
            direction,
            entitlement: &order.entitlement,
            principal: order.principal(),
            done: &done,
        };
        if rows_here {
            say(&serde_json::to_string(&report).unwrap_or_default());
        } else {
            printer.value(&report);
        }
    } else if !quiet {
        let text = summary(&order, &done, &target, mode != Mode::Apply);
        let text = text.trim_end();
        if rows_here { say(text) } else { data(text) }
    }
    Ok(Exit::Success)
}

/// What a grant would take, in a few lines.
pub(super) async fn outline(invocation: &Invocation, wanted: &Wanted) -> Result<String, CliError> {
    let made = make(invocation, Direction::Grant, wanted, Mode::Plan, true, None).await?;
    Ok(summary(&made.order, &made.done, &made.target, false))
}

/// An order, what came of it, and where it is written down.
struct Made {
    order: Order,
    done: Done,
    target: AuditTarget,
}

async fn make(
    invocation: &Invocation,
    direction: Direction,
    wanted: &Wanted,
    mode: Mode,
    silent: bool,
    signals: Option<&Signals>,
) -> Result<Made, CliError> {
    let job = job(invocation)?;
    if job.plugin.component.world() != World::Provisioning {
        return Err(reads_only(&job));
    }
    let (file, options) = access_file(invocation)?;
    let target = match invocation.value("audit-log") {
        Some(text) => AuditTarget::parse(&text),
        None => AuditTarget::beside(&file),
    };
    let descriptor = job.plugin.component.descriptor();
    let declared = job::declared(descriptor).map_err(JobError::from)?;
    let (region, cluster) = job::place(&job, &declared)?;
    let ids = Ids::open(&file, &options)?;
    ids.of(&region, &cluster, None)?;
    let Resolved { wish, entitlement } = ids.resolve(wanted, descriptor)?;
    let order = Order {
        direction,
        wish,
        entitlement,
        asked_by: invocation
            .value("asked-by")
            .unwrap_or_else(super::who::user),
        operation: Order::new_id().map_err(|error| CliError::new(Exit::Failure, error))?,
        mode,
    };
    let guard = Guard {
        enabled: invocation.switch("provisioning")?,
        protect: protect(invocation)?,
        audit: match mode {
            Mode::Plan => Audit::nowhere(),
            _ => Audit::open(&target).map_err(ProvisionError::from)?,
        },
        lock_seconds: lock_seconds(invocation)?,
        stop: Stop::new(),
    };
    let display = Display::new(silent);
    let work = run(invocation, &job, &ids, &order, &guard, &display, signals);
    let result = work.await;
    display.finish();
    let done = result.map_err(|error| next_step(error, &job, &target))?;
    if done.state == State::AlreadyRevoked
        && let Some(error) = ids.still_inherited(&order.entitlement, &order.wish.principal)?
    {
        return Err(error);
    }
    Ok(Made {
        order,
        done,
        target,
    })
}

/// An error before or after the host took the order over.
enum Failure {
    Before(CliError),
    Order(ProvisionError),
    /// A second signal: nobody knows what is left.
    AtOnce {
        operation: String,
        /// What the log's last row of it could not be written for.
        unwritten: Option<String>,
    },
}

async fn run(
    invocation: &Invocation,
    job: &Job,
    ids: &Ids,
    order: &Order,
    guard: &Guard,
    display: &Display,
    signals: Option<&Signals>,
) -> Result<Done, Failure> {
    let (sandbox, _) = invocation.loaded().map_err(Failure::Before)?;
    let before = |error: JobError| Failure::Before(error.into());
    let connection = job::connect_to_provision(job, &order.operation)
        .await
        .map_err(before)?;
    ids.of(
        &connection.region,
        &connection.cluster,
        Some(&connection.caller.account),
    )
    .map_err(Failure::Before)?;
    display.watch(&connection.upstreams);
    display.doing(match order.mode {
        Mode::Plan => "planning",
        _ => order.direction.name(),
    });
    let observer = Arc::new(Voice(display.clone()));
    let work = provision(sandbox, job, &connection, order, guard, observer);
    tokio::pin!(work);
    let Some(signals) = signals else {
        return work.await.map_err(Failure::Order);
    };
    signals.take().map_err(Failure::Before)?;
    tokio::select! {
        result = &mut work => return result.map_err(Failure::Order),
        () = signals.reach(1) => {}
    }
    guard.stop.stop();
    say("stopping: what was changed is being undone; a second time stops at once");
    tokio::select! {
        result = &mut work => result.map_err(Failure::Order),
        () = signals.reach(2) => {
            let written = at_once(
                &guard.audit,
                order,
                &connection,
                job.plugin.component.digest(),
            );
            Err(Failure::AtOnce {
                operation: order.operation.clone(),
                unwritten: written.err().map(|error| error.to_string()),
            })
        }
    }
}

/// The last row of an order that nobody waits for.
fn at_once(
    audit: &Audit,
    order: &Order,
    connection: &Connection,
    plugin: &str,
) -> Result<(), AuditError> {
    if order.mode == Mode::Plan {
        return Ok(());
    }
    let caller = &connection.caller;
    let partition = caller.arn.split(':').nth(1).unwrap_or("aws");
    let cluster = format!(
        "arn:{partition}:eks:{}:{}:cluster/{}",
        connection.region, caller.account, connection.cluster
    );
    audit.row(&stopped_at_once(
        order,
        &order.principal(),
        &cluster,
        &caller.arn,
        plugin,
    ))
}

fn stopped_at_once<'a>(
    order: &'a Order,
    principal: &'a str,
    cluster: &'a str,
    caller: &'a str,
    plugin: &'a str,
) -> Row<'a> {
    Row {
        operation: &order.operation,
        event: Event::Failed,
        asked_by: &order.asked_by,
        cluster,
        caller,
        entitlement: &order.entitlement,
        principal,
        direction: order.direction,
        plugin,
        upstream: None,
        method: None,
        path: None,
        body: None,
        status: None,
        message: Some("stopped at once: what was changed may be left"),
    }
}

/// The sentence of an error with the command that helps.
fn next_step(failure: Failure, job: &Job, target: &AuditTarget) -> CliError {
    let error = match failure {
        Failure::Before(error) => return error,
        Failure::AtOnce {
            operation,
            unwritten,
        } => {
            let also = unwritten.map(|why| format!("; {why}")).unwrap_or_default();
            return CliError::new(
                Exit::Interrupted,
                format!("stopped at once: what operation {operation} changed may be left{also}"),
            )
            .hint(format!(
                "the same command again completes it, or the opposite takes it back; {} names each request",
                shown(target)
            ));
        }
        Failure::Order(error) => error,
    };
    let hint = match &error {
        ProvisionError::Refused { rule, .. } => match rule {
            Rule::Switch => Some(
                "add --provisioning (BATON_PROVISIONING=true); --plan shows what would be sent"
                    .to_owned(),
            ),
            Rule::Approval => Some(format!(
                "look at it with `baton-host plugin inspect {}`, then `{}`",
                job.plugin.path.display(),
                approve_command(job)
            )),
            _ => None,
        },
        _ => None,
    };
    let error = CliError::from(error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn lock_seconds(invocation: &Invocation) -> Result<u64, CliError> {
    let text = invocation.value("lock-seconds").unwrap_or_default();
    match text.parse() {
        Ok(seconds @ 3..=3600) => Ok(seconds),
        _ => Err(CliError::new(
            Exit::Usage,
            format!("--lock-seconds cannot be `{}`", plain(&text)),
        )
        .hint("it is a number of seconds, 3 to 3600")),
    }
}

fn shown(target: &AuditTarget) -> String {
    match target {
        AuditTarget::File(path) => name(path),
        AuditTarget::Stdout => "the audit log".to_owned(),
    }
}

fn name(path: &Path) -> String {
    plain(&path.display().to_string())
}

/// What a person reads; with `bodies` every request to the last byte.
fn summary(order: &Order, done: &Done, target: &AuditTarget, bodies: bool) -> String {
    let what = plain(&order.entitlement);
    let who = format!(
        "{} {}",
        order.wish.principal.kind,
        plain(&order.wish.principal.id)
    );
    let dry = order.mode == Mode::DryRun;
    let mut text = match (done.state, order.direction) {
        (State::Changed, Direction::Grant) => format!("granted {what}\n     to {who}\n"),
        (State::Changed, Direction::Revoke) => format!("revoked {what}\n   from {who}\n"),
        (State::AlreadyGranted, _) => {
            format!("{who} holds {what} already; nothing was sent\n")
        }
        (State::AlreadyRevoked, _) => {
            format!("{who} does not hold {what}; nothing was sent\n")
        }
        (State::Planned, direction) => format!(
            "to {} {what}\n{} {who}\n{}\n",
            direction.name(),
            match direction {
                Direction::Grant => "      to",
                Direction::Revoke => "     from",
            },
            match (dry, done.changes.len()) {
                (true, 1) => "this change was tried, and not made:".to_owned(),
                (true, n) => format!("these {n} changes were tried, and none was made:"),
                (false, 1) => "this change would be sent:".to_owned(),
                (false, n) => format!("these {n} changes would be sent, in this order:"),
            }
        ),
    };
    for (at, change) in done.changes.iter().enumerate() {
        text.push_str(&format!("\n{}", one(at + 1, change, bodies)));
    }
    if !done.changes.is_empty() {
        text.push('\n');
    }
    for sentence in &done.remaining {
        text.push_str(&format!("still held: {}\n", plain(sentence)));
    }
    for sentence in &done.warnings {
        text.push_str(&format!("warning: {}\n", plain(sentence)));
    }
    if done.state == State::Changed {
        text.push_str(&format!(
            "operation {}, written to {}; the next sync shows it\n",
            done.operation,
            shown(target)
        ));
    }
    text
}

fn one(number: usize, change: &Applied, bodies: bool) -> String {
    let mut text = format!(
        "{number:>2}. {}   [{}]\n",
        plain(&change.summary),
        plain(&change.result),
    );
    if !change.summary.contains(&change.object) {
        text.push_str(&block("object", &change.object));
    }
    let request = format!(
        "{} {} ({})",
        change.method, change.url_path, change.upstream
    );
    text.push_str(&block("send", &request));
    for (label, value) in [("before", &change.before), ("after", &change.after)] {
        if let Some(value) = value {
            text.push_str(&block(label, value));
        }
    }
    if let Some(body) = change.body.as_ref().filter(|_| bodies) {
        let body = serde_json::to_string_pretty(body).unwrap_or_default();
        text.push_str(&block("body", &body));
    }
    text
}

/// A label and text of several lines, none of which a terminal obeys.
fn block(label: &str, value: &str) -> String {
    let mut text = String::new();
    let mut lines = value.trim_end().lines().peekable();
    if lines.peek().is_none() {
        return format!("    {label:<7}-\n");
    }
    for (at, line) in lines.enumerate() {
        let label = if at == 0 { label } else { "" };
        let line = crate::sandbox::clean(line, usize::MAX);
        text.push_str(&format!("    {label:<7}{line}\n"));
    }
    text
}

#[cfg(test)]
mod tests;
