//! Which snapshots of a source are kept, and why.
//!
//! All snapshots of one source go in, newest first; each class (latest, annual, … hourly) keeps the
//! newest of each of its periods until it has enough. The names of periods are shared by all
//! classes, so that ISO week `2026-04` and April `2026-04` exclude each other: Kopia does that, and
//! two clients that expire the same source must not disagree. Hours, days, months and years are
//! those of UTC; the ISO week and "so many months ago" go by the local clock, which comes in as a
//! time zone. Facts: `docs/format/07-upload-restore.md` §5.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use kopia_format::policy::Retention;
use kopia_format::snapshot::SnapshotManifest;

const HOUR: i128 = 3_600_000_000_000;
const DAY: i64 = 86_400;

/// Incomplete snapshots younger than this, counted from the newest snapshot, are kept.
const INCOMPLETE_AGE: i128 = 4 * HOUR;
/// So many of the newest incomplete snapshots are kept however old they are.
const INCOMPLETE_COUNT: usize = 3;

/// The classes in the order in which reasons are listed.
const CLASSES: [&str; 6] = ["latest", "hourly", "daily", "weekly", "monthly", "annual"];

/// What retention needs to know of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotPoint {
    /// Start, in nanoseconds since 1970.
    pub start: i64,
    /// End, in nanoseconds since 1970.
    pub end: i64,
    /// The snapshot has seen the whole source.
    pub complete: bool,
}

impl From<&SnapshotManifest> for SnapshotPoint {
    fn from(manifest: &SnapshotManifest) -> Self {
        Self {
            start: manifest.start_time.unix_nanos(),
            end: manifest.end_time.unix_nanos(),
            complete: manifest.is_complete(),
        }
    }
}

/// Why each of these snapshots of one source is kept (`latest-1`, `daily-3`, `incomplete`); no
/// reason means that it expires unless it is pinned.
#[must_use]
pub fn reasons(
    retention: &Retention,
    snapshots: &[SnapshotPoint],
    zone: &TimeZone,
) -> Vec<Vec<String>> {
    let mut order: Vec<usize> = (0..snapshots.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse((snapshots[index].start, snapshots[index].end)));
    let newest_complete =
        snapshots.iter().filter(|snapshot| snapshot.complete).map(|snapshot| snapshot.start).max();
    let mut reasons = vec![Vec::new(); snapshots.len()];
    if let Some(newest) = newest_complete {
        let mut classes = Classes::new(retention, newest, zone);
        for (position, &index) in order.iter().enumerate() {
            if snapshots[index].complete {
                reasons[index] = classes.reasons(position, snapshots[index].start, zone);
            }
        }
    }
    // Incomplete ones newer than the first complete one.
    for (position, &index) in order.iter().enumerate() {
        let age = i128::from(snapshots[order[0]].start) - i128::from(snapshots[index].start);
        let kept = age < INCOMPLETE_AGE || position < INCOMPLETE_COUNT;
        if snapshots[index].complete || !kept {
            break;
        }
        reasons[index].push("incomplete".to_owned());
    }
    reasons
}

/// Which of these snapshots of one source expire: those that have neither reasons nor pins.
#[must_use]
pub fn expired<'a>(
    retention: &Retention,
    snapshots: &'a [SnapshotManifest],
    zone: &TimeZone,
) -> Vec<&'a SnapshotManifest> {
    let points: Vec<SnapshotPoint> = snapshots.iter().map(SnapshotPoint::from).collect();
    let reasons = reasons(retention, &points, zone);
    snapshots
        .iter()
        .zip(reasons)
        .filter(|(snapshot, reasons)| reasons.is_empty() && snapshot.pins.is_empty())
        .map(|(snapshot, _)| snapshot)
        .collect()
}

/// One class: how many to keep, and not older than what.
struct Class {
    name: &'static str,
    keep: i64,
    cutoff: i128,
    kept: i64,
}

/// All classes with a setting, and the periods that are taken.
struct Classes {
    classes: Vec<Class>,
    taken: HashSet<String>,
}

impl Classes {
    fn new(retention: &Retention, newest: i64, zone: &TimeZone) -> Self {
        let ago = |years, months, days| date_ago(newest, years, months, days, zone);
        let set = |keep: Option<i64>| keep.unwrap_or(0);
        let hourly = i128::from(newest) - i128::from(set(retention.keep_hourly)) * HOUR;
        let classes = [
            ("latest", keep_latest(retention), i128::MIN),
            ("annual", retention.keep_annual, ago(set(retention.keep_annual), 0, 0)),
            ("monthly", retention.keep_monthly, ago(0, set(retention.keep_monthly), 0)),
            (
                "weekly",
                retention.keep_weekly,
                ago(0, 0, set(retention.keep_weekly).saturating_mul(7)),
            ),
            ("daily", retention.keep_daily, ago(0, 0, set(retention.keep_daily))),
            ("hourly", retention.keep_hourly, hourly),
        ];
        let classes = classes
            .into_iter()
            .filter_map(|(name, keep, cutoff)| Some(Class { name, keep: keep?, cutoff, kept: 0 }))
            .collect();
        Self { classes, taken: HashSet::new() }
    }

    fn reasons(&mut self, position: usize, start: i64, zone: &TimeZone) -> Vec<String> {
        let mut reasons = Vec::new();
        for class in &mut self.classes {
            if i128::from(start) < class.cutoff {
                continue;
            }
            let period = period(class.name, position, start, zone);
            if class.kept < class.keep && self.taken.insert(period) {
                class.kept += 1;
                reasons.push(format!("{}-{}", class.name, class.kept));
            }
        }
        sort_reasons(&mut reasons);
        reasons
    }
}

/// With nothing to keep by any class everything is kept.
fn keep_latest(retention: &Retention) -> Option<i64> {
    let Retention { keep_latest, keep_hourly, keep_daily, .. } = retention;
    let Retention { keep_weekly, keep_monthly, keep_annual, .. } = retention;
    let all = [keep_latest, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_annual];
    let sum = all.iter().fold(0i64, |sum, keep| sum.wrapping_add(keep.unwrap_or(0)));
    if sum == 0 { Some(i64::MAX) } else { *keep_latest }
}

/// The name of the period that a snapshot falls into.
fn period(class: &str, position: usize, start: i64, zone: &TimeZone) -> String {
    let time = Timestamp::from_nanosecond(i128::from(start)).unwrap_or(Timestamp::MIN);
    let utc = Offset::UTC.to_datetime(time);
    let (year, month, day) = (utc.year(), utc.month(), utc.day());
    match class {
        "annual" => format!("{year:04}"),
        "monthly" => format!("{year:04}-{month:02}"),
        "weekly" => {
            let week = zone.to_datetime(time).date().iso_week_date();
            format!("{:04}-{:02}", week.year(), week.week())
        }
        "daily" => format!("{year:04}-{month:02}-{day:02}"),
        "hourly" => format!("{year:04}-{month:02}-{day:02} {:02}", utc.hour()),
        _ => position.to_string(),
    }
}

/// The time on the local clock so long ago, in nanoseconds since 1970.
///
/// As in Go a day that does not exist rolls over into the next month (a year before February 29 is
/// March 1), and a time that the clock skipped is taken with the offset that was in force before.
fn date_ago(from: i64, years: i64, months: i64, days: i64, zone: &TimeZone) -> i128 {
    // Beyond what a calendar can say there is no snapshot to cut off.
    const FAR: i64 = 400_000;
    let forever = if years.max(months).max(days) > 0 { i128::MIN } else { i128::MAX };
    let time = Timestamp::from_nanosecond(i128::from(from)).unwrap_or(Timestamp::MIN);
    let local = zone.to_datetime(time);
    if [years, months, days].iter().any(|n| n.unsigned_abs() > FAR.unsigned_abs()) {
        return forever;
    }
    let month0 = i64::from(local.year()) * 12 + i64::from(local.month()) - 1 - years * 12 - months;
    let Some(first) = i16::try_from(month0.div_euclid(12))
        .ok()
        .and_then(|year| Date::new(year, month0.rem_euclid(12) as i8 + 1, 1).ok())
    else {
        return forever;
    };
    let epoch_days = |date: Date| {
        let noon = Offset::UTC.to_timestamp(date.at(0, 0, 0, 0));
        noon.map(|time| time.as_second().div_euclid(DAY))
    };
    let Ok(first) = epoch_days(first) else { return forever };
    let clock = local.time().duration_since(jiff::civil::Time::midnight());
    let wall = (first + i64::from(local.day()) - 1 - days) * DAY + clock.as_secs();
    let offset_at = |secs: i64| {
        let time = Timestamp::from_second(secs).unwrap_or(Timestamp::MIN);
        i64::from(zone.to_offset(time).seconds())
    };
    // Go reads the wall clock as if it were UTC, and corrects the offset that it finds there once.
    let offset = match offset_at(wall) {
        0 => 0,
        guess => offset_at(wall - guess),
    };
    i128::from(wall - offset) * 1_000_000_000 + i128::from(local.subsec_nanosecond())
}

/// Class and number of a reason.
fn split_reason(reason: &str) -> (&str, &str) {
    reason.rsplit_once('-').unwrap_or((reason, ""))
}

/// Sorts reasons as Kopia lists them: what is no class first, then latest, hourly, daily, weekly,
/// monthly, annual.
pub fn sort_reasons(reasons: &mut [String]) {
    reasons.sort_by(|a, b| {
        let key = |reason: &str| {
            let (class, number) = split_reason(reason);
            let rank = CLASSES.iter().position(|known| *known == class).map_or(0, |at| at + 1);
            (rank, class.to_owned(), number.to_owned())
        };
        key(a).cmp(&key(b))
    });
}

/// Joins the numbers of a class into ranges: `latest-1..3`. For lists that fold equal snapshots.
#[must_use]
pub fn compact_reasons(reasons: &[String]) -> Vec<String> {
    let mut compact = Vec::new();
    let mut numbers: HashMap<&str, Vec<i64>> = HashMap::new();
    for reason in reasons {
        let (class, number) = split_reason(reason);
        match number.parse() {
            Ok(number) => numbers.entry(class).or_default().push(number),
            Err(_) => compact.push(reason.clone()),
        }
    }
    for (class, mut numbers) in numbers {
        numbers.sort_unstable();
        for run in numbers.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
            compact.push(match run {
                [first, .., last] => format!("{class}-{first}..{last}"),
                [only] => format!("{class}-{only}"),
                [] => continue,
            });
        }
    }
    sort_reasons(&mut compact);
    compact
}

#[cfg(test)]
mod tests;
