//! Many contents with manifests become one.
//!
//! Every snapshot adds one, and every client reads all of them. Kopia merges 16 or more whenever it
//! opens a repository; here it is a task, for a command that lists should not write.

use kopia_format::maintenance::RunStatistics;
use kopia_repo::EntryFilter;

use super::gc;
use crate::{
    cycle::Cycle,
    error::Result,
    plan::{TaskPlan, Verdict, Work},
    task::Task,
};

/// Kopia's value.
const CONTENTS_MIN: usize = 16;

pub(crate) fn plan(cycle: &Cycle<'_>) -> TaskPlan {
    let task = Task::MergeManifests;
    let (mut count, mut bytes) = (0_usize, 0);
    for entry in cycle.view.iter(&EntryFilter::prefix(gc::MANIFESTS)) {
        count += 1;
        bytes += u64::from(entry.packed_length);
    }
    if count < CONTENTS_MIN {
        return TaskPlan::nothing(task, format!("{count} contents hold the manifests"));
    }
    let reason = format!("{count} contents hold the manifests, one is enough");
    let mut plan = TaskPlan::new(task, Verdict::Due, reason);
    plan.contents = count as u64;
    plan.write(2, bytes);
    plan.work = Work::MergeManifests;
    plan
}

pub(crate) async fn run(cycle: &mut Cycle<'_>) -> Result<Option<RunStatistics>> {
    let writer = cycle.with.repo.writer()?;
    writer.compact_manifests().await?;
    writer.flush().await?;
    cycle.reload().await?;
    Ok(None)
}
