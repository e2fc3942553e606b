//! Reading directories out of a repository.

use kopia_format::{
    ObjectId,
    directory::{DirEntry, Directory, EntryKind},
};
use kopia_repo::Repository;

use crate::error::{Result, SnapshotError};

/// The longest directory object that is read; some five million entries.
pub const DIRECTORY_BYTES_MAX: u64 = 1 << 30;

/// Reads the directory object `id`.
///
/// # Errors
/// [`SnapshotError::Repo`] when it can't be read, [`SnapshotError::Format`] when it is not a directory.
pub async fn read_directory(repo: &Repository, id: &ObjectId) -> Result<Directory> {
    let bytes = repo.read_object(id, DIRECTORY_BYTES_MAX).await?;
    Directory::parse(&bytes).map_err(SnapshotError::format(format!("directory object {id}")))
}

/// Walks down from `entry` by the names of `path`, which are separated by `/`; empty names are skipped.
///
/// # Errors
/// [`SnapshotError::NotInSnapshot`] when a name is missing or something on the way is no directory.
pub async fn descend(repo: &Repository, entry: DirEntry, path: &str) -> Result<DirEntry> {
    let root = entry.object;
    let missing = || SnapshotError::NotInSnapshot { path: path.to_owned(), root: root.to_string() };
    let mut current = entry;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if current.kind != EntryKind::Directory {
            return Err(missing());
        }
        let directory = read_directory(repo, &current.object).await?;
        let mut entries = directory.entries.into_iter();
        current = entries.find(|e| e.name == name.as_bytes()).ok_or_else(missing)?;
    }
    Ok(current)
}

/// What Kopia makes up for an object that no snapshot has as its root: mode 0555 for a directory and 0644 for a file,
/// no owner, the Unix epoch (docs/format/07-upload-restore.md §6).
pub fn made_up_entry(object: ObjectId) -> DirEntry {
    let is_directory = object.is_directory();
    DirEntry {
        kind: if is_directory { EntryKind::Directory } else { EntryKind::File },
        mode: if is_directory { 0o555 } else { 0o644 },
        object,
        ..DirEntry::default()
    }
}
