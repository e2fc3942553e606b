//! Reading an object, piece by piece or at any place.

use std::{fmt, sync::Arc};

use bytes::{Bytes, BytesMut};
use dataplane::task;
use futures::{Stream, StreamExt, future::BoxFuture, stream};
use kopia_format::{ObjectId, compress, indirect::IndirectEntry};

use super::{Source, walk::pieces};
use crate::{RepoError, Result};

/// Pieces that a stream fetches ahead of its reader.
const PIECES_AHEAD: usize = 3;
/// A compressed object is one content, which no splitter makes longer than 16 MiB; old ones may
/// have been written with other limits.
const COMPRESSED_BYTES_MAX: usize = 256 << 20;

/// An object that is open for reading.
#[derive(Clone)]
pub struct ObjectReader {
    source: Source,
    id: ObjectId,
    pieces: Arc<Vec<IndirectEntry>>,
    length: u64,
    /// The next piece of [`next_chunk`](Self::next_chunk).
    next: usize,
    /// The piece read last, for those who read in small steps.
    last: Option<(usize, Bytes)>,
}

impl ObjectReader {
    /// Opens `id`. A direct object is read at once: only that tells its length.
    pub(crate) async fn open(source: Source, id: &ObjectId) -> Result<Self> {
        if id.indirection() > 0 {
            let list = pieces(&source, id).await?;
            let (length, entries) = (list.total_length(), list.entries);
            return Ok(Self::new(source, id, entries, length, None));
        }
        let bytes = read_direct(&source, id).await?;
        let length = bytes.len() as u64;
        let only = IndirectEntry { start: 0, length, object: *id };
        Ok(Self::new(source, id, vec![only], length, Some((0, bytes))))
    }

    fn new(
        source: Source,
        id: &ObjectId,
        entries: Vec<IndirectEntry>,
        length: u64,
        last: Option<(usize, Bytes)>,
    ) -> Self {
        Self { source, id: *id, pieces: Arc::new(entries), length, next: 0, last }
    }

    /// The object.
    pub fn id(&self) -> &ObjectId {
        &self.id
    }

    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Has it no bytes?
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The next piece in order; `None` at the end.
    ///
    /// # Errors
    /// What reading a content may give; [`RepoError::ObjectDamaged`] if a piece is not as long as
    /// it should be.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>> {
        if self.next >= self.pieces.len() {
            return Ok(None);
        }
        let number = self.next;
        let bytes = self.piece(number).await?;
        self.next += 1;
        Ok(Some(bytes))
    }

    /// `length` bytes at `offset`; fewer at the end of the object.
    ///
    /// # Errors
    /// As [`next_chunk`](Self::next_chunk).
    pub async fn read_at(&mut self, offset: u64, length: usize) -> Result<Bytes> {
        let end = self.length.min(offset.saturating_add(length as u64));
        let mut out = BytesMut::new();
        let mut at = offset;
        while at < end {
            // The last piece that begins at or before `at`.
            let number = self.pieces.partition_point(|piece| piece.start <= at) - 1;
            let from = usize::try_from(at - self.pieces[number].start).unwrap_or(usize::MAX);
            let bytes = self.piece(number).await?;
            let to = bytes.len().min(from + usize::try_from(end - at).unwrap_or(usize::MAX));
            if from >= to {
                return Err(self.damaged(format!("there is a gap at {at}")));
            }
            if from == 0 && to == bytes.len() && out.is_empty() && end - at == to as u64 {
                return Ok(bytes);
            }
            out.extend_from_slice(&bytes[from..to]);
            at += (to - from) as u64;
        }
        Ok(out.freeze())
    }

    /// All bytes.
    ///
    /// # Errors
    /// [`RepoError::ObjectTooLong`] if there are more than `limit`; else as
    /// [`next_chunk`](Self::next_chunk).
    pub async fn read_all(self, limit: u64) -> Result<Bytes> {
        if self.length > limit {
            return Err(RepoError::ObjectTooLong { id: self.id, length: self.length, limit });
        }
        let length = usize::try_from(self.length).unwrap_or(0);
        let mut chunks = std::pin::pin!(self.into_stream());
        let Some(first) = chunks.next().await.transpose()? else { return Ok(Bytes::new()) };
        if first.len() >= length {
            return Ok(first);
        }
        let mut out = BytesMut::with_capacity(length);
        out.extend_from_slice(&first);
        while let Some(chunk) = chunks.next().await {
            out.extend_from_slice(&chunk?);
        }
        Ok(out.freeze())
    }

    /// The pieces in order, fetched a little ahead of their reader.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send {
        let numbers = self.next..self.pieces.len();
        stream::iter(numbers)
            .map(move |number| {
                let mut reader = self.clone();
                // Read ahead, polled or not.
                task::owned(async move { reader.piece(number).await })
            })
            .buffered(PIECES_AHEAD)
    }

    async fn piece(&mut self, number: usize) -> Result<Bytes> {
        if let Some((last, bytes)) = &self.last
            && *last == number
        {
            return Ok(bytes.clone());
        }
        let piece = self.pieces[number];
        let bytes = read_object(&self.source, &piece.object, piece.length).await?;
        if bytes.len() as u64 != piece.length {
            let (is, should) = (bytes.len(), piece.length);
            let reason = format!("piece {} has {is} bytes instead of {should}", piece.object);
            return Err(self.damaged(reason));
        }
        self.last = Some((number, bytes.clone()));
        Ok(bytes)
    }

    fn damaged(&self, reason: String) -> RepoError {
        RepoError::ObjectDamaged { id: self.id, reason }
    }
}

impl fmt::Debug for ObjectReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectReader({}, {} bytes)", self.id, self.length)
    }
}

/// All bytes of an object, at most `limit`.
pub(crate) fn read_object<'a>(
    source: &'a Source,
    id: &'a ObjectId,
    limit: u64,
) -> BoxFuture<'a, Result<Bytes>> {
    Box::pin(async move {
        if id.indirection() > 0 {
            return ObjectReader::open(source.clone(), id).await?.read_all(limit).await;
        }
        let bytes = read_direct(source, id).await?;
        let length = bytes.len() as u64;
        if length > limit {
            return Err(RepoError::ObjectTooLong { id: *id, length, limit });
        }
        Ok(bytes)
    })
}

async fn read_direct(source: &Source, id: &ObjectId) -> Result<Bytes> {
    let bytes = source.content(&id.content_id()).await?;
    if !id.is_compressed() {
        return Ok(bytes);
    }
    let expand = move || compress::decompress(None, &bytes, COMPRESSED_BYTES_MAX);
    let expanded = source.cpu().run(expand).await;
    expanded
        .map(Bytes::from)
        .map_err(|error| RepoError::ObjectDamaged { id: *id, reason: error.to_string() })
}
