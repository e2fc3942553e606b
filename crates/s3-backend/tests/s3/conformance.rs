//! The promise of a blob storage, kept by this one.

use std::sync::Arc;

use blob_core::{
    NoPolicy, StorageStack,
    layers::{Hide, Limit, Metrics, Prefix, Retry, Throttle, ThrottleLimits, WithPolicy},
};
use blob_testkit::Fresh;
use s3_testkit::TestServerOptions;

use crate::support::{server, server_with, storage};

blob_testkit::conformance!(a_bucket_keeps_the_promise_of_a_blob_storage, async || {
    let server = Arc::new(server().await);
    let clock = server.clone();
    Fresh::new(Arc::new(storage(&server)))
        .with_clock(move |by| clock.clock().advance(by))
        .keeping(server)
});

blob_testkit::conformance!(a_bucket_with_object_lock, async || {
    let options = TestServerOptions { object_lock: true, ..TestServerOptions::default() };
    let server = Arc::new(server_with(options).await);
    let clock = server.clone();
    Fresh::new(Arc::new(storage(&server)))
        .with_clock(move |by| clock.clock().advance(by))
        .keeping(server)
});

blob_testkit::conformance!(a_bucket_under_every_layer, async || {
    let server = Arc::new(server().await);
    let clock = server.clone();
    let limits =
        ThrottleLimits { writes_at_once: 8, reads_at_once: 8, ..ThrottleLimits::default() };
    let stack = StorageStack::over(Arc::new(storage(&server)))
        .layer(Prefix::new("pre-").unwrap())
        .layer(Metrics::new())
        .layer(Limit::requests(16))
        .layer(Throttle::to(limits))
        .layer(Retry::new())
        .layer(WithPolicy::new(Arc::new(NoPolicy)))
        .layer(Hide::named(".storageconfig"));
    Fresh::new(stack.build()).with_clock(move |by| clock.clock().advance(by)).keeping(server)
});
