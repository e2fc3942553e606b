//! What has been met so far, and what a folder or list that was read adds to it.
//!
//! Threads share one [`Walk`].

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use kopia_format::{
    ContentId, ObjectId,
    directory::{DirEntry, Directory, EntryKind},
    indirect::IndirectObject,
};
use kopia_repo::{Marked, RepoError};

use super::{marks::LiveMarks, place::Place};
use crate::error::{Result, SnapshotError};

/// Something that names other objects and has to be read for that.
pub(super) struct Task {
    pub kind: Kind,
    pub object: ObjectId,
    pub place: Arc<Place>,
}

/// What it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Entries of a folder.
    Folder,
    /// Pieces of an object.
    List,
}

/// What is to be read next.
#[derive(Default)]
pub(super) struct Found {
    pub folders: Vec<Task>,
    pub lists: Vec<Task>,
}

/// What the threads of a walk share.
pub(super) struct Walk {
    marks: LiveMarks,
    /// The folders and lists that are no single content: bits of contents can't tell `Ix…` and
    /// `IIx…` apart, which have the same one. There are few: one is longer than a content.
    others: Mutex<HashSet<(Kind, ObjectId)>>,
    directories: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
    contents: AtomicU64,
}

impl Task {
    /// The object with the bytes that are to be read.
    pub fn wanted(&self) -> ObjectId {
        wanted(self.kind, &self.object)
    }

    /// The content that has just these bytes, if there is one.
    pub fn content(&self) -> Option<ContentId> {
        single(&self.wanted())
    }

    /// What is wrong with it, with its name.
    pub fn failed(&self, source: impl Into<SnapshotError>) -> SnapshotError {
        failed(&self.place, &self.object, source.into())
    }
}

fn wanted(kind: Kind, object: &ObjectId) -> ObjectId {
    match kind {
        Kind::Folder => *object,
        // A list is made of objects that are lists alone.
        Kind::List => object.unwrapped().unwrap_or(*object),
    }
}

fn single(object: &ObjectId) -> Option<ContentId> {
    (object.indirection() == 0 && !object.is_compressed()).then(|| object.content_id())
}

fn failed(place: &Place, object: &ObjectId, source: SnapshotError) -> SnapshotError {
    SnapshotError::NotWalked { path: place.path(), object: *object, source: Box::new(source) }
}

impl Walk {
    /// A walk that goes on from `marks`.
    pub fn new(marks: LiveMarks) -> Self {
        Self {
            marks,
            others: Mutex::default(),
            directories: AtomicU64::new(0),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            contents: AtomicU64::new(0),
        }
    }

    /// What is marked.
    pub fn marks(&self) -> &LiveMarks {
        &self.marks
    }

    /// What was counted.
    pub fn stats(&self) -> super::LiveStats {
        super::LiveStats {
            directories: self.directories.load(Relaxed),
            files: self.files.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            contents: self.contents.load(Relaxed),
            ..super::LiveStats::default()
        }
    }

    /// Marks the contents of an entry, as far as its ID tells them. What has to be read to know
    /// more goes to `found`, if it is met for the first time.
    pub fn meet(
        &self,
        entry: &DirEntry,
        place: &dyn Fn() -> Arc<Place>,
        found: &mut Found,
    ) -> Result<()> {
        let object = entry.object;
        match entry.kind {
            EntryKind::File | EntryKind::Symlink => {
                self.files.fetch_add(1, Relaxed);
                self.bytes.fetch_add(entry.size, Relaxed);
            }
            EntryKind::Directory => {}
            // Of a kind that is not known it is not known either what it needs.
            EntryKind::Unknown => {
                let expected = "a file, a folder or a link";
                let source = SnapshotError::WrongKind { object, expected };
                return Err(failed(&place(), &object, source));
            }
        }
        self.mark(object, place, found)?;
        if entry.is_dir() && self.is_first(Kind::Folder, &object)? {
            found.folders.push(Task { kind: Kind::Folder, object, place: place() });
        }
        Ok(())
    }

    /// Marks the one content that the ID of an object has in it, and notes the lists over it.
    fn mark(
        &self,
        object: ObjectId,
        place: &dyn Fn() -> Arc<Place>,
        found: &mut Found,
    ) -> Result<()> {
        let id = object.content_id();
        match self.marks.live.mark(&id)? {
            Marked::First => _ = self.contents.fetch_add(1, Relaxed),
            Marked::Again => {}
            Marked::Missing => {
                let error = self.marks.live.view().not_found(id);
                return Err(failed(&place(), &object, error.into()));
            }
        }
        let mut list = object;
        while let Some(inner) = list.unwrapped() {
            if self.is_first(Kind::List, &list)? {
                found.lists.push(Task { kind: Kind::List, object: list, place: place() });
            }
            list = inner;
        }
        Ok(())
    }

    /// Is it to be read for the first time?
    fn is_first(&self, kind: Kind, object: &ObjectId) -> Result<bool> {
        let Some(content) = single(&wanted(kind, object)) else {
            let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
            return Ok(others.insert((kind, *object)));
        };
        let met = match kind {
            Kind::Folder => &self.marks.walked,
            Kind::List => &self.marks.taken_apart,
        };
        Ok(met.mark(&content)? == Marked::First)
    }

    /// Marks all that a folder or list names, of which these are the bytes.
    pub fn take(&self, task: &Task, bytes: &[u8], found: &mut Found) -> Result<()> {
        match task.kind {
            Kind::Folder => {
                let what = format!("directory object {}", task.object);
                let directory = Directory::parse(bytes).map_err(SnapshotError::format(what));
                self.directories.fetch_add(1, Relaxed);
                for entry in directory.map_err(|error| task.failed(error))?.entries {
                    self.meet(&entry, &|| task.place.below(&entry.name), found)?;
                }
            }
            Kind::List => {
                let list = IndirectObject::parse(bytes).map_err(|error| {
                    let (id, reason) = (task.object, error.to_string());
                    task.failed(RepoError::ObjectDamaged { id, reason })
                })?;
                for piece in list.entries {
                    self.mark(piece.object, &|| Arc::clone(&task.place), found)?;
                }
            }
        }
        Ok(())
    }
}
