//! What some storages can do beyond the common promise.
//!
//! A capability is found by asking the storage for it, so that a layer passes on, wraps or
//! withholds it knowingly.

use std::fmt;

use async_trait::async_trait;

use crate::{BlobId, LockMode, PutAttributes, ReadState, Result, Timestamp};

/// How fast a thaw is asked for; each has its price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Cheapest, slowest.
    Bulk,
    /// In between.
    Standard,
    /// Fastest, dearest, not for every class, and not always to be had.
    Expedited,
}

impl Tier {
    /// All of them, the cheapest first.
    pub const ALL: [Self; 3] = [Self::Bulk, Self::Standard, Self::Expedited];
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bulk => "Bulk",
            Self::Standard => "Standard",
            Self::Expedited => "Expedited",
        })
    }
}

/// A request for a readable copy of an archived blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThawRequest {
    /// How fast.
    pub tier: Tier,
    /// For how many days the copy is kept; at least 1.
    pub days: u16,
}

impl ThawRequest {
    /// The days that the copy is billed for at most: its end is rounded up to a midnight (UTC).
    pub fn billed_days(&self) -> u32 {
        u32::from(self.days) + 1
    }
}

/// What a storage answers to a thaw request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThawOutcome {
    /// It has begun.
    Started,
    /// It was running already; nothing changed.
    AlreadyRunning,
    /// There is a copy already; its end was moved.
    Extended,
    /// The blob is readable anyway.
    NotCold,
}

/// A storage that can hold blobs out of reach until they are asked for.
///
/// An implementor promises: `thaw` is idempotent, returns before the blob is readable, and never
/// changes the blob's class for good; `reclass` is the only call that does, and a reader sees the
/// blob whole before, while and after.
#[async_trait]
pub trait Archive: Send + Sync {
    /// Asks for a readable copy of `id`.
    ///
    /// # Errors
    /// [`crate::BlobError::NotFound`]; [`crate::BlobError::TierUnavailable`] when the tier is out
    /// of capacity; [`crate::BlobError::InvalidOption`] for a tier that the blob's class does not
    /// have.
    async fn thaw(&self, id: &BlobId, request: &ThawRequest) -> Result<ThawOutcome>;

    /// Can `id` be read now? Asks the storage for this one blob.
    ///
    /// # Errors
    /// [`crate::BlobError::NotFound`], and what any call may give.
    async fn read_state(&self, id: &BlobId) -> Result<ReadState>;

    /// Copies `id` onto itself on the storage's side, into the class that `to` names. No byte comes
    /// here.
    ///
    /// What `to` does not say stays as it is: class, user metadata, tags, content type, cache
    /// control, encryption, checksum, lock and hold; of two locks the stricter and longer one
    /// counts. The blob's time of writing is that of the copy. A blob that is of the class already,
    /// and of which nothing else is asked, is left alone, so the call can be repeated.
    ///
    /// # Errors
    /// [`crate::BlobError::NotFound`]; [`crate::BlobError::Archived`] for a blob that must be thawed
    /// first; [`crate::BlobError::InvalidOption`] for attributes that the storage can't honour; and
    /// what any call may give.
    async fn reclass(&self, id: &BlobId, to: &PutAttributes) -> Result<()>;
}

/// A storage that can lock blobs that are there already.
///
/// An implementor promises: a lock is never shortened or softened, so a call that was answered with
/// an error or not at all can be repeated; no byte of the blob is read or moved; and a blob that is
/// archived needs no thaw. No right to shorten locks is ever made use of, whoever has it.
#[async_trait]
pub trait Retain: Send + Sync {
    /// Locks `id` by `mode` until `until` at least, by the storage's clock. What Kopia's maintenance
    /// asks of every blob that it has locked, with a time of its own clock plus the period of
    /// `kopia.blobcfg` (docs/format/08-maintenance.md §9).
    ///
    /// A blob without a lock gets one. A storage may count in whole seconds; the lock then ends in
    /// the next one. Of a lock of [`LockMode::Governance`] that is to become one of
    /// [`LockMode::Compliance`] not every service of S3's kind makes one without a right to bypass
    /// it.
    ///
    /// # Errors
    /// [`crate::BlobError::NotFound`]; [`crate::BlobError::Locked`], with the end of the lock that
    /// there is where the storage tells, if that lock is longer or stricter than the wanted one, and
    /// nothing was changed; [`crate::BlobError::InvalidOption`] for a time that has passed, or where
    /// the storage keeps no locks; [`crate::BlobError::AccessDenied`] without the right to lock; and
    /// what any call may give.
    async fn extend_retention(&self, id: &BlobId, until: Timestamp, mode: LockMode) -> Result<()>;
}

/// How big a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeCapacity {
    /// Bytes in all.
    pub capacity: u64,
    /// Bytes that this user can still write.
    pub available: u64,
}

/// A storage on a disk.
#[async_trait]
pub trait Volume: Send + Sync {
    /// Asks the disk.
    ///
    /// # Errors
    /// What any call may give.
    async fn capacity(&self) -> Result<VolumeCapacity>;
}
