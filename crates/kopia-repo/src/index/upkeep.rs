//! What the owner of maintenance writes to the index: compactions, markers, entries that only point.
//!
//! Writers never do any of this. Which blobs may be merged, and when, is decided by names and times
//! alone ([`kopia_format::epoch`], [`kopia_format::legacy`]); here it is carried out. Merging walks
//! all inputs at once in the order of IDs, twice: what it takes of memory is the output, sealed and
//! plain. Format: docs/format/04-index-epochs.md §5, §6.5.

use std::sync::Arc;

use blob_core::{BlobMeta, Timestamp};
use bytes::Bytes;
use dataplane::task;
use kopia_format::{
    SessionId,
    epoch::{
        MARKER_BODY, WATERMARK_BODY, compaction_suffix, marker_name, range_prefix, single_prefix,
        watermark_name,
    },
    index::{
        IndexBlob, IndexBuilder, IndexEntry, SHARD_LEN_MAX, SUFFIX_LEN, encode_sorted, merge,
        shard_of,
    },
    legacy::PREFIX_INDEX,
};

use super::{ActiveSet, load::LoadError, segments::Segment};
use crate::{
    RepoError, Repository, Result,
    state::{Shared, blob_id, random},
};

/// Of which epochs a compaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompactionOf {
    /// One epoch: `xs`.
    Epoch(u64),
    /// All epochs from one to another: `xr`.
    Range(u64, u64),
}

impl CompactionOf {
    fn prefix(self) -> String {
        match self {
            Self::Epoch(epoch) => single_prefix(epoch),
            Self::Range(min, max) => range_prefix(min, max),
        }
    }
}

impl Repository {
    /// Merges `inputs`, all index blobs of these epochs, into a set of blobs that takes their place.
    /// Deletions are kept. Inputs that are empty together make no blob.
    ///
    /// # Errors
    /// [`RepoError::IndexMissing`] when an input is gone, [`RepoError::IndexDamaged`], and what the
    /// storage may give. What was written of a set that is not whole counts for nobody.
    pub async fn compact_epochs(
        &self,
        of: CompactionOf,
        inputs: &[IndexBlob],
    ) -> Result<Vec<BlobMeta>> {
        let name = move |shared: &Shared, count| {
            (of.prefix(), compaction_suffix(random(shared.env()), count))
        };
        self.compact(inputs, None, |_| None, name).await
    }

    /// Merges index blobs of a repository without epochs into new ones, without the contents that
    /// were deleted before `dropped_before`, in seconds since 1970. They count once a compaction log
    /// says so.
    ///
    /// # Errors
    /// As [`compact_epochs`](Self::compact_epochs).
    pub async fn compact_legacy(
        &self,
        inputs: &[IndexBlob],
        dropped_before: Option<i64>,
    ) -> Result<Vec<BlobMeta>> {
        // Here a deletion at the very second stays: `<`, where a watermark is `<=`.
        let watermark = dropped_before.map(|before| before.saturating_sub(1));
        let random = |shared: &Shared| Some(random(shared.env()));
        let name = |_: &Shared, _| (PREFIX_INDEX.to_owned(), String::new());
        self.compact(inputs, watermark, random, name).await
    }

    /// Merges `inputs`, and puts what comes of it under the prefix and suffix that `name` gives for so
    /// many blobs.
    async fn compact(
        &self,
        inputs: &[IndexBlob],
        watermark: Option<i64>,
        random: impl Fn(&Shared) -> Option<[u8; SUFFIX_LEN]> + Send + 'static,
        name: impl FnOnce(&Shared, usize) -> (String, String) + Send + 'static,
    ) -> Result<Vec<BlobMeta>> {
        self.shared().check_writable_whole("compacting the index")?;
        let (shared, inputs) = (Arc::clone(self.shared()), inputs.to_vec());
        // A task of its own: whoever holds the turn must get on, polled or not.
        task::owned(async move {
            let _turn = shared.index.turn.lock().await;
            let segments = shared.inputs(&inputs).await?;
            let shards = shared.merged(segments, watermark, random).await?;
            let (prefix, suffix) = name(&shared, shards.len());
            let mut written = Vec::with_capacity(shards.len());
            for shard in shards {
                written.push(shared.put_index(&prefix, &suffix, &shard).await?);
            }
            Ok(written)
        })
        .await
    }

    /// Seals a small blob that is named by its hash, and puts it: compaction logs and cleanup
    /// schedules of a repository without epochs.
    ///
    /// # Errors
    /// What the storage may give.
    pub async fn put_sealed(&self, prefix: &str, plain: &[u8]) -> Result<BlobMeta> {
        self.shared().check_writable_whole("writing")?;
        self.shared().put_index(prefix, "", &Bytes::copy_from_slice(plain)).await
    }

    /// The decrypted bytes of a blob that is named by its hash.
    ///
    /// # Errors
    /// [`RepoError::IndexDamaged`], and what the storage may give.
    pub async fn read_sealed(&self, name: &str) -> Result<Vec<u8>> {
        let id = blob_id(name)?;
        let sealed = self.storage().get(&id, blob_core::ReadRange::Full).await?;
        let opened = self.codec().open_blob(name, &sealed);
        opened.map_err(|source| RepoError::IndexDamaged { blob: id, source })
    }

    /// Begins `epoch`: the one after the current one, and only when that may end
    /// ([`kopia_format::epoch::EpochSnapshot::should_advance`]).
    ///
    /// # Errors
    /// What the storage may give.
    pub async fn begin_epoch(&self, epoch: u64) -> Result<()> {
        self.put_marker(&marker_name(epoch), MARKER_BODY).await
    }

    /// Makes all contents not exist that were deleted at `seconds` since 1970 or before.
    ///
    /// # Errors
    /// What the storage may give.
    pub async fn put_watermark(&self, seconds: i64) -> Result<()> {
        self.put_marker(&watermark_name(seconds), WATERMARK_BODY).await
    }

    async fn put_marker(&self, name: &str, body: &'static [u8]) -> Result<()> {
        self.shared().check_writable_whole("writing a marker of the index")?;
        let id = blob_id(name)?;
        self.storage().put(&id, body.into(), &self.put_options(&id)).await?;
        Ok(())
    }

    /// Writes entries that point at bytes which packs in the storage already hold: deletions, and
    /// their opposite. No pack is read or written. They count at once. Alone of all that writes this
    /// is possible while index blobs are damaged: it is what brings back what they said.
    ///
    /// # Errors
    /// [`RepoError::WriteTooSlow`] when two epochs began while the index was being written; what
    /// the storage may give.
    pub async fn write_entries(&self, entries: Vec<IndexEntry>) -> Result<()> {
        self.check_writable("writing the index")?;
        let shared = self.shared();
        let builder: IndexBuilder = entries.into_iter().collect();
        let version = shared.format.format().index_version;
        let shards = builder.build_shards(version, SHARD_LEN_MAX, || None)?;
        // No marker: it guards packs that no index names yet, and there are none.
        let session = SessionId::generate(random(shared.env()), shared.now_secs());
        shared.write_index_blobs(shards, session.to_string()).await?;
        Ok(())
    }
}

impl Shared {
    /// The blobs `inputs`, those that are loaded and the others fetched.
    async fn inputs(&self, inputs: &[IndexBlob]) -> Result<Vec<Arc<Segment>>> {
        let mut set = ActiveSet::default();
        for blob in inputs {
            let modified = Timestamp::from_nanos(blob.timestamp.unix_nanos());
            let (id, size) = (blob_id(&blob.id)?, blob.length);
            let (class, state, has_checksum) = (None, None, None);
            set.blobs.push(BlobMeta { id, size, modified, class, state, has_checksum });
        }
        let loaded =
            self.load_set(&set, &self.index.view()).await.map_err(|error| match error {
                LoadError::Failed(error) => error,
                LoadError::Gone(blob) => RepoError::IndexMissing { blob, attempts: 1 },
            })?;
        match loaded.damaged.first() {
            Some(damaged) => Err(damaged.error()),
            None => Ok(loaded.segments),
        }
    }

    /// The bytes of as many indexes as all entries of `segments` need; none when there are none.
    async fn merged(
        self: &Arc<Self>,
        segments: Vec<Arc<Segment>>,
        watermark: Option<i64>,
        suffix: impl Fn(&Self) -> Option<[u8; SUFFIX_LEN]> + Send + 'static,
    ) -> Result<Vec<Bytes>> {
        let (shared, version) = (Arc::clone(self), self.format.format().index_version);
        let merging = move || {
            segments.iter().for_each(|segment| segment.index.bytes().expect_order(true));
            let all = || merge(segments.iter().map(|segment| segment.index.iter()), watermark);
            let count = all().count().div_ceil(SHARD_LEN_MAX);
            let mut shards = Vec::with_capacity(count);
            for shard in 0..count {
                let entries = || all().filter(|entry| shard_of(&entry.id, count) == shard);
                if count == 1 {
                    shards.push(encode_sorted(version, all, suffix(&shared))?.into());
                } else if entries().next().is_some() {
                    shards.push(encode_sorted(version, entries, suffix(&shared))?.into());
                }
            }
            segments.iter().for_each(|segment| {
                segment.index.bytes().expect_order(false);
                segment.index.bytes().give_back();
            });
            Ok(shards)
        };
        self.cpu.run(merging).await
    }
}
