//! What a restore will write, and what it needs for that.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use kopia_format::{ContentId, directory::DirEntry};
use kopia_repo::{ObjectChunk, PackReads, PackState, ReadPlan};

use super::events::RestoreFailure;

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
    /// Entries that can't be restored, as far as planning finds out: of an unknown kind, in a folder
    /// or with a list of pieces that can't be read, or with something in their place that must stay.
    /// There are none unless errors are to be ignored.
    pub failures: Vec<RestoreFailure>,
    /// The bytes needed, by pack.
    pub reads: ReadPlan,
}

impl RestorePlan {
    /// Every content that the plan needs, as often as it is needed.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &ObjectChunk> {
        let files = self.files.iter().flat_map(|file| &file.chunks);
        files.chain(self.links.iter().flat_map(|link| &link.chunks))
    }

    /// Keeps the entries whose path `keeps` is true for.
    pub(super) fn retain(&mut self, keeps: impl Fn(&Path) -> bool) {
        self.folders.retain(|folder| keeps(&folder.path));
        self.files.retain(|file| keeps(&file.path));
        self.links.retain(|link| keeps(&link.path));
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

    /// The packs that do not exist or are cut, and the contents that no index knows.
    pub fn lost(&self) -> (Vec<String>, Vec<ContentId>) {
        let lost = self.reads.packs.iter().filter(|p| p.state == PackState::Missing || is_cut(p));
        (lost.map(|pack| pack.pack.clone()).collect(), self.reads.missing.clone())
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

/// Does the plan need bytes behind the end of the pack?
fn is_cut(pack: &PackReads) -> bool {
    let end = pack.ranges.last().map_or(0, |range| range.offset + range.length);
    pack.size.is_some_and(|size| size < end)
}

/// `target` with `path` below it; the target itself for the empty path.
pub(super) fn join(target: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { target.to_owned() } else { target.join(path) }
}
