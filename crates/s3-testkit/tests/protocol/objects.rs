//! Objects: put, get, head, ranges, copies, deletes, multipart uploads, both address styles.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use s3_testkit::TestServerOptions;

use crate::client::{Call, start, start_default};

#[tokio::test]
async fn an_object_comes_back_with_what_it_was_put_with() {
    let client = start_default().await;
    let put = Call::new("PUT", "dir/p%201")
        .header("content-type", "application/x-kopia")
        .header("cache-control", "no-cache")
        .header("x-amz-meta-colour", "blue")
        .header("x-amz-storage-class", "STANDARD_IA")
        .header("x-amz-server-side-encryption", "aws:kms")
        .header("x-amz-server-side-encryption-aws-kms-key-id", "alias/backup")
        .header("x-amz-tagging", "a=1&b=2")
        .header("x-amz-acl", "private")
        .body("content");
    let reply = client.call(put).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("etag"), Some("\"9a0364b9e99bb480dd25e1f0284c8555\""));
    assert_eq!(reply.header("x-amz-server-side-encryption"), Some("aws:kms"));

    for reply in [client.get("dir/p%201").await, client.head("dir/p%201").await] {
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-type"), Some("application/x-kopia"));
        assert_eq!(reply.header("cache-control"), Some("no-cache"));
        assert_eq!(reply.header("x-amz-meta-colour"), Some("blue"));
        assert_eq!(reply.header("x-amz-storage-class"), Some("STANDARD_IA"));
        assert_eq!(reply.header("x-amz-server-side-encryption"), Some("aws:kms"));
        assert_eq!(reply.header("x-amz-tagging-count"), Some("2"));
        assert_eq!(reply.header("content-length"), Some("7"));
        assert!(reply.header("last-modified").unwrap().ends_with(" GMT"));
    }
    let object = client.server.objects().get("dir/p 1").unwrap();
    assert_eq!(object.header("x-amz-acl"), Some("private"));
    assert_eq!(object.header("x-amz-tagging"), Some("a=1&b=2"));
    assert_eq!(object.header("x-amz-date"), None);
}

#[tokio::test]
async fn standard_is_told_by_the_absence_of_the_class_header() {
    let client = start_default().await;
    client.call(Call::new("PUT", "k").header("x-amz-storage-class", "STANDARD")).await;
    assert_eq!(client.head("k").await.header("x-amz-storage-class"), None);
    assert_eq!(client.server.objects().get("k").unwrap().storage_class, "STANDARD");
    assert_eq!(client.get("?list-type=2").await.element("StorageClass").unwrap(), "STANDARD");
}

#[tokio::test]
async fn ranges_name_their_place_and_those_outside_are_refused() {
    let client = start_default().await;
    client.put("k", "0123456789").await;
    let ranges = [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=8-99", "89", "bytes 8-9/10"),
        ("bytes=-99", "0123456789", "bytes 0-9/10"),
    ];
    for (range, content, named) in ranges {
        let reply = client.call(Call::new("GET", "k").header("range", range)).await;
        assert_eq!((reply.status, reply.text().as_str()), (206, content), "{range}");
        assert_eq!(reply.header("content-range"), Some(named));
    }
    let reply = client.call(Call::new("GET", "k").header("range", "bytes=10-")).await;
    assert_eq!(reply.error(), (416, "InvalidRange".into()));
    assert_eq!(reply.element("ActualObjectSize").unwrap(), "10");
    client.put("empty", "").await;
    let reply = client.call(Call::new("GET", "empty").header("range", "bytes=-5")).await;
    assert_eq!(reply.status, 416);
    assert_eq!(client.server.requests().bytes_read("k"), 3 + 3 + 3 + 2 + 10 + reply_len(&client));
}

/// The length of the error document that the refused range was answered with.
fn reply_len(client: &crate::client::Client) -> u64 {
    client.server.requests().of(s3_testkit::Kind::Get, "k").last().unwrap().sent
}

#[tokio::test]
async fn missing_keys_and_buckets_have_their_codes() {
    let client = start_default().await;
    let reply = client.get("none").await;
    assert_eq!(reply.error(), (404, "NoSuchKey".into()));
    assert_eq!(reply.element("Key").unwrap(), "none");
    let head = client.head("none").await;
    assert_eq!((head.status, head.body.len()), (404, 0));
    assert_eq!(client.delete("none").await.status, 204);
    assert_eq!(client.head("").await.status, 200);
    client.server.objects().remove_bucket();
    assert_eq!(client.get("none").await.error(), (404, "NoSuchBucket".into()));
    assert_eq!(client.get("?list-type=2").await.error(), (404, "NoSuchBucket".into()));
    assert_eq!(client.head("").await.status, 404);
}

#[tokio::test]
async fn virtual_hosts_and_paths_lead_to_the_same_objects() {
    let mut client = start_default().await;
    client.virtual_host = true;
    assert_eq!(client.put("dir/k", "by host").await.status, 200);
    assert_eq!(client.get("?list-type=2&prefix=dir%2F").await.elements("Key"), ["dir/k"]);
    client.virtual_host = false;
    assert_eq!(client.get("dir/k").await.text(), "by host");
    assert_eq!(client.server.requests().puts("dir/k"), 1);
}

#[tokio::test]
async fn the_bucket_tells_its_region_and_that_it_has_no_versions() {
    let client = start_default().await;
    let reply = client.get("?location").await;
    assert_eq!(reply.status, 200);
    assert!(reply.text().contains("LocationConstraint"), "{}", reply.text());
    assert!(!reply.text().contains("us-east-1"));
    let reply = client.get("?versioning").await;
    assert_eq!((reply.status, reply.element("Status")), (200, None));
    assert_eq!(client.head("").await.header("x-amz-bucket-region"), Some("us-east-1"));
}

#[tokio::test]
async fn a_copy_is_standard_unless_it_says_otherwise_and_keeps_metadata() {
    let client = start_default().await;
    let put = Call::new("PUT", "p1")
        .header("x-amz-meta-a", "1")
        .header("x-amz-tagging", "t=1")
        .header("x-amz-storage-class", "GLACIER_IR")
        .header("x-amz-server-side-encryption", "AES256")
        .body("x");
    client.call(put).await;
    let copy = |target| Call::new("PUT", target).header("x-amz-copy-source", "/test-bucket/p1");
    let reply = client.call(copy("p2")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.text().contains("<ETag>"), "{}", reply.text());
    let copied = client.server.objects().get("p2").unwrap();
    assert_eq!(copied.storage_class, "STANDARD");
    assert_eq!(copied.header("x-amz-meta-a"), Some("1"));
    assert_eq!(copied.header("x-amz-tagging"), Some("t=1"));
    assert_eq!(copied.header("x-amz-server-side-encryption"), None);

    let replaced = copy("p3")
        .header("x-amz-metadata-directive", "REPLACE")
        .header("x-amz-meta-b", "2")
        .header("x-amz-storage-class", "STANDARD_IA");
    assert_eq!(client.call(replaced).await.status, 200);
    let copied = client.server.objects().get("p3").unwrap();
    assert_eq!((copied.header("x-amz-meta-a"), copied.header("x-amz-meta-b")), (None, Some("2")));

    let same = copy("p1").header("x-amz-storage-class", "GLACIER_IR");
    assert_eq!(client.call(same).await.error(), (400, "InvalidRequest".into()));
    let guarded = copy("p4").header("x-amz-copy-source-if-match", "\"0\"");
    assert_eq!(client.call(guarded).await.error(), (412, "PreconditionFailed".into()));
    assert_eq!(client.server.requests().copies("p"), 4);
}

#[tokio::test]
async fn many_keys_are_deleted_at_once_each_with_its_outcome() {
    let client = start_default().await;
    for key in ["a", "b", "locked"] {
        client.server.objects().put(key, "x");
    }
    client.server.deny(s3_testkit::Action::Delete, "locked");
    let body = "<Delete><Object><Key>a</Key></Object><Object><Key>locked</Key></Object>\
                <Object><Key>none</Key></Object></Delete>";
    let call = || Call::new("POST", "?delete").body(body);
    assert_eq!(client.call(call()).await.error(), (400, "InvalidRequest".into()));
    let md5 = BASE64.encode(Md5::digest(body));
    let reply = client.call(call().header("content-md5", &md5)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.elements("Code"), ["AccessDenied"]);
    assert_eq!(reply.elements("Key").len(), 3);
    assert_eq!(client.server.objects().keys(""), ["b", "locked"]);
}

#[tokio::test]
async fn parts_become_one_object_with_the_attributes_of_the_start() {
    let client = start_default().await;
    let start = Call::new("POST", "k?uploads").header("x-amz-storage-class", "ONEZONE_IA");
    let id = client.call(start).await.element("UploadId").unwrap();
    let mut etags = Vec::new();
    for (number, part) in [(1, "hello "), (2, "world")] {
        let reply = client.put(&format!("k?partNumber={number}&uploadId={id}"), part).await;
        etags.push(reply.header("etag").unwrap().to_owned());
    }
    let parts: String = (1..)
        .zip(&etags)
        .map(|(n, etag)| format!("<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>"))
        .collect();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    let target = format!("k?uploadId={id}");
    let reply = client.call(Call::new("POST", &target).body(body.clone())).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.element("ETag").unwrap().contains("-2"));
    assert_eq!(client.get("k").await.text(), "hello world");
    assert_eq!(client.server.objects().get("k").unwrap().storage_class, "ONEZONE_IA");
    let again = client.call(Call::new("POST", &target).body(body)).await;
    assert_eq!(again.error(), (404, "NoSuchUpload".into()));
}

#[tokio::test]
async fn a_part_may_be_copied_from_an_object_and_its_condition_counts() {
    let client = start_default().await;
    client.put("from", "hello world").await;
    let etag = client.get("from").await.header("etag").unwrap().to_owned();
    let begin = Call::new("POST", "k?uploads").header("x-amz-tagging", "a=1%202&b=");
    let id = client.call(begin).await.element("UploadId").unwrap();
    let target = format!("k?partNumber=1&uploadId={id}");
    let copy = |etag: &str, range: &str| {
        Call::new("PUT", &target)
            .header("x-amz-copy-source", "/test-bucket/from")
            .header("x-amz-copy-source-if-match", etag)
            .header("x-amz-copy-source-range", range)
    };
    let other = client.call(copy("\"0123\"", "bytes=0-4")).await;
    assert_eq!(other.error(), (412, "PreconditionFailed".into()));
    let beyond = client.call(copy(&etag, "bytes=0-11")).await;
    assert_eq!(beyond.error(), (400, "InvalidArgument".into()));
    let part = client.call(copy(&etag, "bytes=6-10")).await;
    assert_eq!(part.status, 200, "{}", part.text());
    let etag = part.element("ETag").unwrap();
    let body = format!("<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>");
    let body = format!("<CompleteMultipartUpload>{body}</CompleteMultipartUpload>");
    let done = client.call(Call::new("POST", &format!("k?uploadId={id}")).body(body)).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(client.get("k").await.text(), "world");
    let tags = client.get("k?tagging").await;
    assert_eq!(
        (tags.elements("Key"), tags.elements("Value")[0].as_str()),
        (vec!["a".into(), "b".into()], "1 2")
    );
}

#[tokio::test]
async fn a_large_body_passes_whole_and_fast_etags_are_no_md5() {
    let options = TestServerOptions { md5_etags: false, ..Default::default() };
    let client = start(options).await;
    let body: Vec<u8> = (0..20_u32 << 20).map(|n| (n % 251) as u8).collect();
    let put =
        Call::new("PUT", "p").header("x-amz-content-sha256", "UNSIGNED-PAYLOAD").body(body.clone());
    let etag = client.call(put).await.header("etag").unwrap().to_owned();
    assert_ne!(etag, format!("\"{}\"", crate::signer::hex(&Md5::digest(&body))));
    assert_eq!(etag.len(), 34);
    assert!(client.get("p").await.body == body, "the content differs");
}

#[tokio::test]
async fn a_lifecycle_document_comes_back_byte_for_byte() {
    let client = start_default().await;
    let missing = client.get("?lifecycle").await;
    assert_eq!(missing.error(), (404, "NoSuchLifecycleConfiguration".into()));
    let document = "<LifecycleConfiguration><Rule><Filter><And><Prefix>p</Prefix>\
                    <ObjectSizeGreaterThan>9</ObjectSizeGreaterThan></And></Filter><Unknown/>\
                    </Rule></LifecycleConfiguration>";
    let put = || Call::new("PUT", "?lifecycle").body(document);
    assert_eq!(client.call(put()).await.error(), (400, "InvalidRequest".into()));
    let md5 = BASE64.encode(Md5::digest(document));
    assert_eq!(client.call(put().header("content-md5", &md5)).await.status, 200);
    let got = client.get("?lifecycle").await;
    assert_eq!(got.text(), document);
    let minimum = "x-amz-transition-default-minimum-object-size";
    assert_eq!(got.header(minimum), Some("all_storage_classes_128K"));
    let with = put().header("content-md5", &md5).header(minimum, "varies_by_storage_class");
    assert_eq!(client.call(with).await.status, 200);
    assert_eq!(client.get("?lifecycle").await.header(minimum), Some("varies_by_storage_class"));
    assert_eq!(client.call(put().header("content-md5", &md5)).await.status, 200);
    assert_eq!(client.server.objects().lifecycle_minimum(), None, "each PUT says it anew");
    assert_eq!(client.delete("?lifecycle").await.status, 204);
    assert_eq!(client.server.objects().lifecycle(), None);
}
