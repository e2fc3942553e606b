//! Locks that are extended: on the way, on the server, and what it says no to.

use std::{sync::Arc, time::Duration};

use blob_core::{
    Amount, BlobError, BlobId, BlobStorage, Lock, LockMode, ManualClock, PutAttributes, ReadRange,
    Retain, Retry as Advice, StorageClass, StorageStack, Timestamp,
    layers::{Metrics, Operation, ReadOnly, Retry},
};
use s3_backend::S3Options;
use s3_testkit::{Action, Fault, Kind, TestServer, TestServerOptions};

use crate::support::{id, options, put, put_with, server, server_with, storage};

const DAY: Duration = Duration::from_secs(86_400);

async fn lockable() -> TestServer {
    server_with(TestServerOptions { object_lock: true, ..TestServerOptions::default() }).await
}

fn locked(mode: LockMode, days: u32) -> PutAttributes {
    PutAttributes { lock: Some(Lock { mode, period: DAY * days }), ..PutAttributes::default() }
}

/// So many days from the server's now, in whole seconds.
fn in_days(server: &TestServer, days: u32) -> Timestamp {
    Timestamp::from_secs(Timestamp::from(server.clock().now()).secs()).saturating_add(DAY * days)
}

/// What the server keeps.
fn lock_of(server: &TestServer, key: &str) -> (String, Timestamp) {
    let (mode, until) = server.objects().get(key).unwrap().lock.retention.unwrap();
    (mode, until.into())
}

async fn refused(
    storage: &impl Retain,
    id: &BlobId,
    until: Timestamp,
    mode: LockMode,
) -> BlobError {
    storage.extend_retention(id, until, mode).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_extended_in_one_request_and_nothing_else_of_the_blob_changes() {
    let server = lockable().await;
    let (storage, p1) = (storage(&server), id("p1"));
    put_with(&storage, "p1", locked(LockMode::Governance, 2)).await.unwrap();
    let (before, first) = (storage.head(&p1).await.unwrap(), lock_of(&server, "p1"));
    server.requests().clear();

    let until = in_days(&server, 30).saturating_add(Duration::from_nanos(1));
    storage.extend_retention(&p1, until, LockMode::Governance).await.unwrap();
    assert_eq!(server.requests().total(), 1);
    let sent = server.requests().of(Kind::Retain, "p1").pop().unwrap();
    assert_eq!((sent.method.as_str(), sent.query.as_str()), ("PUT", "retention="));
    assert!(sent.header("content-md5").is_some(), "S3 demands it");
    assert_eq!(sent.header("x-amz-bypass-governance-retention"), None, "never");
    let (mode, kept) = lock_of(&server, "p1");
    assert!(first.1 < kept && until < kept && kept < until.saturating_add(DAY), "{kept:?}");
    assert_eq!(mode, "GOVERNANCE");
    assert_eq!(storage.head(&p1).await.unwrap(), before, "neither its time nor its class");

    storage.extend_retention(&p1, kept, LockMode::Compliance).await.unwrap();
    assert_eq!(lock_of(&server, "p1"), ("COMPLIANCE".to_owned(), kept));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_without_a_lock_gets_one_and_one_whose_lock_ended_a_new_one() {
    let server = lockable().await;
    let (storage, p1) = (storage(&server), id("p1"));
    put(&storage, "p1", b"x").await;
    let until = in_days(&server, 1);
    storage.extend_retention(&p1, until, LockMode::Compliance).await.unwrap();
    assert_eq!(lock_of(&server, "p1"), ("COMPLIANCE".to_owned(), until));
    server.clock().advance(2 * DAY);
    let until = in_days(&server, 1);
    storage.extend_retention(&p1, until, LockMode::Governance).await.unwrap();
    assert_eq!(lock_of(&server, "p1"), ("GOVERNANCE".to_owned(), until));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_lock_is_shortened_or_softened_and_the_end_of_it_is_told() {
    let server = lockable().await;
    let storage = storage(&server);
    for (name, mode) in [("soft", LockMode::Governance), ("strict", LockMode::Compliance)] {
        put_with(&storage, name, locked(mode, 10)).await.unwrap();
        let kept = lock_of(&server, name);
        let error = refused(&storage, &id(name), in_days(&server, 5), mode).await;
        let BlobError::Locked { id: blob, until } = &error else { panic!("{error:?}") };
        assert_eq!((blob.as_str(), *until), (name, Some(kept.1)));
        assert_eq!(error.retry(), Advice::Never);
        assert_eq!(lock_of(&server, name), kept);
    }
    let kept = lock_of(&server, "strict");
    let error = refused(&storage, &id("strict"), in_days(&server, 50), LockMode::Governance).await;
    assert!(matches!(error, BlobError::Locked { until, .. } if until == Some(kept.1)), "{error:?}");
    assert_eq!(lock_of(&server, "strict"), kept);
    let all = server.requests().of(Kind::Retain, "");
    assert!(all.iter().all(|sent| sent.header("x-amz-bypass-governance-retention").is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_blob_is_locked_where_it_lies() {
    let server = lockable().await;
    let (storage, p1) = (storage(&server), id("p1"));
    let class = Some(StorageClass::DEEP_ARCHIVE);
    let attributes = PutAttributes { class, ..locked(LockMode::Compliance, 2) };
    put_with(&storage, "p1", attributes).await.unwrap();
    assert!(matches!(storage.get(&p1, ReadRange::Full).await, Err(BlobError::Archived { .. })));
    let until = in_days(&server, 180);
    storage.extend_retention(&p1, until, LockMode::Compliance).await.unwrap();
    assert_eq!(lock_of(&server, "p1").1, until);
    assert!(storage.head(&p1).await.unwrap().is_cold(), "and nothing was thawed");
    assert_eq!(server.requests().count(Kind::Restore, ""), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_cannot_be_is_told_by_its_reason() {
    let server = server().await;
    let bucket_without = storage(&server);
    put(&bucket_without, "p1", b"x").await;
    let far = in_days(&server, 30);
    let error = refused(&bucket_without, &id("p1"), far, LockMode::Compliance).await;
    let BlobError::InvalidOption { option, reason } = &error else { panic!("{error:?}") };
    assert_eq!(option, "object lock");
    assert!(reason.contains("Bucket is missing Object Lock Configuration"), "{reason}");

    let server = lockable().await;
    let with = storage(&server);
    let error = refused(&with, &id("absent"), far, LockMode::Compliance).await;
    assert!(matches!(&error, BlobError::NotFound { id } if id.as_str() == "absent"), "{error:?}");
    put(&with, "p1", b"x").await;
    let error = refused(&with, &id("p1"), Timestamp::from_secs(1), LockMode::Compliance).await;
    assert!(matches!(&error, BlobError::InvalidOption { option, .. } if option == "object lock"));
    with.delete(&id("p1")).await.unwrap();
    let error = refused(&with, &id("p1"), far, LockMode::Compliance).await;
    assert!(error.is_not_found(), "behind a delete marker: {error:?}");
    let nowhere =
        crate::support::open(S3Options { bucket: "no-bucket".into(), ..options(&server) });
    let error = refused(&nowhere, &id("p1"), far, LockMode::Compliance).await;
    assert!(matches!(error, BlobError::NoStorage { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_lock_is_told_which_right_it_takes() {
    let server = lockable().await;
    let (storage, p1) = (storage(&server), id("p1"));
    put_with(&storage, "p1", locked(LockMode::Compliance, 2)).await.unwrap();
    server.deny(Action::Retain, "");
    let error = refused(&storage, &p1, in_days(&server, 30), LockMode::Compliance).await;
    let BlobError::AccessDenied { op, id, reason } = &error else { panic!("{error:?}") };
    assert_eq!((*op, id.as_ref()), ("extend_retention", Some(&p1)));
    assert!(reason.contains("it takes the right s3:PutObjectRetention"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_of_the_past_and_a_read_only_connection_lock_nothing() {
    let server = lockable().await;
    put_with(&storage(&server), "p1", locked(LockMode::Governance, 2)).await.unwrap();
    let kept = lock_of(&server, "p1");
    let point_in_time = Some("2035-01-01T00:00:00Z".to_owned());
    let past = crate::support::open(S3Options { point_in_time, ..options(&server) });
    let layered = StorageStack::over(Arc::new(storage(&server))).layer(ReadOnly).build();
    let (p1, until) = (id("p1"), in_days(&server, 30));
    let of_layer = layered.retain().unwrap().extend_retention(&p1, until, LockMode::Governance);
    let of_layer = of_layer.await.unwrap_err();
    for error in [refused(&past, &p1, until, LockMode::Governance).await, of_layer] {
        assert!(matches!(error, BlobError::ReadOnly { op: "extend_retention" }), "{error:?}");
    }
    assert_eq!(lock_of(&server, "p1"), kept);
    assert_eq!(server.requests().count(Kind::Retain, ""), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_asked_for_again_and_each_attempt_counts() {
    let server = lockable().await;
    let bare = storage(&server);
    put_with(&bare, "p1", locked(LockMode::Compliance, 2)).await.unwrap();
    let metrics = Metrics::new();
    metrics.expect([("p1", StorageClass::GLACIER, 5)]);
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(0)));
    let retry = Retry::new().clock(clock);
    let stack = StorageStack::over(Arc::new(bare)).layer(metrics.clone()).layer(retry).build();
    let lost = Fault::error(500, "InternalError").on(Kind::Retain).times(2);
    server.faults().push(lost);
    let until = in_days(&server, 30);
    let retain = stack.retain().unwrap();
    retain.extend_retention(&id("p1"), until, LockMode::Compliance).await.unwrap();
    assert_eq!(lock_of(&server, "p1").1, until);
    let sooner = in_days(&server, 3);
    let shorter = retain.extend_retention(&id("p1"), sooner, LockMode::Compliance).await;
    assert!(matches!(shorter, Err(BlobError::Locked { .. })), "{shorter:?}");
    let count = metrics.snapshot().of(Operation::ExtendRetention, "p");
    assert_eq!((count.attempts, count.errors, count.bytes), (4, 3, 0));
    let puts = Amount { count: 2, bytes: 0 };
    assert_eq!(metrics.usage().puts[&StorageClass::GLACIER], puts, "failures of S3 are free");
    assert_eq!(metrics.expected_usage().puts[&StorageClass::GLACIER], puts);
}
