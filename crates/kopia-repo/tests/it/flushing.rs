//! What a flush waits for, and what becomes visible without one.

use std::{sync::Arc, time::Duration};

use crate::common::{at, create_with, gate::GatedStorage, ids, plain, reopen};
use blob_core::{BlobError, ManualClock, MemoryStorage, Timestamp, layers::Operation};
use blob_testkit::{CountingStorage, Fault, FaultyStorage, Rule};
use kopia_repo::{CreateOptions, EntryFilter, RepoError, Repository, RepositoryWriter};

const MIB: usize = 1 << 20;
const LONG: Duration = Duration::from_secs(60);
const ELEVEN_MINUTES: Duration = Duration::from_secs(11 * 60);

struct Scene {
    memory: Arc<MemoryStorage>,
    faulty: Arc<FaultyStorage>,
    /// Every attempt, those that fail or wait too.
    attempts: Arc<CountingStorage>,
    gate: Arc<GatedStorage>,
    clock: Arc<ManualClock>,
    repository: Repository,
}

async fn scene() -> Scene {
    let memory = Arc::new(MemoryStorage::new());
    let faulty = FaultyStorage::over(memory.clone());
    let gate = GatedStorage::over(faulty.clone());
    let attempts = CountingStorage::over(gate.clone());
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
    let create = CreateOptions { max_pack_size: 10 << 20, ..CreateOptions::default() };
    let repository = create_with(attempts.clone(), create, at(&clock)).await;
    Scene { memory, faulty, attempts, gate, clock, repository }
}

impl Scene {
    /// What others see.
    async fn notes(&self) -> usize {
        let observer = reopen(self.memory.clone()).await;
        observer.manifests().find(&[("type", "note")]).await.unwrap().len()
    }

    fn fail_packs_of_data(&self) {
        let denied = || BlobError::AccessDenied { op: "put", id: None, reason: "by script".into() };
        self.faulty.rule(Rule::new(Fault::before(denied)).on(Operation::Put).of("p"));
    }
}

fn is_denied<T>(result: &Result<T, RepoError>) -> bool {
    matches!(result, Err(RepoError::Blob(BlobError::AccessDenied { .. })))
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
    scene.clock.advance(ELEVEN_MINUTES);
    writer.put_content(plain(0, 100), None, None).await.unwrap();
    assert_eq!(ids(&scene.memory, "xn").len(), 1, "ten minutes have passed");
    assert!(!flush.is_finished());
    scene.gate.open();
    tokio::time::timeout(LONG, flush).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_manifest_is_visible_before_the_data_of_its_flush() {
    let scene = scene().await;
    let writer = scene.repository.writer().unwrap();
    scene.fail_packs_of_data();
    let data = writer.put_content(plain(1, 1_000), None, None).await.unwrap();
    writer.put_manifest(&[("type", "note")], &data).await.unwrap();
    assert!(is_denied(&writer.flush().await));
    assert_eq!(ids(&scene.memory, "q").len(), 1, "the manifest's pack did go up");
    // Somebody tries the pack again and hangs; somebody else comes ten minutes later.
    scene.gate.hold("p");
    let trying = tokio::spawn({
        let writer = writer.clone();
        async move { writer.put_content(plain(2, 100), None, None).await }
    });
    scene.gate.arrived(1).await;
    scene.clock.advance(ELEVEN_MINUTES);
    writer.put_content(plain(3, 100), None, None).await.unwrap();
    assert_eq!(scene.notes().await, 0);
    scene.gate.open();
    assert!(is_denied(&trying.await.unwrap()));

    scene.faulty.heal();
    writer.flush().await.unwrap();
    let observer = reopen(scene.memory.clone()).await;
    let notes = observer.manifests().find(&[("type", "note")]).await.unwrap();
    let named = notes[0].payload().unwrap();
    assert_eq!(observer.content(&named).await.unwrap(), plain(1, 1_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_wait_for_the_flush_and_whole_packs_do_not() {
    let scene = scene().await;
    let writer = scene.repository.writer().unwrap();
    for round in 0..20 {
        writer.put_manifest(&[("type", "note")], &round).await.unwrap();
        writer.flush().await.unwrap();
    }
    fill_a_pack(&writer, 1).await;
    while writer.uploaded_bytes() < 10 * MIB as u64 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(writer.compact_manifests().await.unwrap());
    scene.clock.advance(ELEVEN_MINUTES);
    writer.put_content(plain(2, 100), None, None).await.unwrap();
    // Who looks now, perhaps after a crash, finds the pack, and all the manifests as they were.
    let observer = reopen(scene.memory.clone()).await;
    assert_eq!(observer.entries(&EntryFilter::default()).await.unwrap().len(), 21);
    assert_eq!(scene.notes().await, 20);

    writer.flush().await.unwrap();
    let observer = reopen(scene.memory.clone()).await;
    assert_eq!(observer.entries(&EntryFilter::prefix(b'm')).await.unwrap().len(), 1);
    assert_eq!(scene.notes().await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_fails_for_good_fails_the_next_content() {
    let scene = scene().await;
    let writer = scene.repository.writer().unwrap();
    scene.fail_packs_of_data();
    fill_a_pack(&writer, 1).await;
    let attempts = || scene.attempts.count_of(Operation::Put, "p");
    let failing = async {
        let mut taken = 0;
        while writer.put_content(plain(2, 100 + taken), None, None).await.is_ok() {
            // The first attempt may be on its way yet.
            tokio::time::sleep(Duration::from_millis(2)).await;
            taken += 1;
        }
        taken
    };
    let taken = tokio::time::timeout(LONG, failing).await.expect("a content is refused");
    assert_eq!(attempts(), 2, "once beside the writer, once before the content was refused");
    assert!(is_denied(&writer.put_content(plain(1, 99), None, None).await));
    assert!(is_denied(&writer.flush().await), "nothing is lost silently");

    scene.faulty.heal();
    writer.put_content(plain(1, 99), None, None).await.unwrap();
    writer.flush().await.unwrap();
    let observer = reopen(scene.memory.clone()).await;
    let entries = observer.entries(&EntryFilter::default()).await.unwrap();
    assert_eq!(entries.len(), 1 + taken + 1, "the big one, those taken before, the last one");
    crate::common::check_whole(&observer).await;
}
