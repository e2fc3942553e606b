//! Reading the folders of a tree ahead of a walk, in bounded memory.
//!
//! A walk goes down first, but folders are read many together: those of one part of the tree level
//! by level, so that a tree of many small folders costs a request for each level and metadata pack
//! and not one for each folder. How large a part is tell the summaries that folders carry; a folder
//! with more below it than is read ahead is read by itself, and the parts below it in turn.

use std::{collections::HashMap, sync::Arc};

use kopia_format::{
    ObjectId,
    directory::{DirEntry, Directory},
};
use kopia_repo::Repository;

use crate::{
    error::Result,
    tree::{self, read_levels},
};

/// Entries of folders that are read ahead.
const AHEAD_ENTRIES: u64 = 16 << 10;

/// Folders that were read, each until it is clear that it is not met again soon.
pub(crate) struct Directories<'a> {
    repo: &'a Repository,
    read: HashMap<ObjectId, Result<Arc<Directory>>>,
    /// How many there are in all of them.
    entries: u64,
}

impl<'a> Directories<'a> {
    pub fn new(repo: &'a Repository) -> Self {
        Self { repo, read: HashMap::new(), entries: 0 }
    }

    /// The directory object of `wanted`. Those of `next`, the folders that come after it in the
    /// order of the walk, may be read together with it.
    ///
    /// # Errors
    /// What reading the index may give, and why this directory can't be read.
    pub async fn get<'n>(
        &mut self,
        wanted: &DirEntry,
        next: impl Iterator<Item = &'n DirEntry>,
    ) -> Result<Arc<Directory>> {
        if !self.read.contains_key(&wanted.object) {
            self.read_ahead(wanted, next).await?;
        }
        let directory = self.read.get(&wanted.object).expect("it was read a moment ago");
        match directory {
            Ok(directory) => Ok(Arc::clone(directory)),
            // The error goes to who asked. Whoever asks again has it read again.
            Err(_) => self.read.remove(&wanted.object).expect("it is there"),
        }
    }

    async fn read_ahead<'n>(
        &mut self,
        wanted: &DirEntry,
        next: impl Iterator<Item = &'n DirEntry>,
    ) -> Result<()> {
        // What was read ahead has been met by now, unless a summary was wrong.
        if self.entries >= AHEAD_ENTRIES {
            self.read.clear();
            self.entries = 0;
        }
        let mut below = entries_below(wanted);
        let mut level = vec![wanted.object];
        let is_large = below > AHEAD_ENTRIES;
        for folder in next {
            below = below.saturating_add(entries_below(folder));
            if below > AHEAD_ENTRIES {
                break;
            }
            level.push(folder.object);
        }
        let entries_max = if is_large { 0 } else { 2 * AHEAD_ENTRIES };
        let make = |_, directory: Result<Directory>| directory.map(Arc::new);
        self.entries += read_levels(self.repo, level, entries_max, &mut self.read, make).await?;
        Ok(())
    }
}

/// Entries below a folder, as its summary says; many, if it has none.
fn entries_below(folder: &DirEntry) -> u64 {
    tree::entries_below(folder).unwrap_or(AHEAD_ENTRIES / 16)
}
