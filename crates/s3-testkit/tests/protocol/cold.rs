//! Archive classes under a clock that the tests move.

use std::time::Duration;

use s3_testkit::{ArchiveAccess, TestServerOptions};

use crate::client::{Call, Client, start, start_default};

const HOUR: u64 = 3600;

fn tier(days: u32, tier: &str) -> String {
    format!("<Days>{days}</Days><GlacierJobParameters><Tier>{tier}</Tier></GlacierJobParameters>")
}

fn advance(client: &Client, secs: u64) {
    client.server.clock().advance(Duration::from_secs(secs));
}

#[tokio::test]
async fn cold_objects_answer_head_but_not_get() {
    let client = start_default().await;
    for class in ["GLACIER", "DEEP_ARCHIVE"] {
        client.call(Call::new("PUT", "p").header("x-amz-storage-class", class).body("x")).await;
        let get = client.get("p").await;
        assert_eq!(get.error(), (403, "InvalidObjectState".into()));
        assert_eq!(get.element("StorageClass").unwrap(), class);
        let range = Call::new("GET", "p").header("range", "bytes=0-0");
        assert_eq!(client.call(range).await.status, 403);
        let head = client.head("p").await;
        assert_eq!((head.status, head.header("x-amz-storage-class")), (200, Some(class)));
        assert_eq!(head.header("x-amz-restore"), None);
    }
    client.server.objects().put_with_class("ir", "x", "GLACIER_IR");
    assert_eq!(client.get("ir").await.status, 200);
}

#[tokio::test]
async fn a_thaw_warms_lasts_and_ends() {
    let client = start(TestServerOptions { expire_at_midnight: false, ..Default::default() }).await;
    client.server.objects().put_with_class("p", "pack", "DEEP_ARCHIVE");
    assert_eq!(client.restore("p", &tier(1, "Standard")).await.status, 202);
    advance(&client, 12 * HOUR - 60);
    assert_eq!(client.get("p").await.status, 403);
    assert_eq!(client.head("p").await.header("x-amz-restore"), Some("ongoing-request=\"true\""));
    advance(&client, 120);
    let get = client.get("p").await;
    assert_eq!((get.status, get.text().as_str()), (200, "pack"));
    let restore = get.header("x-amz-restore").unwrap();
    assert!(restore.starts_with("ongoing-request=\"false\", expiry-date=\""), "{restore}");
    assert_eq!(get.header("x-amz-storage-class"), Some("DEEP_ARCHIVE"), "the class stays");
    advance(&client, 24 * HOUR);
    assert_eq!(client.get("p").await.error().1, "InvalidObjectState");
    assert_eq!(client.head("p").await.header("x-amz-restore"), None);
}

#[tokio::test]
async fn each_tier_takes_its_time_and_deep_archives_have_no_expedited() {
    let cases = [
        ("GLACIER", "Expedited", 180),
        ("GLACIER", "Standard", 4 * HOUR),
        ("GLACIER", "Bulk", 8 * HOUR),
        ("DEEP_ARCHIVE", "Standard", 12 * HOUR),
        ("DEEP_ARCHIVE", "Bulk", 48 * HOUR),
    ];
    let client = start_default().await;
    for (class, name, secs) in cases {
        client.server.objects().put_with_class("p", "x", class);
        assert_eq!(client.restore("p", &tier(3, name)).await.status, 202);
        advance(&client, secs - 30);
        assert_eq!(client.get("p").await.status, 403, "{class} {name}");
        advance(&client, 30);
        assert_eq!(client.get("p").await.status, 200, "{class} {name}");
    }
    client.server.objects().put_with_class("p", "x", "DEEP_ARCHIVE");
    let refused = client.restore("p", &tier(1, "Expedited")).await;
    assert_eq!(refused.error(), (400, "InvalidArgument".into()));
}

#[tokio::test]
async fn a_second_restore_waits_speeds_up_or_moves_the_expiry() {
    let client = start(TestServerOptions { expire_at_midnight: false, ..Default::default() }).await;
    client.server.objects().put_with_class("p", "x", "GLACIER");
    assert_eq!(client.restore("p", &tier(2, "Standard")).await.status, 202);
    let running = (409, "RestoreAlreadyInProgress".to_owned());
    assert_eq!(client.restore("p", &tier(2, "Standard")).await.error(), running);
    assert_eq!(client.restore("p", &tier(2, "Bulk")).await.error(), running);
    assert_eq!(client.restore("p", &tier(9, "Expedited")).await.error(), running);
    assert_eq!(client.restore("p", &tier(2, "Expedited")).await.status, 202, "faster, same days");
    advance(&client, 180);
    assert_eq!(client.get("p").await.status, 200);
    let before = client.server.objects().get("p").unwrap().restore.unwrap().expiry;
    assert_eq!(client.restore("p", &tier(1, "Standard")).await.status, 200);
    let after = client.server.objects().get("p").unwrap().restore.unwrap().expiry;
    assert!(after < before, "a smaller number of days shortens the copy's life");
    assert_eq!(client.server.requests().restores("p"), 6);
}

#[tokio::test]
async fn copies_expire_at_midnight() {
    let client = start_default().await;
    client.server.objects().put_with_class("p", "x", "GLACIER");
    client.restore("p", &tier(1, "Expedited")).await;
    advance(&client, 180);
    let restore = client.head("p").await.header("x-amz-restore").unwrap().to_owned();
    assert!(restore.ends_with(" 00:00:00 GMT\""), "{restore}");
}

#[tokio::test]
async fn requests_that_s3_calls_malformed_are_refused() {
    let client = start_default().await;
    client.server.objects().put_with_class("p", "x", "GLACIER");
    client.server.objects().put("hot", "x");
    let both = format!("{}<Tier>Bulk</Tier>", tier(1, "Bulk"));
    assert_eq!(client.restore("p", &both).await.error(), (400, "MalformedXML".into()));
    assert_eq!(client.restore("p", "").await.error(), (400, "MalformedXML".into()));
    assert_eq!(
        client.restore("p", "<Days>0</Days>").await.error(),
        (400, "InvalidArgument".into())
    );
    let hot = client.restore("hot", "<Days>1</Days>").await;
    assert_eq!(hot.error(), (403, "InvalidObjectState".into()));
    assert_eq!(client.restore("none", "<Days>1</Days>").await.error(), (404, "NoSuchKey".into()));
}

#[tokio::test]
async fn a_cold_source_cannot_be_copied_until_it_is_warm() {
    let client = start_default().await;
    client.server.objects().put_with_class("p", "x", "GLACIER");
    let copy = || {
        Call::new("PUT", "p")
            .header("x-amz-copy-source", "test-bucket/p")
            .header("x-amz-storage-class", "STANDARD_IA")
    };
    let refused = client.call(copy()).await;
    assert_eq!(refused.error(), (403, "ObjectNotInActiveTierError".into()));
    client.restore("p", &tier(1, "Expedited")).await;
    advance(&client, 180);
    assert_eq!(client.call(copy()).await.status, 200);
    advance(&client, 72 * HOUR);
    assert_eq!(client.get("p").await.status, 200, "moved for good");
    assert_eq!(client.head("p").await.header("x-amz-restore"), None);
}

#[tokio::test]
async fn intelligent_tiering_rises_without_days_and_for_good() {
    let client = start_default().await;
    client.server.objects().put_with_class("p", "x", "INTELLIGENT_TIERING");
    assert_eq!(client.get("p").await.status, 200);
    let active = client.restore("p", "").await;
    assert_eq!(active.error(), (403, "ObjectAlreadyInActiveTierError".into()));

    client.server.objects().set_archive_access("p", Some(ArchiveAccess::DeepArchive));
    let head = client.head("p").await;
    assert_eq!(head.header("x-amz-archive-status"), Some("DEEP_ARCHIVE_ACCESS"));
    let get = client.get("p").await;
    assert_eq!(get.error(), (403, "InvalidObjectState".into()));
    assert_eq!(get.element("AccessTier").unwrap(), "DEEP_ARCHIVE_ACCESS");
    let days = client.restore("p", "<Days>1</Days>").await;
    assert_eq!(days.error(), (400, "InvalidArgument".into()));
    assert_eq!(client.restore("p", "").await.status, 202);
    assert_eq!(client.head("p").await.header("x-amz-restore"), Some("ongoing-request=\"true\""));
    advance(&client, 12 * HOUR);
    assert_eq!(client.get("p").await.status, 200);
    advance(&client, 1000 * HOUR);
    let head = client.head("p").await;
    assert_eq!((head.header("x-amz-archive-status"), head.header("x-amz-restore")), (None, None));
}

#[tokio::test]
async fn cold_objects_can_be_deleted_and_replaced() {
    let client = start_default().await;
    client.server.objects().put_with_class("p", "x", "GLACIER");
    assert_eq!(client.put("p", "new").await.status, 200);
    assert_eq!(client.get("p").await.text(), "new");
    client.server.objects().put_with_class("p", "x", "DEEP_ARCHIVE");
    assert_eq!(client.delete("p").await.status, 204);
    assert!(client.server.objects().is_empty());
}
