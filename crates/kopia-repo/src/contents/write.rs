//! Taking a content: hash, look up, compress and seal in one job on one core, then append in the
//! order of asking.
//!
//! A content that an index or this writer knows already is not written again, unless it is marked
//! deleted: then it is written anew with a later time, since collection may be about to drop the
//! old one (docs/format/03 §6).

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use blob_core::Timestamp;
use bytes::Bytes;
use dataplane::{Reorder, Ticket};
use kopia_format::{ContentId, FormatError, compress::Compressor, index::IndexEntry};
use tokio::{sync::Notify, sync::oneshot, task::JoinSet};

use super::pending::PendingContents;
use crate::{Repository, RepositoryWriter, Result, state::Shared};

/// The interior of a [`RepositoryWriter`].
pub(crate) struct Writing {
    pub repository: Repository,
    pub pending: Arc<Mutex<PendingContents>>,
    order: Reorder<Sealed>,
    /// Uploads that run beside the callers.
    pub uploads: Mutex<JoinSet<()>>,
    /// Rings when the upload of a pack ended, well or not.
    pub moved: Arc<Notify>,
    /// One flush at a time.
    pub flushing: tokio::sync::Mutex<()>,
    /// One writing of index blobs at a time. Apart from `flushing`, which is held while packs go
    /// up, so that the index is also written during a long flush.
    pub indexing: tokio::sync::Mutex<()>,
    pub manifests: crate::manifests::PendingManifests,
    pub uploaded_bytes: AtomicU64,
}

/// The result of a job: a content that is ready to be appended.
struct Sealed {
    entry: IndexEntry,
    bytes: Bytes,
    /// Append even if the content is there: it is being moved.
    moved: bool,
    done: oneshot::Sender<()>,
}

/// Why and with what time a content is written.
#[derive(Clone, Copy)]
enum Reason {
    /// Somebody put it: only if it is new, or deleted.
    Put,
    /// It is moved to a new pack; deleted stays deleted.
    Move { deleted: bool },
}

impl Writing {
    pub(crate) fn new(repository: Repository) -> Self {
        let pending = PendingContents::default();
        let moved = pending.moved();
        let pending = Arc::new(Mutex::new(pending));
        let (shared, sink) = (Arc::clone(repository.shared()), Arc::clone(&pending));
        let order = Reorder::new(move |sealed: Sealed| append(&shared, &sink, sealed));
        Self {
            repository,
            pending,
            order,
            uploads: Mutex::new(JoinSet::new()),
            moved,
            flushing: tokio::sync::Mutex::new(()),
            indexing: tokio::sync::Mutex::new(()),
            manifests: Default::default(),
            uploaded_bytes: AtomicU64::new(0),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        self.repository.shared()
    }

    pub(crate) fn pending(&self) -> MutexGuard<'_, PendingContents> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs for one content at a time, in order.
fn append(shared: &Shared, pending: &Mutex<PendingContents>, sealed: Sealed) {
    let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
    // Two callers may have sealed the same content at the same time: the first one counts.
    let there = pending.find(&sealed.entry.id).is_some_and(|p| !p.entry.deleted);
    if sealed.moved || !there {
        shared.meters.written(sealed.entry.original_length, sealed.bytes.len());
        pending.append(shared, sealed.entry, sealed.bytes);
    }
    // The caller may have stopped waiting.
    let _ = sealed.done.send(());
}

impl RepositoryWriter {
    /// Writes a content, unless it is there, and gives its ID.
    ///
    /// The content is compressed only where the repository can (index version 2), and only if that
    /// makes it smaller.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] for a prefix outside `g`..`z`, or for a compressor on data in a
    /// repository of index version 1 (objects compress there); what the storage gave when an
    /// earlier pack could not be uploaded.
    pub async fn put_content(
        &self,
        bytes: Bytes,
        prefix: Option<u8>,
        compressor: Option<Compressor>,
    ) -> Result<ContentId> {
        let compressor = self.allowed(prefix, compressor)?;
        self.before_write().await?;
        self.seal_and_append(bytes, prefix, compressor, Reason::Put).await
    }

    /// Without content compression, metadata stays as it is and data may not be asked for.
    fn allowed(
        &self,
        prefix: Option<u8>,
        compressor: Option<Compressor>,
    ) -> Result<Option<Compressor>> {
        if self.shared().format.format().supports_content_compression() || compressor.is_none() {
            return Ok(compressor);
        }
        if prefix.is_some() {
            return Ok(None);
        }
        let reason = "this repository's index can't name compressed contents".into();
        Err(FormatError::Invalid { what: "compressor", reason }.into())
    }

    async fn seal_and_append(
        &self,
        bytes: Bytes,
        prefix: Option<u8>,
        compressor: Option<Compressor>,
        reason: Reason,
    ) -> Result<ContentId> {
        let writing = Arc::clone(&self.writing);
        let ticket = writing.order.ticket();
        let (done, appended) = oneshot::channel();
        let job = move || {
            let job = SealJob { writing: &writing, bytes, prefix, compressor, reason };
            job.run(ticket, done)
        };
        let outcome = self.shared().cpu.run(job).await?;
        if outcome.is_new {
            // Everything before it ends by itself, so this does not hang.
            let _ = appended.await;
            self.start_uploads();
        }
        Ok(outcome.id)
    }

    /// Reads a content and writes it again into a new pack, with a later time; deleted stays
    /// deleted.
    ///
    /// # Errors
    /// [`RepoError::ContentNotFound`](crate::RepoError::ContentNotFound), and what reading and
    /// writing may give.
    pub async fn rewrite_content(&self, id: &ContentId) -> Result<()> {
        let entry = self.known_entry(id).await?;
        let bytes = self.content(id).await?;
        let compressor = match entry.compression {
            0 => None,
            id => Some(Compressor::by_id(id)?),
        };
        self.before_write().await?;
        let reason = Reason::Move { deleted: entry.deleted };
        self.seal_and_append(bytes, id.prefix(), compressor, reason).await?;
        Ok(())
    }

    /// Marks a content as deleted. False if it was already. Nothing is erased: maintenance does
    /// that, much later.
    ///
    /// # Errors
    /// [`RepoError::ContentNotFound`](crate::RepoError::ContentNotFound), and what the storage may
    /// give.
    pub async fn delete_content(&self, id: &ContentId) -> Result<bool> {
        self.before_write().await?;
        let entry = self.known_entry(id).await?;
        if entry.deleted {
            return Ok(false);
        }
        let timestamp = self.later_than(entry.timestamp);
        let mut pending = self.writing.pending();
        let committed = self.shared().index.view().find(id)?;
        let left = if pending.take_back(id) {
            // It may have been moved there, and is still where it was before.
            pending.in_closed_pack(id).or(committed)
        } else {
            Some(entry)
        };
        if let Some(left) = left.filter(|left| !left.deleted) {
            pending.point(self.shared(), IndexEntry { deleted: true, timestamp, ..left });
        }
        Ok(true)
    }

    /// Brings a deleted content back by an index entry alone: its pack is not read. False if it was
    /// not deleted.
    ///
    /// # Errors
    /// [`RepoError::ContentNotFound`](crate::RepoError::ContentNotFound) if maintenance has dropped
    /// it, and what the storage may give.
    pub async fn undelete_content(&self, id: &ContentId) -> Result<bool> {
        self.before_write().await?;
        let entry = self.known_entry(id).await?;
        if !entry.deleted {
            return Ok(false);
        }
        let timestamp = self.later_than(entry.timestamp);
        let entry = IndexEntry { deleted: false, timestamp, ..entry };
        self.writing.pending().point(self.shared(), entry);
        Ok(true)
    }

    fn later_than(&self, timestamp: i64) -> i64 {
        self.shared().now_secs().max(timestamp + 1)
    }

    /// Bytes of packs that the storage has taken so far.
    pub fn uploaded_bytes(&self) -> u64 {
        self.writing.uploaded_bytes.load(Ordering::Relaxed)
    }

    /// Since when the writer holds something that no index names.
    pub fn pending_since(&self) -> Option<Timestamp> {
        self.writing.pending().since()
    }
}

struct SealJob<'a> {
    writing: &'a Writing,
    bytes: Bytes,
    prefix: Option<u8>,
    compressor: Option<Compressor>,
    reason: Reason,
}

struct Outcome {
    id: ContentId,
    is_new: bool,
}

impl SealJob<'_> {
    fn run(self, ticket: Ticket<Sealed>, done: oneshot::Sender<()>) -> Result<Outcome> {
        let shared = self.writing.shared();
        let hash = shared.codec.hasher().hash(&self.bytes);
        let id = ContentId::new(self.prefix, &hash)?;
        let existing = self.existing(&id)?;
        let (deleted, moved) = match self.reason {
            Reason::Put if existing.as_ref().is_some_and(|entry| !entry.deleted) => {
                shared.meters.deduplicated(self.bytes.len());
                return Ok(Outcome { id, is_new: false });
            }
            Reason::Put => (false, false),
            Reason::Move { deleted } => (deleted, true),
        };
        let now = shared.now_secs();
        let timestamp = existing.map_or(now, |old| now.max(old.timestamp + 1));
        let original_length = length_u32(self.bytes.len())?;
        let (compression, sealed) = self.seal(&id)?;
        let entry = IndexEntry {
            id,
            pack: Arc::from(""),
            offset: 0,
            packed_length: length_u32(sealed.len())?,
            original_length,
            timestamp,
            deleted,
            format_version: u8::try_from(shared.format.format().version).unwrap_or(u8::MAX),
            compression,
            encryption_key_id: 0,
        };
        ticket.deliver(Sealed { entry, bytes: sealed.into(), moved, done });
        Ok(Outcome { id, is_new: true })
    }

    /// Pending ones first: a flush adds to the committed index before it takes from the pending
    /// entries.
    fn existing(&self, id: &ContentId) -> Result<Option<IndexEntry>> {
        if let Some(pending) = self.writing.pending().find(id) {
            return Ok(Some(pending.entry.clone()));
        }
        self.writing.shared().index.view().find(id)
    }

    /// Compressed if that is strictly shorter, header included; then sealed.
    fn seal(&self, id: &ContentId) -> Result<(u32, Vec<u8>)> {
        let shared = self.writing.shared();
        if let Some(compressor) = self.compressor {
            let framed = compressor.compress(&self.bytes)?;
            if framed.len() < self.bytes.len() {
                let sealed = shared.codec.seal(id.iv(), shared.nonce(), &framed);
                return Ok((compressor.id(), sealed));
            }
        }
        Ok((0, shared.codec.seal(id.iv(), shared.nonce(), &self.bytes)))
    }
}

fn length_u32(length: usize) -> Result<u32> {
    u32::try_from(length).map_err(|_| {
        let reason = format!("{length} bytes are more than a content can have");
        FormatError::Invalid { what: "content", reason }.into()
    })
}
