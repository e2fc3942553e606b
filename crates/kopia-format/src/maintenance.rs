//! Who maintains a repository and how often, and what was done.
//!
//! The parameters are a manifest like any other; the schedule with its history is a blob of its
//! own, `kopia.maintenance`, which is overwritten in place. Maintenance reads the history back
//! to decide what is safe: write true entries or none.
//! Format: `docs/format/08-maintenance.md`, sections 1 and 2.

mod parameters;
mod schedule;

pub use parameters::{Cycle, LogRetention, MaintenanceParameters};
pub use schedule::{
    MAINTENANCE_BLOB_ID, MaintenanceRun, MaintenanceSchedule, RUNS_PER_TASK_MAX, RunStatistics,
};
