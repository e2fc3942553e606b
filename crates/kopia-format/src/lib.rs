//! What the bytes of a Kopia repository mean.
//!
//! Parsers and writers for every structure of the repository format, checked against Kopia 0.23.1. Nothing here does
//! I/O, knows the time, starts a thread or draws a random number: bytes and random values come in as arguments.
//! A parser of foreign bytes never panics and never allocates more than its input allows.

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
pub mod maintenance;
pub mod manifest;
pub mod pack;
pub mod policy;
pub mod session;
pub mod snapshot;
pub mod split;
pub mod time;
pub mod token;

pub use error::{FormatError, Result};
pub use ids::{ContentId, ManifestId, ObjectId, SessionId};
