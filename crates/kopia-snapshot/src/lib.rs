//! How a tree becomes a Kopia snapshot, and a snapshot a tree.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod policy;
pub mod source;
