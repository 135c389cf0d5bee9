//! What one store may use. The numbers of the contract are in
//! `docs/contract.md`; here are those of the machine.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// Bounds of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of all memories of the store together, in bytes.
    pub memory: usize,
    /// Wall time of one call.
    pub call: Duration,
    /// Wall time of the whole task.
    pub task: Duration,
    /// Guest CPU of one call, in slices of [`super::engine::TICK`].
    pub slices: u64,
    /// Requests in flight.
    pub in_flight: usize,
    /// Body of one request, in bytes.
    pub request_body: usize,
    /// Log records of one task.
    pub log_records: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory: 256 << 20,
            call: Duration::from_secs(120),
            task: Duration::from_secs(2 * 60 * 60),
            slices: 12_000,
            in_flight: 128,
            request_body: 1 << 20,
            log_records: 10_000,
        }
    }
}

/// Guest CPU as slices, rounded up.
#[must_use]
pub fn slices(time: Duration) -> u64 {
    let slices = time.as_nanos().div_ceil(super::engine::TICK.as_nanos());
    u64::try_from(slices).unwrap_or(u64::MAX)
}

/// Elements of one table; a connector of 200 KB has about a thousand.
const TABLE_ELEMENTS: usize = 20_000;

/// Sums all memories of a store, where wasmtime's own limit is per memory.
pub(super) struct MemoryLimiter {
    limit: usize,
    used: usize,
    /// The most that was in use, in bytes.
    pub(super) peak: usize,
    /// Whether a growth was refused.
    pub(super) refused: bool,
}

impl MemoryLimiter {
    pub(super) fn new(limit: usize) -> Self {
        MemoryLimiter {
            limit,
            used: 0,
            peak: 0,
            refused: false,
        }
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let after = self.used.saturating_add(desired.saturating_sub(current));
        if after > self.limit {
            self.refused = true;
            return Ok(false);
        }
        self.used = after;
        self.peak = self.peak.max(after);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        8
    }
    fn tables(&self) -> usize {
        8
    }
    fn memories(&self) -> usize {
        4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_are_summed_not_counted_one_by_one() {
        let mut limiter = MemoryLimiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).unwrap_or(false));
        assert!(!limiter.memory_growing(0, 60, None).unwrap_or(true));
        assert!(limiter.refused);
        assert!(limiter.memory_growing(0, 40, None).unwrap_or(false));
        assert_eq!(limiter.peak, 100);
    }
}
