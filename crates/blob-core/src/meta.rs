//! What a storage tells about a blob without its bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{BlobId, StorageClass};

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, between the years 1677 and 2262.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From nanoseconds since the Unix epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From whole seconds since the Unix epoch; clamped to the years 1677 to 2262.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// This time moved by `by` into the future; stops at the end of the range.
    pub fn saturating_add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// How much later this is than `earlier`; zero if it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(i64::try_from(after.as_nanos()).unwrap_or(i64::MAX)),
            Err(before) => {
                Self(i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n))
            }
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let distance = Duration::from_nanos(time.0.unsigned_abs());
        if time.0 < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
    }
}

/// Can the bytes of a blob be read now?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReadState {
    /// Yes.
    Ready,
    /// No: it is archived and nobody has asked for it.
    Cold,
    /// Not yet: it is archived and a restore request runs.
    Thawing,
    /// Yes, by a temporary copy.
    Thawed {
        /// When the copy goes away, if the storage tells.
        until: Option<Timestamp>,
    },
}

impl ReadState {
    /// Can the bytes be read now?
    pub fn is_readable(self) -> bool {
        matches!(self, Self::Ready | Self::Thawed { .. })
    }
}

/// What a listing or a head tells about a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobMeta {
    /// The blob.
    pub id: BlobId,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last written, by the storage's clock.
    pub modified: Timestamp,
    /// Its storage class; `None` where the storage has none or didn't tell.
    pub class: Option<StorageClass>,
    /// Whether it can be read; `None` where the storage didn't tell. S3's listing tells it for
    /// archive classes.
    pub state: Option<ReadState>,
    /// Does the storage keep a checksum of the bytes, which it verified when they were written?
    /// `None` where it didn't tell.
    pub has_checksum: Option<bool>,
}

impl BlobMeta {
    /// Is the blob known to be out of reach?
    ///
    /// Goes by [`BlobMeta::state`] where it is told, else by the class.
    pub fn is_cold(&self) -> bool {
        match self.state {
            Some(state) => !state.is_readable(),
            None => self.class.as_ref().is_some_and(StorageClass::is_archive),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_the_epoch_survive_the_way_to_the_system_and_back() {
        for nanos in [-1, 0, 1, -1_500_000_000, 1_700_000_000_123_456_789] {
            let time = Timestamp::from_nanos(nanos);
            assert_eq!(Timestamp::from(SystemTime::from(time)), time);
        }
        assert_eq!(Timestamp::from_nanos(-1).secs(), -1);
    }
}
