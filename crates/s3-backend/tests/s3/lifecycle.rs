//! The bucket's lifecycle rules, byte for byte, and what lies beside the blobs.

use blob_core::{BlobError, Retry};
use s3_backend::{Lifecycle, S3Options, S3Storage};
use s3_testkit::Fault;

use crate::support::{open, options, server, storage};

/// With what rusoto's types do not know.
const DOCUMENT: &str = "<?xml version='1.0'?>\n<LifecycleConfiguration><Rule><ID>a</ID><Filter><And>\
    <Prefix>p</Prefix><ObjectSizeGreaterThan>9</ObjectSizeGreaterThan></And></Filter>\
    <Status>Enabled</Status><OfTomorrow/></Rule></LifecycleConfiguration>\n";
const MINIMUM: &str = "varies_by_storage_class";

fn rules(document: &'static str, minimum: Option<&str>) -> Lifecycle {
    Lifecycle { document: document.as_bytes().into(), minimum: minimum.map(str::to_owned) }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_kept_byte_for_byte_with_their_header() {
    let server = server().await;
    let storage = storage(&server);
    assert_eq!(storage.lifecycle().await.unwrap(), None);
    storage.set_lifecycle(&rules(DOCUMENT, Some(MINIMUM))).await.unwrap();
    assert_eq!(server.objects().lifecycle().unwrap(), DOCUMENT);
    assert_eq!(server.objects().lifecycle_minimum().as_deref(), Some(MINIMUM));
    let read = storage.lifecycle().await.unwrap().unwrap();
    assert_eq!(read, rules(DOCUMENT, Some(MINIMUM)));
    storage.set_lifecycle(&rules(DOCUMENT, None)).await.unwrap();
    let read = storage.lifecycle().await.unwrap().unwrap();
    assert_eq!(read.minimum.as_deref(), Some("all_storage_classes_128K"));
    storage.remove_lifecycle().await.unwrap();
    assert_eq!(storage.lifecycle().await.unwrap(), None);
    assert_eq!(server.objects().lifecycle(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_those_of_the_table() {
    let server = server().await;
    let elsewhere = open(S3Options { bucket: "nowhere".into(), ..options(&server) });
    let error = elsewhere.lifecycle().await.unwrap_err();
    assert!(matches!(error, BlobError::NoStorage { .. }), "no bucket is not no rules: {error:?}");
    server.faults().push(Fault::access_denied());
    let error = storage(&server).lifecycle().await.unwrap_err();
    assert!(matches!(error, BlobError::AccessDenied { op: "lifecycle rules", .. }), "{error:?}");
    server.faults().push(Fault::slow_down());
    let error = storage(&server).set_lifecycle(&rules(DOCUMENT, None)).await.unwrap_err();
    assert_ne!(error.retry(), Retry::Never, "{error:?}");
    server.faults().push(Fault::error(400, "MalformedXML"));
    let error = storage(&server).set_lifecycle(&rules(DOCUMENT, None)).await.unwrap_err();
    assert!(matches!(error, BlobError::InvalidOption { .. }), "{error:?}");
    // An error with a good status, and half a document, are no rules.
    server.objects().set_lifecycle(Some(DOCUMENT.into()));
    for fault in [Fault::error_in_ok("SlowDown"), Fault::empty_ok(), Fault::short_body(40)] {
        server.faults().push(fault);
        let error = storage(&server).lifecycle().await.unwrap_err();
        assert_ne!(error.retry(), Retry::Never, "{error:?}");
    }
    server.objects().set_lifecycle(None);
    assert_eq!(server.objects().lifecycle(), None);
    let past = S3Options { point_in_time: Some("2030-01-01T00:00:00Z".into()), ..options(&server) };
    let error = open(past).set_lifecycle(&rules(DOCUMENT, None)).await.unwrap_err();
    assert!(matches!(error, BlobError::ReadOnly { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_beside_the_blobs_is_missed() {
    let server = server().await;
    for key in
        ["r/p0", "r/p1", "r/p\u{1}", "r/photos/a", "r/photos/b", "r/p0x/y", "r/p x", "r/q0", "p9"]
    {
        server.objects().put(key, "x");
    }
    for n in 0..1100 {
        server.objects().put(&format!("r/pp/{n}"), "x");
        server.objects().put(&format!("r/p2{n:04}"), "x");
    }
    let storage: S3Storage = open(S3Options { prefix: "r/".into(), ..options(&server) });
    let ours = |id: &str| matches!(id, "p0" | "p1") || id.starts_with("p2");
    let mut found = storage.beside("p", ours).await.unwrap();
    found.sort();
    assert_eq!(found, ["r/p\u{1}", "r/p x", "r/p0x/", "r/photos/", "r/pp/"]);
    assert!(storage.beside("z", |_| false).await.unwrap().is_empty());
}
