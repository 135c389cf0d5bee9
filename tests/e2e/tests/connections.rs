//! A steady sync opens no new connections: as many as requests are in flight at
//! the most, and not one more for the requests that follow.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use cloud_sim::{Size, generate};
use e2e::harness::{Quick, cloud};

/// Requests that a connector keeps in flight.
const WINDOW: u64 = 64;

/// Requests and connections of a sync.
fn sync(size: Size) -> (usize, BTreeMap<String, u64>) {
    let sim = cloud(generate(3, size));
    Quick::sync(&sim, "generated");
    (sim.request_count(), sim.connections())
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
    let (few, before) = sync(small);
    let (many, after) = sync(large);
    assert!(many > few + 500, "{few} and {many} requests");
    // HTTP/2: one connection, whatever goes over it.
    assert_eq!((before["kubernetes"], after["kubernetes"]), (1, 1));
    // HTTP/1.1: one for each request in flight, kept and used again; who finds
    // none idle may get another's that is just done, before its own is there.
    assert!(after["aws"] <= 2 * WINDOW, "{after:?}");
}
