//! Wrong region, wrong host, expired token: asked again rightly, and remembered.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use blob_core::{BlobError, BlobId, BlobStorage, ReadRange};
use s3_backend::{Credentials, ProvideCredentials};

use crate::canned::{Canned, Say, answer, head_answer};

fn id() -> BlobId {
    BlobId::new("p1").unwrap()
}

/// The region in a request's signature.
fn signed_for(request: &str) -> &str {
    let scope = request.split("Credential=").nth(1).unwrap();
    scope.split('/').nth(2).unwrap()
}

const OBJECT: &str = "200 OK\r\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT";

fn moved() -> Say {
    let body = "<Error><Code>PermanentRedirect</Code></Error>";
    answer("301 Moved Permanently\r\nx-amz-bucket-region: eu-west-1", body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_learned_from_a_redirect_is_remembered() {
    let server = Canned::start([moved(), answer(OBJECT, "x")]).await;
    let storage = server.storage();
    for _ in 0..2 {
        assert_eq!(storage.get(&id(), ReadRange::Full).await.unwrap(), &b"x"[..]);
    }
    let seen = server.seen();
    let regions: Vec<_> = seen.iter().map(|request| signed_for(request)).collect();
    assert_eq!(regions, ["us-east-1", "eu-west-1", "eu-west-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_learns_its_region_from_a_header() {
    let wrong = head_answer("301 Moved Permanently\r\nx-amz-bucket-region: eu-west-1");
    let right = head_answer(&format!("{OBJECT}\r\ncontent-length: 7"));
    let server = Canned::start([wrong, right]).await;
    assert_eq!(server.storage().head(&id()).await.unwrap().size, 7);
    assert_eq!(signed_for(&server.seen()[1]), "eu-west-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_for_the_wrong_region_names_the_right_one() {
    let body =
        "<Error><Code>AuthorizationHeaderMalformed</Code><Region>ap-south-1</Region></Error>";
    let server = Canned::start([answer("400 Bad Request", body), answer(OBJECT, "x")]).await;
    let storage =
        server.builder().environment(|name| (name == "AWS_REGION").then(|| "sa-east-1".to_owned()));
    let storage = storage.open().unwrap();
    storage.get(&id(), ReadRange::Full).await.unwrap();
    let seen = server.seen();
    assert_eq!((signed_for(&seen[0]), signed_for(&seen[1])), ("sa-east-1", "ap-south-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_redirect_is_followed_to_the_same_host_only() {
    let here = "307 Temporary Redirect\r\nlocation: http://ADDRESS/bucket/p1";
    let server = Canned::start([answer(here, ""), answer(OBJECT, "x")]).await;
    assert_eq!(server.storage().get(&id(), ReadRange::Full).await.unwrap(), &b"x"[..]);
    assert_eq!(server.seen().len(), 2);

    let stranger = Canned::start([answer(OBJECT, "x")]).await;
    let there = format!("307 Temporary Redirect\r\nlocation: http://{}/p1", stranger.address);
    let server = Canned::start([answer(&there, "")]).await;
    let error = server.storage().get(&id(), ReadRange::Full).await.unwrap_err();
    assert!(matches!(error, BlobError::Other { .. }), "{error:?}");
    assert_eq!(stranger.seen().len(), 0, "a signed request went to a stranger");
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_without_end_end() {
    let regions = ["a-1", "b-1"]
        .map(|region| answer(&format!("301 Moved\r\nx-amz-bucket-region: {region}"), ""));
    let rounds = regions.iter().cycle().take(20).cloned();
    let server = Canned::start(rounds).await;
    assert!(server.storage().get(&id(), ReadRange::Full).await.is_err());
    assert!(server.seen().len() <= 4, "{} requests", server.seen().len());
}

/// Gives `old` until it is asked for something newer.
#[derive(Debug, Default)]
struct Renewing(AtomicUsize);

#[async_trait]
impl ProvideCredentials for Renewing {
    fn source(&self) -> String {
        "a test".into()
    }

    async fn credentials(&self) -> Result<Option<Credentials>, String> {
        let access_key_id = format!("key{}", self.0.load(Ordering::SeqCst));
        let session_token = Some("t".into());
        Ok(Some(Credentials { access_key_id, secret_access_key: "s".into(), session_token }))
    }

    async fn renew(&self, _: &Credentials) -> Result<Option<Credentials>, String> {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.credentials().await
    }
}

fn expired() -> Say {
    answer("400 Bad Request", "<Error><Code>ExpiredToken</Code></Error>")
}

fn renewing(server: &Canned, source: Arc<Renewing>) -> s3_backend::S3Storage {
    let options = s3_backend::S3Options {
        bucket: "bucket".into(),
        endpoint: server.address.clone(),
        do_not_use_tls: true,
        ..Default::default()
    };
    let builder = s3_backend::S3Storage::builder(options).environment(|_| None);
    builder.credentials(source).open().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_renewed_once() {
    let server = Canned::start([expired(), answer(OBJECT, "x")]).await;
    let storage = renewing(&server, Arc::default());
    storage.get(&id(), ReadRange::Full).await.unwrap();
    let seen = server.seen();
    assert!(seen[0].contains("Credential=key0/") && seen[1].contains("Credential=key1/"));
    assert!(seen[1].contains("x-amz-security-token: t"));

    let server = Canned::start([expired()]).await;
    let error = renewing(&server, Arc::default()).get(&id(), ReadRange::Full).await.unwrap_err();
    assert!(matches!(error, BlobError::Credentials { .. }), "{error:?}");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_connection_that_expired_is_not_tried_twice() {
    let server = Canned::start([expired()]).await;
    assert!(server.storage().get(&id(), ReadRange::Full).await.is_err());
    assert_eq!(server.seen().len(), 1);
}
