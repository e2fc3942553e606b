//! Times that a user types (docs/guide/restoring.md).
//!
//! A time without a zone is local. `--snapshot-time` takes words, spans and dates; a date means its
//! end, so that `2026-11-24` finds what was there on that day. Behind seconds a fraction may stand,
//! and for a zone the letters that the local one has, as Kopia prints them.

use anyhow::{Context, bail};
use jiff::{
    Span, ToSpan, ZonedDateTime, civil,
    tz::{Offset, TimeZone},
};
use kopia_format::time::GoTime;
use kopia_snapshot::roots::Pick;

/// The form that Kopia prints.
const EXACT: &str = "%Y-%m-%d %H:%M:%S %Z";

/// Dates and times from the most exact to the least, and how much time each leaves open.
fn forms() -> [(&'static str, bool, Span); 17] {
    let second = 1.second();
    [
        (EXACT, true, second),
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
    Ok(bounds(text, now)?.1)
}

/// When what `text` names begins and ends: a day, a month, a second; with the words and spans of
/// `--snapshot-time`.
///
/// # Errors
/// The text is no time.
pub fn bounds(text: &str, now: &ZonedDateTime) -> anyhow::Result<(GoTime, GoTime)> {
    let today = now.start_of_day()?;
    let before = |end: ZonedDateTime, span: Span| anyhow::Ok((end.checked_sub(span)?, end));
    let (start, end) = match text {
        "yesterday" => before(today, 1.day())?,
        "last-month" => before(today.first_of_month()?, 1.month())?,
        "last-year" => before(today.first_of_year()?, 1.year())?,
        _ => match text.strip_suffix("-ago").and_then(ago) {
            Some(back) => before(today.checked_sub(back)?.checked_add(1.day())?, 1.day())?,
            None => parse(text, now.time_zone())?,
        },
    };
    Ok((go_time(&start)?, go_time(&end)?))
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

/// The begin and the end of what `text` names, in one of the forms above.
fn parse(text: &str, zone: &TimeZone) -> anyhow::Result<(ZonedDateTime, ZonedDateTime)> {
    let (whole, fraction) = take_fraction(text);
    for (form, has_zone, precision) in forms() {
        let start = match has_zone {
            true => with_zone(form, &whole, zone),
            false => without_zone(form, &whole, zone),
        };
        if let Some(start) = start {
            let start = start.checked_add(fraction)?;
            let end = start.checked_add(precision)?;
            return Ok((start, end));
        }
    }
    bail!("{text:?} is no time: say latest, oldest, yesterday, 3d-ago, 2026-11-24 or more exactly")
}

/// Takes the fraction of a second out of a time: `12:00:00.25 UTC` is `12:00:00 UTC` and 250 ms.
fn take_fraction(text: &str) -> (String, Span) {
    let none = || (text.to_owned(), Span::new());
    // Only behind seconds: two digits behind the second colon.
    let is_behind_seconds = |before: &str| {
        let third = before.bytes().rev().nth(2);
        before.matches(':').count() == 2 && third == Some(b':')
    };
    let mut points = text.match_indices(['.', ',']);
    let Some((at, _)) = points.find(|(at, _)| is_behind_seconds(&text[..*at])) else {
        return none();
    };
    let behind = &text[at + 1..];
    let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
    let Ok(nanos) = format!("{:0<9.9}", &behind[..digits]).parse::<i64>() else { return none() };
    if digits == 0 {
        return none();
    }
    (format!("{}{}", &text[..at], &behind[digits..]), Span::new().nanoseconds(nanos))
}

/// What the letters of a zone mean. Only UTC and those of the local zone say something certain.
fn offset_of(letters: &str, time: civil::DateTime, local: &TimeZone) -> Option<Offset> {
    if letters == "UTC" {
        return Some(Offset::UTC);
    }
    let at = |time: civil::DateTime| local.to_ambiguous_zoned_datetime(time);
    // The time itself, which may come twice, then either half of its year.
    let half = |month| time.with().month(month).day(1).build().ok();
    let halves = [1, 7].map(|month| at(half(month)?).compatible().ok());
    let near = [at(time).earlier().ok(), at(time).later().ok()];
    near.into_iter().chain(halves).flatten().find_map(|zoned| {
        let info = local.to_offset_info(zoned.timestamp());
        (info.abbreviation() == letters).then_some(info.offset())
    })
}

fn with_zone(form: &str, text: &str, local: &TimeZone) -> Option<ZonedDateTime> {
    if let Some(form) = form.strip_suffix(" %Z") {
        let (time, letters) = text.rsplit_once(' ')?;
        let time = jiff::fmt::strtime::parse(form, time).ok()?.to_datetime().ok()?;
        let offset = offset_of(letters, time, local)?;
        return Some(offset.to_timestamp(time).ok()?.to_zoned_datetime(TimeZone::UTC));
    }
    let text = text.strip_suffix('Z').map_or_else(|| text.to_owned(), |t| format!("{t}+00:00"));
    let parsed = jiff::fmt::strtime::parse(form, &text).ok()?;
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

/// A start or end time of `snapshot create`: `2006-01-02 15:04:05 UTC`, or with the letters of the
/// local zone.
///
/// # Errors
/// The text is not of this form.
pub fn exact(text: &str, local: &TimeZone) -> anyhow::Result<GoTime> {
    let (whole, fraction) = take_fraction(text);
    let zoned = with_zone(EXACT, &whole, local)
        .with_context(|| format!("{text:?} is not of the form '2006-01-02 15:04:05 UTC'"))?;
    go_time(&zoned.checked_add(fraction)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_a_begin_and_an_end() {
        let now: ZonedDateTime = "2026-11-24T13:05:31[UTC]".parse().unwrap();
        for (text, begin, end) in [
            ("2026-11", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
            ("yesterday", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"),
            ("3d-ago", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"),
            ("2026-11-24 12:00:00.5 UTC", "2026-11-24T12:00:00.5Z", "2026-11-24T12:00:01.5Z"),
        ] {
            let (first, last) = bounds(text, &now).unwrap();
            assert_eq!([first.to_string(), last.to_string()], [begin, end], "{text}");
        }
    }

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
    fn seconds_may_have_a_fraction() {
        assert_eq!(end("2026-11-24 13:05:31.25 UTC"), "2026-11-24T13:05:32.25Z");
        assert_eq!(end("2026-11-24T13:05:31,000000001Z"), "2026-11-24T13:05:32.000000001Z");
        assert_eq!(end("2026-11-24 13:05:31.5"), "2026-11-24T13:05:32.5Z");
        let time = exact("2026-11-24 13:05:31.123456789123 UTC", &TimeZone::UTC).unwrap();
        assert_eq!(time.unix_nanos() % 1_000_000_000, 123_456_789);
        for bad in ["2026-11-24 13:05:31. UTC", "2026-11-24 13:05.5 UTC", "24 13.5", "::.", ":é:."]
        {
            assert!(exact(bad, &TimeZone::UTC).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn letters_of_the_local_zone_are_understood() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let at = |text: &str| {
            let nanos = exact(text, &berlin).unwrap().unix_nanos();
            jiff::Timestamp::from_nanosecond(nanos.into()).unwrap().to_string()
        };
        assert_eq!(at("2026-11-24 13:00:00 CET"), "2026-11-24T12:00:00Z");
        assert_eq!(at("2026-07-24 13:00:00 CEST"), "2026-07-24T11:00:00Z");
        assert_eq!(at("2026-07-24 13:00:00 CET"), "2026-07-24T12:00:00Z");
        assert_eq!(at("2026-07-24 13:00:00 UTC"), "2026-07-24T13:00:00Z");
        // The hour that comes twice.
        assert_eq!(at("2026-10-25 02:30:00 CEST"), "2026-10-25T00:30:00Z");
        assert_eq!(at("2026-10-25 02:30:00 CET"), "2026-10-25T01:30:00Z");
        assert!(exact("2026-07-24 13:00:00 PST", &berlin).is_err());
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
        assert!(exact("2026-11-24", &TimeZone::UTC).is_err());
    }
}
