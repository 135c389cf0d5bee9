//! What was asked of the upstreams, for the summary, the progress display and
//! the audit log.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// Distinct sentences that are kept.
const SENTENCES: usize = 32;
/// Distinct operations of one upstream that are counted apart. Those of the
/// ceiling are few; a guest can make up any number of names.
const OPERATIONS: usize = 64;
/// Length of an operation's name, in bytes.
const NAME: usize = 128;
/// What the others are counted as.
const OTHERS: &str = "others";

/// Numbers of one operation on one upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Answers that were asked for.
    pub calls: u64,
    /// Repeated attempts, beyond the first of each call.
    pub retries: u64,
    /// Attempts that the upstream throttled.
    pub throttled: u64,
    /// Calls that were refused at the boundary.
    pub denied: u64,
    /// Calls that ended without an answer of the upstream.
    pub failed: u64,
    /// Calls answered with status 400 or above.
    pub errors: u64,
    /// Bytes of answers, inflated.
    pub bytes: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.retries += other.retries;
        self.throttled += other.throttled;
        self.denied += other.denied;
        self.failed += other.failed;
        self.errors += other.errors;
        self.bytes += other.bytes;
    }
}

/// All numbers of a task at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// By upstream, then by operation in the words of its right.
    pub upstreams: BTreeMap<String, BTreeMap<String, Counts>>,
    /// Answers of each upstream by status, each attempt's.
    pub answers: BTreeMap<String, BTreeMap<u16, u64>>,
    /// Requests of the task under way.
    pub in_flight: usize,
    /// Why requests were refused or failed: distinct sentences, in order.
    pub problems: Vec<String>,
}

impl Snapshot {
    /// The sum over one upstream's operations.
    pub fn of(&self, upstream: &str) -> Counts {
        let mut sum = Counts::default();
        for counts in self
            .upstreams
            .get(upstream)
            .into_iter()
            .flat_map(BTreeMap::values)
        {
            sum += *counts;
        }
        sum
    }
}

/// The numbers of a task.
#[derive(Debug, Default)]
pub struct Stats {
    counts: Mutex<BTreeMap<String, BTreeMap<String, Counts>>>,
    answers: Mutex<BTreeMap<String, BTreeMap<u16, u64>>>,
    in_flight: Arc<AtomicUsize>,
    problems: Mutex<Vec<String>>,
    refusals: AtomicU64,
}

/// A request under way.
#[derive(Debug)]
pub struct InFlight(Arc<AtomicUsize>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stats {
    /// Changes the numbers of an operation.
    pub fn count(&self, upstream: &str, operation: &str, change: impl FnOnce(&mut Counts)) {
        let mut all = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let operations = all.entry(upstream.to_owned()).or_default();
        let room = operations.len() < OPERATIONS && operation.len() <= NAME;
        let name = if room || operations.contains_key(operation) {
            operation
        } else {
            OTHERS
        };
        change(operations.entry(name.to_owned()).or_default());
    }

    /// Counts the answer to one attempt.
    pub fn answered(&self, upstream: &str, status: http::StatusCode) {
        let mut all = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(statuses) = all.get_mut(upstream) {
            *statuses.entry(status.as_u16()).or_default() += 1;
        } else {
            all.insert(upstream.to_owned(), BTreeMap::from([(status.as_u16(), 1)]));
        }
    }

    /// Counts a refused request; which one it is, from 1.
    pub fn refused(&self) -> u64 {
        self.refusals.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Begins a request, unless `limit` are under way.
    pub fn begin(&self, limit: usize) -> Option<InFlight> {
        let guard = InFlight(self.in_flight.clone());
        (self.in_flight.fetch_add(1, Ordering::Relaxed) < limit).then_some(guard)
    }

    /// Keeps a sentence for the summary.
    pub fn problem(&self, sentence: &str) {
        let mut all = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < SENTENCES && !all.iter().any(|known| known == sentence) {
            all.push(sentence.to_owned());
        }
    }

    /// All numbers now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            upstreams: self
                .counts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            answers: self
                .answers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            problems: self
                .problems
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }
}
