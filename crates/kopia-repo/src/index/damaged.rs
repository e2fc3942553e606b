//! Index blobs that can't be read.
//!
//! Reading goes on without them where that is asked for ([`OpenOptions::pass_over_damaged_index`]),
//! and what is not found may be in one of them. Nobody writes on such a view of the index: merged
//! without it, or deleted by what the rest says, what only the damaged blob knew would be lost for
//! good. What is written all the same is what brings it back: [`Repository::write_entries`].
//!
//! [`OpenOptions::pass_over_damaged_index`]: crate::OpenOptions::pass_over_damaged_index

use blob_core::BlobMeta;
use kopia_format::{ContentId, FormatError};

use super::IndexView;
use crate::{RepoError, Repository, Result, state::Shared};

/// An index blob that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedIndex {
    /// The blob.
    pub blob: BlobMeta,
    /// What is wrong with it.
    pub source: FormatError,
}

impl DamagedIndex {
    /// As an error.
    pub fn error(&self) -> RepoError {
        RepoError::IndexDamaged { blob: self.blob.id.clone(), source: self.source.clone() }
    }
}

impl IndexView {
    /// Index blobs that are passed over; empty if this view is whole.
    pub fn damaged(&self) -> &[DamagedIndex] {
        &self.damaged
    }

    /// What it means that this view has no entry of a content: there is none, or nobody knows.
    pub fn not_found(&self, id: ContentId) -> RepoError {
        let index = self.damaged.first().map(|damaged| damaged.blob.id.clone());
        RepoError::ContentNotFound { id, index }
    }

    /// Refuses what must see the whole index.
    ///
    /// # Errors
    /// [`RepoError::IndexDamaged`] for the first blob that is passed over.
    pub fn check_whole(&self) -> Result<()> {
        self.damaged.first().map_or(Ok(()), |damaged| Err(damaged.error()))
    }
}

impl Shared {
    /// Refuses to write where that is not allowed, or where a part of the index is not known.
    pub(crate) fn check_writable_whole(&self, op: &'static str) -> Result<()> {
        self.check_writable(op)?;
        self.index.view().check_whole()
    }
}

impl Repository {
    /// What it means that the index, as it was last read, has no entry of a content.
    pub fn not_found(&self, id: ContentId) -> RepoError {
        self.shared().index.view().not_found(id)
    }
}
