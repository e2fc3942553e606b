//! Objects: streams of any length, made of contents.
//!
//! Short objects are one content. Longer ones are cut where the content says so, and a list of the
//! pieces, itself an object, stands for the whole: `I` + the list's ID. Format: docs/format/05.

pub(crate) mod concat;
mod filler;
pub(crate) mod reader;
pub(crate) mod small;
pub(crate) mod walk;
pub(crate) mod writer;

use bytes::Bytes;
use kopia_format::{ContentId, index::IndexEntry};

use crate::{RepoError, Repository, RepositoryWriter, Result};

/// No list of pieces is longer; that of a file of a petabyte has some 15 GiB, of 30 TB half a GiB.
pub(crate) const INDEX_BYTES_MAX: u64 = 1 << 30;

/// Where contents are read from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// What is committed.
    Committed(Repository),
    /// That, and what a writer has not flushed yet.
    Writing(RepositoryWriter),
}

impl Source {
    pub(crate) async fn content(&self, id: &ContentId) -> Result<Bytes> {
        match self {
            Self::Committed(repository) => repository.content(id).await,
            Self::Writing(writer) => writer.content(id).await,
        }
    }

    pub(crate) async fn entry(&self, id: &ContentId) -> Result<Option<IndexEntry>> {
        match self {
            Self::Committed(repository) => repository.content_entry(id).await,
            Self::Writing(writer) => writer.content_entry(id).await,
        }
    }

    /// What it means that there is no entry of a content.
    pub(crate) fn not_found(&self, id: ContentId) -> RepoError {
        match self {
            Self::Committed(repository) => repository.not_found(id),
            Self::Writing(writer) => writer.repository().not_found(id),
        }
    }

    pub(crate) fn cpu(&self) -> &dataplane::CpuPool {
        match self {
            Self::Committed(repository) => repository.cpu(),
            Self::Writing(writer) => writer.repository().cpu(),
        }
    }
}
