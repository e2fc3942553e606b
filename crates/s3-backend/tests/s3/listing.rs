//! Listings: all pages, only blobs, class and state of each.

use blob_core::{BlobError, ReadState, StorageClass};
use s3_backend::S3Options;
use s3_testkit::{ArchiveAccess, Fault, Kind, TestServerOptions};

use crate::support::{list, names, open, options, put, server, server_with, storage};

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_over_several_pages_has_all_blobs_once() {
    let server = server_with(TestServerOptions { page_size: 7, ..Default::default() }).await;
    for n in 0..50 {
        server.objects().put(&format!("p{n:02}"), "x");
        server.objects().put(&format!("q{n:02}"), "x");
    }
    let expected: Vec<_> = (0..50).map(|n| format!("p{n:02}")).collect();
    assert_eq!(names(&storage(&server), "p").await, expected);
    assert_eq!(server.requests().lists("p"), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_fails_on_its_second_page_ends_with_the_error() {
    let server = server_with(TestServerOptions { page_size: 2, ..Default::default() }).await;
    for n in 0..5 {
        server.objects().put(&format!("p{n}"), "x");
    }
    server.faults().push(Fault::access_denied().on(Kind::List).skip(1));
    let error = list(&storage(&server), "").await.unwrap_err();
    assert!(matches!(error, BlobError::AccessDenied { op: "list", .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_was_cut_is_an_error() {
    let server = server().await;
    put(&storage(&server), "p1", b"x").await;
    for length in [0, 10, 200, 300] {
        server.faults().push(Fault::short_body(length).on(Kind::List));
        let error = list(&storage(&server), "").await.unwrap_err();
        assert!(matches!(error, BlobError::Transient { .. }), "{length}: {error:?}");
    }
    server.faults().push(Fault::empty_ok().on(Kind::List));
    assert!(list(&storage(&server), "").await.is_err());
    server.faults().push(Fault::error_in_ok("InternalError").on(Kind::List));
    assert!(list(&storage(&server), "").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_blob_is_left_out() {
    let server = server().await;
    for key in ["pre/", "pre/p1", "pre/sub/deep", "pre/ctrl\u{1}", "prefix-of-another", "q"] {
        server.objects().put(key, "x");
    }
    let storage = open(S3Options { prefix: "pre/".into(), ..options(&server) });
    assert_eq!(names(&storage, "").await, ["p1"]);
    assert_eq!(names(&storage, "nothing").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_blob_is_listed_with_size_time_class_and_state() {
    let server = server().await;
    server.objects().put_with_class("a", "1", "STANDARD");
    server.objects().put_with_class("b", "22", "GLACIER_IR");
    server.objects().put_with_class("c", "333", "DEEP_ARCHIVE");
    server.objects().put_with_class("d", "4444", "INTELLIGENT_TIERING");
    let metas = list(&storage(&server), "").await.unwrap();
    let told: Vec<_> = metas
        .iter()
        .map(|meta| (meta.size, meta.class.as_ref().unwrap().as_str(), meta.is_cold()))
        .collect();
    let expected = [
        (1, "STANDARD", false),
        (2, "GLACIER_IR", false),
        (3, "DEEP_ARCHIVE", true),
        (4, "INTELLIGENT_TIERING", false),
    ];
    assert_eq!(told, expected);
    assert_eq!(metas[0].state, Some(ReadState::Ready));
    assert_eq!(metas[3].state, Some(ReadState::Ready), "the bucket has no archive tiers");
    // Where it has, or does not say, only a HEAD tells.
    server.objects().set_archive_access("d", Some(ArchiveAccess::Archive));
    let metas = list(&storage(&server), "").await.unwrap();
    assert_eq!(metas[3].state, None);
    server.objects().set_archive_access("d", None);
    server.faults().push(Fault::access_denied().on(Kind::Bucket).times(1));
    let other = storage(&server);
    server.requests().clear();
    for _ in 0..2 {
        assert_eq!(list(&other, "").await.unwrap()[3].state, None);
    }
    assert_eq!(server.requests().count(Kind::Bucket, ""), 1, "it is asked once");
    let age = std::time::SystemTime::now().duration_since(metas[0].modified.into());
    assert!(age.unwrap().as_secs() < 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_refuses_the_restore_status_is_asked_without_it() {
    let server = server().await;
    server.objects().put_with_class("p1", "x", StorageClass::GLACIER.as_str());
    let storage = storage(&server);
    server.faults().push(Fault::error(501, "NotImplemented").on(Kind::List));
    for _ in 0..2 {
        let metas = list(&storage, "p").await.unwrap();
        assert!(metas[0].state.is_none() && metas[0].is_cold());
    }
    let asked: Vec<_> = server.requests().of(Kind::List, "p");
    let asked: Vec<_> =
        asked.iter().map(|r| r.header("x-amz-optional-object-attributes").is_some()).collect();
    assert_eq!(asked, [true, false, false]);
}
