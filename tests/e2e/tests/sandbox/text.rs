//! Text of a stranger: what it may look like, and how much of it there is.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use baton_host::sandbox::{CallError, Observer};
use e2e::guests::Probe;
use e2e::logs;

#[tokio::test]
async fn a_log_record_is_one_line_without_control_characters() {
    logs::collect();
    Probe::behaves("hostile-log:20000").list().await.unwrap();
    let records = logs::lines("forged");
    assert_eq!(records.len(), 1);
    let record = &records[0];
    assert!(!record.contains(char::is_control), "{record:?}");
    assert!(!record.contains('\u{202e}'), "{record:?}");
    assert!(
        record
            .contains("first\\u{d}\\u{a}2026-01-01 INFO forged\\u{1b}[2J\\u{202e} k\\u{a}=v\\u{7}"),
        "{record:?}"
    );
    // A level that nobody knows is the lowest.
    assert!(record.starts_with("DEBUG"), "{record:?}");
    assert!(record.contains("[connector]probe"), "{record:?}");

    let long = logs::lines("yyyyyyyy");
    assert_eq!(long.len(), 1);
    assert!(long[0].len() < (8 << 10) + 200, "{} bytes", long[0].len());
}

#[tokio::test]
async fn a_flood_of_log_records_is_cut_and_counted() {
    logs::collect();
    Probe::behaves("log:20000")
        .limited(|limits| limits.log_records = 50)
        .list()
        .await
        .unwrap();
    assert_eq!(logs::lines("[message]record ").len(), 50);
    // Said when the store is dropped, which may be a moment after the answer.
    let told = crate::soon(async {
        loop {
            let told = logs::lines("19950 log records of the connector were dropped");
            if !told.is_empty() {
                return told;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(told.len(), 1);
}

#[tokio::test]
async fn an_error_of_a_connector_is_safe_to_print() {
    let error = Probe::behaves("hostile-error").list().await.unwrap_err();
    let CallError::Connector(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.kind, "other\\u{1b}[2J");
    assert_eq!(error.message, "bad\\u{d}\\u{a}thing\\u{1b}[31m");
    assert_eq!(
        error.attributes,
        [("code\\u{a}".to_owned(), "a\\u{1b}b".to_owned())]
    );
}

/// Counts reports and keeps the latest.
struct Counts(Arc<(AtomicUsize, Mutex<String>)>);

impl Observer for Counts {
    fn progress(&self, _done: u64, _total: Option<u64>, what: &str) {
        self.0.0.fetch_add(1, Ordering::AcqRel);
        what.clone_into(&mut self.0.1.lock().unwrap());
    }
}

#[tokio::test]
async fn a_flood_of_progress_is_a_few_short_reports() {
    let heard = Arc::new((AtomicUsize::new(0), Mutex::new(String::new())));
    let begin = Instant::now();
    Probe::behaves("progress:200000")
        .heard_by(Counts(heard.clone()))
        .list()
        .await
        .unwrap();
    let at_most = begin.elapsed().as_millis() / Duration::from_millis(20).as_millis() + 1;
    let count = heard.0.load(Ordering::Acquire);
    assert!(count >= 1, "nobody heard anything");
    assert!(
        count as u128 <= at_most,
        "{count} reports, at most {at_most}"
    );
    let what = heard.1.lock().unwrap().clone();
    assert!(what.starts_with("busy\\u{1b}[2Jzzz"), "{what:?}");
    assert!(what.len() < 100, "{what:?}");
}
