//! The status page: what a person on call wants to see first.
//!
//! Everything is in the HTML, so it works without a script and without any
//! other network; a filter is a form. The script filters while one types. The
//! page loads itself again only when asked to, because a page that changes
//! under a reader takes the place away from keyboards and screen readers.
//! Every name on it may come from a plugin or a cluster: all text is escaped,
//! and the policy allows this style and this script only, by their digests.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::health::{self, Life, seconds};
use crate::fleet::board::Standing;
use crate::fleet::board::{ClusterStatus, Failure, RuleStatus, Snapshot, State};
use crate::html::{count, digest, escape};
use crate::sandbox::clean;
use crate::sync::Phase;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Seconds after which a page that was asked to loads itself again.
const REFRESH: u32 = 30;
/// Bytes of an error or a warning that the page shows; the log has the rest.
const SENTENCE: usize = 600;
/// Warnings of one cluster that the page shows.
const WARNINGS: usize = 20;

/// The Content Security Policy of the page.
pub(super) fn policy() -> String {
    format!(
        "default-src 'none'; style-src {}; script-src {}; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'",
        digest(STYLE),
        digest(SCRIPT)
    )
}

/// What a reader wants to see.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wanted {
    /// Only clusters with this text.
    text: String,
    /// Only clusters of this standing, or `syncing`.
    state: String,
    refresh: bool,
}

impl Wanted {
    pub(super) fn parse(query: &str) -> Wanted {
        let mut wanted = Wanted::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "q" => wanted.text = clean(value.trim(), 200),
                "state" => wanted.state = clean(&value, 20),
                "refresh" => wanted.refresh = true,
                _ => {}
            }
        }
        wanted
    }

    fn wants(&self, cluster: &ClusterStatus) -> bool {
        let state = match self.state.as_str() {
            "" => true,
            "syncing" => matches!(cluster.state, State::Syncing { .. }),
            "warnings" => !cluster.warnings.is_empty(),
            name => cluster.standing().name() == name,
        };
        if !state || self.text.is_empty() {
            return state;
        }
        let mut all = format!(
            "{} {} {} {}",
            cluster.id,
            cluster.account.as_deref().unwrap_or_default(),
            cluster.region,
            cluster.name
        );
        if let Some(failure) = &cluster.last_failure {
            let _ = write!(all, " {}", failure.message);
        }
        all.to_lowercase().contains(&self.text.to_lowercase())
    }
}

/// The page.
pub(super) fn page(board: &Snapshot, life: &Life, wanted: &Wanted, now: Timestamp) -> String {
    let mut clusters: Vec<(Standing, &ClusterStatus)> = board
        .clusters
        .iter()
        .map(|cluster| (cluster.standing(), cluster))
        .collect();
    clusters.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| one.id.cmp(&other.id)));
    let bad = clusters
        .iter()
        .filter(|(standing, _)| matches!(standing, Standing::Failing | Standing::Disabled))
        .count();
    let title = match bad {
        0 => "baton-host".to_owned(),
        bad => format!("({bad}) baton-host"),
    };
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n{}<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#clusters\">Skip to the clusters</a>\n",
        if wanted.refresh {
            format!("<meta http-equiv=\"refresh\" content=\"{REFRESH}\">\n")
        } else {
            String::new()
        }
    );
    head(&mut html, board, life, &clusters, now);
    html.push_str("<main>\n");
    form(&mut html, wanted);
    table(&mut html, &clusters, wanted, now);
    rules(&mut html, &board.rules, now);
    let _ = write!(
        html,
        "</main>\n<footer><p>baton-host {} \u{b7} <a href=\"/status.json\">status.json</a> \u{b7} \
         <a href=\"/metrics\">metrics</a> \u{b7} <a href=\"/health\">health</a></p></footer>\n\
         <script>{SCRIPT}</script>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    );
    html
}

fn head(
    html: &mut String,
    board: &Snapshot,
    life: &Life,
    clusters: &[(Standing, &ClusterStatus)],
    now: Timestamp,
) {
    let number = |wanted: Standing| clusters.iter().filter(|(is, _)| *is == wanted).count();
    let syncing = board
        .clusters
        .iter()
        .filter(|cluster| matches!(cluster.state, State::Syncing { .. }))
        .count();
    let (failing, disabled) = (number(Standing::Failing), number(Standing::Disabled));
    let verdict = match (clusters.len(), failing + disabled) {
        (0, _) => "There is no cluster to sync.".to_owned(),
        (1, 0) => "Nothing is wrong with the one cluster.".to_owned(),
        (all, 0) => format!("Nothing is wrong with the {} clusters.", count(all as u64)),
        (all, bad) => format!(
            "{} of {} cluster{} need{} a look.",
            count(bad as u64),
            count(all as u64),
            if all == 1 { "" } else { "s" },
            if bad == 1 { "s" } else { "" },
        ),
    };
    let _ = writeln!(
        html,
        "<header>\n<h1>Fleet</h1>\n<p class=\"lead\"><strong>{verdict}</strong> As of {}, up for {}; \
         {} of {} places of the sandbox are in use.</p>",
        time(now, now),
        span(now.as_second() - board.since.as_second()),
        board.slots.in_use,
        board.slots.all,
    );
    let note = |html: &mut String, text: &str| {
        let _ = writeln!(html, "<p class=\"note\" role=\"alert\">{text}</p>");
    };
    match life.phase() {
        health::Phase::Starting => note(html, "The configuration is being loaded."),
        health::Phase::Stopping => note(
            html,
            "It was asked to stop: what runs ends, nothing new begins.",
        ),
        health::Phase::Serving => {}
    }
    if let Some(problem) = &board.configuration.last_error {
        note(
            html,
            &format!(
                "<b>The configuration on disk is broken; the one of {} goes on.</b> {}",
                board
                    .configuration
                    .loaded_at
                    .map_or_else(|| "before".to_owned(), |at| time(at, now)),
                escape(&clean(problem, 4 * SENTENCE)),
            ),
        );
    }
    html.push_str("<ul class=\"tiles\">\n");
    for (name, state, number) in [
        ("failing", "failing", failing),
        ("disabled", "disabled", disabled),
        ("new", "new", number(Standing::New)),
        ("fine", "fine", number(Standing::Fine)),
        ("syncing now", "syncing", syncing),
    ] {
        let _ = writeln!(
            html,
            "<li class=\"tile {state}{}\"><a href=\"/?state={state}\"><b>{}</b> <span>{name}</span></a></li>",
            if number == 0 { " none" } else { "" },
            count(number as u64),
        );
    }
    html.push_str("</ul>\n</header>\n");
}

fn form(html: &mut String, wanted: &Wanted) {
    let _ = write!(
        html,
        "<form role=\"search\" method=\"get\" action=\"/\">\n<label>Filter <input type=\"search\" name=\"q\" id=\"q\" \
         value=\"{}\" placeholder=\"account, region, name, error\" autocomplete=\"off\"></label>\n\
         <label>Show <select name=\"state\">",
        escape(&wanted.text)
    );
    for (value, name) in [
        ("", "all"),
        ("failing", "failing"),
        ("disabled", "disabled"),
        ("new", "new"),
        ("fine", "fine"),
        ("syncing", "syncing now"),
        ("warnings", "with warnings"),
    ] {
        let _ = write!(
            html,
            "<option value=\"{value}\"{}>{name}</option>",
            if wanted.state == value {
                " selected"
            } else {
                ""
            }
        );
    }
    let _ = writeln!(
        html,
        "</select></label>\n<label class=\"check\"><input type=\"checkbox\" name=\"refresh\" value=\"1\"{}> \
         load again every {REFRESH} s</label>\n<button>Apply</button>\n</form>",
        if wanted.refresh { " checked" } else { "" }
    );
}

fn table(
    html: &mut String,
    clusters: &[(Standing, &ClusterStatus)],
    wanted: &Wanted,
    now: Timestamp,
) {
    let shown: Vec<_> = clusters
        .iter()
        .filter(|(_, cluster)| wanted.wants(cluster))
        .collect();
    let _ = write!(
        html,
        "<h2 id=\"clusters\" tabindex=\"-1\">Clusters</h2>\n<p role=\"status\"><span id=\"shown\">{}</span> of {} shown</p>\n",
        shown.len(),
        clusters.len()
    );
    if shown.is_empty() {
        if !clusters.is_empty() {
            html.push_str("<p>No cluster is like that. <a href=\"/\">Show all</a></p>\n");
        }
        return;
    }
    // A region of its own that can be scrolled with the keyboard.
    html.push_str(
        "<div class=\"scroll\" role=\"region\" aria-labelledby=\"clusters\" tabindex=\"0\">\n<table>\n<thead><tr>\
         <th scope=\"col\">Cluster</th><th scope=\"col\">State</th><th scope=\"col\">Last good sync</th>\
         <th scope=\"col\">Found</th><th scope=\"col\">Next</th><th scope=\"col\">Trouble</th></tr></thead>\n\
         <tbody id=\"rows\">\n",
    );
    for (standing, cluster) in shown {
        row(html, *standing, cluster, now);
    }
    html.push_str("</tbody>\n</table>\n</div>\n");
}

/// The rules by which clusters are found.
fn rules(html: &mut String, rules: &[RuleStatus], now: Timestamp) {
    if rules.is_empty() {
        return;
    }
    html.push_str(
        "<h2 id=\"rules\">Rules that find clusters</h2>\n<div class=\"scroll\" role=\"region\" \
         aria-labelledby=\"rules\" tabindex=\"0\">\n<table>\n<thead><tr><th scope=\"col\">Rule</th>\
         <th scope=\"col\">Looks in</th><th scope=\"col\">Found</th><th scope=\"col\">Looked</th>\
         <th scope=\"col\">Trouble</th></tr></thead>\n<tbody>\n",
    );
    for rule in rules {
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th><td>{} {}</td><td>{}</td><td>{}</td><td class=\"trouble\">",
            escape(&clean(&rule.name, 300)),
            escape(&clean(&rule.account, 100)),
            escape(&clean(&rule.regions.join(", "), SENTENCE)),
            count(rule.found as u64),
            rule.looked
                .map_or_else(|| "never".to_owned(), |at| time(at, now)),
        );
        if let Some(failure) = &rule.last_failure {
            trouble(html, failure, now);
        }
        html.push_str("</td></tr>\n");
    }
    html.push_str("</tbody>\n</table>\n</div>\n");
}

/// What failed, when, and what to do.
fn trouble(html: &mut String, failure: &Failure, now: Timestamp) {
    let _ = write!(
        html,
        "<p>{} <span class=\"soft\">{}</span></p>",
        escape(&clean(&failure.message, SENTENCE)),
        time(failure.at, now)
    );
    if let Some(hint) = &failure.hint {
        let _ = write!(
            html,
            "<p class=\"hint\"><b>Try:</b> {}</p>",
            escape(&clean(hint, SENTENCE))
        );
    }
}

fn row(html: &mut String, standing: Standing, cluster: &ClusterStatus, now: Timestamp) {
    let name = standing.name();
    let _ = write!(
        html,
        "<tr><th scope=\"row\">{}",
        escape(&clean(&cluster.id.to_string(), 300))
    );
    if cluster.found_by_rule {
        html.push_str(" <span class=\"soft\">found by rule</span>");
    }
    let _ = write!(
        html,
        "</th>\n<td><span class=\"badge {name}\">{name}</span> <span class=\"soft\">{}</span></td>\n<td>",
        doing(&cluster.state, now)
    );
    match &cluster.last_good {
        Some(good) => {
            let _ = write!(
                html,
                "{} <span class=\"soft\">in {}</span></td>\n<td class=\"found\">{} objects<br>{} entitlements<br>{} grants",
                time(good.at, now),
                duration(good.seconds),
                count(good.objects),
                count(good.entitlements),
                count(good.grants),
            );
        }
        None => html.push_str("never</td>\n<td>\u{2013}"),
    }
    html.push_str("</td>\n<td>");
    match cluster.next {
        Some(next) => html.push_str(&time(next, now)),
        None => html.push('\u{2013}'),
    }
    html.push_str("</td>\n<td class=\"trouble\">");
    let told = cluster
        .last_failure
        .as_ref()
        .map(|failure| &failure.message);
    if let State::Disabled { why } = &cluster.state
        && told != Some(why)
    {
        let _ = write!(html, "<p>{}</p>", escape(&clean(why, SENTENCE)));
    }
    if let Some(failure) = &cluster.last_failure
        && standing != Standing::Fine
    {
        trouble(html, failure, now);
    }
    if !cluster.warnings.is_empty() {
        let all = cluster.warnings.len();
        let _ = write!(
            html,
            "<details><summary>{all} warning{}</summary><ul>",
            if all == 1 { "" } else { "s" }
        );
        for warning in cluster.warnings.iter().take(WARNINGS) {
            let _ = write!(html, "<li>{}</li>", escape(&clean(warning, SENTENCE)));
        }
        if all > WARNINGS {
            let _ = write!(html, "<li>and {} more</li>", all - WARNINGS);
        }
        html.push_str("</ul></details>");
    }
    html.push_str("</td></tr>\n");
}

/// What the scheduler does with a cluster, as HTML.
fn doing(state: &State, now: Timestamp) -> String {
    match state {
        State::Waiting => "waits".to_owned(),
        State::Queued => "in the queue".to_owned(),
        State::Syncing { phase, rows, since } => format!(
            "syncing: {}, {} rows, for {}",
            phase_name(*phase),
            count(*rows),
            span(now.as_second() - since.as_second())
        ),
        State::BackingOff { until, attempts } => format!(
            "tries again {} after {attempts} failure{}",
            time(*until, now),
            if *attempts == 1 { "" } else { "s" }
        ),
        State::Disabled { .. } => "is not synced".to_owned(),
        State::Done => "done".to_owned(),
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Opening => "opening",
        Phase::Validating => "asking upstreams",
        Phase::Resources => "objects",
        Phase::Entitlements => "entitlements",
        Phase::Grants => "grants",
        Phase::Importing => "accounts of another file",
        Phase::Expanding => "inherited access",
        Phase::Writing => "writing",
    }
}

/// A moment, from now, as HTML; the exact one for programs and on hovering.
fn time(at: Timestamp, now: Timestamp) -> String {
    let exact = seconds(at);
    let off = at.as_second() - now.as_second();
    let text = match off {
        0 => exact.replace('T', " ").replace('Z', " UTC"),
        off if off > 0 => format!("in {}", span(off)),
        off => format!("{} ago", span(-off)),
    };
    format!("<time datetime=\"{exact}\" title=\"{exact}\">{text}</time>")
}

/// A number of seconds as people say it.
fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..120 => format!("{seconds}\u{a0}s"),
        120..7_200 => format!("{}\u{a0}min", seconds / 60),
        7_200..172_800 => format!("{}\u{a0}h", seconds / 3_600),
        _ => format!("{}\u{a0}days", seconds / 86_400),
    }
}

fn duration(seconds: f64) -> String {
    if seconds < 120.0 {
        format!("{seconds:.1}\u{a0}s")
    } else {
        format!("{:.0}\u{a0}min", seconds / 60.0)
    }
}
