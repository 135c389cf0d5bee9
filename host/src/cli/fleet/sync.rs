//! `fleet sync`: every cluster once.

use std::sync::Arc;

use clap::ArgMatches;
use jiff::Timestamp;

use super::super::args::{self, Invocation};
use super::super::exit::{CliError, Exit};
use super::super::output::{Printer, plain, say, table};
use super::super::tree::reserved;
use super::display::Display;
use super::{Chosen, path, read, stopper};
use crate::fleet::discover::Found;
use crate::fleet::summary::{RowResult, Share, Summary};
use crate::fleet::{
    Board, ClusterId, ConfigurationState, Discovery, Scheduler, SchedulerOptions, State,
};

pub(super) async fn sync(
    invocation: &Invocation,
    matches: &ArgMatches,
    printer: Printer,
) -> Result<Exit, CliError> {
    let quiet = invocation.switch("quiet")?;
    // From here on Ctrl-C is heard.
    let stopper = stopper();
    let path = path(invocation);
    let chosen = Chosen::new(matches, &invocation.environment)?;
    let config = Arc::new(read(&path, printer)?);
    let known: Vec<(ClusterId, String)> = config
        .clusters
        .iter()
        .map(|cluster| (cluster.id.clone(), cluster.name.clone()))
        .chain(
            config
                .broken
                .iter()
                .map(|broken| (broken.id.clone(), broken.name.clone())),
        )
        .collect();
    if config.rules.is_empty()
        && let Some(error) = chosen.unknown(&known)
    {
        return Err(error);
    }
    let broken = chosen.broken(&config.broken);
    if !printer.json && !quiet {
        for mistake in broken.iter().flat_map(|broken| &broken.mistakes) {
            say(&plain(&mistake.line(&config.path)));
        }
    }

    let board = Arc::new(Board::new());
    board.set_configuration(ConfigurationState {
        path,
        loaded_at: Some(Timestamp::now()),
        last_error: None,
    });
    let mut options = SchedulerOptions::once(invocation.environment.clone(), reserved());
    if let Some(attempts) = matches.get_one::<u32>("attempts") {
        options.attempts = *attempts;
    }
    let scheduler = Scheduler::new(args::sandbox()?, board.clone(), options);
    let listed = chosen.clusters(&config.clusters);
    let hold = scheduler.hold();
    let display = Display::start(board.clone(), quiet || printer.json);
    scheduler.replace_with(listed.clone(), broken.clone()).await;

    let discovery = Discovery::new(invocation.environment.clone(), chosen.shard);
    let stop = stopper.stop();
    let look = async {
        let hold = hold;
        if config.rules.is_empty() {
            return Found::default();
        }
        let found = tokio::select! {
            found = discovery.look(&config) => found,
            () = stop.wanted() => return Found::default(),
        };
        board.set_rules(found.rules.clone());
        let more = chosen.clusters(&found.clusters);
        if !printer.json && !quiet {
            for cluster in &more {
                let rule = cluster.found_by.as_deref().unwrap_or_default();
                say(&format!(
                    "found   {}  by {}",
                    plain(cluster.id.as_str()),
                    plain(rule)
                ));
            }
        }
        let all = [listed, more].concat();
        scheduler.replace_with(all, broken.clone()).await;
        drop(hold);
        found
    };
    let (outcome, found) = tokio::join!(scheduler.run(stopper.stop()), look);
    if let Some(display) = display {
        display.finish().await;
    }
    if stopper.stop().is_wanted() {
        return Err(CliError::new(
            Exit::Interrupted,
            format!(
                "stopped after {} of {} clusters; the access files of the others are as they were before",
                outcome.succeeded.len(),
                board.snapshot().clusters.len()
            ),
        ));
    }
    let mut all = known;
    all.extend(
        found
            .clusters
            .iter()
            .map(|c| (c.id.clone(), c.name.clone())),
    );
    if let Some(error) = chosen.unknown(&all) {
        return Err(error);
    }
    let summary = Summary::new(&outcome, board.snapshot());
    let blind = broken.iter().any(|broken| broken.rule);
    if printer.json {
        printer.value(&summary);
    } else if !quiet {
        printer.text(&text(&summary, &found.warnings));
    }
    Ok(exit(&summary, blind))
}

/// `blind`: a rule could not be used at all.
fn exit(summary: &Summary, blind: bool) -> Exit {
    match summary.succeeded {
        Share::All if blind && summary.good == 0 => Exit::None,
        Share::All if blind => Exit::Some,
        Share::All => Exit::Success,
        Share::Some => Exit::Some,
        Share::None => Exit::None,
    }
}

fn text(summary: &Summary, warnings: &[String]) -> String {
    let mut rows = vec![
        [
            "CLUSTER",
            "RESULT",
            "RESOURCES",
            "ENTITLEMENTS",
            "GRANTS",
            "SECONDS",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for row in &summary.clusters {
        let mut cells = vec![plain(row.status.id.as_str()), word(row.result).to_owned()];
        if row.result == RowResult::Good
            && let Some(good) = &row.status.last_good
        {
            cells.extend([
                good.objects.to_string(),
                good.entitlements.to_string(),
                good.grants.to_string(),
                format!("{:.1}", good.seconds),
            ]);
        }
        rows.push(cells);
    }
    let mut text = table(&rows);
    text.push('\n');
    let mut rows = vec![
        ["UPSTREAM", "CALLS", "RETRIED", "THROTTLED", "BYTES"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (name, counts) in &summary.totals.upstreams {
        rows.push(vec![
            plain(name),
            counts.calls.to_string(),
            counts.retries.to_string(),
            counts.throttled.to_string(),
            counts.bytes.to_string(),
        ]);
    }
    if rows.len() > 1 {
        text.push_str(&table(&rows));
        text.push('\n');
    }
    for row in &summary.clusters {
        let id = plain(row.status.id.as_str());
        if row.result == RowResult::Failed {
            let (message, hint) = match (&row.status.state, &row.status.last_failure) {
                (State::Disabled { why }, failure) => (
                    why,
                    failure.as_ref().and_then(|failure| failure.hint.as_ref()),
                ),
                (_, Some(failure)) => (&failure.message, failure.hint.as_ref()),
                (_, None) => continue,
            };
            text.push_str(&format!("failed: {id}: {}\n", plain(message)));
            if let Some(hint) = hint {
                text.push_str(&format!("  hint: {}\n", plain(hint)));
            }
        }
        if row.result == RowResult::Good {
            for warning in &row.status.warnings {
                text.push_str(&format!("warning: {id}: {}\n", plain(warning)));
            }
        }
    }
    for rule in &summary.rules {
        if let Some(failure) = &rule.last_failure {
            text.push_str(&format!(
                "failed: {} could not look everywhere: {}\n",
                plain(&rule.name),
                plain(&failure.message)
            ));
        }
    }
    for warning in warnings {
        text.push_str(&format!("warning: {}\n", plain(warning)));
    }
    let all = summary.clusters.len();
    text.push_str(&match summary.failed {
        0 => format!("{} of {all} clusters were synced\n", summary.good),
        failed => format!(
            "{} of {all} clusters were synced, {failed} failed; the access files of those are as they were before\n",
            summary.good
        ),
    });
    text
}

fn word(result: RowResult) -> &'static str {
    match result {
        RowResult::Good => "synced",
        RowResult::Failed => "failed",
        RowResult::Stopped => "stopped",
    }
}
