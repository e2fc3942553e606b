//! How a folder keeps blobs: Kopia's sharded layout, atomic and fsynced.
//!
//! A blob is a file whose path is made of the beginning of its ID (`p/444/534a….f`), by rules that
//! lie in the folder itself (`.shards`). [`FilesystemStorage`] reads and writes folders that Kopia
//! 0.23.1 reads and writes, at the same time if need be. Format: docs/format/01-blob-storage.md §3.
//!
//! Files and folders are fsynced before a put answers; Kopia fsyncs the file alone, so that a loss
//! of power can take the file's name with it.
//!
//! Unix only: a blob's path is bytes, as on Kopia's side.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod disk;
mod error;
mod list;
mod lost;
mod options;
#[cfg(test)]
mod power_cut;
mod shards;
mod storage;
mod write;

pub use options::FilesystemOptions;
pub use shards::{InvalidShards, ShardOverride, Shards};
pub use storage::FilesystemStorage;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeTests;
