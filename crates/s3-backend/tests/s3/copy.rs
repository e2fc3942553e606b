//! Another class by a copy onto itself: what is kept, what is said, and what an answer is worth.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use blob_core::{
    Archive, BlobError, BlobStorage, Checksum, Encryption, Lock, LockMode, ManualClock, Payload,
    PutAttributes, PutOptions, ReadRange, ReadState, StorageClass, Timestamp,
};
use s3_backend::S3Storage;
use s3_testkit::{Fault, Kind, StoredObject, TestServer, TestServerOptions};

use crate::support::{id, options, put, server, server_with, storage};

/// A whole number of parts and a rest, of a size that a test can afford.
const LARGE: usize = 25;

fn to(class: &'static str) -> PutAttributes {
    PutAttributes { class: Some(StorageClass::new(class)), ..PutAttributes::default() }
}

async fn lockable() -> TestServer {
    server_with(TestServerOptions { object_lock: true, ..Default::default() }).await
}

/// A storage whose clock stands at 2027-01-15T08:00:00Z; `parts` = what is longer than 10 bytes goes
/// in parts of 10.
fn at_a_time(server: &TestServer, parts: bool) -> S3Storage {
    let now = Timestamp::from_secs(1_800_000_000);
    let builder = S3Storage::builder(options(server)).environment(|_| None);
    let builder = builder.clock(Arc::new(ManualClock::at(now)));
    if parts { builder.copy_in_parts(10, 10) } else { builder }.open().unwrap()
}

/// A blob with all that a blob can have.
async fn put_rich(storage: &S3Storage) {
    let attributes = PutAttributes {
        class: Some(StorageClass::STANDARD_IA),
        encryption: Some(Encryption::Kms {
            dual_layer: false,
            key: Some("arn:key".into()),
            bucket_key: Some(true),
            context: BTreeMap::new(),
        }),
        tags: vec![("owner".into(), "ann & bob".into()), ("kind".into(), "pack".into())],
        metadata: BTreeMap::from([("note".to_owned(), "mine".to_owned())]),
        cache_control: Some("no-store".into()),
        checksum: Some(Checksum::Sha256),
        lock: Some(Lock { mode: LockMode::Governance, period: Duration::from_secs(30 * 86_400) }),
        legal_hold: Some(true),
        ..PutAttributes::default()
    };
    let options = PutOptions {
        attributes,
        content_type: Some("text/plain"),
        if_absent: false,
        modified: None,
    };
    let bytes: Vec<u8> = (0..LARGE).map(|n| b'a' + n as u8).collect();
    storage.put(&id("p1"), Payload::from(bytes), &options).await.unwrap();
}

fn stored(server: &TestServer) -> StoredObject {
    server.objects().get("p1").unwrap()
}

/// All that must be as it was after a move of `p1`.
fn assert_kept(before: &StoredObject, after: &StoredObject, changed: &[&str]) {
    assert_eq!(after.bytes, before.bytes);
    for (name, value) in &before.headers {
        let is_class = name == "x-amz-storage-class";
        if !is_class && !changed.contains(&name.as_str()) {
            assert_eq!(after.header(name), Some(value.as_str()), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_named_stays_as_it_was_whole_or_in_parts() {
    for parts in [false, true] {
        let server = lockable().await;
        let storage = at_a_time(&server, parts);
        put_rich(&storage).await;
        let before = stored(&server);
        server.requests().clear();
        storage.reclass(&id("p1"), &to("GLACIER_IR")).await.unwrap();
        let after = stored(&server);
        assert_eq!(after.storage_class, "GLACIER_IR");
        assert!(before.headers.len() > 10, "{:?}", before.headers);
        assert_kept(&before, &after, &[]);
        assert_eq!(after.lock.retention, before.lock.retention);
        assert!(after.lock.legal_hold && after.lock.retention.is_some());
        assert_eq!(server.objects().versions("p1"), 2, "the old version is kept");
        assert_eq!(server.requests().copies("p"), usize::from(!parts));
        let multipart = server.requests().of(Kind::Multipart, "p").len();
        // The beginning, three parts, the end.
        assert_eq!(multipart, if parts { 5 } else { 0 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_named_takes_the_place_of_what_was_there() {
    for parts in [false, true] {
        let server = lockable().await;
        let storage = at_a_time(&server, parts);
        put_rich(&storage).await;
        let before = stored(&server);
        let lock = Lock { mode: LockMode::Compliance, period: Duration::from_secs(86_400) };
        let wanted = PutAttributes {
            encryption: Some(Encryption::S3),
            tags: vec![("tier".into(), "cold".into())],
            metadata: BTreeMap::from([("new".to_owned(), "yes".to_owned())]),
            checksum: Some(Checksum::Crc32),
            lock: Some(lock),
            legal_hold: Some(false),
            acl: Some("bucket-owner-full-control".into()),
            ..to("STANDARD")
        };
        storage.reclass(&id("p1"), &wanted).await.unwrap();
        let after = stored(&server);
        let changed = [
            "x-amz-tagging",
            "x-amz-meta-note",
            "x-amz-checksum-sha256",
            "x-amz-server-side-encryption",
            "x-amz-server-side-encryption-aws-kms-key-id",
            "x-amz-server-side-encryption-bucket-key-enabled",
            "x-amz-object-lock-mode",
        ];
        assert_kept(&before, &after, &changed);
        let expected = [
            ("x-amz-tagging", Some("tier=cold")),
            ("x-amz-meta-new", Some("yes")),
            ("x-amz-meta-note", None),
            ("x-amz-checksum-sha256", None),
            ("x-amz-server-side-encryption", Some("AES256")),
            ("x-amz-server-side-encryption-aws-kms-key-id", None),
            // Neither lock is softened or shortened, and a hold is not lifted by the way.
            ("x-amz-object-lock-mode", Some("COMPLIANCE")),
            ("x-amz-object-lock-retain-until-date", Some("2027-02-14T08:00:00Z")),
            ("x-amz-object-lock-legal-hold", Some("ON")),
            ("x-amz-acl", Some("bucket-owner-full-control")),
        ];
        for (name, value) in expected {
            assert_eq!(after.header(name), value, "{name}, in parts: {parts}");
        }
        assert!(after.header("x-amz-checksum-crc32").is_some());
        assert_eq!(after.storage_class, "STANDARD", "it is always sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_there_already_costs_one_head_and_no_copy() {
    let server = server().await;
    server.objects().put_with_class("p1", "bytes", "GLACIER_IR");
    let storage = storage(&server);
    storage.reclass(&id("p1"), &to("GLACIER_IR")).await.unwrap();
    storage.reclass(&id("p1"), &PutAttributes::default()).await.unwrap();
    assert_eq!((server.requests().total(), server.requests().copies("")), (2, 0));
    let tags = PutAttributes { tags: vec![("a".into(), "1".into())], ..Default::default() };
    storage.reclass(&id("p1"), &tags).await.unwrap();
    let after = stored(&server);
    let now = (after.storage_class.as_str(), after.header("x-amz-tagging"));
    assert_eq!(now, ("GLACIER_IR", Some("a=1")), "the class is kept where none is named");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_a_good_answer_is_an_error_by_its_code() {
    let server = server().await;
    let storage = storage(&server);
    put(&storage, "p1", b"bytes").await;
    let reclass = async || storage.reclass(&id("p1"), &to("GLACIER_IR")).await;
    let fault = |fault: Fault| server.faults().push(fault.on(Kind::Copy));
    fault(Fault::error_in_ok("SlowDown"));
    assert!(matches!(reclass().await, Err(BlobError::Throttled { .. })));
    fault(Fault::error_in_ok("AccessDenied"));
    assert!(matches!(reclass().await, Err(BlobError::AccessDenied { .. })));
    for fault_played in [Fault::error_in_ok("InternalError"), Fault::empty_ok(), Fault::html(200)] {
        fault(fault_played);
        let error = reclass().await.unwrap_err();
        assert!(matches!(error, BlobError::Transient { .. }), "{error:?}");
    }
    assert_eq!(stored(&server).storage_class, "STANDARD", "none of them was a copy");
    reclass().await.unwrap();
    assert_eq!(stored(&server).storage_class, "GLACIER_IR");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_answer_is_lost_a_head_tells_the_outcome() {
    for fault in [Fault::lost_answer(), Fault::short_body(40)] {
        let server = server().await;
        let storage = storage(&server);
        put(&storage, "p1", b"bytes").await;
        server.faults().push(fault.on(Kind::Copy));
        storage.reclass(&id("p1"), &to("GLACIER_IR")).await.unwrap();
        assert_eq!(stored(&server).storage_class, "GLACIER_IR");
        assert_eq!((server.requests().copies("p1"), server.requests().heads("p1")), (1, 2));
    }
    let server = server().await;
    let storage = storage(&server);
    put(&storage, "p1", b"bytes").await;
    server.faults().push(Fault::drop_connection().on(Kind::Copy));
    let error = storage.reclass(&id("p1"), &to("GLACIER_IR")).await.unwrap_err();
    assert_ne!(error.retry(), blob_core::Retry::Never, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_replaced_meanwhile_is_not_copied() {
    let server = server().await;
    let storage = storage(&server);
    put(&storage, "p1", b"old").await;
    server.faults().push(Fault::stall(Duration::from_millis(300)).on(Kind::Copy));
    let copying = {
        let storage = storage.clone();
        tokio::spawn(async move { storage.reclass(&id("p1"), &to("GLACIER_IR")).await })
    };
    while server.requests().copies("p1") == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    put(&storage, "p1", b"new").await;
    let error = copying.await.unwrap().unwrap_err();
    assert!(matches!(error, BlobError::Transient { .. }), "another try looks anew: {error:?}");
    assert_eq!(stored(&server).storage_class, "STANDARD");
    assert_eq!(storage.get(&id("p1"), ReadRange::Full).await.unwrap(), &b"new"[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_blob_is_archived_by_whatever_name_the_server_calls_it() {
    let server = server().await;
    server.objects().put_with_class("p1", "cold", "DEEP_ARCHIVE");
    let storage = storage(&server);
    let names = [None, Some("InvalidObjectState"), Some("AccessDenied")];
    for name in names {
        if let Some(name) = name {
            server.faults().push(Fault::error(403, name).on(Kind::Copy));
        }
        let error = storage.reclass(&id("p1"), &to("STANDARD")).await.unwrap_err();
        let BlobError::Archived { class, state, .. } = error else { panic!("{name:?}: {error:?}") };
        assert_eq!(class, Some(StorageClass::DEEP_ARCHIVE));
        assert_eq!(state, ReadState::Cold);
    }
    server.objects().put("hot", "hot");
    server.faults().push(Fault::error(403, "AccessDenied").on(Kind::Copy));
    let error = storage.reclass(&id("hot"), &to("GLACIER_IR")).await.unwrap_err();
    assert!(matches!(error, BlobError::AccessDenied { .. }), "{error:?}");
    let error = storage.reclass(&id("nothing"), &to("GLACIER_IR")).await.unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    let error = storage.reclass(&id("hot"), &to("GLACIAL")).await.unwrap_err();
    assert!(matches!(&error, BlobError::InvalidOption { option, .. } if option == "storage class"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_parts_that_fails_is_aborted_and_leaves_the_blob() {
    let server = lockable().await;
    let storage = at_a_time(&server, true);
    put_rich(&storage).await;
    for skip in 1..=4 {
        server.requests().clear();
        let fault = Fault::error_in_ok("InternalError").on(Kind::Multipart).skip(skip);
        server.faults().push(fault);
        let error = storage.reclass(&id("p1"), &to("GLACIER_IR")).await.unwrap_err();
        assert!(matches!(error, BlobError::Transient { .. }), "{error:?}");
        assert_eq!(stored(&server).storage_class, "STANDARD_IA");
        let last = server.requests().of(Kind::Multipart, "p").pop().unwrap();
        assert_eq!((last.method.as_str(), last.status), ("DELETE", Some(204)));
        server.faults().clear();
    }
    server.faults().push(Fault::lost_answer().on(Kind::Multipart).skip(4));
    storage.reclass(&id("p1"), &to("GLACIER_IR")).await.unwrap();
    assert_eq!(stored(&server).storage_class, "GLACIER_IR");
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_versions_are_kept_is_asked_and_may_stay_unknown() {
    assert!(!storage(&server().await).keeps_versions().await.unwrap());
    let versioned = lockable().await;
    assert!(storage(&versioned).keeps_versions().await.unwrap());
    versioned.faults().push(Fault::access_denied().on(Kind::Bucket));
    let error = storage(&versioned).keeps_versions().await.unwrap_err();
    assert!(matches!(error, BlobError::AccessDenied { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_of_the_past_is_not_moved() {
    let server = lockable().await;
    put(&storage(&server), "p1", b"bytes").await;
    let point_in_time = Some("2037-01-01T00:00:00Z".to_owned());
    let past = crate::support::open(s3_backend::S3Options { point_in_time, ..options(&server) });
    let error = past.reclass(&id("p1"), &to("GLACIER_IR")).await.unwrap_err();
    assert!(matches!(error, BlobError::ReadOnly { .. }), "{error:?}");
}
