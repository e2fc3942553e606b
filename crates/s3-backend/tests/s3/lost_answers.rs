//! A put that was done and whose answer was lost: with [`Retry`] above, the caller never hears that
//! the blob which it has just written had been there before.
//!
//! Kopia's format blob and `.storageconfig` are written so that they replace nothing (`If-None-Match`);
//! a false "already exists" would make a repository that was created look like somebody else's.

use std::{sync::Arc, time::Duration};

use blob_core::{
    BlobError, BlobStorage, DynStorage, Payload, PutAttributes, PutOptions, ReadRange,
    StorageClass, StorageStack, layers::Retry,
};
use s3_testkit::{Fault, Kind, TestServer};

use crate::support::{id, server, storage};

fn retrying(server: &TestServer) -> DynStorage {
    let at_once = Retry::new().pauses(Duration::ZERO, Duration::ZERO);
    StorageStack::over(Arc::new(storage(server))).layer(at_once).build()
}

fn new_only() -> PutOptions {
    PutOptions { if_absent: true, ..PutOptions::default() }
}

/// The state of the connection that the put meets: hyper takes another one by itself when one that
/// was idle turns out to be closed, which must not become a second put that nobody knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connection {
    New,
    Used,
}

async fn lose_the_answer(connection: Connection, times: usize) {
    let server = server().await;
    let storage = retrying(&server);
    if connection == Connection::Used {
        storage.head(&id("p1")).await.unwrap_err();
    }
    server.faults().push(Fault::lost_answer().on(Kind::Put).times(times));
    let put = storage.put(&id("p1"), Payload::from(&b"ours"[..]), &new_only()).await;
    assert!(put.is_ok(), "{connection:?}, {times} answers lost: {put:?}");
    assert_eq!(server.objects().get("p1").unwrap().bytes, "ours");
    let puts = server.requests().of(Kind::Put, "p1").len();
    assert_eq!(puts, times + 1, "{connection:?}: the put was asked for again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_whose_answer_was_lost_succeeds_and_finds_its_own_blob() {
    for connection in [Connection::New, Connection::Used] {
        for times in [1, 3] {
            lose_the_answer(connection, times).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_an_error_worth_a_retry_even_on_a_used_connection() {
    let server = server().await;
    let storage = storage(&server);
    for _ in 0..3 {
        storage.head(&id("p1")).await.unwrap_err();
        server.faults().push(Fault::lost_answer().on(Kind::Put));
        let put = storage.put(&id("p2"), Payload::from(&b"ours"[..]), &new_only()).await;
        let error = put.unwrap_err();
        assert!(matches!(error, BlobError::Transient { .. }), "{error:?}");
        storage.delete(&id("p2")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_of_somebody_else_is_told_after_a_lost_answer_too() {
    let server = server().await;
    let storage = retrying(&server);
    let theirs = Payload::from(&b"them"[..]);
    storage.put(&id("p1"), theirs, &PutOptions::default()).await.unwrap();
    server.faults().push(Fault::lost_answer().on(Kind::Put));
    let put = storage.put(&id("p1"), Payload::from(&b"ours"[..]), &new_only()).await;
    let error = put.unwrap_err();
    assert!(matches!(error, BlobError::AlreadyExists { .. }), "{error:?}");
    assert_eq!(storage.get(&id("p1"), ReadRange::Full).await.unwrap(), &b"them"[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_blob_is_known_by_its_length_after_a_lost_answer() {
    let server = server().await;
    let storage = retrying(&server);
    let class = Some(StorageClass::new("DEEP_ARCHIVE"));
    let attributes = PutAttributes { class, ..PutAttributes::default() };
    let options = PutOptions { attributes, ..new_only() };
    server.faults().push(Fault::lost_answer().on(Kind::Put));
    storage.put(&id("p1"), Payload::from(&b"ours"[..]), &options).await.unwrap();
    assert_eq!(server.objects().get("p1").unwrap().bytes, "ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_of_two_writers_is_settled_by_another_try() {
    let server = server().await;
    let storage = retrying(&server);
    for (name, there) in [("p1", None), ("p2", Some(&b"them"[..]))] {
        if let Some(theirs) = there {
            let options = PutOptions::default();
            storage.put(&id(name), Payload::from(theirs), &options).await.unwrap();
        }
        server.faults().push(Fault::conditional_conflict());
        let put = storage.put(&id(name), Payload::from(&b"ours"[..]), &new_only()).await;
        assert_eq!(put.is_ok(), there.is_none(), "{put:?}");
        let stored = server.objects().get(name).unwrap().bytes;
        assert_eq!(stored, there.unwrap_or(&b"ours"[..]));
    }
}
