//! Reading by plan: each range with one request, each content opened as it comes.

use std::sync::{Arc, OnceLock};

use blob_core::{BlobError, ReadRange};
use bytes::Bytes;
use dataplane::task;
use futures::{Stream, StreamExt, stream};
use kopia_format::{ContentId, index::IndexEntry};

use crate::{
    PackReads, RangeRead, ReadPlan, RepoError, Repository, Result, contents::read::read_error,
    read_plan::PlannedContent, state::blob_id,
};

/// Contents of one pack that are read by themselves at once.
const EACH_AT_ONCE: usize = 4;

/// A content and its bytes, or why they can't be had.
pub type Fetched = (ContentId, Result<Bytes>);

/// Where bytes may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The cache, where there is one and it has them.
    Anywhere,
    /// The storage, whatever the cache has.
    Storage,
}

impl Repository {
    /// Fetches one range and opens every content in it. A content that is damaged doesn't hold up
    /// the others.
    pub async fn fetch(&self, pack: &PackReads, range: &RangeRead) -> Vec<Fetched> {
        self.fetch_from(Origin::Anywhere, pack, range).await
    }

    async fn fetch_from(&self, from: Origin, pack: &PackReads, range: &RangeRead) -> Vec<Fetched> {
        let entries: Vec<_> = range.contents.iter().map(|c| c.as_entry(&pack.pack)).collect();
        match self.fetch_range(from, pack, range).await {
            Ok(bytes) => self.open_all(from, range, &entries, &bytes).await,
            Err(Failure::Each) => self.read_each(from, &entries).await,
            Err(Failure::All(error)) => {
                entries.iter().map(|entry| (entry.id, Err(about(entry, &error)))).collect()
            }
        }
    }

    /// Reads each by itself. The first one goes ahead: it may bring a whole pack into the cache.
    /// When the storage fails, the contents after that are not asked for: each request is tried
    /// many times, and an outage would use up what all requests may be tried again.
    async fn read_each(&self, from: Origin, entries: &[IndexEntry]) -> Vec<Fetched> {
        let outage = OnceLock::new();
        let mut reads = Vec::with_capacity(entries.len());
        for entry in entries {
            reads.push(self.read_unless(&outage, from, entry));
        }
        let mut reads = reads.into_iter();
        let mut all = Vec::with_capacity(entries.len());
        if let Some(first) = reads.next() {
            all.push(first.await);
        }
        let mut rest = stream::iter(reads).buffered(EACH_AT_ONCE);
        while let Some(read) = rest.next().await {
            all.push(read);
        }
        all
    }

    async fn read_unless(
        &self,
        outage: &OnceLock<RepoError>,
        from: Origin,
        entry: &IndexEntry,
    ) -> Fetched {
        if let Some(error) = outage.get() {
            return (entry.id, Err(about(entry, error)));
        }
        let read = self.read_from(from, entry).await;
        if let Err(error) = &read
            && !is_of_one_content(error)
        {
            // Another one may have set it: one is enough.
            let _ = outage.set(about(entry, error));
        }
        (entry.id, read)
    }

    async fn read_from(&self, from: Origin, entry: &IndexEntry) -> Result<Bytes> {
        match from {
            Origin::Anywhere => self.shared().read_entry(entry).await,
            Origin::Storage => self.shared().read_stored(entry).await,
        }
    }

    /// Fetches all that `plan` names, a few ranges at a time, and gives the contents as they come.
    /// Whoever doesn't take them holds up the fetching.
    pub fn fetch_all<'a>(&'a self, plan: &'a ReadPlan) -> impl Stream<Item = Fetched> + Send + 'a {
        self.fetch_all_from(Origin::Anywhere, plan)
    }

    /// Like [`fetch_all`](Self::fetch_all), but from the storage whatever the cache has: for who
    /// wants to know whether the storage still has it.
    pub fn fetch_all_stored<'a>(
        &'a self,
        plan: &'a ReadPlan,
    ) -> impl Stream<Item = Fetched> + Send + 'a {
        self.fetch_all_from(Origin::Storage, plan)
    }

    fn fetch_all_from<'a>(
        &'a self,
        from: Origin,
        plan: &'a ReadPlan,
    ) -> impl Stream<Item = Fetched> + Send + 'a {
        let reads = plan.packs.iter().flat_map(|pack| pack.ranges.iter().map(move |r| (pack, r)));
        let missing = plan.missing.iter();
        let missing = missing.map(|id| (*id, Err(RepoError::ContentNotFound { id: *id })));
        stream::iter(missing).chain(
            stream::iter(reads)
                .map(move |(pack, range)| {
                    let repository = self.clone();
                    let (pack, range) = (pack.without_ranges(), range.clone());
                    // Read ahead, polled or not.
                    task::owned(async move { repository.fetch_from(from, &pack, &range).await })
                })
                .buffer_unordered(self.ranges_at_once())
                .flat_map(stream::iter),
        )
    }

    /// So many ranges that all of them fit into the memory for chunks.
    fn ranges_at_once(&self) -> usize {
        let fitting = self.budget().capacity() / crate::read_plan::RANGE_BYTES_MAX;
        usize::try_from(fitting).unwrap_or(usize::MAX).clamp(2, self.shared().requests_max().max(2))
    }

    async fn fetch_range(
        &self,
        from: Origin,
        pack: &PackReads,
        range: &RangeRead,
    ) -> Result<Bytes, Failure> {
        self.shared().format.ensure_fresh().await.map_err(Failure::All)?;
        let cached = range.contents.len() == 1 || pack.pack.starts_with('q');
        if from == Origin::Anywhere && cached && self.cache().is_some() {
            // One content is read through the cache; a metadata pack is fetched whole anyway.
            return Err(Failure::Each);
        }
        let id = blob_id(&pack.pack).map_err(Failure::All)?;
        let wanted = ReadRange::Bytes { offset: range.offset, length: range.length };
        match self.storage().get(&id, wanted).await {
            Ok(bytes) => {
                self.shared().meters.fetched(bytes.len());
                Ok(bytes)
            }
            // What lies before the end of a pack that was cut is still to be had.
            Err(BlobError::InvalidRange { .. }) => Err(Failure::Each),
            Err(error) => Err(Failure::All(error.into())),
        }
    }

    async fn open_all(
        &self,
        from: Origin,
        range: &RangeRead,
        entries: &[IndexEntry],
        bytes: &Bytes,
    ) -> Vec<Fetched> {
        let opened = entries.iter().map(|entry| async move {
            match slice_of(range, entry, bytes) {
                Some(sealed) => (entry.id, self.shared().decode(entry, sealed).await),
                // A plan may come from a file that somebody edited.
                None => (entry.id, self.read_from(from, entry).await),
            }
        });
        futures::future::join_all(opened).await
    }
}

fn slice_of(range: &RangeRead, entry: &IndexEntry, bytes: &Bytes) -> Option<Bytes> {
    let from = usize::try_from(u64::from(entry.offset).checked_sub(range.offset)?).ok()?;
    let to = from.checked_add(entry.packed_length as usize)?;
    (to <= bytes.len()).then(|| bytes.slice(from..to))
}

/// Why a range was not fetched whole.
enum Failure {
    /// Each content is to be read by itself.
    Each,
    /// The same is true of every content.
    All(RepoError),
}

/// Does it say nothing about other contents of the pack?
fn is_of_one_content(error: &RepoError) -> bool {
    matches!(
        error,
        RepoError::ContentNotFound { .. }
            | RepoError::ContentDamaged { .. }
            | RepoError::PackTruncated { .. }
    )
}

/// What befell a whole pack, as the error of one content.
fn about(entry: &IndexEntry, error: &RepoError) -> RepoError {
    match (error.again(), blob_id(&entry.pack)) {
        (RepoError::Blob(error), Ok(pack)) => read_error(error, entry, &pack),
        (RepoError::PackMissing { pack, .. }, _) => RepoError::PackMissing { id: entry.id, pack },
        (RepoError::ContentArchived { pack, class, state, .. }, _) => {
            RepoError::ContentArchived { id: entry.id, pack, class, state }
        }
        (other, _) => other,
    }
}

impl PlannedContent {
    /// The entry that it was planned from, as far as reading needs it.
    pub(crate) fn as_entry(&self, pack: &str) -> IndexEntry {
        IndexEntry {
            id: self.id,
            pack: Arc::from(pack),
            offset: self.offset,
            packed_length: self.packed_length,
            original_length: self.original_length,
            timestamp: 0,
            deleted: false,
            format_version: 0,
            compression: self.compression,
            encryption_key_id: self.encryption_key_id,
        }
    }
}
