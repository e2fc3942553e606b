//! Locks of blobs in memory: when they end, and their extension by S3's rules.
//!
//! Any lock can be made longer and a soft one strict, none shorter or softer; S3 calls the right to
//! do that "bypass", and nobody has it here:
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html>

use async_trait::async_trait;

use super::MemoryStorage;
use crate::{BlobError, BlobId, LockMode, PutAttributes, Result, Retain, Timestamp};

/// A lock and its end.
type Until = (LockMode, Timestamp);

impl MemoryStorage {
    /// The blob's lock and when it ends, also one that has ended; `None` if it never had one, or if
    /// there is no such blob.
    pub fn locked_until(&self, id: &BlobId) -> Option<(LockMode, Timestamp)> {
        self.blobs().get(id)?.lock
    }
}

/// The lock that is asked for at `now`.
pub(super) fn lock_of(attributes: &PutAttributes, now: Timestamp) -> Option<Until> {
    attributes.lock.map(|lock| (lock.mode, now.saturating_add(lock.period)))
}

/// The lock that keeps what both promise.
pub(super) fn stricter(one: Option<Until>, other: Option<Until>) -> Option<Until> {
    match (one, other) {
        (Some(one), Some(other)) => Some((one.0.max(other.0), one.1.max(other.1))),
        (one, other) => one.or(other),
    }
}

#[async_trait]
impl Retain for MemoryStorage {
    async fn extend_retention(&self, id: &BlobId, until: Timestamp, mode: LockMode) -> Result<()> {
        let now = self.clock.now();
        let mut blobs = self.blobs();
        let blob = blobs.get_mut(id).ok_or_else(|| BlobError::NotFound { id: id.clone() })?;
        if until <= now {
            let (option, reason) = ("object lock".to_owned(), "its end has passed".to_owned());
            return Err(BlobError::InvalidOption { option, reason });
        }
        // A lock that has ended promises nothing any more.
        if let Some((had, end)) = blob.lock.filter(|(_, end)| *end > now)
            && (end > until || had > mode)
        {
            return Err(BlobError::Locked { id: id.clone(), until: Some(end) });
        }
        blob.lock = Some((mode, until));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{BlobStorage, Lock, ManualClock, PutOptions, StorageClass};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const START: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn after(days: u32) -> Timestamp {
        START.saturating_add(DAY * days)
    }

    #[tokio::test]
    async fn a_lock_gets_longer_and_stricter_only_until_it_ends() {
        use LockMode::{Compliance, Governance};
        let clock = Arc::new(ManualClock::at(START));
        let memory = MemoryStorage::with_clock(clock.clone());
        let id = BlobId::new("p1").unwrap();
        let lock = Some(Lock { mode: Governance, period: DAY * 10 });
        let attributes = PutAttributes { lock, ..PutAttributes::default() };
        let options = PutOptions { attributes, ..PutOptions::default() };
        memory.put(&id, vec![7].into(), &options).await.unwrap();
        assert_eq!(memory.locked_until(&id), Some((Governance, after(10))));
        memory.set_class(&id, StorageClass::DEEP_ARCHIVE);

        memory.extend_retention(&id, after(20), Governance).await.unwrap();
        let shorter = memory.extend_retention(&id, after(19), Compliance).await;
        assert!(matches!(shorter, Err(BlobError::Locked { until: Some(u), .. }) if u == after(20)));
        memory.extend_retention(&id, after(20), Compliance).await.unwrap();
        let softer = memory.extend_retention(&id, after(30), Governance).await;
        assert!(matches!(softer, Err(BlobError::Locked { .. })), "{softer:?}");
        assert_eq!(memory.locked_until(&id), Some((Compliance, after(20))));

        clock.advance(DAY * 21);
        memory.extend_retention(&id, after(30), Governance).await.unwrap();
        let passed = memory.extend_retention(&id, after(21), Governance).await;
        assert!(matches!(passed, Err(BlobError::InvalidOption { .. })), "{passed:?}");
        assert!(memory.without_classes().retain().is_none(), "as a folder");
    }
}
