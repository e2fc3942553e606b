//! Reading an object, piece by piece or at any place; as a stream by plan, as restores read.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    ops::Range,
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use dataplane::task;
use futures::{Stream, StreamExt, future::BoxFuture, stream};
use kopia_format::{ContentId, ObjectId, compress, indirect::IndirectEntry};

use super::{Source, walk::pieces};
use crate::{RepoError, Result};

/// Bytes of the pieces that a stream fetches together: a request for each run of neighbours.
const TOGETHER_BYTES: u64 = 16 << 20;
/// How many pieces.
const TOGETHER: usize = 4096;
/// Such groups that a stream fetches at once, the one its reader waits for included.
const GROUPS_AT_ONCE: usize = 2;
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

    /// The pieces in order, fetched a little ahead of their reader: what lies together with one
    /// request.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send {
        let groups = Groups { pieces: Arc::clone(&self.pieces), next: self.next };
        stream::iter(groups)
            .map(move |numbers| {
                let mut reader = self.clone();
                // Read ahead, polled or not.
                task::owned(async move { reader.group(numbers).await })
            })
            .buffered(GROUPS_AT_ONCE)
            .flat_map(stream::iter)
    }

    /// Several pieces, up to the first that can't be read.
    async fn group(&mut self, numbers: Range<usize>) -> Vec<Result<Bytes>> {
        let mut fetched = match self.fetch(numbers.clone()).await {
            Ok(fetched) => fetched,
            Err(error) => return vec![Err(error)],
        };
        let mut group = Vec::with_capacity(numbers.len());
        for number in numbers {
            let object = self.pieces[number].object;
            let id = object.content_id();
            let read = match fetched.get(&id) {
                // A list of pieces may be a content that is also a piece.
                _ if object.indirection() > 0 => self.piece(number).await,
                Some(Ok(bytes)) => expanded(&self.source, &object, bytes.clone()).await,
                Some(Err(_)) => fetched.remove(&id).expect("it was just there"),
                None => self.piece(number).await,
            };
            let read = read.and_then(|bytes| self.checked(number, bytes));
            let failed = read.is_err();
            group.push(read);
            if failed {
                break;
            }
        }
        group
    }

    /// The contents of those pieces that are committed contents; none if it is one alone, which may
    /// come from the cache, or go there.
    async fn fetch(&self, numbers: Range<usize>) -> Result<HashMap<ContentId, Result<Bytes>>> {
        let Source::Committed(repository) = &self.source else { return Ok(HashMap::new()) };
        let objects = self.pieces[numbers].iter().map(|piece| &piece.object);
        let direct = objects.filter(|object| object.indirection() == 0);
        let contents: HashSet<_> = direct.map(|object| object.content_id()).collect();
        if contents.len() < 2 {
            return Ok(HashMap::new());
        }
        let index = repository.index().await?;
        let entries = contents.iter().map(|id| index.find(id));
        let entries = entries.filter_map(Result::transpose).collect::<Result<Vec<_>>>()?;
        let plan = repository.plan_entries(entries);
        Ok(repository.fetch_all(&plan).collect().await)
    }

    async fn piece(&mut self, number: usize) -> Result<Bytes> {
        if let Some((last, bytes)) = &self.last
            && *last == number
        {
            return Ok(bytes.clone());
        }
        let piece = self.pieces[number];
        let bytes = read_object(&self.source, &piece.object, piece.length).await?;
        let bytes = self.checked(number, bytes)?;
        self.last = Some((number, bytes.clone()));
        Ok(bytes)
    }

    /// A piece, if it is as long as the list of pieces says.
    fn checked(&self, number: usize, bytes: Bytes) -> Result<Bytes> {
        let piece = self.pieces[number];
        if bytes.len() as u64 == piece.length {
            return Ok(bytes);
        }
        let (is, should) = (bytes.len(), piece.length);
        let reason = format!("piece {} has {is} bytes instead of {should}", piece.object);
        Err(self.damaged(reason))
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

/// Cuts the pieces of an object into groups that are fetched together.
struct Groups {
    pieces: Arc<Vec<IndirectEntry>>,
    next: usize,
}

impl Iterator for Groups {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let (begin, mut bytes) = (self.next, 0);
        let left = self.pieces[begin..].iter().take(TOGETHER);
        let group = left.take_while(|piece| {
            bytes += piece.length;
            bytes <= TOGETHER_BYTES
        });
        let count = group.count().max(1).min(self.pieces.len() - begin);
        self.next += count;
        (count > 0).then_some(begin..self.next)
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
    expanded(source, id, bytes).await
}

/// The bytes of a direct object whose content has these.
async fn expanded(source: &Source, id: &ObjectId, bytes: Bytes) -> Result<Bytes> {
    if !id.is_compressed() {
        return Ok(bytes);
    }
    let expand = move || compress::decompress(None, &bytes, COMPRESSED_BYTES_MAX);
    let expanded = source.cpu().run(expand).await;
    expanded
        .map(Bytes::from)
        .map_err(|error| RepoError::ObjectDamaged { id: *id, reason: error.to_string() })
}
