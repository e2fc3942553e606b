//! The index of a repository with epochs: which blobs to read, and under which epoch to write.
//!
//! Names decide ([`kopia_format::epoch`]); here is when they are listed and for how long a listing
//! counts: the repository's refresh interval, from the beginning of the listing. A writer needs
//! three quarters of it left, looks again after writing, and withdraws what it wrote if two epochs
//! have begun meanwhile, since readers may use a compaction by then that lacks it (docs/format/04
//! §6). One listing of all `x` blobs serves for the six that Kopia makes: it is one request for
//! most repositories, and no set can change between two of its lists.

use std::{collections::HashMap, time::Duration};

use blob_core::{BlobMeta, Timestamp};
use bytes::Bytes;
use kopia_format::{
    epoch::{EpochLists, EpochSnapshot, IndexBlobName, set_suffix, uncompacted_prefix},
    index::IndexBlob,
    time::GoTime,
};

use super::{ActiveSet, refresh::list};
use crate::{RepoError, Result, state::Shared};

/// How often a listing that took longer than it may count is made again.
const ATTEMPTS: u32 = 10;

/// The epochs as one listing showed them.
#[derive(Debug)]
pub(crate) struct EpochState {
    snapshot: EpochSnapshot,
    blobs: HashMap<String, BlobMeta>,
    read_at: Timestamp,
    valid_for: Duration,
}

impl EpochState {
    fn age(&self, shared: &Shared) -> Duration {
        shared.env().clock.now().since(self.read_at)
    }

    fn is_valid(&self, shared: &Shared) -> bool {
        self.age(shared) < self.valid_for
    }

    /// Is enough of its time left to begin writing?
    fn is_fresh(&self, shared: &Shared) -> bool {
        self.age(shared) < self.valid_for / 4
    }
}

pub(crate) fn index_blob(meta: &BlobMeta) -> IndexBlob {
    IndexBlob {
        id: meta.id.as_str().to_owned(),
        length: meta.size,
        timestamp: GoTime::from_unix_nanos(meta.modified.nanos()),
    }
}

async fn read_state(shared: &Shared) -> Result<EpochState> {
    for _ in 0..ATTEMPTS {
        let read_at = shared.env().clock.now();
        let mut lists = EpochLists::default();
        let (mut uncompacted, mut blobs) = (Vec::new(), HashMap::new());
        // Sets are the first that become complete in the order of IDs, which few storages list in.
        let mut listed = list(&shared.storage, "x").await?;
        listed.sort_by(|a, b| a.id.cmp(&b.id));
        for meta in listed {
            let blob = index_blob(&meta);
            match IndexBlobName::parse(meta.id.as_str()) {
                Some(IndexBlobName::Marker(_)) => lists.markers.push(blob),
                Some(IndexBlobName::Watermark(_)) => lists.watermarks.push(blob),
                Some(IndexBlobName::Single(_)) => lists.singles.push(blob),
                Some(IndexBlobName::Range(..)) => lists.ranges.push(blob),
                Some(IndexBlobName::Uncompacted(_)) => uncompacted.push(blob),
                None => continue,
            }
            blobs.insert(meta.id.as_str().to_owned(), meta);
        }
        let mut snapshot = EpochSnapshot::new(lists);
        snapshot.add_all_uncompacted(uncompacted);
        let valid_for = shared.format.format().epoch.refresh_frequency;
        let state = EpochState { snapshot, blobs, read_at, valid_for };
        if state.is_valid(shared) {
            return Ok(state);
        }
    }
    Err(RepoError::Unsupported {
        op: "listing the index",
        reason: "a listing takes longer than the repository's epoch refresh interval".into(),
    })
}

impl Shared {
    /// The epochs as one listing of now shows them; `None` where there are none.
    pub(crate) async fn epochs(&self) -> Result<Option<EpochSnapshot>> {
        if !self.format.format().epochs_enabled() {
            return Ok(None);
        }
        Ok(Some(read_state(self).await?.snapshot))
    }
}

/// What is to be read now.
pub(crate) async fn active_set(
    shared: &Shared,
    state: &mut Option<EpochState>,
) -> Result<ActiveSet> {
    let state = state.insert(read_state(shared).await?);
    let set = state.snapshot.complete_index_set()?;
    let blobs = set.iter().map(|blob| state.blobs[&blob.id].clone()).collect();
    let watermark = state.snapshot.watermark();
    Ok(ActiveSet { blobs, watermark, damaged: Vec::new() })
}

/// Writes `shards` into the current epoch.
pub(crate) async fn write(
    shared: &Shared,
    state: &mut Option<EpochState>,
    shards: &[Bytes],
    session: &str,
) -> Result<Vec<BlobMeta>> {
    let suffix = set_suffix(session, shards.len());
    let mut written: Vec<BlobMeta> = Vec::new();
    let mut epoch = None;
    while written.len() < shards.len() {
        // A state that has begun to count may be used until it ends, not only in its first quarter.
        let usable = match state.as_ref() {
            Some(state) if written.is_empty() => state.is_fresh(shared),
            Some(state) => state.is_valid(shared),
            None => false,
        };
        if !usable {
            *state = Some(read_state(shared).await?);
        }
        let now = state.as_ref().expect("just read").snapshot.write_epoch();
        if epoch.replace(now).is_some_and(|before| before != now) {
            withdraw(shared, &written).await?;
            written.clear();
        }
        let shard = &shards[written.len()];
        written.push(shared.put_index(&uncompacted_prefix(now), &suffix, shard).await?);
    }
    check_epoch(shared, state, epoch, &written).await?;
    Ok(written)
}

/// Fails if two epochs began while `written` was being written.
async fn check_epoch(
    shared: &Shared,
    state: &mut Option<EpochState>,
    epoch: Option<u64>,
    written: &[BlobMeta],
) -> Result<()> {
    let Some(epoch) = epoch else { return Ok(()) };
    let state = state.insert(read_state(shared).await?);
    let current = state.snapshot.write_epoch();
    if current < epoch + 2 {
        return Ok(());
    }
    withdraw(shared, written).await?;
    Err(RepoError::WriteTooSlow { written: epoch, current })
}

async fn withdraw(shared: &Shared, written: &[BlobMeta]) -> Result<()> {
    for meta in written {
        shared.storage.delete(&meta.id).await?;
    }
    Ok(())
}
