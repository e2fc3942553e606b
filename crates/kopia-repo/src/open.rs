//! Opening a repository, and what can be read of it.

use std::{fmt, path::Path, sync::Arc};

use blob_core::{BlobId, BlobMeta, DynStorage, PutOptions};
use bytes::Bytes;
use dataplane::{Budget, CpuPool};
use kopia_format::{
    ContentId, ObjectId,
    blobcfg::BlobConfig,
    codec::ItemCodec,
    epoch::EpochSnapshot,
    format_blob::{FormatBlob, RepositoryFormat, Warning},
    index::IndexEntry,
    keys::PurposeKey,
};
use secrecy::SecretString;

use crate::{
    Cache, EntryFilter, Env, IndexView, ObjectContents, ObjectReader, OpenOptions, RepoError,
    RepositoryWriter, Result,
    create::put_options,
    fetch::FetchMemory,
    format_kept::KeptFormat,
    format_state::FormatState,
    key_kept::KeptKey,
    objects::{Source, reader::read_object, walk::object_contents},
    state::{Shared, chunk_budget},
};

/// An open repository. Clones share everything.
#[derive(Clone)]
pub struct Repository(Arc<Shared>);

impl Repository {
    /// Opens the repository that `storage` holds, and loads its index.
    ///
    /// # Errors
    /// [`RepoError::NoRepository`], [`RepoError::WrongPassword`], [`RepoError::FormatBlobDamaged`],
    /// [`RepoError::FormatBlobLost`], [`RepoError::TooNew`], [`RepoError::UpgradeLocked`],
    /// [`RepoError::IndexDamaged`], and what the storage may give.
    pub async fn open(
        storage: DynStorage,
        password: &SecretString,
        options: OpenOptions,
    ) -> Result<Self> {
        let format = FormatState::open(&storage, password, &options).await?;
        let loaded = format.loaded();
        let cache = match &options.cache {
            Some(cache) => {
                let key = loaded.format.cache_key(&loaded.blob.unique_id, &format.key())?;
                Cache::open(cache, key.as_bytes()).await?
            }
            None => None,
        };
        let shared = Shared {
            storage,
            codec: Arc::new(ItemCodec::new(&loaded.format)?),
            format: Arc::new(format),
            index: Default::default(),
            cache,
            cpu: CpuPool::new(options.threads),
            budget: chunk_budget(&options),
            fetching: FetchMemory::of(&options),
            meters: Default::default(),
            manifests: Default::default(),
            options,
        };
        let repository = Self(Arc::new(shared));
        repository.0.refresh_index().await?;
        Ok(repository)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// The format as last read.
    pub fn format(&self) -> Arc<RepositoryFormat> {
        self.0.format.format()
    }

    /// The outer part of `kopia.repository` as last read.
    pub fn format_blob(&self) -> FormatBlob {
        self.0.format.loaded().blob.clone()
    }

    /// Features that the repository asks for, this version lacks, and that may be lacking.
    pub fn warnings(&self) -> Vec<Warning> {
        self.0.format.loaded().warnings.clone()
    }

    /// The retention settings as last read.
    pub fn blob_config(&self) -> Arc<BlobConfig> {
        Arc::clone(&self.0.format.loaded().blob_config)
    }

    /// What tells this repository from all others; never changes.
    pub fn unique_id(&self) -> Vec<u8> {
        self.0.format.loaded().blob.unique_id.clone()
    }

    /// Keeps the format blobs beside the cache in `directory`, for those who will open with
    /// [`OpenOptions::keep_format`].
    pub fn keep_format(&self, directory: &Path) {
        let name = &self.0.storage.info().name;
        let kept = KeptFormat::new(directory, name, self.0.options.format_refresh);
        kept.store(&self.0.format.loaded().bytes);
    }

    /// Keeps the key made of the password there, for those who will open with
    /// [`OpenOptions::keep_key`]. A key that can't be written is made anew then.
    pub fn keep_key(&self, directory: &Path) {
        let format = &self.0.format;
        KeptKey::new(directory).store(&format.loaded().blob, &format.key());
    }

    /// Where the blobs are.
    pub fn storage(&self) -> &DynStorage {
        &self.0.storage
    }

    /// Seals and opens items: contents, indexes, markers, logs.
    pub fn codec(&self) -> &Arc<ItemCodec> {
        &self.0.codec
    }

    /// Who writes.
    pub fn username(&self) -> &str {
        &self.0.options.username
    }

    /// From which machine.
    pub fn hostname(&self) -> &str {
        &self.0.options.hostname
    }

    /// Time and chance.
    pub fn env(&self) -> &Env {
        &self.0.options.env
    }

    /// Are writes refused?
    pub fn is_read_only(&self) -> bool {
        self.0.check_writable("").is_err()
    }

    pub(crate) fn check_writable(&self, op: &'static str) -> Result<()> {
        self.0.check_writable(op)
    }

    /// The threads for hashing, compression and sealing.
    pub fn cpu(&self) -> &CpuPool {
        &self.0.cpu
    }

    /// The memory for chunks on their way.
    pub fn budget(&self) -> &Budget {
        &self.0.budget
    }

    /// The cache, if one was asked for and its folder could be made.
    pub fn cache(&self) -> Option<&Cache> {
        self.0.cache.as_ref()
    }

    /// The key of the blob `kopia.maintenance`.
    ///
    /// # Errors
    /// [`RepoError::Format`] if the repository has no master key.
    pub fn maintenance_key(&self) -> Result<PurposeKey<32>> {
        let loaded = self.0.format.loaded();
        let key = loaded.format.maintenance_key(&loaded.blob.unique_id, &self.0.format.key())?;
        Ok(key)
    }

    /// How a blob is to be put: locked, where the repository asks for it.
    pub fn put_options(&self, id: &BlobId) -> PutOptions {
        put_options(&self.blob_config(), id)
    }

    /// Reads the format blobs and the list of index blobs again, now.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`RepoError::PasswordChanged`] if it was, meanwhile.
    pub async fn refresh(&self) -> Result<()> {
        self.0.format.reload().await?;
        self.0.refresh_index().await
    }

    /// Ends the use of the storage.
    ///
    /// # Errors
    /// What the storage may give.
    pub async fn close(&self) -> Result<()> {
        Ok(self.0.storage.close().await?)
    }

    /// The index as it is now: consistent, and without further waits. Read again first if it is 15
    /// minutes old.
    ///
    /// # Errors
    /// What reading the index may give.
    pub async fn index(&self) -> Result<Arc<IndexView>> {
        self.0.format.ensure_fresh().await?;
        self.0.ensure_index_fresh().await?;
        Ok(self.0.index.view())
    }

    /// The index as it was last read, for who can't wait for a newer one: whoever asks in the course of
    /// long work calls [`index`](Self::index) now and then.
    pub fn index_as_read(&self) -> Arc<IndexView> {
        self.0.index.view()
    }

    /// The active index blobs, those among them that can't be read too.
    ///
    /// # Errors
    /// What reading the index may give.
    pub async fn index_blobs(&self) -> Result<Vec<BlobMeta>> {
        let view = self.index().await?;
        let damaged = view.damaged().iter().map(|damaged| &damaged.blob);
        Ok(view.blobs().chain(damaged).cloned().collect())
    }

    /// The entries of one index blob, active or not, in the order of IDs.
    ///
    /// # Errors
    /// [`RepoError::IndexDamaged`], and what the storage may give.
    pub async fn index_blob_entries(&self, id: &BlobId) -> Result<Vec<IndexEntry>> {
        self.0.read_index_blob(id).await
    }

    /// The epochs as they are now; `None` if the repository has none (format version 1).
    ///
    /// # Errors
    /// What listing may give.
    pub async fn epochs(&self) -> Result<Option<EpochSnapshot>> {
        self.0.epochs().await
    }

    /// Where a content lies. Deleted ones are found as long as they can be read.
    ///
    /// # Errors
    /// What reading the index may give.
    pub async fn content_entry(&self, id: &ContentId) -> Result<Option<IndexEntry>> {
        self.index().await?.find(id)
    }

    /// All entries that `filter` takes, in the order of IDs. [`index`](Self::index) gives them one
    /// by one.
    ///
    /// # Errors
    /// What reading the index may give.
    pub async fn entries(&self, filter: &EntryFilter) -> Result<Vec<IndexEntry>> {
        Ok(self.index().await?.iter(filter).collect())
    }

    /// The bytes of a content; of a deleted one too, as long as it is there.
    ///
    /// # Errors
    /// [`RepoError::ContentNotFound`], [`RepoError::ContentArchived`],
    /// [`RepoError::ContentDamaged`], [`RepoError::PackMissing`], [`RepoError::PackTruncated`], and
    /// what the storage may give.
    pub async fn content(&self, id: &ContentId) -> Result<Bytes> {
        let entry = self.content_entry(id).await?.ok_or_else(|| self.not_found(*id))?;
        match self.0.read_entry(&entry).await {
            Err(RepoError::PackMissing { .. }) => self.moved_content(&entry).await,
            other => other,
        }
    }

    /// Maintenance may have moved the content and deleted its old pack since the index was read.
    async fn moved_content(&self, old: &IndexEntry) -> Result<Bytes> {
        self.0.refresh_index().await?;
        let found = self.0.index.view().find(&old.id)?;
        match found {
            Some(new) if new.pack != old.pack => self.0.read_entry(&new).await,
            _ => {
                Err(RepoError::PackMissing { id: old.id, pack: crate::state::blob_id(&old.pack)? })
            }
        }
    }

    fn source(&self) -> Source {
        Source::Committed(self.clone())
    }

    /// Opens an object for reading.
    ///
    /// # Errors
    /// As [`content`](Self::content); [`RepoError::ObjectDamaged`].
    pub async fn open_object(&self, id: &ObjectId) -> Result<ObjectReader> {
        ObjectReader::open(self.source(), id).await
    }

    /// All bytes of an object.
    ///
    /// # Errors
    /// [`RepoError::ObjectTooLong`] if there are more than `limit`; else as
    /// [`open_object`](Self::open_object).
    pub async fn read_object(&self, id: &ObjectId, limit: u64) -> Result<Bytes> {
        read_object(&self.source(), id, limit).await
    }

    /// The contents that an object is made of. Reads lists of pieces, never data.
    ///
    /// # Errors
    /// As [`open_object`](Self::open_object).
    pub async fn object_contents(&self, id: &ObjectId) -> Result<ObjectContents> {
        object_contents(&self.source(), id).await
    }

    /// A writer with a session of its own.
    ///
    /// # Errors
    /// [`RepoError::ReadOnly`]; [`RepoError::IndexDamaged`] where index blobs are passed over.
    pub fn writer(&self) -> Result<RepositoryWriter> {
        self.0.check_writable_whole("writing")?;
        Ok(RepositoryWriter::new(self.clone()))
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
