//! What must be true at any moment.
//!
//! Every snapshot that somebody was told to be there is there, and whole, byte for byte; so is every
//! other that can be seen; one that somebody was told to be deleted stays away; no index entry names
//! a pack that is not there. It is looked at through a client that has just been opened.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map::Entry};

use blob_core::{BlobStorage, Clock};
use futures::StreamExt;
use kopia_format::{ContentId, ObjectId, directory::DirEntry, snapshot::SnapshotManifest};
use kopia_repo::{EntryFilter, Marks, Repository};
use kopia_snapshot::{
    live::{live_roots, mark_live},
    manifests,
    tree::read_directory,
};
use tokio_util::sync::CancellationToken;

use crate::{chance::Chance, machine::full_text, template, tree::Piece, world::World};

/// A client with a right clock and no network between.
///
/// # Errors
/// Why it can't be opened, in words.
pub async fn open(world: &World) -> Result<Repository, String> {
    let mut chance = Chance::new(world.now_secs() as u64, 9);
    let env = template::env(world.clock.clone(), &mut chance);
    let storage = std::sync::Arc::new(world.storage.clone());
    let opened = world.template.open(storage, "check", env).await;
    opened.map_err(|error| format!("the repository can't be opened: {}", full_text(&error)))
}

/// Looks at everything; what is wrong ends the simulation.
pub async fn all(world: &World, who: &str) {
    if world.has_failed() {
        return;
    }
    match look(world).await {
        Ok(()) => world.count("checks"),
        Err(wrong) => world.fail(who, wrong),
    }
}

async fn look(world: &World) -> Result<(), String> {
    let (promised, gone) = {
        let ledger = world.ledger();
        (ledger.there.clone(), ledger.gone.clone())
    };
    let repo = open(world).await?;
    let found = manifests::find(&repo, &[]).await;
    let found =
        found.map_err(|error| format!("snapshots can't be listed: {}", full_text(&error)))?;
    let ids: HashSet<_> = found.iter().map(|manifest| &manifest.id).collect();
    for (id, name) in &promised {
        // It may have been deleted while this was looked at.
        if !ids.contains(id) && world.ledger().there.contains_key(id) {
            return Err(format!("snapshot {name} is lost"));
        }
    }
    if let Some(back) = gone.iter().find(|id| ids.contains(id)) {
        return Err(format!("snapshot {back} was deleted and is back"));
    }
    packs_are_there(world, &repo).await?;
    let mut read = HashMap::new();
    for manifest in &found {
        snapshot(world, &repo, manifest, &mut read)
            .await
            .map_err(|error| format!("snapshot {}: {error}", manifest.description))?;
    }
    Ok(())
}

async fn packs_are_there(world: &World, repo: &Repository) -> Result<(), String> {
    let view = repo.index().await.map_err(|error| full_text(&error))?;
    let packs = sizes(world).await;
    for entry in view.iter(&EntryFilter::with_deleted()) {
        let end = u64::from(entry.offset) + u64::from(entry.packed_length);
        let wrong = match packs.get(&*entry.pack) {
            Some(size) if end <= *size => continue,
            // Its deletion is final: nobody looks for it.
            _ if entry.is_dropped_by(view.watermark()) => continue,
            Some(_) => "is too short for",
            None => "is not there, with",
        };
        let deleted = if entry.deleted { ", which is deleted" } else { "" };
        return Err(format!("pack {} {wrong} content {}{deleted}", entry.pack, entry.id));
    }
    Ok(())
}

/// The packs in the storage, with their bytes.
pub async fn sizes(world: &World) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for prefix in ["p", "q"] {
        let mut listed = world.storage.list(prefix);
        while let Some(Ok(meta)) = listed.next().await {
            all.insert(meta.id.as_str().to_owned(), meta.size);
        }
    }
    all
}

type Read = HashMap<ObjectId, Result<BTreeMap<String, Piece>, String>>;

async fn snapshot(
    world: &World,
    repo: &Repository,
    manifest: &SnapshotManifest,
    read: &mut Read,
) -> Result<(), String> {
    let wanted = world.ledger().trees.get(&manifest.description).cloned();
    let wanted = wanted.ok_or("nobody has written it")?;
    let root = manifest.root_entry.as_ref().ok_or("it has no root")?;
    let folders = read_directory(repo, &root.object).await;
    let folders = folders.map_err(|error| full_text(&error))?;
    let names: BTreeSet<_> =
        folders.entries.iter().map(|it| it.name_lossy().into_owned()).collect();
    if names != wanted.0.keys().cloned().collect() {
        return Err("its root has other folders".into());
    }
    for entry in &folders.entries {
        if let Entry::Vacant(unread) = read.entry(entry.object) {
            unread.insert(folder(repo, &entry.object).await);
        }
        let files = read[&entry.object].as_ref().map_err(Clone::clone)?;
        if wanted.0.get(&*entry.name_lossy()) != Some(files) {
            return Err(format!("its folder {} has other files", entry.name_lossy()));
        }
    }
    Ok(())
}

/// The files of a folder, each of which has the bytes that it should.
async fn folder(repo: &Repository, object: &ObjectId) -> Result<BTreeMap<String, Piece>, String> {
    let directory = read_directory(repo, object).await.map_err(|error| full_text(&error))?;
    let mut files = BTreeMap::new();
    for file in directory.entries {
        let piece = Piece { number: file.mtime as u64, length: file.size as usize };
        let bytes = repo.read_object(&file.object, file.size).await;
        let bytes =
            bytes.map_err(|error| format!("{}: {}", file.name_lossy(), full_text(&error)))?;
        if bytes != piece.bytes() {
            return Err(format!("{} has other bytes", file.name_lossy()));
        }
        files.insert(file.name_lossy().into_owned(), piece);
    }
    Ok(files)
}

/// All contents below an entry.
///
/// # Errors
/// What reading may give.
pub async fn contents_of(
    repo: &Repository,
    root: &DirEntry,
) -> kopia_snapshot::Result<BTreeSet<ContentId>> {
    let mut all = BTreeSet::new();
    let mut entries = vec![root.clone()];
    while let Some(entry) = entries.pop() {
        let contents = repo.object_contents(&entry.object).await?;
        all.extend(contents.indexes);
        all.extend(contents.chunks.iter().map(|chunk| chunk.content));
        if entry.is_dir() {
            entries.extend(read_directory(repo, &entry.object).await?.entries);
        }
    }
    Ok(all)
}

/// The packs that hold nothing that anything needs, and the markers.
///
/// # Errors
/// Why that can't be told, in words.
pub async fn garbage(world: &World) -> Result<BTreeSet<String>, String> {
    let repo = open(world).await?;
    let text = |error: kopia_repo::RepoError| full_text(&error);
    let marks = Marks::new(repo.index().await.map_err(text)?);
    let roots = live_roots(&repo).await.map_err(|error| full_text(&error))?;
    let stop = CancellationToken::new();
    let marked = mark_live(&repo, &marks, &roots, &|_| {}, &stop).await;
    marked.map_err(|error| full_text(&error))?;
    let mut all: BTreeSet<String> = sizes(world).await.into_keys().collect();
    for (entry, is_marked) in marks.entries() {
        let is_manifest = entry.id.prefix() == Some(b'm') && !entry.deleted;
        if is_marked || is_manifest {
            all.remove(&*entry.pack);
        }
    }
    let mut markers = world.storage.list("s");
    while let Some(Ok(meta)) = markers.next().await {
        all.insert(meta.id.as_str().to_owned());
    }
    let _ = world.clock.now();
    Ok(all)
}
