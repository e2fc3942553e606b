//! A lock can be extended, also of what is archived, and is never made shorter or softer.
//!
//! Only for storages with [`blob_core::BlobStorage::retain`] that keep locks: a bucket that was made
//! without object lock refuses the first one by type, and the rest does not concern it. Facts:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectRetention.html>.

use std::time::Duration;

use blob_core::{
    BlobError, BlobId, DynStorage, Lock, LockMode, PutAttributes, PutOptions, Result, StorageClass,
    Timestamp,
};

use super::{Fresh, Must, Verdict, ensure, fails_as, id, pattern, skip, writable};

const DAY: u64 = 86_400;

async fn put_locked(
    storage: &DynStorage,
    blob: &BlobId,
    class: StorageClass,
    lock: Option<Lock>,
) -> Result<Timestamp> {
    let attributes = PutAttributes { class: Some(class), lock, ..PutAttributes::default() };
    let options = PutOptions { attributes, ..PutOptions::default() };
    storage.put(blob, pattern(21, 300).into(), &options).await?;
    // The storage's clock is the one that locks end by, and this is all that it tells of it.
    Ok(storage.head(blob).await?.modified)
}

pub(super) async fn a_lock_is_extended_and_never_shortened(fresh: &Fresh) -> Verdict {
    let storage = writable(fresh)?;
    let retain = storage.retain().ok_or_else(|| skip("the storage extends no locks"))?;
    let lock = Some(Lock { mode: LockMode::Compliance, period: Duration::from_secs(DAY) });
    let (warm, cold) = (StorageClass::STANDARD, StorageClass::DEEP_ARCHIVE);
    for (blob, class) in [(id("p-locked"), warm), (id("p-locked-cold"), cold)] {
        let put = put_locked(storage, &blob, class.clone(), lock).await;
        if matches!(put, Err(BlobError::InvalidOption { .. })) {
            let none = put_locked(storage, &blob, class.clone(), None).await;
            let now = none.must("a put without a lock")?;
            let until = now.saturating_add(Duration::from_secs(2 * DAY));
            let kept = retain.extend_retention(&blob, until, LockMode::Governance).await;
            fails_as("a lock where none is kept", kept, "InvalidOption", |error| {
                matches!(error, BlobError::InvalidOption { .. })
            })?;
            return Err(skip("the storage keeps no locks"));
        }
        let now = put.must("a put with a lock")?;
        let after = |days| now.saturating_add(Duration::from_secs(days * DAY));
        for what in ["an extension", "the same extension again", "one more by a day"] {
            let until = after(if what.starts_with("one") { 6 } else { 5 });
            retain.extend_retention(&blob, until, LockMode::Compliance).await.must(what)?;
        }
        let is_locked =
            |error: &BlobError| matches!(error, BlobError::Locked { id, .. } if *id == blob);
        let shorter = retain.extend_retention(&blob, after(3), LockMode::Compliance).await;
        fails_as("a shorter lock", shorter, "Locked", is_locked)?;
        let softer = retain.extend_retention(&blob, after(9), LockMode::Governance).await;
        fails_as("a softer lock", softer, "Locked", is_locked)?;
        let meta = storage.head(&blob).await.must("the head of a locked blob")?;
        ensure!(meta.class == Some(class), "an extension left the class {:?}", meta.class);
        ensure!(meta.modified == now, "an extension wrote the blob anew, at {:?}", meta.modified);
    }
    let far = Timestamp::from_secs(9_000_000_000);
    let nothing = retain.extend_retention(&id("absent"), far, LockMode::Governance).await;
    fails_as("locking nothing", nothing, "NotFound", |error| error.is_not_found())?;
    let long_ago = Timestamp::from_secs(1_000_000_000);
    let passed = retain.extend_retention(&id("p-locked"), long_ago, LockMode::Compliance).await;
    fails_as("a lock that has ended", passed, "InvalidOption or Locked", |error| {
        matches!(error, BlobError::InvalidOption { .. } | BlobError::Locked { .. })
    })?;
    Ok(())
}
