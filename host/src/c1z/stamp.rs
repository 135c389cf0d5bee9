//! Ids and times of syncs, as the file holds them.
//!
//! Times are text in the local wall clock without a zone, because readers
//! compare them as text and other writers do the same.

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp, ZonedDateTime};

use super::Error;

const LAYOUT: &str = "%Y-%m-%d %H:%M:%S%.f";

/// The second that KSUIDs count from, in Unix time.
const KSUID_EPOCH: i64 = 1_400_000_000;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// `YYYY-MM-DD HH:MM:SS.fffffffff`, zeros at the end of the fraction left out.
pub(super) fn text(time: &ZonedDateTime) -> String {
    time.strftime(LAYOUT).to_string()
}

/// The time of the end of a sync: `now`, but after `newest` where the clock
/// was set back (summer time ends too), since readers show the sync whose text
/// is greatest.
pub(super) fn after(now: String, newest: Option<&str>) -> String {
    let Some(newest) = newest.filter(|newest| *newest >= now.as_str()) else {
        return now;
    };
    DateTime::strptime(LAYOUT, newest)
        .and_then(|time| time.checked_add(SignedDuration::from_millis(1)))
        .map_or(now, |time| time.strftime(LAYOUT).to_string())
}

/// A new KSUID: four bytes of time and sixteen of chance, in base 62.
pub(super) fn ksuid(now: Timestamp) -> Result<String, Error> {
    let mut chance = [0u8; 16];
    getrandom::fill(&mut chance).map_err(|error| Error::Random(error.to_string()))?;
    let seconds = u32::try_from((now.as_second() - KSUID_EPOCH).max(0)).unwrap_or(u32::MAX);
    Ok(encode(seconds, chance))
}

fn encode(seconds: u32, chance: [u8; 16]) -> String {
    let mut number: Vec<u8> = seconds.to_be_bytes().into_iter().chain(chance).collect();
    let mut digits = [b'0'; 27];
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0u32;
        for byte in &mut number {
            let value = (remainder << 8) | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or_default();
            remainder = value % 62;
        }
        *digit = BASE62.get(remainder as usize).copied().unwrap_or(b'0');
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn at(text: &str) -> String {
        super::text(&text.parse::<ZonedDateTime>().unwrap())
    }

    #[test]
    fn times_are_local_without_zone_and_trailing_zeros() {
        assert_eq!(
            at("2026-03-01T10:00:00.120+02:00[+02:00]"),
            "2026-03-01 10:00:00.12"
        );
        assert_eq!(
            at("2026-03-01T10:00:00-05:00[-05:00]"),
            "2026-03-01 10:00:00"
        );
        assert_eq!(
            at("2026-03-01T01:02:03.000000009+00:00[UTC]"),
            "2026-03-01 01:02:03.000000009"
        );
    }

    #[test]
    fn a_clock_set_back_does_not_hide_the_new_sync() {
        let now = "2026-10-25 02:10:00".to_owned();
        assert_eq!(after(now.clone(), None), now);
        assert_eq!(after(now.clone(), Some("2026-10-25 02:09:59.9")), now);
        assert_eq!(
            after(now.clone(), Some("2026-10-25 02:59:00")),
            "2026-10-25 02:59:00.001"
        );
        assert_eq!(after(now.clone(), Some(&now)), "2026-10-25 02:10:00.001");
        assert_eq!(after(now.clone(), Some("zzz")), now);
    }

    #[test]
    fn ksuids_have_the_known_form() {
        // The extremes that the format's own description gives.
        assert_eq!(encode(0, [0; 16]), "000000000000000000000000000");
        assert_eq!(encode(u32::MAX, [0xff; 16]), "aWgEPTl1tmebfsQzFP4bxwgy80V");
        let earlier = ksuid(Timestamp::from_second(1_700_000_000).unwrap()).unwrap();
        let later = ksuid(Timestamp::from_second(1_800_000_000).unwrap()).unwrap();
        assert_eq!(earlier.len(), 27);
        assert!(earlier < later);
    }
}
