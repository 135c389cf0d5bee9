//! Small text helpers shared by all rooms: percent coding, globs, times, cutting.

/// Percent-encodes everything but RFC 3986 unreserved characters, `:` and `/`
/// included, as EKS wants ARNs in paths.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Decodes `%XX` only; `+` stays a plus and a broken escape stays as it is. IAM
/// returns trust policies this way.
pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|h| std::str::from_utf8(h).ok());
        match (
            byte,
            hex.filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit())),
        ) {
            (b'%', Some(h)) => {
                out.push(u8::from_str_radix(h, 16).unwrap_or(b'%'));
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether `text` matches `pattern`, where `*` is any run of characters and, if
/// `question`, `?` is any one. Linear in practice, quadratic at worst.
pub fn glob(pattern: &str, text: &str, question: bool) -> bool {
    let p: Vec<char> = pattern.chars().collect();
    let t: Vec<char> = text.chars().collect();
    let (mut pi, mut ti) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while ti < t.len() {
        match p.get(pi) {
            Some('*') => {
                star = Some((pi, ti));
                pi += 1;
            }
            Some(c) if Some(c) == t.get(ti) || (question && *c == '?') => {
                pi += 1;
                ti += 1;
            }
            _ => match star {
                Some((sp, st)) => {
                    star = Some((sp, st + 1));
                    pi = sp + 1;
                    ti = st + 1;
                }
                None => return false,
            },
        }
    }
    p.iter().skip(pi).all(|c| *c == '*')
}

/// At most `max` bytes of `text`, cut at a character, with a marker if cut.
pub fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_string();
    }
    let mut end = max;
    while end > 0 && !text.is_char_boundary(end) {
        end -= 1;
    }
    format!(
        "{}… ({} bytes)",
        text.get(..end).unwrap_or_default(),
        text.len()
    )
}

/// A Kubernetes time (`2024-01-15T12:00:00Z`) as Go prints one in UTC
/// (`2024-01-15 12:00:00 +0000 UTC`): the form that profiles have always had.
/// Anything else is returned as it is.
pub fn go_time(rfc3339: &str) -> String {
    match (rfc3339.strip_suffix('Z'), seconds(rfc3339)) {
        (Some(body), Some(_)) => format!("{} +0000 UTC", body.replacen('T', " ", 1)),
        _ => rfc3339.to_string(),
    }
}

/// A time in seconds since 1970 as RFC 3339, without its fraction.
pub fn rfc3339(seconds: f64) -> String {
    let all = seconds.floor() as i64;
    let (days, of_day) = (all.div_euclid(86_400), all.rem_euclid(86_400));
    // The civil calendar, with March as the first month of the year.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Seconds since 1970 of an RFC 3339 time, fraction dropped; `None` if it is not one.
pub fn seconds(rfc3339: &str) -> Option<i64> {
    let number = |from: usize, to: usize| rfc3339.get(from..to)?.parse::<i64>().ok();
    let sep = |at: usize, want: &[u8]| rfc3339.as_bytes().get(at).is_some_and(|b| want.contains(b));
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let fixed = sep(4, b"-") && sep(7, b"-") && sep(10, b"T ") && sep(13, b":") && sep(16, b":");
    if !fixed || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59
    {
        return None;
    }
    let rest = rfc3339.get(19..)?;
    let zone = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match zone.as_bytes() {
        [b'Z'] => 0,
        [sign @ (b'+' | b'-'), ..] if zone.len() == 6 => {
            let minutes =
                zone.get(1..3)?.parse::<i64>().ok()? * 60 + zone.get(4..6)?.parse::<i64>().ok()?;
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    // Days from the civil calendar, with March as the first month of the year.
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let of_era = y.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second - offset * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_and_print_as_go_does() {
        assert_eq!(
            go_time("2024-01-15T12:00:00Z"),
            "2024-01-15 12:00:00 +0000 UTC"
        );
        assert_eq!(go_time("yesterday"), "yesterday");
        assert_eq!(seconds("1970-01-02T00:00:01Z"), Some(86_401));
        assert_eq!(seconds("2024-02-29T00:00:00Z"), Some(1_709_164_800));
        assert_eq!(
            seconds("2024-01-01T02:00:00.5+02:00"),
            seconds("2024-01-01T00:00:00Z")
        );
        for time in [
            "1970-01-01T00:00:00Z",
            "2024-02-29T23:59:59Z",
            "2000-03-01T01:02:03Z",
            "1999-12-31T00:00:00Z",
        ] {
            assert_eq!(rfc3339(seconds(time).unwrap_or(-1) as f64 + 0.5), time);
        }
        for odd in [
            "",
            "2024",
            "2024-13-01T00:00:00Z",
            "2024-01-01T00:00:00",
            "ÄÖÜ-01-01T00:00:00Z",
        ] {
            assert_eq!(seconds(odd), None, "{odd}");
        }
    }

    #[test]
    fn percent_decoding_keeps_plus_and_broken_escapes() {
        assert_eq!(decode("%7B%22a+b%22%7D%2"), "{\"a+b\"}%2");
        assert_eq!(decode("100%zz%+1"), "100%zz%+1");
        assert_eq!(
            encode("arn:aws:iam::1:role/a b"),
            "arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fa%20b"
        );
    }

    #[test]
    fn globs() {
        assert!(
            glob("dev-*", "dev-1", false)
                && glob("*", "", false)
                && glob("a*b*c", "axxbyyc", false)
        );
        assert!(
            !glob("dev-*", "prod-dev-", false)
                && !glob("a?", "ab", false)
                && glob("a?", "ab", true)
        );
    }
}
