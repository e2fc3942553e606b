//! From an index entry to bytes.
//!
//! Metadata packs (`q`) are fetched whole when there is a cache, since whoever reads one directory
//! will read the next, or in parts, by way of its file, where packs are longer than the memory has
//! room for; data contents are fetched as slices. What a cache gives is opened like
//! anything else: if it doesn't open, the entry is forgotten and the storage asked. Format:
//! docs/format/03 §3, §4 and §9.

use std::{io, sync::Arc};

use blob_core::{BlobError, BlobId, Payload, Piece, ReadRange};
use bytes::{Bytes, BytesMut};
use dataplane::task;
use kopia_format::{FormatError, codec::ItemCodec, compress, index::IndexEntry};

use crate::{
    RepoError, Result,
    cache::Kind,
    state::{Shared, blob_id},
};

/// Contents longer than this are opened on a thread of the pool, shorter ones where they are.
const INLINE_BYTES_MAX: u32 = 16 << 10;
/// A long pack is brought into the cache in parts of so many bytes.
const LONG_PACK_PART: u64 = 8 << 20;
/// A pack that was put is kept by writes of so many bytes.
const KEPT_TOGETHER: usize = 1 << 20;

impl Shared {
    /// The bytes of a content that an index entry names.
    pub(crate) async fn read_entry(self: &Arc<Self>, entry: &IndexEntry) -> Result<Bytes> {
        self.format.ensure_fresh().await?;
        if let Some(sealed) = self.cached(entry).await {
            match self.decode(entry, sealed).await {
                Ok(bytes) => return Ok(bytes),
                Err(_) => self.forget(entry).await,
            }
        }
        let sealed = self.fetch(entry).await?;
        self.decode(entry, sealed).await
    }

    /// The same, but from the storage whatever a cache has, and kept in none.
    pub(crate) async fn read_stored(self: &Arc<Self>, entry: &IndexEntry) -> Result<Bytes> {
        self.format.ensure_fresh().await?;
        let sealed = self.fetch_slice(&blob_id(&entry.pack)?, entry).await?;
        self.decode(entry, sealed).await
    }

    async fn cached(&self, entry: &IndexEntry) -> Option<Bytes> {
        let cache = self.cache.as_ref()?;
        let length = u64::from(entry.packed_length);
        if entry.id.is_metadata() {
            return cache.range(Kind::Packs, &entry.pack, u64::from(entry.offset), length).await;
        }
        cache.range(Kind::Contents, &cache_key(entry), 0, length).await
    }

    async fn forget(&self, entry: &IndexEntry) {
        let Some(cache) = &self.cache else { return };
        if entry.id.is_metadata() {
            cache.forget(Kind::Packs, &entry.pack).await;
        } else {
            cache.forget(Kind::Contents, &cache_key(entry)).await;
        }
    }

    /// The sealed bytes of a content, from the storage.
    async fn fetch(self: &Arc<Self>, entry: &IndexEntry) -> Result<Bytes> {
        let pack = blob_id(&entry.pack)?;
        if entry.id.is_metadata() && self.keeps_metadata() {
            return self.fetch_from_whole_pack(&pack, entry).await;
        }
        let sealed = self.fetch_slice(&pack, entry).await?;
        if let Some(cache) = &self.cache
            && !entry.id.is_metadata()
        {
            cache.store(Kind::Contents, &cache_key(entry), sealed.clone()).await;
        }
        Ok(sealed)
    }

    async fn fetch_slice(&self, pack: &BlobId, entry: &IndexEntry) -> Result<Bytes> {
        let (offset, length) = (u64::from(entry.offset), u64::from(entry.packed_length));
        let range = ReadRange::Bytes { offset, length };
        let sealed = self.storage.get(pack, range).await.map_err(|e| read_error(e, entry, pack))?;
        self.meters.fetched(sealed.len());
        Ok(sealed)
    }

    async fn fetch_from_whole_pack(
        self: &Arc<Self>,
        pack: &BlobId,
        entry: &IndexEntry,
    ) -> Result<Bytes> {
        let part = self.part_of_whole_pack(pack, entry.offset.into(), entry.packed_length.into());
        part.await.map_err(|error| read_error(error, entry, pack))
    }

    /// Are metadata packs kept in a cache?
    pub(crate) fn keeps_metadata(&self) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.keeps(Kind::Packs))
    }

    /// `length` bytes at `offset` of a metadata pack, from the cache or by way of it. What the cache
    /// gave is unchecked until it is opened.
    pub(crate) async fn metadata_range(
        self: &Arc<Self>,
        pack: &BlobId,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, BlobError> {
        if let Some(cache) = &self.cache
            && let Some(bytes) = cache.range(Kind::Packs, pack.as_str(), offset, length).await
        {
            return Ok(bytes);
        }
        self.part_of_whole_pack(pack, offset, length).await
    }

    async fn part_of_whole_pack(
        self: &Arc<Self>,
        pack: &BlobId,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, BlobError> {
        let range = ReadRange::Bytes { offset, length };
        let (shared, id) = (Arc::clone(self), pack.clone());
        if self.spills_packs() {
            // Longer than the memory has room for: by way of a file, or not as a whole.
            let cache = self.cache.as_ref().expect("asked only when there is a cache");
            if task::owned(async move { shared.keep_long_pack(&id).await }).await?
                && let Some(bytes) = cache.range(Kind::Packs, pack.as_str(), offset, length).await
            {
                return Ok(bytes);
            }
            let bytes = self.storage.get(pack, range).await?;
            self.meters.fetched(bytes.len());
            return Ok(bytes);
        }
        // A task of its own: others may wait for the same pack.
        let whole = task::owned(async move { shared.whole_pack(&id).await }).await?;
        let too_short =
            || BlobError::InvalidRange { id: pack.clone(), range, size: Some(whole.len() as u64) };
        let (from, length) = (usize::try_from(offset), usize::try_from(length));
        match (from, length) {
            (Ok(from), Ok(length))
                if from.checked_add(length).is_some_and(|to| to <= whole.len()) =>
            {
                Ok(whole.slice(from..from + length))
            }
            _ => Err(too_short()),
        }
    }

    /// A metadata pack, fetched once however many ask for it at the same time.
    async fn whole_pack(&self, pack: &BlobId) -> Result<Bytes, BlobError> {
        let cache = self.cache.as_ref().expect("asked only when there is a cache");
        let flight = cache.flights.join(pack.as_str());
        let whole = flight.get_or_try_init(|| async {
            // Whoever was here a moment ago has stored it.
            if let Some(whole) = cache.whole(Kind::Packs, pack.as_str()).await {
                return Ok(whole);
            }
            let permit = cache.whole_packs.acquire().await;
            let _permit = permit.expect("the semaphore of a cache is never closed");
            let whole = self.storage.get(pack, ReadRange::Full).await?;
            self.meters.fetched(whole.len());
            cache.store(Kind::Packs, pack.as_str(), whole.clone()).await;
            Ok(whole)
        });
        Ok(whole.await?.clone())
    }

    /// Brings a metadata pack of any length into the cache, part by part; `false` if it can't be
    /// kept there.
    async fn keep_long_pack(&self, pack: &BlobId) -> Result<bool, BlobError> {
        let cache = self.cache.as_ref().expect("asked only when there is a cache");
        let flight = cache.flights.join(pack.as_str());
        let kept = flight.get_or_try_init(|| async {
            if cache.has(Kind::Packs, pack.as_str()).await || cache.has_no_room_for_long_ones() {
                return Ok(Bytes::new());
            }
            let permit = cache.whole_packs.acquire().await;
            let _permit = permit.expect("the semaphore of a cache is never closed");
            let size = self.storage.head(pack).await?.size;
            let mut storing = cache.begin(Kind::Packs, pack.as_str(), size).await;
            let mut offset = 0;
            while let Some(begun) = storing.take_if(|_| offset < size) {
                let length = LONG_PACK_PART.min(size - offset);
                let part = self.storage.get(pack, ReadRange::Bytes { offset, length }).await?;
                self.meters.fetched(part.len());
                offset += length;
                storing = told(begun.append(part).await);
            }
            let finished = match storing {
                Some(whole) => told(whole.finish().await),
                None => None,
            };
            if finished.is_none() {
                cache.no_room_for_long_ones();
            }
            Ok::<_, BlobError>(Bytes::new())
        });
        kept.await?;
        Ok(!cache.has_no_room_for_long_ones())
    }

    /// Does the cache keep this pack? Metadata packs only.
    pub(crate) fn keeps_pack(&self, pack: &BlobId) -> bool {
        pack.starts_with("q") && self.keeps_metadata()
    }

    /// Keeps a metadata pack that was just put: the next snapshot reads the folders in it.
    pub(crate) async fn keep_pack(&self, pack: &BlobId, payload: Payload) {
        let Some(cache) = &self.cache else { return };
        let mut storing = cache.begin(Kind::Packs, pack.as_str(), payload.len()).await;
        let mut pieces = payload.pieces().iter();
        while let Some(begun) = storing.take_if(|_| pieces.len() > 0) {
            storing = match together(&mut pieces) {
                Ok(bytes) => told(begun.append(bytes).await),
                Err(error) => told(Err(error)),
            };
        }
        if let Some(whole) = storing {
            told(whole.finish().await);
        }
    }

    /// Opens and decompresses what was fetched for `entry`.
    pub(crate) async fn decode(
        self: &Arc<Self>,
        entry: &IndexEntry,
        sealed: Bytes,
    ) -> Result<Bytes> {
        if entry.original_length.max(entry.packed_length) <= INLINE_BYTES_MAX {
            return self.open_sealed(entry, &sealed);
        }
        let (shared, entry) = (Arc::clone(self), entry.clone());
        self.cpu.run(move || shared.open_sealed(&entry, &sealed)).await
    }

    /// The same, on this thread.
    pub(crate) fn open_sealed(&self, entry: &IndexEntry, sealed: &[u8]) -> Result<Bytes> {
        self.opened(entry, decode(&self.codec, entry, sealed))
    }

    /// The same, where the bytes are; the plain ones may hold that memory.
    pub(crate) fn open_in_place(&self, entry: &IndexEntry, sealed: BytesMut) -> Result<Bytes> {
        self.opened(entry, decode_in_place(&self.codec, entry, sealed))
    }

    fn opened(
        &self,
        entry: &IndexEntry,
        decoded: Result<(Bytes, bool), FormatError>,
    ) -> Result<Bytes> {
        match decoded {
            Ok((bytes, repaired)) => {
                self.meters.read(bytes.len());
                if repaired {
                    self.meters.repaired();
                    tracing::warn!(content = %entry.id, pack = %entry.pack, offset = entry.offset,
                        "error correction repaired a damaged content; the pack is as it was");
                }
                Ok(bytes)
            }
            Err(source) => Err(RepoError::ContentDamaged {
                id: entry.id,
                pack: blob_id(&entry.pack)?,
                offset: entry.offset.into(),
                source,
            }),
        }
    }
}

/// The next pieces that are worth a write.
fn together(pieces: &mut std::slice::Iter<'_, Piece>) -> io::Result<Bytes> {
    let mut bytes = BytesMut::new();
    for piece in pieces {
        bytes.extend_from_slice(&piece.read()?);
        if bytes.len() >= KEPT_TOGETHER {
            break;
        }
    }
    Ok(bytes.freeze())
}

/// What was kept; a failure is not worth an error.
fn told<T>(kept: io::Result<T>) -> Option<T> {
    kept.inspect_err(|error| tracing::debug!(%error, "the cache was not written")).ok()
}

fn cache_key(entry: &IndexEntry) -> String {
    format!("{}.{:x}.{:x}", entry.id, entry.compression, entry.encryption_key_id)
}

/// The bytes of a content, and whether error correction had to repair them.
pub(crate) fn decode(
    codec: &ItemCodec,
    entry: &IndexEntry,
    sealed: &[u8],
) -> Result<(Bytes, bool), FormatError> {
    check_key(entry)?;
    let (plain, repaired) = codec.open_reporting(entry.id.iv(), sealed)?;
    Ok((decompressed(entry, plain.into())?, repaired))
}

fn decode_in_place(
    codec: &ItemCodec,
    entry: &IndexEntry,
    sealed: BytesMut,
) -> Result<(Bytes, bool), FormatError> {
    check_key(entry)?;
    let (plain, repaired) = codec.open_in_place(entry.id.iv(), sealed)?;
    Ok((decompressed(entry, plain)?, repaired))
}

fn check_key(entry: &IndexEntry) -> Result<(), FormatError> {
    if entry.encryption_key_id == 0 {
        return Ok(());
    }
    let name = entry.encryption_key_id.to_string();
    Err(FormatError::Unsupported { what: "encryption key", name })
}

fn decompressed(entry: &IndexEntry, plain: Bytes) -> Result<Bytes, FormatError> {
    if entry.compression == 0 {
        return Ok(plain);
    }
    let length = entry.original_length as usize;
    let bytes = compress::decompress(Some(entry.compression), &plain, length)?;
    if bytes.len() != length {
        let reason = format!("{} bytes instead of {length}", bytes.len());
        return Err(FormatError::malformed("content", reason));
    }
    Ok(bytes.into())
}

/// What a failed read of a pack means for the content.
pub(crate) fn read_error(error: BlobError, entry: &IndexEntry, pack: &BlobId) -> RepoError {
    match error {
        BlobError::NotFound { .. } => RepoError::PackMissing { id: entry.id, pack: pack.clone() },
        BlobError::InvalidRange { .. } => truncated(entry, pack),
        BlobError::Archived { class, state, .. } => {
            RepoError::ContentArchived { id: entry.id, pack: pack.clone(), class, state }
        }
        other => other.into(),
    }
}

fn truncated(entry: &IndexEntry, pack: &BlobId) -> RepoError {
    RepoError::PackTruncated {
        id: entry.id,
        pack: pack.clone(),
        offset: entry.offset.into(),
        length: entry.packed_length.into(),
    }
}
