//! From an object ID to the pieces it is made of, without reading any data.

use futures::future::BoxFuture;
use kopia_format::{ContentId, ObjectId, indirect::IndirectObject};

use super::{INDEX_BYTES_MAX, Source, reader::read_object};
use crate::{RepoError, Result};

/// One content of an object, and which bytes of the object it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectChunk {
    /// The content.
    pub content: ContentId,
    /// Does the content hold a compressed stream (`Z` objects of format version 1)?
    pub compressed: bool,
    /// Where its bytes begin in the object.
    pub offset: u64,
    /// How many there are; `None` for a compressed object of one content, whose length only reading
    /// tells.
    pub length: Option<u64>,
}

/// All contents of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectContents {
    /// Those with its bytes, in order.
    pub chunks: Vec<ObjectChunk>,
    /// Those with lists of pieces.
    pub indexes: Vec<ContentId>,
}

impl ObjectContents {
    /// The object's length, if the index tells.
    pub fn length(&self) -> Option<u64> {
        match self.chunks.last() {
            Some(last) => Some(last.offset + last.length?),
            None => Some(0),
        }
    }
}

/// The pieces of `id`.
pub(crate) async fn object_contents(source: &Source, id: &ObjectId) -> Result<ObjectContents> {
    let mut all = ObjectContents::default();
    collect(source, *id, 0, None, &mut all).await?;
    Ok(all)
}

fn collect<'a>(
    source: &'a Source,
    id: ObjectId,
    offset: u64,
    length: Option<u64>,
    all: &'a mut ObjectContents,
) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        let Some(inner) = id.unwrapped() else {
            let (content, compressed) = (id.content_id(), id.is_compressed());
            let length = match length {
                Some(length) => Some(length),
                None => direct_length(source, &id).await?,
            };
            all.chunks.push(ObjectChunk { content, compressed, offset, length });
            return Ok(());
        };
        let mut lists = ObjectContents::default();
        collect(source, inner, 0, None, &mut lists).await?;
        all.indexes.extend(lists.indexes);
        all.indexes.extend(lists.chunks.iter().map(|chunk| chunk.content));
        for entry in pieces(source, &id).await?.entries {
            collect(source, entry.object, offset + entry.start, Some(entry.length), all).await?;
        }
        Ok(())
    })
}

async fn direct_length(source: &Source, id: &ObjectId) -> Result<Option<u64>> {
    let content = id.content_id();
    let entry = source.entry(&content).await?;
    let entry = entry.ok_or_else(|| source.not_found(content))?;
    Ok((!id.is_compressed()).then_some(entry.original_length.into()))
}

/// The list of pieces that `id`, an indirect object, stands for.
pub(crate) async fn pieces(source: &Source, id: &ObjectId) -> Result<IndirectObject> {
    let damaged = |reason: String| RepoError::ObjectDamaged { id: *id, reason };
    let inner = id.unwrapped().ok_or_else(|| damaged("it is not indirect".into()))?;
    let bytes = read_object(source, &inner, INDEX_BYTES_MAX).await?;
    IndirectObject::parse(&bytes).map_err(|error| damaged(error.to_string()))
}
