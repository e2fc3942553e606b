//! What a flush waits for, and what becomes visible without one.
#![allow(clippy::unwrap_used)]

mod common;

use std::{sync::Arc, time::Duration};

use blob_core::{ManualClock, MemoryStorage, Timestamp};
use common::{at, create_with, gate::GatedStorage, ids, plain, reopen};
use kopia_repo::{CreateOptions, Repository, RepositoryWriter};

const MIB: usize = 1 << 20;
const LONG: Duration = Duration::from_secs(60);

struct Scene {
    memory: Arc<MemoryStorage>,
    gate: Arc<GatedStorage>,
    clock: Arc<ManualClock>,
    repository: Repository,
}

async fn scene() -> Scene {
    let memory = Arc::new(MemoryStorage::new());
    let gate = GatedStorage::over(memory.clone());
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
    let create = CreateOptions { max_pack_size: 10 << 20, ..CreateOptions::default() };
    let repository = create_with(gate.clone(), create, at(&clock)).await;
    Scene { memory, gate, clock, repository }
}

impl Scene {
    /// What others see.
    async fn notes(&self) -> usize {
        let observer = reopen(self.memory.clone()).await;
        observer.manifests().find(&[("type", "note")]).await.unwrap().len()
    }
}

/// Fills a pack, so that it is closed and goes up.
async fn fill_a_pack(writer: &RepositoryWriter, seed: u8) {
    writer.put_content(plain(seed, 10 * MIB), None, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_waits_for_no_pack_that_was_closed_after_it_began() {
    let scene = scene().await;
    let writer = scene.repository.writer().unwrap();
    scene.gate.hold("p");
    fill_a_pack(&writer, 1).await;
    let first = scene.gate.arrived(1).await.remove(0);
    writer.put_manifest(&[("type", "note")], "one").await.unwrap();
    let flush = tokio::spawn({
        let writer = writer.clone();
        async move { writer.flush().await }
    });
    while ids(&scene.memory, "q").is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // The flush waits for the first pack; meanwhile another one is closed.
    fill_a_pack(&writer, 2).await;
    scene.gate.arrived(2).await;
    assert_eq!(scene.notes().await, 0);
    scene.gate.release(&first);
    let flushed = tokio::time::timeout(LONG, flush).await;
    flushed.expect("the second pack is not waited for").unwrap().unwrap();
    assert_eq!(ids(&scene.memory, "p"), [first]);
    assert_eq!(scene.notes().await, 1);
    assert_eq!(ids(&scene.memory, "s").len(), 1, "the second session goes on");
    scene.gate.open();
    writer.flush().await.unwrap();
    assert_eq!(ids(&scene.memory, "p").len(), 2);
    assert!(ids(&scene.memory, "s").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_is_written_while_a_flush_waits_for_a_pack() {
    let scene = scene().await;
    let writer = scene.repository.writer().unwrap();
    scene.gate.hold("p");
    fill_a_pack(&writer, 1).await;
    let first = scene.gate.arrived(1).await.remove(0);
    let flush = tokio::spawn({
        let writer = writer.clone();
        async move { writer.flush().await }
    });
    // The flush has ended the session when a new pack has another one.
    let mut seed = 2;
    loop {
        fill_a_pack(&writer, seed).await;
        let last = scene.gate.arrived(usize::from(seed)).await.pop().unwrap();
        scene.gate.release(&last);
        let session = |id: &blob_core::BlobId| kopia_format::SessionId::of_blob(id.as_str());
        if session(&last) != session(&first) {
            break;
        }
        seed += 1;
    }
    while writer.uploaded_bytes() < u64::from(seed - 1) * 10 * MIB as u64 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(ids(&scene.memory, "xn").is_empty());
    scene.clock.advance(Duration::from_secs(11 * 60));
    writer.put_content(plain(0, 100), None, None).await.unwrap();
    assert_eq!(ids(&scene.memory, "xn").len(), 1, "ten minutes have passed");
    assert!(!flush.is_finished());
    scene.gate.open();
    tokio::time::timeout(LONG, flush).await.unwrap().unwrap().unwrap();
}
