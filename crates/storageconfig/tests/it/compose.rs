//! The file as a layer over a storage that knows nothing of it (requirement C5).

use std::sync::Arc;

use blob_core::{
    BlobError, BlobId, BlobStorage, FnPolicy, MemoryStorage, NoPolicy, Payload, PutAttributes,
    PutOptions, PutPolicy, StorageClass, StorageStack,
    layers::{Hide, WithPolicy},
};
use futures::TryStreamExt;
use storageconfig::{FILE_NAME, load, store};

fn id(text: &str) -> BlobId {
    BlobId::new(text).unwrap()
}

/// The class each of three blobs is written in, with a policy on top and nothing else changed.
async fn classes(
    bare: &Arc<MemoryStorage>,
    policy: Arc<dyn PutPolicy>,
) -> [Option<StorageClass>; 3] {
    let storage = StorageStack::over(bare.clone()).layer(WithPolicy::new(policy)).build();
    let ids = ["p0f1e", "s0f1e", "kopia.repository"].map(id);
    for id in &ids {
        storage.put(id, Payload::from("x"), &PutOptions::default()).await.unwrap();
    }
    ids.map(|id| bare.attributes(&id).unwrap().class)
}

#[tokio::test]
async fn the_seeds_example_decides_from_the_first_blob_and_no_file_sends_no_class() {
    let bare = Arc::new(MemoryStorage::new());
    let config = load(&*bare).await.unwrap().config;
    assert_eq!(classes(&bare, Arc::new(config)).await, [None, None, None]);

    let text = r#"{"blobOptions": [{"prefix": "p", "storageClass": "INTELLIGENT_TIERING"},
        {"prefix": "s", "storageClass": "REDUCED_REDUNDANCY"}, {"storageClass": "STANDARD_IA"}]}"#;
    store(&*bare, text.into(), None).await.unwrap();
    let config = load(&*bare).await.unwrap().config;
    let expected = [
        StorageClass::INTELLIGENT_TIERING,
        StorageClass::REDUCED_REDUNDANCY,
        StorageClass::STANDARD_IA,
    ];
    assert_eq!(classes(&bare, Arc::new(config)).await, expected.map(Some));
    assert_eq!(bare.attributes(&id(FILE_NAME)).unwrap().class, None);
}

#[tokio::test]
async fn another_policy_or_none_takes_its_place() {
    let bare = Arc::new(MemoryStorage::new());
    assert_eq!(classes(&bare, Arc::new(NoPolicy)).await, [None, None, None]);
    let closure = FnPolicy::new(|id: &BlobId, _| PutAttributes {
        class: id.starts_with("p").then_some(StorageClass::GLACIER_IR),
        ..PutAttributes::default()
    });
    let only_packs = [Some(StorageClass::GLACIER_IR), None, None];
    assert_eq!(classes(&bare, Arc::new(closure)).await, only_packs);
}

#[tokio::test]
async fn a_bad_extra_key_refuses_its_writes_before_a_byte_is_sent_and_reading_works() {
    let bare = Arc::new(MemoryStorage::new());
    bare.put(&id("p0"), Payload::from("old"), &PutOptions::default()).await.unwrap();
    let text = br#"{"blobOptions": [{"prefix": "p", "checksumAlgorithm": "MD4"}]}"#;
    store(&*bare, text.to_vec(), None).await.unwrap();
    let loaded = load(&*bare).await.unwrap();
    assert_eq!(loaded.findings[0].code, "E-EXT");
    let storage = StorageStack::over(bare.clone())
        .layer(WithPolicy::new(Arc::new(loaded.config)))
        .layer(Hide::named(FILE_NAME))
        .build();
    let error =
        storage.put(&id("p1"), Payload::from("x"), &PutOptions::default()).await.unwrap_err();
    assert!(matches!(error, BlobError::InvalidOption { .. }), "{error}");
    assert!(bare.attributes(&id("p1")).is_none());
    storage.put(&id("q1"), Payload::from("x"), &PutOptions::default()).await.unwrap();
    assert_eq!(storage.get(&id("p0"), blob_core::ReadRange::Full).await.unwrap(), "old");
    let mut listed: Vec<_> = storage.list("").map_ok(|meta| meta.id).try_collect().await.unwrap();
    listed.sort();
    assert_eq!(listed, [id("p0"), id("q1")]);
}
