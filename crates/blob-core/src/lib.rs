//! What a blob storage is, and how behaviours stack on one.
//!
//! A storage is a flat map from a blob ID to bytes, with a length, a time and, where the storage
//! has such a thing, a storage class for each blob. [`BlobStorage`] is the promise; [`layers`] hold
//! behaviours that any storage can be wrapped in, one file each; [`StorageStack`] puts them on in
//! order. Which class a blob is written in is decided by one layer, [`layers::WithPolicy`], from a
//! [`PutPolicy`]: the storage below it knows no policy.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod caps;
pub mod class;
pub mod env;
pub mod error;
pub mod id;
pub mod layers;
pub mod look_up;
pub mod memory;
pub mod meta;
pub mod policy;
pub mod put;
pub mod stack;
pub mod storage;
pub mod usage;

pub use caps::{Archive, Retain, ThawOutcome, ThawRequest, Tier, Volume, VolumeCapacity};
pub use class::StorageClass;
pub use env::{Clock, Entropy, ManualClock, OsEntropy, SeededEntropy, SystemClock};
pub use error::{BlobError, Result, Retry};
pub use id::{BlobId, InvalidBlobId};
pub use look_up::look_up;
pub use memory::MemoryStorage;
pub use meta::{BlobMeta, ReadState, Timestamp};
pub use policy::{FnPolicy, NoPolicy, PutPolicy};
pub use put::{
    Checksum, Encryption, Lock, LockMode, Payload, Piece, PieceSource, PutAttributes, PutOptions,
    PutReceipt,
};
pub use stack::{Layer, StorageStack};
pub use storage::{BlobStorage, DynStorage, ReadRange, StorageInfo};
pub use usage::{Amount, Usage};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeTests;
