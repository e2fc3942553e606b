//! The public API of the crate against real repositories, generated trees, and storages that fail.
#![allow(clippy::unwrap_used)]

mod archive;
mod dropped;
mod fixtures;
mod history;
mod incremental;
mod kill;
mod live;
mod restore;
mod retention;
mod reupload;
mod rewrite;
mod roots;
mod support;
mod survey;
mod swapped;
mod unsteady;
mod upload;
mod verify;
mod weather;
mod windows;
