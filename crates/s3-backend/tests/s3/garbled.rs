//! Answers that break off, lie or make no sense: each ends, soon, and none is taken for success.

use std::{future::Future, time::Duration};

use blob_core::{BlobError, BlobId, BlobStorage, Payload, PutOptions, ReadRange, Retry};
use futures::TryStreamExt;

use crate::canned::{Canned, Say, answer, head_answer};

/// Nothing here may loop. A parser in an endless loop never awaits, so the time is taken outside.
async fn soon<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let work = tokio::spawn(work);
    tokio::time::timeout(Duration::from_secs(10), work).await.expect("it hangs").unwrap()
}

async fn listed(say: Say) -> Result<Vec<String>, BlobError> {
    let server = Canned::start([say]).await;
    let storage = server.storage();
    soon(async move {
        let found = storage.list("p").map_ok(|meta| meta.id.to_string());
        found.try_collect().await
    })
    .await
}

async fn put(say: Say) -> Result<(), BlobError> {
    let server = Canned::start([say]).await;
    let storage = server.storage();
    soon(async move {
        let id = BlobId::new("p1").unwrap();
        storage.put(&id, Payload::from(&b"x"[..]), &PutOptions::default()).await.map(drop)
    })
    .await
}

async fn got(say: Say, range: ReadRange) -> Result<Vec<u8>, BlobError> {
    let server = Canned::start([say]).await;
    let storage = server.storage();
    soon(async move {
        storage.get(&BlobId::new("p1").unwrap(), range).await.map(|bytes| bytes.to_vec())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_breaks_off_is_an_error_and_no_endless_loop() {
    let whole = "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>p1</Key>\
                 <LastModified>2026-01-01T00:00:00Z</LastModified><Size>1</Size></Contents>\
                 </ListBucketResult>";
    assert_eq!(listed(answer("200 OK", whole)).await.unwrap(), ["p1"]);
    for end in [0, 1, 20, 60, 75, whole.len() - 3] {
        let error = listed(answer("200 OK", &whole[..end])).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Backoff, "cut at {end}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_answer_is_never_an_empty_listing() {
    for body in ["", "<ListBucketResult/>", "<html><body>Welcome</body></html>"] {
        let error = listed(answer("200 OK", body)).await.unwrap_err();
        assert!(matches!(error, BlobError::Transient { op: "list", .. }), "{body}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_under_a_good_status_is_an_error() {
    let body = "<Error><Code>InternalError</Code><Message>We are sorry</Message></Error>";
    for error in [
        put(answer("200 OK", body)).await.unwrap_err(),
        listed(answer("200 OK", body)).await.unwrap_err(),
    ] {
        assert_eq!(error.retry(), Retry::Backoff);
        assert!(error.to_string().contains("We are sorry"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_in_the_place_of_a_blob_is_not_its_bytes() {
    let body = "<Error><Code>InternalError</Code><Message>We are sorry</Message></Error>";
    let range = ReadRange::Bytes { offset: 10, length: 20 };
    for (kind, body, wanted) in [
        ("application/xml", body, "We are sorry"),
        ("text/xml; charset=utf-8", body, "We are sorry"),
        ("text/html", "<html><body>Please log in</body></html>", "<html>"),
    ] {
        for range in [ReadRange::Full, range] {
            let head = format!("200 OK\r\ncontent-type: {kind}");
            let error = got(answer(&head, body), range).await.unwrap_err();
            assert_eq!(error.retry(), Retry::Backoff, "{kind} {range:?}: {error:?}");
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let said = format!("{error} {source:?}");
            assert!(said.contains(wanted), "{kind} {range:?}: {said}");
            // An object that happens to be such a document is one.
            let head = format!("{head}\r\netag: \"1\"");
            assert!(got(answer(&head, body), range).await.is_ok());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_answer_that_is_not_s3s_is_no_written_blob() {
    let page = "<html><body>Please log in</body></html>";
    let tagged = "200 OK\r\netag: \"1\"";
    put(answer(tagged, "")).await.unwrap();
    for say in [answer("200 OK", page), answer(tagged, page), answer("200 OK", "")] {
        let error = put(say).await.unwrap_err();
        assert!(matches!(error, BlobError::Transient { op: "put", .. }), "{error:?}");
    }
    let server = Canned::start([answer("200 OK", page)]).await;
    let storage = server.storage();
    let deleted = soon(async move { storage.delete(&BlobId::new("p1").unwrap()).await }).await;
    assert!(matches!(deleted, Err(BlobError::Transient { op: "delete", .. })), "{deleted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_breaks_off_still_tells_its_code() {
    let body = "<Error><Code>SlowDown</Code><Resource><Deep><Mess";
    let error = got(answer("503 Slow Down", body), ReadRange::Full).await.unwrap_err();
    assert!(matches!(error, BlobError::Throttled { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxys_page_is_passed_on_by_its_status() {
    let error = put(answer("502 Bad Gateway", "<html>nginx</html>")).await.unwrap_err();
    assert!(matches!(error, BlobError::Transient { .. }), "{error:?}");
    assert!(error.to_string().contains("502"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_rusoto_would_panic_on_do_no_harm() {
    let odd = "200 OK\r\nx-amz-server-side-encryption-bucket-key-enabled: True\r\n\
               x-amz-missing-meta: some\r\nx-amz-meta-name: \u{fc}\r\nx-amz-delete-marker: no";
    assert_eq!(got(answer(odd, "body"), ReadRange::Full).await.unwrap(), b"body");
    put(answer(&format!("{odd}\r\netag: \"1\""), "")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_or_stalls_is_an_error() {
    let cut = Say::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec());
    let stalled = Say::Hang(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec());
    for say in [cut, stalled, Say::Hang(Vec::new()), Say::Bytes(Vec::new())] {
        let error = got(say, ReadRange::Full).await.unwrap_err();
        assert!(matches!(error, BlobError::Transient { op: "get", .. }), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_fewer_or_other_bytes_than_asked_for_are_an_error() {
    let range = ReadRange::Bytes { offset: 2, length: 3 };
    let part = |head: &str, body| answer(&format!("206 Partial Content\r\n{head}"), body);
    let right = got(part("content-range: bytes 2-4/9", "234"), range).await.unwrap();
    assert_eq!(right, b"234");
    let short = got(part("content-range: bytes 2-3/4", "23"), range).await.unwrap_err();
    assert!(matches!(short, BlobError::InvalidRange { size: Some(4), .. }), "{short:?}");
    let other = got(part("content-range: bytes 0-2/9", "012"), range).await.unwrap_err();
    assert!(matches!(other, BlobError::Transient { .. }), "{other:?}");
    let whole = got(answer("200 OK", "0123456"), range).await.unwrap();
    assert_eq!(whole, b"234", "a server without ranges");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_head_is_asked_again_as_a_get_that_tells_why() {
    let why = "<Error><Code>ExpiredToken</Code><Message>The token has expired</Message></Error>";
    let server =
        Canned::start([head_answer("400 Bad Request"), answer("400 Bad Request", why)]).await;
    let storage = server.storage();
    let id = BlobId::new("p1").unwrap();
    let error = soon(async move { storage.head(&id).await.unwrap_err() }).await;
    assert!(matches!(error, BlobError::Credentials { .. }), "{error:?}");
    let seen = server.seen();
    assert!(seen[1].starts_with("GET /bucket/p1 ") && seen[1].contains("range: bytes=0-0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_lacks_length_or_time_is_an_error() {
    let server = Canned::start([head_answer("200 OK\r\ncontent-length: 5")]).await;
    let storage = server.storage();
    let id = BlobId::new("p1").unwrap();
    let error = soon(async move { storage.head(&id).await.unwrap_err() }).await;
    assert!(matches!(error, BlobError::Other { op: "head", .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_goes_in_a_circle_ends() {
    let page = "<ListBucketResult><IsTruncated>true</IsTruncated>\
                <NextContinuationToken>again</NextContinuationToken></ListBucketResult>";
    let error = listed(answer("200 OK", page)).await.unwrap_err();
    assert!(error.to_string().contains("circle"), "{error}");
}
