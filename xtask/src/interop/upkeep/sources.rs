//! What is snapshot day after day, and copies of it as it was, to compare restores with.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::ensure;

use crate::{bench::random::Random, programs::Snapshot};

/// Files at the beginning.
const FILES: u64 = 60;
/// Bytes of a file, at most.
const FILE_BYTES: u64 = 60_000;
/// What is there for one day: more than a pack, so that a writer has begun to write before it is done.
const LARGE_BYTES: u64 = 48 << 20;

/// A small tree that changes.
#[derive(Debug)]
pub struct Sources {
    folder: PathBuf,
    copies: PathBuf,
    /// Snapshots that are not deleted, oldest first, with copies of what was snapshot.
    kept: Vec<(Snapshot, PathBuf)>,
    changes: u64,
    is_large: bool,
}

impl Sources {
    /// Makes it below `folder`.
    pub fn plant(folder: &Path) -> anyhow::Result<Self> {
        let (folder, copies) = (folder.join("source"), folder.join("copies"));
        fs::create_dir_all(folder.join("files"))?;
        fs::create_dir_all(&copies)?;
        let sources = Self { folder, copies, kept: Vec::new(), changes: 0, is_large: false };
        for n in 0..FILES {
            sources.write(n)?;
        }
        Ok(sources)
    }

    /// What is to be snapshot.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Three files change, one comes, one goes.
    pub fn change(&mut self) -> anyhow::Result<()> {
        self.changes += 1;
        for n in 0..3 {
            // Those that are there: the oldest ones go.
            self.write(self.changes + 1 + (self.changes * 7 + n * 13) % (FILES - 2))?;
        }
        self.write(FILES + self.changes)?;
        let oldest = self.file(self.changes - 1);
        if oldest.exists() {
            fs::remove_file(oldest)?;
        }
        Ok(())
    }

    /// Adds something large, or removes it.
    pub fn set_large(&mut self, is_large: bool) -> anyhow::Result<()> {
        let large = self.folder.join("large");
        if is_large {
            let mut bytes = Vec::new();
            Random::of(&[LARGE_BYTES]).noise(usize::try_from(LARGE_BYTES)?, &mut bytes);
            fs::write(large, bytes)?;
        } else if self.is_large {
            fs::remove_file(large)?;
        }
        self.is_large = is_large;
        Ok(())
    }

    /// Remembers what a snapshot is of.
    pub fn keep(&mut self, snapshot: Snapshot) -> anyhow::Result<()> {
        let copy = self.copies.join(&snapshot.id);
        let copied = Command::new("cp").arg("-a").arg(&self.folder).arg(&copy).status()?;
        ensure!(copied.success(), "can't copy the sources with cp -a");
        self.kept.push((snapshot, copy));
        Ok(())
    }

    /// The IDs of all but the newest snapshots, which are to be deleted; of all of them, if what is
    /// large is to stay a while.
    pub fn forget(&mut self, but: usize, all_stay: bool) -> anyhow::Result<Vec<String>> {
        if all_stay {
            return Ok(Vec::new());
        }
        let old: Vec<_> = self.kept.drain(..self.kept.len().saturating_sub(but)).collect();
        old.into_iter()
            .map(|(snapshot, copy)| {
                fs::remove_dir_all(copy)?;
                Ok(snapshot.id)
            })
            .collect()
    }

    /// Snapshots that are not deleted, and what they are of.
    pub fn kept(&self) -> &[(Snapshot, PathBuf)] {
        &self.kept
    }

    fn file(&self, n: u64) -> PathBuf {
        self.folder.join(format!("files/{n}"))
    }

    fn write(&self, n: u64) -> anyhow::Result<()> {
        let mut random = Random::of(&[n, self.changes]);
        let (mut bytes, length) = (Vec::new(), random.below(FILE_BYTES));
        random.noise(usize::try_from(length)?, &mut bytes);
        Ok(fs::write(self.file(n), bytes)?)
    }
}
