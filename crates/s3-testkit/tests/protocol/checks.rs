//! What the server refuses: bad signatures, sums, conditions, classes, tags, accounts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use s3_testkit::{Action, Credentials, Kind, TestServerOptions};

use crate::client::{Call, start, start_default};
use crate::signer::sha256;

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn signatures_are_verified() {
    let mut client = start_default().await;
    client.keys = Some(Credentials::new("test", "wrong"));
    assert_eq!(client.get("k").await.error(), refused(403, "SignatureDoesNotMatch"));
    client.keys = Some(Credentials::new("nobody", "wrong"));
    assert_eq!(client.get("k").await.error(), refused(403, "InvalidAccessKeyId"));
    client.keys = None;
    assert_eq!(client.get("k").await.error(), refused(403, "AccessDenied"));
}

#[tokio::test]
async fn headers_of_amazon_must_be_signed() {
    let client = start_default().await;
    let put = Call::new("PUT", "k").unsigned("x-amz-storage-class", "GLACIER").body("x");
    assert_eq!(client.call(put).await.error(), refused(403, "AccessDenied"));
    assert!(client.server.objects().is_empty());
}

#[tokio::test]
async fn a_server_without_keys_takes_unsigned_requests() {
    let client = start(TestServerOptions { credentials: vec![], ..Default::default() }).await;
    assert_eq!(client.put("k", "x").await.status, 200);
    client.server.deny(Action::Get, "k");
    assert_eq!(client.get("k").await.status, 403);
}

#[tokio::test]
async fn temporary_keys_need_their_token_and_can_be_replaced() {
    let keys = Credentials::new("temp", "s").with_session_token("token-1");
    let options = TestServerOptions { credentials: vec![keys], ..Default::default() };
    let mut client = start(options).await;
    assert_eq!(client.put("k", "x").await.status, 200);
    client.keys = Some(Credentials::new("temp", "s"));
    assert_eq!(client.get("k").await.error(), refused(403, "InvalidAccessKeyId"));
    let renewed = Credentials::new("temp", "s").with_session_token("token-2");
    client.keys = Some(renewed.clone());
    assert_eq!(client.get("k").await.error(), refused(400, "InvalidToken"));
    client.server.set_credentials(vec![renewed]);
    assert_eq!(client.get("k").await.status, 200);
}

#[tokio::test]
async fn a_signature_for_another_region_is_told_the_right_one() {
    let options = TestServerOptions { region: "eu-west-1".into(), ..Default::default() };
    let mut client = start(options).await;
    let reply = client.get("k").await;
    assert_eq!(reply.error(), refused(400, "AuthorizationHeaderMalformed"));
    assert_eq!(reply.element("Region").unwrap(), "eu-west-1");
    assert_eq!(reply.header("x-amz-bucket-region"), Some("eu-west-1"));
    let location = client.get("?location").await;
    assert!(location.status == 200 && location.text().contains("eu-west-1"));
    client.region = "eu-west-1".into();
    assert_eq!(client.put("k", "x").await.status, 200);
}

#[tokio::test]
async fn a_payload_that_differs_from_its_signed_hash_is_refused() {
    let client = start_default().await;
    let put = Call::new("PUT", "k").header("x-amz-content-sha256", &sha256(b"other")).body("this");
    assert_eq!(client.call(put).await.error(), refused(400, "XAmzContentSHA256Mismatch"));
    assert!(client.server.objects().is_empty());
}

/// Sums of "123456789": the check values of the CRC catalogue, and digests by Python's hashlib.
#[tokio::test]
async fn every_kind_of_checksum_is_verified_and_kept() {
    let client = start_default().await;
    let sums = [
        ("crc32", "y/Q5Jg=="),
        ("crc32c", "4waSgw=="),
        ("crc64nvme", "rosUhgp5mIg="),
        ("sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
        ("sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
    ];
    for (name, sum) in sums {
        let header = format!("x-amz-checksum-{name}");
        let put = |sum| Call::new("PUT", "k").header(&header, sum).body("123456789");
        let reply = client.call(put(sum)).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        assert_eq!(reply.header(&header), Some(sum));
        let mut wrong = BASE64.decode(sum).unwrap();
        wrong[0] ^= 1;
        let reply = client.call(put(&BASE64.encode(wrong))).await;
        assert_eq!(reply.error(), refused(400, "BadDigest"), "{name}");
        let head = Call::new("HEAD", "k").header("x-amz-checksum-mode", "ENABLED");
        assert_eq!(client.call(head).await.header(&header), Some(sum));
        assert_eq!(client.head("k").await.header(&header), None, "only on demand");
    }
    let both = Call::new("PUT", "k")
        .header("x-amz-checksum-crc32", "y/Q5Jg==")
        .header("x-amz-checksum-crc32c", "4waSgw==")
        .body("123456789");
    assert_eq!(client.call(both).await.error(), refused(400, "InvalidRequest"));
    client.put("plain", "123456789").await;
    let head = Call::new("HEAD", "plain").header("x-amz-checksum-mode", "ENABLED");
    assert_eq!(client.call(head).await.header("x-amz-checksum-crc64nvme"), Some("rosUhgp5mIg="));
}

#[tokio::test]
async fn content_md5_is_verified() {
    let client = start_default().await;
    let put = |sum: &str| Call::new("PUT", "k").header("content-md5", sum).body("x");
    let right = BASE64.encode(Md5::digest(b"x"));
    assert_eq!(client.call(put(&right)).await.status, 200);
    let wrong = BASE64.encode(Md5::digest(b"y"));
    assert_eq!(client.call(put(&wrong)).await.error(), refused(400, "BadDigest"));
    assert_eq!(client.call(put("???")).await.error(), refused(400, "InvalidDigest"));
}

/// An aws-chunked body with an unsigned checksum trailer, as the newer AWS SDKs send it.
#[tokio::test]
async fn checksums_in_a_trailer_are_verified() {
    let client = start_default().await;
    let put = |sum: &str| {
        Call::new("PUT", "k")
            .header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
            .header("content-encoding", "aws-chunked")
            .header("x-amz-decoded-content-length", "9")
            .header("x-amz-trailer", "x-amz-checksum-crc32c")
            .body(format!("9\r\n123456789\r\n0\r\nx-amz-checksum-crc32c:{sum}\r\n\r\n"))
    };
    let reply = client.call(put("4waSgw==")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let object = client.server.objects().get("k").unwrap();
    assert_eq!(object.bytes, "123456789");
    assert_eq!(object.header("content-encoding"), None);
    assert_eq!(object.header("x-amz-checksum-crc32c"), Some("4waSgw=="));
    let reply = client.call(put("4waSgA==")).await;
    assert_eq!(reply.error(), refused(400, "BadDigest"));
}

#[tokio::test]
async fn conditions_decide_about_writes_and_reads() {
    let client = start_default().await;
    let create = || Call::new("PUT", "k").header("if-none-match", "*").body("1");
    let etag = client.call(create()).await.header("etag").unwrap().to_owned();
    assert_eq!(client.call(create()).await.error(), refused(412, "PreconditionFailed"));
    let update = |etag: &str| Call::new("PUT", "k").header("if-match", etag).body("2");
    assert_eq!(client.call(update("\"0\"")).await.error(), refused(412, "PreconditionFailed"));
    assert_eq!(client.call(update(&etag)).await.status, 200);
    let missing = Call::new("PUT", "none").header("if-match", &etag);
    assert_eq!(client.call(missing).await.error(), refused(404, "NoSuchKey"));
    let changed = Call::new("GET", "k").header("if-match", &etag);
    assert_eq!(client.call(changed).await.status, 412);
    let etag = client.head("k").await.header("etag").unwrap().to_owned();
    let known = Call::new("GET", "k").header("if-none-match", &etag);
    assert_eq!(client.call(known).await.status, 304);
}

#[tokio::test]
async fn attributes_that_s3_refuses_are_refused() {
    let client = start_default().await;
    let long = "m".repeat(2100);
    let many: Vec<String> = (0..11).map(|n| format!("k{n}=v")).collect();
    let many = many.join("&");
    let cases = [
        ("x-amz-storage-class", "glacier", 400, "InvalidStorageClass"),
        ("x-amz-storage-class", "OUTPOSTS", 400, "InvalidStorageClass"),
        ("x-amz-tagging", many.as_str(), 400, "BadRequest"),
        ("x-amz-tagging", "aws:x=1", 400, "InvalidTag"),
        ("x-amz-tagging", "a=1&a=2", 400, "InvalidTag"),
        ("x-amz-meta-long", long.as_str(), 400, "MetadataTooLarge"),
        ("x-amz-server-side-encryption", "AES", 400, "InvalidEncryptionAlgorithmError"),
        ("x-amz-acl", "everybody", 400, "InvalidArgument"),
        ("x-amz-expected-bucket-owner", "999999999999", 403, "AccessDenied"),
    ];
    for (name, value, status, code) in cases {
        let put = Call::new("PUT", "k").header(name, value).body("x");
        assert_eq!(client.call(put).await.error(), refused(status, code), "{name}: {value}");
    }
    let get = Call::new("GET", "k").header("x-amz-server-side-encryption", "AES256");
    assert_eq!(client.call(get).await.error(), refused(400, "InvalidArgument"));
}

#[tokio::test]
async fn options_loosen_classes_and_tighten_buckets() {
    let client = start(TestServerOptions {
        strict_classes: false,
        bucket_owner_enforced: true,
        requester_pays: true,
        ..Default::default()
    })
    .await;
    let paid = || Call::new("PUT", "k").header("x-amz-request-payer", "requester").body("x");
    assert_eq!(client.put("k", "x").await.error(), refused(403, "AccessDenied"));
    assert_eq!(client.call(paid().header("x-amz-storage-class", "TAPE")).await.status, 200);
    assert_eq!(client.server.objects().get("k").unwrap().storage_class, "TAPE");
    let public = paid().header("x-amz-acl", "public-read");
    assert_eq!(client.call(public).await.error(), refused(400, "AccessControlListNotSupported"));
}

#[tokio::test]
async fn permissions_can_be_taken_away_by_prefix() {
    let client = start_default().await;
    client.server.objects().put("r/.storageconfig", "{}");
    client.server.objects().put("r/p1", "x");
    client.server.deny(Action::Get, "r/.storageconfig");
    assert_eq!(client.get("r/.storageconfig").await.error(), refused(403, "AccessDenied"));
    assert_eq!(client.head("r/.storageconfig").await.status, 403);
    assert_eq!(client.get("r/p1").await.status, 200);
    let list = client.get("?list-type=2&prefix=r%2F.storageconfig").await;
    assert_eq!(list.elements("Key"), ["r/.storageconfig"]);
    assert_eq!(client.get("r/none").await.error(), refused(404, "NoSuchKey"));

    client.server.deny(Action::List, "");
    let list = client.get("?list-type=2&prefix=r%2F.storageconfig").await;
    assert_eq!(list.error(), refused(403, "AccessDenied"));
    assert_eq!(client.get("r/none").await.error(), refused(403, "AccessDenied"));
    assert_eq!(client.head("r/none").await.status, 403);

    client.server.deny(Action::Put, "r/q");
    assert_eq!(client.put("r/q1", "x").await.status, 403);
    assert_eq!(client.put("r/p2", "x").await.status, 200);
    client.server.allow_all();
    assert_eq!(client.get("r/.storageconfig").await.status, 200);
    assert_eq!(client.server.requests().count(Kind::Get, "r/.storageconfig"), 2);
}
