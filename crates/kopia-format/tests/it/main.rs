//! What Kopia wrote, read: whole repositories, documents, foreign bytes.
//!
//! One program, so that it links once.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod damaged_documents;
mod foreign_bytes;
mod real_snapshots;
mod repositories;
