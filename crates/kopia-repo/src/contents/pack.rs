//! Packs: filled in memory, or in a file where they are long ([`spill`](super::spill)), closed at the
//! size the format asks for, put whole.
//!
//! A pack is closed right after the content that makes it reach `maxPackSize` (docs/format/03
//! §5.2). From then on its bytes never change: a put that failed is done again with the same name
//! and the same bytes, so a first try that reached the storage after all does no harm.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use blob_core::{BlobId, Payload};
use bytes::Bytes;
use kopia_format::{
    hash::HashValue,
    index::{IndexBuilder, IndexEntry},
    pack::PackBuilder,
};

use tokio::sync::Notify;

use super::{session::Session, spill::Spill};
use crate::{
    Cache, Result,
    create::put_options,
    manifests,
    state::{Shared, blob_id, random},
};

/// Tells the packs of one writer apart, in the order in which they were begun.
pub(crate) type PackNumber = u32;

/// A pack that still takes contents.
#[derive(Debug)]
pub(crate) struct OpenPack {
    pub id: Arc<str>,
    pub number: PackNumber,
    pub session: Arc<Session>,
    /// `None` for one that was taken back: its bytes are dead space.
    entries: Vec<Option<IndexEntry>>,
    builder: PackBuilder,
    /// Where the beginning goes if it is too long for the memory.
    spill: Option<Spill>,
    /// Nothing more goes there: it could not be written.
    spill_failed: bool,
}

/// So many bytes are in memory before they go to the file.
const SPILLED_TOGETHER: u64 = 4 << 20;

impl OpenPack {
    /// Begins a pack; `kind` is `p` or `q`.
    pub(crate) fn begin(
        shared: &Shared,
        kind: char,
        number: PackNumber,
        session: Arc<Session>,
    ) -> Self {
        let name: [u8; 16] = random(shared.env());
        let mut id = String::from(kind);
        name.iter().for_each(|byte| id.push_str(&format!("{byte:02x}")));
        id.push('-');
        id.push_str(session.id.as_str());
        let loaded = shared.format.loaded();
        let builder = PackBuilder::new(random(shared.env()), loaded.pack_copy.as_deref());
        let spill = shared.spills_packs().then(|| begin_spill(shared)).flatten();
        let (id, entries) = (id.into(), Vec::new());
        Self { id, number, session, entries, builder, spill, spill_failed: false }
    }

    /// Adds sealed bytes, of one content or of several that lie one behind the other.
    pub(crate) fn append(&mut self, sealed: Bytes) {
        self.builder.append(sealed);
        let Some(spill) = self.spill.as_mut().filter(|_| !self.spill_failed) else { return };
        if self.builder.len() as u64 - spill.len() < SPILLED_TOGETHER {
            return;
        }
        match spill.append(self.builder.pieces()) {
            Ok(()) => self.builder.forget_pieces(),
            Err(error) => {
                self.spill_failed = true;
                tracing::warn!(pack = %self.id, %error,
                    "the rest of a long pack stays in memory: its temporary file can't be written");
            }
        }
    }

    /// Adds an entry whose bytes are, or will be, at its offset; gives its place among the entries.
    pub(crate) fn enter(&mut self, entry: IndexEntry) -> u32 {
        self.entries.push(Some(entry));
        u32::try_from(self.entries.len() - 1).expect("a pack has fewer contents than bytes")
    }

    /// Takes an entry out again.
    pub(crate) fn take_back(&mut self, at: u32) {
        self.entries[at as usize] = None;
    }

    pub(crate) fn entry(&self, at: u32) -> Option<&IndexEntry> {
        self.entries.get(at as usize)?.as_ref()
    }

    /// The sealed bytes of an entry.
    pub(crate) fn read(&self, entry: &IndexEntry) -> Option<io::Result<Bytes>> {
        read(self.spill.as_ref(), &self.builder, entry)
    }

    /// Are there no entries that count?
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.iter().all(Option::is_none)
    }

    pub(crate) fn len(&self) -> u64 {
        self.builder.len() as u64
    }

    /// Ends the pack; `moved` rings whenever an upload of it ends, well or not.
    pub(crate) fn close(self, moved: Arc<Notify>) -> ClosedPack {
        let is_manifest = |entry: &IndexEntry| entry.id.prefix() == Some(manifests::PREFIX);
        ClosedPack {
            has_manifests: self.entries.iter().flatten().any(is_manifest),
            id: self.id,
            number: self.number,
            session: self.session,
            entries: self.entries,
            bytes: Mutex::new(Some(PackBytes {
                spill: self.spill,
                builder: self.builder,
                finished: None,
            })),
            stage: Mutex::new(Stage::Waiting),
            failed: AtomicBool::new(false),
            moved,
        }
    }
}

/// How far a closed pack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// To be uploaded, for the first time or again.
    Waiting,
    /// Somebody uploads it.
    Uploading,
    /// In the storage, named by no index yet.
    Uploaded,
}

#[derive(Debug)]
struct PackBytes {
    spill: Option<Spill>,
    builder: PackBuilder,
    /// To be put; made once.
    finished: Option<Payload>,
}

/// `None` where no file can be made: the pack stays in memory.
fn begin_spill(shared: &Shared) -> Option<Spill> {
    let folder = shared.cache.as_ref().map(Cache::folder);
    let begun = Spill::begin(folder.as_deref());
    begun
        .inspect_err(|error| {
            tracing::warn!(%error, "there can't be a temporary file: a long pack stays in memory");
        })
        .ok()
}

/// The sealed bytes of an entry of a pack that is not in the storage.
fn read(
    spill: Option<&Spill>,
    builder: &PackBuilder,
    entry: &IndexEntry,
) -> Option<io::Result<Bytes>> {
    match spill.filter(|spill| u64::from(entry.offset) < spill.len()) {
        Some(spill) => Some(spill.read(entry)),
        None => builder.read(entry.offset, entry.packed_length).map(Ok),
    }
}

/// A pack that takes no more contents.
#[derive(Debug)]
pub(crate) struct ClosedPack {
    pub id: Arc<str>,
    pub number: PackNumber,
    pub session: Arc<Session>,
    entries: Vec<Option<IndexEntry>>,
    has_manifests: bool,
    bytes: Mutex<Option<PackBytes>>,
    stage: Mutex<Stage>,
    failed: AtomicBool,
    moved: Arc<Notify>,
}

/// Whoever holds it uploads the pack; dropped early, the pack waits again.
#[derive(Debug)]
pub(crate) struct Claim(Arc<ClosedPack>);

impl Drop for Claim {
    fn drop(&mut self) {
        let mut stage = lock(&self.0.stage);
        if *stage == Stage::Uploading {
            *stage = Stage::Waiting;
        }
        drop(stage);
        self.0.moved.notify_waiters();
    }
}

impl ClosedPack {
    pub(crate) fn stage(&self) -> Stage {
        *lock(&self.stage)
    }

    /// Its entries, in the order of their bytes.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = &IndexEntry> {
        self.entries.iter().flatten()
    }

    /// How many entries it has, at most: some may have been taken back.
    pub(crate) fn entries_max(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn entry(&self, at: u32) -> Option<&IndexEntry> {
        self.entries.get(at as usize)?.as_ref()
    }

    /// Its entries with their places among them.
    pub(crate) fn places(&self) -> impl Iterator<Item = (u32, &IndexEntry)> {
        (0..).zip(&self.entries).filter_map(|(at, entry)| Some((at, entry.as_ref()?)))
    }

    /// The sealed bytes of an entry; `None` once the pack is in the storage.
    pub(crate) fn read(&self, entry: &IndexEntry) -> Option<io::Result<Bytes>> {
        let bytes = lock(&self.bytes);
        let PackBytes { spill, builder, .. } = bytes.as_ref()?;
        read(spill.as_ref(), builder, entry)
    }

    /// Has an upload of it failed? One that was broken off has not.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Are there manifests in it?
    pub(crate) fn has_manifests(&self) -> bool {
        self.has_manifests
    }

    /// Takes on the upload, unless somebody else has.
    pub(crate) fn claim(self: &Arc<Self>) -> Option<Claim> {
        let mut stage = lock(&self.stage);
        (*stage == Stage::Waiting).then(|| {
            *stage = Stage::Uploading;
            Claim(Arc::clone(self))
        })
    }
}

impl Claim {
    pub(crate) fn pack(&self) -> &Arc<ClosedPack> {
        &self.0
    }

    /// Puts the pack, after the marker of its session. Gives the bytes sent.
    pub(crate) async fn upload(self, shared: &Arc<Shared>) -> Result<u64> {
        let uploaded = self.put(shared).await;
        if uploaded.is_err() {
            self.0.failed.store(true, Ordering::Relaxed);
        }
        uploaded
    }

    async fn put(&self, shared: &Arc<Shared>) -> Result<u64> {
        self.0.session.ensure_marker(shared).await?;
        let payload = self.finished(shared).await?;
        let (id, length) = (blob_id(&self.0.id)?, payload.len());
        let options = put_options(&shared.format.loaded().blob_config, &id);
        let kept = shared.keeps_pack(&id).then(|| payload.clone());
        shared.storage.put(&id, payload, &options).await?;
        shared.meters.pack_put(length);
        *lock(&self.0.bytes) = None;
        *lock(&self.0.stage) = Stage::Uploaded;
        if let Some(payload) = kept {
            shared.keep_pack(&id, payload).await;
        }
        Ok(length)
    }

    /// The bytes of the pack, made once: local index, padding and postamble are random in part.
    async fn finished(&self, shared: &Arc<Shared>) -> Result<Payload> {
        if let Some(PackBytes { finished: Some(payload), .. }) = &*lock(&self.0.bytes) {
            return Ok(payload.clone());
        }
        let (iv, sealed) = local_index(shared, self.0.entries())?;
        let mut bytes = lock(&self.0.bytes);
        let Some(PackBytes { spill, builder, finished }) = &mut *bytes else {
            unreachable!("one claim at a time, and a pack keeps its bytes until it is uploaded")
        };
        let fill = |bytes: &mut [u8]| shared.env().entropy.fill(bytes);
        let mut payload = Payload::new();
        spill.iter().flat_map(Spill::pieces).for_each(|piece| payload.push_source(piece));
        let rest = builder.clone().finish(fill, sealed, &iv);
        rest.into_iter().for_each(|piece| payload.push(piece));
        *finished = Some(payload.clone());
        Ok(payload)
    }
}

/// The index of the pack itself, from which lost index blobs can be made anew: its identity and its
/// sealed bytes.
fn local_index<'a>(
    shared: &Shared,
    entries: impl Iterator<Item = &'a IndexEntry>,
) -> Result<(HashValue, Vec<u8>)> {
    let mut index = IndexBuilder::new();
    entries.for_each(|entry| index.add(entry.clone()));
    let version = shared.format.format().index_version;
    let plain = index.build(version, Some(random(shared.env())))?;
    let iv = shared.codec.hasher().hash(&plain);
    let sealed = shared.codec.seal(&iv, shared.nonce(), &plain);
    Ok((iv, sealed))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Is the ID a pack's?
pub(crate) fn is_pack(id: &BlobId) -> bool {
    id.starts_with("p") || id.starts_with("q")
}
