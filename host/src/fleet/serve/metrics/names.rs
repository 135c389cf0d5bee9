//! What the metrics are called, and what they say.

use prometheus_client::metrics::MetricType;

/// One metric, as the documentation has it.
#[derive(Debug, Clone, Copy)]
pub(in crate::fleet::serve) struct Metric {
    /// Without the prefix, and without `_total`.
    pub(super) name: &'static str,
    pub(super) kind: MetricType,
    pub(in crate::fleet::serve) labels: &'static [&'static str],
    pub(in crate::fleet::serve) help: &'static str,
}

#[cfg(test)]
impl Metric {
    /// As Prometheus sees it.
    pub(in crate::fleet::serve) fn full_name(&self) -> String {
        let counts = matches!(self.kind, MetricType::Counter);
        format!("baton_{}{}", self.name, if counts { "_total" } else { "" })
    }
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind: MetricType::Counter,
        labels,
        help,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric {
        name,
        kind: MetricType::Gauge,
        labels,
        help,
    }
}

pub(super) const SYNCS: Metric = counter("syncs", &["result"], "Syncs that ended, by result.");
pub(super) const DURATION: Metric = Metric {
    name: "sync_duration_seconds",
    kind: MetricType::Histogram,
    labels: &[],
    help: "How long syncs took, failed ones included.",
};
pub(super) const CALLS: Metric = counter(
    "upstream_calls",
    &["upstream"],
    "Answers that connectors asked an upstream for.",
);
pub(super) const ANSWERS: Metric = counter(
    "upstream_answers",
    &["upstream", "status"],
    "Answers of an upstream, by HTTP status.",
);
pub(super) const RETRIES: Metric = counter(
    "upstream_retries",
    &["upstream"],
    "Repeated attempts, beyond the first of each call.",
);
pub(super) const THROTTLED: Metric = counter(
    "upstream_throttled",
    &["upstream"],
    "Attempts that the upstream throttled.",
);
pub(super) const DENIED: Metric = counter(
    "upstream_denied",
    &["upstream"],
    "Calls that the host refused at the boundary.",
);
pub(super) const FAILED: Metric = counter(
    "upstream_failed",
    &["upstream"],
    "Calls that ended without an answer of the upstream.",
);
pub(super) const BYTES: Metric = counter(
    "upstream_bytes",
    &["upstream"],
    "Bytes of answers, inflated.",
);
pub(super) const SLICES: Metric = counter(
    "guest_cpu_slices",
    &[],
    "CPU of sandboxes, in slices of 10 ms.",
);
pub(super) const PEAK: Metric = gauge(
    "guest_memory_peak_bytes",
    &[],
    "The most memory that one sandbox had.",
);
pub(super) const SLOTS: Metric = gauge("pool_slots", &[], "Sandboxes that there can be at once.");
pub(super) const IN_USE: Metric = gauge("pool_slots_in_use", &[], "Sandboxes that there are.");
pub(super) const TOKENS: Metric = counter(
    "token_refreshes",
    &[],
    "Credentials and tokens that were made or renewed.",
);
pub(super) const CLUSTERS: Metric = gauge(
    "clusters",
    &["state"],
    "Clusters, by what is done with them now.",
);
pub(super) const AGE: Metric = gauge(
    "cluster_last_good_sync_age_seconds",
    &["cluster"],
    "Age of the last good sync; of a cluster without one, the time since this process began.",
);
pub(super) const UP: Metric = gauge(
    "cluster_up",
    &["cluster"],
    "1 if the last sync of the cluster was good, 0 if it failed or the cluster cannot be synced; absent \
     before the first.",
);
pub(super) const FOUND: Metric = gauge(
    "cluster_rows",
    &["cluster", "kind"],
    "What the last good sync found: objects, entitlements, grants.",
);
pub(super) const RELOADS: Metric = counter(
    "configuration_reloads",
    &["result"],
    "Times that the configuration was loaded.",
);
pub(super) const LOADED: Metric = gauge(
    "configuration_last_reload_successful",
    &[],
    "1 if the configuration on disk is the one in use, 0 if it is broken and the one before goes on.",
);
pub(super) const LOADED_AT: Metric = gauge(
    "configuration_loaded_timestamp_seconds",
    &[],
    "When the configuration in use was loaded.",
);
pub(super) const START: Metric = gauge("start_time_seconds", &[], "When this process began.");
pub(super) const BUILD: Metric = gauge("build_info", &["version"], "Always 1; the version.");

/// All of them, in the order of the documentation.
#[cfg(test)]
pub(in crate::fleet::serve) const METRICS: [Metric; 23] = [
    SYNCS, DURATION, AGE, UP, FOUND, CLUSTERS, CALLS, ANSWERS, RETRIES, THROTTLED, DENIED, FAILED,
    BYTES, TOKENS, SLICES, PEAK, SLOTS, IN_USE, RELOADS, LOADED, LOADED_AT, START, BUILD,
];
