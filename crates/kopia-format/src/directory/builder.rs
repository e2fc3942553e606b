//! Collecting the entries of a directory and counting what lies below.
//!
//! The order of adding does not matter: the result is sorted. Facts:
//! `docs/format/06-manifests-snapshots.md` §0 (traps 5, 8, 9, 13) and §3.

use super::{DirEntry, DirSummary, Directory, EntryError, EntryKind};

/// A directory in the making. A clone taken on the way is a checkpoint of it.
#[derive(Debug, Clone, Default)]
pub struct DirectoryBuilder {
    entries: Vec<DirEntry>,
    summary: DirSummary,
}

impl DirectoryBuilder {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a stored entry, and of a directory all that its summary counts.
    pub fn add(&mut self, entry: DirEntry) {
        let sum = &mut self.summary;
        // Starting from zero: nothing before 1970 shows.
        sum.max_time = sum.max_time.max(entry.mtime);
        match (entry.kind, &entry.summary) {
            (EntryKind::Symlink, _) => sum.symlinks += 1,
            (EntryKind::File, _) => {
                sum.files += 1;
                sum.size = sum.size.saturating_add(entry.size);
            }
            (EntryKind::Directory, Some(child)) => {
                // Counts of foreign directories need not make sense; they must not stop us.
                sum.size = sum.size.saturating_add(child.size);
                sum.files = sum.files.saturating_add(child.files);
                sum.symlinks = sum.symlinks.saturating_add(child.symlinks);
                sum.dirs = sum.dirs.saturating_add(child.dirs);
                sum.failed = sum.failed.saturating_add(child.failed);
                sum.ignored_errors = sum.ignored_errors.saturating_add(child.ignored_errors);
                sum.errors.extend_from_slice(&child.errors);
                sum.max_time = sum.max_time.max(child.max_time);
            }
            _ => {}
        }
        self.entries.push(entry);
    }

    /// Counts an entry that could not be stored. `path` starts at the root of the snapshot.
    pub fn add_failed(&mut self, path: &[u8], ignored: bool, error: &[u8]) {
        if ignored {
            self.summary.ignored_errors += 1;
        } else {
            self.summary.failed += 1;
        }
        self.summary.errors.push(EntryError { path: path.to_vec(), error: error.to_vec() });
    }

    /// Number of entries so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No entry so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The finished directory. `mtime` is the directory's own, `incomplete` says why it is not
    /// finished after all (empty if it is).
    #[must_use]
    pub fn build(self, mtime: i64, incomplete: &str) -> Directory {
        let Self { entries, mut summary } = self;
        summary.dirs += 1;
        if entries.is_empty() {
            summary.max_time = mtime;
        }
        incomplete.clone_into(&mut summary.incomplete);
        summary.errors.sort_by(|a, b| a.path.cmp(&b.path));
        let mut directory = Directory { entries, summary };
        directory.sort();
        directory
    }
}
