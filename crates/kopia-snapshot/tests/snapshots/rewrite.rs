//! Snapshots rewritten: folders that are lost, which no file tells of.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use blob_core::{BlobId, BlobStorage, MemoryStorage};
use blob_testkit::FaultyStorage;
use bytes::Bytes;
use kopia_format::{
    ManifestId,
    directory::{DirEntry, DirectoryBuilder, EntryKind},
    snapshot::{SnapshotManifest, Source},
};
use kopia_repo::{ObjectOptions, RepositoryWriter};
use kopia_snapshot::{
    Result, SnapshotError,
    glob::Glob,
    manifests,
    restore::RestoreOptions,
    rewrite::{Handling, RewriteEvent, Rewriter, Rule},
};
use tokio_util::sync::CancellationToken;

use crate::support::{Memory, copy, open_storage, plant, tree, write};

/// A file called `name`, made visible.
async fn file(writer: &RepositoryWriter, name: &str) -> DirEntry {
    let bytes = Bytes::from(format!("bytes of {name}"));
    let size = bytes.len() as u64;
    let object = writer.write_object(bytes, ObjectOptions::default()).await.unwrap();
    writer.flush().await.unwrap();
    let (name, kind) = (name.into(), EntryKind::File);
    DirEntry { name, kind, mode: 0o644, size, mtime: 7, object, ..DirEntry::default() }
}

/// A folder called `name`, made visible, in packs of its own.
async fn folder(writer: &RepositoryWriter, name: &str, entries: &[&DirEntry]) -> DirEntry {
    let mut builder = DirectoryBuilder::new();
    entries.iter().for_each(|entry| builder.add((*entry).clone()));
    let directory = builder.build(7, "");
    let options = ObjectOptions { prefix: Some(b'k'), ..ObjectOptions::default() };
    let object = writer.write_object(directory.to_bytes().into(), options).await.unwrap();
    writer.flush().await.unwrap();
    DirEntry {
        name: name.into(),
        kind: EntryKind::Directory,
        mode: 0o755,
        mtime: 7,
        object,
        summary: Some(directory.summary),
        ..DirEntry::default()
    }
}

/// A snapshot with the files `a` and `lost/b`, of which the folder `lost` is lost.
async fn with_a_lost_folder() -> (Memory, SnapshotManifest) {
    let memory = Memory::new().await;
    let writer = memory.repo.writer().unwrap();
    let (a, b) = (file(&writer, "a").await, file(&writer, "b").await);
    let lost = folder(&writer, "lost", &[&b]).await;
    let root = folder(&writer, "root", &[&lost, &a]).await;
    let entry = memory.repo.content_entry(&lost.object.content_id()).await.unwrap().unwrap();
    memory.blobs.delete(&BlobId::new(entry.pack.as_ref()).unwrap()).await.unwrap();
    let manifest = SnapshotManifest {
        id: ManifestId::new("00ff"),
        source: Source::new("h", "u", "/s"),
        root_entry: Some(root),
        ..SnapshotManifest::default()
    };
    // What this client has read is in its memory.
    (memory.reopened().await, manifest)
}

/// Rewrites, and gives what was told, too.
async fn rewritten(
    memory: &Memory,
    manifest: &SnapshotManifest,
    folders: Handling,
    writes: bool,
) -> (Result<Option<DirEntry>>, Vec<String>) {
    let told = Mutex::new(Vec::new());
    let tell = |event: RewriteEvent<'_>| {
        if let RewriteEvent::Invalid { path, is_dir, .. } = event {
            told.lock().unwrap().push(format!("{path} {is_dir}"));
        }
    };
    let writer = writes.then(|| memory.repo.writer().unwrap());
    let rule = Rule::Invalid { files: Handling::Stub, read_percent: 100.0 };
    let stop = CancellationToken::new();
    let rewriter = Rewriter::new(&memory.repo, writer.as_ref(), (rule, folders), &tell, stop).await;
    let new = rewriter.unwrap().rewrite(manifest).await;
    if let Some(writer) = writer {
        writer.flush().await.unwrap();
    }
    (new, told.into_inner().unwrap())
}

#[tokio::test]
async fn a_lost_folder_is_replaced_by_a_stub() {
    let (memory, manifest) = with_a_lost_folder().await;
    let (new, told) = rewritten(&memory, &manifest, Handling::Stub, true).await;
    assert_eq!(told, ["lost true"]);
    let new = new.unwrap().unwrap();
    let directory = memory.directory(new.object).await;
    let names: Vec<_> = directory.entries.iter().map(|entry| entry.name_lossy()).collect();
    assert_eq!(names, [".INVALID.lost", "a"]);
    let stub = &directory.entries[0];
    assert_eq!((stub.kind, stub.mode, stub.mtime), (EntryKind::File, 0o755, 7));
    let text = memory.repo.read_object(&stub.object, 1 << 20).await.unwrap();
    assert_eq!(text.len() as u64, stub.size);
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(value["entry"]["name"], "lost");
    let summary = new.summary.unwrap();
    assert_eq!((summary.files, summary.dirs, summary.size), (2, 1, stub.size + 10));
}

#[tokio::test]
async fn without_a_writer_it_is_only_said_to_change() {
    let (memory, manifest) = with_a_lost_folder().await;
    let before = memory.blobs.ids();
    let (new, told) = rewritten(&memory, &manifest, Handling::Stub, false).await;
    assert_eq!((new.unwrap().is_some(), told.len()), (true, 1));
    assert_eq!(memory.blobs.ids(), before);
}

#[tokio::test]
async fn it_may_stay_or_end_the_work() {
    let (memory, manifest) = with_a_lost_folder().await;
    let (new, _) = rewritten(&memory, &manifest, Handling::Keep, true).await;
    assert_eq!(new.unwrap(), None);
    let (new, told) = rewritten(&memory, &manifest, Handling::Fail, true).await;
    let error = new.unwrap_err();
    assert!(matches!(&error, SnapshotError::NotWalked { path, .. } if path == "lost"), "{error}");
    assert!(told.is_empty(), "{told:?}");
}

/// Takes `a.txt` out of all snapshots over a storage that may die; true if it got through.
async fn remove_until_death(storage: Arc<FaultyStorage>) -> bool {
    let Ok(repo) = open_storage(storage, "memory").await else { return false };
    let work = async {
        let writer = repo.writer()?;
        let names = vec![Glob::new("a.txt")?];
        let rule = (Rule::Named { objects: HashSet::new(), names }, Handling::Stub);
        let stop = CancellationToken::new();
        let mut rewriter = Rewriter::new(&repo, Some(&writer), rule, &|_| {}, stop).await?;
        for manifest in manifests::find(&repo, &[]).await? {
            if let Some(root) = rewriter.rewrite(&manifest).await? {
                let root_entry = Some(root);
                manifests::update(&writer, &SnapshotManifest { root_entry, ..manifest }).await?;
            }
        }
        writer.flush().await?;
        Ok::<_, SnapshotError>(())
    };
    work.await.is_ok()
}

#[tokio::test]
async fn a_rewrite_that_is_cut_off_anywhere_leaves_each_snapshot_old_or_new() {
    let folder = tempfile::tempdir().unwrap();
    plant(folder.path());
    let memory = Memory::new().await;
    memory.snapshot(folder.path()).await;
    write(folder.path().join("more"), "more");
    memory.snapshot(folder.path()).await;
    let trees = async |storage: MemoryStorage| {
        let memory = Memory::over(storage).await;
        let mut trees = Vec::new();
        for manifest in memory.snapshots().await {
            let target = tempfile::tempdir().unwrap();
            let root = manifest.root_entry.unwrap();
            memory.restore(&root, target.path(), &RestoreOptions::default()).await.unwrap();
            trees.push(tree(target.path()).into_keys().collect::<Vec<_>>());
        }
        trees
    };
    let old = trees(copy(&memory.blobs).await).await;
    let named = |all: &[String]| all.iter().any(|path| path == "a.txt");
    assert!(old.len() == 2 && old.iter().all(|all| named(all)), "{old:?}");
    for with_effect in [false, true] {
        let mut cuts = 0;
        for moment in 0.. {
            let storage = copy(&memory.blobs).await;
            let faulty = FaultyStorage::over(Arc::new(storage.clone()));
            faulty.kill_after_writes(moment, with_effect);
            let finished = remove_until_death(faulty).await;
            let after = trees(storage.clone()).await;
            assert_eq!(after.len(), old.len(), "{moment}");
            for (old, mut new) in old.iter().zip(after) {
                if !named(&new) {
                    new.push("a.txt".to_owned());
                    new.sort();
                }
                assert_eq!(&new, old, "{moment}");
            }
            assert!(remove_until_death(FaultyStorage::over(Arc::new(storage.clone()))).await);
            assert!(trees(storage).await.iter().all(|all| !named(all)), "{moment}");
            if finished {
                break;
            }
            cuts += 1;
        }
        assert!(cuts >= 3, "{cuts} cuts");
    }
}
