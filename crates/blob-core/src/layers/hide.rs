//! A blob that is not listed.

use std::{future::ready, sync::Arc};

use async_trait::async_trait;
use futures::{StreamExt, stream::BoxStream};

use crate::{BlobId, BlobMeta, BlobStorage, DynStorage, Layer, Result, forward};

/// Leaves blobs of one name out of every list, as Kopia leaves out `.storageconfig`, which lies
/// among the blobs without being one (docs/format/01-blob-storage.md).
///
/// Hidden from lists only: who names the blob can still read, write and delete it, because the file
/// is managed through the same storage.
#[derive(Debug, Clone)]
pub struct Hide {
    name: Arc<str>,
}

impl Hide {
    /// Hides the blob called `name`, exactly.
    pub fn named(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into() }
    }
}

impl Layer for Hide {
    fn wrap(&self, inner: DynStorage) -> DynStorage {
        Arc::new(HideStorage { inner, name: self.name.clone() })
    }
}

#[derive(Debug)]
struct HideStorage {
    inner: DynStorage,
    name: Arc<str>,
}

impl HideStorage {
    fn hides(&self, id: &BlobId) -> bool {
        id.as_str() == &*self.name
    }
}

#[async_trait]
impl BlobStorage for HideStorage {
    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMeta>> {
        let listed = self.inner.list(prefix);
        listed.filter(|item| ready(!item.as_ref().is_ok_and(|meta| self.hides(&meta.id)))).boxed()
    }

    forward!(inner: info, get, head, put, delete, close; archive, retain, volume);
}
