//! Object lock: what it needs, what it forbids, and how it ends.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use s3_testkit::TestServerOptions;

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

async fn put_locked(client: &Client, mode: &str) {
    let md5 = BASE64.encode(Md5::digest(b"x"));
    let reply = client.call(locked_put(mode).header("content-md5", &md5)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

async fn retain(client: &Client, days: u64, bypass: bool) -> u16 {
    let body = format!(
        "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>GOVERNANCE</Mode>\
         <RetainUntilDate>{}</RetainUntilDate></Retention>",
        in_days(days)
    );
    let md5 = BASE64.encode(Md5::digest(&body));
    let call = Call::new("PUT", "k?retention").header("content-md5", &md5).body(body);
    let call = if bypass { call.header("x-amz-bypass-governance-retention", "true") } else { call };
    client.call(call).await.status
}

#[tokio::test]
async fn a_lock_needs_a_checksum_and_both_its_headers() {
    let client = start_default().await;
    let bare = client.call(locked_put("GOVERNANCE")).await;
    assert_eq!(bare.error(), (400, "InvalidRequest".into()));
    let half = Call::new("PUT", "k")
        .header("x-amz-object-lock-mode", "GOVERNANCE")
        .header("x-amz-checksum-crc32c", "")
        .body("x");
    assert_eq!(client.call(half).await.error(), (400, "InvalidArgument".into()));
    let other = client.call(locked_put("FOREVER").header("content-md5", "x")).await;
    assert_eq!(other.error(), (400, "InvalidArgument".into()));
    let client = start(TestServerOptions { object_lock: false, ..Default::default() }).await;
    let reply = client.call(locked_put("GOVERNANCE").header("content-md5", "x")).await;
    assert_eq!(reply.error(), (400, "InvalidRequest".into()));
}

#[tokio::test]
async fn locked_objects_are_neither_deleted_nor_replaced_until_the_date() {
    let client = start_default().await;
    put_locked(&client, "COMPLIANCE").await;
    assert_eq!(client.head("k").await.header("x-amz-object-lock-mode"), Some("COMPLIANCE"));
    assert_eq!(client.delete("k").await.error(), (403, "AccessDenied".into()));
    assert_eq!(client.put("k", "y").await.error(), (403, "AccessDenied".into()));
    let bypass = Call::new("DELETE", "k").header("x-amz-bypass-governance-retention", "true");
    assert_eq!(client.call(bypass).await.status, 403);
    client.server.clock().advance(Duration::from_secs(11 * 86_400));
    assert_eq!(client.delete("k").await.status, 204);
}

#[tokio::test]
async fn governance_can_be_bypassed_and_extended_but_not_shortened() {
    let client = start_default().await;
    put_locked(&client, "GOVERNANCE").await;
    assert_eq!(retain(&client, 20, false).await, 200);
    let reply = client.get("k?retention").await;
    assert_eq!(reply.element("Mode").unwrap(), "GOVERNANCE");
    assert!(reply.element("RetainUntilDate").unwrap().starts_with(&in_days(20)[..10]));
    assert_eq!(retain(&client, 5, false).await, 403);
    assert_eq!(retain(&client, 5, true).await, 200);
    assert_eq!(client.delete("k").await.status, 403);
    let bypass = Call::new("DELETE", "k").header("x-amz-bypass-governance-retention", "true");
    assert_eq!(client.call(bypass).await.status, 204);
}

#[tokio::test]
async fn a_legal_hold_lasts_until_it_is_lifted() {
    let client = start_default().await;
    client.put("k", "x").await;
    for (state, deleted) in [("ON", 403), ("OFF", 204)] {
        let body = format!("<LegalHold><Status>{state}</Status></LegalHold>");
        let md5 = BASE64.encode(Md5::digest(&body));
        let hold = Call::new("PUT", "k?legal-hold").header("content-md5", &md5).body(body);
        assert_eq!(client.call(hold).await.status, 200);
        client.server.clock().advance(Duration::from_secs(86_400));
        assert_eq!(client.delete("k").await.status, deleted, "{state}");
    }
}
