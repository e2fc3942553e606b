//! Index blobs that can't be read: passed over where that is asked for, and never written over.

use std::sync::Arc;

use crate::common::{create_in, ids, noise, reopen, secret};
use blob_core::{BlobId, BlobStorage, MemoryStorage, PutOptions};
use kopia_format::ContentId;
use kopia_repo::{
    CompactionOf, CreateOptions, EntryFilter, OpenOptions, RepoError, Repository, Result,
};

async fn open(storage: &Arc<MemoryStorage>) -> Result<Repository> {
    let options = OpenOptions { pass_over_damaged_index: true, ..OpenOptions::default() };
    Repository::open(storage.clone(), &secret("fixture"), options).await
}

/// As who writes opens it.
async fn refused(storage: &Arc<MemoryStorage>) -> Result<Repository> {
    Repository::open(storage.clone(), &secret("fixture"), OpenOptions::default()).await
}

async fn write(repository: &Repository, seed: u64) -> ContentId {
    let writer = repository.writer().unwrap();
    let id = writer.put_content(noise(seed, 1_000), None, None).await.unwrap();
    writer.put_manifest(&[("type", "note")], &seed).await.unwrap();
    writer.flush().await.unwrap();
    id
}

async fn damage(storage: &MemoryStorage, id: &BlobId) {
    storage.put(id, "damaged".into(), &PutOptions::default()).await.unwrap();
}

/// Two contents in two index blobs, the second of which is damaged.
async fn scene(format_version: u32) -> (Arc<MemoryStorage>, [ContentId; 2], BlobId) {
    let storage = Arc::new(MemoryStorage::new());
    let options = CreateOptions { format_version, ..CreateOptions::default() };
    let repository = create_in(storage.clone(), options).await;
    let prefix = if format_version == 1 { "n" } else { "xn" };
    let first = write(&repository, 1).await;
    let before = ids(&storage, prefix);
    let second = write(&repository, 2).await;
    let mut new = ids(&storage, prefix);
    new.retain(|id| !before.contains(id));
    assert_eq!(new.len(), 1);
    damage(&storage, &new[0]).await;
    (storage, [first, second], new.remove(0))
}

fn names_it<T: std::fmt::Debug>(result: Result<T>, wanted: &BlobId) {
    match result {
        Err(RepoError::IndexDamaged { blob, .. }) => assert_eq!(blob, *wanted),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn it_is_passed_over_only_where_that_is_asked_for() {
    for version in [1, 3] {
        let (storage, [first, second], blob) = scene(version).await;
        names_it(refused(&storage).await, &blob);
        let repository = open(&storage).await.unwrap();
        assert_eq!(repository.content(&first).await.unwrap(), noise(1, 1_000));
        // Nobody says that the other one is not there.
        let error = repository.content(&second).await.unwrap_err();
        assert!(!error.is_not_found(), "{error}");
        assert_eq!(error.blob(), Some(&blob));
        assert!(error.to_string().contains(&format!("{blob} is damaged")), "{error}");
        let plan = repository.read_plan([second]).await.unwrap();
        assert_eq!(plan.missing, [second]);
        assert_eq!(repository.manifests().all().await.unwrap().len(), 1);
        assert!(repository.index_blobs().await.unwrap().iter().any(|meta| meta.id == blob));
    }
}

#[tokio::test]
async fn nothing_is_written_but_what_brings_it_back() {
    let (storage, [first, second], blob) = scene(3).await;
    let repository = open(&storage).await.unwrap();
    let before = storage.ids();
    names_it(repository.writer(), &blob);
    names_it(repository.begin_epoch(1).await, &blob);
    names_it(repository.put_watermark(1).await, &blob);
    names_it(repository.put_sealed("m", b"{}").await, &blob);
    let epochs = repository.epochs().await.unwrap().unwrap();
    let inputs = epochs.uncompacted(0).to_vec();
    assert_eq!(inputs.len(), 2);
    names_it(repository.compact_epochs(CompactionOf::Epoch(0), &inputs).await, &blob);
    assert_eq!(storage.ids(), before);
    // What the packs say of themselves.
    for pack in ids(&storage, "p").iter().chain(&ids(&storage, "q")) {
        let meta = storage.head(pack).await.unwrap();
        let entries = repository.local_index(&meta).await.unwrap();
        repository.write_entries(entries).await.unwrap();
    }
    assert_eq!(repository.content(&second).await.unwrap(), noise(2, 1_000));
    names_it(repository.writer(), &blob);
    storage.delete(&blob).await.unwrap();
    repository.refresh().await.unwrap();
    repository.writer().unwrap();
    let whole = reopen(storage).await;
    assert_eq!(whole.content(&first).await.unwrap(), noise(1, 1_000));
    assert_eq!(whole.manifests().all().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_client_that_runs_keeps_what_it_knows() {
    let storage = Arc::new(MemoryStorage::new());
    let writing = create_in(storage.clone(), CreateOptions::default()).await;
    let id = write(&writing, 1).await;
    let running = open(&storage).await.unwrap();
    let blob = ids(&storage, "xn").remove(0);
    damage(&storage, &blob).await;
    // Loaded is loaded.
    running.refresh().await.unwrap();
    assert_eq!(running.content(&id).await.unwrap(), noise(1, 1_000));
    running.writer().unwrap();
    // One that comes back is read.
    let later = open(&storage).await.unwrap();
    assert_eq!(later.index_as_read().damaged().len(), 1);
    let all = later.entries(&EntryFilter::default()).await.unwrap();
    assert!(all.iter().all(|entry| entry.id != id));
}

/// Of a damaged compaction log it is not known what it replaced: all of that is read.
#[tokio::test]
async fn a_damaged_compaction_log_is_passed_over_too() {
    let (storage, [first, _], blob) = scene(1).await;
    storage.delete(&blob).await.unwrap();
    let log = "m0123456789abcdef0123456789abcdef".parse().unwrap();
    damage(&storage, &log).await;
    names_it(refused(&storage).await, &log);
    let repository = open(&storage).await.unwrap();
    assert_eq!(repository.content(&first).await.unwrap(), noise(1, 1_000));
    names_it(repository.writer(), &log);
}
