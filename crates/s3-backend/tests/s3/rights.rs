//! What the keys may do is told without an effect.

use blob_core::{BlobError, PutAttributes, StorageClass};
use s3_backend::S3Options;
use s3_testkit::{Action, TestServerOptions};

use crate::{
    canned::{Canned, answer},
    support::{id, open, options, put, server, server_with, storage},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_there_or_not_is_told_and_nothing_comes_of_it() {
    let server = server().await;
    let storage = storage(&server);
    put(&storage, "p1", b"bytes").await;
    let before = server.objects().keys("");
    let free = id("p2");
    let cold = PutAttributes {
        class: Some(StorageClass::new("DEEP_ARCHIVE")),
        ..PutAttributes::default()
    };
    storage.may_put(&free, &PutAttributes::default()).await.unwrap();
    storage.may_put(&free, &cold).await.unwrap();
    storage.may_thaw(&free).await.unwrap();
    assert_eq!(server.requests().deletes(""), 0, "what was not written is not deleted");
    for action in [Action::Put, Action::Restore] {
        server.deny(action, "p");
        let errors = [
            (Action::Put, storage.may_put(&free, &cold).await),
            (Action::Restore, storage.may_thaw(&free).await),
        ];
        for (asked, answer) in errors {
            let denied = matches!(answer, Err(BlobError::AccessDenied { .. }));
            assert_eq!(denied, asked == action, "{asked:?} without {action:?}: {answer:?}");
        }
        server.allow_all();
    }
    assert_eq!(server.objects().keys(""), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_of_the_past_may_thaw_and_not_write() {
    let server = server_with(TestServerOptions { versioning: true, ..Default::default() }).await;
    let point_in_time = Some("2100-01-01T00:00:00Z".to_owned());
    let past = open(S3Options { point_in_time, ..options(&server) });
    past.may_thaw(&id("p2")).await.unwrap();
    server.deny(Action::Restore, "p");
    let error = past.may_thaw(&id("p2")).await.unwrap_err();
    assert!(matches!(error, BlobError::AccessDenied { .. }), "{error:?}");
    let error = past.may_put(&id("p2"), &PutAttributes::default()).await.unwrap_err();
    assert!(matches!(error, BlobError::ReadOnly { .. }), "{error:?}");
    assert_eq!(server.requests().puts(""), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_careless_service_took_is_deleted() {
    let taken = answer("200 OK\r\netag: \"e\"", "");
    let server = Canned::start([taken, answer("204 No Content", "")]).await;
    let storage = server.builder().open().unwrap();
    storage.may_put(&id("p2"), &PutAttributes::default()).await.unwrap();
    let seen = server.seen();
    assert!(seen[0].starts_with("PUT /bucket/p2"), "{seen:?}");
    assert!(seen[1].starts_with("DELETE /bucket/p2"), "{seen:?}");
    assert_eq!(seen.len(), 2);
}
