//! One session of writing.

use std::{fmt, sync::Arc};

use blob_core::BlobError;
use bytes::Bytes;
use kopia_format::{ContentId, ObjectId, index::IndexEntry};

use crate::{
    ObjectOptions, ObjectReader, ObjectWriter, RepoError, Repository, Result,
    contents::write::Writing,
    objects::Source,
    state::{Shared, blob_id},
};

/// A writer: everything put through it is visible to it at once, and to others after
/// [`flush`](RepositoryWriter::flush). Clones are the same writer. Dropped without a flush, what it
/// uploaded stays as garbage that maintenance collects.
#[derive(Clone)]
pub struct RepositoryWriter {
    pub(crate) writing: Arc<Writing>,
}

impl RepositoryWriter {
    pub(crate) fn new(repository: Repository) -> Self {
        Self { writing: Arc::new(Writing::new(repository)) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        self.writing.shared()
    }

    /// The repository that is written to.
    pub fn repository(&self) -> &Repository {
        &self.writing.repository
    }

    /// Where a content lies, or will lie.
    ///
    /// # Errors
    /// What reading the index may give.
    pub async fn content_entry(&self, id: &ContentId) -> Result<Option<IndexEntry>> {
        let pending = self.writing.pending().find(id).cloned();
        match pending {
            Some(entry) => Ok(Some(entry)),
            None => self.repository().content_entry(id).await,
        }
    }

    /// The bytes of a content, flushed or not.
    ///
    /// # Errors
    /// As [`Repository::content`].
    pub async fn content(&self, id: &ContentId) -> Result<Bytes> {
        let pending = {
            let pending = self.writing.pending();
            pending.find(id).map(|entry| (entry.clone(), pending.sealed(entry)))
        };
        match pending {
            Some((entry, Some(sealed))) => {
                let sealed = sealed.map_err(|error| {
                    let (op, id) = ("reading back", blob_id(&entry.pack).ok());
                    BlobError::Other { op, id, source: Box::new(error) }
                })?;
                self.shared().decode(&entry, sealed).await
            }
            Some((entry, None)) => self.shared().read_entry(&entry).await,
            None => self.repository().content(id).await,
        }
    }

    /// Opens an object for reading, flushed or not.
    ///
    /// # Errors
    /// As [`Repository::open_object`].
    pub async fn open_object(&self, id: &ObjectId) -> Result<ObjectReader> {
        ObjectReader::open(Source::Writing(self.clone()), id).await
    }

    /// Begins an object.
    ///
    /// # Errors
    /// [`RepoError::Format`] if the repository's own splitter is unknown.
    pub fn object_writer(&self, options: ObjectOptions) -> Result<ObjectWriter> {
        ObjectWriter::new(self.clone(), options)
    }

    /// Writes an object that is in memory.
    ///
    /// # Errors
    /// What writing contents may give.
    pub async fn write_object(&self, bytes: Bytes, options: ObjectOptions) -> Result<ObjectId> {
        if self.is_one_content(&bytes, &options)? {
            let content = self.put_content(bytes, options.prefix, options.compressor).await?;
            return Ok(ObjectId::direct(content));
        }
        let mut object = self.object_writer(options)?;
        object.write(bytes).await?;
        Ok(object.finish().await?.0)
    }
}

impl fmt::Debug for RepositoryWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RepositoryWriter({:?})", self.repository())
    }
}

const _: fn() = || {
    fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<RepositoryWriter>();
    shared_between_threads::<Repository>();
    shared_between_threads::<RepoError>();
};
