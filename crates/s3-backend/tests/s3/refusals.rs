//! What goes wrong, ordered from the server, comes out as the error it is.

use std::time::Duration;

use blob_core::{
    BlobError, BlobStorage, Lock, LockMode, Payload, PutAttributes, PutOptions, ReadRange, Retry,
};
use s3_backend::{S3Options, Secret};
use s3_testkit::{Action, Effect, Fault, Kind, TestServerOptions};

use crate::support::{id, list, open, options, put, put_with, server, server_with, storage};

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_the_table_is_its_error() {
    let server = server().await;
    let storage = storage(&server);
    put(&storage, "p1", b"bytes").await;
    type Check = fn(&BlobError) -> bool;
    let cases: [(Fault, Check); 13] = [
        (Fault::slow_down(), |e| matches!(e, BlobError::Throttled { .. })),
        (Fault::error(429, "TooManyRequests"), |e| matches!(e, BlobError::Throttled { .. })),
        (Fault::internal_error(), |e| matches!(e, BlobError::Transient { .. })),
        (Fault::error(400, "RequestTimeout"), |e| matches!(e, BlobError::Transient { .. })),
        (Fault::html(502), |e| matches!(e, BlobError::Transient { .. })),
        (Fault::access_denied(), |e| matches!(e, BlobError::AccessDenied { op: "get", .. })),
        (Fault::expired_token(), |e| matches!(e, BlobError::Credentials { .. })),
        (Fault::error(403, "InvalidAccessKeyId"), |e| matches!(e, BlobError::Credentials { .. })),
        (Fault::clock_skewed(), |e| matches!(e, BlobError::ClockSkew { .. })),
        (Fault::error(404, "NoSuchBucket"), |e| matches!(e, BlobError::NoStorage { .. })),
        (Fault::error(404, "NoSuchKey"), |e| matches!(e, BlobError::NotFound { .. })),
        (Fault::drop_connection(), |e| matches!(e, BlobError::Transient { .. })),
        (Fault::cut_body(2), |e| matches!(e, BlobError::Transient { .. })),
    ];
    for (fault, is_right) in cases {
        let name = format!("{fault:?}");
        // Twice: a broken connection that had been idle is tried again by hyper itself.
        server.faults().push(fault.on(Kind::Get).times(2));
        let error = storage.get(&id("p1"), ReadRange::Full).await.unwrap_err();
        assert!(is_right(&error), "{name} became {error:?}");
        server.faults().clear();
    }
    assert_eq!(storage.get(&id("p1"), ReadRange::Full).await.unwrap(), &b"bytes"[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_is_one_request_however_it_fails() {
    let server = server().await;
    let storage = storage(&server);
    for fault in [Fault::slow_down(), Fault::internal_error(), Fault::access_denied()] {
        server.requests().clear();
        server.faults().push(fault.on(Kind::Get));
        storage.get(&id("p1"), ReadRange::Full).await.unwrap_err();
        let (gets, all) = (server.requests().gets("p1"), server.requests().total());
        assert_eq!(gets, 1, "retries belong to the layer above");
        // A refusal may mean that the blob is cold: one HEAD tells.
        assert_eq!(all - gets, server.requests().heads("p1"));
        assert!(all <= 2, "{all} requests");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_answer_says_how_long_to_wait() {
    let server = server().await;
    let headers = vec![("retry-after".to_owned(), "3".to_owned())];
    let effect = Effect::Answer { status: 503, headers, body: Default::default() };
    server.faults().push(Fault::new(effect));
    let error = storage(&server).get(&id("p1"), ReadRange::Full).await.unwrap_err();
    assert_eq!(error.retry(), Retry::After(Duration::from_secs(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found_and_a_missing_bucket_is_no_storage() {
    let server = server().await;
    let storage = storage(&server);
    assert!(storage.get(&id("p1"), ReadRange::Full).await.unwrap_err().is_not_found());
    assert!(storage.head(&id("p1")).await.unwrap_err().is_not_found());
    storage.delete(&id("p1")).await.unwrap();

    let nowhere = open(S3Options { bucket: "no-such-bucket".into(), ..options(&server) });
    let data = || Payload::from(&b"x"[..]);
    let errors = [
        nowhere.get(&id("p1"), ReadRange::Full).await.unwrap_err(),
        nowhere.put(&id("p1"), data(), &PutOptions::default()).await.unwrap_err(),
        nowhere.delete(&id("p1")).await.unwrap_err(),
        list(&nowhere, "").await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, BlobError::NoStorage { .. }), "{error:?}");
        assert!(error.to_string().contains("no-such-bucket"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_rights_are_denied_and_named() {
    let server = server().await;
    let storage = storage(&server);
    put(&storage, "p1", b"bytes").await;
    for action in [Action::Get, Action::List, Action::Put, Action::Delete] {
        server.deny(action, "");
    }
    let options = PutOptions::default();
    let errors = [
        ("get", storage.get(&id("p1"), ReadRange::Full).await.unwrap_err()),
        ("head", storage.head(&id("p1")).await.unwrap_err()),
        ("put", storage.put(&id("p1"), Payload::new(), &options).await.unwrap_err()),
        ("delete", storage.delete(&id("p1")).await.unwrap_err()),
        ("list", list(&storage, "").await.unwrap_err()),
    ];
    for (name, error) in errors {
        assert!(matches!(error, BlobError::AccessDenied { op, .. } if op == name), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_and_none_are_told_apart_from_missing_rights() {
    let server = server().await;
    let base = options(&server);
    let wrong = S3Options { secret_access_key: "wrong".into(), ..base.clone() };
    let unknown = S3Options { access_key_id: "nobody".into(), ..base.clone() };
    for wrong in [wrong, unknown] {
        for error in [
            open(wrong.clone()).get(&id("p1"), ReadRange::Full).await.unwrap_err(),
            open(wrong.clone()).head(&id("p1")).await.unwrap_err(),
        ] {
            assert!(matches!(error, BlobError::Credentials { .. }), "{error:?}");
        }
    }
    server.requests().clear();
    let none =
        S3Options { access_key_id: String::new(), secret_access_key: Secret::default(), ..base };
    let error = open(none).get(&id("p1"), ReadRange::Full).await.unwrap_err();
    assert!(error.to_string().contains("AWS_ACCESS_KEY_ID"), "{error}");
    assert_eq!(server.requests().total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_must_be_new_is_written_once() {
    let server = server().await;
    let storage = storage(&server);
    let options = PutOptions { if_absent: true, ..PutOptions::default() };
    let p1 = id("p1");
    let put = |bytes: &'static [u8]| storage.put(&p1, Payload::from(bytes), &options);
    put(b"first").await.unwrap();
    let error = put(b"second").await.unwrap_err();
    assert!(matches!(error, BlobError::AlreadyExists { .. }), "{error:?}");
    server.faults().push(Fault::conditional_conflict());
    let error = storage.put(&id("p2"), Payload::new(), &options).await.unwrap_err();
    assert!(matches!(error, BlobError::Transient { .. }), "nobody won yet: {error:?}");
    assert_eq!(server.objects().get("p1").unwrap().bytes, "first");
}

/// As on Amazon S3: a lock is on a version, and putting and deleting by the key leave that alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_blob_can_be_hidden_and_not_destroyed() {
    let server = server_with(TestServerOptions { object_lock: true, ..Default::default() }).await;
    let storage = storage(&server);
    let lock = Lock { mode: LockMode::Compliance, period: Duration::from_secs(86_400) };
    let locked = || PutAttributes { lock: Some(lock), ..PutAttributes::default() };
    put_with(&storage, "p1", locked()).await.unwrap();
    put_with(&storage, "p1", PutAttributes::default()).await.unwrap();
    storage.delete(&id("p1")).await.unwrap();
    assert!(list(&storage, "").await.unwrap().is_empty());
    assert_eq!(server.objects().versions("p1"), 3);
    // Services that refuse say so.
    server.faults().push(Fault::error(403, "ObjectLocked").on(Kind::Delete));
    let error = storage.delete(&id("p1")).await.unwrap_err();
    assert!(matches!(error, BlobError::Locked { .. }), "{error:?}");
}
