//! The promise of a blob storage.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{Archive, BlobId, BlobMeta, Payload, PutOptions, PutReceipt, Result, Retain, Volume};

/// A storage of any kind, shared.
pub type DynStorage = Arc<dyn BlobStorage>;

/// What a storage says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageInfo {
    /// Its name for people, as Kopia prints it: `S3: s3.amazonaws.com bucket`, `Filesystem: /path`.
    pub name: String,
    /// Its kind in connection files: `s3`, `filesystem`.
    pub kind: &'static str,
    /// How many requests at once it handles well.
    pub concurrency: usize,
    /// Will it take writes?
    pub read_only: bool,
}

/// Which bytes of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReadRange {
    /// All of them.
    Full,
    /// `length` bytes from `offset` on, exactly.
    Bytes {
        /// First byte, from 0.
        offset: u64,
        /// How many; 0 gives no bytes and no error.
        length: u64,
    },
    /// The last bytes: at most this many, fewer if the blob is shorter.
    Suffix(u64),
}

impl fmt::Display for ReadRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("all"),
            Self::Bytes { offset, length } => {
                write!(f, "{offset}..{}", offset.saturating_add(*length))
            }
            Self::Suffix(length) => write!(f, "the last {length}"),
        }
    }
}

/// A flat map from blob ID to bytes.
///
/// An implementor promises:
/// - **Atomic:** a reader sees a blob whole or not at all, whatever happens to the writer.
/// - **Durable:** when `put` answers `Ok`, the bytes survive a loss of power.
/// - **Read after write:** what was put is seen by every later `get`, `head` and `list`.
/// - **Exact:** `get` gives exactly the bytes asked for or fails; never fewer.
/// - **Cancel-safe:** a future dropped half way leaves the blob as it was or as it should be.
///
/// No method has a default body, so a layer must decide about each, and a call that a layer should
/// have seen can't slip past it.
#[async_trait]
pub trait BlobStorage: Send + Sync + fmt::Debug + 'static {
    /// What the storage says of itself.
    fn info(&self) -> &StorageInfo;

    /// Reads bytes of a blob.
    ///
    /// # Errors
    /// [`crate::BlobError::NotFound`]; [`crate::BlobError::InvalidRange`] when the blob is shorter
    /// than the range; [`crate::BlobError::Archived`] when it must be thawed first; and what any
    /// call may give.
    async fn get(&self, id: &BlobId, range: ReadRange) -> Result<Bytes>;

    /// What is known about a blob without its bytes.
    ///
    /// # Errors
    /// [`crate::BlobError::NotFound`], and what any call may give.
    async fn head(&self, id: &BlobId) -> Result<BlobMeta>;

    /// All blobs whose ID begins with `prefix`, in no particular order. Objects that can't be blobs
    /// (IDs with a slash, folder markers, temporary files) are left out. A listing that fails ends
    /// with its error.
    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMeta>>;

    /// Writes a blob, replacing what was there unless `options` say otherwise.
    ///
    /// # Errors
    /// [`crate::BlobError::AlreadyExists`] only if `if_absent` was asked for;
    /// [`crate::BlobError::InvalidOption`] for attributes that the storage can't honour; and what
    /// any call may give.
    async fn put(&self, id: &BlobId, data: Payload, options: &PutOptions) -> Result<PutReceipt>;

    /// Deletes a blob. One that does not exist is `Ok`.
    ///
    /// # Errors
    /// [`crate::BlobError::Locked`], and what any call may give.
    async fn delete(&self, id: &BlobId) -> Result<()>;

    /// Ends the use of the storage; later calls may fail.
    ///
    /// # Errors
    /// What any call may give.
    async fn close(&self) -> Result<()>;

    /// The storage as one whose blobs can be out of reach, if it is one.
    fn archive(&self) -> Option<&dyn Archive>;

    /// The storage as one whose blobs' locks can be extended, if it is one. Whether its blobs can
    /// be locked at all may show only when that is tried.
    fn retain(&self) -> Option<&dyn Retain>;

    /// The storage as a disk with a capacity, if it is one.
    fn volume(&self) -> Option<&dyn Volume>;
}
