//! The index of a repository with epochs: merging, beginning the next epoch, and what nobody needs
//! then.
//!
//! Names and the storage's times decide ([`kopia_format::epoch`]); every margin is in there.

use kopia_format::{
    epoch::EpochSnapshot, format_blob::EpochParameters, index::IndexBlob,
    maintenance::RunStatistics, time::GoTime,
};
use kopia_repo::CompactionOf;
use serde::Serialize;

use super::statistics;
use crate::{
    cycle::{Cycle, span},
    error::Result,
    plan::{Deletion, Reason, TaskPlan, Verdict, Work},
    task::Task,
};

/// Index blobs that become one set.
#[derive(Debug)]
pub(crate) struct Merging {
    of: CompactionOf,
    inputs: Vec<IndexBlob>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CompactSingleEpochStats {
    superseded_index_blob_count: u64,
    superseded_index_total_size: u64,
    epoch: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RangeStats {
    range_min_epoch: u64,
    range_max_epoch: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AdvanceEpochStats {
    current_epoch: u64,
    was_advanced: bool,
}

fn parameters(cycle: &Cycle<'_>) -> EpochParameters {
    cycle.with.repo.format().epoch
}

fn merging(task: Task, of: CompactionOf, inputs: Vec<IndexBlob>, reason: String) -> TaskPlan {
    let mut plan = TaskPlan::new(task, Verdict::Due, reason);
    let mut bytes = 0;
    for blob in &inputs {
        plan.read(None, blob.length);
        bytes += blob.length;
    }
    plan.write(1, bytes);
    plan.work = Work::Merge(Merging { of, inputs });
    plan
}

/// One of the tasks that only a repository with epochs has.
pub(crate) fn plan(cycle: &Cycle<'_>, epochs: &EpochSnapshot, task: Task) -> Result<TaskPlan> {
    match task {
        Task::CompactEpoch => Ok(plan_single(epochs)),
        Task::AdvanceEpoch => Ok(plan_advance(cycle, epochs)),
        Task::CompactRange => plan_range(cycle, epochs),
        Task::CleanupMarkers => plan_markers(cycle, epochs),
        _ => plan_superseded(cycle, epochs),
    }
}

fn plan_single(epochs: &EpochSnapshot) -> TaskPlan {
    let task = Task::CompactEpoch;
    let Some(epoch) = epochs.epoch_to_compact() else {
        return TaskPlan::nothing(task, "every epoch that nobody writes to is merged");
    };
    let inputs = epochs.uncompacted(epoch).to_vec();
    if inputs.is_empty() {
        // A range will cover it. Kopia comes to the same end.
        return TaskPlan::nothing(task, format!("epoch {epoch} has no index blobs"));
    }
    let count = inputs.len();
    let reason = format!("nobody writes to epoch {epoch} any more, which has {count} index blobs");
    merging(task, CompactionOf::Epoch(epoch), inputs, reason)
}

fn plan_range(cycle: &Cycle<'_>, epochs: &EpochSnapshot) -> Result<TaskPlan> {
    let task = Task::CompactRange;
    let frequency = u64::from(parameters(cycle).full_checkpoint_frequency);
    let Some((min, max)) = epochs.range_to_compact(frequency) else {
        return Ok(TaskPlan::nothing(
            task,
            format!("fewer than {} epochs are behind the last range", frequency + 1),
        ));
    };
    let set = epochs.index_set(min, max).map_err(kopia_repo::RepoError::from)?;
    let inputs: Vec<IndexBlob> = set.into_iter().cloned().collect();
    if inputs.is_empty() {
        return Ok(TaskPlan::nothing(task, format!("epochs {min} to {max} have no index blobs")));
    }
    let reason = format!("epochs {min} to {max} are in no range");
    Ok(merging(task, CompactionOf::Range(min, max), inputs, reason))
}

pub(crate) async fn merge(
    cycle: &mut Cycle<'_>,
    Merging { of, inputs }: &Merging,
) -> Result<Option<RunStatistics>> {
    let written = cycle.with.repo.compact_epochs(*of, inputs).await?;
    for input in inputs {
        let into: Vec<_> = written.iter().map(|meta| meta.id.as_str()).collect();
        cycle
            .with
            .log
            .append("merged index blob", &serde_json::json!({ "blobID": input.id, "into": into }));
    }
    cycle.reload().await?;
    Ok(Some(match *of {
        CompactionOf::Epoch(epoch) => {
            let superseded_index_total_size = inputs.iter().map(|blob| blob.length).sum();
            let superseded_index_blob_count = inputs.len() as u64;
            let stats = CompactSingleEpochStats {
                superseded_index_blob_count,
                superseded_index_total_size,
                epoch,
            };
            statistics("compactSingleEpochStats", &stats)
        }
        CompactionOf::Range(range_min_epoch, range_max_epoch) => statistics(
            "generateRangeCheckpointStats",
            &RangeStats { range_min_epoch, range_max_epoch },
        ),
    }))
}

fn plan_advance(cycle: &Cycle<'_>, epochs: &EpochSnapshot) -> TaskPlan {
    let (task, p) = (Task::AdvanceEpoch, parameters(cycle));
    let (epoch, next) = (epochs.write_epoch(), epochs.write_epoch() + 1);
    let blobs = epochs.uncompacted(epoch).len();
    let is_over =
        epochs.should_advance(p.min_epoch_duration, p.advance_on_count as usize, p.advance_on_size);
    if !is_over {
        let reason = format!(
            "epoch {epoch} has {blobs} index blobs: too few, or of less than {}",
            span(p.min_epoch_duration)
        );
        return TaskPlan::nothing(task, reason);
    }
    let reason = format!("epoch {epoch} has {blobs} index blobs and has lasted long enough");
    let mut plan = TaskPlan::new(task, Verdict::Due, reason);
    plan.write(1, 12);
    plan.work = Work::Begin(next);
    plan
}

/// Begins `next`, or notes that it was not time.
pub(crate) async fn advance(
    cycle: &mut Cycle<'_>,
    next: Option<u64>,
) -> Result<Option<RunStatistics>> {
    if let Some(next) = next {
        cycle.with.repo.begin_epoch(next).await?;
        cycle.with.log.append("began epoch", &serde_json::json!({ "epoch": next }));
        cycle.reload().await?;
    }
    let current_epoch = cycle.epochs.as_ref().map_or(0, EpochSnapshot::write_epoch);
    let stats = AdvanceEpochStats { current_epoch, was_advanced: next.is_some() };
    Ok(Some(statistics("advanceEpochStats", &stats)))
}

fn deletion(
    blob: &IndexBlob,
    reason: Reason,
    evidence: String,
    margin: String,
) -> Result<Deletion> {
    let id = crate::cycle::blob_id(&blob.id)?;
    Ok(Deletion { blob: id, size: blob.length, class: None, reason, evidence, margin })
}

fn plan_markers(cycle: &Cycle<'_>, epochs: &EpochSnapshot) -> Result<TaskPlan> {
    let (task, margin) = (Task::CleanupMarkers, parameters(cycle).cleanup_safety_margin);
    if epochs.storage_clock().is_none() {
        return Ok(TaskPlan::nothing(task, "no recent index blob shows the storage's clock"));
    }
    let (epoch, hours) = (epochs.write_epoch(), span(margin));
    let mut deletions = Vec::new();
    for blob in epochs.markers_to_delete() {
        let evidence = format!("epoch {epoch} is written to");
        deletions.push(deletion(blob, Reason::EpochOver, evidence, "one epoch between".into())?);
    }
    for blob in epochs.watermarks_to_delete(margin) {
        let evidence = format!("watermark {} counts", epochs.watermark().unwrap_or_default());
        let margin = format!("written more than {hours} before the newest index blob");
        deletions.push(deletion(blob, Reason::WatermarkSuperseded, evidence, margin)?);
    }
    if deletions.is_empty() {
        return Ok(TaskPlan::nothing(task, "all markers are needed"));
    }
    let reason = format!("{} markers are of no use any more", deletions.len());
    Ok(TaskPlan::new(task, Verdict::Due, reason).deleting(deletions))
}

fn plan_superseded(cycle: &Cycle<'_>, epochs: &EpochSnapshot) -> Result<TaskPlan> {
    let (task, margin) = (Task::DeleteSuperseded, parameters(cycle).cleanup_safety_margin);
    if epochs.storage_clock().is_none() {
        return Ok(TaskPlan::nothing(task, "no recent index blob shows the storage's clock"));
    }
    let all = epochs.all_uncompacted();
    let hours = span(margin);
    let mut deletions = Vec::new();
    for blob in epochs.superseded(&all, margin) {
        let epoch = kopia_format::epoch::IndexBlobName::parse(&blob.id);
        let evidence = match epoch {
            Some(kopia_format::epoch::IndexBlobName::Uncompacted(epoch)) => {
                let set = epochs.singles().get(&epoch).map_or(&[][..], Vec::as_slice);
                let names: Vec<_> = set.iter().map(|blob| blob.id.as_str()).collect();
                format!("merged into {}", names.join(", "))
            }
            _ => "merged".to_owned(),
        };
        let margin = format!("merged more than {hours} before the newest index blob");
        deletions.push(deletion(blob, Reason::IndexMerged, evidence, margin)?);
    }
    if deletions.is_empty() {
        let reason = format!("no index blob was merged more than {hours} ago");
        return Ok(TaskPlan::nothing(task, reason));
    }
    let reason = format!("{} index blobs were merged more than {hours} ago", deletions.len());
    Ok(TaskPlan::new(task, Verdict::Due, reason).deleting(deletions))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MarkerStats {
    deleted_epoch_marker_blob_count: u64,
    deleted_watermark_blob_count: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SupersededStats {
    max_replacement_time: GoTime,
    deleted_blob_count: u64,
    deleted_total_size: u64,
}

/// The numbers of the deletions of [`plan_markers`] or [`plan_superseded`].
pub(crate) fn deleted(cycle: &Cycle<'_>, plan: &TaskPlan) -> Option<RunStatistics> {
    let clock = cycle.epochs.as_ref().and_then(EpochSnapshot::storage_clock)?;
    let count = |reason: Reason| {
        plan.deletions.iter().filter(|deletion| deletion.reason == reason).count() as u64
    };
    Some(match plan.task {
        Task::CleanupMarkers => statistics(
            "cleanupMarkersStats",
            &MarkerStats {
                deleted_epoch_marker_blob_count: count(Reason::EpochOver),
                deleted_watermark_blob_count: count(Reason::WatermarkSuperseded),
            },
        ),
        _ => statistics(
            "cleanupSupersededIndexesStats",
            &SupersededStats {
                max_replacement_time: clock.saturating_sub(parameters(cycle).cleanup_safety_margin),
                deleted_blob_count: plan.deletes.count,
                deleted_total_size: plan.deletes.bytes,
            },
        ),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CompactIndexesStats {
    dropped_contents_deleted_before: GoTime,
}

/// By the history of collections; the same with epochs and without.
pub(crate) fn plan_drop(cycle: &Cycle<'_>) -> TaskPlan {
    let task = Task::DropDeleted;
    let Some(until) = cycle.history().drops_until(cycle.clock_now()) else {
        let hours = span(cycle.with.options.margins.between_collections);
        let reason = format!(
            "no two collections of garbage lie more than {hours} apart: the second must confirm the \
             first"
        );
        return TaskPlan::not_yet(task, reason);
    };
    if cycle.epochs.is_some() {
        let seconds = until.unix_nanos().div_euclid(1_000_000_000);
        if cycle.watermark.is_some_and(|watermark| seconds <= watermark) {
            return TaskPlan::nothing(task, "what was confirmed is dropped already");
        }
    }
    let dropped = match cycle.epochs.is_some() {
        true => format!("contents deleted until {until} are gone for good"),
        false => format!("contents deleted before {until} leave the index"),
    };
    let mut plan = TaskPlan::new(task, Verdict::Due, format!("two collections agree: {dropped}"));
    plan.write(1, 18);
    plan.work = Work::Drop(until);
    plan
}

/// Moves the watermark.
pub(crate) async fn drop_deleted(
    cycle: &mut Cycle<'_>,
    until: GoTime,
) -> Result<Option<RunStatistics>> {
    let seconds = until.unix_nanos().div_euclid(1_000_000_000);
    cycle.with.repo.put_watermark(seconds).await?;
    cycle
        .with
        .log
        .append("dropped deleted contents", &serde_json::json!({ "until": until.to_string() }));
    cycle.reload().await?;
    Ok(Some(dropped(until)))
}

/// The numbers of a drop.
pub(crate) fn dropped(dropped_contents_deleted_before: GoTime) -> RunStatistics {
    statistics("compactIndexesStats", &CompactIndexesStats { dropped_contents_deleted_before })
}
