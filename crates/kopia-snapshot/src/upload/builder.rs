//! Folding the entries of a folder into a directory object.
//!
//! The sums and their order are hashed with the directory, so they follow Kopia to the letter
//! (docs/format/06-manifests-snapshots.md, traps 4 to 10).

use kopia_format::{
    directory::{DirEntry, DirSummary, Directory, EntryKind, FailedEntry},
    time::GoTime,
};

/// A directory object in the making.
#[derive(Debug, Clone)]
pub(crate) struct FolderBuilder {
    entries: Vec<DirEntry>,
    summary: DirSummary,
}

impl FolderBuilder {
    pub fn new() -> Self {
        let summary = DirSummary { max_time: GoTime::from_unix_nanos(0), ..DirSummary::default() };
        Self { entries: Vec::new(), summary }
    }

    /// Adds a finished entry.
    pub fn add(&mut self, entry: DirEntry) {
        let sum = &mut self.summary;
        sum.max_time = sum.max_time.max(GoTime::from_unix_nanos(entry.mtime));
        match entry.kind {
            EntryKind::Symlink => sum.symlinks += 1,
            EntryKind::File => {
                sum.files += 1;
                sum.size += entry.size;
            }
            EntryKind::Directory => {
                if let Some(below) = &entry.summary {
                    sum.files += below.files;
                    sum.size += below.size;
                    sum.dirs += below.dirs;
                    sum.symlinks += below.symlinks;
                    sum.num_failed += below.num_failed;
                    sum.num_ignored_errors += below.num_ignored_errors;
                    sum.errors.extend(below.errors.iter().cloned());
                    sum.max_time = sum.max_time.max(below.max_time);
                }
            }
        }
        self.entries.push(entry);
    }

    /// Notes an entry that could not be read; `path` is relative to the snapshot's root.
    pub fn add_failed(&mut self, path: &str, error: &str, ignored: bool) {
        if ignored {
            self.summary.num_ignored_errors += 1;
        } else {
            self.summary.num_failed += 1;
        }
        self.summary.errors.push(FailedEntry { path: path.to_owned(), error: error.to_owned() });
    }

    /// The directory as it stands. `mtime` is the folder's own time, `incomplete` why it is not whole.
    pub fn build(&self, mtime: i64, incomplete: &str) -> Directory {
        let mut summary = self.summary.clone();
        summary.dirs += 1;
        if self.entries.is_empty() {
            summary.max_time = GoTime::from_unix_nanos(mtime);
        }
        incomplete.clone_into(&mut summary.incomplete);
        summary.errors.sort_by(|a, b| a.path.cmp(&b.path));
        let mut entries = self.entries.clone();
        let is_folder = |entry: &DirEntry| entry.kind == EntryKind::Directory;
        entries.sort_by(|a, b| {
            is_folder(b).cmp(&is_folder(a)).then_with(|| a.name.cmp(&b.name))
        });
        Directory { entries, summary }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, size: u64, mtime: i64) -> DirEntry {
        DirEntry {
            name: name.into(),
            kind: EntryKind::File,
            size,
            mtime,
            object: "0123456789abcdef0123456789abcdef".parse().unwrap(),
            ..DirEntry::default()
        }
    }

    #[test]
    fn folders_come_first_and_sums_are_kopias() {
        let mut below = FolderBuilder::new();
        below.add(file("x", 3, 50));
        let mut top = FolderBuilder::new();
        top.add(file("b", 10, 7));
        top.add(file("a", 1, 9));
        top.add(DirEntry {
            name: "z".into(),
            kind: EntryKind::Directory,
            mtime: 8,
            summary: Some(below.build(8, "").summary),
            ..file("z", 0, 8)
        });
        let built = top.build(1, "");
        let names: Vec<_> = built.entries.iter().map(|e| e.name.clone()).collect();
        assert_eq!(names, [&b"z"[..], b"a", b"b"].map(|n| n.to_vec()));
        let sum = &built.summary;
        assert_eq!((sum.files, sum.size, sum.dirs, sum.symlinks), (3, 14, 2, 0));
        assert_eq!(sum.max_time, GoTime::from_unix_nanos(50));
    }

    #[test]
    fn an_empty_folder_has_its_own_time_and_an_old_one_the_epoch() {
        assert_eq!(FolderBuilder::new().build(-5, "").summary.max_time.unix_nanos(), -5);
        let mut old = FolderBuilder::new();
        old.add(file("x", 1, -100));
        assert_eq!(old.build(-5, "").summary.max_time.unix_nanos(), 0);
    }
}
