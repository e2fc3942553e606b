//! Taking contents: hash, look up, compress and seal in one job on one core, then append in the
//! order of asking.
//!
//! A job takes one content or several. What it costs to hand a job to a core and to wait for it is
//! more than what a small content costs, and some hash functions are faster with several inputs.
//!
//! A content that an index or this writer knows already is not written again, unless it is marked
//! deleted: then it is written anew with a later time, since collection may be about to drop the
//! old one (docs/format/03 §6).

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use blob_core::Timestamp;
use bytes::Bytes;
use dataplane::{Recycler, Reorder, Ticket};
use kopia_format::{
    ContentId, FormatError, cipher::NONCE_LEN, codec::Sealable, compress::Compressor,
    index::IndexEntry,
};
use tokio::{sync::Notify, sync::oneshot, task::JoinSet};

use super::pending::{PendingContents, SealedContent, SealedRun};
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
    /// Memory of packs that are in the storage, for the next.
    pub recycler: Recycler,
    /// The pack of an entry that has none yet.
    no_pack: Arc<str>,
}

/// The result of a job: contents that are ready to be appended.
struct Sealed {
    run: SealedRun,
    done: oneshot::Sender<()>,
}

/// A content to write.
#[derive(Debug, Clone, Default)]
pub struct NewContent {
    /// Its bytes.
    pub bytes: Bytes,
    /// Which kind of metadata it is, `g`..`z`; `None` for data.
    pub prefix: Option<u8>,
    /// Used only where the repository can name compressed contents (index version 2), and only if it
    /// makes the content smaller.
    pub compressor: Option<Compressor>,
}

/// What a job works on.
#[derive(Debug)]
pub(crate) struct Input {
    pub plain: Plain,
    pub prefix: Option<u8>,
    pub compressor: Option<Compressor>,
}

/// The plain bytes of a content.
#[derive(Debug)]
pub(crate) enum Plain {
    /// Others may hold them, too.
    Shared(Bytes),
    /// To be sealed where they are.
    Own(Sealable),
}

impl Deref for Plain {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Own(sealable) => sealable.plain(),
        }
    }
}

impl From<NewContent> for Input {
    fn from(NewContent { bytes, prefix, compressor }: NewContent) -> Self {
        Self { plain: Plain::Shared(bytes), prefix, compressor }
    }
}

/// So many nonces are asked for at once at most.
const NONCES_TOGETHER: usize = 64;

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
        let recycler = Recycler::new(repository.shared().recycled_max());
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
            recycler,
            no_pack: Arc::from(""),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        self.repository.shared()
    }

    pub(crate) fn pending(&self) -> MutexGuard<'_, PendingContents> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs for one job at a time, in order.
fn append(shared: &Shared, pending: &Mutex<PendingContents>, sealed: Sealed) {
    pending.lock().unwrap_or_else(PoisonError::into_inner).append(shared, sealed.run);
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
        let ids = self.put_contents(vec![NewContent { bytes, prefix, compressor }]).await?;
        Ok(ids[0])
    }

    /// Writes contents as [`put_content`](Self::put_content) does, in one job on one core, and gives
    /// their IDs in order. After an error none of them is to be relied on.
    ///
    /// # Errors
    /// As [`put_content`](Self::put_content).
    pub async fn put_contents(&self, contents: Vec<NewContent>) -> Result<Vec<ContentId>> {
        self.put_inputs(contents.into_iter().map(Input::from).collect()).await
    }

    /// [`put_contents`](Self::put_contents) of bytes that may be sealed where they are.
    pub(crate) async fn put_inputs(&self, mut inputs: Vec<Input>) -> Result<Vec<ContentId>> {
        for input in &mut inputs {
            input.compressor = self.allowed(input.prefix, input.compressor)?;
        }
        self.before_write().await?;
        self.seal_and_append(inputs, Reason::Put).await
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

    async fn seal_and_append(&self, inputs: Vec<Input>, reason: Reason) -> Result<Vec<ContentId>> {
        let writing = Arc::clone(&self.writing);
        let ticket = writing.order.ticket();
        let (done, appended) = oneshot::channel();
        let job = move || SealJob::new(&writing, reason).run(inputs, ticket, done);
        let outcome = self.shared().cpu.run(job).await?;
        if outcome.any_new {
            // Everything before it ends by itself, so this does not hang.
            let _ = appended.await;
            self.start_uploads();
        }
        Ok(outcome.ids)
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
        let input = Input { plain: Plain::Shared(bytes), prefix: id.prefix(), compressor };
        self.seal_and_append(vec![input], reason).await?;
        Ok(())
    }

    /// Writes contents whose bytes were just read again into new packs, with later times, all in one
    /// job. `deleted` says whether these are contents that are deleted: they stay so. Gives the
    /// contents whose bytes are not what their IDs say: they stay where they are, and what was written
    /// of them has the ID that it should have, as garbage.
    ///
    /// # Errors
    /// What writing may give.
    pub async fn move_contents(
        &self,
        contents: Vec<(IndexEntry, Bytes)>,
        deleted: bool,
    ) -> Result<Vec<ContentId>> {
        let mut inputs = Vec::with_capacity(contents.len());
        let mut wanted = Vec::with_capacity(contents.len());
        for (entry, bytes) in contents {
            let compressor = match entry.compression {
                0 => None,
                id => Some(Compressor::by_id(id)?),
            };
            let (plain, prefix) = (Plain::Shared(bytes), entry.id.prefix());
            inputs.push(Input { plain, prefix, compressor });
            wanted.push(entry.id);
        }
        self.before_write().await?;
        let ids = self.seal_and_append(inputs, Reason::Move { deleted }).await?;
        Ok(wanted.into_iter().zip(ids).filter(|(is, was)| is != was).map(|(is, _)| is).collect())
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
    reason: Reason,
    run: SealedRun,
    /// How many nonces are asked for at once, and those that are left of them.
    nonces: (usize, Vec<[u8; NONCE_LEN]>),
    /// The piece that small contents are sealed onto.
    open: Vec<u8>,
    /// How long that piece becomes if all are new and none gets shorter.
    open_len_max: usize,
}

struct Outcome {
    ids: Vec<ContentId>,
    any_new: bool,
}

impl<'a> SealJob<'a> {
    fn new(writing: &'a Writing, reason: Reason) -> Self {
        let (run, nonces) = (SealedRun::default(), (1, Vec::new()));
        Self { writing, reason, run, nonces, open: Vec::new(), open_len_max: 0 }
    }

    fn run(
        mut self,
        inputs: Vec<Input>,
        ticket: Ticket<Sealed>,
        done: oneshot::Sender<()>,
    ) -> Result<Outcome> {
        let plain: Vec<&[u8]> = inputs.iter().map(|input| &input.plain[..]).collect();
        let overhead = self.writing.shared().codec.overhead();
        self.nonces.0 = plain.len().clamp(1, NONCES_TOGETHER);
        self.open_len_max = plain.iter().map(|bytes| bytes.len() + overhead).sum();
        let hashes = self.writing.shared().codec.hasher().hash_each(&plain);
        let ids = inputs.iter().zip(&hashes);
        let ids = ids.map(|(input, hash)| ContentId::new(input.prefix, hash));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        let existing = self.existing(&ids)?;
        for ((input, id), existing) in inputs.into_iter().zip(&ids).zip(existing) {
            self.take(input, *id, existing)?;
        }
        self.end_piece();
        let any_new = !self.run.contents.is_empty();
        if any_new {
            ticket.deliver(Sealed { run: self.run, done });
        }
        Ok(Outcome { ids, any_new })
    }

    /// Pending ones first: a flush adds to the committed index before it takes from the pending
    /// entries.
    fn existing(&self, ids: &[ContentId]) -> Result<Vec<Option<IndexEntry>>> {
        let pending: Vec<_> = {
            let pending = self.writing.pending();
            ids.iter().map(|id| pending.find(id).cloned()).collect()
        };
        let view = self.writing.shared().index.view();
        let both = pending.into_iter().zip(ids);
        both.map(|(found, id)| found.map_or_else(|| view.find(id), |it| Ok(Some(it)))).collect()
    }

    /// Seals one content, unless it is there.
    fn take(&mut self, input: Input, id: ContentId, existing: Option<IndexEntry>) -> Result<()> {
        let shared = self.writing.shared();
        let (deleted, moved) = match self.reason {
            Reason::Put => {
                let is_there = existing.as_ref().is_some_and(|entry| !entry.deleted);
                if is_there || self.run.contents.iter().any(|taken| taken.entry.id == id) {
                    shared.meters.deduplicated(input.plain.len());
                    self.give_back(input.plain);
                    return Ok(());
                }
                (false, false)
            }
            Reason::Move { deleted } => (deleted, true),
        };
        let now = shared.now_secs();
        let timestamp = existing.map_or(now, |old| now.max(old.timestamp + 1));
        let original_length = length_u32(input.plain.len())?;
        let (compression, packed_length) = self.seal(&id, input)?;
        let entry = IndexEntry {
            id,
            pack: Arc::clone(&self.writing.no_pack),
            offset: 0,
            packed_length: length_u32(packed_length)?,
            original_length,
            timestamp,
            deleted,
            format_version: u8::try_from(shared.format.format().version).unwrap_or(u8::MAX),
            compression,
            encryption_key_id: 0,
        };
        // The open piece gets the next number, and so did one that was just ended.
        let piece = match self.open.is_empty() {
            true => self.run.pieces.len() - 1,
            false => self.run.pieces.len(),
        };
        self.run.contents.push(SealedContent { entry, moved, piece });
        Ok(())
    }

    /// Compressed if that is strictly shorter, header included; then sealed. Gives the compressor's
    /// ID and the sealed length.
    fn seal(&mut self, id: &ContentId, input: Input) -> Result<(u32, usize)> {
        let (nonce, codec) = (self.nonce(), &self.writing.shared().codec);
        let mut compression = 0;
        let mut framed = None;
        if let Some(compressor) = input.compressor {
            let smaller = compressor.compress(&input.plain)?;
            if smaller.len() < input.plain.len() {
                compression = compressor.id();
                framed = Some(smaller);
            }
        }
        if framed.is_none()
            && let Plain::Own(sealable) = input.plain
        {
            let sealed = codec.seal_in_place(id.iv(), nonce, sealable);
            let length = sealed.len();
            self.end_piece();
            self.run.pieces.push(self.writing.recycler.bytes(sealed));
            return Ok((compression, length));
        }
        if self.open.is_empty() && matches!(input.plain, Plain::Shared(_)) {
            self.open = self.writing.recycler.take(self.open_len_max);
        }
        let before = self.open.len();
        let plain = framed.as_deref().unwrap_or(&input.plain);
        codec.seal_onto(id.iv(), nonce, plain, &mut self.open);
        self.give_back(input.plain);
        Ok((compression, self.open.len() - before))
    }

    fn nonce(&mut self) -> [u8; NONCE_LEN] {
        let (together, left) = &mut self.nonces;
        left.pop().unwrap_or_else(|| {
            *left = self.writing.shared().nonces(*together);
            left.pop().expect("at least one was asked for")
        })
    }

    /// The plain bytes are done with, and are not sealed where they are.
    fn give_back(&self, plain: Plain) {
        if let Plain::Own(sealable) = plain {
            self.writing.recycler.give(sealable.into_memory());
        }
    }

    fn end_piece(&mut self) {
        if !self.open.is_empty() {
            self.run.pieces.push(self.writing.recycler.bytes(std::mem::take(&mut self.open)));
        }
    }
}

fn length_u32(length: usize) -> Result<u32> {
    u32::try_from(length).map_err(|_| {
        let reason = format!("{length} bytes are more than a content can have");
        FormatError::Invalid { what: "content", reason }.into()
    })
}
