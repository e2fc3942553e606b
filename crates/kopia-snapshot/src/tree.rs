//! Reading directories out of a repository.

use std::collections::HashMap;

use bytes::Bytes;
use futures::StreamExt;
use kopia_format::{
    ContentId, ObjectId,
    directory::{DirEntry, Directory, EntryKind},
    indirect::IndirectObject,
};
use kopia_repo::{IndexEntry, ObjectChunk, Repository};

use crate::error::{Result, SnapshotError};

/// The longest directory object that is read; some five million entries.
pub const DIRECTORY_BYTES_MAX: u64 = 1 << 30;

/// Reads the directory object `id`.
///
/// # Errors
/// [`SnapshotError::Repo`] when it can't be read, [`SnapshotError::Format`] when it is not a
/// directory.
pub async fn read_directory(repo: &Repository, id: &ObjectId) -> Result<Directory> {
    let bytes = repo.read_object(id, DIRECTORY_BYTES_MAX).await?;
    parse(id, &bytes)
}

/// Bytes of contents that are read together.
const TOGETHER_BYTES: u64 = 64 << 20;

/// Reads contents with as few requests as their places in the packs allow, and gives them to `take`
/// as they come. What can't be read is left out: whoever asks for it by itself learns why.
///
/// # Errors
/// What reading the index may give.
pub(crate) async fn read_contents(
    repo: &Repository,
    ids: &[ContentId],
    mut take: impl FnMut(ContentId, Bytes),
) -> Result<()> {
    let index = repo.index().await?;
    let mut entries: Vec<IndexEntry> = Vec::with_capacity(ids.len());
    for id in ids {
        entries.extend(index.find(id)?);
    }
    // In the order of the packs, so that a window cuts few ranges in two.
    entries.sort_by(|a, b| (&a.pack, a.offset).cmp(&(&b.pack, b.offset)));
    let mut entries = entries.into_iter().peekable();
    while let Some(first) = entries.next() {
        let mut bytes = u64::from(first.original_length);
        let mut window = vec![first];
        while let Some(next) = entries.next_if(|e| {
            bytes += u64::from(e.original_length);
            bytes <= TOGETHER_BYTES
        }) {
            window.push(next);
        }
        let plan = repo.plan_entries(window);
        let mut contents = std::pin::pin!(repo.fetch_all(&plan));
        while let Some((id, content)) = contents.next().await {
            if let Ok(bytes) = content {
                take(id, bytes);
            }
        }
    }
    Ok(())
}

/// Reads many directory objects, each of `ids` once.
///
/// # Errors
/// What reading the index may give. What is wrong with one directory is in the result.
pub(crate) async fn read_directories(
    repo: &Repository,
    ids: &[ObjectId],
) -> Result<HashMap<ObjectId, Result<Directory>>> {
    let mut read = HashMap::with_capacity(ids.len());
    let direct = ids.iter().filter(|id| id.indirection() == 0 && !id.is_compressed());
    let direct: Vec<ContentId> = direct.map(ObjectId::content_id).collect();
    read_contents(repo, &direct, |content, bytes| {
        let id = ObjectId::direct(content);
        read.insert(id, parse(&id, &bytes));
    })
    .await?;
    for id in ids {
        if !read.contains_key(id) {
            read.insert(*id, read_directory(repo, id).await);
        }
    }
    Ok(read)
}

/// Reads the directories of `level` and then those below them, level by level, and puts what `make`
/// makes of each into `read`; those that are there already are passed over. Ends when all are read,
/// or with the level at which more than `entries_max` entries were: a summary that says how many
/// there are below a folder may be wrong. Gives how many there were.
///
/// # Errors
/// As [`read_directories`].
pub(crate) async fn read_levels<T>(
    repo: &Repository,
    mut level: Vec<ObjectId>,
    entries_max: u64,
    read: &mut HashMap<ObjectId, T>,
    mut make: impl FnMut(ObjectId, Result<Directory>) -> T,
) -> Result<u64> {
    let mut entries = 0;
    loop {
        level.retain(|id| !read.contains_key(id));
        level.sort_unstable();
        level.dedup();
        if level.is_empty() || entries > entries_max {
            return Ok(entries);
        }
        let found = read_directories(repo, &level).await?;
        level.clear();
        for (id, directory) in found {
            if let Ok(directory) = &directory {
                entries += directory.entries.len() as u64;
                let folders = directory.entries.iter().filter(|entry| entry.is_dir());
                level.extend(folders.map(|folder| folder.object));
            }
            read.insert(id, make(id, directory));
        }
    }
}

/// Entries below a folder, as its summary says; `None` if it has none.
pub(crate) fn entries_below(folder: &DirEntry) -> Option<u64> {
    let summary = folder.summary.as_ref()?;
    Some(summary.files.saturating_add(summary.dirs).saturating_add(summary.symlinks).max(1))
}

/// The pieces of objects that are lists of pieces.
pub(crate) type Lists = HashMap<ObjectId, Vec<ObjectChunk>>;

/// The pieces of those of `objects` that are lists, as far as one level of lists tells. All others
/// are to be asked for one by one.
///
/// # Errors
/// What reading the index may give.
pub(crate) async fn read_lists(
    repo: &Repository,
    objects: impl Iterator<Item = ObjectId>,
) -> Result<Lists> {
    let mut listed: HashMap<ContentId, ObjectId> = HashMap::new();
    for id in objects {
        let inner = id.unwrapped().filter(|inner| inner.indirection() == 0);
        listed.extend(inner.map(|inner| (inner.content_id(), id)));
    }
    let mut lists = HashMap::new();
    let wanted: Vec<_> = listed.keys().copied().collect();
    read_contents(repo, &wanted, |id, bytes| {
        // A list that is damaged or goes deeper is left to the slower way, which says what is
        // wrong.
        let Ok(list) = IndirectObject::parse(&bytes) else { return };
        if list.entries.iter().any(|piece| piece.object.indirection() > 0) {
            return;
        }
        let chunks = list.entries.iter().map(|piece| ObjectChunk {
            content: piece.object.content_id(),
            compressed: piece.object.is_compressed(),
            offset: piece.start,
            length: Some(piece.length),
        });
        lists.insert(listed[&id], chunks.collect());
    })
    .await?;
    Ok(lists)
}

fn parse(id: &ObjectId, bytes: &[u8]) -> Result<Directory> {
    Directory::parse(bytes).map_err(SnapshotError::format(format!("directory object {id}")))
}

/// Walks down from `entry` by the names of `path`, which are separated by `/`; empty names are
/// skipped.
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

/// What Kopia makes up for an object that no snapshot has as its root: mode 0555 for a directory
/// and 0644 for a file, no owner, the Unix epoch (docs/format/07-upload-restore.md §6).
pub fn made_up_entry(object: ObjectId) -> DirEntry {
    let is_directory = object.is_directory();
    DirEntry {
        kind: if is_directory { EntryKind::Directory } else { EntryKind::File },
        mode: if is_directory { 0o555 } else { 0o644 },
        object,
        ..DirEntry::default()
    }
}
