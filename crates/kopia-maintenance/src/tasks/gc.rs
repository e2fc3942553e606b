//! Contents that no snapshot names are marked as deleted, those that one names again are not.
//!
//! Both are index entries that point where the old ones did: no pack is read or written, where Kopia
//! reads a content to bring it back. One walk over the index in the order of IDs plans it, and
//! another carries it out, with a bit a content in memory. Format: docs/format/08 §5.

use std::{sync::Arc, time::Duration};

use blob_core::{Timestamp, usage::Amount};
use kopia_format::{index::IndexEntry, maintenance::RunStatistics, time::GoTime};
use kopia_repo::{IndexView, Marks};
use serde::Serialize;

use super::statistics;
use crate::{
    cycle::{Cycle, span},
    error::{MaintenanceError, Result},
    event::Event,
    plan::{TaskPlan, Verdict, Work},
    task::Task,
};

/// The prefix of contents with manifests, which are never touched here.
pub(crate) const MANIFESTS: u8 = b'm';
/// So many entries are written together. Kopia's value.
const TOGETHER: usize = 100_000;
/// Clocks of clients may be ahead by so much. Kopia's value.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(5 * 60);
/// Bytes of an entry in an index blob, with a key of 17.
const ENTRY_BYTES: u64 = 34;

/// What snapshots need, and by when everything else must have been written to be garbage.
#[derive(Debug)]
pub(crate) struct Collection {
    pub(crate) marks: Marks,
    stats: GcStats,
}

/// Counters, with Kopia's names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GcStats {
    unreferenced_content_count: u64,
    unreferenced_content_size: u64,
    deleted_content_count: u64,
    deleted_content_size: u64,
    unreferenced_recent_content_count: u64,
    unreferenced_recent_content_size: u64,
    in_use_content_count: u64,
    in_use_content_size: u64,
    in_use_system_content_count: u64,
    in_use_system_content_size: u64,
    recovered_content_count: u64,
    recovered_content_size: u64,
}

/// What becomes of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It holds manifests.
    System,
    /// It is needed.
    Used,
    /// It is needed, and was marked as deleted.
    Recovered,
    /// It is not needed, and too young to say so.
    TooRecent,
    /// It is not needed, and that was said before.
    Dead,
    /// It is not needed.
    Deleted,
}

fn fate(entry: &IndexEntry, is_marked: bool, start: Timestamp, age_min: Duration) -> Fate {
    if entry.id.prefix() == Some(MANIFESTS) {
        return Fate::System;
    }
    match (is_marked, entry.deleted) {
        (true, true) => Fate::Recovered,
        (true, false) => Fate::Used,
        // A time in the future is no age at all.
        _ if start.since(Timestamp::from_secs(entry.timestamp)) < age_min => Fate::TooRecent,
        (false, true) => Fate::Dead,
        (false, false) => Fate::Deleted,
    }
}

impl GcStats {
    fn count(&mut self, fate: Fate, bytes: u64) {
        let pairs = |pair: (&mut u64, &mut u64)| {
            *pair.0 += 1;
            *pair.1 += bytes;
        };
        match fate {
            Fate::System => {
                pairs((
                    &mut self.in_use_system_content_count,
                    &mut self.in_use_system_content_size,
                ));
            }
            Fate::Used | Fate::Recovered => {
                pairs((&mut self.in_use_content_count, &mut self.in_use_content_size));
            }
            Fate::TooRecent => pairs((
                &mut self.unreferenced_recent_content_count,
                &mut self.unreferenced_recent_content_size,
            )),
            Fate::Dead | Fate::Deleted => {
                pairs((&mut self.unreferenced_content_count, &mut self.unreferenced_content_size));
            }
        }
        match fate {
            Fate::Recovered => {
                pairs((&mut self.recovered_content_count, &mut self.recovered_content_size));
            }
            Fate::Deleted => {
                pairs((&mut self.deleted_content_count, &mut self.deleted_content_size));
            }
            _ => {}
        }
    }
}

impl Collection {
    fn fates<'a>(
        marks: &'a Marks,
        cycle: &Cycle<'_>,
    ) -> impl Iterator<Item = (IndexEntry, Fate)> + 'a {
        let (start, age_min) = (cycle.start, cycle.with.options.margins.collect_age_min);
        marks.entries().map(move |(entry, is_marked)| {
            let fate = fate(&entry, is_marked, start, age_min);
            (entry, fate)
        })
    }
}

/// What the index says when a collection by `marks` was done `at` this time, in seconds since 1970.
pub(crate) fn collected<'a>(
    marks: &'a Marks,
    at: i64,
    cycle: &Cycle<'_>,
) -> impl Iterator<Item = IndexEntry> + 'a {
    Collection::fates(marks, cycle)
        .map(move |(entry, fate)| changed(&entry, fate, at).unwrap_or(entry))
}

/// The entry that says what becomes of a content; `None` if nothing does.
fn changed(entry: &IndexEntry, fate: Fate, now: i64) -> Option<IndexEntry> {
    let deleted = match fate {
        Fate::Deleted => true,
        Fate::Recovered => false,
        _ => return None,
    };
    // Later than the old one, or that would count.
    let timestamp = now.max(entry.timestamp + 1);
    Some(IndexEntry { deleted, timestamp, ..entry.clone() })
}

pub(crate) async fn plan(cycle: &Cycle<'_>) -> Result<TaskPlan> {
    let task = Task::SnapshotGc;
    let view: Arc<IndexView> = Arc::clone(&cycle.view);
    let marks = Marks::new(view);
    let marked = cycle.with.reach.mark(&marks, cycle.with.events, cycle.with.stop).await;
    marked.map_err(|source| MaintenanceError::Reach { source })?;
    let mut stats = GcStats::default();
    let limit = cycle.start.saturating_add(CLOCKS_DIFFER_MAX).secs();
    let (mut ahead, mut latest) = (0_u64, 0);
    for (n, (entry, fate)) in Collection::fates(&marks, cycle).enumerate() {
        stats.count(fate, entry.packed_length.into());
        if entry.timestamp > limit {
            ahead += 1;
            latest = latest.max(entry.timestamp);
        }
        if n % TOGETHER == TOGETHER - 1 {
            cycle.pause().await?;
        }
    }
    let changed = stats.deleted_content_count + stats.recovered_content_count;
    let reason = format!(
        "of {} contents snapshots need {}; {} are not needed and not marked as deleted, {} more are \
         younger than {}",
        stats.in_use_content_count
            + stats.unreferenced_content_count
            + stats.unreferenced_recent_content_count,
        stats.in_use_content_count,
        stats.deleted_content_count,
        stats.unreferenced_recent_content_count,
        span(cycle.with.options.margins.collect_age_min),
    );
    let verdict = if changed == 0 { Verdict::Nothing } else { Verdict::Due };
    let mut plan = TaskPlan::new(task, verdict, reason);
    if ahead > 0 {
        let until = GoTime::from_secs(latest);
        plan.notes.push(format!(
            "{ahead} contents have times up to {until}, ahead of the storage's clock: whoever wrote \
             them has a wrong clock, and they are not collected before a day after that"
        ));
    }
    if stats.recovered_content_count > 0 {
        let count = stats.recovered_content_count;
        plan.notes.push(format!("{count} contents that were marked as deleted are needed again"));
    }
    plan.contents = changed;
    if changed > 0 {
        plan.write(changed.div_ceil(TOGETHER as u64), changed * ENTRY_BYTES);
    }
    plan.work = Work::Collect(Box::new(Collection { marks, stats }));
    Ok(plan)
}

pub(crate) async fn run(
    cycle: &mut Cycle<'_>,
    collection: &Collection,
) -> Result<Option<RunStatistics>> {
    let total = collection.stats.deleted_content_count + collection.stats.recovered_content_count;
    let mut done = Amount::default();
    if total > 0 {
        let mut entries = Vec::new();
        for (entry, fate) in Collection::fates(&collection.marks, cycle) {
            let Some(entry) = changed(&entry, fate, cycle.clock_now().secs()) else { continue };
            entries.push(entry);
            if entries.len() == TOGETHER {
                done.count += entries.len() as u64;
                write(cycle, std::mem::take(&mut entries)).await?;
                let (task, what, done) = (Task::SnapshotGc, "contents", done.count);
                cycle.with.events.hear(&Event::Progress { task, what, done, total });
                cycle.pause().await?;
            }
        }
        write(cycle, entries).await?;
    }
    cycle.reload().await?;
    Ok(Some(statistics("snapshotGCStats", &collection.stats)))
}

async fn write(cycle: &Cycle<'_>, entries: Vec<IndexEntry>) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    for entry in &entries {
        let (message, what) = match entry.deleted {
            true => ("marked content as deleted", "no snapshot names it"),
            false => ("content is needed again", "a snapshot names it"),
        };
        cycle.with.log.append(
            message,
            &serde_json::json!({
                "contentID": entry.id.to_string(), "packBlobID": &*entry.pack, "reason": what,
                "bytes": entry.packed_length,
            }),
        );
    }
    Ok(cycle.with.repo.write_entries(entries).await?)
}
