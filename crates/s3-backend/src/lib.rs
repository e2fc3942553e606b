//! How S3 keeps blobs: rusoto requests over hyper 1 and rustls 0.23.
//!
//! [`S3Storage`] is a [`blob_core::BlobStorage`] over one bucket and key prefix, of Amazon S3 or of
//! anything that speaks its protocol. It knows no policy and no backup format: a blob's storage
//! class, encryption, tags and lock come in with [`blob_core::PutOptions`], and without them
//! nothing is sent.
//!
//! The one idea: **rusoto builds and parses, we send.** `rusoto_s3` turns a typed request into
//! headers and XML, and `rusoto_core` signs it; everything between the finished request and its
//! answer is in this crate's `wire` module, over hyper 1 and rustls 0.23. A request is signed at
//! the moment it is sent, so headers that rusoto never heard of, virtual hosts, region redirects
//! and fresh credentials all work, and every answer is looked at before rusoto parses it. No type
//! of rusoto, hyper or rustls is part of the public interface.
//!
//! ```no_run
//! # async fn example() -> Result<(), blob_core::BlobError> {
//! use blob_core::{BlobId, BlobStorage, PutAttributes, PutOptions, ReadRange, StorageClass};
//! use s3_backend::{S3Options, S3Storage};
//!
//! let storage = S3Storage::open(S3Options {
//!     bucket: "my-backups".into(),
//!     prefix: "photos/".into(),
//!     ..S3Options::default() // Amazon S3, keys from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
//! })?;
//! let id = BlobId::new("p0001").expect("a blob ID");
//! let cheaper = PutAttributes { class: Some(StorageClass::STANDARD_IA), ..Default::default() };
//! let options = PutOptions { attributes: cheaper, ..Default::default() };
//! storage.put(&id, b"bytes".to_vec().into(), &options).await?;
//! assert_eq!(storage.get(&id, ReadRange::Full).await?, &b"bytes"[..]);
//! # Ok(()) }
//! ```
//!
//! Retries, limits and policies are layers of `blob_core` around the storage: this crate itself
//! sends a request again only where the answer says that it was addressed or signed wrongly.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod archive;
mod batch;
mod checksum;
mod copy;
pub mod credentials;
mod errors;
mod get;
mod head;
mod lifecycle;
mod list;
mod net;
mod options;
mod past;
mod put;
mod retain;
mod rights;
mod storage;
mod time;
mod wire;

pub use credentials::{Credentials, ProvideCredentials, Secret};
pub use lifecycle::{Lifecycle, MINIMUM_HEADER};
pub use net::Timeouts;
pub use options::{Addressing, S3Options, ThrottlingLimits};
pub use storage::{S3Builder, S3Storage};

#[cfg(test)]
#[global_allocator]
static ALLOCATOR: kopia_fixtures::hostile::Counting = kopia_fixtures::hostile::Counting;

/// What reading an answer or a file may take of memory in tests: for each byte, and whatever the
/// input.
#[cfg(test)]
const MEMORY: (usize, usize) = (64, 64 << 10);

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
