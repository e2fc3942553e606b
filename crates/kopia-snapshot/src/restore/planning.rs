//! Making a plan: from a root entry to folders, files, links, and the reads that they take.
//!
//! The tree is read level by level, all folders of a level together, so that a tree of many small
//! folders costs a request for each metadata pack and not one for each folder. The same goes for
//! the lists of pieces of big files. Only then the plan is put together, in the order of the tree.

use std::{
    collections::HashMap,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use kopia_format::{
    ContentId, ObjectId,
    directory::{DirEntry, Directory, EntryKind},
};
use kopia_repo::{ObjectChunk, RepoError, Repository};

use super::{
    events::RestoreFailure,
    options::RestoreOptions,
    plan::{PlannedFile, PlannedFolder, PlannedLink, RestorePlan, join},
};
use crate::{
    error::{Result, SnapshotError},
    source::{EntryKind as Local, LocalEntry},
    tree::{Lists, read_directories, read_lists},
};

/// Longer than any path that was ever read by its name (Linux: 4096): a tree that goes deeper was
/// forged, and each of its levels would cost as much memory as all above it.
const PATH_BYTES_MAX: usize = 16 << 10;

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
        let target = target.filter(|target| target.symlink_metadata().is_ok());
        let directories = read_tree(repo, root).await?;
        let entries = directories.values().flatten().flat_map(|directory| &directory.entries);
        let files = entries.filter(|entry| entry.kind == EntryKind::File);
        let lists = read_lists(repo, files.map(|entry| entry.object)).await?;
        let plan = Self::default();
        let mut planning = Planning { repo, target, options, directories, lists, plan };
        let mut walk = vec![(PathBuf::new(), root.clone(), target.is_some())];
        while let Some((path, entry, exists)) = walk.pop() {
            if path.as_os_str().len() > PATH_BYTES_MAX {
                planning.give_up(&path, too_long(&path))?;
                continue;
            }
            let existing = exists.then(|| planning.existing(&path, &entry)).flatten();
            match entry.kind {
                EntryKind::Directory => planning.add_folder(path, entry, existing, &mut walk)?,
                EntryKind::File | EntryKind::Symlink => {
                    planning.add_leaf(path, entry, existing).await?;
                }
                EntryKind::Unknown => {
                    let reason =
                        "the snapshot holds an entry of a kind that is not known".to_owned();
                    let named = path.to_string_lossy().into_owned();
                    let error = SnapshotError::NotRestored { path: named, reason, cause: None };
                    planning.give_up(&path, error)?;
                }
            }
        }
        let mut plan = planning.plan;
        let wanted: Vec<ContentId> = plan.wanted().map(|chunk| chunk.content).collect();
        plan.reads = repo.read_plan(wanted).await?;
        // Asked of every storage: a pack that is gone is to be noticed before anything is written.
        repo.settle_plan(&mut plan.reads).await?;
        Ok(plan)
    }
}

fn too_long(path: &Path) -> SnapshotError {
    let beginning: String = path.to_string_lossy().chars().take(200).collect();
    let reason = format!("its path is longer than {PATH_BYTES_MAX} bytes");
    SnapshotError::NotRestored { path: format!("{beginning}…"), reason, cause: None }
}

/// Every directory object below `root`, or why it can't be read.
async fn read_tree(repo: &Repository, root: &DirEntry) -> Result<Directories> {
    let mut all = HashMap::new();
    let mut level = Vec::new();
    level.extend(root.is_dir().then_some(root.object));
    while !level.is_empty() {
        let read = read_directories(repo, &level).await?;
        let entries = read.values().flatten().flat_map(|directory| &directory.entries);
        level = entries.filter(|entry| entry.is_dir()).map(|entry| entry.object).collect();
        all.extend(read);
        level.retain(|id| !all.contains_key(id));
        level.sort_unstable();
        level.dedup();
    }
    Ok(all)
}

type Directories = HashMap<ObjectId, Result<Directory>>;

struct Planning<'a> {
    repo: &'a Repository,
    /// The target, if something is there already.
    target: Option<&'a Path>,
    options: &'a RestoreOptions,
    directories: Directories,
    /// The pieces of big files.
    lists: Lists,
    plan: RestorePlan,
}

/// What is to be planned: a path, what the snapshot says of it, and whether there may be something
/// in its place.
type Walk = Vec<(PathBuf, DirEntry, bool)>;

impl Planning<'_> {
    /// An entry that can't be restored: the end of the plan, or an entry left out of it.
    fn give_up(&mut self, path: &Path, error: SnapshotError) -> Result<()> {
        if !self.options.ignore_errors {
            return Err(error);
        }
        let reason = match &error {
            // The path stands beside it already.
            SnapshotError::NotRestored { reason, .. } => reason.clone(),
            other => other.to_string(),
        };
        self.plan.failures.push(RestoreFailure::new(path, error.blob(), reason));
        Ok(())
    }

    /// What stands where `entry` belongs, unless it will be deleted before.
    fn existing(&self, path: &Path, entry: &DirEntry) -> Option<Existing> {
        let place = join(self.target?, path);
        let local = LocalEntry::at(&place).ok()?;
        let is_target = path.as_os_str().is_empty();
        let is_extra = entry.is_dir() != (local.kind == Local::Directory);
        let stays = is_target || !(is_extra && self.options.delete_extra);
        stays.then_some(Existing { place, local, is_target })
    }

    fn add_folder(
        &mut self,
        path: PathBuf,
        entry: DirEntry,
        existing: Option<Existing>,
        walk: &mut Walk,
    ) -> Result<()> {
        if let Some(Err(error)) = existing.as_ref().map(|it| check_folder(it, self.options)) {
            return self.give_up(&path, error);
        }
        let directory = self.directories.get(&entry.object);
        let directory = directory.expect("the tree was read before it is planned");
        let directory = match directory {
            Ok(directory) => directory,
            Err(error) if self.options.ignore_errors => {
                // It stays in its place, for it may be met again.
                let failure = RestoreFailure::new(&path, error.blob(), error.to_string());
                self.plan.failures.push(failure);
                return Ok(());
            }
            Err(_) => {
                let directory = self.directories.remove(&entry.object);
                return directory.expect("it was here a moment ago").map(drop);
            }
        };
        let mut names = Vec::with_capacity(directory.entries.len());
        // Taken from the end, so that entries come in their stored order.
        for below in directory.entries.iter().rev() {
            let name = safe_name(&below.name, &path)?;
            names.push((below.name.clone(), below.is_dir()));
            walk.push((path.join(name), below.clone(), existing.is_some()));
        }
        self.plan.folders.push(PlannedFolder { path, entry, names });
        Ok(())
    }

    async fn add_leaf(
        &mut self,
        path: PathBuf,
        entry: DirEntry,
        existing: Option<Existing>,
    ) -> Result<()> {
        if let Some(existing) = &existing {
            if self.options.skip_existing && is_same(&existing.local, &entry) {
                self.plan.skipped.0 += 1;
                self.plan.skipped.1 += entry.size;
                return Ok(());
            }
            if let Err(error) = check_overwrite(existing, entry.kind, self.options) {
                return self.give_up(&path, error);
            }
        }
        let chunks = match self.chunks(&entry).await {
            Ok(chunks) => chunks,
            Err(error) => return self.give_up(&path, error.into()),
        };
        match entry.kind {
            EntryKind::Symlink => self.plan.links.push(PlannedLink { path, entry, chunks }),
            _ => self.plan.files.push(PlannedFile { path, entry, chunks }),
        }
        Ok(())
    }

    /// The contents of a file or link, in order.
    async fn chunks(&self, entry: &DirEntry) -> Result<Vec<ObjectChunk>, RepoError> {
        if entry.kind == EntryKind::File && entry.size == 0 {
            return Ok(Vec::new());
        }
        if let Some(chunks) = self.lists.get(&entry.object) {
            return Ok(chunks.clone());
        }
        match self.repo.object_contents(&entry.object).await {
            Ok(contents) => Ok(contents.chunks),
            // It is planned all the same: the plan lists all contents that are lost, not only the
            // first.
            Err(RepoError::ContentNotFound { id }) if id == entry.object.content_id() => {
                Ok(vec![ObjectChunk { content: id, compressed: false, offset: 0, length: None }])
            }
            Err(error) => Err(error),
        }
    }
}

/// A name that can only be an entry of its folder: a snapshot must not write elsewhere, whoever
/// made it.
fn safe_name<'a>(name: &'a [u8], folder: &Path) -> Result<&'a OsStr> {
    if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') || name.contains(&0) {
        let name = String::from_utf8_lossy(name).into_owned();
        let folder = folder.display();
        return Err(SnapshotError::Invalid(format!(
            "the snapshot holds the name {name:?} in {folder:?}, which is no name of a file"
        )));
    }
    Ok(OsStr::from_bytes(name))
}

fn exists(place: &Path, what: &str) -> SnapshotError {
    SnapshotError::Invalid(format!("{} exists and is {what}", place.display()))
}

/// Something that stands where an entry belongs.
struct Existing {
    place: PathBuf,
    local: LocalEntry,
    /// Is it the target itself?
    is_target: bool,
}

/// May a folder be taken over?
fn check_folder(existing: &Existing, options: &RestoreOptions) -> Result<()> {
    let Existing { place, local, is_target } = existing;
    // The target itself may be a link to a folder; nothing below it may.
    if local.kind != Local::Directory && !(*is_target && place.is_dir()) {
        return Err(exists(place, "not a folder"));
    }
    let is_empty = || std::fs::read_dir(place).is_ok_and(|mut all| all.next().is_none());
    if options.overwrite_directories || is_empty() {
        return Ok(());
    }
    Err(exists(place, "a folder that is not empty"))
}

fn check_overwrite(existing: &Existing, kind: EntryKind, options: &RestoreOptions) -> Result<()> {
    let place = &existing.place;
    match (kind, existing.local.kind) {
        (EntryKind::Symlink, Local::Symlink) if options.overwrite_symlinks => Ok(()),
        (EntryKind::Symlink, Local::Symlink) => Err(exists(place, "a link")),
        (EntryKind::File, Local::File | Local::Symlink) if options.overwrite_files => Ok(()),
        (EntryKind::File, Local::File | Local::Symlink) => Err(exists(place, "a file")),
        (_, Local::Directory) => Err(exists(place, "a folder")),
        _ => Err(exists(place, "something else")),
    }
}

/// Is the local entry what a restore would make of it? As in Kopia: same size, times less than two
/// seconds apart; any link will do for a link.
fn is_same(local: &LocalEntry, entry: &DirEntry) -> bool {
    match (entry.kind, local.kind) {
        (EntryKind::Symlink, Local::Symlink) => true,
        (EntryKind::File, Local::File) => {
            local.size == entry.size && local.mtime.abs_diff(entry.mtime) < 2_000_000_000
        }
        _ => false,
    }
}
