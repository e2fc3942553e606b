//! Which logs go.

use super::LogBlob;
use crate::{maintenance::LogRetention, time::GoTime};

/// What the IDs of all blobs begin with that retention is about: logs, and whatever else a client
/// ever keeps for diagnosis. So does Kopia.
pub const RETAINED_PREFIX: &str = "_";

/// Which logs go, and how much stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpiredLogs {
    /// The blobs to delete, newest first.
    pub expired: Vec<LogBlob>,
    /// How many bytes these have.
    pub expired_bytes: u64,
    /// How many blobs stay.
    pub retained_count: usize,
    /// How many bytes these have.
    pub retained_bytes: u64,
}

/// The blobs that `retention` has no room for, of all whose IDs begin with [`RETAINED_PREFIX`].
///
/// They are looked at newest first by the storage's times. From the first one on that would make the
/// sum greater than the most bytes, or is one more than the most logs, or is older than the greatest
/// age, all go, even small ones behind a long one. A limit of zero is none; [`LogRetention`] as it
/// stands in the parameters is to be taken through [`LogRetention::or_default`] first.
pub fn expired_logs(mut blobs: Vec<LogBlob>, retention: &LogRetention, now: GoTime) -> ExpiredLogs {
    // Kopia leaves open which of two blobs of the same time comes first.
    blobs.sort_by(|a, b| b.cmp(a));
    let limit = |limit: i64| u64::try_from(limit).ok().filter(|&limit| limit > 0);
    let (bytes_max, count_max) = (limit(retention.max_total_size), limit(retention.max_count));
    let mut retained_bytes = 0_u64;
    let mut retained_count = 0;
    for blob in &blobs {
        let sum = retained_bytes.saturating_add(blob.length);
        let is_old =
            !retention.max_age.is_zero() && now.duration_since(blob.timestamp) > retention.max_age;
        let is_over = bytes_max.is_some_and(|max| sum > max)
            || count_max.is_some_and(|max| retained_count as u64 >= max);
        if is_old || is_over {
            break;
        }
        retained_bytes = sum;
        retained_count += 1;
    }
    let expired = blobs.split_off(retained_count);
    let expired_bytes = expired.iter().fold(0_u64, |sum, blob| sum.saturating_add(blob.length));
    ExpiredLogs { expired, expired_bytes, retained_count, retained_bytes }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Logs of these lengths, one a second, the last at 1000 s.
    fn logs(lengths: &[u64]) -> Vec<LogBlob> {
        let first = 1001 - lengths.len() as i64;
        let blob = |(secs, &length)| LogBlob {
            timestamp: GoTime::from_secs(secs),
            id: format!("_log_{secs}"),
            length,
        };
        (first..).zip(lengths).map(blob).collect()
    }

    const UNLIMITED: LogRetention =
        LogRetention { max_total_size: 0, max_count: 0, max_age: Duration::ZERO };

    /// How many of [`logs`] stay at 1000 s.
    fn kept(lengths: &[u64], retention: LogRetention) -> usize {
        let now = GoTime::from_secs(1000);
        let gone = expired_logs(logs(lengths), &retention, now);
        let all: u64 = lengths.iter().fold(0, |sum, length| sum.saturating_add(*length));
        assert_eq!(gone.expired_bytes.saturating_add(gone.retained_bytes), all);
        assert_eq!(gone.expired.len() + gone.retained_count, lengths.len());
        gone.retained_count
    }

    #[test]
    fn no_limit_keeps_all() {
        assert_eq!(kept(&[1, 2, 3], UNLIMITED), 3);
        assert_eq!(kept(&[u64::MAX, u64::MAX], UNLIMITED), 2);
        assert_eq!(kept(&[], LogRetention::default()), 0);
        let negative = LogRetention { max_total_size: -1, max_count: -1, ..UNLIMITED };
        assert_eq!(kept(&[1, 2, 3], negative), 3);
    }

    #[test]
    fn as_many_as_the_count_stay() {
        let count = |max_count| kept(&[1, 1, 1], LogRetention { max_count, ..UNLIMITED });
        assert_eq!([count(1), count(2), count(3), count(4)], [1, 2, 3, 3]);
    }

    #[test]
    fn exactly_the_size_stays_and_all_behind_the_first_that_is_too_much_go() {
        let size =
            |max_total_size| kept(&[1, 50, 10, 20], LogRetention { max_total_size, ..UNLIMITED });
        assert_eq!([size(19), size(20), size(30), size(31)], [0, 1, 2, 2]);
        assert_eq!([size(79), size(80), size(81), size(i64::MAX)], [2, 3, 4, 4]);
        let huge = LogRetention { max_total_size: i64::MAX, ..UNLIMITED };
        assert_eq!(kept(&[1, u64::MAX, 5], huge), 1);
    }

    #[test]
    fn exactly_the_age_stays() {
        let age = |millis| {
            let max_age = Duration::from_millis(millis);
            kept(&[1, 1, 1], LogRetention { max_age, ..UNLIMITED })
        };
        assert_eq!([age(1), age(999), age(1000), age(1999), age(2000)], [1, 1, 2, 2, 3]);
    }

    #[test]
    fn a_log_from_the_future_is_young_and_the_newest_are_kept_in_any_order() {
        let mut blobs = logs(&[1, 2, 3]);
        blobs[0].timestamp = GoTime::from_secs(5000);
        blobs.rotate_left(1);
        let now = GoTime::from_secs(999);
        let retention = LogRetention { max_age: Duration::from_secs(1), ..UNLIMITED };
        let gone = expired_logs(blobs.clone(), &retention, now);
        assert_eq!(gone.retained_count, 3);
        let gone = expired_logs(blobs, &LogRetention { max_count: 1, ..UNLIMITED }, now);
        let ids: Vec<_> = gone.expired.iter().map(|blob| blob.id.as_str()).collect();
        assert_eq!(ids, ["_log_1000", "_log_999"]);
        assert_eq!((gone.retained_bytes, gone.expired_bytes), (1, 5));
    }
}
