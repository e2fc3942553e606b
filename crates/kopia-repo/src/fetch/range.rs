//! One range: its bytes by one request, or its contents one by one where that can't be.

use std::sync::{Arc, OnceLock};

use blob_core::{BlobError, ReadRange};
use bytes::Bytes;
use futures::{StreamExt, stream};
use kopia_format::index::IndexEntry;

use super::{FetchFrom, Fetched};
use crate::{
    PackReads, RangeRead, RepoError, Repository, Result, contents::read::read_error,
    read_plan::PlannedContent, state::blob_id,
};

/// Contents of one pack that are read by themselves at once.
const EACH_AT_ONCE: usize = 4;

/// What asking for a range gave.
pub(super) enum Got {
    /// Its bytes.
    Bytes(Bytes),
    /// Each content is to be read by itself.
    Each,
    /// The same is true of every content.
    Failed(RepoError),
}

/// A range of a pack, free of the plan that it comes from.
pub(super) struct Wanted {
    pub pack: Arc<str>,
    /// Without its contents.
    pub range: RangeRead,
    pub entries: Vec<IndexEntry>,
    /// Are other ranges of a pack read that could have become cold?
    pub has_others: bool,
}

impl Wanted {
    pub fn of(pack: &PackReads, range: &RangeRead) -> Self {
        let name: Arc<str> = pack.pack.as_str().into();
        let entries = range.contents.iter().map(|content| content.as_entry(&name)).collect();
        let range = RangeRead { contents: Vec::new(), ..*range };
        let has_others = pack.ranges.len() > 1 && name.starts_with('p');
        Self { pack: name, range, entries, has_others }
    }

    /// What befell the whole range, said of each content.
    pub fn failed(&self, error: &RepoError) -> Vec<Fetched> {
        self.entries.iter().map(|entry| (entry.id, Err(about(entry, error)))).collect()
    }
}

impl Repository {
    pub(super) async fn fetch_range(&self, from: FetchFrom, wanted: &Wanted) -> Got {
        if let Err(error) = self.shared().format.ensure_fresh().await {
            return Got::Failed(error);
        }
        let id = match blob_id(&wanted.pack) {
            Ok(id) => id,
            Err(error) => return Got::Failed(error),
        };
        let RangeRead { offset, length, .. } = wanted.range;
        let is_cached = from == FetchFrom::Anywhere && self.cache().is_some();
        let got = if self.may_be_cached(from, &wanted.pack) {
            self.shared().metadata_range(&id, offset, length).await
        } else if is_cached && wanted.entries.len() == 1 {
            // Through the cache of contents.
            return Got::Each;
        } else {
            let got = self.storage().get(&id, ReadRange::Bytes { offset, length }).await;
            got.inspect(|bytes| self.shared().meters.fetched(bytes.len()))
        };
        match got {
            Ok(bytes) => Got::Bytes(bytes),
            // What lies before the end of a pack that was cut is still to be had.
            Err(BlobError::InvalidRange { .. }) => Got::Each,
            Err(error) => Got::Failed(error.into()),
        }
    }

    /// May a range of `pack` come from the cache, unchecked as yet?
    pub(super) fn may_be_cached(&self, from: FetchFrom, pack: &str) -> bool {
        from == FetchFrom::Anywhere && pack.starts_with('q') && self.shared().keeps_metadata()
    }

    /// Reads each by itself, in order, until `outage` is set: when the storage fails, the contents
    /// after that are not asked for. Each request is tried many times, and an outage would use up
    /// what all requests may be tried again.
    pub(super) async fn read_each(
        &self,
        from: FetchFrom,
        entries: &[IndexEntry],
        outage: &OnceLock<RepoError>,
    ) -> Vec<Fetched> {
        let mut reads = Vec::with_capacity(entries.len());
        for entry in entries {
            reads.push(self.read_unless(outage, from, entry));
        }
        let mut reads = reads.into_iter();
        let mut all = Vec::with_capacity(entries.len());
        // The first one goes ahead: it may bring a whole pack into the cache.
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
        from: FetchFrom,
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

    async fn read_from(&self, from: FetchFrom, entry: &IndexEntry) -> Result<Bytes> {
        match from {
            FetchFrom::Anywhere => self.shared().read_entry(entry).await,
            FetchFrom::Storage => self.shared().read_stored(entry).await,
        }
    }
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
    pub(crate) fn as_entry(&self, pack: &Arc<str>) -> IndexEntry {
        IndexEntry {
            id: self.id,
            pack: Arc::clone(pack),
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
