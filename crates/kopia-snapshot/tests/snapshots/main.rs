//! The public API of the crate against real repositories, generated trees, and storages that fail.
#![allow(clippy::unwrap_used)]

mod fixtures;
mod incremental;
mod reupload;
mod support;
mod upload;
