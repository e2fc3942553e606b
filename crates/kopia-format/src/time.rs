//! Times, durations and file modes as they stand in JSON.
//!
//! A time is an instant: any offset is read, `Z` is always written, and a fraction only when it is
//! not zero. Kopia's own times in directories are nanoseconds in an `i64` that wraps outside of
//! 1677..2262, and so are they here. Facts: `docs/format/02-format-blob.md` §0,
//! `docs/format/06-manifests-snapshots.md` §0 and §4.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{FormatError, Result};

const NANOS: i64 = 1_000_000_000;
const DAY: i64 = 86_400;
/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z: what four digits of year can say.
const MIN_SECS: i64 = -62_167_219_200;
const MAX_SECS: i64 = 253_402_300_799;

/// An instant with nanoseconds, between the years 0000 and 9999.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GoTime {
    secs: i64,
    nanos: u32,
}

impl GoTime {
    /// Go's zero time, 0001-01-01T00:00:00Z, which stands for "never" or "not set".
    pub const ZERO: GoTime = GoTime { secs: -62_135_596_800, nanos: 0 };
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: GoTime = GoTime { secs: 0, nanos: 0 };

    /// Nanoseconds since 1970.
    #[must_use]
    pub fn from_unix_nanos(nanos: i64) -> Self {
        Self { secs: nanos.div_euclid(NANOS), nanos: nanos.rem_euclid(NANOS) as u32 }
    }

    /// Nanoseconds since 1970, wrapping outside of 1677..2262 as Go's `UnixNano` does.
    #[must_use]
    pub fn unix_nanos(self) -> i64 {
        self.secs.wrapping_mul(NANOS).wrapping_add(i64::from(self.nanos))
    }

    /// Whole seconds since 1970; outside of the years 0000..9999 the nearest time within.
    #[must_use]
    pub fn from_secs(secs: i64) -> Self {
        Self { secs: secs.clamp(MIN_SECS, MAX_SECS), nanos: 0 }
    }

    /// Seconds and nanoseconds since 1970, for times outside of what `i64` nanoseconds can say.
    #[must_use]
    pub fn from_secs_nanos(secs: i64, nanos: u32) -> Self {
        let carried = secs.saturating_add(i64::from(nanos) / NANOS);
        Self { nanos: nanos % NANOS as u32, ..Self::from_secs(carried) }
    }

    /// Whole seconds since 1970, rounded down.
    #[must_use]
    pub fn secs(self) -> i64 {
        self.secs
    }

    /// Nanoseconds within the second.
    #[must_use]
    pub fn subsec_nanos(self) -> u32 {
        self.nanos
    }

    /// Is Go's zero time.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// The time `span` later.
    #[must_use]
    pub fn saturating_add(self, span: Duration) -> Self {
        let secs = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        let nanos = self.nanos + span.subsec_nanos();
        Self::from_secs_nanos(self.secs.saturating_add(secs), nanos)
    }

    /// The time `span` earlier.
    #[must_use]
    pub fn saturating_sub(self, span: Duration) -> Self {
        let secs = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        let borrow = i64::from(self.nanos < span.subsec_nanos());
        let nanos = self.nanos + if borrow == 1 { NANOS as u32 } else { 0 } - span.subsec_nanos();
        Self::from_secs_nanos(self.secs.saturating_sub(secs).saturating_sub(borrow), nanos)
    }

    /// How much later this is than `earlier`; zero if it is not later.
    #[must_use]
    pub fn duration_since(self, earlier: GoTime) -> Duration {
        let nanos =
            |time: GoTime| i128::from(time.secs) * i128::from(NANOS) + i128::from(time.nanos);
        let span = (nanos(self) - nanos(earlier)).max(0);
        Duration::new((span / i128::from(NANOS)) as u64, (span % i128::from(NANOS)) as u32)
    }
}

impl Default for GoTime {
    fn default() -> Self {
        Self::ZERO
    }
}

impl fmt::Display for GoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.secs.div_euclid(DAY));
        let second = self.secs.rem_euclid(DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanos != 0 {
            let fraction = format!("{:09}", self.nanos);
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl fmt::Debug for GoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for GoTime {
    type Err = FormatError;

    /// Reads RFC 3339 with any offset; digits of the fraction after the ninth are dropped.
    fn from_str(text: &str) -> Result<Self> {
        parse_rfc3339(text.as_bytes())
            .ok_or_else(|| FormatError::malformed("time", format!("{text:?} is not RFC 3339")))
    }
}

fn parse_rfc3339(text: &[u8]) -> Option<GoTime> {
    let (fields, mut rest) = text.split_at_checked(19)?;
    let template = b"0000-00-00T00:00:00";
    if !fields.iter().zip(template).all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        _ => byte == form,
    }) {
        return None;
    }
    let number = |from: usize, to: usize| digits(&fields[from..to]);
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut nanos = 0;
    // Go takes a comma for the point too.
    if let [b'.' | b',', after @ ..] = rest {
        let len = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let kept = &after[..len.min(9)];
        if kept.is_empty() {
            return None;
        }
        nanos = digits(kept) * 10i64.pow(9 - kept.len() as u32);
        rest = &after[len..];
    }
    let offset = parse_offset(rest)?;
    let secs = days_from_civil(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    Some(GoTime { secs: (secs - offset).clamp(MIN_SECS, MAX_SECS), nanos: nanos as u32 })
}

/// `Z` or `±hh:mm`, in seconds east of Greenwich.
fn parse_offset(text: &[u8]) -> Option<i64> {
    match text {
        b"Z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2]
            if [h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit()) =>
        {
            let (hours, minutes) = (digits(&[*h1, *h2]), digits(&[*m1, *m2]));
            let seconds = hours * 3600 + minutes * 60;
            (hours <= 24 && minutes < 60).then_some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

/// The value of ASCII digits, at most nine of them.
fn digits(text: &[u8]) -> i64 {
    text.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date in the Gregorian calendar, counted in years from March so that
/// the leap day is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = days.div_euclid(146_097) * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

impl Serialize for GoTime {
    fn serialize<S: Serializer>(&self, out: S) -> std::result::Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoTime {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = GoTime;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time of RFC 3339")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<GoTime, E> {
                text.parse().map_err(E::custom)
            }
        }
        from.deserialize_str(Text)
    }
}

/// A [`Duration`] as Go's JSON has it: a whole number of nanoseconds. For `#[serde(with = …)]`.
///
/// Go's durations are signed; what is stored never is, and a negative one is read as zero.
pub mod nanos {
    use super::*;

    /// Writes the number.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn serialize<S: Serializer>(
        span: &Duration,
        out: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        out.serialize_i64(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
    }

    /// Reads the number.
    ///
    /// # Errors
    ///
    /// If it is no integer of 64 bits.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> std::result::Result<Duration, D::Error> {
        let nanos = Option::<i64>::deserialize(from)?.unwrap_or(0);
        Ok(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
    }
}

/// A span of nanoseconds as Go prints it: `36h5m1.5s`, `20m0s`, `1.5ms`, `0s`.
#[must_use]
pub fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let total = nanos.unsigned_abs();
    let fraction = |value: u64, unit: u64| {
        let digits = unit.ilog10() as usize;
        let part = format!("{:0digits$}", value % unit);
        match part.trim_end_matches('0') {
            "" => format!("{}", value / unit),
            part => format!("{}.{part}", value / unit),
        }
    };
    match total {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{total}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", fraction(total, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", fraction(total, 1_000_000)),
        _ => {
            let minute = 60 * NANOS as u64;
            let seconds = fraction(total % minute, NANOS as u64);
            match (total / minute / 60, total / minute % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// Reads a span as Go writes it (`1h30m`, `1.5ms`, `-2s`, `0`), in nanoseconds.
///
/// # Errors
///
/// [`FormatError::Malformed`] for a missing or unknown unit, no number, or more than 64 bits.
pub fn parse_duration(text: &str) -> Result<i64> {
    let malformed = || FormatError::malformed("duration", format!("{text:?}"));
    let (negative, mut rest) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(malformed());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, after) = rest.split_at(number_len.ok_or_else(malformed)?);
        let unit_len = after.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, after) = after.split_at(unit_len.unwrap_or(after.len()));
        total += scaled(number, unit_nanos(unit).ok_or_else(malformed)?).ok_or_else(malformed)?;
        if total > i128::from(i64::MAX) + i128::from(negative) {
            return Err(malformed());
        }
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| malformed())
}

fn unit_nanos(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// A decimal number times a unit, rounded down.
fn scaled(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || whole.len() > 19 || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = &fraction[..fraction.len().min(18)];
    let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    Some(whole * unit + part * unit / 10i128.pow(fraction.len() as u32))
}

/// Go's bit for setuid in a file mode.
pub const MODE_SETUID: u32 = 1 << 23;
/// Go's bit for setgid in a file mode.
pub const MODE_SETGID: u32 = 1 << 22;
/// Go's bit for sticky in a file mode.
pub const MODE_STICKY: u32 = 1 << 20;

/// Go's mode bits of POSIX permission bits: those of 0777 are the same, the other three are not.
#[must_use]
pub fn mode_from_unix(mode: u32) -> u32 {
    let bit = |unix: u32, go: u32| if mode & unix != 0 { go } else { 0 };
    mode & 0o777 | bit(0o4000, MODE_SETUID) | bit(0o2000, MODE_SETGID) | bit(0o1000, MODE_STICKY)
}

/// POSIX permission bits of Go's mode bits.
#[must_use]
pub fn mode_to_unix(mode: u32) -> u32 {
    let bit = |go: u32, unix: u32| if mode & go != 0 { unix } else { 0 };
    mode & 0o777 | bit(MODE_SETUID, 0o4000) | bit(MODE_SETGID, 0o2000) | bit(MODE_STICKY, 0o1000)
}

/// The text of a mode in JSON: `0` and octal digits of Go's bits.
///
/// Without the highest bit, which only a negative number in a foreign directory sets: neither Kopia
/// nor we read a number so large again, so a directory with it would be lost.
#[must_use]
pub fn mode_text(mode: u32) -> String {
    format!("0{:o}", mode & i32::MAX as u32)
}

/// Reads the text of a mode as Go's `ParseInt(text, 0, 32)`: a leading `0` or `0o` is octal, `0x`
/// and `0b` are what they look like, anything else is decimal.
///
/// # Errors
///
/// [`FormatError::Malformed`] if it is no such number of 32 bits.
pub fn parse_mode(text: &str) -> Result<u32> {
    parse_int_base0(text)
        .map(|value| value as u32)
        .ok_or_else(|| FormatError::malformed("file mode", format!("{text:?}")))
}

fn parse_int_base0(text: &str) -> Option<i32> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = unsigned.to_ascii_lowercase();
    let (base, digits, prefixed) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..], true),
        [b'0', b'o', ..] => (8, &lower[2..], true),
        [b'0', b'b', ..] => (2, &lower[2..], true),
        [b'0', _, ..] => (8, &lower[1..], true),
        _ => (10, lower.as_str(), false),
    };
    // An underscore may stand between digits, or between the prefix and them.
    let well_placed =
        !digits.contains("__") && !digits.ends_with('_') && (prefixed || !digits.contains('_'));
    let digits = digits.replace('_', "");
    if !well_placed || digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        return None;
    }
    let value = i64::from_str_radix(&digits, base).ok()?;
    i32::try_from(if negative { -value } else { value }).ok()
}

#[cfg(test)]
mod tests;
