//! A cluster of 1,000 namespaces and 300 cluster roles stays within bounded
//! memory, and its file within a bounded size. A process of its own, because
//! it measures its memory.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../../host/benches/large/mod.rs"]
mod large;

use baton_host::c1z::{FileOptions, Reader};
use baton_host::sync::{Facts, Options, run};
use large::{Large, NAMESPACES, PEOPLE, ROLES, descriptor, peak_kib};

const GRANTS: usize = 100_000;

#[tokio::test]
async fn three_hundred_thousand_entitlements_need_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large.c1z");
    let summary = run(
        &mut Large { grants: GRANTS },
        &descriptor(),
        vec![],
        &Options::default(),
        &Facts::default(),
        &file,
        &FileOptions::default(),
        &mut (),
    )
    .await
    .unwrap();
    let entitlements = ROLES * (NAMESPACES + 1);
    assert_eq!(summary.objects, (ROLES + PEOPLE) as u64);
    assert_eq!(summary.entitlements, entitlements as u64);
    assert_eq!(summary.grants, GRANTS as u64);
    assert_eq!(
        summary
            .warnings
            .iter()
            .map(|warning| warning.reason)
            .collect::<Vec<_>>(),
        ["many-entitlements"]
    );
    assert!(summary.principals_without_row.is_empty());

    let rows = summary.objects + summary.entitlements + summary.grants;
    assert!(
        summary.decoded_bytes / rows < 1_200,
        "{} bytes a row",
        summary.decoded_bytes / rows
    );
    assert!(
        summary.file_bytes < summary.decoded_bytes / 5,
        "{} bytes",
        summary.file_bytes
    );
    let reader = Reader::open(&file, &FileOptions::default()).unwrap();
    assert_eq!(
        reader
            .entitlements(&reader.latest().unwrap())
            .filter(Result::is_ok)
            .count(),
        entitlements
    );
    let peak = peak_kib() >> 10;
    assert!(peak < 300, "{peak} MiB");
}
