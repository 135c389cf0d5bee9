//! Which answers are asked for again, and when.
//!
//! Everything that leaves a sandbox is a read, so everything may be repeated.
//! Codes and formulas are those of the AWS SDKs' standard mode; eight attempts
//! within a minute instead of three, because a background read has time.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

/// How often and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Attempts in all.
    pub attempts: u32,
    /// Attempts in all, where no connection could be made.
    pub connects: u32,
    /// From the first attempt to the start of the last.
    pub ceiling: Duration,
    /// First step after a throttle.
    pub throttled: Duration,
    /// First step after anything else.
    pub transient: Duration,
    /// The largest step.
    pub cap: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts: 8,
            connects: 3,
            ceiling: Duration::from_secs(60),
            throttled: Duration::from_secs(1),
            transient: Duration::from_millis(50),
            cap: Duration::from_secs(20),
        }
    }
}

/// What an answer means for the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It is the answer.
    Done,
    /// Too many requests; the upstream may have said when.
    Throttled(Option<Duration>),
    /// It may go better next time.
    Transient(Option<Duration>),
    /// The token was not taken.
    Stale,
}

const THROTTLING: &[&str] = &[
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottledException",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "TransactionInProgressException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "RequestThrottled",
    "SlowDown",
    "PriorRequestNotComplete",
    "EC2ThrottledException",
];
const TRANSIENT: &[&str] = &[
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "ServiceFailure",
];

/// An answer of AWS, by status and error code.
pub fn aws(status: StatusCode, code: &str, headers: &HeaderMap) -> Class {
    if status.as_u16() < 400 {
        return Class::Done;
    }
    let after = milliseconds(headers).or_else(|| seconds(headers));
    if status == StatusCode::TOO_MANY_REQUESTS || THROTTLING.contains(&code) {
        return Class::Throttled(after);
    }
    if matches!(status.as_u16(), 500 | 502 | 503 | 504) || TRANSIENT.contains(&code) {
        return Class::Transient(after);
    }
    Class::Done
}

/// An answer of a Kubernetes API server.
pub fn kubernetes(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Class {
    match status.as_u16() {
        401 => Class::Stale,
        429 => Class::Throttled(seconds(headers).or_else(|| details(body))),
        500 | 502 | 503 | 504 => Class::Transient(seconds(headers).or_else(|| details(body))),
        _ => Class::Done,
    }
}

fn milliseconds(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("x-amz-retry-after")?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_millis)
}

fn seconds(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

fn details(body: &[u8]) -> Option<Duration> {
    let status: serde_json::Value = serde_json::from_slice(body).ok()?;
    let seconds = status.get("details")?.get("retryAfterSeconds")?.as_u64()?;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// How long to wait before retry number `retry` (from 0): full jitter, and
/// what the upstream asked for, at most 5 s more than the jitter for AWS's
/// sake and ours. `random` is in 0..=1.
pub fn delay(policy: &Policy, class: Class, retry: u32, random: f64) -> Duration {
    let (base, after) = match class {
        Class::Throttled(after) => (policy.throttled, after),
        Class::Transient(after) => (policy.transient, after),
        Class::Done | Class::Stale => return Duration::ZERO,
    };
    let step = base
        .saturating_mul(1 << retry.min(16))
        .min(policy.cap)
        .mul_f64(random.clamp(0.0, 1.0));
    after.map_or(step, |after| {
        step.max(after.min(step + Duration::from_secs(5)))
    })
}

/// A number in 0..=1.
pub fn random() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn throttles_of_both_services_are_recognised() {
        let none = HeaderMap::new();
        for (status, code) in [
            (400, "Throttling"),
            (429, "TooManyRequestsException"),
            (429, "ThrottlingException"),
            (429, ""),
            (400, "RequestLimitExceeded"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(aws(status, code, &none), Class::Throttled(None), "{code}");
        }
        for (status, code) in [
            (200, ""),
            (403, "AccessDenied"),
            (403, "ExpiredToken"),
            (404, "ResourceNotFoundException"),
            (409, "LimitExceeded"),
            (501, ""),
        ] {
            assert_eq!(
                aws(StatusCode::from_u16(status).unwrap(), code, &none),
                Class::Done,
                "{code}"
            );
        }
        for status in [500, 502, 503, 504] {
            assert_eq!(
                aws(StatusCode::from_u16(status).unwrap(), "x", &none),
                Class::Transient(None)
            );
        }
    }

    #[test]
    fn what_the_upstream_asks_for_is_kept() {
        let busy = StatusCode::TOO_MANY_REQUESTS;
        assert_eq!(
            aws(busy, "", &headers("x-amz-retry-after", "1500")),
            Class::Throttled(Some(Duration::from_millis(1500)))
        );
        assert_eq!(
            kubernetes(busy, &headers("retry-after", "3"), b""),
            Class::Throttled(Some(Duration::from_secs(3)))
        );
        let body = br#"{"kind":"Status","details":{"retryAfterSeconds":2}}"#;
        assert_eq!(
            kubernetes(busy, &HeaderMap::new(), body),
            Class::Throttled(Some(Duration::from_secs(2)))
        );
        let policy = Policy::default();
        assert_eq!(
            delay(
                &policy,
                Class::Throttled(Some(Duration::from_secs(3))),
                0,
                0.5
            ),
            Duration::from_secs(3)
        );
        assert_eq!(
            delay(
                &policy,
                Class::Throttled(Some(Duration::from_secs(3600))),
                0,
                0.0
            ),
            Duration::from_secs(5)
        );
    }

    #[test]
    fn delays_grow_to_the_cap_and_are_jittered() {
        let policy = Policy::default();
        let at = |retry, random| delay(&policy, Class::Throttled(None), retry, random);
        assert_eq!(
            (at(0, 1.0), at(3, 1.0), at(30, 1.0)),
            (Duration::from_secs(1), Duration::from_secs(8), policy.cap)
        );
        assert_eq!(at(5, 0.0), Duration::ZERO);
        assert_eq!(
            delay(&policy, Class::Transient(None), 1, 1.0),
            Duration::from_millis(100)
        );
    }
}
