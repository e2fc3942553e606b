//! What the owner of maintenance writes to the index, the markers of sessions, and contents that move.

use std::sync::Arc;

use crate::common::{check_whole, create_in, fresh, ids, noise, reopen, text};
use blob_core::{BlobStorage, MemoryStorage, PutOptions, layers::Operation};
use blob_testkit::CountingStorage;
use kopia_format::{ContentId, SessionId, session::SessionMarker, time::GoTime};
use kopia_repo::{
    CompactionOf, CreateOptions, EntryFilter, IndexEntry, OpenOptions, RepoError, Repository,
};

async fn write(repository: &Repository, seed: u64) -> ContentId {
    let writer = repository.writer().unwrap();
    let id = writer.put_content(noise(seed, 1_000), None, None).await.unwrap();
    writer.flush().await.unwrap();
    id
}

async fn all(repository: &Repository) -> Vec<IndexEntry> {
    repository.refresh().await.unwrap();
    repository.entries(&EntryFilter::with_deleted()).await.unwrap()
}

#[tokio::test]
async fn a_merge_says_what_its_inputs_said_and_keeps_deletions() {
    let (storage, repository) = fresh().await;
    let first = write(&repository, 1).await;
    write(&repository, 2).await;
    let writer = repository.writer().unwrap();
    writer.delete_content(&first).await.unwrap();
    writer.flush().await.unwrap();
    for epoch in [1, 2] {
        repository.begin_epoch(epoch).await.unwrap();
    }
    let before = all(&repository).await;
    assert_eq!(before.iter().filter(|entry| entry.deleted).count(), 1);
    let inputs = repository.epochs().await.unwrap().unwrap().uncompacted(0).to_vec();
    assert_eq!(inputs.len(), 3);
    let written = repository.compact_epochs(CompactionOf::Epoch(0), &inputs).await.unwrap();
    assert_eq!(written.len(), 1);
    assert!(written[0].id.starts_with("xs0_") && written[0].id.as_str().ends_with("-c1"));
    for input in ids(&storage, "xn0_") {
        storage.delete(&input).await.unwrap();
    }
    assert_eq!(all(&reopen(storage.clone()).await).await, before);
    assert_eq!(all(&repository).await, before);
    // Nothing makes no blob, and what is gone can't be merged.
    let none = repository.compact_epochs(CompactionOf::Range(0, 1), &[]).await.unwrap();
    assert!(none.is_empty() && ids(&storage, "xr").is_empty());
    let mut gone = inputs[0].clone();
    gone.id = "xn0_00000000000000000000000000000000-s1-c1".into();
    let error = repository.compact_epochs(CompactionOf::Epoch(0), &[gone]).await.unwrap_err();
    assert!(matches!(error, RepoError::IndexMissing { .. }), "{error}");
}

#[tokio::test]
async fn a_set_that_is_not_whole_counts_for_nobody() {
    let (storage, repository) = fresh().await;
    write(&repository, 1).await;
    for epoch in [1, 2] {
        repository.begin_epoch(epoch).await.unwrap();
    }
    let before = all(&repository).await;
    // One of two that a client wrote before it died; not even an index.
    let half = "xs0_00000000000000000000000000000000-s0123456789abcdef-c2".parse().unwrap();
    storage.put(&half, text(100).into(), &PutOptions::default()).await.unwrap();
    assert_eq!(all(&reopen(storage.clone()).await).await, before);
    assert_eq!(repository.epochs().await.unwrap().unwrap().epoch_to_compact(), Some(0));
}

#[tokio::test]
async fn entries_alone_delete_and_bring_back_and_touch_no_pack() {
    for format_version in [1, 3] {
        let memory = Arc::new(MemoryStorage::new());
        let counting = CountingStorage::over(memory.clone());
        let options = CreateOptions { format_version, ..CreateOptions::default() };
        let repository = create_in(counting.clone(), options).await;
        let id = write(&repository, 1).await;
        let entry = repository.content_entry(&id).await.unwrap().unwrap();
        counting.clear();
        for deleted in [true, false] {
            let old = repository.content_entry(&id).await.unwrap().unwrap();
            let new = IndexEntry { deleted, timestamp: old.timestamp + 1, ..old };
            repository.write_entries(vec![new.clone()]).await.unwrap();
            assert_eq!(repository.content_entry(&id).await.unwrap(), Some(new.clone()), "at once");
            let other = reopen(memory.clone()).await;
            assert_eq!(other.content_entry(&id).await.unwrap(), Some(new));
        }
        let last = repository.content_entry(&id).await.unwrap().unwrap();
        assert_eq!((&last.pack, last.offset), (&entry.pack, entry.offset));
        for op in [Operation::Get, Operation::Put] {
            assert_eq!(counting.count_of(op, "p") + counting.count_of(op, "s"), 0, "{op:?}");
        }
        repository.write_entries(Vec::new()).await.unwrap();
        check_whole(&repository).await;
    }
}

async fn put_marker(repository: &Repository, session: &str, checkpoint: i64) -> String {
    let id = SessionId::of_blob(&format!("p-{session}")).unwrap();
    let marker = SessionMarker {
        id,
        start_time: GoTime::from_secs(1_700_000_000),
        checkpoint_time: GoTime::from_secs(checkpoint),
        username: "u".into(),
        hostname: "h".into(),
    };
    let suffix = format!("-{session}");
    let (name, sealed) =
        repository.codec().seal_blob("s", &suffix, [checkpoint as u8; 12], &marker.to_bytes());
    let blob = name.parse().unwrap();
    repository.storage().put(&blob, sealed.into(), &PutOptions::default()).await.unwrap();
    name
}

#[tokio::test]
async fn of_several_markers_of_a_session_the_latest_counts() {
    let (_storage, repository) = fresh().await;
    assert!(repository.sessions().await.unwrap().is_empty());
    for checkpoint in [1_700_000_200, 1_700_000_300, 1_700_000_100] {
        put_marker(&repository, "s0000000000000001147", checkpoint).await;
    }
    put_marker(&repository, "s0000000000000002147", 1_700_000_001).await;
    let sessions = repository.sessions().await.unwrap();
    let mut times: Vec<_> = sessions
        .values()
        .map(|marker| marker.checkpoint_time.unix_nanos() / 1_000_000_000)
        .collect();
    times.sort_unstable();
    assert_eq!(times, [1_700_000_001, 1_700_000_300]);
}

#[tokio::test]
async fn a_marker_that_can_not_be_read_or_names_no_session_is_an_error_with_its_name() {
    for break_name in [false, true] {
        let (storage, repository) = fresh().await;
        let name = put_marker(&repository, "s0000000000000001147", 1_700_000_000).await;
        let id = if break_name { "setup.txt".to_owned() } else { name };
        let blob = id.parse().unwrap();
        if break_name {
            storage.put(&blob, text(10).into(), &PutOptions::default()).await.unwrap();
        } else {
            assert!(storage.damage(&blob, |bytes| bytes[30] ^= 1));
        }
        let error = repository.sessions().await.unwrap_err();
        assert!(
            matches!(&error, RepoError::SessionDamaged { blob: named, .. } if *named == blob),
            "{error}"
        );
    }
}

#[tokio::test]
async fn bytes_that_are_not_what_their_id_says_do_not_move() {
    let (_storage, repository) = fresh().await;
    let (right, wrong) = (write(&repository, 1).await, write(&repository, 2).await);
    let before = repository.content_entry(&wrong).await.unwrap().unwrap();
    let old = repository.content_entry(&right).await.unwrap().unwrap();
    let writer = repository.writer().unwrap();
    let contents = vec![(old.clone(), noise(1, 1_000)), (before.clone(), noise(3, 1_000))];
    assert_eq!(writer.move_contents(contents, false).await.unwrap(), [wrong]);
    writer.flush().await.unwrap();
    assert_eq!(repository.content_entry(&wrong).await.unwrap(), Some(before));
    let new = repository.content_entry(&right).await.unwrap().unwrap();
    assert!(new.pack != old.pack && new.timestamp > old.timestamp && !new.deleted);
    assert_eq!(repository.content(&right).await.unwrap(), noise(1, 1_000));
    assert_eq!(repository.content(&wrong).await.unwrap(), noise(2, 1_000));
    check_whole(&repository).await;
}

#[tokio::test]
async fn who_only_reads_writes_no_index() {
    let (storage, repository) = fresh().await;
    write(&repository, 1).await;
    let options = OpenOptions { read_only: true, ..OpenOptions::default() };
    let reader = Repository::open(storage.clone(), &crate::common::secret("fixture"), options)
        .await
        .unwrap();
    let before = storage.ids();
    assert!(reader.begin_epoch(1).await.is_err() && reader.put_watermark(1).await.is_err());
    assert!(reader.write_entries(Vec::new()).await.is_err());
    assert!(reader.compact_epochs(CompactionOf::Epoch(0), &[]).await.is_err());
    assert_eq!(storage.ids(), before);
}
