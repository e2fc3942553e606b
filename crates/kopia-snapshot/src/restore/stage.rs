//! Restoring in stages: what can be read now is written while the rest thaws.
//!
//! A stage writes the files all of whose packs are readable and that no earlier stage has written. A
//! pack counts as readable from the stage on in which it was first seen so. A file whose pack went
//! out of reach again while it was read is postponed: a later stage writes it.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use blob_core::Amount;
use kopia_repo::Repository;
use tokio_util::sync::CancellationToken;

use super::{
    events::{RestoreEvent, RestoreReport, RestoreSink},
    options::RestoreOptions,
    plan::RestorePlan,
    planning::Planner,
    window::PlannedLeaf,
};
use crate::error::{Result, SnapshotError};

/// Which files of a plan are written in one go.
#[derive(Debug, Clone, Default)]
pub struct Stage {
    number: u32,
    /// The stage from which on a pack is readable; one that is not here is from the first on.
    readable: HashMap<String, u32>,
    /// Files that an earlier stage had to leave.
    postponed: HashSet<PathBuf>,
    /// Entries that an earlier stage gave up, such as one whose place is taken by what must stay.
    given_up: HashSet<PathBuf>,
}

/// Not readable as yet.
const LATER: u32 = u32::MAX;

impl Stage {
    /// The first stage: all packs are readable but `later`.
    pub fn first(later: impl IntoIterator<Item = String>) -> Self {
        let readable = later.into_iter().map(|pack| (pack, LATER)).collect();
        Self { readable, ..Self::default() }
    }

    /// The stage after this one, in which `packs` are readable too, and `postponed` are tried again.
    #[must_use]
    pub fn next<'a>(
        mut self,
        packs: impl IntoIterator<Item = &'a str>,
        postponed: HashSet<PathBuf>,
    ) -> Self {
        self.number += 1;
        for pack in packs {
            if let Some(stage) = self.readable.get_mut(pack)
                && *stage == LATER
            {
                *stage = self.number;
            }
        }
        Self { postponed, ..self }
    }

    /// Is it the first one?
    pub fn is_first(&self) -> bool {
        self.number == 0
    }

    /// Are all packs readable?
    pub fn is_last(&self) -> bool {
        self.readable.values().all(|stage| *stage != LATER)
    }

    /// The packs that are not readable as yet.
    pub fn later(&self) -> impl Iterator<Item = &str> {
        let later = self.readable.iter().filter(|(_, stage)| **stage == LATER);
        later.map(|(pack, _)| pack.as_str())
    }

    /// The stage from which on `pack` is readable.
    pub(super) fn of(&self, pack: &str) -> u32 {
        self.readable.get(pack).copied().unwrap_or(0)
    }

    /// Did an earlier stage give up the entry at `path`? What stands there is not of this restore,
    /// and must stay.
    pub(super) fn leaves_alone(&self, path: &Path) -> bool {
        !self.given_up.is_empty() && self.given_up.contains(path)
    }

    /// Is a file written in this stage, all of whose packs are readable from `stage` on?
    pub(super) fn takes(&self, leaf: &PlannedLeaf, stage: u32) -> bool {
        stage == self.number
            || (!self.postponed.is_empty() && self.postponed.contains(&leaf.path()))
    }
}

/// What a stage did.
#[derive(Debug, Default)]
pub struct StageReport {
    /// What it wrote.
    pub report: RestoreReport,
    /// Files that it had to leave, by their paths below the target: a pack of theirs is archived.
    pub postponed: HashSet<PathBuf>,
    /// The packs that are to blame.
    pub refused: HashSet<String>,
}

impl RestorePlan {
    /// The reads that a stage makes of each pack: requests, and bytes that they fetch.
    ///
    /// # Errors
    /// As [`RestorePlan::of`].
    pub async fn reads(
        &self,
        repo: &Repository,
        options: &RestoreOptions,
        stage: &Stage,
    ) -> Result<HashMap<String, Amount>> {
        let options = options_of(stage, options);
        let mut planner = Planner::new(repo, &self.root, self.existing.as_deref(), &options);
        planner.in_stage(stage);
        let mut all: HashMap<String, Amount> = HashMap::new();
        while let Some(window) = planner.next().await? {
            for pack in &window.reads.packs {
                let reads = Amount { count: pack.ranges.len() as u64, bytes: pack.bytes() };
                all.entry(pack.pack.clone()).or_default().add(reads);
            }
        }
        Ok(all)
    }

    /// Carries out one stage, and notes in it what later ones have to know. Folders get their
    /// attributes in the last one.
    ///
    /// # Errors
    /// As [`RestorePlan::run`], but that archived packs are none: the files that need them are
    /// [postponed](StageReport::postponed).
    pub async fn run_stage(
        &self,
        repo: &Repository,
        target: &Path,
        options: &RestoreOptions,
        stage: &mut Stage,
        sink: Arc<dyn RestoreSink>,
        stop: &CancellationToken,
    ) -> Result<StageReport> {
        if stage.is_first() {
            self.check_whole(options.ignore_errors)?;
            sink.event(RestoreEvent::Planned { files: self.files, bytes: self.bytes });
        }
        if stop.is_cancelled() {
            return Err(SnapshotError::Stopped);
        }
        let options = options_of(stage, options);
        let mut report = RestoreReport::default();
        let readable = |pack: &&super::PlannedPack| stage.of(&pack.pack) == stage.number;
        report.packs_read = self.packs.iter().filter(readable).count() as u64;
        let mut given_up = HashSet::new();
        let building = match self.building(target, &options, sink, report, Some(stage)) {
            Ok(building) => building,
            Err(done) => return done.map(|report| StageReport { report, ..Default::default() }),
        };
        let mut planner = Planner::new(repo, &self.root, self.existing.as_deref(), &options);
        planner.in_stage(stage);
        while let Some(mut window) = planner.next().await? {
            if stop.is_cancelled() {
                return Err(SnapshotError::Stopped);
            }
            given_up.extend(std::mem::take(&mut window.given_up));
            if !stage.is_first() {
                // Told by the first one. Failures are new: the planner passes over the old ones.
                window.skipped = (0, 0);
            }
            if !stage.is_last() {
                window.full.clear();
            }
            self.write(repo, window, &building, stop).await?;
        }
        let mut report = building.report.lock().expect("no holder of this lock panics").clone();
        if !stage.is_first() {
            report.folders = 0;
        }
        let left = building.left.lock().expect("no holder of this lock panics");
        let (postponed, refused) = (left.files.clone(), left.packs.keys().cloned().collect());
        given_up.extend(building.barred.lock().expect("no holder of this lock panics").drain(..));
        stage.given_up.extend(given_up);
        Ok(StageReport { report, postponed, refused })
    }
}

/// What a stage leaves behind it, the next one finds: it is not in the way.
fn options_of(stage: &Stage, options: &RestoreOptions) -> RestoreOptions {
    let (first, options) = (stage.is_first(), options.clone());
    RestoreOptions {
        overwrite_directories: options.overwrite_directories || !first,
        overwrite_files: options.overwrite_files || !first,
        overwrite_symlinks: options.overwrite_symlinks || !first,
        delete_extra: options.delete_extra && first,
        ..options
    }
}

impl RestoreReport {
    /// Adds what another part of the same restore did.
    pub fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.folders += other.folders;
        self.links += other.links;
        self.skipped += other.skipped;
        self.skipped_bytes += other.skipped_bytes;
        self.deleted_files += other.deleted_files;
        self.deleted_folders += other.deleted_folders;
        self.deleted_links += other.deleted_links;
        self.failures.extend(other.failures);
        self.packs_read += other.packs_read;
        self.bytes_read += other.bytes_read;
        self.requests += other.requests;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_is_readable_from_the_stage_on_in_which_it_was_seen_so() {
        let stage = Stage::first(["a".to_owned(), "b".to_owned()]);
        assert!(stage.is_first() && !stage.is_last());
        assert_eq!((stage.of("a"), stage.of("hot")), (LATER, 0));
        let stage = stage.next(["a", "hot"], HashSet::new());
        assert_eq!((stage.of("a"), stage.of("b"), stage.of("hot")), (1, LATER, 0));
        assert_eq!(stage.later().collect::<Vec<_>>(), ["b"]);
        let stage = stage.next(["a", "b"], HashSet::new());
        assert_eq!((stage.of("a"), stage.of("b")), (1, 2), "the first time counts");
        assert!(stage.is_last());
    }
}
