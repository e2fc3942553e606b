//! The index of a repository without epochs: merging index blobs, and deleting what was merged an
//! hour later.
//!
//! New blobs count once a log says what they replace; what it replaced is deleted when the log has
//! been there for an hour, and the log itself an hour after that, in this order, or index blobs
//! would come back to life. Format: docs/format/04-index-epochs.md §5.

use blob_core::BlobMeta;
use futures::TryStreamExt;
use kopia_format::{
    index::IndexBlob,
    legacy::{
        self, CleanupSchedule, CompactionLog, PREFIX_CLEANUP, PREFIX_COMPACTION, due_schedules,
        settled_logs,
    },
    maintenance::RunStatistics,
    time::GoTime,
};
use kopia_repo::RepoError;

use super::epochs::dropped;
use crate::{
    cycle::{Cycle, blob_id},
    error::Result,
    plan::{TaskPlan, Verdict, Work},
    task::Task,
};

/// Index blobs that become few, and by when deleted contents leave the index with that.
#[derive(Debug)]
pub(crate) struct LegacyCompaction {
    inputs: Vec<IndexBlob>,
    dropped_before: Option<GoTime>,
}

fn index_blob(meta: &BlobMeta) -> IndexBlob {
    let timestamp = GoTime::from_unix_nanos(meta.modified.nanos());
    IndexBlob { id: meta.id.as_str().to_owned(), length: meta.size, timestamp }
}

pub(crate) fn plan(cycle: &Cycle<'_>) -> TaskPlan {
    let task = Task::CompactIndexes;
    let active: Vec<IndexBlob> = cycle.view.blobs().map(index_blob).collect();
    let size_max = u64::from(cycle.with.repo.format().max_pack_size);
    let inputs: Vec<IndexBlob> =
        legacy::blobs_to_compact(&active, size_max).into_iter().cloned().collect();
    if inputs.len() < 2 {
        // What earlier compactions left is cleaned up all the same, as Kopia does.
        let mut plan = TaskPlan::nothing(task, format!("{} index blobs are few", active.len()));
        plan.work =
            Work::CompactLegacy(LegacyCompaction { inputs: Vec::new(), dropped_before: None });
        return plan;
    }
    compaction(task, format!("{} small index blobs", inputs.len()), inputs, None)
}

/// Deleted contents leave the index when all of it is merged.
pub(crate) fn plan_drop(cycle: &Cycle<'_>, until: GoTime, reason: String) -> TaskPlan {
    let inputs: Vec<IndexBlob> = cycle.view.blobs().map(index_blob).collect();
    if inputs.is_empty() {
        return TaskPlan::nothing(Task::DropDeleted, "the index is empty");
    }
    compaction(Task::DropDeleted, reason, inputs, Some(until))
}

fn compaction(
    task: Task,
    reason: String,
    inputs: Vec<IndexBlob>,
    dropped_before: Option<GoTime>,
) -> TaskPlan {
    let mut plan = TaskPlan::new(task, Verdict::Due, reason);
    let mut bytes = 0;
    for blob in &inputs {
        plan.read(None, blob.length);
        bytes += blob.length;
    }
    plan.write(2, bytes);
    plan.work = Work::CompactLegacy(LegacyCompaction { inputs, dropped_before });
    plan
}

pub(crate) async fn run(
    cycle: &mut Cycle<'_>,
    compaction: &LegacyCompaction,
) -> Result<Option<RunStatistics>> {
    let LegacyCompaction { inputs, dropped_before } = compaction;
    if !inputs.is_empty() {
        merge(cycle, inputs, *dropped_before).await?;
    }
    clean_up(cycle).await?;
    cycle.reload().await?;
    let until = dropped_before.unwrap_or(GoTime::ZERO);
    Ok((!inputs.is_empty()).then(|| dropped(until)))
}

async fn merge(
    cycle: &Cycle<'_>,
    inputs: &[IndexBlob],
    dropped_before: Option<GoTime>,
) -> Result<()> {
    // The whole second counts: entries have no finer times.
    let before = dropped_before.map(|time| {
        let nanos = time.unix_nanos();
        nanos.div_euclid(1_000_000_000) + i64::from(nanos.rem_euclid(1_000_000_000) > 0)
    });
    let outputs = cycle.with.repo.compact_legacy(inputs, before).await?;
    let outputs: Vec<IndexBlob> = outputs.iter().map(index_blob).collect();
    let is_output = |input: &&IndexBlob| !outputs.iter().any(|output| output.id == input.id);
    let log = CompactionLog {
        input_metadata: inputs.iter().filter(is_output).cloned().collect(),
        output_metadata: outputs,
    };
    let written = cycle.with.repo.put_sealed(PREFIX_COMPACTION, &log.to_bytes()).await?;
    for input in &log.input_metadata {
        let note = serde_json::json!({ "blobID": input.id, "log": written.id.as_str() });
        cycle.with.log.append("merged index blob", &note);
    }
    delete_merged(cycle, GoTime::from_unix_nanos(written.modified.nanos())).await
}

/// What logs replaced that are old enough by now, which is when the newest log was written.
async fn delete_merged(cycle: &Cycle<'_>, written: GoTime) -> Result<()> {
    let mut logs = Vec::new();
    for meta in list(cycle, PREFIX_COMPACTION).await? {
        if let Some(plain) = read(cycle, &meta).await? {
            let log = CompactionLog::parse(&plain).map_err(RepoError::from)?;
            logs.push((index_blob(&meta), log));
        }
    }
    let margin = cycle.with.options.margins.index_settle;
    let settled = settled_logs(logs.iter().map(|(blob, log)| (blob, log)), written, margin);
    delete(cycle, "deleting merged index blob", &settled.inputs).await?;
    if !settled.logs.is_empty() {
        let schedule = CleanupSchedule {
            blob_ids: settled.logs.iter().map(|&id| id.to_owned()).collect(),
            cleanup_schedule_time: written,
        };
        cycle.with.repo.put_sealed(PREFIX_CLEANUP, &schedule.to_bytes()).await?;
    }
    Ok(())
}

async fn clean_up(cycle: &Cycle<'_>) -> Result<()> {
    let mut schedules = Vec::new();
    for meta in list(cycle, PREFIX_CLEANUP).await? {
        if let Some(plain) = read(cycle, &meta).await? {
            let schedule = CleanupSchedule::parse(&plain).map_err(RepoError::from)?;
            schedules.push((index_blob(&meta), schedule));
        }
    }
    let due = due_schedules(&schedules, cycle.with.options.margins.index_settle);
    let all = [due.logs, due.schedules].concat();
    delete(cycle, "deleting compaction log", &all).await
}

/// One after the other, for the order counts. The log says so before the first one goes.
async fn delete(cycle: &Cycle<'_>, message: &str, ids: &[&str]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    for id in ids {
        cycle.with.log.append(message, &serde_json::json!({ "blobID": id }));
    }
    cycle.with.log.flush().await?;
    for id in ids {
        cycle.with.repo.storage().delete(&blob_id(id)?).await.map_err(RepoError::from)?;
    }
    Ok(())
}

async fn list(cycle: &Cycle<'_>, prefix: &str) -> Result<Vec<BlobMeta>> {
    Ok(cycle.with.repo.storage().list(prefix).try_collect().await.map_err(RepoError::from)?)
}

/// `None` if the blob is gone since it was listed.
async fn read(cycle: &Cycle<'_>, meta: &BlobMeta) -> Result<Option<Vec<u8>>> {
    match cycle.with.repo.read_sealed(meta.id.as_str()).await {
        Ok(plain) => Ok(Some(plain)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
