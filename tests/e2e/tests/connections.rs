//! A steady sync opens no new connections: as many as requests are in flight at
//! the most, and not one more for the requests that follow.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use cloud_sim::{Size, generate};
use e2e::harness::{Quick, cloud};

/// Requests, connections and the most requests at once of a sync.
fn sync(size: Size) -> (usize, BTreeMap<String, u64>, usize) {
    let sim = cloud(generate(3, size));
    Quick::sync(&sim, "generated");
    let aws = sim
        .peak_concurrency()
        .into_iter()
        .filter(|(service, _)| service != "kubernetes")
        .map(|(_, peak)| peak)
        .sum();
    (sim.request_count(), sim.connections(), aws)
}

#[test]
fn connections_do_not_grow_with_requests() {
    let small = Size {
        entries: 100,
        iam_roles: 100,
        ..Size::default()
    };
    let large = Size {
        entries: 600,
        iam_roles: 600,
        ..small
    };
    let (few, before, _) = sync(small);
    let (many, after, at_once) = sync(large);
    assert!(many > few + 500, "{few} and {many} requests");
    // HTTP/2: one connection, whatever goes over it.
    assert_eq!((before["kubernetes"], after["kubernetes"]), (1, 1));
    // HTTP/1.1: one for each request in flight, kept and used again; who finds
    // none idle may get another's that is just done, before its own is there.
    let most = 2 * u64::try_from(at_once).unwrap() + 2;
    assert!(after["aws"] <= most, "{after:?}, {at_once} at once");
}
