//! Reading by plan: each range with one request, each content opened as it comes.

use std::sync::Arc;

use blob_core::ReadRange;
use bytes::Bytes;
use dataplane::task;
use futures::{Stream, StreamExt, stream};
use kopia_format::{ContentId, index::IndexEntry};

use crate::{
    PackReads, RangeRead, ReadPlan, RepoError, Repository, Result, contents::read::read_error,
    read_plan::PlannedContent, state::blob_id,
};

/// A content and its bytes, or why they can't be had.
pub type Fetched = (ContentId, Result<Bytes>);

impl Repository {
    /// Fetches one range and opens every content in it. A content that is damaged doesn't hold up
    /// the others.
    pub async fn fetch(&self, pack: &PackReads, range: &RangeRead) -> Vec<Fetched> {
        let entries: Vec<_> = range.contents.iter().map(|c| c.as_entry(&pack.pack)).collect();
        match self.fetch_range(pack, range).await {
            Ok(bytes) => self.open_all(range, &entries, &bytes).await,
            // The error belongs to each of them; it can't be cloned, so each asks for itself, which
            // also finds what lies before the end of a pack that was cut.
            Err(Failure::Each) => {
                let reads = entries
                    .iter()
                    .map(|entry| async move { (entry.id, self.shared().read_entry(entry).await) });
                futures::future::join_all(reads).await
            }
            Err(Failure::All(make)) => entries.iter().map(|e| (e.id, Err(make(e)))).collect(),
        }
    }

    /// Fetches all that `plan` names, a few ranges at a time, and gives the contents as they come.
    /// Whoever doesn't take them holds up the fetching.
    pub fn fetch_all<'a>(&'a self, plan: &'a ReadPlan) -> impl Stream<Item = Fetched> + Send + 'a {
        let reads = plan.packs.iter().flat_map(|pack| pack.ranges.iter().map(move |r| (pack, r)));
        let missing = plan.missing.iter();
        let missing = missing.map(|id| (*id, Err(RepoError::ContentNotFound { id: *id })));
        stream::iter(missing).chain(
            stream::iter(reads)
                .map(move |(pack, range)| {
                    let repository = self.clone();
                    let (pack, range) = (pack.without_ranges(), range.clone());
                    // Read ahead, polled or not.
                    task::owned(async move { repository.fetch(&pack, &range).await })
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

    async fn fetch_range(&self, pack: &PackReads, range: &RangeRead) -> Result<Bytes, Failure> {
        self.shared().format.ensure_fresh().await.map_err(|_| Failure::Each)?;
        let cached = range.contents.len() == 1 || pack.pack.starts_with('q');
        if cached && self.cache().is_some() {
            // One content is read through the cache; a metadata pack is fetched whole anyway.
            return Err(Failure::Each);
        }
        let id = blob_id(&pack.pack).map_err(|_| Failure::Each)?;
        let wanted = ReadRange::Bytes { offset: range.offset, length: range.length };
        match self.storage().get(&id, wanted).await {
            Ok(bytes) => {
                self.shared().meters.fetched(bytes.len());
                Ok(bytes)
            }
            Err(blob_core::BlobError::NotFound { .. }) => {
                let pack = id.clone();
                Err(Failure::All(Box::new(move |entry| RepoError::PackMissing {
                    id: entry.id,
                    pack: pack.clone(),
                })))
            }
            Err(blob_core::BlobError::Archived { class, state, .. }) => {
                Err(Failure::All(Box::new(move |entry| {
                    let (id, class) = (id.clone(), class.clone());
                    let error = blob_core::BlobError::Archived { id: id.clone(), class, state };
                    read_error(error, entry, &id)
                })))
            }
            Err(_) => Err(Failure::Each),
        }
    }

    async fn open_all(
        &self,
        range: &RangeRead,
        entries: &[IndexEntry],
        bytes: &Bytes,
    ) -> Vec<Fetched> {
        let opened = entries.iter().map(|entry| async move {
            match slice_of(range, entry, bytes) {
                Some(sealed) => (entry.id, self.shared().decode(entry, sealed).await),
                // A plan may come from a file that somebody edited.
                None => (entry.id, self.shared().read_entry(entry).await),
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
    All(Box<dyn Fn(&IndexEntry) -> RepoError + Send + Sync>),
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
