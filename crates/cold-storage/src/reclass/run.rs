//! Doing a plan: a few copies at once, a line of the journal for each, and an end at any moment.
//!
//! A blob is looked at again before it is copied, since a plan may be old. What is wrong with one
//! blob is noted and the others go on; what would be wrong with all of them ends the run.

use std::{
    collections::BTreeMap,
    future::{Future, ready},
    io::Write,
    sync::atomic::{AtomicBool, Ordering},
};

use blob_core::{Archive, BlobError, BlobId, BlobStorage, PutAttributes, PutPolicy, StorageClass};
use futures::{StreamExt, stream};

use super::{Finished, Journal, Move, Outcome, ReclassPlan, plan::VERSION};

/// Why a plan could not be begun or ended before its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReclassError {
    /// The plan was made by another version.
    #[error("the plan is of version {found}, and this is version {}", VERSION)]
    Version {
        /// The plan's version.
        found: u32,
    },
    /// The storage has no classes.
    #[error("{storage} has no storage classes")]
    Unsupported {
        /// The storage's name for people.
        storage: String,
    },
    /// The storage refused what it would refuse for every blob.
    #[error("moving {blob} to {to} failed, and so would all others: {source}")]
    Storage {
        /// The blob that it was noticed with.
        blob: String,
        /// The class that it was to get.
        to: String,
        /// What the storage says.
        source: BlobError,
    },
    /// The journal can't be written, so that a later run would not know what is done.
    #[error("the journal can't be written: {0}")]
    Journal(#[from] std::io::Error),
}

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    /// The plan was worked through.
    Done,
    /// It was asked to stop.
    Stopped,
    /// It could not go on.
    Failed(ReclassError),
}

/// A blob that could not be moved.
#[derive(Debug)]
pub struct Failed {
    /// The blob.
    pub blob: String,
    /// Why.
    pub error: BlobError,
}

/// What came of a run.
#[derive(Debug)]
pub struct ReclassReport {
    /// Blobs that were copied.
    pub moved: u64,
    /// Their bytes.
    pub moved_bytes: u64,
    /// Blobs that an earlier run moved.
    pub moved_before: u64,
    /// Blobs that stayed because they changed meanwhile, by what happened to them.
    pub skipped: BTreeMap<Outcome, u64>,
    /// Blobs that could not be moved.
    pub failed: Vec<Failed>,
    /// Blobs that were not come to, or that what ended the run happened to.
    pub left: u64,
    /// How it ended.
    pub ended: Ended,
}

/// Moves the blobs of `plan`, at most `parallel` at once, until `stop` is ready. `policy` gives the
/// attributes besides the class; the class is the plan's. What is running when it has to end is
/// brought to its end.
///
/// `tell` hears of each blob that is finished.
///
/// # Errors
/// [`ReclassError`] for what keeps it from beginning. What ends it later stands in the report.
pub async fn run<W: Write>(
    plan: &ReclassPlan,
    storage: &dyn BlobStorage,
    policy: &dyn PutPolicy,
    journal: &mut Journal<W>,
    parallel: usize,
    stop: impl Future<Output = ()>,
    mut tell: impl FnMut(&Move),
) -> Result<ReclassReport, ReclassError> {
    if plan.version != VERSION {
        return Err(ReclassError::Version { found: plan.version });
    }
    let archive = storage
        .archive()
        .ok_or_else(|| ReclassError::Unsupported { storage: storage.info().name.clone() })?;
    let mut report = ReclassReport {
        moved: 0,
        moved_bytes: 0,
        moved_before: 0,
        skipped: BTreeMap::new(),
        failed: Vec::new(),
        left: 0,
        ended: Ended::Done,
    };
    let is_moved = |it: &&Move| journal.has_moved(&it.blob, &it.to_class);
    let (before, todo): (Vec<_>, Vec<_>) = plan.moves.iter().partition(is_moved);
    report.moved_before = before.len() as u64;
    report.left = todo.len() as u64;
    let ends = AtomicBool::new(false);
    let begun = stream::iter(todo)
        .take_until(stop)
        .take_while(|_| ready(!ends.load(Ordering::Relaxed)))
        .map(|one| async move { (one, move_one(one, storage, archive, policy).await) });
    let mut running = std::pin::pin!(begun.buffer_unordered(parallel.max(1)));
    while let Some((one, result)) = running.next().await {
        report.left -= 1;
        tell(one);
        if let Err(error) = note(one, result, &mut report, journal) {
            ends.store(true, Ordering::Relaxed);
            if !matches!(report.ended, Ended::Failed(_)) {
                report.ended = Ended::Failed(error);
            }
        }
    }
    if report.left > 0 && matches!(report.ended, Ended::Done) {
        report.ended = Ended::Stopped;
    }
    Ok(report)
}

/// Enters what became of a blob; an error ends the run.
fn note<W: Write>(
    one: &Move,
    result: Result<Outcome, BlobError>,
    report: &mut ReclassReport,
    journal: &mut Journal<W>,
) -> Result<(), ReclassError> {
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(source) if concerns_all(&source) => {
            report.left += 1;
            let (blob, to) = (one.blob.clone(), one.to_class.clone());
            return Err(ReclassError::Storage { blob, to, source });
        }
        Err(error) => {
            report.failed.push(Failed { blob: one.blob.clone(), error });
            return Ok(());
        }
    };
    match outcome {
        Outcome::Moved => {
            report.moved += 1;
            report.moved_bytes = report.moved_bytes.saturating_add(one.bytes);
        }
        other => *report.skipped.entry(other).or_default() += 1,
    }
    let finished = Finished { blob: one.blob.clone(), to: one.to_class.clone(), outcome };
    Ok(journal.finish(&finished)?)
}

async fn move_one(
    one: &Move,
    storage: &dyn BlobStorage,
    archive: &dyn Archive,
    policy: &dyn PutPolicy,
) -> Result<Outcome, BlobError> {
    let invalid = |error: blob_core::InvalidBlobId| BlobError::Other {
        op: "reclass",
        id: None,
        source: Box::new(error),
    };
    let id = BlobId::new(one.blob.as_str()).map_err(invalid)?;
    let outcome_of = |result: Result<(), BlobError>| match result {
        Ok(()) => Ok(Outcome::Moved),
        Err(BlobError::NotFound { .. }) => Ok(Outcome::Gone),
        Err(BlobError::Archived { .. }) => Ok(Outcome::Archived),
        Err(error) => Err(error),
    };
    let meta = match storage.head(&id).await {
        Ok(meta) => meta,
        Err(error) => return outcome_of(Err(error)),
    };
    let class = meta.class.unwrap_or(StorageClass::STANDARD);
    if class.as_str() == one.to_class {
        return Ok(Outcome::There);
    }
    if class.as_str() != one.from_class {
        return Ok(Outcome::Changed);
    }
    let to = PutAttributes {
        class: Some(StorageClass::new(one.to_class.as_str())),
        ..policy.attributes(&id, one.bytes)
    };
    outcome_of(archive.reclass(&id, &to).await)
}

/// Would every other blob fail for the same reason?
fn concerns_all(error: &BlobError) -> bool {
    matches!(
        error,
        BlobError::AccessDenied { .. }
            | BlobError::Credentials { .. }
            | BlobError::ReadOnly { .. }
            | BlobError::NoStorage { .. }
            | BlobError::Unsupported { .. }
            | BlobError::InvalidOption { .. }
            | BlobError::ClockSkew { .. }
            | BlobError::NoSpace { .. }
            | BlobError::Unreachable { .. }
    )
}
