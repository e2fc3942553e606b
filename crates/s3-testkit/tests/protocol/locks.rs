//! Object lock: what it needs, what it forbids, and how it ends.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use s3_testkit::{Kind, TestServerOptions};

use crate::client::{Call, Client, start, start_default};
use crate::signer::amz_date;

/// ISO 8601 of a time so many days from now.
fn in_days(days: u64) -> String {
    let date = amz_date(SystemTime::now() + Duration::from_secs(days * 86_400));
    let (day, time) = (&date[..8], &date[9..15]);
    format!(
        "{}-{}-{}T{}:{}:{}Z",
        &day[..4],
        &day[4..6],
        &day[6..],
        &time[..2],
        &time[2..4],
        &time[4..]
    )
}

fn locked_put(mode: &str) -> Call<'static> {
    Call::new("PUT", "k")
        .header("x-amz-object-lock-mode", mode)
        .header("x-amz-object-lock-retain-until-date", &in_days(10))
        .body("x")
}

async fn start_lockable() -> Client {
    start(TestServerOptions { object_lock: true, ..Default::default() }).await
}

/// Gives the version.
async fn put_locked(client: &Client, mode: &str) -> String {
    let md5 = BASE64.encode(Md5::digest(b"x"));
    let reply = client.call(locked_put(mode).header("content-md5", &md5)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.header("x-amz-version-id").unwrap().to_owned()
}

fn retention(mode: &str, days: u64) -> String {
    format!(
        "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>{mode}</Mode>\
         <RetainUntilDate>{}</RetainUntilDate></Retention>",
        in_days(days)
    )
}

async fn retain(client: &Client, days: u64, bypass: bool) -> u16 {
    retain_by(client, "GOVERNANCE", days, bypass).await
}

async fn retain_by(client: &Client, mode: &str, days: u64, bypass: bool) -> u16 {
    let body = retention(mode, days);
    let md5 = BASE64.encode(Md5::digest(&body));
    let call = Call::new("PUT", "k?retention").header("content-md5", &md5).body(body);
    let call = if bypass { call.header("x-amz-bypass-governance-retention", "true") } else { call };
    client.call(call).await.status
}

#[tokio::test]
async fn a_lock_needs_a_checksum_and_both_its_headers() {
    let client = start_lockable().await;
    let bare = client.call(locked_put("GOVERNANCE")).await;
    assert_eq!(bare.error(), (400, "InvalidRequest".into()));
    let half = Call::new("PUT", "k")
        .header("x-amz-object-lock-mode", "GOVERNANCE")
        .header("x-amz-checksum-crc32c", "")
        .body("x");
    assert_eq!(client.call(half).await.error(), (400, "InvalidArgument".into()));
    let other = client.call(locked_put("FOREVER").header("content-md5", "x")).await;
    assert_eq!(other.error(), (400, "InvalidArgument".into()));
    let client = start_default().await;
    let reply = client.call(locked_put("GOVERNANCE").header("content-md5", "x")).await;
    assert_eq!(reply.error(), (400, "InvalidRequest".into()));
}

#[tokio::test]
async fn a_locked_version_stays_until_the_date_whatever_is_done_to_its_key() {
    let client = start_lockable().await;
    let version = put_locked(&client, "COMPLIANCE").await;
    assert_eq!(client.head("k").await.header("x-amz-object-lock-mode"), Some("COMPLIANCE"));
    // By the key alone all succeeds, and the locked version stays.
    assert_eq!(client.put("k", "y").await.status, 200);
    assert_eq!(client.delete("k").await.header("x-amz-delete-marker"), Some("true"));
    assert_eq!(client.get("k").await.error(), (404, "NoSuchKey".into()));
    let locked = format!("k?versionId={version}");
    assert_eq!(client.get(&locked).await.text(), "x");
    assert_eq!(client.delete(&locked).await.error(), (403, "AccessDenied".into()));
    let bypass = Call::new("DELETE", &locked).header("x-amz-bypass-governance-retention", "true");
    assert_eq!(client.call(bypass).await.status, 403);
    client.server.clock().advance(Duration::from_secs(11 * 86_400));
    assert_eq!(client.delete(&locked).await.status, 204);
    assert_eq!(client.get(&locked).await.error(), (404, "NoSuchVersion".into()));
}

#[tokio::test]
async fn versions_are_listed_newest_first_over_pages() {
    let options = TestServerOptions { versioning: true, page_size: 2, ..Default::default() };
    let client = start(options).await;
    for (key, bytes) in [("a b", "1"), ("a b", "22"), ("c", "3")] {
        client.put(&key.replace(' ', "%20"), bytes).await;
    }
    client.delete("c").await;
    let mut query = "?versions&encoding-type=url".to_owned();
    let (mut told, mut markers) = (Vec::new(), 0);
    loop {
        let page = client.get(&query).await;
        told.extend(page.elements("Key"));
        markers += page.text().matches("<DeleteMarker>").count();
        let Some(key) = page.element("NextKeyMarker") else { break };
        let version = page.element("NextVersionIdMarker").unwrap();
        query = format!(
            "?versions&encoding-type=url&key-marker={}&version-id-marker={version}",
            key.replace('+', "%20")
        );
    }
    assert_eq!((told, markers), (["a+b", "a+b", "c", "c"].map(String::from).into(), 1));
    let status = client.get("?versioning").await;
    assert_eq!(status.element("Status").unwrap(), "Enabled");
    let none = start_default().await;
    assert!(none.get("?versioning").await.element("Status").is_none());
}

#[tokio::test]
async fn governance_can_be_bypassed_and_extended_but_not_shortened() {
    let client = start_lockable().await;
    let version = put_locked(&client, "GOVERNANCE").await;
    assert_eq!(retain(&client, 20, false).await, 200);
    let reply = client.get("k?retention").await;
    assert_eq!(reply.element("Mode").unwrap(), "GOVERNANCE");
    assert!(reply.element("RetainUntilDate").unwrap().starts_with(&in_days(20)[..10]));
    assert_eq!(retain(&client, 5, false).await, 403);
    assert_eq!(retain(&client, 5, true).await, 200);
    let locked = format!("k?versionId={version}");
    assert_eq!(client.delete(&locked).await.status, 403);
    let bypass = Call::new("DELETE", &locked).header("x-amz-bypass-governance-retention", "true");
    assert_eq!(client.call(bypass).await.status, 204);
}

#[tokio::test]
async fn compliance_is_extended_and_never_shortened_or_softened() {
    let client = start_lockable().await;
    put_locked(&client, "COMPLIANCE").await;
    assert_eq!(retain_by(&client, "COMPLIANCE", 20, false).await, 200);
    for bypass in [false, true] {
        assert_eq!(retain_by(&client, "COMPLIANCE", 5, bypass).await, 403);
        assert_eq!(retain_by(&client, "GOVERNANCE", 30, bypass).await, 403);
    }
    let kept = client.get("k?retention").await;
    assert_eq!(kept.element("Mode").unwrap(), "COMPLIANCE");
    assert!(kept.element("RetainUntilDate").unwrap().starts_with(&in_days(20)[..10]));
    let asked = client.server.requests().of(Kind::Retain, "k");
    assert_eq!(asked.len(), 6, "each is in the log");
    let head = client.call(Call::new("HEAD", "k")).await;
    assert_eq!(head.header("x-amz-object-lock-mode"), Some("COMPLIANCE"));
    let until = head.header("x-amz-object-lock-retain-until-date").unwrap();
    assert!(until.starts_with(&in_days(20)[..10]));
}

#[tokio::test]
async fn an_archived_object_is_locked_without_a_thaw() {
    let client = start_lockable().await;
    client.server.objects().put_with_class("k", "x", "DEEP_ARCHIVE");
    assert_eq!(client.get("k").await.status, 403);
    assert_eq!(retain_by(&client, "COMPLIANCE", 20, false).await, 200);
    assert_eq!(client.get("k?retention").await.element("Mode").unwrap(), "COMPLIANCE");
}

#[tokio::test]
async fn a_bucket_without_object_lock_and_a_request_without_md5_are_refused() {
    let client = start_default().await;
    client.put("k", "x").await;
    let body = retention("COMPLIANCE", 20);
    let md5 = BASE64.encode(Md5::digest(&body));
    let call = || Call::new("PUT", "k?retention").body(body.clone());
    let reply = client.call(call().header("content-md5", &md5)).await;
    assert_eq!((reply.status, reply.element("Code").unwrap().as_str()), (400, "InvalidRequest"));
    assert!(reply.text().contains("Bucket is missing Object Lock Configuration"));
    let client = start_lockable().await;
    client.put("k", "x").await;
    let reply = client.call(call()).await;
    assert_eq!((reply.status, reply.element("Code").unwrap().as_str()), (400, "InvalidRequest"));
    assert_eq!(retain_by(&client, "ETERNITY", 20, false).await, 400);
    assert_eq!(retain_by(&client, "COMPLIANCE", 0, false).await, 400, "it has passed");
}

#[tokio::test]
async fn a_legal_hold_lasts_until_it_is_lifted() {
    let client = start_lockable().await;
    let put = client.put("k", "x").await;
    let version = put.header("x-amz-version-id").unwrap();
    for (state, deleted) in [("ON", 403), ("OFF", 204)] {
        let body = format!("<LegalHold><Status>{state}</Status></LegalHold>");
        let md5 = BASE64.encode(Md5::digest(&body));
        let hold = Call::new("PUT", "k?legal-hold").header("content-md5", &md5).body(body);
        assert_eq!(client.call(hold).await.status, 200);
        client.server.clock().advance(Duration::from_secs(86_400));
        let call = format!("k?versionId={version}");
        assert_eq!(client.delete(&call).await.status, deleted, "{state}");
    }
}
