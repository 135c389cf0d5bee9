//! Other people's parser of what we say to Prometheus (`just interop`).

use std::io::Write as _;
use std::process::{Command, Stdio};

use e2e::guests::root;
use serde_json::Value;

use super::http::{get, server};
use super::page::cluster;

const ODD: &str = "a\"b\\c\nd{}=,é \u{1f600}";

#[test]
#[ignore = "needs prometheus_client from PyPI: tests/interop/run.sh"]
fn the_python_client_reads_the_metrics() {
    let mut odd = cluster("x");
    odd.id = baton_host::fleet::ClusterId::new("111122223333", "eu-west-1", ODD);
    let (server, board) = server(vec![odd, cluster("plain")]);
    board.count(|totals| {
        totals.durations.add(std::time::Duration::from_secs(7));
        totals.upstreams.insert("eks".into(), Default::default());
    });
    let text = get(server.address(), "/metrics").unwrap().body;
    let mut child = Command::new(root().join("tests/interop/prometheus.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{text}");
    let samples: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let lines = text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(samples.len(), lines, "every sample was read");
    let ages = samples
        .iter()
        .filter(|sample| sample["name"] == "baton_cluster_last_good_sync_age_seconds");
    let names: Vec<&str> = ages
        .map(|sample| sample["labels"]["cluster"].as_str().unwrap())
        .collect();
    // A line's end is shown as what it is before it gets to the encoder.
    let shown = format!("111122223333/eu-west-1/{}", ODD.replace('\n', "\\u{a}"));
    assert_eq!(names, [shown.as_str(), "111122223333/eu-west-1/plain"]);
    let buckets = samples
        .iter()
        .filter(|sample| sample["name"] == "baton_sync_duration_seconds_bucket");
    assert_eq!(buckets.count(), 11);
}
