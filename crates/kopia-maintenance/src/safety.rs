//! The margins that keep readers and writers with an old view of the repository safe, and what the
//! history allows by them.
//!
//! They are Kopia's, none is ever shorter: both clients compute theirs from the same history
//! (docs/format/08 §4 to §8). All times of the history are those of the clients that wrote it.

use std::time::Duration;

use blob_core::Timestamp;
use kopia_format::{
    maintenance::{MaintenanceRun, MaintenanceSchedule},
    time::GoTime,
};

use crate::task::{Mode, Task};

const HOUR: Duration = Duration::from_secs(3600);

/// How long what is to be dropped, moved or deleted must have been left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Margins {
    /// The age of a content before it is moved.
    pub rewrite_age_min: Duration,
    /// The age of a content before it may be marked as deleted.
    pub collect_age_min: Duration,
    /// From the end of one collection to the start of one that confirms it.
    pub between_collections: Duration,
    /// What was deleted is dropped only if one more collection has confirmed it.
    pub needs_two_collections: bool,
    /// Off the start of the first collection.
    pub drop_extra: Duration,
    /// From the end of a rewrite to the first deletion of packs.
    pub rewrite_to_delete: Duration,
    /// The age of a pack before it is deleted.
    pub pack_age_min: Duration,
    /// The age of a session's marker before it guards nothing any more.
    pub session_age_max: Duration,
    /// From a compaction of the index to the deletion of what it replaced, without epochs.
    pub index_settle: Duration,
}

impl Margins {
    /// What is safe while others read and write: Kopia's `--safety=full`.
    pub const FULL: Self = Self {
        rewrite_age_min: Duration::from_secs(2 * 3600),
        collect_age_min: Duration::from_secs(24 * 3600),
        between_collections: Duration::from_secs(4 * 3600),
        needs_two_collections: true,
        drop_extra: HOUR,
        rewrite_to_delete: HOUR,
        pack_age_min: Duration::from_secs(24 * 3600),
        session_age_max: Duration::from_secs(96 * 3600),
        index_settle: HOUR,
    };

    /// No margin at all: safe only while no other client is running. Kopia's `--safety=none`.
    pub const NONE: Self = Self {
        rewrite_age_min: Duration::ZERO,
        collect_age_min: Duration::ZERO,
        between_collections: Duration::ZERO,
        needs_two_collections: false,
        drop_extra: Duration::ZERO,
        rewrite_to_delete: Duration::ZERO,
        pack_age_min: Duration::ZERO,
        session_age_max: Duration::ZERO,
        index_settle: Duration::ZERO,
    };
}

/// What is noted while contents move. Kopia notes a rewrite when it is done, so one that was killed
/// half way starts no margin; this does, for us.
pub(crate) const REWRITING: &str = "kopia-lite-rewriting";

/// What the history allows.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    schedule: &'a MaintenanceSchedule,
    margins: Margins,
}

impl<'a> History<'a> {
    /// Reads `schedule` by `margins`.
    pub fn new(schedule: &'a MaintenanceSchedule, margins: Margins) -> Self {
        Self { schedule, margins }
    }

    fn runs(&self, task: &str) -> impl Iterator<Item = &'a MaintenanceRun> + use<'a> {
        let runs = self.schedule.runs.get(task);
        runs.into_iter().flatten().filter(|run| run.success)
    }

    fn last_end(&self, tasks: &[&str]) -> Option<GoTime> {
        tasks.iter().flat_map(|task| self.runs(task)).map(|run| run.end).max()
    }

    fn last_deletion(&self) -> Option<GoTime> {
        self.last_end(&[Task::DeleteBlobs(Mode::Full).id(), Task::DeleteBlobs(Mode::Quick).id()])
    }

    /// May contents move now? Only if what the last rewrite left empty was deleted since, or
    /// nothing would ever be deleted.
    pub fn may_rewrite(&self, mode: Mode) -> bool {
        let full = Task::RewriteContents(Mode::Full).id();
        let quick = Task::RewriteContents(Mode::Quick).id();
        let last = match mode {
            Mode::Full => self.last_end(&[full]),
            Mode::Quick => self.last_end(&[full, quick]),
        };
        let Some(last) = last.filter(|_| self.margins.rewrite_to_delete > Duration::ZERO) else {
            return true;
        };
        self.last_deletion().is_some_and(|deletion| deletion >= last)
    }

    /// From when on packs may be deleted; `None`: at any time.
    pub fn deletes_from(&self) -> Option<Timestamp> {
        let full = Task::RewriteContents(Mode::Full).id();
        let quick = Task::RewriteContents(Mode::Quick).id();
        let last = self.last_end(&[full, quick, REWRITING])?;
        let last = Timestamp::from_nanos(last.unix_nanos());
        Some(last.saturating_add(self.margins.rewrite_to_delete))
    }

    /// Was the last rewrite one of full maintenance? Then only a full deletion ends it.
    pub fn last_rewrite(&self) -> Mode {
        let full = self.last_end(&[Task::RewriteContents(Mode::Full).id()]);
        let quick = self.last_end(&[Task::RewriteContents(Mode::Quick).id()]);
        if full >= quick { Mode::Full } else { Mode::Quick }
    }

    /// Until when deletions are safe to become final: a later collection, far enough apart, has seen
    /// all that was written while the contents were being marked.
    pub fn drops_until(&self, now: Timestamp) -> Option<GoTime> {
        if !self.margins.needs_two_collections {
            return Some(GoTime::from_unix_nanos(now.nanos()));
        }
        let mut runs: Vec<_> = self.runs(Task::SnapshotGc.id()).collect();
        runs.sort_by_key(|run| std::cmp::Reverse(run.start));
        let (newest, others) = runs.split_first()?;
        let is_apart = |run: &&&MaintenanceRun| {
            newest.start.duration_since(run.end) > self.margins.between_collections
        };
        let confirmed = others.iter().find(is_apart)?;
        Some(confirmed.start.saturating_sub(self.margins.drop_extra))
    }
}
