//! Clients that write at the same time, and time that passes.

use std::{sync::Arc, time::Duration};

use crate::common::{check_whole, create_with, fresh, ids, noise, reopen, secret};
use blob_core::{
    BlobId, BlobStorage, ManualClock, MemoryStorage, PutOptions, Timestamp, env::SeededEntropy,
    layers::Operation,
};
use blob_testkit::{CountingStorage, FaultyStorage};
use kopia_repo::{
    CreateOptions, EntryFilter, Env, ObjectOptions, OpenOptions, RepoError, Repository,
};

const MINUTE: Duration = Duration::from_secs(60);

fn at(clock: &Arc<ManualClock>) -> OpenOptions {
    let env = Env { clock: clock.clone(), ..Env::default() };
    OpenOptions { env, ..OpenOptions::default() }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_write_at_the_same_time_and_both_are_seen() {
    let (storage, one) = fresh().await;
    let two = reopen(storage.clone()).await;
    let write = |repository: Repository, seed: u64| async move {
        let writer = repository.writer().unwrap();
        for round in 0..5 {
            let bytes = noise(seed * 100 + round, 300_000);
            let object = writer.write_object(bytes, ObjectOptions::default()).await.unwrap();
            // Both write this one.
            writer.put_content(noise(7, 5_000), None, None).await.unwrap();
            writer.put_manifest(&[("type", "note")], &object).await.unwrap();
            writer.flush().await.unwrap();
        }
    };
    tokio::join!(write(one.clone(), 1), write(two.clone(), 2));
    for repository in [&one, &two] {
        repository.refresh().await.unwrap();
        let notes = repository.manifests().find(&[("type", "note")]).await.unwrap();
        assert_eq!(notes.len(), 10);
        check_whole(repository).await;
    }
    let one = one.entries(&EntryFilter::default()).await.unwrap();
    assert_eq!(one, two.entries(&EntryFilter::default()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_share_one_writer_and_flush_as_they_like() {
    let (storage, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    let tasks = (0..8_u64).map(|task| {
        let writer = writer.clone();
        tokio::spawn(async move {
            for round in 0..20 {
                let bytes = noise(task * 1_000 + round, 2_000);
                let id = writer.put_content(bytes.clone(), None, None).await.unwrap();
                if round % 5 == task % 5 {
                    writer.flush().await.unwrap();
                }
                assert_eq!(writer.content(&id).await.unwrap(), bytes);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    writer.flush().await.unwrap();
    let repository = reopen(storage.clone()).await;
    assert_eq!(repository.entries(&EntryFilter::default()).await.unwrap().len(), 160);
    check_whole(&repository).await;
    assert!(ids(&storage, "s").is_empty());
}

#[tokio::test]
async fn a_long_session_is_indexed_every_ten_minutes() {
    let (storage, clock) = (Arc::new(MemoryStorage::new()), clock());
    let options = CreateOptions { max_pack_size: 10 << 20, ..CreateOptions::default() };
    let repository = create_with(storage.clone(), options, at(&clock)).await;
    let writer = repository.writer().unwrap();
    writer.put_content(noise(1, 11 << 20), None, None).await.unwrap();
    clock.advance(9 * MINUTE);
    writer.put_content(noise(2, 11 << 20), None, None).await.unwrap();
    assert!(ids(&storage, "xn").is_empty());
    clock.advance(2 * MINUTE);
    // Uploads run beside the writer; wait for one of them.
    while writer.uploaded_bytes() == 0 {
        tokio::task::yield_now().await;
    }
    writer.put_content(noise(3, 100), None, None).await.unwrap();
    assert_eq!(ids(&storage, "xn").len(), 1);
    assert_eq!(ids(&storage, "s").len(), 1, "the session goes on");
    writer.flush().await.unwrap();
    assert!(ids(&storage, "s").is_empty());
    check_whole(&repository).await;
}

#[tokio::test]
async fn an_index_is_read_again_after_fifteen_minutes() {
    let (storage, clock) = (Arc::new(MemoryStorage::new()), clock());
    let counting = CountingStorage::over(storage);
    let one = create_with(counting.clone(), CreateOptions::default(), at(&clock)).await;
    let two = reopen(counting.clone()).await;
    let writer = two.writer().unwrap();
    let id = writer.put_content(noise(1, 100), None, None).await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(one.content_entry(&id).await.unwrap(), None);
    clock.advance(14 * MINUTE);
    counting.clear();
    assert_eq!(one.content_entry(&id).await.unwrap(), None);
    assert_eq!(counting.calls(), [], "what is fresh asks nobody");
    clock.advance(2 * MINUTE);
    assert!(one.content_entry(&id).await.unwrap().is_some());
    assert_eq!(counting.count_of(Operation::Get, "kopia.repository"), 1);
    assert_eq!(counting.count_of(Operation::Get, "xn"), 1, "known blobs are not fetched again");
}

async fn put(storage: &MemoryStorage, id: &str, body: &'static str) {
    let id: BlobId = id.parse().unwrap();
    storage.put(&id, body.into(), &PutOptions::default()).await.unwrap();
}

#[tokio::test]
async fn index_blobs_go_into_the_epoch_that_has_begun() {
    let (storage, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    for (epoch, marker) in [(0, None), (1, Some("xe1")), (2, Some("xe2"))] {
        if let Some(marker) = marker {
            put(&storage, marker, "epoch-marker").await;
            // The client looks again before it writes, if what it knows is a quarter of its time
            // old.
            repository.refresh().await.unwrap();
        }
        writer.put_content(noise(epoch, 100), None, None).await.unwrap();
        writer.flush().await.unwrap();
        assert_eq!(ids(&storage, &format!("xn{epoch}_")).len(), 1);
    }
    assert_eq!(reopen(storage).await.entries(&EntryFilter::default()).await.unwrap().len(), 3);
}

#[tokio::test]
async fn an_index_that_comes_two_epochs_late_is_withdrawn() {
    let (storage, repository) = fresh().await;
    let faulty = FaultyStorage::over(storage.clone());
    let late = reopen(faulty.clone()).await;
    let writer = late.writer().unwrap();
    writer.put_content(noise(1, 100), None, None).await.unwrap();
    // The client has listed epoch 0; its put takes a while, and two epochs begin.
    let put_late = blob_testkit::Rule::new(blob_testkit::Fault::Late(Duration::from_millis(300)));
    faulty.rule(put_late.on(Operation::Put).of("xn"));
    let flushing = tokio::spawn({
        let writer = writer.clone();
        async move { writer.flush().await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    put(&storage, "xe1", "epoch-marker").await;
    put(&storage, "xe2", "epoch-marker").await;
    let error = flushing.await.unwrap().unwrap_err();
    assert!(matches!(error, RepoError::WriteTooSlow { written: 0, current: 2 }), "{error}");
    assert!(ids(&storage, "xn").is_empty(), "nobody sees what was withdrawn");
    assert_eq!(ids(&storage, "s").len(), 1, "the packs are still guarded");
    writer.flush().await.unwrap();
    assert_eq!(ids(&storage, "xn2_").len(), 1, "the next flush writes into the epoch of now");
    repository.refresh().await.unwrap();
    check_whole(&repository).await;
}

#[tokio::test]
async fn a_watermark_ends_what_was_deleted_before_it() {
    let (storage, clock) = (Arc::new(MemoryStorage::new()), clock());
    let repository = create_with(storage.clone(), CreateOptions::default(), at(&clock)).await;
    let writer = repository.writer().unwrap();
    let id = writer.put_content(noise(1, 100), None, None).await.unwrap();
    writer.flush().await.unwrap();
    writer.delete_content(&id).await.unwrap();
    writer.flush().await.unwrap();
    let deleted = repository.content_entry(&id).await.unwrap().unwrap().timestamp;
    put(&storage, &format!("xw{}", deleted - 1), "deletion-watermark").await;
    repository.refresh().await.unwrap();
    assert!(repository.content_entry(&id).await.unwrap().is_some());
    put(&storage, &format!("xw{deleted}"), "deletion-watermark").await;
    repository.refresh().await.unwrap();
    assert_eq!(repository.content_entry(&id).await.unwrap(), None);
    // Written again it is there again.
    clock.advance(MINUTE);
    writer.put_content(noise(1, 100), None, None).await.unwrap();
    writer.flush().await.unwrap();
    assert!(repository.content(&id).await.is_ok());
}

#[tokio::test]
async fn an_index_blob_that_vanishes_while_loading_makes_the_client_look_again() {
    let (storage, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    writer.put_content(noise(1, 100), None, None).await.unwrap();
    writer.flush().await.unwrap();
    let faulty = FaultyStorage::over(storage.clone());
    let gone = ids(&storage, "xn").remove(0);
    let missing = gone.clone();
    let not_there =
        blob_testkit::Fault::before(move || blob_core::BlobError::NotFound { id: missing.clone() });
    let rule = blob_testkit::Rule::new(not_there).on(Operation::Get).of("xn");
    faulty.rule(rule.clone().times(3));
    let options = at(&clock());
    Repository::open(faulty.clone(), &secret("fixture"), options.clone()).await.unwrap();
    faulty.rule(rule);
    let error = Repository::open(faulty, &secret("fixture"), options).await.unwrap_err();
    assert!(matches!(&error, RepoError::IndexMissing { blob, attempts: 10 } if *blob == gone));
}

#[tokio::test]
async fn consumers_that_are_busy_do_not_hold_up_what_they_read() {
    use futures::StreamExt;
    let (_, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    let mut all = Vec::new();
    for seed in 0..40 {
        all.push(writer.put_content(noise(seed, 200_000), None, None).await.unwrap());
    }
    writer.flush().await.unwrap();
    let plan = repository.read_plan(all.iter().copied()).await.unwrap();
    let mut contents = std::pin::pin!(repository.fetch_all(&plan));
    let mut count = 0;
    while let Some((id, bytes)) = contents.next().await {
        // The consumer uses the same threads and locks as the reads behind its stream.
        assert_eq!(repository.content(&id).await.unwrap(), bytes.unwrap());
        repository.refresh().await.unwrap();
        writer.put_content(noise(1_000 + count, 10_000), None, None).await.unwrap();
        count += 1;
    }
    assert_eq!(count, 40);
    writer.flush().await.unwrap();
}

/// All blobs that a small session leaves, with a clock that stands and numbers that depend on
/// `seed`.
async fn run(seed: u64) -> Vec<(BlobId, bytes::Bytes)> {
    let (storage, clock) = (Arc::new(MemoryStorage::new()), clock());
    let env = Env { clock, entropy: Arc::new(SeededEntropy::new(seed)) };
    let create = CreateOptions { env: env.clone(), ..CreateOptions::default() };
    let open = OpenOptions { env, threads: 0, ..OpenOptions::default() };
    let repository = create_with(storage.clone(), create, open).await;
    let writer = repository.writer().unwrap();
    let options = ObjectOptions { splitter: Some("FIXED-128K".into()), ..Default::default() };
    let object = writer.write_object(noise(seed, 500_000), options).await.unwrap();
    writer.put_manifest(&[("type", "note")], &object).await.unwrap();
    writer.flush().await.unwrap();
    let mut blobs = Vec::new();
    for id in ids(&storage, "") {
        let bytes = storage.get(&id, blob_core::ReadRange::Full).await.unwrap();
        blobs.push((id, bytes));
    }
    blobs
}

#[tokio::test]
async fn a_seed_repeats_a_run_to_the_byte() {
    let (once, again, other) = (run(1).await, run(1).await, run(2).await);
    assert_eq!(once.len(), 5);
    assert!(once == again);
    assert!(once != other);
}

#[tokio::test]
async fn epochs_and_single_index_blobs_can_be_looked_at() {
    let (storage, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    let id = writer.put_content(noise(1, 100), None, None).await.unwrap();
    writer.flush().await.unwrap();
    put(&storage, "xe1", "epoch-marker").await;
    let epochs = repository.epochs().await.unwrap().unwrap();
    assert_eq!((epochs.write_epoch(), epochs.uncompacted(0).len()), (1, 1));
    let entries = repository.index_blob_entries(&ids(&storage, "xn")[0]).await.unwrap();
    assert_eq!(entries, repository.entries(&EntryFilter::default()).await.unwrap());
    assert_eq!(entries[0].id, id);
}
