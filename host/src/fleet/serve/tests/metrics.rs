//! `/metrics`, read back by a strict reader.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use super::exposition::{Family, parse};
use super::*;
use crate::fleet::board::{Slots, SyncResult};
use crate::fleet::serve::metrics::{METRICS, text};
use crate::upstream::Counts;

fn read(site: &Site) -> BTreeMap<String, Family> {
    let text = get(site, "/metrics").body;
    parse(&text).unwrap_or_else(|problem| panic!("{problem}\n{text}"))
}

/// A value by its labels, as Prometheus writes them.
#[track_caller]
fn value(all: &BTreeMap<String, Family>, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let family = all
        .values()
        .find(|family| family.samples.iter().any(|sample| sample.name == name))?;
    family
        .samples
        .iter()
        .filter(|sample| sample.name == name)
        .find(|sample| {
            labels
                .iter()
                .all(|(label, value)| sample.label(label) == *value)
        })
        .map(|sample| sample.value)
}

/// A board on which every number is another one.
fn full() -> Site {
    let site = site(vec![
        good(cluster("a"), ago(90)),
        failed(good(cluster("b"), ago(7_200)), ago(60), "x"),
        disabled(cluster("c"), "x"),
        cluster("d"),
    ]);
    site.board.set_slots(Slots { in_use: 3, all: 16 });
    site.board.count(|totals| {
        totals.syncs.insert(SyncResult::Succeeded, 21);
        totals.syncs.insert(SyncResult::Failed, 4);
        for seconds in [0.5, 1.5, 1.7, 5_000.0] {
            totals.durations.add(Duration::from_secs_f64(seconds));
        }
        let counts = Counts {
            calls: 101,
            retries: 102,
            throttled: 103,
            denied: 104,
            failed: 105,
            errors: 106,
            bytes: 107,
        };
        totals.upstreams.insert("eks".into(), counts);
        let statuses = BTreeMap::from([(200, 90), (429, 11), (0, 1), (777, 2)]);
        totals.answers.insert("eks".into(), statuses);
        totals.cpu_slices = 201;
        totals.peak_memory = 202;
        totals.token_refreshes = 203;
    });
    site.life.loaded(true);
    site.life.loaded(true);
    site.life.loaded(false);
    site
}

#[test]
fn every_number_of_the_board_has_its_place() {
    let all = read(&full());
    let cluster = |name: &str| format!("{ACCOUNT}/eu-west-1/{name}");
    for (name, labels, expected) in [
        ("baton_syncs_total", &[("result", "succeeded")][..], 21.0),
        ("baton_syncs_total", &[("result", "failed")], 4.0),
        ("baton_syncs_total", &[("result", "cancelled")], 0.0),
        ("baton_sync_duration_seconds_bucket", &[("le", "1")], 1.0),
        ("baton_sync_duration_seconds_bucket", &[("le", "2")], 3.0),
        ("baton_sync_duration_seconds_bucket", &[("le", "3600")], 3.0),
        ("baton_sync_duration_seconds_bucket", &[("le", "+Inf")], 4.0),
        ("baton_sync_duration_seconds_count", &[], 4.0),
        ("baton_sync_duration_seconds_sum", &[], 5_003.7),
        ("baton_upstream_calls_total", &[("upstream", "eks")], 101.0),
        (
            "baton_upstream_retries_total",
            &[("upstream", "eks")],
            102.0,
        ),
        (
            "baton_upstream_throttled_total",
            &[("upstream", "eks")],
            103.0,
        ),
        ("baton_upstream_denied_total", &[("upstream", "eks")], 104.0),
        ("baton_upstream_failed_total", &[("upstream", "eks")], 105.0),
        ("baton_upstream_bytes_total", &[("upstream", "eks")], 107.0),
        (
            "baton_upstream_answers_total",
            &[("upstream", "eks"), ("status", "429")],
            11.0,
        ),
        (
            "baton_upstream_answers_total",
            &[("upstream", "eks"), ("status", "others")],
            3.0,
        ),
        ("baton_guest_cpu_slices_total", &[], 201.0),
        ("baton_guest_memory_peak_bytes", &[], 202.0),
        ("baton_token_refreshes_total", &[], 203.0),
        ("baton_pool_slots", &[], 16.0),
        ("baton_pool_slots_in_use", &[], 3.0),
        ("baton_clusters", &[("state", "waiting")], 3.0),
        ("baton_clusters", &[("state", "disabled")], 1.0),
        ("baton_clusters", &[("state", "backing-off")], 0.0),
        (
            "baton_configuration_reloads_total",
            &[("result", "succeeded")],
            2.0,
        ),
        (
            "baton_configuration_reloads_total",
            &[("result", "failed")],
            1.0,
        ),
        ("baton_configuration_last_reload_successful", &[], 1.0),
        (
            "baton_configuration_loaded_timestamp_seconds",
            &[],
            1_777_888_740.0,
        ),
        (
            "baton_build_info",
            &[("version", env!("CARGO_PKG_VERSION"))],
            1.0,
        ),
    ] {
        let found = value(&all, name, labels);
        assert!(
            found.is_some_and(|found| (found - expected).abs() < 1e-6),
            "{name}{labels:?}: {found:?} is not {expected}"
        );
    }
    for (name, up, age) in [
        ("a", Some(1.0), Some(90.0)),
        ("b", Some(0.0), Some(7_200.0)),
        ("c", Some(0.0), None),
        ("d", None, None),
    ] {
        let labels = [("cluster", &*cluster(name))];
        assert_eq!(value(&all, "baton_cluster_up", &labels), up, "{name}");
        let found = value(&all, "baton_cluster_last_good_sync_age_seconds", &labels);
        // Without a good sync it is the age of the process.
        assert!(found.is_some(), "{name}");
        assert!(age.is_none() || found == age, "{name}: {found:?}");
    }
    let labels = [("cluster", &*cluster("b")), ("kind", "grants")];
    assert_eq!(value(&all, "baton_cluster_rows", &labels), Some(56_000.0));
    let labels = [("cluster", &*cluster("d"))];
    assert_eq!(value(&all, "baton_cluster_rows", &labels), None);
}

#[test]
fn a_broken_configuration_is_a_number_too() {
    let site = full();
    site.board
        .update_configuration(|configuration| configuration.last_error = Some("x".into()));
    let name = "baton_configuration_last_reload_successful";
    assert_eq!(value(&read(&site), name, &[]), Some(0.0));
}

#[test]
fn names_of_strangers_stay_values_of_labels() {
    let site = site(vec![good(cluster(HOSTILE), ago(90))]);
    site.board.count(|totals| {
        totals.upstreams.insert(HOSTILE.into(), Counts::default());
    });
    let all = read(&site);
    let shown = crate::sandbox::clean(HOSTILE, 400);
    let calls = &all["baton_upstream_calls_total"].samples;
    assert!(shown.starts_with(calls[0].label("upstream").trim_end_matches('…')));
    let ages = &all["baton_cluster_last_good_sync_age_seconds"].samples;
    assert!(ages[0].label("cluster").ends_with(&shown), "{ages:?}");
}

/// Any text at all is one line and comes back as it was, but for characters
/// that a terminal obeys.
#[test]
fn any_name_comes_back() {
    // xorshift: the same texts in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let odd: Vec<char> = "\"\\\n\r\t{}=,# \u{0}\u{7f}é√\u{1f600}\u{202e}anb_1"
        .chars()
        .collect();
    for _ in 0..500 {
        let length = next(40);
        let name: String = (0..length)
            .map(|_| odd[usize::try_from(next(odd.len() as u64)).unwrap()])
            .collect();
        let all = read(&site(vec![good(cluster(&name), ago(90))]));
        let id = ClusterId::new(ACCOUNT, "eu-west-1", &name);
        let shown = crate::sandbox::clean(id.as_str(), 400);
        let ages = &all["baton_cluster_last_good_sync_age_seconds"].samples;
        assert_eq!(ages[0].label("cluster"), shown);
    }
}

#[test]
fn a_plugin_cannot_make_any_number_of_series() {
    let site = site(vec![]);
    site.board.count(|totals| {
        for number in 0..1_000 {
            let name = format!("made-up-{number}");
            let counts = Counts {
                calls: 1,
                ..Counts::default()
            };
            totals.upstreams.insert(name.clone(), counts);
            totals
                .answers
                .insert(name, BTreeMap::from([(200, 1), (404, 1)]));
        }
    });
    let all = read(&site);
    let calls = &all["baton_upstream_calls_total"].samples;
    assert_eq!(calls.len(), 33);
    assert!((calls.iter().map(|sample| sample.value).sum::<f64>() - 1_000.0).abs() < 1e-6);
    assert_eq!(all["baton_upstream_answers_total"].samples.len(), 66);
    let labels = [("upstream", "others")];
    assert_eq!(
        value(&all, "baton_upstream_calls_total", &labels),
        Some(968.0)
    );
}

/// With `UPDATE_DOCS=1` it writes the table.
#[test]
fn the_documented_metrics_are_those_that_there_are() {
    let mut table = "| metric | type | labels | |\n|---|---|---|---|\n".to_owned();
    let all = read(&full());
    let mut documented = BTreeSet::new();
    for metric in METRICS {
        let name = metric.full_name();
        let family = all.get(&name).unwrap_or_else(|| panic!("no {name}"));
        let labels: BTreeSet<&str> = family
            .samples
            .iter()
            .flat_map(|sample| &sample.labels)
            .map(|(label, _)| label.as_str())
            .filter(|label| family.kind != "histogram" || *label != "le")
            .collect();
        assert_eq!(labels, metric.labels.iter().copied().collect(), "{name}");
        assert_eq!(family.help, metric.help, "{name}");
        let labels: Vec<String> = metric.labels.iter().map(|l| format!("`{l}`")).collect();
        let _ = writeln!(
            table,
            "| `{name}` | {} | {} | {} |",
            family.kind,
            labels.join(", "),
            metric.help
        );
        documented.insert(name);
    }
    let there: BTreeSet<String> = all.into_keys().collect();
    assert_eq!(there, documented);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/serving.md");
    let page = std::fs::read_to_string(path).unwrap();
    let begin = "<!-- generated: metrics -->\n";
    let (before, rest) = page.split_once(begin).unwrap();
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    let expected = format!("{before}{begin}{table}<!-- end -->{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &expected).unwrap();
    }
    assert_eq!(page, expected, "docs/serving.md is out of date");
}

#[test]
fn an_empty_board_has_its_numbers_too() {
    let site = site(vec![]);
    let text = text(&site, now()).unwrap();
    let all = parse(&text).unwrap();
    assert_eq!(
        value(&all, "baton_syncs_total", &[("result", "failed")]),
        Some(0.0)
    );
    assert_eq!(all.len(), METRICS.len());
}
