//! A client that dies at any moment leaves a repository that opens, with everything that was there
//! before.

use std::sync::Arc;

use crate::common::{check_whole, create_in, ids, noise, reopen, text};
use blob_core::{BlobStorage, MemoryStorage, PutOptions, ReadRange, layers::Operation};
use blob_testkit::{CountingStorage, Fault, FaultyStorage, Rule};
use bytes::Bytes;
use kopia_format::ObjectId;
use kopia_repo::{CreateOptions, ObjectOptions, RepoError, Repository, Result};

/// All blobs of a storage, to be put back.
struct Saved(Vec<(blob_core::BlobId, Bytes)>);

impl Saved {
    async fn of(storage: &MemoryStorage) -> Self {
        let mut all = Vec::new();
        for id in storage.ids() {
            let bytes = storage.get(&id, ReadRange::Full).await.unwrap();
            all.push((id, bytes));
        }
        Self(all)
    }

    async fn put_back(&self, storage: &MemoryStorage) {
        for id in storage.ids() {
            storage.delete(&id).await.unwrap();
        }
        for (id, bytes) in &self.0 {
            storage.put(id, bytes.clone().into(), &PutOptions::default()).await.unwrap();
        }
    }
}

/// A small session: two packs of data, metadata, a manifest, a deletion.
async fn session(repository: &Repository, old: &ObjectId) -> Result<ObjectId> {
    let writer = repository.writer()?;
    let object = writer.write_object(noise(2, 50_000), ObjectOptions::default()).await?;
    let folder = ObjectOptions { prefix: Some(b'k'), ..ObjectOptions::default() };
    writer.write_object(text(1_000), folder).await?;
    writer.delete_content(&old.content_id()).await?;
    writer.put_manifest(&[("type", "new")], &object).await?;
    writer.flush().await?;
    Ok(object)
}

struct Scene {
    memory: Arc<MemoryStorage>,
    faulty: Arc<FaultyStorage>,
    /// Writes through the faults.
    client: Repository,
    /// Looks at what is there.
    observer: Repository,
    saved: Saved,
    old: ObjectId,
}

async fn scene(format_version: u32) -> Scene {
    let memory = Arc::new(MemoryStorage::new());
    let options = CreateOptions { format_version, ..CreateOptions::default() };
    let observer = create_in(memory.clone(), options).await;
    let writer = observer.writer().unwrap();
    let old = writer.write_object(noise(1, 50_000), ObjectOptions::default()).await.unwrap();
    writer.put_manifest(&[("type", "old")], &old).await.unwrap();
    writer.flush().await.unwrap();
    let faulty = FaultyStorage::over(memory.clone());
    let client = reopen(faulty.clone()).await;
    let saved = Saved::of(&memory).await;
    Scene { memory, faulty, client, observer, saved, old }
}

impl Scene {
    async fn begin(&self) {
        self.faulty.heal();
        self.saved.put_back(&self.memory).await;
        self.client.refresh().await.unwrap();
    }

    /// After a crash: what was there reads, what is visible is whole, and the next session works.
    async fn look(&self, moment: &str) {
        self.faulty.heal();
        self.observer.refresh().await.unwrap_or_else(|e| panic!("{moment}: {e}"));
        let old = self.observer.read_object(&self.old, u64::MAX).await;
        assert_eq!(old.unwrap(), noise(1, 50_000), "{moment}");
        check_whole(&self.observer).await;
        let manifests = self.observer.manifests();
        assert_eq!(manifests.find(&[("type", "old")]).await.unwrap().len(), 1, "{moment}");
        for new in manifests.find(&[("type", "new")]).await.unwrap() {
            let object: ObjectId = new.payload().unwrap();
            let bytes = self.observer.read_object(&object, u64::MAX).await;
            assert_eq!(bytes.unwrap(), noise(2, 50_000), "{moment}");
        }
        let object = session(&self.observer, &self.old).await.unwrap();
        assert_eq!(self.observer.read_object(&object, u64::MAX).await.unwrap(), noise(2, 50_000));
    }
}

#[tokio::test]
async fn a_client_that_dies_after_any_call_leaves_everything_as_it_was() {
    for version in [1, 3] {
        let scene = scene(version).await;
        let mut calls = 0;
        loop {
            scene.begin().await;
            scene.faulty.kill_after(calls);
            let done = session(&scene.client, &scene.old).await;
            scene.look(&format!("version {version}, {calls} calls")).await;
            if done.is_ok() {
                break;
            }
            calls += 1;
        }
        println!("version {version}: cut after each of {calls} calls");
        assert!(calls >= 5, "{calls} calls are too few for a session");
    }
}

#[tokio::test]
async fn a_client_whose_last_write_has_its_effect_leaves_everything_as_it_was() {
    for version in [1, 3] {
        let scene = scene(version).await;
        let mut writes = 0;
        loop {
            scene.begin().await;
            scene.faulty.kill_after_writes(writes, true);
            let done = session(&scene.client, &scene.old).await;
            scene.look(&format!("version {version}, {writes} writes")).await;
            if done.is_ok() {
                break;
            }
            writes += 1;
        }
        println!("version {version}: cut in each of {writes} writes");
        assert!(writes >= 5, "{writes} writes are too few for a session");
    }
}

#[tokio::test]
async fn whatever_fails_once_is_done_by_the_next_flush_with_the_same_bytes() {
    let scene = scene(3).await;
    for after in [false, true] {
        for prefix in ["s", "p", "q", "xn"] {
            scene.begin().await;
            let fault = if after {
                Fault::after(Fault::transient)
            } else {
                Fault::before(Fault::transient)
            };
            // Once while writing goes on, once more in the flush.
            scene.faulty.rule(Rule::new(fault).on(Operation::Put).of(prefix).times(2));
            let writer = scene.client.writer().unwrap();
            let object =
                writer.write_object(noise(5, 9_000), ObjectOptions::default()).await.unwrap();
            writer.put_manifest(&[("type", "new")], &object).await.unwrap();
            assert!(writer.flush().await.is_err(), "{prefix}");
            let found = writer.find_manifests(&[("type", "new")]).await.unwrap();
            assert_eq!(found.len(), 1, "{prefix}: what failed is still pending");
            while writer.flush().await.is_err() {}
            let bytes = scene.client.read_object(&object, u64::MAX).await.unwrap();
            assert_eq!(bytes, noise(5, 9_000));
            // One pack of each kind for the old session, one for this one; names were kept.
            assert_eq!(ids(&scene.memory, "p").len(), 2, "{prefix}");
            assert_eq!(ids(&scene.memory, "q").len(), 2, "{prefix}");
            assert!(ids(&scene.memory, "s").is_empty(), "{prefix}");
        }
    }
}

#[tokio::test]
async fn the_marker_comes_first_and_goes_last() {
    let memory = Arc::new(MemoryStorage::new());
    let counting = CountingStorage::over(memory.clone());
    let repository = create_in(counting.clone(), CreateOptions::default()).await;
    let writer = repository.writer().unwrap();
    let object = writer.write_object(noise(1, 1_000), ObjectOptions::default()).await.unwrap();
    writer.put_manifest(&[("type", "note")], &object).await.unwrap();
    counting.clear();
    writer.flush().await.unwrap();
    let calls = counting.calls();
    let writes: Vec<_> = calls
        .iter()
        .filter(|call| matches!(call.op, Operation::Put | Operation::Delete))
        .map(|call| (call.op, &call.id[..1]))
        .collect();
    assert_eq!(writes[0], (Operation::Put, "s"));
    assert_eq!(writes.last(), Some(&(Operation::Delete, "s")));
    let mut packs = [writes[1], writes[2]];
    packs.sort_by_key(|(_, prefix)| *prefix);
    assert_eq!(packs, [(Operation::Put, "p"), (Operation::Put, "q")]);
    assert_eq!(writes[3..4], [(Operation::Put, "x")]);
    assert_eq!(writes.len(), 5);
    let session = |id: &str| kopia_format::SessionId::of_blob(id);
    let sessions: Vec<_> =
        calls.iter().filter(|c| c.op == Operation::Put).map(|c| session(&c.id)).collect();
    assert!(sessions[0].is_some() && sessions.iter().all(|s| *s == sessions[0]), "{sessions:?}");
}

#[tokio::test]
async fn a_pack_that_maintenance_moved_is_found_again() {
    let scene = scene(3).await;
    scene.begin().await;
    let writer = scene.observer.writer().unwrap();
    let old_pack = scene.client.content_entry(&scene.old.content_id()).await.unwrap().unwrap().pack;
    writer.rewrite_content(&scene.old.content_id()).await.unwrap();
    writer.flush().await.unwrap();
    scene.memory.delete(&old_pack.parse().unwrap()).await.unwrap();
    // The client's index is of before.
    let bytes = scene.client.read_object(&scene.old, u64::MAX).await.unwrap();
    assert_eq!(bytes, noise(1, 50_000));
    let new_pack = scene.client.content_entry(&scene.old.content_id()).await.unwrap().unwrap().pack;
    scene.memory.delete(&new_pack.parse().unwrap()).await.unwrap();
    let lost = scene.client.read_object(&scene.old, u64::MAX).await;
    assert!(matches!(lost, Err(RepoError::PackMissing { .. })));
}
