//! Addressing, sessions, anonymity, many requests at once.

use blob_core::{BlobStorage, Payload, PutOptions, ReadRange};
use futures::{StreamExt, TryStreamExt, stream};
use s3_backend::{Addressing, S3Options, S3Storage, Secret};
use s3_testkit::{Credentials, TestServerOptions};

use crate::support::{id, names, open, options, put, server, server_with, storage};

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_in_the_host_name_works_like_one_in_the_path() {
    let server = server().await;
    let endpoint = format!("localhost:{}", server.addr().port());
    let builder = S3Storage::builder(S3Options { endpoint, ..options(&server) });
    let builder = builder.environment(|_| None).addressing(Addressing::VirtualHost);
    let storage = builder.open().unwrap();
    put(&storage, "p1", b"x").await;
    assert_eq!(names(&storage, "").await, ["p1"]);
    let asked = server.requests().all();
    let host = format!("test-bucket.localhost:{}", server.addr().port());
    assert!(asked.iter().all(|request| request.header("host") == Some(&host)));
    assert!(server.objects().get("p1").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_region_is_found_out_from_the_first_answer() {
    let server =
        server_with(TestServerOptions { region: "eu-west-3".into(), ..Default::default() }).await;
    let storage = storage(&server);
    put(&storage, "p1", b"x").await;
    put(&storage, "p2", b"x").await;
    let statuses: Vec<_> = server.requests().all().iter().map(|r| r.status.unwrap()).collect();
    assert_eq!(statuses, [400, 200, 200], "asked once, and no GetBucketLocation");
    server.requests().clear();
    let told = open(S3Options { region: "eu-west-3".into(), ..options(&server) });
    put(&told, "p3", b"x").await;
    assert_eq!(server.requests().total(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_keys_carry_their_token() {
    let keys = Credentials::new("temp", "secret").with_session_token("to/ken+=");
    let credentials = vec![keys];
    let server = server_with(TestServerOptions { credentials, ..Default::default() }).await;
    let with = S3Options { session_token: "to/ken+=".into(), ..options(&server) };
    put(&open(with), "p1", b"x").await;
    let environment = |name: &str| match name {
        "AWS_ACCESS_KEY_ID" => Some("temp".to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some("secret".to_owned()),
        "AWS_SESSION_TOKEN" => Some("to/ken+=".to_owned()),
        _ => None,
    };
    let none = S3Options {
        access_key_id: String::new(),
        secret_access_key: Secret::default(),
        ..options(&server)
    };
    let storage = S3Storage::builder(none).environment(environment).open().unwrap();
    assert_eq!(storage.get(&id("p1"), ReadRange::Full).await.unwrap(), &b"x"[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_anonymous_storage_sends_unsigned_requests() {
    let credentials = Vec::new();
    let server = server_with(TestServerOptions { credentials, ..Default::default() }).await;
    let options = S3Options {
        bucket: "test-bucket".into(),
        endpoint: server.addr().to_string(),
        do_not_use_tls: true,
        ..S3Options::default()
    };
    let storage = S3Storage::builder(options).environment(|_| None).anonymous().open().unwrap();
    put(&storage, "p1", b"x").await;
    assert_eq!(storage.get(&id("p1"), ReadRange::Suffix(9)).await.unwrap(), &b"x"[..]);
    assert!(server.requests().all().iter().all(|r| r.header("authorization").is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_at_once_do_not_mix_their_answers() {
    let server = server().await;
    let storage = storage(&server);
    let bytes = |n: usize| vec![n as u8; 10_000 + n];
    let puts = stream::iter(0..200).map(|n| {
        let storage = &storage;
        async move {
            let id = id(&format!("p{n:03}"));
            storage.put(&id, Payload::from(bytes(n)), &PutOptions::default()).await?;
            let got = storage.get(&id, ReadRange::Full).await?;
            assert!(got == bytes(n), "{id} has other bytes");
            storage.head(&id).await.map(|meta| assert_eq!(meta.size, 10_000 + n as u64))
        }
    });
    puts.buffer_unordered(16).try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(names(&storage, "p").await.len(), 200);
    assert_eq!(server.requests().total(), 601, "nothing was sent twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_exact() {
    let server = server().await;
    server.objects().put("p1", "0123456789");
    server.objects().put("empty", "");
    let storage = storage(&server);
    let range = |offset, length| ReadRange::Bytes { offset, length };
    let get = |name, range| {
        let storage = storage.clone();
        async move { storage.get(&id(name), range).await }
    };
    assert_eq!(get("p1", range(0, 10)).await.unwrap(), &b"0123456789"[..]);
    assert_eq!(get("p1", range(9, 1)).await.unwrap(), &b"9"[..]);
    assert_eq!(get("p1", ReadRange::Suffix(3)).await.unwrap(), &b"789"[..]);
    assert_eq!(get("p1", ReadRange::Suffix(30)).await.unwrap(), &b"0123456789"[..]);
    assert_eq!(get("empty", ReadRange::Full).await.unwrap().len(), 0);
    assert_eq!(get("empty", ReadRange::Suffix(3)).await.unwrap().len(), 0);
    for (name, range) in [
        ("p1", range(5, 6)),
        ("p1", range(10, 1)),
        ("empty", range(0, 1)),
        ("p1", range(1, u64::MAX)),
    ] {
        let error = get(name, range).await.unwrap_err();
        assert!(matches!(error, blob_core::BlobError::InvalidRange { .. }), "{error:?}");
    }
    server.requests().clear();
    assert_eq!(get("nothing", range(5, 0)).await.unwrap().len(), 0);
    assert_eq!(server.requests().total(), 0, "no bytes need no request");
}
