//! Which contents exist and where: all active index blobs, seen as one.
//!
//! An [`IndexView`] is a set of parsed index blobs that never changes; a refresh or an own write
//! makes a new one and leaves the old one to whoever still reads it. Blobs are immutable, so one
//! that is loaded is never fetched again. Which blobs are active is told by the epochs ([`epochs`])
//! or, in repositories of format version 1, by the compaction log ([`legacy`]). Format:
//! docs/format/04.

pub(crate) mod damaged;
pub(crate) mod epochs;
pub(crate) mod filter;
pub(crate) mod legacy;
pub(crate) mod load;
pub(crate) mod lookup;
mod marks;
mod recover;
pub(crate) mod refresh;
pub(crate) mod segments;
pub(crate) mod upkeep;
pub(crate) mod write;

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use blob_core::{BlobMeta, Timestamp};

pub use damaged::DamagedIndex;
pub use lookup::{Deleted, EntryFilter, IndexView};
pub use marks::{Marked, Marks};

use epochs::EpochState;

/// The index as this client knows it.
#[derive(Debug, Default)]
pub(crate) struct CommittedIndex {
    view: RwLock<Arc<IndexView>>,
    loaded_at: Mutex<Timestamp>,
    /// One refresh or write at a time, so that neither loses what the other adds.
    pub turn: tokio::sync::Mutex<Option<EpochState>>,
}

/// What is to be loaded: blobs, and the time at and before which deletions are final.
#[derive(Debug, Clone, Default)]
pub(crate) struct ActiveSet {
    pub blobs: Vec<BlobMeta>,
    pub watermark: Option<i64>,
    /// Compaction logs that can't be read: what they say was replaced is active.
    pub damaged: Vec<DamagedIndex>,
}

impl CommittedIndex {
    /// What is known now.
    pub(crate) fn view(&self) -> Arc<IndexView> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Only the holder of the turn may call this.
    pub(crate) fn set_view(&self, view: IndexView) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    pub(crate) fn loaded_at(&self) -> Timestamp {
        *self.loaded_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_loaded_at(&self, now: Timestamp) {
        *self.loaded_at.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}
