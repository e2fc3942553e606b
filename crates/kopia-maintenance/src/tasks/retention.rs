//! Locks of blobs are extended, so that none ends before the next full maintenance.
//!
//! No blob is read, and archived ones need no thaw. Format: docs/format/08 §9.

use std::time::Duration;

use blob_core::{BlobId, LockMode, Timestamp};
use futures::{StreamExt, TryStreamExt, stream};
use kopia_format::{
    blobcfg::BlobConfig,
    maintenance::{MaintenanceParameters, RunStatistics},
    time::duration_text,
};
use kopia_repo::RepoError;
use serde::Serialize;

use super::statistics;
use crate::{
    cycle::{Cycle, span},
    error::{MaintenanceError, Result},
    event::Event,
    plan::{TaskPlan, Verdict, Work},
    task::Task,
};

/// What is locked: index blobs, the format, packs. Kopia's list.
const PREFIXES: [&str; 6] = ["n", "x", "kopia.repository", "kopia.blobcfg", "p", "q"];
/// By how much the period must exceed the interval of full maintenance. Kopia's value.
const BEYOND_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// Requests at once.
const EXTENDING: usize = 16;
/// A listing has so many blobs to a page at most.
const PAGE: u64 = 1_000;

/// Blobs whose locks are extended.
#[derive(Debug)]
pub(crate) struct Extension {
    blobs: Vec<BlobId>,
    mode: LockMode,
    period: Duration,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExtendStats {
    to_extend_blob_count: u64,
    extended_blob_count: u64,
    retention_period: String,
}

/// Are locks extended before they end? They are where none is extended at all.
///
/// # Errors
/// [`MaintenanceError::Invalid`]: the period is not 24 hours longer than the interval of full
/// maintenance, as Kopia asks for, too (docs/format/08 §9).
pub fn check_lock_period(parameters: &MaintenanceParameters, config: &BlobConfig) -> Result<()> {
    let (period, interval) = (config.retention_period, parameters.full.interval);
    let is_long = period >= interval.saturating_add(BEYOND_INTERVAL);
    if is_long || !parameters.extend_object_locks || !config.is_retention_enabled() {
        return Ok(());
    }
    Err(MaintenanceError::Invalid(format!(
        "blobs are locked for {} and full maintenance comes every {}: the first must be 24 h \
         longer, or locks end before they are extended",
        span(period),
        span(interval)
    )))
}

pub(crate) async fn plan(cycle: &Cycle<'_>) -> Result<TaskPlan> {
    let task = Task::ExtendRetention;
    if !cycle.parameters.extend_object_locks {
        let reason = "it is off: maintenance set --extend-object-locks=true";
        return Ok(TaskPlan::new(task, Verdict::Off, reason));
    }
    let config = cycle.with.repo.blob_config();
    if !config.is_retention_enabled() {
        return Ok(TaskPlan::nothing(task, "the repository locks no blobs"));
    }
    let period = config.retention_period;
    let mode = match config.retention_mode.as_deref() {
        Some("GOVERNANCE") => LockMode::Governance,
        Some("COMPLIANCE") => LockMode::Compliance,
        other => {
            let mode = other.unwrap_or_default();
            return Err(MaintenanceError::Invalid(format!("kopia.blobcfg: lock mode {mode:?}")));
        }
    };
    check_lock_period(&cycle.parameters, &config)?;
    if cycle.with.repo.storage().retain().is_none() {
        let storage = &cycle.with.repo.storage().info().name;
        return Err(MaintenanceError::Invalid(format!("{storage} keeps no locks of blobs")));
    }
    let mut blobs = Vec::new();
    let mut lists = 0;
    for prefix in PREFIXES {
        let before = blobs.len();
        let mut listing = cycle.with.repo.storage().list(prefix);
        while let Some(meta) = listing.try_next().await.map_err(RepoError::from)? {
            blobs.push(meta.id);
        }
        lists += ((blobs.len() - before) as u64).div_ceil(PAGE).max(1);
    }
    let days = span(period);
    let count = blobs.len() as u64;
    let mut plan =
        TaskPlan::new(task, Verdict::Due, format!("{count} blobs stay locked for {days}"));
    plan.usage.lists += lists;
    plan.write(count, 0);
    plan.work = Work::Extend(Extension { blobs, mode, period });
    Ok(plan)
}

pub(crate) async fn run(
    cycle: &Cycle<'_>,
    Extension { blobs, mode, period }: &Extension,
) -> Result<Option<RunStatistics>> {
    let total = blobs.len() as u64;
    let (mut done, mut failed, mut first) = (0, 0, None);
    let extend = |id| extend(cycle, id, *mode, *period);
    let all: Vec<_> = blobs.iter().map(extend).collect();
    let mut extending = stream::iter(all).buffer_unordered(EXTENDING);
    while let Some(extended) = extending.next().await {
        match extended {
            Ok(()) => done += 1,
            Err(error) => {
                failed += 1;
                first = first.or(Some(error));
            }
        }
        if (done + failed) % 1_000 == 0 {
            let (task, what) = (Task::ExtendRetention, "locks");
            cycle.with.events.hear(&Event::Progress { task, what, done, total });
            cycle.pause().await?;
        }
    }
    if let Some(source) = first {
        let source = Box::new(source);
        return Err(MaintenanceError::Locks { failed, of: total, source });
    }
    let nanos = i64::try_from(period.as_nanos()).unwrap_or(i64::MAX);
    Ok(Some(statistics(
        "extendBlobRetentionStats",
        &ExtendStats {
            to_extend_blob_count: total,
            extended_blob_count: done,
            retention_period: duration_text(nanos),
        },
    )))
}

/// By this machine's clock, as Kopia does; it was held against the storage's when the cycle began.
async fn extend(
    cycle: &Cycle<'_>,
    id: &BlobId,
    mode: LockMode,
    period: Duration,
) -> Result<(), RepoError> {
    let Some(retain) = cycle.with.repo.storage().retain() else { return Ok(()) };
    let until: Timestamp = cycle.clock_now().saturating_add(period);
    match retain.extend_retention(id, until, mode).await {
        // Deleted since it was listed.
        Err(error) if error.is_not_found() => Ok(()),
        // Locked for longer already.
        Err(blob_core::BlobError::Locked { .. }) => Ok(()),
        other => Ok(other?),
    }
}
