//! ListObjectsV2: pages, delimiters, encodings, and what each entry tells.

use s3_testkit::TestServerOptions;

use crate::client::{Call, Client, start, start_default};

async fn all_pages(client: &Client, query: &str) -> (Vec<String>, Vec<String>, usize) {
    let (mut keys, mut prefixes, mut pages, mut token) = (vec![], vec![], 0, None);
    loop {
        let next: String =
            token.map(|token| format!("&continuation-token={token}")).unwrap_or_default();
        let reply = client.get(&format!("?list-type=2{query}{next}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        keys.extend(reply.elements("Key"));
        // The document's own prefix is an element of the same name, in front.
        let common = reply.text();
        let common = common.split("<CommonPrefixes>").skip(1);
        prefixes.extend(common.filter_map(|part| {
            Some(part.split_once("<Prefix>")?.1.split_once("</")?.0.to_owned())
        }));
        pages += 1;
        token = reply.element("NextContinuationToken");
        assert_eq!(reply.element("IsTruncated").unwrap(), token.is_some().to_string());
        if token.is_none() {
            return (keys, prefixes, pages);
        }
    }
}

#[tokio::test]
async fn pages_hold_every_key_once_and_in_order() {
    let client = start(TestServerOptions { page_size: 3, ..Default::default() }).await;
    let expected: Vec<String> = (0..10).map(|n| format!("p{n}")).collect();
    for key in &expected {
        client.server.objects().put(key, "x");
    }
    client.server.objects().put("a", "x");
    client.server.objects().put("q", "x");
    let (keys, _, pages) = all_pages(&client, "&prefix=p").await;
    assert_eq!((keys, pages), (expected.clone(), 4));
    let (keys, _, pages) = all_pages(&client, "&prefix=p&max-keys=2&start-after=p6").await;
    assert_eq!((keys.as_slice(), pages), (&expected[7..], 2));
    let (keys, _, pages) = all_pages(&client, "&prefix=x").await;
    assert_eq!((keys.len(), pages), (0, 1));
    assert_eq!(client.server.requests().lists("p"), 6);
    let reply = client.get("?list-type=2&continuation-token=%21").await;
    assert_eq!(reply.error(), (400, "InvalidArgument".into()));
}

#[tokio::test]
async fn a_full_last_page_is_not_truncated() {
    let client = start(TestServerOptions { page_size: 2, ..Default::default() }).await;
    for key in ["a", "b"] {
        client.server.objects().put(key, "x");
    }
    let (keys, _, pages) = all_pages(&client, "").await;
    assert_eq!((keys.len(), pages), (2, 1));
}

#[tokio::test]
async fn common_prefixes_count_as_entries_on_every_page() {
    let client = start(TestServerOptions { page_size: 2, ..Default::default() }).await;
    for key in ["r/a", "r/b/1", "r/b/2", "r/b/3", "r/b/", "r/c", "r/d/1", "r/\u{10ffff}/1", "s"] {
        client.server.objects().put(key, "x");
    }
    let (keys, prefixes, pages) = all_pages(&client, "&prefix=r%2F&delimiter=%2F").await;
    assert_eq!(keys, ["r/a", "r/c"]);
    assert_eq!(prefixes, ["r/b/", "r/d/", "r/\u{10ffff}/"]);
    assert_eq!(pages, 3);
    let (keys, _, _) = all_pages(&client, "&prefix=r%2Fb%2F&delimiter=%2F").await;
    assert_eq!(keys, ["r/b/", "r/b/1", "r/b/2", "r/b/3"], "a key may equal the prefix");
}

#[tokio::test]
async fn url_encoding_covers_keys_and_prefixes() {
    let client = start_default().await;
    client.server.objects().put("r/a b+\u{1}", "x");
    let reply = client.get("?list-type=2&encoding-type=url&prefix=r%2F").await;
    assert_eq!(reply.elements("Key"), ["r/a+b%2B%01"]);
    assert_eq!(reply.element("EncodingType").unwrap(), "url");
    assert_eq!(reply.element("Prefix").unwrap(), "r/");
}

#[tokio::test]
async fn an_entry_tells_size_time_class_and_owner_if_asked() {
    let client = start_default().await;
    client.server.objects().put_with_class("p", "12345", "DEEP_ARCHIVE");
    let reply = client.get("?list-type=2&fetch-owner=true").await;
    assert_eq!(reply.element("Size").unwrap(), "5");
    assert_eq!(reply.element("StorageClass").unwrap(), "DEEP_ARCHIVE");
    assert_eq!(reply.element("ID").unwrap(), "111122223333");
    assert!(reply.element("LastModified").unwrap().ends_with('Z'));
    assert!(reply.element("ETag").unwrap().contains("827ccb0eea8a706c4c34a16891f84e7b"));
    assert_eq!(client.get("?list-type=2").await.element("ID"), None);
}

#[tokio::test]
async fn thaws_are_listed_only_when_asked_for() {
    let client = start_default().await;
    client.server.objects().put_with_class("cold", "x", "GLACIER");
    client.server.objects().put_with_class("warming", "x", "GLACIER");
    client.restore("warming", "<Days>1</Days>").await;
    assert!(!client.get("?list-type=2").await.text().contains("RestoreStatus"));
    let asking = || {
        Call::new("GET", "?list-type=2").header("x-amz-optional-object-attributes", "RestoreStatus")
    };
    let reply = client.call(asking()).await;
    assert_eq!(reply.elements("IsRestoreInProgress"), ["true"]);
    assert_eq!(reply.element("RestoreExpiryDate"), None);
    client.server.objects().finish_restore("warming");
    let reply = client.call(asking()).await;
    assert_eq!(reply.elements("IsRestoreInProgress"), ["false"]);
    assert!(reply.element("RestoreExpiryDate").unwrap().ends_with("T00:00:00.000Z"));
}
