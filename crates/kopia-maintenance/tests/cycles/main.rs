//! Cycles of maintenance over repositories in memory, by a clock that a test moves.
#![allow(clippy::unwrap_used)]

mod cold;
mod collect;
mod delete;
mod drop;
mod epochs;
mod history;
mod kill;
mod legacy;
mod logs;
mod plan;
mod rewrite;
mod sessions;
mod status;
mod unreadable;
mod world;
