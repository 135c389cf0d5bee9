//! Limits of the machine and of the contract: a call that breaks one fails,
//! its instance is gone, and nobody else notices.

use std::time::Duration;

use baton_host::c1z::FileOptions;
use baton_host::sandbox::contract::types::Setting;
use baton_host::sandbox::{CallError, Connector as _};
use baton_host::sync::{Facts, Options, Summary, SyncError};
use e2e::guests::{self, Probe, warnings};

use crate::soon;

async fn limit(probe: Probe) -> String {
    match soon(probe.list()).await {
        Err(CallError::Limit(what)) => what,
        other => panic!("no limit: {other:?}"),
    }
}

#[tokio::test]
async fn a_guest_that_spins_runs_out_of_cpu() {
    let probe = Probe::behaves("spin").limited(|limits| limits.slices = 20);
    assert_eq!(limit(probe).await, "CPU time of one call");
}

#[tokio::test]
async fn a_guest_that_spins_runs_out_of_time() {
    let probe = Probe::behaves("spin").limited(|limits| limits.call = Duration::from_secs(1));
    let error = soon(probe.list()).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout(1)), "{error:?}");
}

#[tokio::test]
async fn a_task_has_an_end_too() {
    let probe = Probe::behaves("spin").limited(|limits| limits.task = Duration::from_secs(1));
    let error = soon(probe.list()).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout(1)), "{error:?}");
}

#[tokio::test]
async fn a_guest_that_allocates_without_end_is_stopped_at_its_memory() {
    let mut task = Probe::behaves("allocate")
        .limited(|limits| limits.memory = 32 << 20)
        .open()
        .await;
    let error = soon(task.list_objects("thing", None, None))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, CallError::Limit(what) if what == "memory"),
        "{error:?}"
    );
    let usage = task.usage();
    assert!(usage.memory <= 32 << 20, "{usage:?}");
    assert!(usage.memory > 24 << 20, "{usage:?}");
}

#[tokio::test]
async fn memory_that_is_refused_is_no_trap() {
    let probe = Probe::behaves("grow").limited(|limits| limits.memory = 32 << 20);
    let pages: usize = probe.warnings().await[0].parse().unwrap();
    assert!(pages <= 512, "{pages} pages of 64 KiB");
    assert!(pages > 384, "{pages} pages of 64 KiB");
}

#[tokio::test]
async fn a_guest_that_recurses_without_end_traps() {
    let error = soon(Probe::behaves("recurse").list()).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Trap(what) if what.contains("stack")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_task_is_over_after_a_trap() {
    let mut task = Probe::behaves("panic").open().await;
    let error = task.list_objects("thing", None, None).await.unwrap_err();
    assert!(matches!(error, CallError::Trap(_)), "{error:?}");
    for _ in 0..2 {
        let error = soon(task.validate()).await.unwrap_err();
        assert!(
            matches!(&error, CallError::Trap(what) if what.contains("earlier call")),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn what_one_call_returns_has_a_limit_in_bytes() {
    let what = limit(Probe::behaves("bytes:16777216")).await;
    assert!(what.contains("8 MiB"), "{what}");
}

/// Syncs the probe into a file of its own.
async fn sync(behaviour: &str) -> Result<Summary, SyncError> {
    let (_, component) = guests::shared().await;
    let mut task = Probe::behaves("").start().await;
    let setting = Setting {
        name: "behaviour".into(),
        value: behaviour.into(),
    };
    let folder = tempfile::tempdir().unwrap();
    soon(baton_host::sync::run(
        &mut task,
        component.descriptor(),
        vec![setting],
        &Options::default(),
        &Facts::default(),
        &folder.path().join("sync.c1z"),
        &FileOptions::default(),
        &mut (),
    ))
    .await
}

#[tokio::test]
async fn a_page_at_its_limits_is_written() {
    for behaviour in [
        "items:1000",
        "bytes:1040384",
        "profile:65528",
        "string:8192",
        "attribute:8192",
    ] {
        let result = sync(behaviour).await;
        assert!(result.is_ok(), "{behaviour}: {result:?}");
    }
}

#[tokio::test]
async fn a_page_beyond_a_limit_ends_the_sync() {
    for (behaviour, reason) in [
        ("items:1001", "1001 items"),
        ("bytes:1052672", "1048576 are allowed"),
        ("profile:65529", "65537 bytes"),
        ("string:8193", "8193 bytes"),
        ("attribute:8193", "8193 bytes"),
        ("token:8193", "8193 bytes"),
        ("same-token", "same page token"),
    ] {
        let error = sync(behaviour).await.expect_err(behaviour);
        let SyncError::Contract { reason: said, .. } = &error else {
            panic!("{behaviour}: {error}");
        };
        assert!(said.contains(reason), "{behaviour}: {error}");
    }
}

#[tokio::test]
async fn one_task_that_breaks_its_limits_is_nothing_to_another() {
    let mut honest = Probe::behaves("count").open().await;
    for behaviour in ["panic", "recurse", "bytes:16777216"] {
        assert!(soon(Probe::behaves(behaviour).list()).await.is_err());
    }
    let page = honest.list_objects("thing", None, None).await.unwrap();
    assert_eq!(warnings(&page), ["1"]);
}
