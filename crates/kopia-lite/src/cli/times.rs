//! Times that a user types (docs/guide/restoring.md).
//!
//! A time without a zone is local. `--snapshot-time` takes words, spans and dates; a date means its
//! end, so that `2026-11-24` finds what was there on that day.

use anyhow::{Context, bail};
use jiff::{Span, ToSpan, ZonedDateTime, civil, tz::TimeZone};
use kopia_format::time::GoTime;
use kopia_snapshot::roots::Pick;

/// Dates and times from the most exact to the least, and how much time each leaves open.
fn forms() -> [(&'static str, bool, Span); 18] {
    let second = 1.second();
    [
        ("%Y-%m-%d %H:%M:%S %Z", true, second),
        ("%Y-%m-%d %H:%M:%S.%3f %Z", true, 1.millisecond()),
        ("%Y-%m-%dT%H:%M:%S%:z", true, second),
        ("%Y-%m-%dT%H:%M:%S%z", true, second),
        ("%Y-%m-%dT%H:%M:%S%:::z", true, second),
        ("%Y-%m-%dT%H:%M:%S", false, second),
        ("%Y-%m-%dT%H:%M%:::z", true, 1.minute()),
        ("%Y-%m-%dT%H:%M", false, 1.minute()),
        ("%Y-%m-%dT%H", false, 1.hour()),
        ("%Y-%m-%d %H:%M:%S%z", true, second),
        ("%Y-%m-%d %H:%M:%S%:::z", true, second),
        ("%Y-%m-%d %H:%M:%S", false, second),
        ("%Y-%m-%d %H:%M%:::z", true, 1.minute()),
        ("%Y-%m-%d %H:%M", false, 1.minute()),
        ("%Y-%m-%d %H", false, 1.hour()),
        ("%Y-%m-%d", false, 1.day()),
        ("%Y-%m", false, 1.month()),
        ("%Y", false, 1.year()),
    ]
}

/// Which snapshot `--snapshot-time` means.
///
/// # Errors
/// The text is no time.
pub fn pick(text: &str, now: &ZonedDateTime) -> anyhow::Result<Pick> {
    match text {
        "" | "latest" => Ok(Pick::Latest(0)),
        "oldest" => Ok(Pick::Oldest),
        _ => {
            if let Some(back) = text.strip_prefix("latest~") {
                return Ok(Pick::Latest(back.parse().with_context(|| format!("{text:?}"))?));
            }
            Ok(Pick::Before(end_of(text, now)?))
        }
    }
}

fn end_of(text: &str, now: &ZonedDateTime) -> anyhow::Result<GoTime> {
    let today = now.start_of_day()?;
    let zoned = match text {
        "yesterday" => today,
        "last-month" => today.first_of_month()?,
        "last-year" => today.first_of_year()?,
        _ => match text.strip_suffix("-ago").and_then(ago) {
            Some(back) => today.checked_sub(back)?.checked_add(1.day())?,
            None => parse(text, now.time_zone())?,
        },
    };
    go_time(&zoned)
}

/// `1y-2m-3d` as a span: years, months and days, each at most once and in this order.
fn ago(text: &str) -> Option<Span> {
    let mut span = Span::new();
    let mut order = 0;
    for part in text.split('-') {
        let digits = part.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = part[..digits].parse().ok().filter(|_| digits <= 3)?;
        let unit = match &part[digits..] {
            "y" | "year" | "years" => 1,
            "m" | "mo" | "month" | "months" => 2,
            "d" | "day" | "days" => 3,
            _ => return None,
        };
        if unit <= order {
            return None;
        }
        order = unit;
        span = match unit {
            1 => span.years(count),
            2 => span.months(count),
            _ => span.days(count),
        };
    }
    Some(span)
}

/// The end of what `text` names, in one of the forms above.
fn parse(text: &str, zone: &TimeZone) -> anyhow::Result<ZonedDateTime> {
    for (form, has_zone, precision) in forms() {
        let start = if has_zone { with_zone(form, text) } else { without_zone(form, text, zone) };
        if let Some(start) = start {
            return Ok(start.checked_add(precision)?);
        }
    }
    bail!("{text:?} is no time: say latest, oldest, yesterday, 3d-ago, 2026-11-24 or more exactly")
}

fn with_zone(form: &str, text: &str) -> Option<ZonedDateTime> {
    // A zone's letters say nothing certain; UTC is the one that Kopia prints most.
    let text = text.strip_suffix(" UTC").map_or_else(|| text.to_owned(), |t| format!("{t} +0000"));
    let form = form.replace(" %Z", " %z");
    let text = text.strip_suffix('Z').map_or_else(|| text.clone(), |t| format!("{t}+00:00"));
    let parsed = jiff::fmt::strtime::parse(&form, &text).ok()?;
    Some(parsed.to_timestamp().ok()?.to_zoned_datetime(TimeZone::UTC))
}

fn without_zone(form: &str, text: &str, zone: &TimeZone) -> Option<ZonedDateTime> {
    // Kopia takes one digit where two are usual; so does strptime.
    let parsed = jiff::fmt::strtime::parse(form, text).ok()?;
    let (year, month, day) =
        (parsed.year()?, parsed.month().unwrap_or(1), parsed.day().unwrap_or(1));
    let (hour, minute) = (parsed.hour().unwrap_or(0), parsed.minute().unwrap_or(0));
    let second = parsed.second().unwrap_or(0);
    let time = civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    time.to_zoned_datetime(zone.clone()).ok()
}

fn go_time(zoned: &ZonedDateTime) -> anyhow::Result<GoTime> {
    let nanos = zoned.timestamp().as_nanosecond();
    Ok(GoTime::from_unix_nanos(i64::try_from(nanos).context("the time is too far away")?))
}

/// A start or end time of `snapshot create`: `2006-01-02 15:04:05 MST`.
///
/// # Errors
/// The text is not of this form.
pub fn exact(text: &str) -> anyhow::Result<GoTime> {
    let zoned = with_zone("%Y-%m-%d %H:%M:%S %Z", text)
        .with_context(|| format!("{text:?} is not of the form '2006-01-02 15:04:05 UTC'"))?;
    go_time(&zoned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str) -> String {
        let now: ZonedDateTime = "2026-11-24T13:05:31[UTC]".parse().unwrap();
        let time = end_of(text, &now).unwrap();
        jiff::Timestamp::from_nanosecond(time.unix_nanos().into()).unwrap().to_string()
    }

    #[test]
    fn a_date_means_its_end() {
        assert_eq!(end("2026-11-24"), "2026-11-25T00:00:00Z");
        assert_eq!(end("2026-2"), "2026-03-01T00:00:00Z");
        assert_eq!(end("2026"), "2027-01-01T00:00:00Z");
        assert_eq!(end("2026-11-24 13"), "2026-11-24T14:00:00Z");
        assert_eq!(end("2026-11-24 13:05:31 UTC"), "2026-11-24T13:05:32Z");
        assert_eq!(end("2026-11-24T13:05:31Z"), "2026-11-24T13:05:32Z");
        assert_eq!(end("2026-11-24T13:05:31+05:30"), "2026-11-24T07:35:32Z");
    }

    #[test]
    fn words_and_spans_count_from_today() {
        assert_eq!(end("yesterday"), "2026-11-24T00:00:00Z");
        assert_eq!(end("last-month"), "2026-11-01T00:00:00Z");
        assert_eq!(end("last-year"), "2026-01-01T00:00:00Z");
        assert_eq!(end("3d-ago"), "2026-11-22T00:00:00Z");
        assert_eq!(end("1y-2m-3d-ago"), "2025-09-22T00:00:00Z");
    }

    #[test]
    fn nonsense_is_refused() {
        let now: ZonedDateTime = "2026-11-24T13:05:31[UTC]".parse().unwrap();
        for bad in ["soon", "2026-13", "3d-1y-ago", "24.11.2026"] {
            assert!(end_of(bad, &now).is_err(), "{bad} was taken");
        }
        assert!(exact("2026-11-24").is_err());
    }
}
