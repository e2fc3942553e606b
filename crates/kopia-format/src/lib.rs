//! What the bytes of a Kopia repository mean.
//!
//! Parsers and writers for every structure of the repository format, checked against Kopia
//! 0.23.1: its own vectors and whole repositories that it wrote. Nothing here does I/O, knows the
//! time, starts a thread or draws a random number: bytes, times and random values come in as
//! arguments. A parser of foreign bytes never panics, and never allocates more than its input or
//! a limit of the caller allows.
//!
//! # From the password to a file
//!
//! 1. [`FormatBlob`] (`kopia.repository`) and a password give the [`RepositoryFormat`]: random
//!    keys, names of algorithms, parameters.
//! 2. An [`ItemCodec`] made from it hashes, seals and opens everything else.
//! 3. [`EpochSnapshot`] decides, by names alone, which index blobs are the index; each of them
//!    is an [`Index`] once opened. Together they say where each [`ContentId`] lies: in which pack,
//!    at which offset.
//! 4. Contents, opened and expanded ([`compress`]), make up objects: one content, or an
//!    [`IndirectObject`] that lists several.
//! 5. Manifests are objects with labels: a [`SnapshotManifest`] names the root [`Directory`] of
//!    a tree, a [`Policy`] says how snapshots of it are made.
//!
//! Writing is the same way back: [`SplitterKind`] cuts, [`Compressor`] packs tighter,
//! [`PackBuilder`] lays out, [`IndexBuilder`] lists.
//!
//! # Where is what
//!
//! | module | what | format document |
//! |---|---|---|
//! | [`format_blob`], [`blobcfg`], [`keys`] | the two format blobs and their keys | 02 |
//! | [`local_config`], [`token`] | how a client finds a repository | 02 |
//! | [`ids`], [`hash`], [`cipher`], [`ecc`], [`codec`] | names and coats of items | 03 |
//! | [`pack`], [`session`], [`compress`] | pack blobs, session markers, compression | 03 |
//! | [`index`], [`epoch`], [`legacy`] | index blobs, and which of them count | 04 |
//! | [`split`], [`indirect`] | objects | 05 |
//! | [`directory`], [`manifest`], [`snapshot`], [`policy`] | snapshots of trees | 06, 07 |
//! | [`maintenance`] | who maintains a repository, and the history of it | 08 |
//! | [`log`] | what clients did, in the repository itself | 08 |
//! | [`json`], [`time`] | JSON and times as Go writes them | 02 |
//!
//! # Example
//!
//! ```
//! use kopia_format::{FormatBlob, FormatOptions, ItemCodec, RepositoryFormat};
//!
//! // A real program takes all of these from a random generator.
//! let (unique_id, secret, master_key, nonce) = ([1; 32], [2; 32], [3; 32], [4; 12]);
//! let mut blob = FormatBlob::new("example", "1.0", &unique_id, "scrypt-65536-8-1");
//! let key = blob.derive_key(b"correct horse")?;
//! let format = RepositoryFormat::new(&FormatOptions::default(), secret, master_key);
//! blob.encrypt(&format, &key, nonce)?;
//! let stored = blob.to_bytes(); // This is kopia.repository.
//!
//! let blob = FormatBlob::parse(&stored)?;
//! let format = blob.decrypt(&blob.derive_key(b"correct horse")?)?;
//! assert!(format.check()?.is_empty());
//! let codec = ItemCodec::new(&format)?;
//! let hash = codec.hasher().hash(b"hello");
//! let sealed = codec.seal(hash.iv(), [5; 12], b"hello");
//! assert_eq!(codec.open(hash.iv(), &sealed)?, b"hello");
//! # Ok::<(), kopia_format::FormatError>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod blobcfg;
pub mod cipher;
pub mod codec;
pub mod compress;
pub mod directory;
pub mod ecc;
pub mod epoch;
pub mod error;
mod fields;
pub mod format_blob;
pub mod hash;
pub mod ids;
pub mod index;
pub mod indirect;
pub mod json;
pub mod keys;
pub mod legacy;
pub mod local_config;
pub mod log;
pub mod maintenance;
pub mod manifest;
pub mod pack;
pub mod policy;
pub mod session;
pub mod snapshot;
pub mod split;
pub mod time;
pub mod token;

pub use blobcfg::BlobConfig;
pub use cipher::Cipher;
pub use codec::ItemCodec;
pub use compress::Compressor;
pub use directory::{DirEntry, DirSummary, Directory, EntryKind};
pub use ecc::Ecc;
pub use epoch::EpochSnapshot;
pub use error::{FormatError, Result};
pub use format_blob::{
    EpochParameters, FormatBlob, FormatOptions, RepositoryFormat, UpgradeLock, Warning,
};
pub use hash::{ContentHasher, HashValue};
pub use ids::{ContentId, ManifestId, ObjectId, SessionId};
pub use index::{Index, IndexBlob, IndexBuilder, IndexEntry};
pub use indirect::{IndirectEntry, IndirectObject};
pub use keys::FormatKey;
pub use local_config::{CachingOptions, LocalConfig, StorageConnection, ThrottlingLimits};
pub use maintenance::{MaintenanceParameters, MaintenanceSchedule};
pub use manifest::{ManifestContent, ManifestEntry};
pub use pack::{PackBuilder, Postamble};
pub use policy::Policy;
pub use session::SessionMarker;
pub use snapshot::{SnapshotManifest, SnapshotStats, Source};
pub use split::{Splitter, SplitterKind};
pub use time::GoTime;
pub use token::RepositoryToken;
