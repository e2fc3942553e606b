//! Maintenance joined with what snapshots need and what classes bill.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use cold_storage::PriceTable;
use kopia_maintenance::{
    ColdPolicy, Event, Events, MinimumDays, Options, Reachability, Task, safety::Margins,
};
use kopia_repo::{Marks, Repository};
use kopia_snapshot::live::{LiveStats, live_roots, mark_more};
use tokio_util::sync::CancellationToken;

use super::kept_walk::KeptWalk;

/// What the snapshots of a repository need.
#[derive(Debug)]
pub struct Snapshots<'a>(pub &'a Repository);

/// A walk is kept so often, to go on from there.
const KEPT_EVERY: Duration = Duration::from_secs(30);

/// Clocks of clients may differ by so much. Kopia's value.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(5 * 60);

#[async_trait]
impl Reachability for Snapshots<'_> {
    /// A walk that was broken off less than a day ago is gone on with: snapshots that it had done are
    /// not walked again.
    async fn mark(
        &self,
        marks: &Marks,
        events: &dyn Events,
        stop: &CancellationToken,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let repo = self.0;
        let roots = live_roots(repo).await?;
        for (who, until) in clocks_ahead(repo).await? {
            events.hear(&Event::Warned(
                Task::SnapshotGc,
                format!(
                    "a snapshot by {who} ends at {until}, which is yet to come: its clock is wrong"
                ),
            ));
        }
        let kept = KeptWalk::new(repo);
        let now = repo.env().clock.now();
        let (live, mut done) = kept.read(now, marks.view());
        let all = roots.len() as u64;
        let roots: Vec<_> =
            roots.into_iter().filter(|root| !done.contains(&root.entry.object)).collect();
        let before = all - roots.len() as u64;
        let last = Mutex::new((Instant::now(), 0));
        let progress = |stats: &LiveStats| {
            let count = before + stats.roots_done as u64;
            let (task, what) = (Task::SnapshotGc, "snapshots");
            events.hear(&Event::Progress { task, what, done: count, total: all });
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if stats.roots_done > last.1 && last.0.elapsed() >= KEPT_EVERY {
                let walked = roots.iter().take(stats.roots_done).map(|root| root.entry.object);
                if kept.store(now, &live, done.iter().copied().chain(walked)) {
                    *last = (Instant::now(), stats.roots_done);
                }
            }
        };
        mark_more(repo, &live, &roots, &progress, stop).await?;
        done.clear();
        kept.forget();
        marks.add(live.live());
        Ok(())
    }
}

/// Who took snapshots that end in the future, and when the last of each ends.
async fn clocks_ahead(
    repo: &Repository,
) -> kopia_snapshot::Result<BTreeMap<String, kopia_format::time::GoTime>> {
    let limit = repo.env().clock.now().saturating_add(CLOCKS_DIFFER_MAX);
    let mut ahead = BTreeMap::new();
    for manifest in kopia_snapshot::manifests::find(repo, &[]).await? {
        let (source, end) = (manifest.source, manifest.end_time);
        if end.unix_nanos() > limit.nanos() {
            let last = ahead.entry(format!("{}@{}", source.user_name, source.host)).or_insert(end);
            *last = end.max(*last);
        }
    }
    Ok(ahead)
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
