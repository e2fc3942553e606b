//! A part of a storage as a storage of its own.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    FutureExt, SinkExt, StreamExt, channel::mpsc, future::ready, stream, stream::BoxStream,
};

use crate::{
    Archive, BlobError, BlobId, BlobMeta, BlobStorage, DynStorage, InvalidBlobId, Layer, LockMode,
    Payload, PutAttributes, PutOptions, PutReceipt, ReadRange, ReadState, Result, Retain,
    ThawOutcome, ThawRequest, Timestamp, forward,
};

/// Puts a text before every ID on the way down and takes it off on the way up.
///
/// The text is part of the blob's ID, which holds no slash. Folders of a bucket are the backend's
/// own business (the `prefix` of Kopia's S3 options).
#[derive(Debug, Clone)]
pub struct Prefix {
    text: Arc<str>,
}

impl Prefix {
    /// The part of a storage whose IDs begin with `text`.
    ///
    /// # Errors
    /// [`InvalidBlobId`] if no ID can begin so: empty, too long, with a slash or a control
    /// character.
    pub fn new(text: &str) -> Result<Self, InvalidBlobId> {
        BlobId::new(text).map(|id| Self { text: id.as_str().into() })
    }
}

impl Layer for Prefix {
    fn wrap(&self, inner: DynStorage) -> DynStorage {
        Arc::new(PrefixStorage { inner, text: self.text.clone() })
    }
}

#[derive(Debug)]
struct PrefixStorage {
    inner: DynStorage,
    text: Arc<str>,
}

impl PrefixStorage {
    fn inner_id(&self, id: &BlobId) -> Result<BlobId> {
        BlobId::new(format!("{}{id}", self.text)).map_err(|error| BlobError::InvalidOption {
            option: format!("the ID {id}"),
            reason: error.to_string(),
        })
    }

    /// `None` for the blob whose ID is the prefix itself: what is left of it names nothing.
    fn outer_id(&self, id: &BlobId) -> Option<BlobId> {
        BlobId::new(id.as_str().strip_prefix(&*self.text)?).ok()
    }

    fn outer_meta(&self, meta: BlobMeta) -> Option<BlobMeta> {
        Some(BlobMeta { id: self.outer_id(&meta.id)?, ..meta })
    }
}

/// An error of the inner storage as one about the ID that the caller knows.
fn about(id: &BlobId) -> impl Fn(BlobError) -> BlobError {
    |error| error.with_id(id)
}

#[async_trait]
impl BlobStorage for PrefixStorage {
    async fn get(&self, id: &BlobId, range: ReadRange) -> Result<Bytes> {
        self.inner.get(&self.inner_id(id)?, range).await.map_err(about(id))
    }

    async fn head(&self, id: &BlobId) -> Result<BlobMeta> {
        let meta = self.inner.head(&self.inner_id(id)?).await.map_err(about(id))?;
        Ok(BlobMeta { id: id.clone(), ..meta })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMeta>> {
        // The inner list borrows the whole prefix, which must live in the future that reads it; the
        // items come out through a channel that this same stream drives.
        let (mut sender, items) = mpsc::channel(1);
        let pump = async move {
            let whole = format!("{}{prefix}", self.text);
            let mut listed = self.inner.list(&whole);
            while let Some(item) = listed.next().await {
                let item = match item {
                    Ok(meta) => self.outer_meta(meta).map(Ok),
                    Err(error) => Some(Err(error)),
                };
                if let Some(item) = item
                    && sender.send(item).await.is_err()
                {
                    return;
                }
            }
        };
        stream::select(items.map(Some), pump.map(|()| None).into_stream()).filter_map(ready).boxed()
    }

    async fn put(&self, id: &BlobId, data: Payload, options: &PutOptions) -> Result<PutReceipt> {
        self.inner.put(&self.inner_id(id)?, data, options).await.map_err(about(id))
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        self.inner.delete(&self.inner_id(id)?).await.map_err(about(id))
    }

    fn archive(&self) -> Option<&dyn Archive> {
        self.inner.archive().map(|_| self as &dyn Archive)
    }

    fn retain(&self) -> Option<&dyn Retain> {
        self.inner.retain().map(|_| self as &dyn Retain)
    }

    forward!(inner: info, close; volume);
}

#[async_trait]
impl Archive for PrefixStorage {
    async fn thaw(&self, id: &BlobId, request: &ThawRequest) -> Result<ThawOutcome> {
        let archive = super::archive_of(&self.inner)?;
        archive.thaw(&self.inner_id(id)?, request).await.map_err(about(id))
    }

    async fn read_state(&self, id: &BlobId) -> Result<ReadState> {
        let archive = super::archive_of(&self.inner)?;
        archive.read_state(&self.inner_id(id)?).await.map_err(about(id))
    }

    async fn reclass(&self, id: &BlobId, to: &PutAttributes) -> Result<()> {
        let archive = super::archive_of(&self.inner)?;
        archive.reclass(&self.inner_id(id)?, to).await.map_err(about(id))
    }
}

#[async_trait]
impl Retain for PrefixStorage {
    async fn extend_retention(&self, id: &BlobId, until: Timestamp, mode: LockMode) -> Result<()> {
        let retain = super::retain_of(&self.inner)?;
        retain.extend_retention(&self.inner_id(id)?, until, mode).await.map_err(about(id))
    }
}
