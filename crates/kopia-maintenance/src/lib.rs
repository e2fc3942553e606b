//! What may be dropped, moved, merged or deleted in a Kopia repository, when, and what it takes.
//!
//! [`Status`] says whose task maintenance is, when it is due and what was done; [`Change`] changes
//! that as Kopia does. [`Maintenance`] works out what a cycle would do, as data ([`MaintenancePlan`]),
//! and does it: the same tasks in the same order with the same margins as Kopia, so that both may
//! take turns. Archived packs are never read. Facts: docs/format/08-maintenance.md.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod change;
mod cold;
mod cycle;
mod error;
mod event;
mod lock;
mod options;
pub mod plan;
mod reach;
mod run;
pub mod safety;
mod status;
pub mod task;
mod tasks;
mod usage;

pub use change::{Change, Changes};
pub use cold::{ColdPack, ColdPolicy, MinimumDays};
pub use error::{MaintenanceError, Result};
pub use event::{Event, Events};
pub use lock::MaintenanceLock;
pub use options::Options;
pub use plan::MaintenancePlan;
pub use reach::Reachability;
pub use run::{Maintenance, Report, Which};
pub use status::{Due, Overdue, Status};
pub use task::{Mode, Task};
pub use tasks::retention::check_lock_period;
pub use usage::{PackUse, PackUses};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeTests;
