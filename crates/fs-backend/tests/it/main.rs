//! Folders as Kopia's and as broken disks leave them.
//!
//! One program, so that it links once.
#![allow(clippy::unwrap_used)]

mod conformance;
mod failures;
mod kopias_folders;
