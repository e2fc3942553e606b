//! The promise of a blob storage, kept by this one.

use std::sync::Arc;

use crate::support;

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_keeps_the_promise_of_a_blob_storage() {
    let server = support::server().await;
    blob_testkit::conformance(Arc::new(support::storage(&server))).await;
}
