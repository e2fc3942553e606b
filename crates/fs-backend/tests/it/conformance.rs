//! A folder keeps the promise of a blob storage, however it cuts IDs.

use std::sync::Arc;

use blob_core::{
    DynStorage, NoPolicy, StorageStack,
    layers::{Hide, Limit, Metrics, Prefix, Retry, Throttle, ThrottleLimits, WithPolicy},
};
use blob_testkit::{Fresh, conformance};
use fs_backend::{FilesystemOptions, FilesystemStorage};

async fn fresh(shards: Option<Vec<u32>>, list_parallelism: u32) -> Fresh {
    under(|bare| bare, shards, list_parallelism).await
}

async fn under(
    layers: impl FnOnce(StorageStack) -> StorageStack,
    shards: Option<Vec<u32>>,
    list_parallelism: u32,
) -> Fresh {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("not").join("there yet");
    let options = FilesystemOptions { list_parallelism, ..FilesystemOptions::at(path) };
    let storage = FilesystemStorage::create(options, shards).await.unwrap();
    let storage: DynStorage = layers(StorageStack::over(Arc::new(storage))).build();
    // A walk through folders has no pages, and every blob costs two fsyncs.
    Fresh::new(storage).keeping(folder).with_blobs_to_list(300)
}

conformance!(a_folder_as_kopia_makes_it, async || fresh(None, 0).await);
conformance!(a_flat_folder, async || fresh(Some(vec![]), 0).await);
conformance!(a_folder_of_old_listed_by_several, async || fresh(Some(vec![3, 3]), 4).await);
conformance!(a_folder_under_every_layer, async || {
    let limits =
        ThrottleLimits { writes_at_once: 3, reads_at_once: 3, ..ThrottleLimits::default() };
    let layers = |bare: StorageStack| {
        bare.layer(Prefix::new("pre-").unwrap())
            .layer(Metrics::new())
            .layer(Limit::requests(4))
            .layer(Throttle::to(limits))
            .layer(Retry::new())
            .layer(WithPolicy::new(Arc::new(NoPolicy)))
            .layer(Hide::named(".storageconfig"))
    };
    under(layers, None, 0).await
});
