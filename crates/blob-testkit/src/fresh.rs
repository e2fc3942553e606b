//! What a suite needs for each promise: a storage without blobs.

use std::{any::Any, fmt, sync::Arc, time::Duration};

use blob_core::{BlobStorage, DynStorage};

/// More than two pages of S3, and not a whole number of them.
const BLOBS_TO_LIST: usize = 2500;

/// A storage without blobs, and what belongs to it.
pub struct Fresh {
    storage: DynStorage,
    advance: Option<Box<dyn Fn(Duration) + Send + Sync>>,
    blobs_to_list: usize,
    /// Dropped with the storage: a temporary folder, a server.
    _kept: Vec<Box<dyn Any + Send + Sync>>,
}

impl Fresh {
    /// A storage that holds no blob.
    pub fn new(storage: DynStorage) -> Self {
        Self { storage, advance: None, blobs_to_list: BLOBS_TO_LIST, _kept: Vec::new() }
    }

    /// Keeps `value` until the storage is done with.
    #[must_use]
    pub fn keeping(mut self, value: impl Any + Send + Sync) -> Self {
        self._kept.push(Box::new(value));
        self
    }

    /// How to move the storage's clock. With it, thaws are followed to their end.
    #[must_use]
    pub fn with_clock(mut self, advance: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        self.advance = Some(Box::new(advance));
        self
    }

    /// How many blobs a long list has: 2,500 if nothing else is said, which is more than two pages
    /// of S3. A storage whose lists have no pages may do with fewer.
    #[must_use]
    pub fn with_blobs_to_list(mut self, count: usize) -> Self {
        self.blobs_to_list = count;
        self
    }

    /// How many blobs a long list has.
    pub fn blobs_to_list(&self) -> usize {
        self.blobs_to_list
    }

    /// The storage.
    pub fn storage(&self) -> &DynStorage {
        &self.storage
    }

    /// Moves the storage's clock; false if it can't be moved.
    pub fn advance(&self, by: Duration) -> bool {
        self.advance.as_ref().is_some_and(|advance| {
            advance(by);
            true
        })
    }
}

impl fmt::Debug for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fresh").field("storage", &self.storage).finish_non_exhaustive()
    }
}

impl From<DynStorage> for Fresh {
    fn from(storage: DynStorage) -> Self {
        Self::new(storage)
    }
}

impl<S: BlobStorage> From<Arc<S>> for Fresh {
    fn from(storage: Arc<S>) -> Self {
        Self::new(storage)
    }
}

impl<K: Any + Send + Sync> From<(DynStorage, K)> for Fresh {
    fn from((storage, kept): (DynStorage, K)) -> Self {
        Self::new(storage).keeping(kept)
    }
}
