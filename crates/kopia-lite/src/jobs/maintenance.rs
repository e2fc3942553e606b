//! Maintenance joined with what snapshots need and what classes bill.

use std::time::Duration;

use async_trait::async_trait;
use cold_storage::PriceTable;
use kopia_maintenance::{
    ColdPolicy, Event, Events, MinimumDays, Options, Reachability, Task, safety::Margins,
};
use kopia_repo::{Marks, Repository};
use kopia_snapshot::live::{LiveStats, live_roots, mark_live};
use tokio_util::sync::CancellationToken;

/// What the snapshots of a repository need.
#[derive(Debug)]
pub struct Snapshots<'a>(pub &'a Repository);

#[async_trait]
impl Reachability for Snapshots<'_> {
    async fn mark(
        &self,
        marks: &Marks,
        events: &dyn Events,
        stop: &CancellationToken,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let roots = live_roots(self.0).await?;
        let progress = |stats: &LiveStats| {
            events.hear(&Event::Progress {
                task: Task::SnapshotGc,
                what: "snapshots",
                done: stats.roots_done as u64,
                total: stats.roots_total as u64,
            });
        };
        mark_live(self.0, marks, &roots, &progress, stop).await?;
        Ok(())
    }
}

/// How maintenance is done in this repository.
///
/// # Errors
/// The policy for archived packs can't be read.
pub async fn options(
    repo: &Repository,
    margins: Margins,
    table: &PriceTable,
) -> kopia_maintenance::Result<Options> {
    let days: Vec<_> = table.classes().map(|(class, facts)| (class, facts.min_days)).collect();
    let minimum = MinimumDays::new(move |class| {
        let known = days.iter().find(|(known, _)| known == class).map_or(0, |(_, days)| *days);
        Duration::from_secs(u64::from(known) * 86_400)
    });
    Ok(Options { margins, cold: ColdPolicy::read(repo).await?, minimum, ..Options::default() })
}
