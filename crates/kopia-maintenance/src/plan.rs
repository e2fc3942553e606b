//! What maintenance would do, as data.
//!
//! Each task is worked out before it is done: what it would read, write and delete, and why, or why
//! not yet. Nothing is written while that is worked out. A plan of a whole cycle takes it that each
//! task before was done.

use std::{collections::BTreeMap, fmt};

use blob_core::{BlobId, StorageClass, Timestamp, Usage, usage::Amount};
use serde::Serialize;

use crate::{
    cold::ColdPack,
    task::{Mode, Task},
};

/// Is a task to be done?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Yes.
    Due,
    /// There is nothing to do.
    Nothing,
    /// Not yet: it would not be safe, or must wait for another task. It is not noted as done.
    NotYet,
    /// It is switched off.
    Off,
}

/// What is planned of one task.
#[derive(Debug)]
pub struct TaskPlan {
    /// Which task.
    pub task: Task,
    /// Is it to be done?
    pub verdict: Verdict,
    /// Why, in one sentence.
    pub reason: String,
    /// Reads of blobs and their bytes; lists are in `usage` alone.
    pub reads: Amount,
    /// Blobs that are written, and their bytes as far as known.
    pub writes: Amount,
    /// Blobs that are deleted, and their bytes.
    pub deletes: Amount,
    /// Contents that change their place or state.
    pub contents: u64,
    /// Archived packs that are left alone, though in another class they would not be.
    pub cold_skipped: u64,
    /// Bytes times days for which dead archived packs are billed on: whether they are deleted or
    /// kept until these days are over is the same money.
    pub early_byte_days: BTreeMap<StorageClass, u128>,
    /// Those of them that a rewrite leaves alone.
    pub cold_packs: Vec<ColdPack>,
    /// What is billed: reads, writes, lists. Deletions are free.
    pub usage: Usage,
    /// What is to be said besides.
    pub notes: Vec<String>,
    /// Blobs that nothing names and that stay for their age or session: how many, and their bytes.
    pub retained: (u64, u64),
    /// Single deletions, with their evidence.
    pub deletions: Vec<Deletion>,
    pub(crate) work: Work,
}

impl TaskPlan {
    pub(crate) fn new(task: Task, verdict: Verdict, reason: impl Into<String>) -> Self {
        Self {
            task,
            verdict,
            reason: reason.into(),
            reads: Amount::default(),
            writes: Amount::default(),
            deletes: Amount::default(),
            contents: 0,
            cold_skipped: 0,
            early_byte_days: BTreeMap::new(),
            cold_packs: Vec::new(),
            usage: Usage::default(),
            notes: Vec::new(),
            retained: (0, 0),
            deletions: Vec::new(),
            work: Work::Nothing,
        }
    }

    pub(crate) fn nothing(task: Task, reason: impl Into<String>) -> Self {
        Self::new(task, Verdict::Nothing, reason)
    }

    pub(crate) fn not_yet(task: Task, reason: impl Into<String>) -> Self {
        Self::new(task, Verdict::NotYet, reason)
    }

    /// Takes deletions over.
    pub(crate) fn deleting(mut self, deletions: Vec<Deletion>) -> Self {
        for deletion in &deletions {
            self.deletes.add(Amount { count: 1, bytes: deletion.size });
        }
        self.deletions = deletions;
        self.work = Work::Delete;
        self
    }

    /// Counts a read of one blob that is readable.
    pub(crate) fn read(&mut self, class: Option<&StorageClass>, bytes: u64) {
        let amount = Amount { count: 1, bytes };
        self.reads.add(amount);
        let class = class.cloned().unwrap_or(StorageClass::STANDARD);
        self.usage.gets.entry(class).or_default().add(amount);
    }

    /// Counts `count` writes of `bytes` together, into the class that nobody chose.
    pub(crate) fn write(&mut self, count: u64, bytes: u64) {
        let amount = Amount { count, bytes };
        self.writes.add(amount);
        self.usage.puts.entry(StorageClass::STANDARD).or_default().add(amount);
    }

    /// Is it to be done?
    pub fn is_due(&self) -> bool {
        self.verdict == Verdict::Due
    }
}

/// A blob that is to go, and why that is safe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deletion {
    /// The blob.
    #[serde(rename = "blobID", serialize_with = "blob_name")]
    pub blob: BlobId,
    /// Its bytes.
    pub size: u64,
    /// Its class, where the storage told one.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "class_name")]
    pub class: Option<StorageClass>,
    /// Why nobody needs it.
    pub reason: Reason,
    /// What shows that.
    pub evidence: String,
    /// The margin that has passed.
    pub margin: String,
}

fn blob_name<S: serde::Serializer>(blob: &BlobId, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(blob.as_str())
}

fn class_name<S: serde::Serializer>(
    class: &Option<StorageClass>,
    out: S,
) -> Result<S::Ok, S::Error> {
    out.serialize_str(class.as_ref().map_or("", StorageClass::as_str))
}

/// Why nobody needs a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// No index entry names the pack.
    Unreferenced,
    /// The session ended, or died long ago.
    SessionOver,
    /// The epoch is over.
    EpochOver,
    /// A later watermark counts.
    WatermarkSuperseded,
    /// A compaction holds all that the index blob says.
    IndexMerged,
    /// The blobs that the log replaced are gone.
    CompactionLogDone,
    /// More logs than are to be kept.
    LogExpired,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreferenced => "no index entry names it",
            Self::SessionOver => "its session is over",
            Self::EpochOver => "its epoch is over",
            Self::WatermarkSuperseded => "a later watermark counts",
            Self::IndexMerged => "a compaction holds all that it says",
            Self::CompactionLogDone => "what it replaced is gone",
            Self::LogExpired => "more logs than are to be kept",
        })
    }
}

/// What carrying a plan out needs besides.
#[derive(Debug, Default)]
pub(crate) enum Work {
    #[default]
    Nothing,
    /// The deletions of the plan.
    Delete,
    MergeManifests,
    Collect(Box<crate::tasks::gc::Collection>),
    Move(crate::tasks::rewrite::Moves),
    Drop(kopia_format::time::GoTime),
    Extend(crate::tasks::retention::Extension),
    Merge(crate::tasks::epochs::Merging),
    Begin(u64),
    CompactLegacy(crate::tasks::legacy::LegacyCompaction),
}

/// What a cycle would do now.
#[derive(Debug)]
pub struct MaintenancePlan {
    /// Which cycle.
    pub mode: Mode,
    /// Whose task maintenance is.
    pub owner: String,
    /// Is this cycle due by the schedule?
    pub is_due: bool,
    /// When it was worked out.
    pub at: Timestamp,
    /// The tasks, in their order.
    pub tasks: Vec<TaskPlan>,
}

impl MaintenancePlan {
    /// What all tasks together are billed for.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        self.tasks.iter().filter(|task| task.is_due()).for_each(|task| usage.add(&task.usage));
        usage
    }
}
