//! Times and durations for people, in Kopia's form.

use jiff::{Timestamp, tz::TimeZone};
use kopia_format::time::GoTime;

/// The time of this machine's clock.
pub fn now() -> GoTime {
    GoTime::from_unix_nanos(blob_core::Clock::now(&blob_core::SystemClock).nanos())
}

/// The zone that times are shown in: `local`, `utc`, `original` (local: most of what Kopia stores
/// has no zone) or a name.
#[derive(Debug, Clone)]
pub struct Zone(TimeZone);

impl Zone {
    /// The zone called `name`, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "local" | "original" => Some(Self::local()),
            "utc" => Some(Self::utc()),
            other => TimeZone::get(other).ok().map(Self),
        }
    }

    /// The zone that all machines share.
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// The zone of this machine.
    pub fn local() -> Self {
        Self(TimeZone::system())
    }

    /// `2006-01-02 15:04:05 MST`.
    pub fn format(&self, time: GoTime) -> String {
        self.strftime(time, "%Y-%m-%d %H:%M:%S %Z")
    }

    /// `2006-01-02 15:04:05.000 MST`.
    pub fn format_precise(&self, time: GoTime) -> String {
        self.strftime(time, "%Y-%m-%d %H:%M:%S.%3f %Z")
    }

    /// `2006-01-02T15:04:05.000000Z`, or the zone's `-07:00` at its end.
    pub fn rfc3339_micros(&self, time: GoTime) -> String {
        self.rfc3339(time, "%.6f")
    }

    /// The same with as many digits as there are.
    pub fn rfc3339_nanos(&self, time: GoTime) -> String {
        self.rfc3339(time, "%.f")
    }

    fn rfc3339(&self, time: GoTime, fraction: &str) -> String {
        let zone = if self.offset_secs(time) == 0 { "Z" } else { "%:z" };
        self.strftime(time, &format!("%Y-%m-%dT%H:%M:%S{fraction}{zone}"))
    }

    /// `15:04:05.000`.
    pub fn time_of_day(&self, time: GoTime) -> String {
        self.strftime(time, "%H:%M:%S%.3f")
    }

    /// `20060102-150405`, for names of files.
    pub fn for_names(&self, time: GoTime) -> String {
        self.strftime(time, "%Y%m%d-%H%M%S")
    }

    /// A time as Go prints one by itself: `2006-01-02 15:04:05.999999999 -0700 MST`, with no more
    /// digits than there are.
    pub fn format_go(&self, time: GoTime) -> String {
        let fraction = match time.subsec_nanos() {
            0 => String::new(),
            nanos => format!(".{}", format!("{nanos:09}").trim_end_matches('0')),
        };
        let whole = self.strftime(time, "%Y-%m-%d %H:%M:%S");
        format!("{whole}{fraction} {}", self.strftime(time, "%z %Z"))
    }

    /// How far the zone's time is ahead of UTC at `time`, in seconds.
    pub fn offset_secs(&self, time: GoTime) -> i32 {
        let instant = Timestamp::from_nanosecond(i128::from(time.unix_nanos()));
        instant.map_or(0, |instant| self.0.to_offset(instant).seconds())
    }

    /// The zone itself.
    pub fn time_zone(&self) -> &TimeZone {
        &self.0
    }

    fn strftime(&self, time: GoTime, format: &str) -> String {
        let instant = Timestamp::from_nanosecond(i128::from(time.unix_nanos()))
            .expect("64 bits of nanoseconds are within the range of times");
        instant.to_zoned_datetime(self.0.clone()).strftime(format).to_string()
    }
}

/// Whole seconds in Go's form, `1h2m3s`, as Kopia ends `Created snapshot … in 5s`: what is begun is
/// not counted.
pub fn truncated(duration: std::time::Duration) -> String {
    let secs = duration.as_secs();
    let (hours, minutes, secs) = (secs / 3600, secs / 60 % 60, secs % 60);
    match (hours, minutes) {
        (0, 0) => format!("{secs}s"),
        (0, _) => format!("{minutes}m{secs}s"),
        _ => format!("{hours}h{minutes}m{secs}s"),
    }
}

/// A length of time in the greatest unit that it fills: `5 min`, `12 h`. Days are hours up to two of
/// them, as the times of a thaw are told.
pub fn about(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs} s"),
        60..5_400 => format!("{} min", (secs + 30) / 60),
        5_400..259_200 => format!("{} h", (secs + 1_800) / 3_600),
        _ => format!("{} days", (secs + 43_200) / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_kopia_prints_them() {
        let time = GoTime::from_unix_nanos(1_795_525_531_439_476_757);
        let utc = Zone::named("utc").unwrap();
        assert_eq!(utc.format(time), "2026-11-24 13:05:31 UTC");
        assert_eq!(utc.format_precise(time), "2026-11-24 13:05:31.439 UTC");
        let kolkata = Zone::named("Asia/Kolkata").unwrap();
        assert_eq!(kolkata.format(time), "2026-11-24 18:35:31 IST");
        assert_eq!(utc.format_go(time), "2026-11-24 13:05:31.439476757 +0000 UTC");
        assert_eq!(utc.format_go(GoTime::from_secs(0)), "1970-01-01 00:00:00 +0000 UTC");
        assert_eq!([utc, kolkata].map(|zone| zone.offset_secs(time)), [0, 19_800]);
    }

    #[test]
    fn times_of_logs_read_as_kopias() {
        let (time, utc) = (GoTime::from_unix_nanos(1_795_525_531_439_476_700), Zone::utc());
        assert_eq!(utc.rfc3339_micros(time), "2026-11-24T13:05:31.439476Z");
        assert_eq!(utc.rfc3339_micros(GoTime::from_secs(0)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(utc.rfc3339_nanos(time), "2026-11-24T13:05:31.4394767Z");
        let kolkata = Zone::named("Asia/Kolkata").unwrap();
        assert_eq!(kolkata.rfc3339_micros(time), "2026-11-24T18:35:31.439476+05:30");
        assert_eq!(kolkata.time_of_day(time), "18:35:31.439");
        assert_eq!(utc.for_names(time), "20261124-130531");
    }

    #[test]
    fn durations_are_cut_to_seconds() {
        let text = |millis| truncated(std::time::Duration::from_millis(millis));
        assert_eq!([text(999), text(1500), text(3_725_000)], ["0s", "1s", "1h2m5s"]);
    }

    #[test]
    fn lengths_are_told_in_a_unit_that_fits() {
        let all = [59, 302, 18_000, 172_800, 604_800].map(about);
        assert_eq!(all, ["59 s", "5 min", "5 h", "48 h", "7 days"]);
    }
}
