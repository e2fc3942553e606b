//! Manifests: put, found, replaced, deleted, merged.

use std::sync::Arc;

use crate::common::{at, create_with, fresh, ids, reopen, secret};
use blob_core::{ManualClock, MemoryStorage, Timestamp};
use kopia_repo::{CreateOptions, EntryFilter, RepoError, Repository};

#[tokio::test]
async fn a_manifest_is_found_by_any_of_its_labels_oldest_first() {
    let (storage, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    let one = writer.put_manifest(&[("type", "a"), ("n", "1")], &[1]).await.unwrap();
    let two = writer.put_manifest(&[("type", "a"), ("n", "2")], &[2]).await.unwrap();
    let three = writer.put_manifest(&[("type", "b"), ("n", "1")], &[3]).await.unwrap();
    assert!(writer.put_manifest(&[("n", "1")], &()).await.is_err(), "a type is needed");
    assert!(repository.manifests().all().await.unwrap().is_empty(), "nothing is flushed yet");
    assert_eq!(writer.find_manifests(&[("type", "a")]).await.unwrap().len(), 2);
    writer.flush().await.unwrap();

    let manifests = reopen(storage).await.manifests();
    let found = |labels: &'static [(&'static str, &'static str)]| {
        let manifests = manifests.clone();
        async move {
            let found = manifests.find(labels).await.unwrap();
            found.into_iter().map(|m| m.id).collect::<Vec<_>>()
        }
    };
    assert_eq!(found(&[("type", "a")]).await, [one.clone(), two.clone()]);
    assert_eq!(found(&[("n", "1")]).await, [one.clone(), three]);
    assert_eq!(found(&[("type", "a"), ("n", "2")]).await, [two]);
    assert!(found(&[("n", "3")]).await.is_empty());
    assert_eq!(manifests.get(&one).await.unwrap().payload::<[u8; 1]>().unwrap(), [1]);
    let unknown = manifests.get(&kopia_format::ManifestId::new("00")).await;
    assert!(matches!(unknown, Err(RepoError::ManifestNotFound { .. })));
}

#[tokio::test]
async fn a_replaced_manifest_leaves_one_and_a_deleted_one_none() {
    let (storage, repository) = fresh().await;
    let labels = [("type", "policy"), ("policyType", "global")];
    let writer = repository.writer().unwrap();
    for round in 0..3 {
        writer.replace_manifest(&labels, &round).await.unwrap();
        if round != 1 {
            writer.flush().await.unwrap();
        }
    }
    let found = repository.manifests().find(&labels).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].payload::<u8>().unwrap(), 2);

    assert!(writer.delete_manifest(&found[0].id).await.unwrap());
    assert!(!writer.delete_manifest(&found[0].id).await.unwrap(), "it is gone for its writer");
    assert!(repository.manifests().get(&found[0].id).await.is_ok(), "and not yet for others");
    writer.flush().await.unwrap();
    assert!(reopen(storage).await.manifests().all().await.unwrap().is_empty());
}

#[tokio::test]
async fn many_contents_of_manifests_are_merged_into_one() {
    let (storage, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    let mut gone = None;
    for round in 0..20 {
        let id = writer.put_manifest(&[("type", "note")], &round).await.unwrap();
        writer.flush().await.unwrap();
        gone.get_or_insert(id);
    }
    writer.delete_manifest(&gone.unwrap()).await.unwrap();
    writer.flush().await.unwrap();
    let before = repository.manifests().all().await.unwrap();
    assert_eq!(before.len(), 19);
    let filter = EntryFilter::prefix(b'm');
    let contents = || repository.entries(&filter);
    assert_eq!(contents().await.unwrap().len(), 21);

    let pending = writer.put_manifest(&[("type", "note")], "pending").await.unwrap();
    let indexes = ids(&storage, "xn").len();
    assert!(writer.compact_manifests().await.unwrap());
    writer.flush().await.unwrap();
    assert_eq!(ids(&storage, "xn").len(), indexes + 1, "old and new change in one index blob");
    assert_eq!(contents().await.unwrap().len(), 2);
    assert!(!writer.compact_manifests().await.unwrap());
    let mut after = reopen(storage).await.manifests().all().await.unwrap();
    assert_eq!(after.pop().unwrap().id, pending);
    assert_eq!(after, before);
}

#[tokio::test]
async fn merging_manifests_that_are_all_deleted_leaves_none_and_writes_none() {
    let (storage, repository) = fresh().await;
    let writer = repository.writer().unwrap();
    for round in 0..10 {
        let id = writer.put_manifest(&[("type", "note")], &round).await.unwrap();
        writer.flush().await.unwrap();
        writer.delete_manifest(&id).await.unwrap();
        writer.flush().await.unwrap();
    }
    assert!(writer.compact_manifests().await.unwrap());
    writer.flush().await.unwrap();
    let again = reopen(storage).await;
    assert_eq!(again.manifests().all().await.unwrap(), []);
    assert_eq!(again.entries(&EntryFilter::prefix(b'm')).await.unwrap(), []);
}

#[tokio::test]
async fn what_is_written_last_counts_even_if_another_clock_was_ahead() {
    let storage = Arc::new(MemoryStorage::new());
    let noon = 1_800_000_000;
    let clock = |secs| Arc::new(ManualClock::at(Timestamp::from_secs(secs)));
    let ahead = create_with(storage.clone(), CreateOptions::default(), at(&clock(noon + 3_600)));
    let writer = ahead.await.writer().unwrap();
    let note = writer.put_manifest(&[("type", "note")], "x").await.unwrap();
    writer.put_manifest(&[("type", "policy")], "of the future").await.unwrap();
    writer.flush().await.unwrap();

    let opened = Repository::open(storage.clone(), &secret("fixture"), at(&clock(noon))).await;
    let writer = opened.unwrap().writer().unwrap();
    assert!(writer.delete_manifest(&note).await.unwrap());
    let policy = writer.replace_manifest(&[("type", "policy")], "of now").await.unwrap();
    writer.flush().await.unwrap();
    let all = reopen(storage).await.manifests().all().await.unwrap();
    assert_eq!(all.len(), 1, "the deleted ones stay away");
    assert_eq!(all[0].id, policy);
    assert!(all[0].modified.secs() >= noon + 3_600, "later than what it replaces");
}
