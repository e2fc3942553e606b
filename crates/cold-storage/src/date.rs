//! Days of the calendar, for names that people read.

use blob_core::Timestamp;

/// The date and the time of day in UTC, as `20261124` and `130531`.
pub(crate) fn parts(time: Timestamp) -> (String, String) {
    let (days, secs) = (time.secs().div_euclid(86_400), time.secs().rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let clock = format!("{:02}{:02}{:02}", secs / 3600, secs / 60 % 60, secs % 60);
    (format!("{year:04}{month:02}{day:02}"), clock)
}

/// Year, month and day of a day since 1970 (the proleptic Gregorian calendar; the algorithm is Howard
/// Hinnant's, <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (secs, date, time) in [
            (0, "19700101", "000000"),
            (951_782_399, "20000228", "235959"),
            (951_782_400, "20000229", "000000"),
            (1_795_525_531, "20261124", "130531"),
            (-1, "19691231", "235959"),
        ] {
            let parts = parts(Timestamp::from_secs(secs));
            assert_eq!((parts.0.as_str(), parts.1.as_str()), (date, time), "{secs}");
        }
    }
}
