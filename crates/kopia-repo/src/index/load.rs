//! Fetching, opening and parsing index blobs, many at once and within a bound of memory.

use std::sync::Arc;

use blob_core::{BlobId, BlobMeta, ReadRange};
use bytes::Bytes;
use dataplane::{Budget, limits};
use futures::{StreamExt, TryStreamExt, stream};
use kopia_format::{
    FormatError,
    index::{Index, IndexEntry},
};

use super::{ActiveSet, DamagedIndex, IndexView, segments::Segment};
use crate::{RepoError, Result, cache::Kind, state::Shared};

/// Why a set could not be loaded.
pub(crate) enum LoadError {
    /// A blob of the set is gone: another client compacted meanwhile, so the set is out of date.
    Gone(BlobId),
    /// Anything else.
    Failed(RepoError),
}

/// The blobs of a set.
#[derive(Default)]
pub(crate) struct LoadedSet {
    pub segments: Vec<Arc<Segment>>,
    /// Those that can't be read.
    pub damaged: Vec<DamagedIndex>,
}

impl Shared {
    /// All blobs of `set`: those that `old` has, and the others fetched.
    pub(crate) async fn load_set(
        &self,
        set: &ActiveSet,
        old: &IndexView,
    ) -> Result<LoadedSet, LoadError> {
        let known = old.by_name();
        let (mut segments, mut missing) = (Vec::with_capacity(set.blobs.len()), Vec::new());
        for meta in &set.blobs {
            match known.get(meta.id.as_str()) {
                Some(segment) => segments.push(Arc::clone(segment)),
                None => missing.push(meta),
            }
        }
        let parallel = self.requests_max().min(limits::INDEX_BLOBS_LOADING);
        // Sealed and plain together. A blob above it goes alone: Kopia's longest have some 560 MB.
        let budget = Budget::new((self.options.memory_bytes_max / 2).max(1));
        let loads: Vec<_> =
            missing.into_iter().map(|meta| self.load_segment(meta, &budget)).collect();
        let mut damaged = set.damaged.clone();
        let mut fetched = stream::iter(loads).buffer_unordered(parallel);
        while let Some(fetched) = fetched.try_next().await? {
            match fetched {
                Ok(segment) => segments.push(Arc::new(segment)),
                Err(blob) => damaged.push(blob),
            }
        }
        Ok(LoadedSet { segments, damaged })
    }

    /// The entries of one index blob, past the cache and past what is loaded.
    pub(crate) async fn read_index_blob(&self, id: &BlobId) -> Result<Vec<IndexEntry>> {
        let sealed = self.storage.get(id, ReadRange::Full).await?;
        let damaged = |source| RepoError::IndexDamaged { blob: id.clone(), source };
        let plain = self.codec.open_blob(id.as_str(), &sealed).map_err(damaged)?;
        Ok(Index::parse(plain).map_err(damaged)?.iter().collect())
    }

    async fn load_segment(
        &self,
        meta: &BlobMeta,
        budget: &Budget,
    ) -> Result<Result<Segment, DamagedIndex>, LoadError> {
        let name = meta.id.as_str();
        if let Some(cache) = &self.cache
            && let Some(index) = cache.index(name).await
        {
            return Ok(Ok(Segment { meta: meta.clone(), index }));
        }
        let _grant = budget.acquire(2 * meta.size).await;
        let sealed = match self.storage.get(&meta.id, ReadRange::Full).await {
            Ok(sealed) => sealed,
            Err(error) if error.is_not_found() => return Err(LoadError::Gone(meta.id.clone())),
            Err(error) => return Err(LoadError::Failed(error.into())),
        };
        self.meters.fetched(sealed.len());
        let (codec, id) = (Arc::clone(&self.codec), meta.id.clone());
        let opened = self.cpu.run(move || codec.open_blob(id.as_str(), &sealed)).await;
        let segment = match opened {
            Ok(plain) => self.segment(meta.clone(), Bytes::from(plain)).await,
            Err(source) => Err(source),
        };
        Ok(segment.map_err(|source| DamagedIndex { blob: meta.clone(), source }))
    }

    /// What an index blob of these decrypted bytes says. It is kept in the cache, where there is one,
    /// and mapped from there: mapped memory can be taken back by the system, heap can't.
    pub(crate) async fn segment(
        &self,
        meta: BlobMeta,
        plain: Bytes,
    ) -> Result<Segment, FormatError> {
        if let Some(cache) = &self.cache {
            let name = meta.id.as_str();
            cache.store(Kind::Indexes, name, plain.clone()).await;
            if let Some(index) = cache.index(name).await {
                return Ok(Segment { meta, index });
            }
        }
        self.cpu.run(move || Segment::parse(meta, plain)).await
    }
}
