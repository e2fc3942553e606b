//! The three forms of time that S3 speaks: HTTP dates, ISO 8601 in lists, RFC 3339 seconds in lock
//! headers.
//!
//! All are UTC. Sources: RFC 9110 §5.6.7, AWS' API reference of ListObjectsV2 and PutObject. The
//! calendar is the proleptic Gregorian one, computed by days from the civil date, with the year
//! beginning in March.

use blob_core::Timestamp;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY: i64 = 86_400;
/// RFC 3339 and HTTP write years with four digits.
const YEAR_MAX: i64 = 9999;

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn parse_http_date(text: &str) -> Option<Timestamp> {
    let mut words = text.trim().split_once(", ")?.1.split(' ');
    let day = number(words.next()?, 31)?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|m| *m == month)? as i64 + 1;
    let year = number(words.next()?, YEAR_MAX)?;
    let secs = date(year, month, day)? + parse_clock(words.next()?)?;
    (words.next() == Some("GMT") && words.next().is_none()).then(|| Timestamp::from_secs(secs))
}

/// Reads `2026-11-24T15:40:22.123Z`, with any number of fraction digits or none; `Z` is the only
/// offset that S3 gives.
pub fn parse_iso(text: &str) -> Option<Timestamp> {
    let (day, clock) = text.trim().strip_suffix('Z')?.split_once('T')?;
    let mut parts = day.split('-');
    let mut part = |limit| number(parts.next()?, limit);
    let (year, month, day) = (part(YEAR_MAX)?, part(12)?, part(31)?);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    if fraction.len() > 9 {
        return None;
    }
    let nanos = number(&format!("{fraction:0<9}"), 999_999_999)?;
    let secs = date(year, month, day)? + parse_clock(clock)?;
    Some(Timestamp::from_nanos(secs.checked_mul(1_000_000_000)?.checked_add(nanos)?))
}

/// Reads RFC 3339 with any offset, `2026-11-24T15:40:22+01:00`: what others than S3 write.
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let Some(sign) = text.rfind(['+', '-']).filter(|at| *at > 10) else { return parse_iso(text) };
    let (local, offset) = text.split_at(sign);
    let (hours, minutes) = offset[1..].split_once(':')?;
    let behind = (number(hours, 23)? * 3600 + number(minutes, 59)? * 60)
        * if offset.starts_with('-') { -1 } else { 1 };
    let nanos = parse_iso(&format!("{local}Z"))?.nanos();
    Some(Timestamp::from_nanos(nanos.checked_sub(behind * 1_000_000_000)?))
}

/// Writes `2026-11-24T15:40:22Z`.
pub fn rfc3339_secs(time: Timestamp) -> String {
    let (year, month, day) = civil(time.secs().div_euclid(DAY));
    let secs = time.secs().rem_euclid(DAY);
    let (hour, minute, second) = (secs / 3600, secs / 60 % 60, secs % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn parse_clock(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let mut part = |limit| number(parts.next()?, limit);
    let secs = part(23)? * 3600 + part(59)? * 60 + part(60)?; // 60 is a leap second
    parts.next().is_none().then_some(secs)
}

/// Digits and nothing else, up to a limit.
fn number(text: &str, limit: i64) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= limit)
}

/// Seconds from 1970-01-01 to the beginning of a day.
fn date(year: i64, month: i64, day: i64) -> Option<i64> {
    (month >= 1 && day >= 1).then(|| days(year, month, day) * DAY)
}

/// Days from 1970-01-01 to a date.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let year = year.rem_euclid(400);
    era * 146_097 + year * 365 + year / 4 - year / 100 + day_of_year - 719_468
}

/// The date that many days after 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kopia_fixtures::hostile::Target;

    #[test]
    fn known_times_are_read_and_written() {
        let example = Timestamp::from_secs(784_111_777); // the example of RFC 9110
        assert_eq!(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(example));
        assert_eq!(rfc3339_secs(example), "1994-11-06T08:49:37Z");
        assert_eq!(parse_iso("1994-11-06T08:49:37.000Z"), Some(example));
        assert_eq!(parse_iso("1970-01-01T00:00:00.0015Z"), Some(Timestamp::from_nanos(1_500_000)));
        assert_eq!(rfc3339_secs(Timestamp::from_secs(951_782_400)), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339_secs(Timestamp::from_secs(-1)), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn every_day_of_five_centuries_comes_back() {
        for day in -100_000..100_000 {
            let text = rfc3339_secs(Timestamp::from_secs(day * DAY));
            assert_eq!(parse_iso(&text), Some(Timestamp::from_secs(day * DAY)), "{text}");
        }
    }

    #[test]
    fn a_time_may_be_any_text() {
        let read = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let read = [parse_iso(&text), parse_rfc3339(&text), parse_http_date(&text)];
            read.into_iter().flatten().any(|time| !rfc3339_secs(time).is_empty())
        };
        let times = ["1994-11-06T08:49:37.0015Z", "Sun, 06 Nov 1994 08:49:37 GMT"];
        let iso = "2026-01-02T03:04:05+01:00";
        let documents = times.into_iter().chain([iso]).map(|text| text.as_bytes().to_vec());
        Target::new("time", read, documents, crate::MEMORY).attack();
    }

    #[test]
    fn nonsense_is_no_time() {
        let wrong =
            ["", "2026-11-24", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "T:Z", "9-9-9T1Z"];
        for text in wrong {
            assert_eq!(parse_iso(text), None, "{text}");
        }
        for text in ["", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 CET", ", "] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }
}
