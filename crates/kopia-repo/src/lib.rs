//! Which contents and manifests exist in a Kopia repository, and how one is read or added safely.
//!
//! A [`Repository`] is opened over any [`blob_core::BlobStorage`]. Reading goes from a content ID
//! through the index to a slice of a pack; an object is a stream made of contents; a manifest is a
//! labelled document. Writing goes through a [`RepositoryWriter`]: nothing is visible to others
//! before [`flush`](RepositoryWriter::flush), and a crash at any moment leaves the repository as it
//! was, plus garbage that maintenance collects. What is written is what Kopia 0.23.1 reads, and
//! Kopia may write at the same time. Format: `docs/format/`.
//!
//! ```
//! use std::sync::Arc;
//! use blob_core::MemoryStorage;
//! use kopia_repo::{CreateOptions, ObjectOptions, OpenOptions, Repository};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), kopia_repo::RepoError> {
//! let storage = Arc::new(MemoryStorage::new());
//! let password = "correct horse".to_owned().into();
//! Repository::create(storage.clone(), &password, CreateOptions::default()).await?;
//! let repository = Repository::open(storage, &password, OpenOptions::default()).await?;
//!
//! let writer = repository.writer()?;
//! let object = writer.write_object("hello".into(), ObjectOptions::default()).await?;
//! writer.put_manifest(&[("type", "note")], &object).await?;
//! writer.flush().await?;
//!
//! let notes = repository.manifests().find(&[("type", "note")]).await?;
//! let object = notes[0].payload()?;
//! assert_eq!(repository.read_object(&object, 1 << 20).await?, "hello");
//! # Ok(()) }
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cache;
mod contents;
mod create;
mod error;
mod fetch;
mod format_kept;
mod format_state;
mod index;
mod key_kept;
mod log;
mod manifests;
mod objects;
mod open;
mod options;
pub mod read_plan;
mod sessions;
mod state;
mod stats;
pub mod sync;
mod verify;
mod writer;

pub use blob_core::Timestamp;
pub use cache::{Cache, CacheKindUsage};
pub use contents::{flush::FlushReport, write::NewContent};
pub use error::{RepoError, Result};
pub use fetch::{FetchFrom, Fetched, TakeContents};
pub use index::{
    DamagedIndex, Deleted, EntryFilter, IndexView, Marked, Marks, upkeep::CompactionOf,
};
pub use kopia_format::{index::IndexEntry, manifest::ManifestEntry};
pub use log::RepositoryLog;
pub use manifests::Manifests;
pub use objects::{
    reader::ObjectReader,
    walk::{ObjectChunk, ObjectContents},
    writer::{ObjectOptions, ObjectWriter},
};
pub use open::Repository;
pub use options::{CacheOptions, CreateOptions, Env, OpenOptions, Retention};
pub use read_plan::{PackReads, PackState, RangeRead, ReadPlan};
pub use stats::{Amount, ContentStats, Counters};
pub use verify::{VerifyEvent, VerifyOptions, VerifyReport};
pub use writer::RepositoryWriter;
