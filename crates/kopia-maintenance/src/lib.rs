//! Whose task the maintenance of a repository is, when it is due, and what was done.
//!
//! [`Status`] reads the maintenance parameters and the blob `kopia.maintenance`; [`Change`] changes
//! them as Kopia does. Facts: docs/format/08-maintenance.md §1 to §3.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod change;
mod error;
mod status;

pub use change::{Change, Changes};
pub use error::{MaintenanceError, Result};
pub use status::{Due, Overdue, Status};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeTests;
