//! Work that joins plans of several crates.

pub mod compact_cold;
mod kept_walk;
pub mod maintenance;
pub mod overdue;
pub mod thaw;
pub mod thaw_restore;
