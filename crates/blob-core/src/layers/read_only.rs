//! A storage that nothing is changed in.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    Archive, BlobError, BlobId, BlobStorage, DynStorage, Layer, LockMode, Payload, PutAttributes,
    PutOptions, PutReceipt, ReadState, Result, Retain, StorageInfo, ThawOutcome, ThawRequest,
    Timestamp, forward,
};

/// Refuses every put, delete, thaw and change of class or lock with [`BlobError::ReadOnly`]; the
/// inner storage never hears of them. A thaw is refused because it costs money and changes what the
/// account holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadOnly;

impl Layer for ReadOnly {
    fn wrap(&self, inner: DynStorage) -> DynStorage {
        let info = StorageInfo { read_only: true, ..inner.info().clone() };
        Arc::new(ReadOnlyStorage { inner, info })
    }
}

#[derive(Debug)]
struct ReadOnlyStorage {
    inner: DynStorage,
    info: StorageInfo,
}

#[async_trait]
impl BlobStorage for ReadOnlyStorage {
    fn info(&self) -> &StorageInfo {
        &self.info
    }

    async fn put(&self, _: &BlobId, _: Payload, _: &PutOptions) -> Result<PutReceipt> {
        Err(BlobError::ReadOnly { op: "put" })
    }

    async fn delete(&self, _: &BlobId) -> Result<()> {
        Err(BlobError::ReadOnly { op: "delete" })
    }

    fn archive(&self) -> Option<&dyn Archive> {
        self.inner.archive().map(|_| self as &dyn Archive)
    }

    fn retain(&self) -> Option<&dyn Retain> {
        self.inner.retain().map(|_| self as &dyn Retain)
    }

    forward!(inner: get, head, list, close; volume);
}

#[async_trait]
impl Archive for ReadOnlyStorage {
    async fn thaw(&self, _: &BlobId, _: &ThawRequest) -> Result<ThawOutcome> {
        Err(BlobError::ReadOnly { op: "thaw" })
    }

    async fn read_state(&self, id: &BlobId) -> Result<ReadState> {
        super::archive_of(&self.inner)?.read_state(id).await
    }

    async fn reclass(&self, _: &BlobId, _: &PutAttributes) -> Result<()> {
        Err(BlobError::ReadOnly { op: "reclass" })
    }
}

#[async_trait]
impl Retain for ReadOnlyStorage {
    async fn extend_retention(&self, _: &BlobId, _: Timestamp, _: LockMode) -> Result<()> {
        Err(BlobError::ReadOnly { op: "extend_retention" })
    }
}
