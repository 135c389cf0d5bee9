//! `/metrics`: the numbers of the board in the text format of Prometheus.
//!
//! The board counts; here is only how the numbers are called. Escaping is the
//! library's. Time series are few: counters are sums over the fleet, by
//! upstream at most, and per cluster there are the age of its last good sync,
//! its standing and what was found. A plugin chooses the names of its
//! upstreams, so only so many are told apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, prometheus_text};
use prometheus_client::registry::Registry;

mod names;

use super::Site;
use super::state::{self, STATES};
use crate::fleet::board::Standing;
use crate::fleet::board::{BUCKETS, ClusterStatus, Snapshot, SyncResult};
use crate::sandbox::clean;
use crate::upstream::Counts;

pub(super) use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

#[cfg(test)]
pub(super) use names::METRICS;
use names::{
    AGE, ANSWERS, BUILD, BYTES, CALLS, CLUSTERS, DENIED, DURATION, FAILED, FOUND, IN_USE, LOADED,
    LOADED_AT, Metric, PEAK, RELOADS, RETRIES, SLICES, SLOTS, START, SYNCS, THROTTLED, TOKENS, UP,
};

/// Upstreams that are told apart.
const UPSTREAMS: usize = 32;
/// What the others are counted as.
const OTHERS: &str = "others";

/// The numbers now.
///
/// # Errors
/// Never, but for a library that does not promise it.
pub(super) fn text(site: &Site, now: Timestamp) -> Result<String, fmt::Error> {
    of(site.board.snapshot(), site.life.loads(), now)
}

/// Of a board, and of how often the configuration was loaded and could not be.
fn of(board: Snapshot, loads: [u64; 2], now: Timestamp) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("baton");
    registry.register_collector(Box::new(Numbers { board, loads, now }));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Numbers {
    board: Snapshot,
    loads: [u64; 2],
    now: Timestamp,
}

/// Finds a number of an upstream.
type Value = fn(&Counts) -> u64;

/// Values of a metric's labels, in their order, and its value.
type Series<const N: usize, V> = ([String; N], V);

/// Seconds of a moment, as Prometheus counts them.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds since 1970 are exact until long after 200,000"
)]
fn moment(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1_000.0
}

fn counters<const N: usize>(
    out: &mut DescriptorEncoder<'_>,
    metric: &Metric,
    all: impl IntoIterator<Item = Series<N, u64>>,
) -> fmt::Result {
    let mut family = out.encode_descriptor(metric.name, metric.help, None, metric.kind)?;
    for (values, value) in all {
        let labels = labels(metric, &values);
        family
            .encode_family(&labels)?
            .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    Ok(())
}

fn gauges<const N: usize>(
    out: &mut DescriptorEncoder<'_>,
    metric: &Metric,
    all: impl IntoIterator<Item = Series<N, f64>>,
) -> fmt::Result {
    let mut family = out.encode_descriptor(metric.name, metric.help, None, metric.kind)?;
    for (values, value) in all {
        let labels = labels(metric, &values);
        family.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

fn labels<'a>(metric: &Metric, values: &'a [String]) -> Vec<(&'static str, &'a str)> {
    metric
        .labels
        .iter()
        .copied()
        .zip(values.iter().map(String::as_str))
        .collect()
}

impl Collector for Numbers {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        self.syncs(out)?;
        self.clusters(out)?;
        self.upstreams(out)?;
        self.process(out)
    }
}

impl Numbers {
    fn syncs(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let totals = &self.board.totals;
        let results = [
            SyncResult::Succeeded,
            SyncResult::Failed,
            SyncResult::Cancelled,
        ];
        // All of them from the beginning: a rate needs a zero to begin at.
        counters(
            out,
            &SYNCS,
            results.map(|result| {
                let count = totals.syncs.get(&result).copied().unwrap_or_default();
                ([result.name().to_owned()], count)
            }),
        )?;
        let bounds = BUCKETS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(totals.durations.counts).collect();
        out.encode_descriptor(DURATION.name, DURATION.help, None, DURATION.kind)?
            .encode_histogram::<NoLabelSet>(
                totals.durations.sum,
                totals.durations.count(),
                &buckets,
                None,
            )
    }

    fn clusters(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = &self.board.clusters;
        let name = |cluster: &ClusterStatus| clean(cluster.id.as_str(), 400);
        gauges(
            out,
            &AGE,
            all.iter().map(|cluster| {
                let last = cluster.last_good.as_ref().map(|good| good.at);
                let since = last.unwrap_or(self.board.since);
                ([name(cluster)], (moment(self.now) - moment(since)).max(0.0))
            }),
        )?;
        gauges(
            out,
            &UP,
            all.iter().filter_map(|cluster| {
                let up = match cluster.standing() {
                    Standing::New => return None,
                    Standing::Fine => 1.0,
                    Standing::Failing | Standing::Disabled => 0.0,
                };
                Some(([name(cluster)], up))
            }),
        )?;
        gauges(
            out,
            &FOUND,
            all.iter()
                .filter_map(|cluster| Some((name(cluster), cluster.last_good.as_ref()?)))
                .flat_map(|(name, good)| {
                    [
                        ("objects", good.objects),
                        ("entitlements", good.entitlements),
                        ("grants", good.grants),
                    ]
                    .map(|(kind, count)| ([name.clone(), kind.to_owned()], number(count)))
                }),
        )?;
        gauges(
            out,
            &CLUSTERS,
            STATES.map(|state| {
                let count = all.iter().filter(|c| state::state(&c.state) == state);
                ([state.to_owned()], number(count.count() as u64))
            }),
        )
    }

    fn upstreams(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let totals = &self.board.totals;
        let names: BTreeSet<&String> = totals
            .upstreams
            .keys()
            .chain(totals.answers.keys())
            .collect();
        // Names are few and fixed, unless a plugin plays with them.
        let apart: BTreeSet<&String> = names.into_iter().take(UPSTREAMS).collect();
        let label = |name: &String| match apart.contains(name) {
            true => clean(name, 100),
            false => OTHERS.to_owned(),
        };
        let mut sums: BTreeMap<String, Counts> = BTreeMap::new();
        for (name, one) in &totals.upstreams {
            *sums.entry(label(name)).or_default() += *one;
        }
        let wanted: [(&Metric, Value); 6] = [
            (&CALLS, |one| one.calls),
            (&RETRIES, |one| one.retries),
            (&THROTTLED, |one| one.throttled),
            (&DENIED, |one| one.denied),
            (&FAILED, |one| one.failed),
            (&BYTES, |one| one.bytes),
        ];
        for (metric, value) in wanted {
            counters(
                out,
                metric,
                sums.iter().map(|(name, one)| ([name.clone()], value(one))),
            )?;
        }
        let mut answers: BTreeMap<[String; 2], u64> = BTreeMap::new();
        for (name, statuses) in &totals.answers {
            for (status, count) in statuses {
                *answers.entry([label(name), of_http(*status)]).or_default() += count;
            }
        }
        counters(out, &ANSWERS, answers)
    }

    fn process(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Snapshot {
            totals,
            slots,
            configuration,
            ..
        } = &self.board;
        counters(out, &TOKENS, [([], totals.token_refreshes)])?;
        counters(out, &SLICES, [([], totals.cpu_slices)])?;
        gauges(out, &PEAK, [([], number(totals.peak_memory))])?;
        gauges(out, &SLOTS, [([], number(slots.all as u64))])?;
        gauges(out, &IN_USE, [([], number(slots.in_use as u64))])?;
        let [good, bad] = self.loads;
        let loads = [("succeeded", good), ("failed", bad)];
        counters(
            out,
            &RELOADS,
            loads.map(|(result, count)| ([result.to_owned()], count)),
        )?;
        let well = configuration.loaded_at.is_some() && configuration.last_error.is_none();
        gauges(out, &LOADED, [([], f64::from(u8::from(well)))])?;
        let loaded = configuration.loaded_at.map(|at| ([], moment(at)));
        gauges(out, &LOADED_AT, loaded)?;
        gauges(out, &START, [([], moment(self.board.since))])?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        gauges(out, &BUILD, [([version], 1.0)])
    }
}

/// Statuses are a server's words too, and only these are of HTTP.
fn of_http(status: u16) -> String {
    match status {
        100..=599 => status.to_string(),
        _ => OTHERS.to_owned(),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of rows and bytes are exact up to 2^53"
)]
fn number(count: u64) -> f64 {
    count as f64
}
