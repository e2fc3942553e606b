//! Every attribute of a put, as the server saw it, and none that nobody asked for.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use blob_core::{
    BlobError, BlobStorage, Checksum, Encryption, Lock, LockMode, ManualClock, Payload,
    PutAttributes, PutOptions, StorageClass, Timestamp,
};
use s3_backend::S3Storage;
use s3_testkit::{Fault, Kind, TestServerOptions};

use crate::support::{id, last_put, options, put, put_with, server, server_with, storage};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_policy_nothing_but_type_and_checksum_is_sent() {
    let server = server().await;
    put(&storage(&server), "p1", b"123456789").await;
    let sent = last_put(&server, "p1");
    let about_the_blob = |name: &&str| {
        name.starts_with("x-amz-") && !["x-amz-date", "x-amz-content-sha256"].contains(name)
            || name.starts_with("content-") && *name != "content-length"
            || *name == "cache-control"
    };
    let names: Vec<_> = sent.headers.keys().map(|name| name.as_str()).collect();
    let names: Vec<_> = names.into_iter().filter(about_the_blob).collect();
    assert_eq!(names, ["content-type", "x-amz-checksum-crc32c"], "and no storage class");
    assert_eq!(sent.header("content-type"), Some("application/x-kopia"));
    assert_eq!(sent.header("x-amz-checksum-crc32c"), Some("4waSgw=="), "of 123456789");
    assert_eq!(server.requests().total(), 1, "no HeadBucket, no location, no second try");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attribute_reaches_the_server() {
    let server = server_with(TestServerOptions { object_lock: true, ..Default::default() }).await;
    let now = Timestamp::from_secs(1_800_000_000);
    let builder = S3Storage::builder(options(&server)).environment(|_| None);
    let storage = builder.clock(Arc::new(ManualClock::at(now))).open().unwrap();
    let context = BTreeMap::from([("repo".to_owned(), "photos".to_owned())]);
    let attributes = PutAttributes {
        class: Some(StorageClass::GLACIER_IR),
        encryption: Some(Encryption::Kms {
            dual_layer: false,
            key: Some("alias/backup".into()),
            bucket_key: Some(true),
            context,
        }),
        tags: vec![("owner".into(), "ann & bob".into()), ("kind".into(), "pack".into())],
        metadata: BTreeMap::from([("note".to_owned(), "three   spaces".to_owned())]),
        cache_control: Some("no-store".into()),
        checksum: Some(Checksum::Sha256),
        lock: Some(Lock { mode: LockMode::Compliance, period: Duration::from_secs(30 * 86_400) }),
        legal_hold: Some(true),
        acl: Some("bucket-owner-full-control".into()),
        refusal: None,
    };
    let options = PutOptions {
        attributes,
        content_type: Some("text/plain"),
        if_absent: true,
        modified: None,
    };
    storage.put(&id("p1"), Payload::from(&b"bytes"[..]), &options).await.unwrap();
    let sent = last_put(&server, "p1");
    let expected = [
        ("content-type", "text/plain"),
        ("if-none-match", "*"),
        ("x-amz-storage-class", "GLACIER_IR"),
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "alias/backup"),
        ("x-amz-server-side-encryption-bucket-key-enabled", "true"),
        ("x-amz-server-side-encryption-context", "eyJyZXBvIjoicGhvdG9zIn0="),
        ("x-amz-tagging", "owner=ann%20%26%20bob&kind=pack"),
        ("x-amz-meta-note", "three spaces"),
        ("cache-control", "no-store"),
        ("x-amz-object-lock-mode", "COMPLIANCE"),
        ("x-amz-object-lock-retain-until-date", "2027-02-14T08:00:00Z"),
        ("x-amz-object-lock-legal-hold", "ON"),
        ("x-amz-acl", "bucket-owner-full-control"),
    ];
    for (name, value) in expected {
        assert_eq!(sent.header(name), Some(value), "{name}");
    }
    assert!(sent.headers.contains_key("x-amz-checksum-sha256"), "its value the server verified");
    assert!(sent.headers.contains_key("content-md5"), "an object lock demands one");
    assert_eq!(server.objects().get("p1").unwrap().storage_class, "GLACIER_IR");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_checksum_is_the_one_that_the_server_computes() {
    let server = server().await;
    let storage = storage(&server);
    let kinds = [
        (Checksum::Crc32, "crc32"),
        (Checksum::Crc32c, "crc32c"),
        (Checksum::Crc64Nvme, "crc64nvme"),
        (Checksum::Sha1, "sha1"),
        (Checksum::Sha256, "sha256"),
    ];
    for (kind, name) in kinds {
        let attributes = PutAttributes { checksum: Some(kind), ..PutAttributes::default() };
        put_with(&storage, name, attributes).await.unwrap();
        let header = format!("x-amz-checksum-{name}");
        assert!(server.objects().get(name).unwrap().header(&header).is_some(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_kinds_of_encryption_have_their_names() {
    let server = server().await;
    let storage = storage(&server);
    let with = |encryption| PutAttributes { encryption: Some(encryption), ..Default::default() };
    put_with(&storage, "s3", with(Encryption::S3)).await.unwrap();
    let dual =
        Encryption::Kms { dual_layer: true, key: None, bucket_key: None, context: BTreeMap::new() };
    put_with(&storage, "dsse", with(dual)).await.unwrap();
    let sent = |key: &str| {
        let put = last_put(&server, key);
        put.header("x-amz-server-side-encryption").map(str::to_owned)
    };
    assert_eq!(sent("s3").as_deref(), Some("AES256"));
    assert_eq!(sent("dsse").as_deref(), Some("aws:kms:dsse"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_knows_no_crc_gets_an_md5_from_then_on() {
    let server = server().await;
    let storage = storage(&server);
    server.faults().push(Fault::error(501, "NotImplemented").on(Kind::Put));
    put(&storage, "p1", b"one").await;
    put(&storage, "p2", b"two").await;
    let puts = server.requests().of(Kind::Put, "p");
    let proofs: Vec<_> = puts
        .iter()
        .map(|put| (put.headers.contains_key("x-amz-checksum-crc32c"), put.header("content-md5")))
        .collect();
    assert_eq!(proofs.len(), 3, "remembered for the storage");
    assert_eq!(proofs[0], (true, None));
    assert!(!proofs[1].0 && proofs[1].1.is_some() && !proofs[2].0 && proofs[2].1.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_another_reason_teaches_nothing() {
    let server = server().await;
    let storage = storage(&server);
    let unknown = PutAttributes { class: Some(StorageClass::new("GLACIAL")), ..Default::default() };
    let error = put_with(&storage, "p1", unknown).await.unwrap_err();
    assert!(matches!(&error, BlobError::InvalidOption { option, .. } if option == "storage class"));
    put(&storage, "p2", b"two").await;
    assert!(last_put(&server, "p2").headers.contains_key("x-amz-checksum-crc32c"));
    assert_eq!(server.requests().puts("p"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_in_pieces_arrives_whole() {
    let server = server().await;
    let storage = storage(&server);
    let mut data = Payload::new();
    for n in 0..40_u8 {
        data.push(vec![n; 100_000]);
    }
    storage.put(&id("p1"), data.clone(), &PutOptions::default()).await.unwrap();
    assert_eq!(server.objects().get("p1").unwrap().bytes, data.to_bytes().unwrap());
    storage.put(&id("empty"), Payload::new(), &PutOptions::default()).await.unwrap();
    assert_eq!(server.objects().get("empty").unwrap().bytes.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_policy_sends_nothing() {
    let server = server().await;
    let attributes = PutAttributes { refusal: Some("not here".into()), ..Default::default() };
    let error = put_with(&storage(&server), "q1", attributes).await.unwrap_err();
    assert!(error.to_string().contains("not here"), "{error}");
    assert_eq!(server.requests().total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_cannot_be_written_is_an_invalid_option() {
    let server = server().await;
    let metadata = BTreeMap::from([("bad name".to_owned(), "x".to_owned())]);
    let attributes = PutAttributes { metadata, ..PutAttributes::default() };
    let error = put_with(&storage(&server), "p1", attributes).await.unwrap_err();
    assert!(matches!(error, BlobError::InvalidOption { .. }), "{error:?}");
    let attributes = PutAttributes { cache_control: Some("a\nb: c".into()), ..Default::default() };
    let error = put_with(&storage(&server), "p1", attributes).await.unwrap_err();
    assert!(matches!(error, BlobError::InvalidOption { .. }), "{error:?}");
    assert_eq!(server.requests().total(), 0);
}
