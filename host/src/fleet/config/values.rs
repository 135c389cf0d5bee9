//! Values of a fleet file: durations, sizes, names.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// `90s`, `6h 30m`, `1 day`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let span: Span = text.trim().parse().ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(duration).ok()
}

/// A duration as it would be written: `6h`, `90s`.
pub(super) fn written(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => "0s".to_owned(),
        s if s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s % 3_600 == 0 => format!("{}h", s / 3_600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// `128MiB`, `64 KiB`.
pub(super) fn bytes(text: &str) -> Option<usize> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(1 << shift)
}

pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// As EKS has it: `^[0-9A-Za-z][A-Za-z0-9\-_]*`, at most 100 characters.
pub(in crate::fleet) fn is_cluster(name: &str) -> bool {
    name.len() <= 100
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The look of a secret access key, a session token or a cluster's token: long,
/// of one piece, letters of both cases and digits mixed.
pub(super) fn looks_secret(text: &str) -> bool {
    let piece = |part: &str| {
        part.len() >= 40
            && part.bytes().any(|b| b.is_ascii_lowercase())
            && part.bytes().any(|b| b.is_ascii_uppercase())
            && part.bytes().any(|b| b.is_ascii_digit())
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    text.starts_with("k8s-aws-v1.")
        || text.contains("-----BEGIN")
        || (!text.starts_with("arn:") && text.split(|c: char| !legal(c)).any(piece))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_people_write_them() {
        for (text, seconds) in [
            ("90s", 90),
            ("6h", 21_600),
            ("1h 30m", 5_400),
            ("1h30m", 5_400),
            ("1d", 86_400),
            ("2 hours", 7_200),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "6", "hourly", "-1h", "6 x", "0 3 * * *", "1 month"] {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!(written(Duration::from_secs(5_400)), "90m");
        assert_eq!(written(Duration::from_secs(86_400)), "1d");
    }

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(bytes("128MiB"), Some(128 << 20));
        assert_eq!(bytes(" 64 KiB"), Some(64 << 10));
        for text in [
            "",
            "128",
            "MiB",
            "1.5GiB",
            "10MB",
            "99999999999999999999GiB",
        ] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn a_secret_is_known_by_its_look() {
        for text in [
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "k8s-aws-v1.aHR0cHM6",
            "-----BEGIN RSA PRIVATE KEY-----",
        ] {
            assert!(looks_secret(text), "{text}");
        }
        for text in [
            "all",
            "arn:aws:iam::111122223333:role/aVeryLongNameOfARoleThatReadsClusters2026",
            "AKIAIOSFODNN7EXAMPLE",
            "0b0e3b4c-7f0c-4c55-9d6c-2f8d1f8f9a11",
            "namespaces,service-accounts,config-maps,cluster-roles,roles",
        ] {
            assert!(!looks_secret(text), "{text}");
        }
    }
}
