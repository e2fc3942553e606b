//! What whoever runs maintenance may want to hear meanwhile.

use kopia_format::maintenance::RunStatistics;

use crate::{
    error::MaintenanceError,
    plan::{Deletion, TaskPlan},
    task::{Mode, Task},
};

/// Hears what happens.
pub trait Events: Send + Sync {
    /// Something happened.
    fn hear(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync> Events for F {
    fn hear(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Something that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A cycle begins.
    Begun(Mode),
    /// A task has been worked out, and will be done if it is due.
    Planned(&'a TaskPlan),
    /// A task is so far: of `total` things `done` are done.
    Progress {
        /// Which task.
        task: Task,
        /// Which things.
        what: &'static str,
        /// How many are done.
        done: u64,
        /// How many there are; 0: that is not known.
        total: u64,
    },
    /// A blob was deleted.
    Deleted(Task, &'a Deletion),
    /// Something was left as it was, and why.
    Kept(Task, String),
    /// Something is not as it should be, and stops nothing.
    Warned(Task, String),
    /// A task is done.
    Done(&'a TaskPlan, Option<&'a RunStatistics>),
    /// A task could not be done.
    Failed(Task, &'a MaintenanceError),
    /// The cycle is over.
    Ended(Mode),
}
