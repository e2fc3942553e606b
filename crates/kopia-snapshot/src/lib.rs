//! How a tree becomes a Kopia snapshot, and a snapshot a tree.
//!
//! [`create`] takes a snapshot of a local tree, [`roots`] finds one again by what a user types, [`restore`] brings it back,
//! [`verify`] checks it. Nothing here prints: engines tell events to a sink of the caller's.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod create;
pub mod error;
pub mod manifests;
pub mod policies;
pub mod policy;
pub mod restore;
pub mod retention;
pub mod roots;
pub mod source;
pub mod tree;
pub mod upload;
pub mod verify;

pub use error::{Result, SnapshotError};

use kopia_format::time::GoTime;
use kopia_repo::Repository;

/// The time by the repository's clock.
pub(crate) fn now(repo: &Repository) -> GoTime {
    GoTime::from_unix_nanos(repo.env().clock.now().nanos())
}
