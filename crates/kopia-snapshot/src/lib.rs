//! How a tree becomes a Kopia snapshot, and a snapshot a tree.
//!
//! [`create`] takes a snapshot of a local tree, [`roots`] finds one again by what a user types,
//! [`restore`] brings it back, [`verify`] checks it. Nothing here prints: engines tell events to a
//! sink of the caller's.
//!
//! What is stored is what Kopia 0.23.1 would store: the same tree under the same policy gives the
//! same root object, so that both clients share their data and go on from each other's snapshots. A
//! restore is planned first, from metadata alone: what it writes, which bytes of which packs it
//! takes, and what is archived or lost are known before anything is fetched or written. Facts:
//! `docs/format/06-manifests-snapshots.md` and `docs/format/07-upload-restore.md`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod create;
pub mod diff;
pub mod error;
pub mod estimate;
pub mod find;
pub mod glob;
pub mod history;
pub mod live;
pub mod manifests;
pub mod mode;
pub mod policies;
pub mod policy;
pub mod restore;
pub mod retention;
pub mod rewrite;
pub mod roots;
pub mod source;
pub mod tree;
pub mod upload;
pub mod verify;
mod walk;

pub use error::{Result, SnapshotError};

use kopia_format::time::GoTime;
use kopia_repo::Repository;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeTests;

/// The time by the repository's clock.
pub(crate) fn now(repo: &Repository) -> GoTime {
    GoTime::from_unix_nanos(repo.env().clock.now().nanos())
}
