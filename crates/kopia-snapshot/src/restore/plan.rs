//! What a restore will write, and what it needs for that.

use std::{
    collections::HashMap,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use kopia_format::{
    ContentId,
    directory::{DirEntry, EntryKind},
};
use kopia_repo::{ObjectChunk, PackState, ReadPlan, Repository};

use super::options::RestoreOptions;
use crate::{
    error::{Result, SnapshotError},
    source::LocalEntry,
    tree::read_directory,
};

/// A folder to make. The first one of a plan is the target itself, unless that is a file.
#[derive(Debug, Clone)]
pub struct PlannedFolder {
    /// Path below the target; empty for the target itself.
    pub path: PathBuf,
    /// What the snapshot says of it.
    pub entry: DirEntry,
    /// The names in it, for `--delete-extra`.
    pub(super) names: Vec<(Vec<u8>, bool)>,
}

/// A file to write.
#[derive(Debug, Clone)]
pub struct PlannedFile {
    /// Path below the target; empty if the target is the file.
    pub path: PathBuf,
    /// What the snapshot says of it.
    pub entry: DirEntry,
    /// Its contents in order.
    pub chunks: Vec<ObjectChunk>,
}

/// A link to make.
#[derive(Debug, Clone)]
pub struct PlannedLink {
    /// Path below the target.
    pub path: PathBuf,
    /// What the snapshot says of it.
    pub entry: DirEntry,
    /// The contents of its target text.
    pub chunks: Vec<ObjectChunk>,
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

/// What a restore will write, and which bytes of which packs it needs for that.
#[derive(Debug, Clone, Default)]
pub struct RestorePlan {
    /// Folders, each after the one that holds it.
    pub folders: Vec<PlannedFolder>,
    /// Files.
    pub files: Vec<PlannedFile>,
    /// Links.
    pub links: Vec<PlannedLink>,
    /// Entries left alone, and their bytes.
    pub skipped: (u64, u64),
    /// Entries of a kind that cannot be restored.
    pub unsupported: Vec<PathBuf>,
    /// The bytes needed, by pack.
    pub reads: ReadPlan,
}

impl RestorePlan {
    /// Plans to restore `root` to `target`; `None` when the target is no folder of this machine (an archive). Reads
    /// directories, indexes and a listing of packs; no pack of file data.
    ///
    /// # Errors
    /// What the repository says; [`SnapshotError::Invalid`] when something exists that must not be overwritten.
    pub async fn of(
        repo: &Repository,
        root: &DirEntry,
        target: Option<&Path>,
        options: &RestoreOptions,
    ) -> Result<Self> {
        let mut plan = Self::default();
        let mut walk = vec![(PathBuf::new(), root.clone())];
        while let Some((path, entry)) = walk.pop() {
            match entry.kind {
                EntryKind::Directory => plan.add_folder(repo, path, entry, &mut walk).await?,
                EntryKind::Unknown => plan.unsupported.push(path),
                EntryKind::File | EntryKind::Symlink => {
                    plan.add_leaf(repo, path, entry, target, options).await?;
                }
            }
        }
        if let Some(target) = target {
            plan.check_target(target, options)?;
        }
        let wanted: Vec<ContentId> = plan.wanted().map(|chunk| chunk.content).collect();
        plan.reads = repo.read_plan(wanted).await?;
        Ok(plan)
    }

    async fn add_folder(
        &mut self,
        repo: &Repository,
        path: PathBuf,
        entry: DirEntry,
        walk: &mut Vec<(PathBuf, DirEntry)>,
    ) -> Result<()> {
        let directory = read_directory(repo, &entry.object).await?;
        let mut names = Vec::with_capacity(directory.entries.len());
        // Taken from the end, so that entries come in their stored order.
        for below in directory.entries.into_iter().rev() {
            let name = safe_name(&below.name, &path)?.to_owned();
            names.push((below.name.clone(), below.kind == EntryKind::Directory));
            walk.push((path.join(name), below));
        }
        self.folders.push(PlannedFolder { path, entry, names });
        Ok(())
    }

    async fn add_leaf(
        &mut self,
        repo: &Repository,
        path: PathBuf,
        entry: DirEntry,
        target: Option<&Path>,
        options: &RestoreOptions,
    ) -> Result<()> {
        let place = target.map(|target| join(target, &path));
        let existing = place.as_deref().and_then(|place| LocalEntry::at(place).ok());
        if options.skip_existing && existing.as_ref().is_some_and(|e| is_same(e, &entry)) {
            self.skipped.0 += 1;
            self.skipped.1 += entry.size;
            return Ok(());
        }
        if let (Some(place), Some(existing)) = (&place, &existing) {
            check_overwrite(place, existing, entry.kind, options)?;
        }
        let is_empty = entry.kind == EntryKind::File && entry.size == 0;
        let chunks =
            if is_empty { Vec::new() } else { repo.object_contents(&entry.object).await?.chunks };
        match entry.kind {
            EntryKind::Symlink => self.links.push(PlannedLink { path, entry, chunks }),
            _ => self.files.push(PlannedFile { path, entry, chunks }),
        }
        Ok(())
    }

    fn check_target(&self, target: &Path, options: &RestoreOptions) -> Result<()> {
        for folder in &self.folders {
            let place = join(target, &folder.path);
            match LocalEntry::at(&place) {
                Err(_) => {}
                Ok(found) if found.kind == crate::source::EntryKind::Directory => {
                    let is_empty =
                        std::fs::read_dir(&place).is_ok_and(|mut all| all.next().is_none());
                    if !options.overwrite_directories && !is_empty {
                        return Err(exists(&place, "a folder that is not empty"));
                    }
                }
                // The target itself may be a link to a folder; nothing below it may.
                Ok(_) if folder.path.as_os_str().is_empty() && place.is_dir() => {}
                Ok(_) => return Err(exists(&place, "not a folder")),
            }
        }
        Ok(())
    }

    /// Every content that the plan needs, as often as it is needed.
    fn wanted(&self) -> impl Iterator<Item = &ObjectChunk> {
        let files = self.files.iter().flat_map(|file| &file.chunks);
        files.chain(self.links.iter().flat_map(|link| &link.chunks))
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.entry.size).sum()
    }

    /// The packs that have to be thawed first.
    pub fn cold(&self) -> Vec<ColdPack> {
        let cold = self.reads.cold().map(|pack| ColdPack {
            blob: pack.pack.clone(),
            class: pack.class.clone(),
            size: pack.size,
        });
        cold.collect()
    }

    /// The packs that do not exist, and the contents that no index knows.
    pub fn lost(&self) -> (Vec<String>, Vec<ContentId>) {
        let missing = self.reads.packs.iter().filter(|pack| pack.state == PackState::Missing);
        (missing.map(|pack| pack.pack.clone()).collect(), self.reads.missing.clone())
    }

    /// Which files and links want a content, and where in each: by its index in files, then links.
    pub(super) fn targets(&self) -> HashMap<ContentId, Vec<Target>> {
        let mut all: HashMap<ContentId, Vec<Target>> = HashMap::new();
        let lists = self.files.iter().map(|f| (&f.chunks, f.entry.size));
        let lists = lists.chain(self.links.iter().map(|l| (&l.chunks, l.entry.size)));
        for (item, (chunks, size)) in lists.enumerate() {
            for chunk in chunks {
                all.entry(chunk.content).or_default().push(Target {
                    item,
                    offset: chunk.offset,
                    length: chunk.length.unwrap_or(size),
                    compressed: chunk.compressed,
                });
            }
        }
        all
    }
}

/// One place that a content goes to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    /// Which file; numbers after the last file are links.
    pub item: usize,
    /// Where in it.
    pub offset: u64,
    /// How many bytes, uncompressed.
    pub length: u64,
    /// Is the content compressed at the object layer?
    pub compressed: bool,
}

/// `target` with `path` below it; the target itself for the empty path.
pub(super) fn join(target: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { target.to_owned() } else { target.join(path) }
}

/// A name that can only be an entry of its folder: a snapshot must not write elsewhere, whoever made it.
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

fn check_overwrite(
    place: &Path,
    existing: &LocalEntry,
    kind: EntryKind,
    options: &RestoreOptions,
) -> Result<()> {
    use crate::source::EntryKind as Local;
    match (kind, existing.kind) {
        (EntryKind::Symlink, Local::Symlink) if options.overwrite_symlinks => Ok(()),
        (EntryKind::Symlink, Local::Symlink) => Err(exists(place, "a link")),
        (EntryKind::File, Local::File | Local::Symlink) if options.overwrite_files => Ok(()),
        (EntryKind::File, Local::File | Local::Symlink) => Err(exists(place, "a file")),
        (_, Local::Directory) => Err(exists(place, "a folder")),
        _ => Err(exists(place, "something else")),
    }
}

/// Is the local entry what a restore would make of it? As in Kopia: same size, times less than two seconds apart; any
/// link will do for a link.
fn is_same(local: &LocalEntry, entry: &DirEntry) -> bool {
    use crate::source::EntryKind as Local;
    match (entry.kind, local.kind) {
        (EntryKind::Symlink, Local::Symlink) => true,
        (EntryKind::File, Local::File) => {
            local.size == entry.size && local.mtime.abs_diff(entry.mtime) < 2_000_000_000
        }
        _ => false,
    }
}
