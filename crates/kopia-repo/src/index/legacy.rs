//! The index of a repository without epochs (format version 1): `n` blobs, less those that a
//! compaction replaced.
//!
//! A compaction writes new `n` blobs and then an `m` blob that says which ones they replace; the
//! replaced ones stay for a while. An `m` counts only if all its outputs are listed (docs/format/04
//! §5).

use blob_core::{BlobError, BlobMeta, ReadRange};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use kopia_format::legacy::{self, CompactionLog};

use super::{ActiveSet, epochs::index_blob, refresh::list};
use crate::{RepoError, Result, cache::Kind, state::Shared};

/// `m` blobs read at once.
const LOGS_READING: usize = 8;

/// What is to be read now.
pub(crate) async fn active_set(shared: &Shared) -> Result<ActiveSet> {
    let logs = list(&shared.storage, "m").await?;
    let blobs = list(&shared.storage, "n").await?;
    let reads: Vec<_> = logs.iter().map(|meta| read_log(shared, meta)).collect();
    let logs: Vec<Option<CompactionLog>> =
        stream::iter(reads).buffer_unordered(LOGS_READING).try_collect().await?;
    let logs: Vec<_> = logs.into_iter().flatten().collect();
    let listed: Vec<_> = blobs.iter().map(index_blob).collect();
    let active: std::collections::HashSet<&str> =
        legacy::active_set(&listed, &logs).iter().map(|blob| blob.id.as_str()).collect();
    let blobs = blobs.iter().filter(|meta| active.contains(meta.id.as_str())).cloned().collect();
    Ok(ActiveSet { blobs, watermark: None })
}

/// One compaction log; `None` if it vanished since it was listed.
async fn read_log(shared: &Shared, meta: &BlobMeta) -> Result<Option<CompactionLog>> {
    let name = meta.id.as_str();
    let damaged = |source| RepoError::IndexDamaged { blob: meta.id.clone(), source };
    if let Some(cache) = &shared.cache
        && let Some(plain) = cache.whole(Kind::Indexes, name).await
        && let Ok(log) = CompactionLog::parse(&plain)
    {
        return Ok(Some(log));
    }
    let sealed = match shared.storage.get(&meta.id, ReadRange::Full).await {
        Ok(sealed) => sealed,
        Err(BlobError::NotFound { .. }) => return Ok(None),
        Err(other) => return Err(other.into()),
    };
    let plain = shared.codec.open_blob(name, &sealed).map_err(damaged)?;
    let log = CompactionLog::parse(&plain).map_err(damaged)?;
    if let Some(cache) = &shared.cache {
        cache.store(Kind::Indexes, name, plain.into()).await;
    }
    Ok(Some(log))
}

/// Writes `shards` as new index blobs.
pub(crate) async fn write(
    shared: &Shared,
    shards: &[Bytes],
    session: &str,
) -> Result<Vec<BlobMeta>> {
    let suffix = format!("-{session}");
    let mut written = Vec::new();
    for shard in shards {
        written.push(shared.put_index("n", &suffix, shard).await?);
    }
    Ok(written)
}
