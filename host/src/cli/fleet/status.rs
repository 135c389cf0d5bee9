//! `fleet status`: every cluster and its last sync, from the files.

use clap::ArgMatches;
use jiff::Timestamp;
use serde::Serialize;

use super::super::args::Invocation;
use super::super::exit::{CliError, Exit};
use super::super::output::{Printer, plain, say, table};
use super::{Chosen, path, read};
use crate::fleet::board::Standing;
use crate::fleet::{Board, Cluster, ClusterStatus, Discovery, RuleStatus, State, StatusFile};

#[derive(Serialize)]
struct Shown {
    clusters: Vec<Row>,
    rules: Vec<RuleStatus>,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    status: ClusterStatus,
    /// Whether its access file is there.
    file: bool,
    /// How it stands, where no process runs that could say.
    result: Standing,
}

impl Row {
    fn new(status: ClusterStatus, file: bool) -> Row {
        let result = status.standing();
        Row {
            status,
            file,
            result,
        }
    }
}

pub(super) async fn status(
    invocation: &Invocation,
    matches: &ArgMatches,
    printer: Printer,
) -> Result<Exit, CliError> {
    let chosen = Chosen::new(matches, &invocation.environment)?;
    let config = read(&path(invocation), printer)?;
    let discovery = Discovery::new(invocation.environment.clone(), chosen.shard);
    let found = if matches.get_flag("discover") {
        discovery.look(&config).await
    } else {
        discovery.remembered(&config)
    };
    let everything = config
        .clusters
        .iter()
        .chain(&found.clusters)
        .map(|cluster| (cluster.id.clone(), cluster.name.clone()))
        .chain(
            config
                .broken
                .iter()
                .map(|broken| (broken.id.clone(), broken.name.clone())),
        )
        .collect::<Vec<_>>();
    if let Some(error) = chosen.unknown(&everything) {
        return Err(error);
    }
    let mut clusters: Vec<Cluster> = chosen.clusters(&config.clusters);
    clusters.extend(chosen.clusters(&found.clusters));
    let mut rows: Vec<Row> = clusters
        .iter()
        .map(|cluster| {
            Row::new(
                StatusFile::of(cluster).shown(cluster),
                cluster.output.is_file(),
            )
        })
        .collect();
    for broken in chosen.broken(&config.broken) {
        if !broken.rule {
            rows.push(Row::new(Board::broken(&broken), false));
        }
    }
    rows.sort_by(|a, b| a.status.id.cmp(&b.status.id));
    let blind = found.rules.iter().any(|rule| rule.last_failure.is_some());
    let shown = Shown {
        clusters: rows,
        rules: found.rules,
    };
    if printer.json {
        printer.value(&shown);
    } else {
        printer.text(&text(&shown, Timestamp::now()));
        for mistake in config.mistakes() {
            say(&plain(&mistake.line(&config.path)));
        }
        for warning in &found.warnings {
            say(&format!("warning: {}", plain(warning)));
        }
    }
    Ok(if blind { Exit::Some } else { Exit::Success })
}

fn text(shown: &Shown, now: Timestamp) -> String {
    let mut rows = vec![
        ["CLUSTER", "LAST GOOD", "RESOURCES", "GRANTS", "STATE"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for row in &shown.clusters {
        let status = &row.status;
        let good = status.last_good.as_ref();
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
        rows.push(vec![
            plain(status.id.as_str()),
            good.map_or_else(|| "never".to_owned(), |good| ago(now, good.at)),
            number(good.map(|good| good.objects)),
            number(good.map(|good| good.grants)),
            state(row, now),
        ]);
    }
    let mut text = table(&rows);
    for rule in &shown.rules {
        let looked = match (&rule.last_failure, rule.looked) {
            (Some(failure), _) => format!("could not look everywhere: {}", plain(&failure.message)),
            (None, Some(_)) => format!("found {} clusters now", rule.found),
            (None, None) if rule.found == 0 => {
                "has found nothing yet; `baton-host fleet status --discover` looks".to_owned()
            }
            (None, None) => format!("{} clusters of this table are known by it", rule.found),
        };
        text.push_str(&format!(
            "\nrule {} in {} of {}: {looked}\n",
            plain(&rule.name),
            rule.regions.join(", "),
            rule.account
        ));
    }
    text
}

fn state(row: &Row, now: Timestamp) -> String {
    let status = &row.status;
    let found = if status.found_by_rule { "found, " } else { "" };
    if let State::Disabled { why } = &status.state {
        return format!("cannot be synced: {}", plain(why));
    }
    match (&status.last_failure, &status.last_good) {
        (Some(failure), _) => format!(
            "failed {}: {}",
            ago(now, failure.at),
            plain(&failure.message)
        ),
        (None, Some(_)) if !row.file => "its access file is missing".to_owned(),
        (None, Some(_)) => match status.warnings.len() {
            0 => "good".to_owned(),
            1 => "good, 1 warning".to_owned(),
            count => format!("good, {count} warnings"),
        },
        (None, None) if row.file => format!("{found}its access file was written by no fleet"),
        (None, None) => format!("{found}not synced yet"),
    }
}

/// `5m ago`
fn ago(now: Timestamp, at: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s ago"),
        120..7_200 => format!("{}m ago", seconds / 60),
        7_200..172_800 => format!("{}h ago", seconds / 3_600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}
