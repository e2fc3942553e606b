//! A server and a storage on it.

use blob_core::{BlobId, BlobMeta, BlobStorage, Payload, PutAttributes, PutOptions, Result};
use futures::TryStreamExt;
use s3_backend::{S3Options, S3Storage};
use s3_testkit::{Kind, RequestRecord, TestServer, TestServerOptions};

/// The bucket of every test server here.
pub const BUCKET: &str = "test-bucket";

pub async fn server() -> TestServer {
    server_with(TestServerOptions::default()).await
}

pub async fn server_with(options: TestServerOptions) -> TestServer {
    TestServer::start(TestServerOptions { bucket: BUCKET.into(), ..options }).await.unwrap()
}

/// What a connection file for the server would say.
pub fn options(server: &TestServer) -> S3Options {
    let keys = server.credentials().unwrap();
    S3Options {
        bucket: BUCKET.into(),
        endpoint: server.addr().to_string(),
        do_not_use_tls: true,
        access_key_id: keys.access_key.clone(),
        secret_access_key: keys.secret_key.as_str().into(),
        ..S3Options::default()
    }
}

pub fn storage(server: &TestServer) -> S3Storage {
    open(options(server))
}

pub fn open(options: S3Options) -> S3Storage {
    S3Storage::builder(options).environment(|_| None).open().unwrap()
}

pub fn id(text: &str) -> BlobId {
    BlobId::new(text).unwrap()
}

pub async fn put(storage: &S3Storage, name: &str, bytes: &'static [u8]) {
    storage.put(&id(name), Payload::from(bytes), &PutOptions::default()).await.unwrap();
}

pub async fn put_with(storage: &S3Storage, name: &str, attributes: PutAttributes) -> Result<()> {
    let options = PutOptions { attributes, ..PutOptions::default() };
    storage.put(&id(name), Payload::from(&b"bytes"[..]), &options).await.map(drop)
}

pub async fn list(storage: &S3Storage, prefix: &str) -> Result<Vec<BlobMeta>> {
    storage.list(prefix).try_collect().await
}

pub async fn names(storage: &S3Storage, prefix: &str) -> Vec<String> {
    list(storage, prefix).await.unwrap().iter().map(|meta| meta.id.to_string()).collect()
}

/// The last PUT of this key, as the server saw it.
pub fn last_put(server: &TestServer, key: &str) -> RequestRecord {
    server.requests().of(Kind::Put, key).pop().unwrap()
}
