//! Putting layers on a storage.

use std::{fmt, sync::Arc};

use crate::{BlobStorage, DynStorage};

/// A behaviour that any storage can be wrapped in.
pub trait Layer: Send + Sync + fmt::Debug {
    /// `inner` with the behaviour around it.
    fn wrap(&self, inner: DynStorage) -> DynStorage;
}

/// A storage and the layers put on it, inside out.
///
/// The order that works: backend, metrics, limit, throttle, retry, policy, hide, read-only. Metrics then
/// count every attempt, as the server does; a retry that waits holds no permit; the policy is asked
/// once per put.
///
/// ```
/// use std::sync::Arc;
/// use blob_core::{MemoryStorage, StorageStack, layers::ReadOnly};
/// let storage = StorageStack::over(Arc::new(MemoryStorage::new())).layer(ReadOnly).build();
/// assert!(storage.info().read_only);
/// ```
#[derive(Debug, Clone)]
pub struct StorageStack {
    storage: DynStorage,
}

impl StorageStack {
    /// Begins with a bare storage.
    pub fn over(storage: Arc<dyn BlobStorage>) -> Self {
        Self { storage }
    }

    /// Puts `layer` around all there is so far.
    #[must_use]
    pub fn layer(self, layer: impl Layer) -> Self {
        Self { storage: layer.wrap(self.storage) }
    }

    /// The storage with all its layers.
    pub fn build(self) -> DynStorage {
        self.storage
    }
}
