//! Repositories in memory and on disk, and those that Kopia wrote: reading, writing, cuts, damage.
//!
//! One program, so that it links once.
#![allow(clippy::unwrap_used)]

mod cancelled;
mod common;
mod crashes;
mod damaged_index;
mod fixtures;
mod flipped_bytes;
mod flushing;
mod format_blobs;
mod index;
mod logs;
mod long_packs;
mod manifests;
mod reading;
mod several_clients;
mod sync;
mod upkeep;
mod writing;
