//! Old logs are deleted: whatever exceeds the age, number or bytes that the parameters allow.
//!
//! Format: docs/format/08 §9.

use kopia_format::maintenance::RunStatistics;
use serde::Serialize;

use super::statistics;
use crate::{
    cycle::{Cycle, blob_id},
    error::Result,
    plan::{Deletion, Reason, TaskPlan, Verdict},
    task::Task,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CleanupLogsStats {
    to_delete_blob_count: u64,
    to_delete_blob_size: u64,
    deleted_blob_count: u64,
    deleted_blob_size: u64,
    retained_blob_count: u64,
    retained_blob_size: u64,
}

pub(crate) async fn plan(cycle: &Cycle<'_>) -> Result<TaskPlan> {
    let retention = cycle.parameters.log_retention.or_default();
    let expired = cycle.with.repo.expired_logs(&retention).await?;
    let retained = (expired.retained_count as u64, expired.retained_bytes);
    let mut deletions = Vec::new();
    for blob in expired.expired {
        let evidence = format!("{} newer logs of {} bytes stay", retained.0, retained.1);
        let margin = format!("written at {}", blob.timestamp);
        deletions.push(Deletion {
            blob: blob_id(&blob.id)?,
            size: blob.length,
            class: None,
            reason: Reason::LogExpired,
            evidence,
            margin,
        });
    }
    let mut plan = match deletions.len() {
        0 => TaskPlan::nothing(Task::CleanupLogs, format!("all {} logs may stay", retained.0)),
        count => TaskPlan::new(
            Task::CleanupLogs,
            Verdict::Due,
            format!("{count} logs are more than is to be kept"),
        )
        .deleting(deletions),
    };
    plan.retained = retained;
    plan.usage.lists += 1;
    Ok(plan)
}

/// The numbers of a plan that was carried out.
pub(crate) fn deleted(plan: &TaskPlan) -> Option<RunStatistics> {
    Some(statistics(
        "cleanupLogsStats",
        &CleanupLogsStats {
            to_delete_blob_count: plan.deletes.count,
            to_delete_blob_size: plan.deletes.bytes,
            deleted_blob_count: plan.deletes.count,
            deleted_blob_size: plan.deletes.bytes,
            retained_blob_count: plan.retained.0,
            retained_blob_size: plan.retained.1,
        },
    ))
}
