//! Looking up what an earlier snapshot knew about an entry.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use kopia_format::{
    ObjectId,
    directory::{DirEntry, Directory, EntryKind},
};
use kopia_repo::Repository;

use super::{events::UploadEvent, run::Run};
use crate::{
    error::{Result, SnapshotError},
    source::{self, LocalEntry},
    tree::DIRECTORY_BYTES_MAX,
};

/// A directory of an earlier snapshot, ready to be asked for names.
#[derive(Debug)]
pub(crate) struct PreviousFolder {
    id: ObjectId,
    /// Its entries in their stored order: folders first, then the rest, each by the bytes of the
    /// name.
    directory: Directory,
    /// How many of the entries are folders.
    folders: usize,
    /// Which entry comes after the one that was asked for last: as a rule it is asked for next.
    next: AtomicUsize,
}

/// Reads the directory `id` of an earlier snapshot. One that can't be read only saves no work: the snapshot goes on.
pub(crate) async fn load(run: &Run, path: &str, id: &ObjectId) -> Option<Arc<PreviousFolder>> {
    match PreviousFolder::load(&run.repo, id).await {
        Ok(folder) => Some(Arc::new(folder)),
        Err(error) => {
            run.tell(UploadEvent::PreviousUnreadable { path, error: &error.to_string() });
            None
        }
    }
}

impl PreviousFolder {
    async fn load(repo: &Repository, id: &ObjectId) -> Result<Self> {
        let bytes = repo.read_object(id, DIRECTORY_BYTES_MAX).await?;
        let directory = Directory::parse(&bytes)
            .map_err(SnapshotError::format(format!("directory object {id}")))?;
        Ok(Self::new(*id, directory))
    }

    /// The directory object `id`.
    pub fn new(id: ObjectId, mut directory: Directory) -> Self {
        // Whoever wrote it may have had another order in mind.
        directory.entries.sort_by(|a, b| (!a.is_dir(), &a.name).cmp(&(!b.is_dir(), &b.name)));
        let folders = directory.entries.partition_point(DirEntry::is_dir);
        Self { id, directory, folders, next: AtomicUsize::new(folders) }
    }

    pub fn id(&self) -> ObjectId {
        self.id
    }

    fn get(&self, name: &[u8]) -> Option<&DirEntry> {
        let entries = &self.directory.entries;
        let next = self.next.load(Relaxed);
        let at = if entries.get(next).is_some_and(|entry| entry.name == name) {
            next
        } else {
            let (folders, others) = entries.split_at(self.folders);
            let find = |entries: &'_ [DirEntry]| {
                entries.binary_search_by(|entry| entry.name.as_slice().cmp(name)).ok()
            };
            find(others).map(|at| self.folders + at).or_else(|| find(folders))?
        };
        self.next.store(at + 1, Relaxed);
        Some(&entries[at])
    }
}

/// The object of an earlier directory that is exactly `directory`: it need not be written again.
pub(crate) fn same_folder(
    previous: &[Arc<PreviousFolder>],
    directory: &Directory,
) -> Option<ObjectId> {
    previous.iter().find(|folder| folder.directory == *directory).map(|folder| folder.id)
}

/// The same-named folder in each earlier directory, every object once.
pub(crate) fn folders_below<'a>(
    previous: &'a [Arc<PreviousFolder>],
    name: &[u8],
) -> Vec<&'a DirEntry> {
    let mut found: Vec<&DirEntry> = Vec::new();
    for entry in previous.iter().filter_map(|folder| folder.get(name)) {
        if entry.is_dir() && found.iter().all(|other| other.object != entry.object) {
            found.push(entry);
        }
    }
    found
}

/// The object of an entry that equals `entry` in one of the earlier directories: same time to the
/// nanosecond, same kind and mode, same owner, same size (docs/format/07-upload-restore.md §2).
pub(crate) fn unchanged(
    previous: &[Arc<PreviousFolder>],
    name: &[u8],
    entry: &LocalEntry,
) -> Option<DirEntry> {
    let same = |before: &DirEntry| {
        kind_of(before.kind) == Some(entry.kind)
            && before.mtime == entry.mtime
            && before.mode == entry.mode
            && before.size == entry.size
            && (before.uid, before.gid) == (entry.uid, entry.gid)
    };
    let entries = previous.iter().filter_map(|folder| folder.get(name));
    entries.into_iter().find(|before| same(before)).cloned()
}

/// The entry of that name that an earlier directory has, if none of them equals `entry`; of several
/// the last, as in Kopia.
pub(crate) fn missed<'a>(
    previous: &'a [Arc<PreviousFolder>],
    name: &[u8],
    entry: Option<&LocalEntry>,
) -> Option<&'a DirEntry> {
    let last = previous.iter().filter_map(|folder| folder.get(name)).next_back()?;
    let is_missed = entry.is_none_or(|entry| unchanged(previous, name, entry).is_none());
    is_missed.then_some(last)
}

fn kind_of(kind: EntryKind) -> Option<source::EntryKind> {
    match kind {
        EntryKind::File => Some(source::EntryKind::File),
        EntryKind::Directory => Some(source::EntryKind::Directory),
        EntryKind::Symlink => Some(source::EntryKind::Symlink),
        EntryKind::Unknown => None,
    }
}
