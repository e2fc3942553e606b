//! The promise of a blob storage, kept by this one.

use std::sync::Arc;

use blob_testkit::Fresh;

use crate::support::{server, storage};

blob_testkit::conformance!(a_bucket_keeps_the_promise_of_a_blob_storage, async || {
    let server = Arc::new(server().await);
    let clock = server.clone();
    Fresh::new(Arc::new(storage(&server)))
        .with_clock(move |by| clock.clock().advance(by))
        .keeping(server)
});
