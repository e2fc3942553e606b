//! A part of a restore that is planned, fetched and written in one go.
//!
//! Windows follow one another in the order of the tree, so that memory is bounded by the window and
//! not by the tree. What is known of an entry is kept short: there are tens of thousands of them.

use std::{
    collections::HashMap,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use kopia_format::{
    ContentId, ObjectId,
    directory::{DirEntry, EntryKind},
};
use kopia_repo::{ObjectChunk, ReadPlan};

use super::{
    events::RestoreFailure,
    plan::{PlannedPack, RestorePlan},
    trouble::Trouble,
};

/// What the snapshot says of an entry besides its name and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attributes {
    pub kind: EntryKind,
    /// As in the directory object: Go's bits.
    pub mode: u32,
    /// Nanoseconds since 1970.
    pub mtime: i64,
    pub uid: u32,
    pub gid: u32,
}

impl From<&DirEntry> for Attributes {
    fn from(entry: &DirEntry) -> Self {
        let DirEntry { kind, mode, mtime, uid, gid, .. } = *entry;
        Self { kind, mode, mtime, uid, gid }
    }
}

/// A folder to make.
#[derive(Debug)]
pub(super) struct PlannedFolder {
    /// Path below the target; empty for the target itself.
    pub path: PathBuf,
    pub attributes: Attributes,
    /// The names in it and which of them are folders, if what else is there is to be deleted.
    pub names: Vec<(Vec<u8>, bool)>,
}

/// A file to write or a link to make.
#[derive(Debug)]
pub(super) struct PlannedLeaf {
    /// The folder that holds it; `None` if it is the target itself.
    pub folder: Option<Arc<PlannedFolder>>,
    pub name: Box<[u8]>,
    pub attributes: Attributes,
    /// Bytes of the file, or of the link's text.
    pub size: u64,
    pub object: ObjectId,
    /// The pieces of the object, in order; `None` if it is one content.
    pub pieces: Option<Box<[ObjectChunk]>>,
}

/// What one content gives to a file or link.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub content: ContentId,
    /// Where its bytes begin.
    pub offset: u64,
    /// How many there must be, uncompressed; `None` if the content alone says so.
    pub length: Option<u64>,
    /// Is the content compressed at the object layer?
    pub compressed: bool,
}

impl PlannedLeaf {
    /// Its path below the target; empty if it is the target.
    pub fn path(&self) -> PathBuf {
        match &self.folder {
            Some(folder) => folder.path.join(OsStr::from_bytes(&self.name)),
            None => PathBuf::new(),
        }
    }

    /// How many contents it is made of.
    pub fn piece_count(&self) -> usize {
        match &self.pieces {
            Some(pieces) => pieces.len(),
            None if self.attributes.kind == EntryKind::File && self.size == 0 => 0,
            None => 1,
        }
    }

    /// One of them.
    pub fn piece(&self, number: usize) -> Piece {
        let Some(pieces) = &self.pieces else {
            let compressed = self.object.is_compressed();
            let length = compressed.then_some(self.size);
            return Piece { content: self.object.content_id(), offset: 0, length, compressed };
        };
        let ObjectChunk { content, compressed, offset, length } = pieces[number];
        Piece { content, offset, length: Some(length.unwrap_or(self.size)), compressed }
    }

    /// All of them, in order.
    pub fn all_pieces(&self) -> impl Iterator<Item = Piece> {
        (0..self.piece_count()).map(|number| self.piece(number))
    }
}

/// A part of a restore.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Folders to make, each after the one that holds it, which may be in a window before.
    pub folders: Vec<Arc<PlannedFolder>>,
    pub files: Vec<PlannedLeaf>,
    pub links: Vec<PlannedLeaf>,
    /// Folders that nothing is written into after this window, each after those below it.
    pub full: Vec<Arc<PlannedFolder>>,
    /// Entries left alone, and their bytes.
    pub skipped: (u64, u64),
    /// Entries that are known not to come back.
    pub failures: Vec<RestoreFailure>,
    /// Their paths below the target, where later stages have to know them.
    pub given_up: Vec<PathBuf>,
    /// The bytes needed, by pack.
    pub reads: ReadPlan,
}

impl Window {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Is there nothing to do and nothing to tell?
    pub fn is_empty(&self) -> bool {
        let nothing_told = self.failures.is_empty() && self.skipped == (0, 0);
        nothing_told
            && self.folders.is_empty()
            && self.full.is_empty()
            && self.files.is_empty()
            && self.links.is_empty()
    }

    /// Files, then links: the order of [`Wish::item`].
    pub fn leaves(&self) -> impl Iterator<Item = &PlannedLeaf> {
        self.files.iter().chain(&self.links)
    }

    /// Keeps what does not lie in one of `folders`.
    pub fn keep_outside(&mut self, folders: &[PathBuf]) {
        if folders.is_empty() {
            return;
        }
        let keeps = |path: &Path| !super::folders::is_below(path, folders);
        self.folders.retain(|folder| keeps(&folder.path));
        self.full.retain(|folder| keeps(&folder.path));
        self.files.retain(|file| keeps(&file.path()));
        self.links.retain(|link| keeps(&link.path()));
    }

    /// Where each content goes.
    pub fn wishes(&self) -> Wishes {
        let mut all: Vec<Wish> = Vec::with_capacity(self.files.len() + self.links.len());
        for (item, leaf) in (0..).zip(self.leaves()) {
            let pieces = (0..).zip(leaf.all_pieces());
            all.extend(pieces.map(|(piece, it)| Wish { content: it.content, item, piece }));
        }
        all.sort_unstable_by_key(|wish| (wish.content, wish.item, wish.piece));
        Wishes(all)
    }

    /// Takes what can't be read out of the reads: no request is made for it.
    pub fn take_unreadable(&mut self, barred: &HashMap<String, Trouble>) -> Vec<Unreadable> {
        let unknown = |id| Unreadable {
            id,
            trouble: Trouble::Unreadable(format!("content {id} is in no index"), None),
        };
        let missing = std::mem::take(&mut self.reads.missing);
        let mut all: Vec<_> = missing.into_iter().map(unknown).collect();
        self.reads.packs.retain(|pack| {
            let Some(trouble) = barred.get(&*pack.pack) else { return true };
            let contents = pack.ranges.iter().flat_map(|range| &range.contents);
            let unreadable = |id| Unreadable { id, trouble: trouble.clone() };
            all.extend(contents.map(|content| unreadable(content.id)));
            false
        });
        all
    }
}

/// A content that can't be read, as is known before anything is fetched.
pub(super) struct Unreadable {
    pub id: ContentId,
    pub trouble: Trouble,
}

/// A file or link that wants a content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    content: ContentId,
    /// Which file; numbers after the last file are links.
    pub item: u32,
    /// Which of its pieces.
    pub piece: u32,
}

/// Where each content of a window goes.
#[derive(Debug)]
pub(super) struct Wishes(Vec<Wish>);

impl Wishes {
    /// Whoever wants `content`.
    pub fn of(&self, content: ContentId) -> &[Wish] {
        let from = self.0.partition_point(|wish| wish.content < content);
        let all = &self.0[from..];
        &all[..all.iter().take_while(|wish| wish.content == content).count()]
    }
}

impl RestorePlan {
    /// The packs that are known not to be readable, and why.
    pub(super) fn barred_packs(&self) -> HashMap<String, Trouble> {
        let barred = self.packs.iter().filter_map(|pack| {
            let trouble = Trouble::Unreadable(pack.why_unread()?, Some(pack.pack.clone()));
            Some((pack.pack.clone(), trouble))
        });
        barred.collect()
    }
}

impl PlannedPack {
    /// Why it is known that it can't be read.
    pub(super) fn why_unread(&self) -> Option<String> {
        use kopia_repo::PackState::{Cold, Missing, Ready, Thawing, Unknown};
        let name = &self.pack;
        match self.state {
            Ready | Unknown => None,
            Missing => Some(format!("pack {name} does not exist")),
            Thawing => Some(format!("pack {name} is archived and is being thawed")),
            Cold => Some(format!("pack {name} is archived")),
        }
    }
}
