//! A bucket as it was: what is seen, at what price, and what can't be done.

use std::time::Duration;

use blob_core::{
    BlobError, BlobStorage, Payload, PutOptions, ReadRange, ReadState, ThawOutcome, ThawRequest,
    Tier,
};
use s3_backend::{S3Options, S3Storage};
use s3_testkit::{Kind, TestServer, TestServerOptions};

use crate::support::{id, list, names, open, options, put, server, server_with, storage};

const HOUR: Duration = Duration::from_secs(3600);

async fn versioned(page_size: usize) -> TestServer {
    server_with(TestServerOptions { versioning: true, page_size, ..Default::default() }).await
}

fn view(server: &TestServer, at: &str) -> S3Storage {
    open(S3Options { point_in_time: Some(at.to_owned()), ..options(server) })
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_replaced_and_new_blobs_are_as_they_were() {
    for page_size in [1, 2, 3, 1000] {
        let server = versioned(page_size).await;
        let present = storage(&server);
        put(&present, "gone", b"was there").await;
        put(&present, "p1", b"first").await;
        put(&present, "p10", b"a longer name").await;
        put(&present, "twice", b"one").await;
        present.delete(&id("twice")).await.unwrap();
        server.clock().advance(HOUR);
        let then = server.clock().text();
        server.clock().advance(HOUR);
        put(&present, "p1", b"second").await;
        put(&present, "new", b"x").await;
        put(&present, "twice", b"two").await;
        present.delete(&id("gone")).await.unwrap();
        assert_eq!(names(&present, "").await, ["new", "p1", "p10", "twice"]);

        let past = view(&server, &then);
        assert!(past.info().read_only);
        assert_eq!(names(&past, "").await, ["gone", "p1", "p10"], "{page_size} a page");
        assert_eq!(names(&past, "p1").await, ["p1", "p10"]);
        let sizes: Vec<u64> = list(&past, "").await.unwrap().iter().map(|it| it.size).collect();
        assert_eq!(sizes, [9, 5, 13]);
        // One that was never listed finds its version itself.
        for past in [past, view(&server, &then)] {
            assert_eq!(past.get(&id("p1"), ReadRange::Full).await.unwrap(), &b"first"[..]);
            let range = ReadRange::Bytes { offset: 4, length: 5 };
            assert_eq!(past.get(&id("gone"), range).await.unwrap(), &b"there"[..]);
            assert_eq!(past.head(&id("p1")).await.unwrap().size, 5);
            for missing in ["new", "twice", "never"] {
                let error = past.get(&id(missing), ReadRange::Full).await.unwrap_err();
                assert!(matches!(error, BlobError::NotFound { .. }), "{missing}: {error:?}");
                let error = past.head(&id(missing)).await.unwrap_err();
                assert!(matches!(error, BlobError::NotFound { .. }), "{missing}: {error:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_listed_is_read_with_one_request() {
    let server = versioned(1000).await;
    let present = storage(&server);
    put(&present, "p1", b"first").await;
    put(&present, "p2", b"second").await;
    server.clock().advance(HOUR);
    let past = view(&server, &server.clock().text());
    list(&past, "").await.unwrap();
    server.requests().clear();
    for name in ["p1", "p2", "p1"] {
        past.get(&id(name), ReadRange::Full).await.unwrap();
    }
    let kinds: Vec<Kind> = server.requests().all().iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [Kind::Get, Kind::Get, Kind::Get]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed_in_the_past() {
    let server = versioned(1000).await;
    put(&storage(&server), "p1", b"first").await;
    server.clock().advance(HOUR);
    let past = view(&server, &server.clock().text());
    server.requests().clear();
    let put = past.put(&id("p2"), Payload::from("x"), &PutOptions::default()).await;
    assert!(matches!(put, Err(BlobError::ReadOnly { op: "put" })), "{put:?}");
    let deleted = past.delete(&id("p1")).await;
    assert!(matches!(deleted, Err(BlobError::ReadOnly { op: "delete" })), "{deleted:?}");
    assert!(server.requests().all().is_empty(), "nothing was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_versions_has_no_past() {
    let server = server().await;
    put(&storage(&server), "p1", b"first").await;
    let past = view(&server, &server.clock().text());
    for error in [
        list(&past, "").await.unwrap_err(),
        past.get(&id("p1"), ReadRange::Full).await.unwrap_err(),
        past.head(&id("p1")).await.unwrap_err(),
    ] {
        let BlobError::InvalidOption { option, reason } = error else { panic!("{error:?}") };
        assert_eq!(option, "pointInTime");
        assert!(reason.contains("test-bucket does not keep versions"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_in_an_archive_is_thawed_itself() {
    let server = versioned(1000).await;
    server.objects().put_with_class("p1", "archived", "GLACIER");
    server.clock().advance(HOUR);
    let past = view(&server, &server.clock().text());
    server.clock().advance(HOUR);
    server.objects().put("p1", "another");
    let listed = list(&past, "").await.unwrap();
    assert_eq!(listed[0].class.as_ref().unwrap().as_str(), "GLACIER");
    let error = past.get(&id("p1"), ReadRange::Full).await.unwrap_err();
    assert!(matches!(error, BlobError::Archived { .. }), "{error:?}");
    let archive = past.archive().unwrap();
    let request = ThawRequest { days: 2, tier: Tier::Standard };
    assert_eq!(archive.thaw(&id("p1"), &request).await.unwrap(), ThawOutcome::Started);
    assert_eq!(archive.read_state(&id("p1")).await.unwrap(), ReadState::Thawing);
    assert_eq!(list(&past, "").await.unwrap()[0].state, Some(ReadState::Thawing));
    server.clock().advance(10 * HOUR);
    assert_eq!(past.get(&id("p1"), ReadRange::Full).await.unwrap(), &b"archived"[..]);
}
