//! Storage classes: which are cold, how long a thaw takes, and when its copy is gone again.
//!
//! The one idea: an object's class never changes by a thaw. It stays `GLACIER`; only a temporary
//! copy comes and goes, told by `x-amz-restore`. Facts: RestoreObject in the S3 API reference and
//! "Restoring an archived object" in the S3 User Guide; the times are the guide's typical ones.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// The classes that an ordinary bucket accepts.
pub const CLASSES: [&str; 8] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
];

/// How fast a thaw was asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Slowest and cheapest.
    Bulk,
    /// What S3 takes when nothing is said.
    Standard,
    /// Minutes; not for deep archives.
    Expedited,
}

impl Tier {
    /// The tier of this name in the S3 API.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "Bulk" => Some(Self::Bulk),
            "Standard" => Some(Self::Standard),
            "Expedited" => Some(Self::Expedited),
            _ => None,
        }
    }
}

/// An archive tier of Intelligent-Tiering, into which an object sinks when it is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveAccess {
    /// As slow as `GLACIER`.
    Archive,
    /// As slow as `DEEP_ARCHIVE`.
    DeepArchive,
}

impl ArchiveAccess {
    /// The name in `x-amz-archive-status` and in `<AccessTier>`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Archive => "ARCHIVE_ACCESS",
            Self::DeepArchive => "DEEP_ARCHIVE_ACCESS",
        }
    }
}

/// Whether objects of this class cannot be read without a thaw.
#[must_use]
pub fn is_archive(class: &str) -> bool {
    matches!(class, "GLACIER" | "DEEP_ARCHIVE")
}

/// How long a thaw takes here, or nothing where the tier is not offered.
#[must_use]
pub fn thaw_time(deep: bool, tier: Tier) -> Option<Duration> {
    match (deep, tier) {
        (false, Tier::Expedited) => Some(Duration::from_secs(180)),
        (false, Tier::Standard) => Some(4 * HOUR),
        (false, Tier::Bulk) => Some(8 * HOUR),
        (true, Tier::Expedited) => None,
        (true, Tier::Standard) => Some(12 * HOUR),
        (true, Tier::Bulk) => Some(48 * HOUR),
    }
}

/// A thaw that was asked for: running until `ready`, readable until `expiry`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restoring {
    /// The tier it was asked with.
    pub tier: Tier,
    /// The days it was asked for; none for Intelligent-Tiering.
    pub days: Option<u32>,
    /// When the copy can be read.
    pub ready: SystemTime,
    /// When the copy is gone; none for Intelligent-Tiering, whose objects move for good.
    pub expiry: Option<SystemTime>,
}

impl Restoring {
    /// Whether the copy is not there yet.
    #[must_use]
    pub fn is_running(&self, now: SystemTime) -> bool {
        now < self.ready
    }

    /// Whether the copy has come and gone.
    #[must_use]
    pub fn is_over(&self, now: SystemTime) -> bool {
        self.expiry.is_some_and(|expiry| expiry <= now)
    }

    /// The value of `x-amz-restore`.
    #[must_use]
    pub fn header(&self, now: SystemTime) -> String {
        match self.expiry {
            Some(expiry) if !self.is_running(now) => {
                format!(
                    "ongoing-request=\"false\", expiry-date=\"{}\"",
                    crate::text::http_date(expiry)
                )
            }
            _ => "ongoing-request=\"true\"".into(),
        }
    }
}

/// When a copy that counts from `from` expires: `days` later, and then at the next midnight UTC
/// if `at_midnight`.
#[must_use]
pub fn expiry(from: SystemTime, days: u32, at_midnight: bool) -> SystemTime {
    let exact = from + DAY * days;
    if !at_midnight {
        return exact;
    }
    let secs = exact.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    UNIX_EPOCH + Duration::from_secs((secs / 86_400 + 1) * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(secs)
    }

    /// The User Guide's example: 15 October 2012 10:30 plus 3 days is 19 October 00:00.
    #[test]
    fn a_copy_expires_at_the_midnight_after_its_days() {
        assert_eq!(expiry(at(1_350_297_000), 3, true), at(1_350_604_800));
        assert_eq!(expiry(at(1_350_297_000), 3, false), at(1_350_297_000 + 3 * 86_400));
    }

    #[test]
    fn the_restore_header_tells_running_from_done() {
        let thaw = Restoring {
            tier: Tier::Bulk,
            days: Some(1),
            ready: at(1_356_000_000),
            expiry: Some(at(1_356_048_000)),
        };
        assert_eq!(thaw.header(at(1_355_999_999)), "ongoing-request=\"true\"");
        assert_eq!(
            thaw.header(at(1_356_000_000)),
            "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2012 00:00:00 GMT\""
        );
        assert!(!thaw.is_over(at(1_356_047_999)) && thaw.is_over(at(1_356_048_000)));
    }

    #[test]
    fn deep_archives_have_no_expedited_tier() {
        assert_eq!(thaw_time(true, Tier::Expedited), None);
        assert_eq!(thaw_time(false, Tier::Expedited), Some(Duration::from_secs(180)));
        assert!(Tier::Expedited > Tier::Standard && Tier::Standard > Tier::Bulk);
    }
}
