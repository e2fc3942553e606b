//! What a restore will write, and what it needs for that.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use blob_core::Amount;
use kopia_format::{ContentId, directory::DirEntry};
use kopia_repo::{PackReads, PackState, ReadPlan, Repository};

use super::{events::RestoreFailure, options::RestoreOptions, planning::Planner, window::Window};
use crate::error::{Result, SnapshotError};

/// A pack that bytes are needed of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPack {
    /// The blob.
    pub pack: String,
    /// Its size in bytes, if it exists.
    pub size: Option<u64>,
    /// Its storage class, if the storage has classes.
    pub class: Option<String>,
    /// Whether it can be read.
    pub state: PackState,
    /// When the copy goes away that makes it readable, in seconds since 1970, if one does and the
    /// storage tells.
    pub until_secs: Option<i64>,
    /// Where the last needed byte ends.
    pub end: u64,
    /// The reads that will be made of it: requests, and bytes that they fetch.
    pub reads: Amount,
    /// The contents that are needed of it, and their bytes in the pack.
    pub needed: Amount,
}

impl PlannedPack {
    /// Must it be thawed first, or is it being thawed?
    pub fn is_cold(&self) -> bool {
        matches!(self.state, PackState::Cold | PackState::Thawing)
    }
}

/// A pack that has to be thawed first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColdPack {
    /// The blob.
    pub blob: String,
    /// Its storage class, where known.
    pub class: Option<String>,
    /// Its size in bytes, where known.
    pub size: Option<u64>,
}

/// What a restore will write, and which packs it needs for that.
///
/// Files are not in it, but for a tree that is planned in one window
/// ([`RestoreOptions::window_entries`]): a greater one is planned once to know all this, and once
/// more, window by window, while it is written.
#[derive(Debug, Default)]
pub struct RestorePlan {
    /// Folders to make or take over, the target too.
    pub folders: u64,
    /// Files to write.
    pub files: u64,
    /// Links to make.
    pub links: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Entries left alone, and their bytes.
    pub skipped: (u64, u64),
    /// Entries that can't be restored, as far as planning finds out: of an unknown kind, in a folder
    /// or with a list of pieces that can't be read, or with something in their place that must stay.
    /// There are none unless errors are to be ignored.
    pub failures: Vec<RestoreFailure>,
    /// The packs needed, in the order in which they are needed first.
    pub packs: Vec<PlannedPack>,
    /// Contents that no index knows.
    pub missing: Vec<ContentId>,
    /// Bytes that will be fetched.
    pub fetched_bytes: u64,
    /// Requests that will be made for them.
    pub requests: u64,
    /// Parts that it is planned and written in.
    pub windows: u64,
    pub(super) root: DirEntry,
    /// The target, if something is there already.
    pub(super) existing: Option<PathBuf>,
    /// The only window, if there is one only.
    pub(super) only: Option<Window>,
}

impl RestorePlan {
    /// Plans to restore `root` to `target`; `None` when the target is no folder of this machine (an
    /// archive). Reads directories, indexes and a listing of packs; no pack of file data.
    ///
    /// # Errors
    /// What the repository says; [`SnapshotError::Invalid`] when something exists that must not be
    /// overwritten, [`SnapshotError::NotRestored`] for an entry of a kind that is not known.
    pub async fn of(
        repo: &Repository,
        root: &DirEntry,
        target: Option<&Path>,
        options: &RestoreOptions,
    ) -> Result<Self> {
        let existing = target.filter(|target| target.symlink_metadata().is_ok());
        let mut plan =
            Self { root: root.clone(), existing: existing.map(Path::to_owned), ..Self::default() };
        let mut planner = Planner::new(repo, root, existing, options);
        let mut numbers = HashMap::new();
        while let Some(window) = planner.next().await? {
            plan.add(&window, &mut numbers);
            plan.only = (plan.windows == 1).then_some(window);
        }
        plan.settle(repo).await?;
        Ok(plan)
    }

    /// Counts a window. `numbers` says which packs are in the plan, and where.
    fn add(&mut self, window: &Window, numbers: &mut HashMap<String, usize>) {
        self.windows += 1;
        self.folders += window.folders.len() as u64;
        self.files += window.files.len() as u64;
        self.links += window.links.len() as u64;
        self.bytes += window.bytes();
        self.skipped.0 += window.skipped.0;
        self.skipped.1 += window.skipped.1;
        self.failures.extend_from_slice(&window.failures);
        self.missing.extend_from_slice(&window.reads.missing);
        self.fetched_bytes += window.reads.bytes();
        self.requests += window.reads.requests();
        for pack in &window.reads.packs {
            let end = pack.ranges.last().map_or(0, |range| range.offset + range.length);
            let reads = Amount { count: pack.ranges.len() as u64, bytes: pack.bytes() };
            let mut needed = Amount::default();
            for content in pack.ranges.iter().flat_map(|range| &range.contents) {
                needed.add(Amount { count: 1, bytes: content.packed_length.into() });
            }
            let number = *numbers.entry(pack.pack.clone()).or_insert(self.packs.len());
            match self.packs.get_mut(number) {
                Some(known) => {
                    known.end = known.end.max(end);
                    known.reads.add(reads);
                    known.needed.add(needed);
                }
                None => self.packs.push(PlannedPack {
                    pack: pack.pack.clone(),
                    size: None,
                    class: None,
                    state: PackState::Unknown,
                    until_secs: None,
                    end,
                    reads,
                    needed,
                }),
            }
        }
    }

    /// Asks the storage for the state of the packs once more.
    ///
    /// # Errors
    /// What a listing may give.
    pub async fn look_again(&mut self, repo: &Repository) -> Result<()> {
        self.settle(repo).await
    }

    /// Asks every storage for the packs: one that is gone is to be noticed before anything is
    /// written.
    async fn settle(&mut self, repo: &Repository) -> Result<()> {
        let unknown = |pack: &PlannedPack| PackReads {
            pack: pack.pack.clone(),
            size: None,
            class: None,
            state: PackState::Unknown,
            until_secs: None,
            ranges: Vec::new(),
        };
        let packs = self.packs.iter().map(unknown).collect();
        let mut listed = ReadPlan { packs, ..ReadPlan::default() };
        repo.settle_plan(&mut listed).await?;
        for (pack, listed) in self.packs.iter_mut().zip(listed.packs) {
            (pack.size, pack.class, pack.state) = (listed.size, listed.class, listed.state);
            pack.until_secs = listed.until_secs;
        }
        Ok(())
    }

    /// The packs that have to be thawed first.
    pub fn cold(&self) -> Vec<ColdPack> {
        let cold = self.packs.iter().filter(|pack| pack.is_cold()).map(|pack| ColdPack {
            blob: pack.pack.clone(),
            class: pack.class.clone(),
            size: pack.size,
        });
        cold.collect()
    }

    /// The packs that do not exist or are cut, and the contents that no index knows.
    pub fn lost(&self) -> (Vec<String>, Vec<ContentId>) {
        let is_lost = |pack: &&PlannedPack| {
            pack.state == PackState::Missing || pack.size.is_some_and(|size| size < pack.end)
        };
        let lost = self.packs.iter().filter(is_lost);
        (lost.map(|pack| pack.pack.clone()).collect(), self.missing.clone())
    }

    /// Fails before anything is written when the plan can't be carried out.
    pub(super) fn check_possible(&self, ignore_errors: bool) -> Result<()> {
        if ignore_errors {
            return Ok(());
        }
        let cold = self.cold();
        if !cold.is_empty() {
            return Err(SnapshotError::Archived { packs: cold });
        }
        self.check_whole(ignore_errors)
    }

    /// Fails before anything is written, or paid for, when something is lost.
    ///
    /// # Errors
    /// [`SnapshotError::Lost`], unless errors are to be ignored.
    pub fn check_whole(&self, ignore_errors: bool) -> Result<()> {
        if ignore_errors {
            return Ok(());
        }
        match self.lost() {
            (packs, contents) if packs.is_empty() && contents.is_empty() => Ok(()),
            (packs, contents) => Err(SnapshotError::Lost { packs, contents }),
        }
    }

    /// The windows, to be carried out: the one that is there, or all of them planned again.
    pub(super) fn windows<'a>(
        &'a self,
        repo: &'a Repository,
        only: Option<Window>,
        options: &'a RestoreOptions,
    ) -> Windows<'a> {
        let again = || Planner::new(repo, &self.root, self.existing.as_deref(), options);
        let again = only.is_none().then(again);
        Windows { only, again }
    }
}

/// The windows of a plan, one after the other.
pub(super) struct Windows<'a> {
    only: Option<Window>,
    again: Option<Planner<'a>>,
}

impl Windows<'_> {
    pub async fn next(&mut self) -> Result<Option<Window>> {
        match &mut self.again {
            Some(planner) => planner.next().await,
            None => Ok(self.only.take()),
        }
    }
}

/// `target` with `path` below it; the target itself for the empty path.
pub(super) fn join(target: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { target.to_owned() } else { target.join(path) }
}
