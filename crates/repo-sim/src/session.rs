//! Taking a snapshot, in the ways and within the times that the format allows.
//!
//! As an upload does it (docs/format/07-upload-restore.md §2): what has not changed since the
//! snapshot before is taken over by its object, if the index has that and it is not deleted; a long
//! session saves what it has every 45 minutes; at the end those checkpoints go. A session that takes
//! nothing over and finds nothing there may be longer: everything it needs is young.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kopia_format::{
    ManifestId, ObjectId,
    directory::{DirEntry, Directory, EntryKind},
    snapshot::{SnapshotManifest, Source},
    time::GoTime,
};
use kopia_repo::{IndexView, ObjectOptions, RepositoryWriter};
use kopia_snapshot::{Result, manifests, tree::read_directory};
use tokio::time::Instant;

use crate::{
    chance::Chance,
    tree::{Piece, Tree},
    world::World,
};

/// The longest time between two savings of a session that shares contents with others.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(45 * 60);

/// What the session is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Done as fast as the network allows.
    Quick,
    /// Takes up to so long, saved on the way.
    Long(Duration),
    /// Takes up to so long and is not saved on the way: all it writes is new.
    Stream(Duration),
    /// As new as that, and the machine sleeps for so long in between.
    Asleep(Duration),
}

impl Pace {
    /// How long all pauses are together.
    fn pauses(self) -> Duration {
        match self {
            Self::Quick => Duration::ZERO,
            Self::Long(all) | Self::Stream(all) | Self::Asleep(all) => all,
        }
    }

    /// Is everything in it new?
    pub fn is_new(self) -> bool {
        matches!(self, Self::Stream(_) | Self::Asleep(_))
    }
}

/// One session.
pub struct Session<'a> {
    /// What it lives in.
    pub world: &'a World,
    /// What it writes with.
    pub writer: &'a RepositoryWriter,
    /// Whose it is.
    pub source: &'a Source,
    /// How fast it is.
    pub pace: Pace,
    /// What it draws.
    pub chance: Chance,
    /// What it is called.
    pub name: String,
    /// As it was when the session began: what earlier snapshots had is looked up there.
    view: Arc<IndexView>,
    previous: Option<Directory>,
    saved_at: Instant,
    checkpoints: Vec<ManifestId>,
    /// How often there is a pause still.
    stops: u32,
    paused: Duration,
    done: Vec<DirEntry>,
    so_far: Tree,
}

impl<'a> Session<'a> {
    /// Begins: looks what the last snapshot has.
    pub async fn begin(
        world: &'a World,
        writer: &'a RepositoryWriter,
        source: &'a Source,
        pace: Pace,
        mut chance: Chance,
    ) -> Result<Self> {
        let repo = writer.repository();
        let all = manifests::of_source(repo, source).await?;
        let last = all.iter().rev().find(|manifest| manifest.incomplete.is_empty());
        let root = last.and_then(|manifest| manifest.root_entry.as_ref());
        let previous = match root.filter(|_| !pace.is_new()) {
            // One that can't be read only saves no work.
            Some(root) => read_directory(repo, &root.object).await.ok(),
            None => None,
        };
        let name = format!("{:016x}", chance.next());
        let view = repo.index().await?;
        Ok(Self {
            world,
            writer,
            source,
            pace,
            chance,
            name,
            view,
            previous,
            saved_at: Instant::now(),
            checkpoints: Vec::new(),
            stops: 0,
            paused: Duration::ZERO,
            done: Vec::new(),
            so_far: Tree::default(),
        })
    }

    /// Writes all of `tree`, and makes it a snapshot; `old` ones of the source go at the same time.
    pub async fn take(mut self, tree: &Tree, old: &[ManifestId]) -> Result<ManifestId> {
        self.stops = tree.pieces().count() as u32;
        for (name, files) in &tree.0 {
            let before = self.folder_before(name).await;
            let mut entries = Vec::new();
            for (name, piece) in files {
                self.pause(&entries).await?;
                entries.push(self.file(name, *piece, before.as_ref()).await?);
            }
            let object = self.folder(entries, before.as_ref()).await?;
            self.done.push(entry(name, EntryKind::Directory, object));
            self.so_far.0.insert(name.clone(), files.clone());
        }
        let id = self.save(&[], "").await?;
        for old in self.checkpoints.iter().chain(old) {
            self.world.ledger().leaves(old);
            self.writer.delete_manifest(old).await?;
        }
        self.writer.flush().await?;
        self.committed(&id, "");
        let mut ledger = self.world.ledger();
        ledger.gone.extend(self.checkpoints.iter().chain(old).cloned());
        ledger.known.extend(tree.pieces());
        Ok(id)
    }

    async fn folder_before(&self, name: &str) -> Option<Directory> {
        let entry = self.previous.as_ref()?.find(name.as_bytes())?;
        read_directory(self.writer.repository(), &entry.object).await.ok()
    }

    /// Its last content stands for the others, and one that is deleted may be dropped.
    fn is_there(&self, object: &ObjectId) -> bool {
        let found = self.view.find(&object.content_id());
        matches!(found, Ok(Some(entry)) if !entry.deleted)
    }

    async fn file(&self, name: &str, piece: Piece, before: Option<&Directory>) -> Result<DirEntry> {
        let before = before.and_then(|folder| folder.find(name.as_bytes()));
        if let Some(before) = before
            && before.mtime == piece.number as i64
            && self.is_there(&before.object)
        {
            return Ok(before.clone());
        }
        let options = ObjectOptions::default();
        let object = self.writer.write_object(piece.bytes(), options).await?;
        let mut file = entry(name, EntryKind::File, object);
        (file.mtime, file.size) = (piece.number as i64, piece.length as u64);
        Ok(file)
    }

    async fn folder(&self, entries: Vec<DirEntry>, before: Option<&Directory>) -> Result<ObjectId> {
        let mut directory = Directory { entries, ..Directory::default() };
        directory.sort();
        let _ = before;
        let options = ObjectOptions { prefix: Some(b'k'), ..ObjectOptions::default() };
        Ok(self.writer.write_object(directory.to_bytes().into(), options).await?)
    }

    /// Waits for its part of the time, and saves what there is when it is time.
    async fn pause(&mut self, open: &[DirEntry]) -> Result<()> {
        let left = self.pace.pauses().saturating_sub(self.paused);
        let part = match self.pace {
            // All in one, somewhere.
            Pace::Asleep(_) if self.chance.one_in(self.stops.max(1) as usize) => left,
            Pace::Asleep(_) => Duration::ZERO,
            _ => self.chance.span(Duration::ZERO, 2 * left / self.stops.max(1)),
        };
        self.stops = self.stops.saturating_sub(1);
        self.paused += part;
        let until = Instant::now() + part;
        while Instant::now() < until {
            let save_at = match self.pace.is_new() {
                true => until,
                false => self.saved_at + CHECKPOINT_EVERY,
            };
            tokio::time::sleep_until(until.min(save_at)).await;
            if !self.pace.is_new() && Instant::now() >= save_at {
                self.checkpoint(open).await?;
            }
        }
        Ok(())
    }

    async fn checkpoint(&mut self, open: &[DirEntry]) -> Result<()> {
        let id = self.save(open, "checkpoint").await?;
        self.writer.flush().await?;
        self.saved_at = Instant::now();
        self.committed(&id, &format!(" {}", self.checkpoints.len()));
        self.checkpoints.push(id);
        self.world.count("checkpoints");
        Ok(())
    }

    fn committed(&self, id: &ManifestId, suffix: &str) {
        let name = format!("{}{suffix}", self.name);
        self.world.ledger().comes(id, name);
    }

    /// Writes the root and the manifest, which nobody sees yet.
    async fn save(&self, open: &[DirEntry], incomplete: &str) -> Result<ManifestId> {
        let (mut root, mut tree) = (self.done.clone(), self.so_far.clone());
        if !open.is_empty() {
            let object = self.folder(open.to_vec(), None).await?;
            root.push(entry("open", EntryKind::Directory, object));
            let pieces = open.iter().map(|file| {
                let piece = Piece { number: file.mtime as u64, length: file.size as usize };
                (file.name_lossy().into_owned(), piece)
            });
            tree.0.insert("open".into(), pieces.collect::<BTreeMap<_, _>>());
        }
        let object = self.folder(root, None).await?;
        let name = match incomplete {
            "" => self.name.clone(),
            _ => format!("{} {}", self.name, self.checkpoints.len()),
        };
        self.world.ledger().trees.insert(name.clone(), Arc::new(tree));
        let now = GoTime::from_unix_nanos(self.writer.repository().env().clock.now().nanos());
        let manifest = SnapshotManifest {
            source: self.source.clone(),
            description: name,
            start_time: now,
            end_time: now,
            incomplete: incomplete.into(),
            root_entry: Some(entry("root", EntryKind::Directory, object)),
            ..SnapshotManifest::default()
        };
        manifests::save(self.writer, &manifest).await
    }
}

fn entry(name: &str, kind: EntryKind, object: ObjectId) -> DirEntry {
    DirEntry {
        name: name.as_bytes().to_vec(),
        kind,
        mode: 0o644,
        object,
        size: 0,
        mtime: 0,
        uid: 0,
        gid: 0,
        summary: None,
    }
}
