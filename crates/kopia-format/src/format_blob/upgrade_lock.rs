//! The lock that keeps everyone out while a repository is being upgraded.
//!
//! The owner announces the upgrade in the format blob; others re-read that blob at least every
//! 15 minutes and stop in time. When the announced time has come, nobody else is writing.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    Result,
    fields::{Fields, Nanos},
    json::is_zero,
    time::{GoTime, nanos},
};

/// Blobs that keep the format blob from before an upgrade; the owner's ID follows.
pub const BACKUP_BLOB_PREFIX: &str = "kopia.repository.backup.";

/// An announced or running upgrade.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeLock {
    /// Who upgrades. Everyone else keeps out.
    #[serde(rename = "ownerID", skip_serializing_if = "String::is_empty")]
    pub owner_id: String,
    /// When it was announced.
    pub creation_time: GoTime,
    /// How long before the upgrade it was announced; zero means at once.
    #[serde(with = "nanos", skip_serializing_if = "is_zero")]
    pub advance_notice_duration: Duration,
    /// How long other clients may need to finish what they write.
    #[serde(rename = "ioDrainTimeout", with = "nanos", skip_serializing_if = "is_zero")]
    pub io_drain_timeout: Duration,
    /// How often the owner looks whether the others are gone.
    #[serde(with = "nanos", skip_serializing_if = "is_zero")]
    pub status_poll_interval: Duration,
    /// What to tell people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// By how much clocks may differ.
    #[serde(with = "nanos", skip_serializing_if = "is_zero")]
    pub max_permitted_clock_drift: Duration,
    /// Keys that this version doesn't know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl UpgradeLock {
    pub(crate) fn from_value(value: Value) -> Result<Self> {
        let mut fields = Fields::new("upgrade lock", value)?;
        let mut duration = |key| fields.or_zero::<Nanos>(key).map(|nanos| nanos.0);
        Ok(Self {
            advance_notice_duration: duration("advanceNoticeDuration")?,
            io_drain_timeout: duration("ioDrainTimeout")?,
            status_poll_interval: duration("statusPollInterval")?,
            max_permitted_clock_drift: duration("maxPermittedClockDrift")?,
            owner_id: fields.or_zero("ownerID")?,
            creation_time: fields.take("creationTime")?.unwrap_or(GoTime::ZERO),
            message: fields.or_zero("message")?,
            extra: fields.rest(),
        })
    }

    /// How long it takes until every client has seen the lock and finished.
    pub fn drain_interval(&self) -> Duration {
        self.max_permitted_clock_drift.saturating_add(self.io_drain_timeout.saturating_mul(2))
    }

    /// When the upgrade may begin, because nobody else writes any more.
    pub fn upgrade_time(&self) -> GoTime {
        let wait = self.advance_notice_duration.max(self.drain_interval());
        self.creation_time.saturating_add(wait)
    }

    /// Whether clients other than the owner must keep out at `now`.
    pub fn is_locked(&self, now: GoTime) -> bool {
        match self.advance_notice_duration.checked_sub(self.drain_interval()) {
            Some(open) => now >= self.creation_time.saturating_add(open),
            None => true,
        }
    }

    /// Whether nobody else writes any more at `now`.
    pub fn writers_drained(&self, now: GoTime) -> bool {
        now >= self.upgrade_time()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(advance_secs: u64) -> UpgradeLock {
        UpgradeLock::from_value(serde_json::json!({
            "ownerID": "me",
            "creationTime": "2026-01-01T05:30:00+05:30",
            "advanceNoticeDuration": advance_secs * 1_000_000_000,
            "ioDrainTimeout": 900_000_000_000_u64,
            "maxPermittedClockDrift": 300_000_000_000_u64,
        }))
        .unwrap()
    }

    fn after(lock: &UpgradeLock, secs: u64) -> GoTime {
        lock.creation_time.saturating_add(Duration::from_secs(secs))
    }

    #[test]
    fn without_notice_it_locks_at_once_and_drains_later() {
        let lock = lock(0);
        assert_eq!(lock.drain_interval(), Duration::from_secs(2100));
        assert!(lock.is_locked(after(&lock, 0)));
        assert!(!lock.writers_drained(after(&lock, 2099)));
        assert!(lock.writers_drained(after(&lock, 2100)));
    }

    #[test]
    fn with_notice_it_locks_one_drain_before_the_upgrade() {
        let lock = lock(10_000);
        assert!(!lock.is_locked(after(&lock, 7899)));
        assert!(lock.is_locked(after(&lock, 7900)));
        assert_eq!(lock.upgrade_time(), after(&lock, 10_000));
    }

    #[test]
    fn it_is_written_in_utc_and_with_kopias_omissions() {
        let text = String::from_utf8(crate::json::to_vec(&lock(0))).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"ownerID":"me","creationTime":"2026-01-01T00:00:00Z","#,
                r#""ioDrainTimeout":900000000000,"maxPermittedClockDrift":300000000000}"#
            )
        );
    }
}
