//! Work that joins plans of several crates.

pub mod compact_cold;
pub mod kept_place;
pub mod kept_schedule;
mod kept_walk;
pub mod maintenance;

pub mod thaw;
pub mod thaw_restore;
pub mod validate_provider;
