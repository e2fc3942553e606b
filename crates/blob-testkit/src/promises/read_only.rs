//! A storage whose info says read-only refuses every change, by type.

use blob_core::{
    BlobError, LockMode, Payload, PutAttributes, PutOptions, ThawRequest, Tier, Timestamp,
};

use super::{Fresh, Verdict, ensure, fails_as, id, list, skip};

pub(super) async fn a_read_only_storage_refuses_every_change(fresh: &Fresh) -> Verdict {
    let storage = fresh.storage();
    if !storage.info().read_only {
        return Err(skip("the storage takes writes"));
    }
    let before = list(storage, "").await?;
    let is = |error: &BlobError| matches!(error, BlobError::ReadOnly { .. });
    let new = id("read-only");
    let put = storage.put(&new, Payload::from(&b"x"[..]), &PutOptions::default()).await;
    fails_as("a put", put, "ReadOnly", is)?;
    fails_as("a delete", storage.delete(&new).await, "ReadOnly", is)?;
    if let Some(archive) = storage.archive() {
        let request = ThawRequest { tier: Tier::Bulk, days: 1 };
        fails_as("a thaw", archive.thaw(&new, &request).await, "ReadOnly", is)?;
        let reclass = archive.reclass(&new, &PutAttributes::default()).await;
        fails_as("a change of class", reclass, "ReadOnly", is)?;
    }
    if let Some(retain) = storage.retain() {
        let until = Timestamp::from_secs(9_000_000_000);
        let locked = retain.extend_retention(&new, until, LockMode::Governance).await;
        fails_as("a longer lock", locked, "ReadOnly", is)?;
    }
    fails_as("a head of an absent blob", storage.head(&new).await, "NotFound", |error| {
        error.is_not_found()
    })?;
    ensure!(list(storage, "").await? == before, "the list changed though nothing may change");
    Ok(())
}
