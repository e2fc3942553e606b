//! HTTPS: own authorities, none, and whom not to believe.

use blob_core::{BlobError, BlobStorage, Payload, PutOptions, ReadRange, Retry};
use s3_backend::{Addressing, S3Options, S3Storage};
use s3_testkit::{TEST_CA_PEM, TestServer, TestServerOptions, TlsIdentity};

use crate::{
    canned::Canned,
    support::{id, last_put, open, options, server_with},
};

/// An authority that vouched for nobody; its key was thrown away. Valid for a hundred years.
const STRANGER_PEM: &str = include_str!("stranger.pem");

async fn tls_server() -> TestServer {
    let identity = TlsIdentity::for_tests();
    server_with(TestServerOptions { tls: Some(identity), ..Default::default() }).await
}

fn over_tls(server: &TestServer) -> S3Options {
    S3Options { do_not_use_tls: false, ..options(server) }
}

async fn round_trip(storage: &S3Storage) -> Result<(), BlobError> {
    let mut data = Payload::from(&b"several "[..]);
    data.push(&b"pieces"[..]);
    storage.put(&id("p1"), data, &PutOptions::default()).await?;
    let got = storage.get(&id("p1"), ReadRange::Full).await?;
    assert_eq!(got, &b"several pieces"[..]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_authority_is_believed_and_the_payload_left_unsigned() {
    let server = tls_server().await;
    let trusting = S3Options { root_ca: TEST_CA_PEM.into(), ..over_tls(&server) };
    round_trip(&open(trusting)).await.unwrap();
    let sent = last_put(&server, "p1");
    assert_eq!(sent.header("x-amz-content-sha256"), Some("UNSIGNED-PAYLOAD"));
    assert!(sent.headers.contains_key("x-amz-checksum-crc32c"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_not_believed_and_not_asked_again() {
    let server = tls_server().await;
    let wrong = S3Options { root_ca: STRANGER_PEM.into(), ..over_tls(&server) };
    let error = round_trip(&open(wrong)).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Never);
    assert!(error.to_string().contains("certificate"), "{error}");
    assert_eq!(server.requests().total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_verification_anybody_will_do() {
    let server = tls_server().await;
    let blind = S3Options { do_not_verify_tls: true, ..over_tls(&server) };
    round_trip(&open(blind.clone())).await.unwrap();
    // No certificate is for a name below `localhost`: webpki wants two labels after the star.
    let endpoint = format!("localhost:{}", server.addr().port());
    let builder = S3Storage::builder(S3Options { endpoint, ..blind });
    let builder = builder.environment(|_| None).addressing(Addressing::VirtualHost);
    round_trip(&builder.open().unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_no_tls_is_told_at_once() {
    let server = Canned::start([crate::canned::answer("400 Bad Request", "")]).await;
    let blind = S3Options {
        bucket: "bucket".into(),
        endpoint: server.address.clone(),
        do_not_verify_tls: true,
        access_key_id: "k".into(),
        secret_access_key: "s".into(),
        ..S3Options::default()
    };
    // What comes back first is not TLS; the canned server waits for a request that never ends.
    let storage = S3Storage::builder(blind)
        .timeouts(s3_backend::Timeouts {
            stall: std::time::Duration::from_millis(300),
            first_byte: std::time::Duration::from_millis(300),
            ..Default::default()
        })
        .open()
        .unwrap();
    assert!(round_trip(&storage).await.is_err());
}
