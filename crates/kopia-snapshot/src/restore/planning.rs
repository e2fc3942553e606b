//! Making windows: from a root entry to folders, files, links, and the reads that they take.
//!
//! The tree is walked in its order, folder by folder; what is open of it is as much as its depth.
//! A window ends after so many entries, with the lists of pieces of its big files and its reads.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use kopia_format::{
    ObjectId,
    directory::{DirEntry, Directory, EntryKind},
};
use kopia_repo::{ObjectChunk, RepoError, Repository};

use super::{
    events::RestoreFailure,
    options::RestoreOptions,
    plan::join,
    stage::Stage,
    window::{PlannedFolder, PlannedLeaf, Window},
};
use crate::{
    error::{Result, SnapshotError},
    source::{EntryKind as Local, LocalEntry},
    tree::read_lists,
    walk::Directories,
};

/// Longer than any path that was ever read by its name (Linux: 4096): a tree that goes deeper was
/// forged, and each of its levels would cost as much memory as all above it.
const PATH_BYTES_MAX: usize = 16 << 10;
/// A file counts as one entry for each so many bytes more, since it has a list of pieces.
const ENTRY_BYTES: u64 = 256 << 10;

/// Plans a restore, window by window.
pub(super) struct Planner<'a> {
    repo: &'a Repository,
    /// The target, if something was there before the restore.
    target: Option<&'a Path>,
    options: &'a RestoreOptions,
    directories: Directories<'a>,
    /// The root, until it is planned.
    root: Option<DirEntry>,
    /// The folders on the way from the root to where the walk is.
    open: Vec<OpenFolder>,
    /// Only the files of this stage.
    stage: Option<&'a Stage>,
}

/// A folder that the walk is in.
struct OpenFolder {
    folder: Arc<PlannedFolder>,
    directory: Arc<Directory>,
    /// The entry that comes next.
    next: usize,
    /// May there be something in the places of its entries?
    exists: bool,
}

fn too_long(path: &Path) -> SnapshotError {
    let beginning: String = path.to_string_lossy().chars().take(200).collect();
    let reason = format!("its path is longer than {PATH_BYTES_MAX} bytes");
    SnapshotError::NotRestored { path: format!("{beginning}…"), reason, cause: None }
}

impl<'a> Planner<'a> {
    pub fn new(
        repo: &'a Repository,
        root: &DirEntry,
        target: Option<&'a Path>,
        options: &'a RestoreOptions,
    ) -> Self {
        let (root, open) = (Some(root.clone()), Vec::new());
        Self { repo, target, options, directories: Directories::new(repo), root, open, stage: None }
    }

    /// From now on only the files of a stage are planned, and all folders.
    pub fn in_stage(&mut self, stage: &'a Stage) {
        self.stage = Some(stage);
    }

    /// The next window; `None` when all is planned.
    ///
    /// # Errors
    /// As [`RestorePlan::of`](super::RestorePlan::of).
    pub async fn next(&mut self) -> Result<Option<Window>> {
        let mut window = Window::default();
        let mut room = self.options.window_entries.max(1) as u64;
        while room > 0 {
            let Some(taken) = self.step(&mut window).await? else { break };
            room = room.saturating_sub(taken);
        }
        if self.root.is_none() && self.open.is_empty() && room > 0 && window.is_empty() {
            return Ok(None);
        }
        self.add_pieces(&mut window).await?;
        self.add_reads(&mut window).await?;
        Ok(Some(window))
    }

    /// Goes one entry further. Gives what part of a window it takes, or `None` at the end.
    async fn step(&mut self, window: &mut Window) -> Result<Option<u64>> {
        let Some(at) = self.open.last_mut() else {
            let Some(root) = self.root.take() else { return Ok(None) };
            let exists = self.target.is_some();
            return self.add(window, None, PathBuf::new(), root, exists).await.map(Some);
        };
        let Some(entry) = at.directory.entries.get(at.next) else {
            window.full.extend(self.open.pop().map(|done| done.folder));
            return Ok(Some(0));
        };
        at.next += 1;
        let (entry, exists, folder) = (entry.clone(), at.exists, at.folder.clone());
        let path = folder.path.join(safe_name(&entry.name, &folder.path)?);
        self.add(window, Some(folder), path, entry, exists).await.map(Some)
    }

    async fn add(
        &mut self,
        window: &mut Window,
        folder: Option<Arc<PlannedFolder>>,
        path: PathBuf,
        entry: DirEntry,
        exists: bool,
    ) -> Result<u64> {
        if self.stage.is_some_and(|stage| stage.leaves_alone(&path)) {
            return Ok(1);
        }
        if path.as_os_str().len() > PATH_BYTES_MAX {
            return self.give_up(window, &path, too_long(&path));
        }
        let selection = &self.options.selection;
        if !selection.is_all()
            && !path.as_os_str().is_empty()
            && (selection.rules_out(&path, entry.is_dir())
                || !entry.is_dir() && !selection.takes(&path))
        {
            return Ok(1);
        }
        let existing = exists.then(|| self.existing(&path, &entry)).flatten();
        match entry.kind {
            EntryKind::Directory => self.add_folder(window, path, entry, existing).await,
            EntryKind::File | EntryKind::Symlink => {
                self.add_leaf(window, folder, &path, entry, existing)
            }
            EntryKind::Unknown => {
                let reason = "the snapshot holds an entry of a kind that is not known".to_owned();
                let named = path.to_string_lossy().into_owned();
                let error = SnapshotError::NotRestored { path: named, reason, cause: None };
                self.give_up(window, &path, error)
            }
        }
    }

    /// An entry that can't be restored: the end of the plan, or an entry left out of it.
    fn give_up(&self, window: &mut Window, path: &Path, error: SnapshotError) -> Result<u64> {
        if !self.options.ignore_errors {
            return Err(error);
        }
        let reason = match &error {
            // The path stands beside it already.
            SnapshotError::NotRestored { reason, .. } => reason.clone(),
            other => other.to_string(),
        };
        window.failures.push(RestoreFailure::new(path, error.blob(), reason));
        if self.stage.is_some() {
            window.given_up.push(path.to_owned());
        }
        Ok(1)
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

    async fn add_folder(
        &mut self,
        window: &mut Window,
        path: PathBuf,
        entry: DirEntry,
        existing: Option<Existing>,
    ) -> Result<u64> {
        if let Some(Err(error)) = existing.as_ref().map(|it| check_folder(it, self.options)) {
            return self.give_up(window, &path, error);
        }
        // What comes after it, the innermost first.
        let rest = self.open.iter().rev().flat_map(|open| &open.directory.entries[open.next..]);
        let next = rest.filter(|entry| entry.is_dir());
        let directory = match self.directories.get(&entry, next).await {
            Ok(directory) => directory,
            Err(error) => return self.give_up(window, &path, error),
        };
        let mut names = Vec::new();
        if self.options.delete_extra {
            names
                .extend(directory.entries.iter().map(|below| (below.name.clone(), below.is_dir())));
        }
        let folder = Arc::new(PlannedFolder { path, attributes: (&entry).into(), names });
        window.folders.push(folder.clone());
        self.open.push(OpenFolder { folder, directory, next: 0, exists: existing.is_some() });
        Ok(1)
    }

    fn add_leaf(
        &mut self,
        window: &mut Window,
        folder: Option<Arc<PlannedFolder>>,
        path: &Path,
        entry: DirEntry,
        existing: Option<Existing>,
    ) -> Result<u64> {
        if let Some(existing) = &existing {
            if self.options.skip_existing && is_same(&existing.local, &entry) {
                window.skipped.0 += 1;
                window.skipped.1 += entry.size;
                return Ok(1);
            }
            if let Err(error) = check_overwrite(existing, entry.kind, self.options) {
                return self.give_up(window, path, error);
            }
        }
        let taken = 1 + entry.size / ENTRY_BYTES;
        let leaf = PlannedLeaf {
            folder,
            attributes: (&entry).into(),
            size: entry.size,
            object: entry.object,
            pieces: None,
            name: entry.name.into(),
        };
        match entry.kind {
            EntryKind::Symlink => window.links.push(leaf),
            _ => window.files.push(leaf),
        }
        Ok(taken)
    }

    /// Gives the files of a window their lists of pieces, which are read together.
    async fn add_pieces(&mut self, window: &mut Window) -> Result<()> {
        let is_list = |leaf: &PlannedLeaf| leaf.object.indirection() > 0 && leaf.piece_count() > 0;
        let wanted = window.leaves().filter(|leaf| is_list(leaf)).map(|leaf| leaf.object);
        let lists = read_lists(self.repo, wanted).await?;
        for links in [false, true] {
            let leaves = if links { &mut window.links } else { &mut window.files };
            let mut kept = Vec::with_capacity(leaves.len());
            for mut leaf in std::mem::take(leaves) {
                if is_list(&leaf) {
                    let found = match lists.get(&leaf.object) {
                        Some(pieces) => Ok(pieces.clone()),
                        None => self.pieces(&leaf.object).await,
                    };
                    match found {
                        Ok(pieces) => leaf.pieces = Some(pieces.into()),
                        Err(error) => {
                            self.give_up(window, &leaf.path(), error.into())?;
                            continue;
                        }
                    }
                }
                kept.push(leaf);
            }
            *(if links { &mut window.links } else { &mut window.files }) = kept;
        }
        Ok(())
    }

    /// The pieces of an object whose list goes deeper or could not be read with the others.
    async fn pieces(&self, object: &ObjectId) -> Result<Vec<ObjectChunk>, RepoError> {
        match self.repo.object_contents(object).await {
            Ok(contents) => Ok(contents.chunks),
            // It is planned all the same: the plan lists all contents that are lost, not only the
            // first.
            Err(RepoError::ContentNotFound { id, .. }) if id == object.content_id() => {
                Ok(vec![ObjectChunk { content: id, compressed: false, offset: 0, length: None }])
            }
            Err(error) => Err(error),
        }
    }

    /// Plans what has to be fetched for a window, in the order of its entries.
    async fn add_reads(&self, window: &mut Window) -> Result<()> {
        let index = self.repo.index().await?;
        if let Some(stage) = self.stage {
            for leaves in [&mut window.files, &mut window.links] {
                let mut kept = Vec::with_capacity(leaves.len());
                for leaf in std::mem::take(leaves) {
                    let mut from = 0;
                    for piece in leaf.all_pieces() {
                        let entry = index.find(&piece.content).map_err(SnapshotError::from)?;
                        from = from.max(entry.map_or(0, |entry| stage.of(&entry.pack)));
                    }
                    if stage.takes(&leaf, from) {
                        kept.push(leaf);
                    }
                }
                *leaves = kept;
            }
        }
        let (mut entries, mut missing) = (Vec::new(), Vec::new());
        for piece in window.leaves().flat_map(PlannedLeaf::all_pieces) {
            match index.find(&piece.content).map_err(SnapshotError::from)? {
                Some(entry) => entries.push(entry),
                None => missing.push(piece.content),
            }
        }
        window.reads = self.repo.plan_entries(entries);
        missing.sort_unstable();
        missing.dedup();
        window.reads.missing = missing;
        Ok(())
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
