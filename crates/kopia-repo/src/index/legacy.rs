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

use super::{ActiveSet, DamagedIndex, epochs::index_blob, refresh::list};
use crate::{Result, cache::Kind, state::Shared};

/// `m` blobs read at once.
const LOGS_READING: usize = 8;

/// What is to be read now.
pub(crate) async fn active_set(shared: &Shared) -> Result<ActiveSet> {
    let logs = list(&shared.storage, "m").await?;
    let blobs = list(&shared.storage, "n").await?;
    let reads: Vec<_> = logs.iter().map(|meta| read_log(shared, meta)).collect();
    let mut reads = stream::iter(reads).buffer_unordered(LOGS_READING);
    let (mut logs, mut damaged) = (Vec::new(), Vec::new());
    while let Some(read) = reads.try_next().await? {
        match read {
            Read::Log(log) => logs.push(log),
            Read::Damaged(log) => damaged.push(log),
            Read::Gone => {}
        }
    }
    let listed: Vec<_> = blobs.iter().map(index_blob).collect();
    let active: std::collections::HashSet<&str> =
        legacy::active_set(&listed, &logs).iter().map(|blob| blob.id.as_str()).collect();
    let blobs = blobs.iter().filter(|meta| active.contains(meta.id.as_str())).cloned().collect();
    Ok(ActiveSet { blobs, watermark: None, damaged })
}

/// What became of one compaction log.
enum Read {
    Log(CompactionLog),
    Damaged(DamagedIndex),
    /// It vanished since it was listed.
    Gone,
}

/// One compaction log.
async fn read_log(shared: &Shared, meta: &BlobMeta) -> Result<Read> {
    let name = meta.id.as_str();
    if let Some(cache) = &shared.cache
        && let Some(plain) = cache.whole(Kind::Indexes, name).await
        && let Ok(log) = CompactionLog::parse(&plain)
    {
        return Ok(Read::Log(log));
    }
    let sealed = match shared.storage.get(&meta.id, ReadRange::Full).await {
        Ok(sealed) => sealed,
        Err(BlobError::NotFound { .. }) => return Ok(Read::Gone),
        Err(other) => return Err(other.into()),
    };
    let opened = shared.codec.open_blob(name, &sealed);
    let parsed = opened.and_then(|plain| Ok((CompactionLog::parse(&plain)?, plain)));
    let (log, plain) = match parsed {
        Ok(parsed) => parsed,
        Err(source) => return Ok(Read::Damaged(DamagedIndex { blob: meta.clone(), source })),
    };
    if let Some(cache) = &shared.cache {
        cache.store(Kind::Indexes, name, plain.into()).await;
    }
    Ok(Read::Log(log))
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
